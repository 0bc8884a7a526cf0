"""A training protocol as data: what is mixed into a batch, how it is degraded, and the stages of the fit.

Recipes are YAML files in `recipes/`. `--set stages.0.lr=1e-4` overrides; a key that does not exist is an error
that names the nearest one.

>>> recipe = load_recipe("mobilenetv2", overrides=["seed=7", "stages.0.epochs=2"])
>>> recipe.seed, recipe.stages[0].epochs
(7, 2)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from telltale._faults import first_fault
from telltale.augment import NONE, Augmentation
from telltale.crops import CropSpec
from telltale.errors import UnknownName, UsageError, nearest, require
from telltale.sampling import SamplePlan
from telltale.types import Written

Pairing = Literal["source", "alike", "none"]


class ModelPart(Written):
    """Which network, and where it begins."""

    name: str = "transfer"
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _counts_frames(cls, options: dict[str, Any]) -> dict[str, Any]:
        """`n_frames` is asked for before there is a model that could refuse it."""
        n_frames = options.get("n_frames", 1)
        if type(n_frames) is not int or n_frames < 1:
            raise ValueError(f"n_frames must be a whole number from 1 on, got {n_frames!r}")
        return options


class SourceMix(Written):
    """What one source gives to each batch."""

    real: int = Field(default=0, ge=0)
    fake: int = Field(default=0, ge=0)
    """Fakes of the same groups as the reals, where there are any: the difference is then not the person."""
    blend: int = Field(default=0, ge=0)
    """Self-blended fakes of the reals in the batch."""
    graft: int = Field(default=0, ge=0)
    """Fakes of which only a part is put into their originals, where both are the same frame cut alike."""
    donor_p: float = Field(default=0.0, ge=0, le=1)
    """How many of the blends get another person's face of this source instead of their own."""
    scale: tuple[float, float] | None = None
    """Instead of the augmentation's: tight crops have no context to cut from."""

    @field_validator("scale")
    @classmethod
    def _is_a_range(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if scale is None else replace(NONE, scale=scale).scale


class TeacherPart(Written):
    """A bundle whose answers are learned beside the labels."""

    bundle: str | None = None
    weight: float = Field(default=0.5, ge=0, le=1)
    """Of the teacher's answers; the labels have the rest."""
    temperature: float = Field(default=2.0, gt=0)
    """Both logits are divided by it, so that how sure the teacher is counts (Hinton et al., 2015)."""
    sees: Literal["augmented", "clean"] = "augmented"
    """The very crop that is learned from, or how it was before it was degraded: what the teacher sees there is then to
    be seen through noise and blur."""


class Stage(Written):
    """One fit with its own input size and schedule; the next begins from this one's best epoch."""

    size_px: int = Field(default=160, ge=32, le=1024)
    epochs: int = Field(default=1, ge=1)
    steps_per_epoch: int = Field(default=400, ge=0)
    """0 = as many as take the training faces once."""
    optimiser: Literal["adamw", "adam", "nadam", "rmsprop", "sgd"] = "adamw"
    nesterov: bool = True
    """Of sgd, whose momentum is .9."""
    sam_rho: float = Field(default=0.0, ge=0)
    """How far up the slope each gradient is taken from (SAM: Foret et al., ICLR 2021), two passes a step; 0 = here."""
    lr: float = Field(default=1e-3, gt=0)
    final_lr: float = Field(default=1e-5, ge=0)
    warmup_steps: int = Field(default=200, ge=0)
    decay_from: float = Field(default=0.0, ge=0, le=1)
    """The share of the steps after which the rate falls; before it the rate stays."""
    decay: Literal["cosine", "linear"] = "cosine"
    patience: int = Field(default=0, ge=0)
    """So many epochs without a better one end the stage; 0 = all are run."""
    weight_decay: float = Field(default=0.02, ge=0)
    frozen_parts: int = Field(default=0, ge=0)
    """So many parts of the network, from the input on, do not learn."""
    learn_from: str | None = None
    """Instead: the name of the first part that learns, as in `head`; an unknown one is an error that lists them."""
    frozen_norms: bool = False
    """Batch norms keep the statistics they begin with (their weights learn): for the end of a fit, and faster."""
    place_weight: float = Field(default=0.0, ge=0)
    """Weight of learning where a face was changed, place by place of the last feature map, beside whether; read off
    from fakes and their originals (`train._pairs`). Fakes that show no change are then not learned. 0 = whether alone.
    Only models of single faces that give a feature map."""
    begin_share: float = Field(default=0.0, ge=0, lt=1)
    """At the end, so much of the weights that the stage began with is mixed back in: steadier on faces of other
    sources (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). Not for the first stage."""
    begin_stage: int | None = Field(default=None, ge=0)
    """Instead of those, the weights that this earlier stage ended with."""
    prune_to: float = Field(default=1.0, gt=0, le=1)
    """Before the first step, as the recipe's `prune_to` does after the last: what is left learns to do without."""
    mix: dict[str, SourceMix] = Field(default_factory=dict)
    """In this stage instead of the recipe's; empty = the recipe's."""
    augmentation: Augmentation | None = None
    """In this stage instead of the recipe's."""
    pairing: Pairing | None = None
    """In this stage instead of the recipe's."""
    teacher: TeacherPart | None = None
    """In this stage instead of the recipe's."""

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.decay_from < 1 and self.final_lr > self.lr:
            raise ValueError(
                f"lr {self.lr:g} is below final_lr {self.final_lr:g}, so it would climb: lower final_lr too"
            )
        return self


class CardText(Written):
    """What the model's card says that no measurement can."""

    name: str = "model"
    licence: str = ""
    limits: tuple[str, ...] = ()
    terms: dict[str, str] = Field(default_factory=dict)
    """By source."""
    flip_average: bool = False
    """The exported graph averages each crop and its mirror image: twice the time."""
    gate: bool = False
    """A face unlike those learned from is not called fake (`telltale.gate`). Only where the model is one of single
    faces that gives features, and a source has 50 groups of training faces; otherwise the card has none."""


class Recipe(Written):
    """Everything that decides a run, apart from the faces and the starting weights."""

    description: str = ""
    seed: int = Field(default=0, ge=0)
    model: ModelPart = ModelPart()
    mix: dict[str, SourceMix] = Field(default_factory=lambda: {"*": SourceMix(real=16, fake=16)})
    """By source; `*` is every source not named. With several processes it is the batch of all of them together."""
    pairing: Pairing = "source"
    """`source`: the fakes of a batch are of the groups of its reals, where they have any. `alike`: such a fake is also
    framed and degraded as its real is, so that all that tells them apart is the forgery. `none`: fakes in turn."""
    weights: str | None = None
    """Where the network begins unless `--weights` says so: `hub`, `none`, a file or a bundle; None = `hub`."""
    teacher: TeacherPart = TeacherPart()
    augment: bool = True
    augmentation: Augmentation = Augmentation()
    stages: tuple[Stage, ...] = (Stage(),)
    members: tuple[Member, ...] = ()
    """Instead of stages: models that are trained one after the other, each by its own recipe, and joined as one whose
    logit is the mean of theirs. Validation and card are this recipe's."""
    prune_to: float = Field(default=1.0, gt=0, le=1)
    """After training, hidden channels of a MobileNetV2 that the others can replace are taken out, until its blocks take
    so much of their multiply-adds (`train._prune`). 1 = none."""
    label_smoothing: float = Field(default=0.02, ge=0, lt=0.5)
    fake_smoothing: float | None = None
    """Of the fakes that came as such, where their labels are less sure; None = the same."""
    separate_classes: bool = True
    """Average the losses of real and fake apart, then the two."""
    uniformity: float = Field(default=0.0, ge=0)
    """Weight of a loss that spreads the embeddings over the sphere (Wang & Isola, ICML 2020); 0 = none."""
    alignment: float = Field(default=0.0, ge=0)
    """The same of a loss that draws the embeddings of a class together."""
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """Of the averaged weights, which are those that are validated and kept; 0 = the plain ones."""
    gradient_clip: float = Field(default=5.0, ge=0)
    """0 = none."""
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    monitor: str = "val_auc"
    """What the best epoch is chosen by: `val_auc`, `val_accuracy`, `val_loss` or a source's figure in metrics.csv, as
    `SOURCE_plain_auc`. Of losses and of what reals reach (`SOURCE_fpr`, `SOURCE_real_p95`) the lowest is best."""
    crop_margin_frac: float = CropSpec().margin_frac
    """With the next three, how a scan cuts faces from boxes; training varies around it. Stores overrule it."""
    crop_down_frac: float = CropSpec().down_frac
    crop_kind: Literal["face", "centre_square"] = "face"
    crop_align: bool = False
    card: CardText = CardText()
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """What `tune` tries: key of the recipe -> values."""
    sample: SamplePlan = SamplePlan(at_least=8)
    """How a scan with the trained model samples a video, unless told otherwise. For sequences, stores overrule it."""

    @property
    def n_frames(self) -> int:
        """Frames in a clip: 1 for models of single pictures."""
        return int(self.model.options.get("n_frames", 1))

    def augmentation_for(self, source: str) -> Augmentation:
        """The augmentation of a source, its own scale put in; none at all if `augment` is off."""
        if not self.augment:
            return NONE
        scale = self.mix_for(source).scale
        values = {name: getattr(self.augmentation, name) for name in self.augmentation.__dataclass_fields__}
        return Augmentation(**values | ({"scale": scale} if scale else {}))

    def crop(self, size_px: int) -> CropSpec:
        """How a scan with the trained model cuts faces."""
        return CropSpec(
            kind=self.crop_kind,
            size_px=size_px,
            margin_frac=self.crop_margin_frac,
            down_frac=self.crop_down_frac,
            align=self.crop_align,
        )

    def in_stage(self, number: int) -> Recipe:
        """With what this stage mixes, how it pairs and augments, whom it learns from, where it says so itself."""
        stage = self.stages[number]
        own: dict[str, Any] = {
            "mix": stage.mix or self.mix,
            "augmentation": stage.augmentation or self.augmentation,
            "pairing": stage.pairing or self.pairing,
            "teacher": stage.teacher or self.teacher,
        }
        return self.model_copy(update=own)

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not self.stages and not self.members:
            raise ValueError("a recipe wants stages, or members that have them")
        return self

    def mix_for(self, source: str) -> SourceMix:
        return self.mix.get(source, self.mix.get("*", SourceMix()))


class Member(Written):
    """A model of an ensemble."""

    recipe: Recipe
    share: float = Field(default=1.0, gt=0)
    """Of the ensemble's logit; shares are brought to 1."""


Recipe.model_rebuild()


def names() -> list[str]:
    """Names of the shipped recipes."""
    folder = resources.files("telltale") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, or a YAML file. Raises UnknownName, UsageError."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UsageError(f"no recipe file {path}; `telltale train --recipe NAME` takes one of {', '.join(names())}")
        text = _read(path)
    elif str(name_or_path) in names():
        text = (resources.files("telltale") / "recipes" / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        name = str(name_or_path)
        raise UnknownName(f"no recipe {name!r} (there are {', '.join(names())}){nearest(name, names())}")
    recipe = _check(parse_yaml(text, str(path)) or {}, str(name_or_path))
    return override(recipe, overrides) if overrides else recipe


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """`recipe` with `key.path=value` applied in order; values are YAML."""
    data = recipe.model_dump(mode="json")
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r}: expected key=value, as in --set stages.0.lr=1e-4")
        _put(data, key.split("."), as_number(parse_yaml(value, f"--set {setting}")), setting)
    return _check(data, "--set")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"the recipe {path} cannot be read: {error.strerror or error}") from error


