"""The two classic pictures of an explanation by pieces (Ribeiro et al., KDD 2016)."""

from __future__ import annotations

import numpy as np

from telltale import _heat
from telltale.errors import require
from telltale.types import BoolArray, Float32Array, Int32Array, RgbImage

N_FOR, N_BOTH = 5, 10
_HIDDEN = 127
_TINT = 0.42


def strongest_for(rgb: RgbImage, heat: Float32Array, segments: Int32Array, *, n: int = N_FOR) -> RgbImage:
    """The `n` pieces that speak most for the target; everything else is grey."""
    shown = np.isin(segments, [i for i, weight in _by_strength(heat, segments) if weight > 0][:n])
    return np.where(shown[..., None], rgb, np.uint8(_HIDDEN))


def for_and_against(rgb: RgbImage, heat: Float32Array, segments: Int32Array, *, n: int = N_BOTH) -> RgbImage:
    """The `n` strongest pieces of both kinds: vermillion for the target, blue against it, outlines drawn."""
    out = rgb.astype(np.float32)
    chosen = _by_strength(heat, segments)[:n]
    colours = _heat.layer(np.array([[1.0, -1.0]], np.float32), full=1.0)[0, :, :3].astype(np.float32)
    for piece, weight in chosen:
        inside = segments == piece
        colour = colours[0] if weight > 0 else colours[1]
        out[inside] = (1 - _TINT) * out[inside] + _TINT * colour
    for piece, weight in chosen:
        out[_outline(segments == piece)] = colours[0] if weight > 0 else colours[1]
    return out.round().astype(np.uint8)


def _by_strength(heat: Float32Array, segments: Int32Array) -> list[tuple[int, float]]:
    """(piece, weight), strongest first."""
    pieces, first = np.unique(segments, return_index=True)
    weights = heat.ravel()[first]
    order = np.argsort(-np.abs(weights), kind="stable")
    return [(int(pieces[i]), float(weights[i])) for i in order if weights[i] != 0]


def _outline(inside: BoolArray) -> BoolArray:
    segmentation = require("skimage.segmentation", "explain")
    return np.asarray(segmentation.find_boundaries(inside, mode="inner"), bool)
