"""Looking at a store: its rows say how large faces were and when; its pictures too are decoded in the worker."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from telltale._inspect_job import brightness
from telltale.crops import CropSpec, box_of
from telltale.datasets import Record
from telltale.errors import StoreInvalid
from telltale.inspect._seen import Looker, Seen, SeenFace, SeenFrame, median
from telltale.store import Store
from telltale.types import Float64Array, RgbImage

_WHOLE = CropSpec(margin_frac=0.0, down_frac=0.0)


class StoredFaces:
    """The rows of a store, by video."""

    def __init__(self, store: Store) -> None:
        table = store.table(["video_id", "track_id", "pts_s", "box_xyxy"])
        ids = table.column("video_id").to_numpy()
        self._store = store
        self._spec = _crop_of(store)
        self.size_px = _box_sides(table.column("box_xyxy"))
        """(rows,) longer side of each face's box in its video, NaN where there is none."""
        self._pts_s = table.column("pts_s").to_numpy()
        self._track = table.column("track_id").to_numpy()
        order = np.argsort(ids.astype(str), kind="stable")
        names, starts = np.unique(ids[order].astype(str), return_index=True)
        self._rows: dict[str, npt.NDArray[np.int64]] = dict(
            zip(names.tolist(), np.split(order, starts[1:]), strict=True)
        )

    def median_size_px(self, record: Record) -> float:
        sizes = self.size_px[self._rows[record.video_id]]
        return float(np.median(sizes)) if np.isfinite(sizes).all() else math.nan

    def covered_s(self, record: Record) -> float:
        """From the first face to the last."""
        times = self._pts_s[self._rows[record.video_id]]
        return float(times.max() - times.min()) if np.isfinite(times).all() else math.nan

    def look(
        self, records: Iterable[Record], looker: Looker, *, n_frames: int = 1, n_shown: int | None = None
    ) -> list[Seen]:
        """The first faces of each video's first track; of the first `n_shown` videos the pictures are kept too."""
        found: list[Seen] = []
        for record in records:
            rows = self._rows[record.video_id]
            rows = rows[self._track[rows] == self._track[rows].min()]
            rows = rows[np.argsort(self._pts_s[rows], kind="stable")][:n_frames]
            pictures = [(row, looker.decode(record, self._store.image(int(row)))) for row in rows]
            frames = tuple(self._frame(int(row), rgb) for row, rgb in pictures if rgb is not None)
            if not frames:
                continue
            light = median(frame.face.brightness for frame in frames if frame.face is not None)
            kept = frames if n_shown is None or len(found) < n_shown else ()
            found.append(Seen(record, kept, self.median_size_px(record), light, side_px=math.nan))
        return found

    def _frame(self, row: int, rgb: RgbImage) -> SeenFrame:
        height, width = rgb.shape[:2]
        box = box_of(width, height, self._spec)
        x0, y0, x1, y1 = np.clip(box, 0, [width, height, width, height]).round().astype(int)
        face = SeenFace(float(self.size_px[row]), brightness(rgb[y0:y1, x0:x1]), rgb, box)
        return SeenFrame(float(self._pts_s[row]), rgb, np.empty((0, 4), np.float32), face)


def _crop_of(store: Store) -> CropSpec:
    """How the store's crops were cut from their boxes; the whole crop where there was none, or it does not say."""
    try:
        crop = store.crop
    except StoreInvalid:
        return _WHOLE
    return _WHOLE if crop.kind == "centre_square" else crop


def _box_sides(column: pa.ChunkedArray) -> Float64Array:
    boxes: Sequence[pa.ListArray] = column.chunks
    sides = []
    for chunk in boxes:
        known = np.asarray(chunk.is_valid())
        xyxy = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, 4).astype(np.float64)
        side = np.full(len(chunk), math.nan)
        side[known] = np.maximum(xyxy[:, 2] - xyxy[:, 0], xyxy[:, 3] - xyxy[:, 1])
        sides.append(side)
    return np.concatenate(sides) if sides else np.empty(0)
