"""Which faces make a clip: those of one track in time order, cut exactly as a scan cuts them.

>>> from telltale.train._faces import FaceTable
>>> cut_clips(FaceTable.empty(), 1).rows.shape
(0, 1)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telltale.runtime import ClipCutter
from telltale.train._faces import FaceTable
from telltale.types import BoolArray, Clip, RgbImage


@dataclass(frozen=True, slots=True)
class ClipRows:
    """Row i is one clip."""

    rows: npt.NDArray[np.int64]
    """(N, T) rows of the table; a short clip repeats its last."""
    mask: BoolArray
    """(N, T), False where it does."""

    def __len__(self) -> int:
        return len(self.rows)

    def heads(self, table: FaceTable) -> FaceTable:
        """The first face of each clip: what its label, source, group and side are read from."""
        return table if self.rows.shape[1] == 1 else table.take(self.rows[:, 0])


def cut_clips(table: FaceTable, n_frames: int) -> ClipRows:
    """The clips of every track; each face is one where `n_frames` is 1."""
    if n_frames == 1:
        return ClipRows(np.arange(len(table))[:, None], np.ones((len(table), 1), bool))
    order = np.lexsort((table.pts_s, table.track))
    _, first = np.unique(table.track[order], return_index=True)
    clips: list[Clip] = []
    for rows in np.split(order, first[1:]):
        cutter = ClipCutter(n_frames)
        for row in rows.tolist():
            # the row's number travels through the cutter in the place of its pixels
            clips += cutter.add(0, float(table.pts_s[row]), _as_picture(row))
        clips += cutter.finish()
    numbers = [[int.from_bytes(frame.tobytes(), "little") for frame in clip.rgb] for clip in clips]
    masks = [clip.mask for clip in clips]
    return ClipRows(np.array(numbers, np.int64).reshape(-1, n_frames), np.array(masks, bool).reshape(-1, n_frames))


def _as_picture(row: int) -> RgbImage:
    return np.frombuffer(row.to_bytes(12, "little"), np.uint8).reshape(2, 2, 3)


__all__ = ["ClipRows", "cut_clips"]
