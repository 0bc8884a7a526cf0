"""Models, one file each: the file's name is its name.

>>> "transfer" in names()
True
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol, cast

from telltale.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    class DetectorNet(Protocol):
        """What every network is: uint8 clips in, logits and the last feature map out."""

        mean: tuple[float, float, float]
        std: tuple[float, float, float]

        def forward(self, clips: Tensor) -> tuple[Tensor, Tensor | None]:
            """uint8 (N, T, S, S, 3) -> logit float32 (N,), features float32 (N, C, h, w), if places mean anything."""
            ...

        def parts(self) -> dict[str, nn.Module]:
            """The network in named parts from input to head, for staged unfreezing."""
            ...


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model begins: `hub` (timm's pretrained weights), `none` (random, said out loud), or a file."""

    source: str

    @property
    def is_file(self) -> bool:
        return self.source not in ("hub", "none")


def names() -> list[str]:
    """Names of all models."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def create(
    name: str, *, weights: Weights, options: dict[str, Any] | None = None, size_px: int | None = None
) -> nn.Module:
    """A model with its starting weights; `size_px` is the side of its input, where its layers depend on it.

    Raises UnknownName, UsageError for options it does not have, BundleInvalid for a weights file that does not fit.
    """
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UnknownName(f"no model {name!r} (there are {', '.join(names())}){hint}")
    module = importlib.import_module(f"{__name__}.{name}")
    given = dict(options or {})
    parameters = inspect.signature(module.create).parameters
    checks_itself = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = set(parameters) - {"weights"}
    unknown = [] if checks_itself else sorted(set(given) - known)
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(known))}"
        raise UsageError(f"model {name} has no option {unknown[0]}{hint}")
    if "size_px" in known and size_px is not None:
        given["size_px"] = size_px
    return cast("nn.Module", module.create(weights=weights, **given))


def run(net: nn.Module, clips: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """`net` on clips (N, T, S, S, 3), with the mask (N, T) where it takes one: models of sequences do."""
    return cast("tuple[Tensor, Tensor | None]", net(clips, mask) if takes_mask(net) else net(clips))


def takes_mask(net: nn.Module) -> bool:
    return int(getattr(net, "n_frames", 1)) > 1


def must_be_random(name: str, weights: Weights) -> None:
    """Raises UsageError unless random weights were asked for: the model has no others."""
    if weights.source != "none":
        raise UsageError(f"model {name} has no pretrained weights: say --weights none to begin from random ones")


__all__ = ["Weights", "create", "must_be_random", "names", "run", "takes_mask"]
