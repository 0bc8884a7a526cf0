"""Which faces make a clip: those of one track in time order, cut exactly as a scan cuts them.

>>> from telltale.train._faces import FaceTable
>>> cut_clips(FaceTable.empty(), 1).rows.shape
(0, 1)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telltale.runtime import Windows, padded
from telltale.train._faces import FaceTable
from telltale.types import BoolArray


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
        return table.take(self.rows[:, 0])


def cut_clips(table: FaceTable, n_frames: int) -> ClipRows:
    """The clips of every track; where `n_frames` is 1 each face that was found is one."""
    if n_frames == 1:
        found = np.flatnonzero(~table.is_filled)[:, None]
        return ClipRows(found, np.ones_like(found, bool))
    order = np.lexsort((table.pts_s, table.track))
    _, first = np.unique(table.track[order], return_index=True)
    pieces: list[list[int]] = []
    for rows in np.split(order, first[1:]):
        windows: Windows[int] = Windows(n_frames)
        for row in rows.tolist():
            pieces += [held for _, held in windows.add(0, row)]
        pieces += [held for _, held in windows.finish()]
    numbers, mask = np.empty((len(pieces), n_frames), np.int64), np.empty((len(pieces), n_frames), bool)
    for i, held in enumerate(pieces):
        index, mask[i] = padded(len(held), n_frames)
        numbers[i] = np.array(held)[index]
    return ClipRows(numbers, mask)
