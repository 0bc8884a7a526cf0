"""The faces a training run draws from: one row a face, the columns of a store, its pictures read when they are drawn.

Stores, data sets of face crops and tables of one's own all become a `FaceTable`, and several of them one. A picture is
its bytes, or a `Stored` that says where they lie: faces of a store take no memory until they are looked at.

>>> table = FaceTable.empty()
>>> len(table)
0
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from telltale import datasets
from telltale._group_hashes import content_hash, file_hash
from telltale._stored_picture import DAMAGE, size_of
from telltale._text import plural
from telltale.bundle import DetectorSettings
from telltale.crops import CropSpec, box_of, square_of
from telltale.errors import DataError, LeakFound, StoreInvalid, UsageError
from telltale.sampling import SamplePlan
from telltale.split import make_split
from telltale.store import Store
from telltale.types import BoolArray, FaceRecord, Float32Array, Float64Array, RgbImage, Side

StrArray = npt.NDArray[np.str_]
_OPTIONAL = ("points", "track", "pts_s", "is_filled", "file_hash")
"""Columns of a `FaceTable` that a table read may lack."""
MARGIN_TOLERANCE = 0.1
"""How much wider or tighter than a model learned them faces may be cut where it learned them in one way only."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture in a store."""

    store: Store
    row: int

    def read(self) -> bytes:
        return self.store.image(self.row)


@dataclass(frozen=True)
class FaceTable:
    """Columns of equal length N; row i is one face."""

    dataset: StrArray
    """Where it comes from: figures are kept per source."""
    image_id: StrArray
    label: npt.NDArray[np.int64]
    """1 = fake."""
    group_id: StrArray
    """Never on two sides."""
    side: StrArray
    """train, val or test."""
    box_xyxy: Float32Array
    """(N, 4) px in the stored picture."""
    points: Float32Array
    """(N, 5, 2) px, NaN where no landmarks are known. Order as in `types.Face`."""
    image: npt.NDArray[np.object_]
    """JPEG or PNG bytes, or `Stored`."""
    track: StrArray
    """Which faces follow each other: the same person in the same video."""
    pts_s: Float64Array
    is_filled: BoolArray
    """Cut where a face was expected and not found: there may be a wall, so only sequences are shown it."""
    file_hash: StrArray
    """Of the content of the video or picture that it comes from (`_group_hashes`); empty where unknown."""

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns must be equally long, got {lengths}")

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return (
            f"FaceTable({len(self)} faces, {int(self.label.sum())} fake, sources {sorted(set(self.dataset.tolist()))})"
        )

    @classmethod
    def empty(cls) -> FaceTable:
        return cls.from_rows([])

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> FaceTable:
        """Rows with the column names as keys; `points` may be missing or None."""

        def text(name: str) -> StrArray:
            return np.array([str(row[name]) for row in rows], dtype=np.str_)

        images = np.empty(len(rows), dtype=object)
        images[:] = [row["image"] for row in rows]
        unknown = np.full((5, 2), np.nan, np.float32)
        return cls(
            dataset=text("dataset"),
            image_id=text("image_id"),
            label=np.array([int(row["label"]) for row in rows], dtype=np.int64),
            group_id=text("group_id"),
            side=text("side"),
            box_xyxy=np.array([row["box_xyxy"] for row in rows], dtype=np.float32).reshape(-1, 4),
            points=np.array(
                [unknown if row.get("points") is None else row["points"] for row in rows], dtype=np.float32
            ).reshape(-1, 5, 2),
            image=images,
            track=np.array([str(row.get("track", row["image_id"])) for row in rows], dtype=np.str_),
            pts_s=np.array([row.get("pts_s", 0.0) for row in rows], dtype=np.float64),
            is_filled=np.array([row.get("is_filled", False) for row in rows], dtype=np.bool_),
            file_hash=np.array([str(row.get("file_hash", "")) for row in rows], dtype=np.str_),
        )

    @classmethod
    def from_store(cls, store: Store, sides: StrArray) -> FaceTable:
        """The rows of `store` that are on a side. Each stored crop has the box whose crop it is."""
        kept = np.flatnonzero(sides != "")
        names = ("dataset", "video_id", "label", "group_id", "track_id", "frame_index", "pts_s", "source")
        of = {name: np.array(store.table([name]).column(name).to_pylist()) for name in names}
        sha256s, spec = store.file_sha256s(), store.crop
        images = np.empty(len(kept), dtype=object)
        images[:] = [Stored(store, row) for row in kept.tolist()]
        boxes = np.empty((len(kept), 4), np.float32)
        if spec.kind == "as_given":
            boxes[:] = [box_of(*store.size_px(row), spec) for row in kept.tolist()]
        else:
            boxes[:] = box_of(spec.size_px, spec.size_px, spec)
        return cls(
            dataset=of["dataset"][kept].astype(np.str_),
            image_id=np.array(
                [f"{of['video_id'][i]}#{of['track_id'][i]}#{of['frame_index'][i]}" for i in kept], np.str_
            ),
            label=of["label"][kept].astype(np.int64),
            group_id=of["group_id"][kept].astype(np.str_),
            side=sides[kept].astype(np.str_),
            box_xyxy=boxes,
            points=_points_in_crops(store, kept, spec),
            image=images,
            track=np.array([f"{of['dataset'][i]}/{of['video_id'][i]}#{of['track_id'][i]}" for i in kept], np.str_),
            pts_s=of["pts_s"][kept].astype(np.float64),
            is_filled=of["source"][kept] == "interpolated",
            file_hash=np.array([file_hash(sha256s.get(name, "")) for name in of["video_id"][kept].tolist()], np.str_),
        )

    def take(self, rows: npt.NDArray[Any]) -> FaceTable:
        """The rows of an index array or of a mask."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def on(self, side: Side) -> FaceTable:
        return self.take(self.side == side)

    def encoded(self, row: int) -> bytes:
        """The picture of one row as it is stored."""
        image = self.image[row]
        data: bytes = image.read() if isinstance(image, Stored) else image
        return data

    def decode(self, row: int) -> RgbImage:
        """RGB uint8 (H, W, 3) of one row."""
        import cv2

        bgr = cv2.imdecode(np.frombuffer(self.encoded(row), np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise StoreInvalid(f"{self.dataset[row]}/{self.image_id[row]} does not decode; prepare the store again")
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

    def digest(self) -> str:
        """SHA-256 over the pictures' bytes, in an order of their own."""
        each = sorted(hashlib.sha256(self.encoded(row)).digest() for row in range(len(self)))
        return hashlib.sha256(b"".join(each)).hexdigest()

    def write(self, path: str | Path) -> None:
        columns = {
            field.name: pa.array(getattr(self, field.name).reshape(len(self), -1).tolist())
            if field.name in {"box_xyxy", "points"}
            else pa.array(getattr(self, field.name).tolist())
            for field in fields(self)
            if field.name != "image"
        } | {"image": pa.array([self.encoded(row) for row in range(len(self))])}
        pq.write_table(pa.table(columns), path, compression="none", write_page_checksum=True)

    @classmethod
    def read(cls, path: str | Path) -> FaceTable:
        """Raises DataError for a file that `write` did not write."""
        try:
            table = pq.read_table(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}; copy it again") from error
        missing = {field.name for field in fields(cls) if field.name not in _OPTIONAL} - set(table.column_names)
        if missing:
            raise DataError(
                f"{path} is no table of faces (it lacks {', '.join(sorted(missing)[:3])}): of a list of files make a "
                f"store first, `telltale prepare {path} --out STORE`, and of a store give its folder"
            )
        return cls.from_rows(table.to_pylist())


