"""Models, one file each: the file's name is its name.

Each has `create`. A network has `mean` and `std`, takes clips uint8 (N, T, S, S, 3) and gives logits float32 (N,) and
features float32 (N, C, h, w), None where their places mean nothing; `parts()` names its parts from input to head, for
staged unfreezing.

>>> "transfer" in names()
True
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from telltale._faults import first_fault
from telltale._text import short
from telltale.bundle import CARD_NAME, MODEL_NAME, WEIGHTS_NAME, load_bundle, shipped_names
from telltale.errors import BundleInvalid, UnknownName, UsageError, WeightsMissing, nearest, require

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model begins: `hub` (timm's pretrained weights), `none` (random, said out loud), a file, or a bundle."""

    source: str

    @property
    def bundle(self) -> str | None:
        """The folder or the shipped name, where it is a bundle: the whole model's weights, not a backbone's."""
        is_bundle = Path(self.source, CARD_NAME).is_file() or self.source in shipped_names()
        return self.source if is_bundle else None

    @property
    def is_file(self) -> bool:
        return self.source not in ("hub", "none") and self.bundle is None


def names() -> list[str]:
    """Names of all models."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def create(
    name: str, *, weights: Weights, options: dict[str, Any] | None = None, size_px: int | None = None
) -> nn.Module:
    """A model with its starting weights; `size_px` is the side of its input, where its layers depend on it.

    Raises UnknownName, UsageError for options it does not have or cannot take, BundleInvalid for a weights file that
    does not fit.
    """
    if name not in names():
        raise UnknownName(f"no model {name!r} (there are {', '.join(names())}){nearest(name, names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    given = dict(options or {})
    parameters = inspect.signature(module.create).parameters
    checks_itself = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = set(parameters) - {"weights"}
    unknown = [] if checks_itself else sorted(set(given) - known)
    if unknown:
        hint = nearest(unknown[0], known) or f"; it has {', '.join(sorted(known))}"
        raise UsageError(f"model {name} has no option {unknown[0]}{hint}")
    if not checks_itself:
        given = _typed(name, module.create, given)
    if "size_px" in known and size_px is not None:
        given["size_px"] = size_px
    if weights.bundle is not None:
        return _from_bundle(_made(name, module.create, Weights("none"), given), weights.bundle)
    return _made(name, module.create, weights, given)


def _typed(name: str, make: Callable[..., nn.Module], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with the types that `make` states. Raises UsageError."""
    kinds, found = get_type_hints(make), {}
    for option, value in given.items():
        try:
            found[option] = TypeAdapter(kinds[option]).validate_python(value)
        except ValidationError as error:
            said = f"{first_fault(error)}, got {short(repr(value))}"
            raise UsageError(f"model.options.{option} of {name}: {said}") from error
    return found


def _made(name: str, make: Callable[..., nn.Module], weights: Weights, given: Mapping[str, Any]) -> nn.Module:
    """The network. What torch says of a number that no layer can have is a `UsageError`."""
    parameters = inspect.signature(make).parameters.values()
    missing = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    missing = [option for option in missing if option not in ("weights", *given)]
    if missing:
        raise UsageError(f"model {name} needs --set model.options.{missing[0]}=..., which nothing says")
    try:
        return make(weights=weights, **given)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"model.options of {name}: {short(str(error).splitlines()[0])}") from error


def _from_bundle(net: nn.Module, given: str) -> nn.Module:
    """`net` with the weights of a bundle of the same model."""
    bundle = load_bundle(given)
    if bundle.weights_path is None:
        # one without them gives those of its graph, where the network is the same but for its folded norms
        take = getattr(net, "load_graph", None)
        if take is not None and take(bundle.path / MODEL_NAME):
            return net
        own: Any = bundle.card.recipe.get("model") or {}
        options = {name: value for name, value in (own.get("options") or {}).items() if name in ("backbone", "trunks")}
        settings = " ".join(f"--set model.options.{name}={value}" for name, value in options.items())
        hint = f"take the network it has ({settings}), " if settings else ""
        raise WeightsMissing(
            f"bundle {bundle.card.name} holds no {WEIGHTS_NAME}, only its graph: {hint}begin from a bundle that has "
            f"them (those that `telltale train` makes do), or learn from it with --set teacher.bundle={given}"
        )
    state = require("safetensors.torch", "train").load_file(str(bundle.weights_path))
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        said = short(str(error).splitlines()[-1].strip())  # torch names every key that does not fit, thousands
        raise BundleInvalid(
            f"the weights of {bundle.path} do not fit this recipe's model ({said}); take the model of its "
            f"card: {bundle.card.recipe.get('model', 'not stated')}"
        ) from error
    return net


def run_batch(net: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """`net` on a batch of `clips`, or of `features` that its frozen backbone gave, with their `mask`."""
    if "features" in batch:
        return cast("tuple[Tensor, Tensor | None]", net.from_features(batch["features"], batch["mask"]))  # type: ignore[operator]
    return run(net, batch["clips"], batch["mask"])


def run(net: nn.Module, clips: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """`net` on clips (N, T, S, S, 3), with the mask (N, T) where it takes one: models of sequences do."""
    return cast("tuple[Tensor, Tensor | None]", net(clips, mask) if takes_mask(net) else net(clips))


def takes_mask(net: nn.Module) -> bool:
    return int(getattr(net, "n_frames", 1)) > 1


def must_be_random(name: str, weights: Weights) -> None:
    """Raises UsageError unless random weights were asked for: the model has no others."""
    if weights.source != "none":
        raise UsageError(f"model {name} has no pretrained weights: say --weights none to begin from random ones")


__all__ = ["Weights", "create", "must_be_random", "names", "run", "run_batch", "takes_mask"]
