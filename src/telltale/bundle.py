"""A model as a folder: `model.onnx`, `card.json` and, if it can be trained further, `weights.safetensors`.

The card carries everything that must agree between training and scanning: how faces are cropped, how frames
are sampled, which detector finds them, how logits become probabilities and where the two thresholds lie.
Loading checks every file against the SHA-256 in the card and runs nothing that is not ONNX. A pickle, a graph whose
weights lie in other files, and weights that are no numbers are refused (`_onnx_check`).

    bundle = load_bundle("default")
    bundle.card.thresholds.false_positive_rate      # 0.01
    bundle.score(clips).logit                       # positive = fake

The graph takes `clips`, uint8 (N, T, S, S, 3) RGB, and gives `logit`, float32 (N,), positive = fake. Scaling and
normalisation are part of the graph, so that no caller can get them wrong. An optional second output,
`features`, float32 (N, C, h, w), is the last feature map. Sequence models may
take `mask`, bool (N, T), beside the clips.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from telltale._faults import first_fault
from telltale._files import file_sha256
from telltale._onnx_check import check_model
from telltale.aggregate import Calibration, Minimum, Thresholds
from telltale.crops import CropSpec
from telltale.errors import BundleInvalid, UnknownName, UsageError, nearest
from telltale.gate import Gate
from telltale.sampling import SamplePlan
from telltale.types import Written

if TYPE_CHECKING:
    from telltale.types import Clip, Scores

CARD_NAME = "card.json"
MODEL_NAME = "model.onnx"
WEIGHTS_NAME = "weights.safetensors"
_FILES = (MODEL_NAME, WEIGHTS_NAME)
_MAX_FILE_BYTES = 2**31
_MAX_CARD_BYTES = 2**24


class DetectorSettings(Written):
    name: str = "mtcnn"
    min_confidence: float = Field(default=0.9, ge=0, le=1)
    side_px: int = Field(default=720, ge=32)


class TrainingSource(Written):
    name: str
    n_real: int = 0
    n_fake: int = 0
    terms: str = ""
    digest: str = ""
    group_hashes: str = Field(default="", repr=False)
    """Of the groups learned from (`_group_hashes`), so that `evaluate` finds a leak in any store; empty: unknown."""
    validation_hashes: str = Field(default="", repr=False)
    """Of the groups that checkpoint, calibration and thresholds were chosen on."""
    file_hashes: str = Field(default="", repr=False)
    """Of the files (videos, or pictures) learned from, by their content: a copy has other names; empty: unknown."""
    validation_file_hashes: str = Field(default="", repr=False)
    """Of the files chosen on, likewise."""


class ModelCard(Written):
    """What a model is, what it wants and what it is worth."""

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    input_kind: Literal["frame", "clip", "pixels"] = "frame"
    n_frames: int = Field(default=1, ge=1)
    size_px: int = Field(ge=8, le=2048)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Inside the graph already; stated for readers."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    crop: CropSpec
    margins_tolerated: tuple[float, float] = (0.0, 0.5)
    sample: SamplePlan = SamplePlan(at_least=8)
    detector: DetectorSettings = DetectorSettings()
    labels: tuple[Literal["real"], Literal["fake"]] = ("real", "fake")
    """In this order everywhere; a graph that has them the other way round is imported with `input.fake_index` 0."""
    calibration: Calibration = Calibration()
    thresholds: Thresholds = Thresholds()
    minimum: Minimum = Minimum()
    gate: Gate | None = Field(default=None, repr=False)
    """Which faces are too unlike the training's to be called fake. For image models that give `features`."""
    flip_average: bool = False
    """The graph averages a crop and its mirror image."""
    training: tuple[TrainingSource, ...] = ()
    recipe: dict[str, object] = Field(default_factory=dict, repr=False)
    metrics: dict[str, object] = Field(default_factory=dict)
    resources: dict[str, float] = Field(default_factory=dict)
    """wall_s, cpu_s, peak_memory_mb of the training."""
    licence: str = ""
    limits: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    """File name -> SHA-256."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked model folder."""

    path: Path
    card: ModelCard

    def __repr__(self) -> str:
        card = self.card
        takes = f"{card.n_frames} x {card.size_px} px" if card.n_frames > 1 else f"{card.size_px} px"
        return f"Bundle({card.name!r}, takes {takes}, SHA-256 {self.sha256[:12]}…, at {str(self.path)!r})"

    @property
    def model_path(self) -> Path:
        return self.path / MODEL_NAME

    @property
    def weights_path(self) -> Path | None:
        """The network's own weights; None where the card has no hash of them: only what it lists is trusted."""
        return self.path / WEIGHTS_NAME if WEIGHTS_NAME in self.card.files else None

    @property
    def sha256(self) -> str:
        """Of `model.onnx`: what a report names as the model."""
        return self.card.files[MODEL_NAME]

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Logits of `clips`, in their order: uint8 crops (T, S, S, 3) with the card's `n_frames` and `size_px`.

        Each call loads the model anew, on one thread: for clips that come a few at a time keep a `Scorer`. Raises what
        `Scorer` and its `score` do, `UsageError` where a clip has another shape.
        """
        from telltale.runtime import Scorer

        shape = (self.card.n_frames, self.card.size_px, self.card.size_px, 3)
        other = next((clip.rgb.shape for clip in clips if clip.rgb.shape != shape), None)
        if other is not None:
            raise UsageError(f"{self.card.name} takes clips of {shape}, got {other}: cut them as its card says")
        return Scorer(self).score(clips)


def shipped_names() -> list[str]:
    """Names of the bundles inside the package."""
    root = resources.files("telltale") / "weights"
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and (entry / CARD_NAME).is_file())


def load_bundle(name_or_path: str | Path) -> Bundle:
    """The bundle of that shipped name, or in that folder.

    Raises `UnknownName` if there is neither, `BundleInvalid` if a file is missing, changed or not what the card says.
    """
    path = _locate(name_or_path)
    _expect_no_run(path)
    try:
        if (path / CARD_NAME).stat().st_size > _MAX_CARD_BYTES:
            raise BundleInvalid(f"{path / CARD_NAME} is larger than 16 MiB; this is no Telltale bundle")
        card = ModelCard.model_validate_json((path / CARD_NAME).read_bytes())
    except OSError as error:
        raise BundleInvalid(f"{path}: {CARD_NAME} cannot be read ({error}); train or export the model again") from error
    except ValidationError as error:
        raise BundleInvalid(f"{path / CARD_NAME}: {first_fault(error)}; export the model again") from error
    _verify_files(path, card)
    return Bundle(path, card)


def _locate(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.is_dir():
        return path
    shipped = shipped_names()
    if str(name_or_path) in shipped:
        return Path(str(resources.files("telltale") / "weights" / str(name_or_path)))
    raise UnknownName(
        f"no model folder {str(name_or_path)!r} and no shipped model of that name "
        f"(shipped: {', '.join(shipped) or 'none'}){nearest(str(name_or_path), shipped)}"
    )


def _expect_no_run(path: Path) -> None:
    """Raises BundleInvalid, with the folder that is meant, for the folder of a training run or of a search."""
    inside = next((one for one in (path / "bundle", path / "best" / "bundle") if (one / CARD_NAME).is_file()), None)
    if inside is not None and not (path / CARD_NAME).exists():
        raise BundleInvalid(f"{path} is no model, but holds one: give {inside}")


def _verify_files(path: Path, card: ModelCard) -> None:
    if MODEL_NAME not in card.files:
        raise BundleInvalid(f"{path / CARD_NAME} states no SHA-256 for {MODEL_NAME}; export the model again")
    if card.crop.kind != "as_given" and card.crop.size_px != card.size_px:
        raise BundleInvalid(
            f"{path / CARD_NAME}: crops are {card.crop.size_px} px, the model takes {card.size_px} px; export it again"
        )
    for name, expected in card.files.items():
        if Path(name).name != name:
            raise BundleInvalid(f"{path / CARD_NAME} names {name!r}, a file outside the bundle; do not use this bundle")
        if name not in _FILES:
            raise BundleInvalid(
                f"{path / CARD_NAME} names {name!r}; a bundle has {' and '.join(_FILES)}, nothing that could run code: "
                "convert its weights to these, or do not use it"
            )
        file = path / name
        if not file.is_file():
            raise BundleInvalid(f"{file} is missing; fetch the bundle again")
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise BundleInvalid(f"{file} is larger than 2 GiB; this is no Telltale bundle")
        found = file_sha256(file)
        if found != expected:
            raise BundleInvalid(
                f"{file} has SHA-256 {found[:12]}…, the card says {expected[:12]}…; fetch the bundle again"
            )
    check_model((path / MODEL_NAME).read_bytes(), str(path / MODEL_NAME))


def write_card(folder: Path, card: ModelCard) -> ModelCard:
    """Write `card.json` with the SHA-256 of every bundle file in `folder`, atomically; returns the card as written."""
    files = {name: file_sha256(folder / name) for name in (MODEL_NAME, WEIGHTS_NAME) if (folder / name).is_file()}
    card = card.model_copy(update={"files": files})
    text = json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    staged = folder / (CARD_NAME + ".part")
    staged.write_text(text + "\n", encoding="utf-8")
    staged.replace(folder / CARD_NAME)
    return card


__all__ = [
    "CARD_NAME",
    "MODEL_NAME",
    "WEIGHTS_NAME",
    "Bundle",
    "DetectorSettings",
    "ModelCard",
    "TrainingSource",
    "load_bundle",
    "shipped_names",
    "write_card",
]
