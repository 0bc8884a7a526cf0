"""What a forgery changed, read off from a fake and the same frame of its original, and fakes of which a part is left.

Whoever forged a video left all but the face as it was. Where both are framed alike, what differs by more than
compression is the forgery: where a network should look, and, where nothing differs, a label that is wrong.

>>> original = np.full((64, 64, 3), 100, np.uint8)
>>> fake = original.copy()
>>> fake[20:40, 20:40] += 40
>>> marks = changed(fake, original)
>>> bool(marks[30, 30]), bool(marks[4, 4]), is_unchanged(marks)
(True, False, False)
>>> is_unchanged(changed(original, original))
True
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from telltale.types import Float32Array, RgbImage

Marks = npt.NDArray[np.uint8]
"""(H, W): 255 where a picture was changed, 0 where it was not."""

_BLUR = 0.009
"""Sigma of the comparison in sides of the picture: single pixels differ by compression alone."""
_RIM = 0.06
"""Of the sides: what lies outside the face in any crop, unless it was framed otherwise."""
_NOISE = 3.0
"""So many times the difference along the rim, and one grey level more, is no compression any longer. About 1 % of
DFDC's fakes then show nothing, and those looked at had none (docs/default-model.md)."""
_FRAMED_OTHERWISE = 4.0
"""Grey levels along the rim, from which on a pair does not lie on each other: a quarter of DFDC's."""
_CHANGED_AT_LEAST = 0.012
"""Of the picture."""
_PART = (0.3, 0.9)
"""How much of the forgery a graft keeps."""
_TRIES = 8


def changed(picture: RgbImage, original: RgbImage) -> Marks | None:
    """Where `picture` (H, W, 3) is not `original`; None where the two do not lie on each other."""
    import cv2

    if picture.shape != original.shape:
        return None
    side = max(picture.shape[:2])
    signed = cv2.GaussianBlur(picture.astype(np.float32) - original, (0, 0), _BLUR * side)
    off = np.abs(signed).mean(axis=2)
    noise = float(np.median(_rim(off)))
    if noise > _FRAMED_OTHERWISE:
        return None
    width = max(3, round(0.04 * side)) | 1
    marks = (off > _NOISE * noise + 1).astype(np.uint8) * 255
    marks = cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    # a changed cheek can have the old colour by chance: gaps between what was changed belong to it
    return np.asarray(cv2.morphologyEx(marks, cv2.MORPH_CLOSE, np.ones((width, width), np.uint8)), np.uint8)


def is_unchanged(marks: Marks) -> bool:
    """Whether so little was changed that it shows nowhere: a fake of sound alone, say."""
    return float(marks.mean()) / 255 < _CHANGED_AT_LEAST


def graft(fake: RgbImage, original: RgbImage, marks: Marks, rng: np.random.Generator) -> tuple[RgbImage, Marks]:
    """A part of the forgery put into the original under a soft ellipse, and where it was: another fake of this kind.

    Where no draw keeps a fair part of what was changed, the fake as it is.
    """
    import cv2

    height, width = marks.shape
    ys, xs = np.nonzero(marks)
    if not len(ys):
        return fake, marks
    for _ in range(_TRIES):
        at = int(rng.integers(len(ys)))
        mask: Float32Array = np.zeros((height, width), np.float32)
        axes = rng.uniform(0.25, 0.75, 2) * (width, height)
        centre = (float(xs[at]), float(ys[at]))
        cv2.ellipse(mask, (centre, tuple(axes), float(rng.uniform(0, 180))), 1.0, -1)
        kept = float((mask * marks).sum() / marks.sum())
        if _PART[0] <= kept <= _PART[1]:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.01, 0.06)) * width), np.float32)
            mixed = original + (fake.astype(np.float32) - original) * mask[..., None]
            return np.rint(mixed).astype(np.uint8), np.rint(marks * (mask > 0.25)).astype(np.uint8)
    return fake, marks


def _rim(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    height, width = values.shape
    y, x = max(1, round(_RIM * height)), max(1, round(_RIM * width))
    return np.concatenate([values[:, :x].ravel(), values[:, -x:].ravel(), values[:y].ravel(), values[-y:].ravel()])
