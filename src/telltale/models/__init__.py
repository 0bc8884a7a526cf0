"""Models, one file each: the file's name is its name.

>>> "transfer" in names()
True
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol, cast

from telltale.errors import UnknownName

if TYPE_CHECKING:
    from torch import Tensor, nn

    class DetectorNet(Protocol):
        """What every model is: uint8 clips in, logits and the last feature map out."""

        mean: tuple[float, float, float]
        std: tuple[float, float, float]

        def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
            """uint8 (N, T, S, S, 3) -> logit float32 (N,), features float32 (N, C, h, w)."""
            ...

        def stages(self) -> list[nn.Module]:
            """The network in parts from input to head, for staged unfreezing."""
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


def create(name: str, *, weights: Weights, options: dict[str, Any] | None = None) -> nn.Module:
    """A model with its starting weights. Raises UnknownName, BundleInvalid for a weights file that does not fit."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UnknownName(f"no model {name!r} (there are {', '.join(names())}){hint}")
    module = importlib.import_module(f"{__name__}.{name}")
    return cast("nn.Module", module.create(weights=weights, **(options or {})))


__all__ = ["Weights", "create", "names"]