def _points_in_crops(store: Store, rows: npt.NDArray[np.int64], spec: CropSpec) -> Float32Array:
    """The landmarks of stored crops (N, 5, 2) in pixels of each crop; NaN where unknown, or the crop was turned."""
    found = np.full((len(rows), 5, 2), np.nan, np.float32)
    if spec.kind != "face" or spec.align:
        return found
    columns = store.table(["box_xyxy", "points"]).take(rows)
    boxes, points = (columns.column(name).to_pylist() for name in ("box_xyxy", "points"))
    for i, (box, five) in enumerate(zip(boxes, points, strict=True)):
        if box is None or five is None:
            continue
        centre, side_px = square_of(np.array(box, np.float32), spec)
        found[i] = (np.array(five, np.float64) - centre + side_px / 2) * (spec.size_px / side_px)
    return found


def concat(tables: Sequence[FaceTable]) -> FaceTable:
    """One table after the other."""
    if not tables:
        return FaceTable.empty()
    return FaceTable(
        **{field.name: np.concatenate([getattr(table, field.name) for table in tables]) for field in fields(FaceTable)}
    )


def median_side_px(table: FaceTable, number: int, spec: CropSpec) -> float:
    """Of the shorter sides of the pictures that came as they are and were given as the `number`th, in a table of all
    that was given. `spec` says how their boxes were made (`box_of`). Infinite where none of them is on a side."""
    mine = table.box_xyxy[np.char.startswith(table.track, f"{number}/")]
    if not len(mine):
        return np.inf
    return round(float(np.median(mine[:, 2] - mine[:, 0])) * (1 + 2 * spec.margin_frac))


