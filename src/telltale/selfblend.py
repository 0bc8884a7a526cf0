"""Fakes made from real faces: a face blended onto itself, or another face onto it.

After Shiohara & Yamasaki, "Detecting Deepfakes with Self-Blended Images" (CVPR 2022), written from the paper: two
copies of one picture, one of them slightly moved, recoloured and resampled, mixed under a deformed, blurred mask of
the face. What remains is what most forgeries share (a seam, two colours, two sharpnesses) and nothing else.
A `donor` gives the other classical forgery, a swapped face, with the same code.

>>> picture = np.full((96, 96, 3), 128, np.uint8)
>>> blend = self_blend(picture, box_xyxy=np.array([8, 8, 88, 88]), rng=np.random.default_rng(0))
>>> blend.rgb.shape, blend.mask.shape
((96, 96, 3), (96, 96))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale.types import Float32Array, RgbImage

# A mean face in units of the distance between the eyes, origin between them, y down. Right eye, left eye, nose,
# right and left mouth corner; then the outline from the right temple over the chin to the left one, and the brow.
_FIVE = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.57], [-0.41, 1.16], [0.41, 1.16]], np.float32)
_JAW = [
    (-1.02, -0.15), (-1.0, 0.3), (-0.93, 0.75), (-0.76, 1.2), (-0.48, 1.58), (0.0, 1.78),
    (0.48, 1.58), (0.76, 1.2), (0.93, 0.75), (1.0, 0.3), (1.02, -0.15),
]  # fmt: skip
_BROW = [(0.85, -0.5), (0.4, -0.58), (-0.4, -0.58), (-0.85, -0.5)]
_FOREHEAD = [(0.95, -0.7), (0.6, -1.1), (0.0, -1.22), (-0.6, -1.1), (-0.95, -0.7)]
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "face": _JAW + _BROW,
    "face_and_forehead": _JAW + _FOREHEAD,
    "lower": [(-0.95, 0.2), *_JAW[2:9], (0.95, 0.2)],
    "inner": [(-0.85, -0.4), (-0.8, 0.5), (-0.6, 1.25), (0.0, 1.48), (0.6, 1.25), (0.8, 0.5), (0.85, -0.4)],
    "mouth": [(-0.65, 0.85), (-0.6, 1.35), (0.0, 1.55), (0.6, 1.35), (0.65, 0.85), (0.0, 0.7)],
}
_OUTLINE_P = {"face": 0.42, "face_and_forehead": 0.2, "lower": 0.13, "inner": 0.17, "mouth": 0.08}
_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Blend:
    """A fake and where it was changed."""

    rgb: RgbImage
    """uint8 (H, W, 3)"""
    mask: Float32Array
    """(H, W), 0-1: how much of each pixel comes from the other copy."""
    background: RgbImage
    """What is left where the mask is 0: the picture given or, half the time, its changed copy (the paper's choice:
    otherwise the face is always the blurred side of the seam)."""


def self_blend(
    target: RgbImage,
    *,
    rng: np.random.Generator,
    box_xyxy: npt.ArrayLike,
    points: npt.ArrayLike | None = None,
    donor: RgbImage | None = None,
    donor_points: npt.ArrayLike | None = None,
) -> Blend:
    """Blend the face of `target` (H, W, 3) with a changed copy of itself, or with the face of `donor`.

    The mask is the hull of a mean face put on the five `points` (5, 2) px, a jittered ellipse in `box_xyxy` (4,) px
    where there are none. A donor needs points on both sides. Raises ValueError otherwise.
    """
    height, width = target.shape[:2]
    known = points is not None and bool(np.isfinite(points).all())
    if donor is not None and (not known or donor_points is None or not np.isfinite(donor_points).all()):
        raise ValueError("a donor needs the five points of both faces")
    five = np.asarray(points, np.float32) if known else None
    mask = face_mask((height, width), rng=rng, box_xyxy=box_xyxy, points=five)
    if donor is not None and five is not None:
        source = _match_colour(
            _warp_donor(donor, np.asarray(donor_points, np.float32), five, target), target, mask, rng
        )
    else:
        source = target
    changed = _change(source, rng)
    kept = target
    if donor is None and rng.random() < 0.5:
        source, kept = target, changed  # the paper changes source or target, half and half
    else:
        source = changed
    source = _shift(source, rng)
    soft = _soften(mask, rng) * float(rng.choice(_RATIOS if donor is None else (0.75, 1.0, 1.0)))
    mixed = kept + (source.astype(np.float32) - kept) * soft[..., None]
    return Blend(np.clip(np.rint(mixed), 0, 255).astype(np.uint8), soft, kept)


def self_blend_clip(
    target: RgbImage,
    *,
    rng: np.random.Generator,
    boxes_xyxy: npt.ArrayLike,
    points: npt.ArrayLike | None = None,
    donor: RgbImage | None = None,
    donor_points: npt.ArrayLike | None = None,
) -> RgbImage:
    """`self_blend` of the frames of a clip (T, H, W, 3), every frame with the same draws: one forgery, not T.

    `boxes_xyxy` (T, 4) and `points` (T, 5, 2) px; points count only where every frame has them.
    """
    five = None if points is None else np.asarray(points, np.float32)
    known = five is not None and bool(np.isfinite(five).all())
    of_frame: list[Float32Array | None] = list(five) if five is not None and known else [None] * len(target)
    seed = int(rng.integers(2**63))
    frames = [
        self_blend(
            frame, rng=np.random.default_rng(seed), box_xyxy=box, points=at, donor=donor, donor_points=donor_points
        ).rgb
        for frame, box, at in zip(target, np.asarray(boxes_xyxy), of_frame, strict=True)
    ]
    return np.stack(frames)


def face_mask(
    shape: tuple[int, int],
    *,
    rng: np.random.Generator,
    box_xyxy: npt.ArrayLike,
    points: Float32Array | None = None,
) -> Float32Array:
    """A hard 0/1 mask (H, W) of the face, or of a part of it: random outline, random vertices."""
    import cv2

    mask = np.zeros(shape, np.float32)
    if points is None:
        x0, y0, x1, y1 = np.asarray(box_xyxy, np.float64)
        size = np.array([x1 - x0, y1 - y0])
        centre = np.array([x0 + x1, y0 + y1]) / 2 + size * rng.uniform(-0.08, 0.08, 2)
        axes = size * rng.uniform([0.26, 0.3], [0.44, 0.5])
        angle = float(rng.uniform(-15, 15))
        cv2.ellipse(mask, (tuple(centre), tuple(2 * axes), angle), 1.0, -1)
        return mask
    name = str(rng.choice(list(_OUTLINE_P), p=list(_OUTLINE_P.values())))
    outline = np.array(_OUTLINES[name], np.float32)
    outline = outline * rng.uniform(0.9, 1.08, 2).astype(np.float32) + rng.normal(0, 0.04, outline.shape).astype(
        np.float32
    )
    ones = np.ones((5, 1), np.float32)
    to_picture, *_ = np.linalg.lstsq(np.hstack([_FIVE, ones]), points, rcond=None)
    vertices = np.hstack([outline, np.ones((len(outline), 1), np.float32)]) @ to_picture
    hull = cv2.convexHull(vertices.astype(np.float32))
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1.0)
    return mask


def _soften(mask: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Elastic deformation and blur, at a third of the size: both are smooth."""
    import cv2

    height, width = mask.shape
    small = cv2.resize(mask, (max(width // 3, 8), max(height // 3, 8)), interpolation=cv2.INTER_AREA)
    h, w = small.shape
    sigma = rng.uniform(0.04, 0.09) * max(h, w)
    field = rng.uniform(-1, 1, (2, h, w)).astype(np.float32)
    field = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in field])
    field *= rng.uniform(0.0, 0.035) * max(h, w) / max(float(np.abs(field).max()), 1e-6)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    small = cv2.remap(small, xx + field[0], yy + field[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if rng.random() < 0.5:  # pull the edge inwards, so that the blur does not reach the hull's outside
        small = cv2.erode(small, np.ones((3, 3), np.uint8), iterations=int(rng.integers(1, 3)))
    blur = np.exp(rng.uniform(np.log(0.006), np.log(0.07))) * max(h, w)
    small = cv2.GaussianBlur(small, (0, 0), blur)
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(soft, 0, 1).astype(np.float32)


def _change(rgb: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Another colour and another sharpness."""
    import cv2

    out: npt.NDArray[Any] = rgb.astype(np.float32)
    if rng.random() < 0.3:
        out += rng.uniform(-20, 20, 3).astype(np.float32)
    if rng.random() < 0.8:
        hsv = cv2.cvtColor(np.clip(out, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-6, 6)) % 180
        hsv[..., 1:] *= rng.uniform(0.78, 1.25, 2)
        out = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    contrast, brightness = rng.uniform(0.9, 1.1), rng.uniform(-20, 20)
    out = (out - 128) * contrast + 128 + brightness * (rng.random() < 0.7)
    out = np.clip(out, 0, 255).astype(np.uint8)
    height, width = out.shape[:2]
    kind = rng.random()
    if kind < 0.45:
        factor = rng.uniform(0.28, 0.8)
        small = cv2.resize(
            out, (max(8, int(width * factor)), max(8, int(height * factor))), interpolation=cv2.INTER_AREA
        )
        how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
        out = cv2.resize(small, (width, height), interpolation=how)
    elif kind < 0.65:
        soft = cv2.GaussianBlur(out, (0, 0), 1.0)
        amount = rng.uniform(0.3, 1.0)
        out = cv2.addWeighted(out, 1 + amount, soft, -amount, 0)
    elif kind < 0.75:
        out = cv2.bilateralFilter(out, 5, rng.uniform(15, 45), 3.0)
    elif kind < 0.82:
        out = cv2.medianBlur(out, 3 if min(height, width) < 200 else 5)
    elif kind < 0.9:
        out = _checkered(out, rng)
    return out.astype(np.uint8, copy=False)


def _checkered(rgb: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    """The lattice that a decoder's upsampling leaves (Odena et al., Deconvolution and Checkerboard Artifacts, 2016)."""
    import cv2

    height, width = rgb.shape[:2]
    factor = int(rng.choice([2, 2, 3, 4]))
    small = cv2.resize(rgb, (max(8, width // factor), max(8, height // factor)), interpolation=cv2.INTER_AREA)
    up: npt.NDArray[Any] = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    up = cv2.GaussianBlur(up, (0, 0), float(rng.uniform(0.3, 0.5)) * factor)
    detail = (rgb.astype(np.float32) - up) * float(rng.uniform(0.0, 0.6))
    return np.clip(up + detail, 0, 255).astype(np.uint8)


def _shift(rgb: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Move by up to 3 % across, 1.5 % down, and scale by up to 5 %."""
    import cv2

    height, width = rgb.shape[:2]
    scale = np.exp(rng.uniform(np.log(0.95), -np.log(0.95)))
    dx, dy = rng.uniform(-0.03, 0.03) * width, rng.uniform(-0.015, 0.015) * height
    matrix = np.array([[scale, 0, dx + (1 - scale) * width / 2], [0, scale, dy + (1 - scale) * height / 2]], np.float32)
    moved = cv2.warpAffine(rgb, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return moved.astype(np.uint8, copy=False)


def _warp_donor(donor: RgbImage, theirs: Float32Array, ours: Float32Array, target: RgbImage) -> RgbImage:
    """The donor's picture moved so that its five points lie on ours."""
    import cv2

    height, width = target.shape[:2]
    matrix, *_ = np.linalg.lstsq(np.hstack([theirs, np.ones((5, 1), np.float32)]), ours, rcond=None)
    moved = cv2.warpAffine(
        donor, matrix.T.astype(np.float32), (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return moved.astype(np.uint8, copy=False)


def _match_colour(source: RgbImage, target: RgbImage, mask: Float32Array, rng: np.random.Generator) -> RgbImage:
    """Give the source's face the target's mean and spread per Lab channel, more or less (Reinhard et al., 2001)."""
    import cv2

    inside = mask > 0.5
    if not inside.any():
        return source
    theirs = cv2.cvtColor(source, cv2.COLOR_RGB2LAB).astype(np.float32)
    ours = cv2.cvtColor(target, cv2.COLOR_RGB2LAB).astype(np.float32)
    a, b = theirs[inside], ours[inside]
    gain = np.clip(b.std(0) / np.maximum(a.std(0), 1.0), 0.5, 2.0)
    matched = (theirs - a.mean(0)) * gain + b.mean(0)
    strength = rng.uniform(0.6, 1.0)
    mixed = np.clip(theirs + (matched - theirs) * strength, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(mixed, cv2.COLOR_LAB2RGB), np.uint8)


__all__ = ["Blend", "face_mask", "self_blend", "self_blend_clip"]
