"""What a store is on disk: the columns of a shard, the manifest, the index of pictures. Writer and reader share it."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pydantic import Field, ValidationError, model_validator

from telltale._faults import first_fault
from telltale._files import file_sha256
from telltale.datasets import Problem
from telltale.errors import StoreInvalid
from telltale.types import Code, Written

MANIFEST = "manifest.json"
SHARDS = "shards"
SPLITS = "splits"
STAGING = "staging"
UNFINISHED = "unfinished.json"
"""The mark of a store that is begun. With it, or a manifest and shards, a folder is ours to write in."""

SHARD_NAME = re.compile(r"\d{5}-[0-9a-f]{12}\.parquet")

ROW_GROUP_ROWS = 512
SHARD_BYTES = 128 << 20
ARRAY_BYTES = (1 << 31) - 1
"""Of pictures in one piece of a table: Arrow counts them in 31 bits."""

_TEXT = pa.string()
SCHEMA = pa.schema(
    [
        ("dataset", _TEXT),
        ("video_id", _TEXT),
        ("path", _TEXT),
        ("label", pa.int64()),
        ("method", _TEXT),
        ("group_id", _TEXT),
        ("person_id", _TEXT),
        ("official_split", _TEXT),
        ("track_id", pa.int32()),
        ("frame_index", pa.int64()),
        ("pts_s", pa.float64()),
        ("box_xyxy", pa.list_(pa.float32())),
        ("points", pa.list_(pa.list_(pa.float32()))),
        ("confidence", pa.float32()),
        ("source", _TEXT),
        ("image", pa.struct([("bytes", pa.binary()), ("path", _TEXT)])),
    ],
    # Hugging Face `datasets` reads this: it shows the column as pictures and the label by name.
    metadata={
        "huggingface": json.dumps(
            {
                "info": {
                    "features": {
                        "label": {"names": ["real", "fake"], "_type": "ClassLabel"},
                        "image": {"_type": "Image"},
                    }
                }
            }
        )
    },
)
"""One row a face. A crop that came as it is (no detection) has no box, points, confidence and source."""

COLUMNS = tuple(name for name in SCHEMA.names if name != "image")

VIDEOS_SCHEMA = pa.schema(
    [
        ("task", _TEXT),
        ("dataset", _TEXT),
        ("video_id", _TEXT),
        ("path", _TEXT),
        ("label", pa.int64()),
        ("method", _TEXT),
        ("group_id", _TEXT),
        ("person_id", _TEXT),
        ("official_split", _TEXT),
        ("sha256", _TEXT),
        ("original_sha256", _TEXT),
        ("n_frames_sampled", pa.int64()),
        ("n_frames_with_face", pa.int64()),
        ("n_faces", pa.int64()),
        ("code", _TEXT),
        ("message", _TEXT),
    ]
)
"""One row a video, failed ones too: what was done, so that it is not done again. `original_sha256` is of the video
where its faces were looked for instead, null where there was none; older stores lack it."""

NO_FACE = str(Code.NO_FACE)
"""Code of a video in which nobody was found: no failure."""

INDEX_DTYPE = np.dtype([("offset", "<u8"), ("shard", "<u4"), ("size", "<u4"), ("crc32", "<u4")])
"""Where each row's encoded picture lies, so that one row costs one read of one picture."""

_LEAVES = (
    *(name for name in COLUMNS if name not in ("box_xyxy", "points")),
    "box_xyxy.list.element",
    "points.list.element.list.element",
    "image.path",
)
WRITE_OPTIONS: dict[str, Any] = {
    "version": "2.6",
    "compression": dict.fromkeys(_LEAVES, "zstd"),
    "use_dictionary": [*COLUMNS[:9], "source"],
    "write_statistics": [*COLUMNS[:11]],
    "write_page_checksum": True,
}
"""Pictures are neither compressed again nor put into dictionaries: their bytes lie in the file as they are."""


