"""HDR pictures (PQ and HLG, BT.2100) to what an ordinary screen shows.

Light is computed from the code values, colours are brought from BT.2020 to BT.709, brightness above a knee is
rolled off (skin lies below it and stays as it is), and BT.1886 gives code values again.

>>> grey = np.full((1, 1, 3), round(0.58 * 65535), np.uint16)  # PQ: 203 nits, "diffuse white"
>>> tone_map(grey, PQ).tolist()
[[[232, 232, 232]]]
"""

from __future__ import annotations

from functools import cache
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from telltale.types import Float32Array, RgbImage

PQ, HLG = 16, 18
"""Transfer characteristics, as ITU-T H.273 numbers them."""
_WHITE_NITS = 203.0
"""Diffuse white in HDR (ITU-R BT.2408)."""
_HLG_PEAK_NITS = 1000.0
_KNEE = 0.6
"""Light relative to diffuse white up to which nothing is changed."""
_SDR_GAMMA = 2.4
"""Of the display, ITU-R BT.1886."""
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""ITU-R BT.2087."""
_BT2020_LUMA = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
_STEPS = 4096
_TINY = 1e-6
STRIP_ROWS = 128
"""Worked on at a time: light in floats takes six times the memory of the picture, and a strip stays in the cache."""


def tone_map(rgb16: npt.NDArray[np.uint16], transfer: int) -> RgbImage:
    """uint16 (H, W, 3) code values in BT.2020 to uint8 (H, W, 3) in BT.709."""
    rgb = np.empty(rgb16.shape, np.uint8)
    for top in range(0, len(rgb16), STRIP_ROWS):
        rgb[top : top + STRIP_ROWS] = _tone_mapped(rgb16[top : top + STRIP_ROWS], transfer)
    return rgb


def _tone_mapped(rgb16: npt.NDArray[np.uint16], transfer: int) -> RgbImage:
    light = np.take(_light(transfer), rgb16 >> 4, mode="clip")
    if transfer == HLG:
        scene = cv2.transform(light, _BT2020_LUMA)
        light *= (np.maximum(scene, _TINY) ** 0.2)[..., None] * (_HLG_PEAK_NITS / _WHITE_NITS)
    light = np.maximum(cv2.transform(light, _BT2020_TO_BT709), 0)
    brightest = np.maximum(
        np.maximum(light[..., 0], light[..., 1]), light[..., 2]
    )  # .max(axis=2) takes 20 times longer
    over = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    rolled_off = np.minimum(brightest, _KNEE) + (1 - _KNEE) * over / (1 + over)
    light *= (rolled_off / np.maximum(brightest, _TINY))[..., None]
    steps = (np.sqrt(light) * (_STEPS - 1)).astype(np.uint16)
    return np.take(_codes(), steps, mode="clip")


@cache
def _light(transfer: int) -> Float32Array:
    """float32 (4096,): light of each 12-bit code value; PQ: 1 = diffuse white, HLG: 1 = the scene's peak."""
    x = np.arange(_STEPS) / (_STEPS - 1)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(x <= 0.5, x * x / 3, (np.exp((x - c) / a) + b) / 12).astype(np.float32)
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = x ** (1 / m2)
    nits = 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return cast(Float32Array, (nits / _WHITE_NITS).astype(np.float32))


@cache
def _codes() -> npt.NDArray[np.uint8]:
    """uint8 (4096,): the code value for the square root of light, which spends the steps on the dark parts."""
    light = (np.arange(_STEPS) / (_STEPS - 1)) ** 2
    return np.round(255 * light ** (1 / _SDR_GAMMA)).astype(np.uint8)
