"""Where one shot of a clip ends and the next begins, found while its frames go by: no box is carried over a cut.

>>> shots = Shots()
>>> dark, red = np.zeros((90, 160, 3), np.uint8), np.full((90, 160, 3), (200, 30, 30), np.uint8)
>>> [shots.begun_s(picture, time_s) for time_s, picture in ((0.0, dark), (0.04, dark), (0.08, red), (0.12, red))]
[0.0, 0.0, 0.08, 0.08]
"""

from __future__ import annotations

import numpy as np

from telltale._appearance import scene_of
from telltale.tracking import SAME_SHOT_FROM
from telltale.types import Float32Array, RgbImage


class Shots:
    """The shots of one clip, frame by frame."""

    def __init__(self) -> None:
        self._begun_s = 0.0
        self._last: tuple[tuple[int, ...], Float32Array] | None = None
        """Shape and scene of the frame before."""

    def begun_s(self, rgb: RgbImage, time_s: float) -> float:
        """When the shot began that the next frame belongs to.

        Neighbouring frames of a shot keep over nine tenths of their colours in place, which is stricter than two
        samples half a second apart may be: a cut that is not there costs a box until the next look, one that is
        missed puts it on somebody else.
        """
        before, self._last = self._last, (rgb.shape, scene_of(rgb))
        if before is None or before[0] != rgb.shape or np.minimum(before[1], self._last[1]).sum() < SAME_SHOT_FROM:
            self._begun_s = time_s
        return self._begun_s