Count = Annotated[int, Field(ge=0)]
Label = Annotated[int, Field(ge=0, le=1)]
PartName = Annotated[str, Field(pattern=rf"^({SHARDS}/)?[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Inside the store: a manifest that came from elsewhere may name any file of this machine."""


class Part(Written):
    """One file of the store."""

    name: PartName
    size_bytes: Count
    sha256: str
    n_rows: Count
    footer_sha256: str = ""
    """Of a shard's footer: page checksums leave it out, and a flipped bit there can rename a column."""


class ClassCount(Written):
    """What became of the videos of one data set, label and method."""

    dataset: str
    label: Label
    method: str | None
    n_videos: Count
    n_failed: Count
    n_no_face: Count = 0
    """In which nobody was found. Stores made before do not say."""
    n_faces: Count
    n_frames_sampled: Count
    n_frames_with_face: Count

    @property
    def capture_rate(self) -> float | None:
        """Of the frames sampled, how many gave a face; None where no frame was sampled."""
        return self.n_frames_with_face / self.n_frames_sampled if self.n_frames_sampled else None


class FailedVideo(Written):
    video_id: str
    path: str
    code: str
    message: str


class Manifest(Written):
    """STORE/manifest.json. A store is the files that are named here, and no others."""

    schema_version: Literal[1] = 1
    datasets: tuple[str, ...]
    settings: dict[str, Any]
    settings_sha256: str
    n_videos: Count
    """That gave at least one face."""
    n_faces: Count
    counts: tuple[ClassCount, ...]
    failures: dict[str, Count]
    """Code -> how many videos."""
    failed: tuple[FailedVideo, ...]
    no_face: tuple[str, ...] = ()
    """Paths of the videos in which nobody was found."""
    problems: tuple[Problem, ...]
    """What the reader of the data set found missing, unlabelled, contradictory, duplicate or unknown."""
    shards: tuple[Part, ...]
    index: Part
    videos: Part

    def parts(self) -> Iterator[Part]:
        yield from self.shards
        yield self.index
        yield self.videos

    @model_validator(mode="after")
    def _adds_up(self) -> Manifest:
        n_rows, n_in_shards = self.index.n_rows, sum(part.n_rows for part in self.shards)
        if not self.n_faces == n_rows == n_in_shards:
            raise ValueError(f"n_faces is {self.n_faces}, the index has {n_rows} rows and the shards {n_in_shards}")
        if self.settings_sha256 != settings_sha256(self.settings):
            raise ValueError("the settings are not those whose SHA-256 stands beside them")
        if self.index.size_bytes < n_rows * INDEX_DTYPE.itemsize:
            raise ValueError(f"the index of {n_rows} rows has only {self.index.size_bytes} bytes")
        return self


def read_manifest(path: Path) -> Manifest:
    """Raises OSError, and a ValueError of one line about the first thing that is wrong."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(first_fault(error)) from error


def canonical_json(value: object) -> str:
    """The same text for the same value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def settings_sha256(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()


def footer_sha256(path: Path) -> str:
    """SHA-256 of the footer of a Parquet file: what follows the last page."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - 8))
        length = int.from_bytes(file.read(4), "little") + 8
        file.seek(max(0, end - length))
        return hashlib.sha256(file.read()).hexdigest()


def read_parquet(path: Path, columns: Sequence[str] | None = None, *, shown: str) -> pa.Table:
    """The table in `path`, page checksums verified; `StoreInvalid` naming `shown` where they, or anything, fail."""
    try:
        file = parquet.ParquetFile(path, page_checksum_verification=True)
        try:
            return file.read(columns=columns)
        except pa.ArrowNotImplementedError:  # more than `ARRAY_BYTES` of pictures
            groups = range(file.metadata.num_row_groups)
            return pa.concat_tables([file.read_row_group(group, columns=columns) for group in groups])
    except (pa.ArrowException, OSError) as error:
        raise StoreInvalid(
            f"{shown} is damaged ({error}): restore it from a copy, or prepare the store again"
        ) from error


def check_part(root: Path, part: Part) -> Path:
    """Where a small file of the store lies, all of which is read. Raises `StoreInvalid` if it is not as it was."""
    path, shown = root / part.name, f"{root}: {part.name}"
    try:
        is_whole = file_sha256(path) == part.sha256
    except OSError as error:
        raise StoreInvalid(f"{shown} cannot be read ({error}): restore it from a copy") from error
    if not is_whole:
        raise StoreInvalid(f"{shown} is damaged: restore it from a copy, or prepare the store again")
    return path


def read_videos_table(root: Path, part: Part) -> pa.Table:
    """A store's table of videos, as it was written, with the columns of today. Raises `StoreInvalid`."""
    table = read_parquet(check_part(root, part), shown=f"{root}: {part.name}")
    if "original_sha256" not in table.column_names and "sha256" in table.column_names:
        at = table.column_names.index("sha256") + 1
        table = table.add_column(at, VIDEOS_SCHEMA.field("original_sha256"), pa.nulls(len(table), _TEXT))
    return table


def pictures_of(table: pa.Table) -> Iterator[pa.Buffer]:
    """The encoded picture of each row, not copied."""
    for chunk in table.column("image").chunks:
        for picture in chunk.field("bytes"):
            yield picture.as_buffer()


def find_images(data: memoryview, file: parquet.ParquetFile, sizes: Sequence[int], crcs: Sequence[int]) -> list[int]:
    """Where in a shard's bytes each row's picture begins.

    Pictures lie uncompressed in their pages, each after its length (Parquet's PLAIN encoding of byte arrays), so each
    is found right behind the one before it, or behind the next page's header; its CRC proves it.
    """
    offsets: list[int] = []
    row = 0
    for group in range(file.metadata.num_row_groups):
        columns = file.metadata.row_group(group)
        column = next(
            columns.column(i) for i in range(columns.num_columns) if columns.column(i).path_in_schema == "image.bytes"
        )
        at, end = column.data_page_offset, column.data_page_offset + column.total_compressed_size
        for _ in range(columns.num_rows):
            at = _find(data, at, end, sizes[row], crcs[row])
            offsets.append(at)
            at += sizes[row]
            row += 1
    return offsets


def _find(data: memoryview, at: int, end: int, size: int, crc: int) -> int:
    prefix = size.to_bytes(4, "little")
    if data[at : at + 4] == prefix and zlib.crc32(data[at + 4 : at + 4 + size]) == crc:
        return at + 4
    window = bytes(data[at : min(end, at + 65536)])
    found = window.find(prefix)
    while found >= 0:
        start = at + found + 4
        if zlib.crc32(data[start : start + size]) == crc:
            return start
        found = window.find(prefix, found + 1)
    raise AssertionError(f"picture of {size} bytes is not where Parquet should have put it, at {at}")
