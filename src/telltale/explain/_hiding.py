"""What methods that hide parts of a face share: the scores of many variants, and what is put in place of a part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from telltale.errors import require
from telltale.runtime import Scorer
from telltale.types import Clip, RgbImage

if TYPE_CHECKING:
    from torch import Tensor

BLUR_FRAC = 0.12
"""Standard deviation of the blur, as a fraction of the crop's side: eyes and mouth are gone, light and skin are not."""


def blurred(rgb: RgbImage) -> RgbImage:
    """(T, S, S, 3) without detail: what stands for "hidden". A grey patch would itself look like a forgery."""
    import cv2

    sigma = BLUR_FRAC * rgb.shape[1]
    # From OpenCV's own list of borders, the one that darkens nothing.
    return np.stack([cv2.GaussianBlur(face, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for face in rgb])


def scorer_of_variants(
    scorer: Scorer, clip: Clip, *, sign: int, n_variants: int, on_progress: Callable[[float], None]
) -> Callable[[Tensor], Tensor]:
    """A function for captum: float (N, T, S, S, 3) in 0-255 -> logit for the target, float (N,).

    `n_variants` are expected; `on_progress` gets the share of them that was scored.
    """
    torch = require("torch", "explain")
    n_scored = 0

    def logits(variants: Tensor) -> Any:
        nonlocal n_scored
        pixels = variants.detach().round().clamp(0, 255).to(torch.uint8).numpy()
        scores = scorer.score([replace(clip, rgb=rgb) for rgb in pixels])
        n_scored += len(pixels)
        on_progress(min(n_scored / n_variants, 1.0))
        return torch.from_numpy(sign * scores.logit)

    return logits


def check_libraries(*others: str) -> None:
    """Torch, captum, and what a method needs besides. Raises `MissingExtra`."""
    for module in ("torch", "captum.attr", *others):
        require(module, "explain")


def as_tensor(rgb: RgbImage) -> Any:
    """uint8 (T, S, S, 3) -> float (1, T, S, S, 3)."""
    torch = require("torch", "explain")
    return torch.from_numpy(rgb.astype(np.float32))[None]