def copied_files(table: FaceTable, *, allow_leaks: bool) -> set[str]:
    """The groups of files that have faces on more than one side. Raises LeakFound unless `allow_leaks`."""
    on: dict[str, dict[str, str]] = {}  # file -> side -> one of its groups there
    for file, side, group in zip(table.file_hash.tolist(), table.side.tolist(), table.group_id.tolist(), strict=True):
        if file:
            on.setdefault(file, {})[side] = group
    torn = {file: groups for file, groups in on.items() if len(groups) > 1}
    if not torn:
        return set()
    if not allow_leaks:
        shown = ", ".join(f"{group} on {side}" for side, group in next(iter(torn.values())).items())
        raise LeakFound(
            f"{plural(len(torn), 'file')} on more than one side ({shown}): the figures would say nothing about people "
            "that the model never saw. Leave one copy out, or accept it with --allow-leaks"
        )
    return set(table.group_id[np.isin(table.file_hash, list(torn))].tolist())


def common_crop(stores: Sequence[Store]) -> CropSpec | None:
    """How the faces of all stores that were cut here were framed; None where all came as they were.

    Raises UsageError where they differ.
    """
    specs = {replace(spec, size_px=8): store for store in stores if (spec := store.crop).kind != "as_given"}
    if len(specs) > 1:
        raise cut_differently(specs.values())
    return next(iter(specs), None)


def common_margin(stores: Sequence[Store]) -> tuple[float, float] | None:
    """`margin_frac` and `down_frac` of stores whose pictures came as they were; None where they differ, or none did."""
    margins = {(store.crop.margin_frac, store.crop.down_frac) for store in stores}
    return margins.pop() if len(margins) == 1 else None


def cut_differently(stores: Iterable[Store]) -> UsageError:
    return UsageError(
        f"{' and '.join(str(store.path) for store in stores)} were cut in different ways: prepare them with the same "
        "--crop, --margin and --align"
    )


def common_detector(stores: Sequence[Store]) -> DetectorSettings:
    """What found the faces of all stores that were cut here; the default where all came as they were.

    Raises UsageError where they differ.
    """
    found = {store.detector: store for store in stores if store.crop.kind != "as_given"}
    if len(found) > 1:
        said = " and ".join(
            f"{store.path} with {one.name} (confidence from {one.min_confidence:g}, at {one.side_px} px)"
            for one, store in found.items()
        )
        raise UsageError(f"faces were found in {said}: prepare them with the same --detector and --min-confidence")
    return next(iter(found), DetectorSettings())


def common_plan(stores: Sequence[Store]) -> SamplePlan | None:
    """How the videos of all stores were sampled; None where they differ, or none says it."""
    plans = {store.plan for store in stores if store.crop.kind != "as_given"}
    return plans.pop() if len(plans) == 1 else None


def read_faces(path: str | Path) -> FaceTable:
    """A table written by `FaceTable.write`, or any data set of face crops that `datasets.read` knows.

    The latter keeps its own sides where it has any, and is split 80/10/10 by group where not; its pictures are taken to
    be cut as the default `CropSpec` cuts. Raises DataError for a data set of videos: those are prepared first; and for
    a picture that cannot be read.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        return FaceTable.read(path)
    found = datasets.read(path)
    records = [record for record in found.records if isinstance(record, FaceRecord)]
    if not records or len(records) < len(found.records):
        raise DataError(f"{path} holds videos, not face crops: run `telltale prepare {path} --out STORE` first")
    has_sides = any(record.official_split for record in records)
    split = make_split(records, by="official" if has_sides else "group")
    rows = []
    for record in records:
        side = split.side(record.video_id)
        if side is None:
            continue
        image = record.read_bytes()
        try:
            width, height = size_of(image)
        except DAMAGE as error:
            raise DataError(
                f"{record.path} cannot be read as a picture; remove it, or make a store, which leaves it out: "
                f"`telltale prepare {path} --out STORE`"
            ) from error
        rows.append(
            {
                "dataset": record.dataset, "image_id": record.image_id, "label": record.label,
                "group_id": record.group_id, "side": side, "image": image,
                "box_xyxy": box_of(width, height, CropSpec()), "file_hash": content_hash(image),
            }
        )  # fmt: skip
    return FaceTable.from_rows(rows)
