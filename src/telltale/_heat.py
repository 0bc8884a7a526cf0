"""Heat on a face: colours that everybody tells apart, the same scale in every picture of a report.

Warm (vermillion) places speak for the target, cold (blue) ones against it; the stronger, the less of the face shows
through. The face below is shown without its colours, because skin is warm itself.

>>> layer(np.array([[4.0, 0.0]], np.float32), full=2.0)[..., 3].tolist()
[[217, 0]]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from telltale._cam import to_crop
from telltale._measured import remark
from telltale._png import png
from telltale.types import Float32Array, Heat, RgbImage

Key = TypeVar("Key")

_FOR, _AGAINST = np.array([213, 94, 0], np.float32), np.array([0, 114, 178], np.float32)
"""Okabe and Ito (2008), as in every figure."""
_MOST_OPAQUE = 0.85
_LEAST_FULL = 0.5
_TOLD = (
    "Orange places speak for a forgery, blue ones against it; the stronger the colour, the more. "
    "It shows what the model reacted to, a region of the face at a time, not what was changed in the picture."
)
LAYER_PX = 40
"""A map of 5 x 5 to 14 x 14 places holds no more; the page enlarges it."""


def strength(heat: Float32Array, *, full: float) -> Float32Array:
    """-1 to 1: how strongly each place is coloured."""
    return np.asarray(np.clip(heat / np.float32(full), -1, 1), np.float32)


def layer(heat: Float32Array, *, full: float) -> npt.NDArray[np.uint8]:
    """uint8 (H, W, 4), RGBA: to be laid over a face. Places at or beyond `full` have the fullest colour."""
    strong = strength(heat, full=full)[..., None]
    rgb = np.where(strong > 0, _FOR, _AGAINST)
    return np.concatenate([rgb, 255 * _MOST_OPAQUE * np.abs(strong)], axis=-1).round().astype(np.uint8)


def layer_png(heat: Float32Array, *, full: float) -> bytes:
    """`layer` as PNG."""
    return png(layer(heat, full=full))


def over(rgb: RgbImage, heat: Float32Array, *, full: float) -> RgbImage:
    """The face, grey, with the heat (S, S) on it: uint8 (S, S, 3)."""
    coloured = layer(heat, full=full).astype(np.float32)
    alpha = coloured[..., 3:] / 255
    return np.asarray(grey(rgb) * (1 - alpha) + coloured[..., :3] * alpha).round().astype(np.uint8)


def grey(rgb: RgbImage) -> RgbImage:
    """The picture without its colours (BT.601 luma), still uint8 (H, W, 3)."""
    luma = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(luma[..., None], 3, axis=2).round().astype(np.uint8)


def contrasted(places: Float32Array) -> tuple[Float32Array, float]:
    """Evidence of places as heat, and from where it counts: zero or, where the whole face speaks for one side, that
    face's average. Otherwise such a face would be of one colour. What lies between zero and the average stays pale.

    >>> contrasted(np.array([[3.0, 5.0]], np.float32)), contrasted(np.array([[-1.0, 5.0]], np.float32))[0].tolist()
    ((array([[0., 1.]], dtype=float32), 4.0), [[-1.0, 3.0]])
    """
    start = float(places.mean())
    beyond = np.maximum(places - np.float32(max(start, 0.0)), 0) + np.minimum(places - np.float32(min(start, 0.0)), 0)
    return np.asarray(beyond, np.float32), start


def full_scale(heats: list[Float32Array]) -> float:
    """One scale for several maps: their strongest hundredth is beyond it. Half a logit at least, so that a face about
    which the model has nothing to say stays pale."""
    if not heats:
        return _LEAST_FULL
    return max(_LEAST_FULL, float(np.quantile(np.abs(np.concatenate([heat.ravel() for heat in heats])), 0.99)))


def cam_layers(places: Mapping[Key, Float32Array]) -> tuple[dict[Key, bytes], Heat]:
    """Class activation maps, logits (h, w), as PNGs to be laid over the crops, on one scale; and how to read them."""
    heats = {key: contrasted(to_crop(one, LAYER_PX))[0] for key, one in places.items()}
    full = round(full_scale(list(heats.values())), 2)
    layers = {key: layer_png(heat, full=full) for key, heat in heats.items()}
    return layers, Heat(method="cam", target="fake", full_logit=full, n_faces=len(layers), told=_told())


def _told() -> str:
    measured = remark("cam")
    return f"{_TOLD} With the model that comes with Telltale: {measured}." if measured else _TOLD
