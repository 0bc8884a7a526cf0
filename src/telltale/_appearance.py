"""What a person and a shot look like, in a few numbers: colour histograms, cheap enough for every face.

>>> picture = np.zeros((90, 160, 3), np.uint8); picture[:, 80:] = 200, 30, 30
>>> left, right = np.array([10, 10, 40, 50], np.float32), np.array([110, 10, 140, 50], np.float32)
>>> bool(look_of(picture, left) @ look_of(picture, left) > 0.99)
True
>>> bool(look_of(picture, left) @ look_of(picture, right) < 0.01)
True
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from telltale.types import Float32Array, RgbImage


def look_of(rgb: RgbImage, box_xyxy: Float32Array) -> Float32Array:
    """Colours of a face and of what is worn below it, float32 (2 * 96,) of length 1: compare by dot product, 0-1."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = (float(v) for v in box_xyxy)
    w, h = x1 - x0, y1 - y0
    parts = []
    for left, top, right, bottom in ((x0, y0, x1, y1), (x0 - 0.4 * w, y1 + 0.1 * h, x1 + 0.4 * w, y1 + h)):
        columns = np.clip(np.linspace(left, right, 20).astype(np.int64), 0, width - 1)
        rows = np.clip(np.linspace(top, bottom, 20).astype(np.int64), 0, height - 1)
        parts.append(_histogram(rgb[rows[:, None], columns]))
    look: Float32Array = np.sqrt(np.concatenate(parts) / len(parts))
    return look


def scene_of(rgb: RgbImage) -> Float32Array:
    """Colours of a whole frame in its four quarters, float32 (4 * 96,) of sum 1: compare by the sum of the minima."""
    step_y, step_x = max(1, rgb.shape[0] // 64), max(1, rgb.shape[1] // 64)
    small = np.ascontiguousarray(rgb[::step_y, ::step_x])
    middle_y, middle_x = (small.shape[0] + 1) // 2, (small.shape[1] + 1) // 2
    quarters = [
        small[rows, columns]
        for rows in (slice(None, middle_y), slice(small.shape[0] // 2, None))
        for columns in (slice(None, middle_x), slice(small.shape[1] // 2, None))
    ]
    scene: Float32Array = np.concatenate([_histogram(quarter) for quarter in quarters])
    return scene / np.float32(len(quarters))


def _histogram(rgb: npt.NDArray[np.uint8]) -> Float32Array:
    """Float32 (96,) of sum 1: 8 hues x 4 saturations x 3 values; the hue of grey and of black counts for nothing."""
    import cv2

    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).reshape(-1, 3).astype(np.int64)
    saturation, value = hsv[:, 1] // 64, hsv[:, 2] // 86
    hue = np.where((saturation == 0) | (value == 0), 0, hsv[:, 0] * 8 // 180)
    counts = np.bincount((hue * 4 + saturation) * 3 + value, minlength=96)
    histogram: Float32Array = (counts / counts.sum()).astype(np.float32)
    return histogram


__all__ = ["look_of", "scene_of"]
