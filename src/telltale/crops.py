"""From a box in a picture to the square that a model sees: the only crop code there is.

Training, scanning and explaining all call `crop_face` with the `CropSpec` of the model's card, so that a model
never meets a face cut in another way than those it learned from.

>>> picture = np.full((120, 160, 3), 90, np.uint8)
>>> crop_face(picture, np.array([100, 10, 170, 90], np.float32), None, CropSpec(size_px=64)).shape
(64, 64, 3)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from telltale.types import Float32Array, RgbImage


@dataclass(frozen=True, slots=True)
class CropSpec:
    """How faces are cut. Part of a model's card and of a store's manifest; no two ways ever mix."""

    kind: Literal["face", "centre_square", "as_given"] = "face"
    """`face`: around a detected box. `centre_square`: the middle of the whole frame. `as_given`: pictures that
    were already cut by someone else; `margin_frac` then says which margin was measured on them."""
    size_px: int = 224
    margin_frac: float = -0.095
    """Added on each side of the box, as a fraction of its longer side; negative cuts into the box. With `down_frac`,
    the default cuts faces as the DFDC crops were cut (docs/decisions.md)."""
    down_frac: float = 0.07
    """How far below the box's centre the square's centre lies, as a fraction of the box's longer side."""
    align: bool = False
    """Turn the picture so that the eyes are level, where the detector gives points."""

    def __post_init__(self) -> None:
        if self.kind not in ("face", "centre_square", "as_given"):
            raise ValueError(f"kind must be face, centre_square or as_given, got {self.kind!r}")
        if not 8 <= self.size_px <= 1024:
            raise ValueError(f"size_px must be 8-1024, got {self.size_px}")
        if not -0.25 <= self.margin_frac <= 3.0:
            raise ValueError(f"margin_frac must be -0.25 to 3, got {self.margin_frac}")
        if not -0.5 <= self.down_frac <= 0.5:
            raise ValueError(f"down_frac must be -0.5 to 0.5, got {self.down_frac}")


def crop_face(rgb: RgbImage, box_xyxy: Float32Array, points: Float32Array | None, spec: CropSpec) -> RgbImage:
    """The square around a face, uint8 (S, S, 3) with S = `spec.size_px`.

    Its side is the box's longer side times (1 + 2 `margin_frac`), its centre `down_frac` of the longer side below the
    box's centre. Where it reaches outside the picture, the picture's edge pixels are repeated. Pixels are averaged over
    areas when shrinking, interpolated cubically when enlarging. With `spec.align` and `points` (5, 2) the square is
    turned about the same centre, at the same scale, until the eyes are level.

    `box_xyxy` (4,) and `points` are in pixels of `rgb`. Raises ValueError for a box without area.
    """
    centre, side_px = square_of(box_xyxy, spec)
    if spec.align and points is not None:
        eyes_dx, eyes_dy = (float(v) for v in points[1] - points[0])
        return _turned_square(rgb, centre, side_px, math.atan2(eyes_dy, eyes_dx), spec.size_px)
    return _resize(_square(rgb, centre, max(1, round(side_px))), spec.size_px)


def square_of(box_xyxy: Float32Array, spec: CropSpec) -> tuple[tuple[float, float], float]:
    """Centre (x, y) and side, px, of the square that `crop_face` cuts. Raises ValueError for a box without area."""
    x0, y0, x1, y1 = (float(v) for v in box_xyxy)
    longer_px = max(x1 - x0, y1 - y0)
    side_px = longer_px * (1.0 + 2.0 * spec.margin_frac)
    if not (math.isfinite(side_px) and x1 > x0 and y1 > y0):
        raise ValueError(f"box_xyxy must have x1 > x0 and y1 > y0, got {box_xyxy}")
    return ((x0 + x1) / 2.0, (y0 + y1) / 2.0 + spec.down_frac * longer_px), side_px


