"""The picture that detectors look at: the frame, shrunk to a bounded side, and the way back to the frame's pixels.

>>> picture = shrink(np.zeros((1080, 1920, 3), np.uint8), DetectorConfig())
>>> picture.rgb.shape, picture.min_face_px
((405, 720, 3), 40.0)
>>> picture.to_frame(np.array([0, 0, 72, 72], np.float32))
array([  0.,   0., 192., 192.], dtype=float32)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from telltale.faces import DetectorConfig
from telltale.types import Float32Array, RgbImage

DEFAULT_MIN_FACE_FRAC = 40 / 720
"""Smallest face looked for by default, as a fraction of the shrunk picture's long side."""
LEAST_FACE_PX = 20.0
"""The smallest face looked for is at least this large in the shrunk picture: below, detectors see too little."""
MOST_PX = 4_000_000
"""Of the shrunk picture, whatever was asked for: detection runs where memory is bounded."""
MOST_SIDE_PX = 32_000
"""Of the shrunk picture, likewise: OpenCV's remap counts rows and columns in 16 bits."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    rgb: RgbImage
    min_face_px: float
    """In pixels of `rgb`."""
    stretch_xy: tuple[float, float]
    """Frame pixels per pixel of `rgb`."""

    def to_frame(self, points: Float32Array) -> Float32Array:
        """Pixels of `rgb` -> pixels of the frame; (..., 2 k), x and y in turn."""
        stretch = np.tile(np.array(self.stretch_xy, np.float32), points.shape[-1] // 2)
        return points * stretch


def shrink(rgb: RgbImage, config: DetectorConfig) -> Shrunk:
    """The frame at `config.side_px`, or as much larger as `config.min_face_px` asks for; never enlarged.

    Nor is it ever larger than `MOST_PX` or longer than `MOST_SIDE_PX`: the smallest face found is then larger than
    asked for.
    """
    import cv2

    height, width = rgb.shape[:2]
    long_side = max(height, width)
    scale = min(1.0, config.side_px / long_side)
    if config.min_face_px is not None:
        scale = min(1.0, max(scale, LEAST_FACE_PX / config.min_face_px))
    most = min(math.sqrt(MOST_PX / (height * width)), MOST_SIDE_PX / long_side)
    scale = min(scale, most)
    if config.min_face_px is None:
        min_face_px = max(LEAST_FACE_PX, DEFAULT_MIN_FACE_FRAC * long_side * scale)
    else:
        min_face_px = max(config.min_face_px * scale, LEAST_FACE_PX if scale == most else 0.0)
    if scale == 1.0:
        return Shrunk(rgb, min_face_px, (1.0, 1.0))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = rgb
    while min(small.shape[:2]) % 2 == 0 == max(small.shape[:2]) % 2 and small.shape[1] >= 2 * size[0]:
        half = small.shape[1] // 2, small.shape[0] // 2  # five times faster than at once, in OpenCV
        small = cv2.resize(small, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    # Under a factor of two bilinear weights reach as far as an area's, and OpenCV computes them five times faster.
    rest = cv2.INTER_LINEAR if small.shape[1] < 2 * size[0] else cv2.INTER_AREA
    small = cv2.resize(small, size, interpolation=rest).astype(np.uint8, copy=False)
    return Shrunk(small, min_face_px, (width / size[0], height / size[1]))