def parse_yaml(text: str, where: str) -> Any:
    """What `text` says as YAML. Raises UsageError, which begins with `where` it stood."""
    yaml = require("yaml", "train")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date the calendar does not have
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        at = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise UsageError(
            f"{where} is no YAML: {said}{at}; close what is open, and put quotes around what is only text"
        ) from error


def as_number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


_OPEN = ("mix", "options", "terms", "grid")
"""Keys below these are the user's own."""


def _put(data: Any, path: list[str], value: Any, setting: str) -> None:
    at = data
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(at, list):
            if not key.isdigit() or int(key) >= len(at):
                raise UsageError(
                    f"--set {setting}: {'.'.join(path[:depth])} has entries 0 to {len(at) - 1}, got {key!r}"
                )
            if last:
                at[int(key)] = value
            at = at[int(key)]
            continue
        if not isinstance(at, dict) or (key not in at and path[depth - 1] not in _OPEN):
            known = list(_keys(data))
            hint = nearest(".".join(path), known) or nearest(path[-1], known) or f"; known: {', '.join(known)}"
            raise UsageError(f"--set {setting}: the recipe has no {'.'.join(path)}{hint}")
        if last:
            at[key] = value
        else:
            at = at.setdefault(key, {})


def _keys(data: Any, prefix: str = "") -> Iterator[str]:
    items: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield f"{prefix}{key}"
        yield from _keys(value, f"{prefix}{key}.")


def _check(data: Any, where: str) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        is_unknown = first["type"] in ("extra_forbidden", "unexpected_keyword_argument")
        hint = nearest(str(first["loc"][-1]), _field_names()) if is_unknown else ""
        raise UsageError(f"recipe {where}: {first_fault(error)}{hint}") from error


def _field_names() -> list[str]:
    parts: list[type[Written]] = [Recipe, Stage, SourceMix, ModelPart, TeacherPart, CardText]
    return sorted({name for part in parts for name in part.model_fields} | set(Augmentation.__dataclass_fields__))


__all__ = [
    "CardText",
    "Member",
    "ModelPart",
    "Recipe",
    "SourceMix",
    "Stage",
    "TeacherPart",
    "as_number",
    "load_recipe",
    "names",
    "override",
    "parse_yaml",
]