def box_of(width_px: int, height_px: int, spec: CropSpec) -> Float32Array:
    """The box (4,) that the square in a picture's middle is the crop of: where its face was found, in its own pixels.

    >>> spec = CropSpec(margin_frac=0.25, down_frac=0.1)
    >>> square_of(box_of(150, 150, spec), spec)
    ((75.0, 75.0), 150.0)
    """
    longer_px = min(width_px, height_px) / (1.0 + 2.0 * spec.margin_frac)
    x, y = width_px / 2.0, height_px / 2.0 - spec.down_frac * longer_px
    half = longer_px / 2.0
    return np.array([x - half, y - half, x + half, y + half], np.float32)


def centre_square(rgb: RgbImage, spec: CropSpec) -> RgbImage:
    """The largest square in the middle of the picture, resized to (S, S, 3). A square picture is only resized."""
    height, width = rgb.shape[:2]
    return _resize(_square(rgb, (width / 2.0, height / 2.0), min(height, width)), spec.size_px)


def _square(rgb: RgbImage, centre: tuple[float, float], side: int) -> RgbImage:
    """`side` x `side` px around `centre`: a view where it lies inside the picture, edge pixels repeated where not."""
    left, top = round(centre[0] - side / 2.0), round(centre[1] - side / 2.0)
    columns, pad_left, pad_right = _inside(left, side, rgb.shape[1])
    rows, pad_top, pad_bottom = _inside(top, side, rgb.shape[0])
    part = rgb[rows, columns]
    if pad_left or pad_right or pad_top or pad_bottom:
        import cv2

        padded = cv2.copyMakeBorder(part, pad_top, pad_bottom, pad_left, pad_right, cv2.BORDER_REPLICATE)
        return _bytes(padded)
    return part


def _inside(start: int, length: int, limit: int) -> tuple[slice, int, int]:
    """The part of [start, start + length) in [0, limit), at least one pixel, and what is missing before and after."""
    first = min(max(start, 0), limit - 1)
    last = max(min(start + length, limit), first + 1)
    before = min(max(first - start, 0), length - (last - first))
    return slice(first, last), before, length - (last - first) - before


def _resize(square: RgbImage, size: int) -> RgbImage:
    import cv2

    side = square.shape[0]
    if side == size:
        return np.array(square)
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return _bytes(cv2.resize(square, (size, size), interpolation=how))


def _turned_square(rgb: RgbImage, centre: tuple[float, float], side_px: float, angle: float, size: int) -> RgbImage:
    """Like `_square` + `_resize`, the picture turned by `-angle` (radians, clockwise in the picture) about `centre`."""
    import cv2

    outer = math.ceil(side_px * (abs(math.cos(angle)) + abs(math.sin(angle)))) + 2
    part = _square(rgb, centre, outer)
    # Where the part's pixel (0, 0) lies is rounded: the turn is about the true centre.
    x = centre[0] - round(centre[0] - outer / 2.0)
    y = centre[1] - round(centre[1] - outer / 2.0)
    scale = size / side_px
    if scale < 1.0:  # warpAffine samples single pixels; averaging has to come first
        shrunk = max(1, round(outer * scale))
        part = _bytes(cv2.resize(part, (shrunk, shrunk), interpolation=cv2.INTER_AREA))
        x, y, scale = x * shrunk / outer, y * shrunk / outer, scale * outer / shrunk
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    # OpenCV counts pixel centres as integers; boxes count pixel edges.
    x, y, middle = x - 0.5, y - 0.5, size / 2.0 - 0.5
    matrix = np.array([[cos, sin, middle - cos * x - sin * y], [-sin, cos, middle + sin * x - cos * y]])
    flags = cv2.INTER_CUBIC
    return _bytes(cv2.warpAffine(part, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _bytes(picture: npt.NDArray[Any]) -> RgbImage:
    """OpenCV's stubs know no element types; this is what it gives for uint8."""
    return picture.astype(np.uint8, copy=False)


__all__ = ["CropSpec", "box_of", "centre_square", "crop_face", "square_of"]
