"""Opening a store: its table, its pictures at random, its splits, and whether every byte is as it was written."""

from __future__ import annotations

import io
import json
import mmap
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from telltale._files import file_sha256, write_files
from telltale._text import visible
from telltale.errors import OutputError, StoreInvalid, UsageError
from telltale.split import SIDES, Split
from telltale.store._format import (
    COLUMNS,
    INDEX_DTYPE,
    MANIFEST,
    SHARDS,
    SPLITS,
    STAGING,
    Manifest,
    Part,
    canonical_json,
    footer_sha256,
    read_parquet,
)
from telltale.types import FaceRecord, RgbImage, VideoRecord

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Unit = Literal["video", "face"]
_Seen = TypeVar("_Seen")


def open_store(path: str | Path) -> Store:
    """The finished store at `path`, or `StoreInvalid`. Looks at names and sizes; `Store.verify` reads every byte."""
    root = Path(path)
    try:
        manifest = Manifest.model_validate_json((root / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        if (root / STAGING).is_dir():
            raise StoreInvalid(f"{root} is not finished: run the same `telltale prepare` command again") from error
        raise StoreInvalid(f"{root} is no store (no {MANIFEST}): make one with `telltale prepare`") from error
    except (OSError, ValueError) as error:
        raise StoreInvalid(f"{root / MANIFEST} cannot be read ({error}): restore it from a copy") from error
    bad = [f"{part.name}: {what}" for part in manifest.parts() if (what := _wrong_size(root, part))]
    if bad:
        raise StoreInvalid(f"{root}: {'; '.join(bad)}: restore from a copy, or prepare the store again")
    return Store(root, manifest)


def _wrong_size(root: Path, part: Part) -> str:
    try:
        size = (root / part.name).stat().st_size
    except OSError:
        return "missing"
    return "" if size == part.size_bytes else f"{size} bytes, should be {part.size_bytes}"


class Store:
    """Faces in rows, in the order of the data set; `len(store)` of them. Opened by `open_store`.

    Cheap to pickle and safe after fork and spawn: each process maps the files it reads.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._open: tuple[npt.NDArray[np.void], dict[int, mmap.mmap]] | None = None

    def __len__(self) -> int:
        return self.manifest.n_faces

    def __repr__(self) -> str:
        return f"Store({self.path}, {self.manifest.n_faces} faces of {self.manifest.n_videos} videos)"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "manifest": self.manifest, "_open": None}

    # --- the table ---

    def table(self, columns: Sequence[str] = COLUMNS) -> pa.Table:
        """`columns` of every row (`COLUMNS` is all but the pictures), page checksums verified."""
        unknown = set(columns) - {*COLUMNS, "image"}
        if unknown:
            raise UsageError(f"a store has no column {', '.join(sorted(unknown))}: it has {', '.join(COLUMNS)}, image")
        tables = [self._shard_table(part, columns) for part in self.manifest.shards]
        if not tables:
            raise StoreInvalid(f"{self.path} holds no face: its manifest says what became of each video")
        return pa.concat_tables(tables)

    def _shard_table(self, part: Part, columns: Sequence[str]) -> pa.Table:
        path, shown = self.path / part.name, f"{self.path}: {part.name}"
        try:
            whole = footer_sha256(path) == part.footer_sha256
        except OSError as error:
            raise StoreInvalid(f"{shown} cannot be read ({error}): restore it from a copy") from error
        if not whole:
            raise StoreInvalid(f"{shown} is damaged (its footer): restore it from a copy, or prepare the store again")
        return read_parquet(path, columns, shown=shown)

    def videos(self) -> pa.Table:
        """One row a video, failed ones too: what the data set says, SHA-256, frames sampled, faces, failure code."""
        part = self.manifest.videos
        return read_parquet(self.path / part.name, shown=f"{self.path}: {part.name}")

    def records(self) -> list[VideoRecord]:
        """The videos that gave a face, as `split` wants them. `path` is inside the data set, as `name` is."""
        return [
            VideoRecord(path=row["path"], name=row["path"], **{name: row[name] for name in _RECORD})
            for row in self.videos().to_pylist()
            if row["n_faces"]
        ]

    def face_records(self) -> list[FaceRecord]:
        """Every face as a record of its own: for splits that tear videos apart, as papers that split by image did."""
        rows = self.table(["path", "track_id", "frame_index", *_RECORD]).to_pylist()
        return [
            FaceRecord(
                path=row["path"],
                name=row["path"],
                image_id=_face_id(row["video_id"], row["track_id"], row["frame_index"]),
                **{name: row[name] for name in _RECORD if name != "video_id"},
            )
            for row in rows
        ]

    # --- pictures ---

    def image(self, row: int) -> bytes:
        """The encoded picture (JPEG or PNG) of `row`: one read of its bytes, checked against their CRC."""
        index, shards = self._open if self._open is not None else self._map()
        entry = index[row]
        shard, offset, size = int(entry["shard"]), int(entry["offset"]), int(entry["size"])
        if shard not in shards:
            shards[shard] = self._map_shard(shard)
        data = shards[shard][offset : offset + size]
        if zlib.crc32(data) != entry["crc32"]:
            name = self.manifest.shards[shard].name
            raise StoreInvalid(f"{self.path}: {name} is damaged at row {row}: restore it from a copy, or prepare again")
        return data

    def rgb(self, row: int) -> RgbImage:
        """The picture of `row`, uint8 (H, W, 3). Raises `StoreInvalid` where it was kept as it came and is broken."""
        from telltale._stored_picture import rgb_of

        return self._looked_at(row, rgb_of)

    def size_px(self, row: int) -> tuple[int, int]:
        """Its width and height, from the header. Raises as `rgb` does."""
        from telltale._stored_picture import size_of

        return self._looked_at(row, size_of)

    def _looked_at(self, row: int, look: Callable[[bytes], _Seen]) -> _Seen:
        from telltale._stored_picture import DAMAGE

        data = self.image(row)
        try:
            return look(data)
        except DAMAGE as error:
            video_id = self.table(["video_id"]).column("video_id")[row].as_py()
            raise StoreInvalid(
                f"{self.path}: the picture of {visible(video_id)} (row {row}) does not decode: mend or remove the "
                "file and prepare again"
            ) from error

    def _map(self) -> tuple[npt.NDArray[np.void], dict[int, mmap.mmap]]:
        part = self.manifest.index
        path = self.path / part.name
        try:
            index = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreInvalid(f"{path} is damaged ({error}): prepare the store again") from error
        if index.dtype != INDEX_DTYPE or len(index) != part.n_rows:
            raise StoreInvalid(f"{path} does not belong to this store: prepare it again")
        self._open = (index, {})
        return self._open

    def _map_shard(self, shard: int) -> mmap.mmap:
        path = self.path / self.manifest.shards[shard].name
        try:
            with path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise StoreInvalid(f"{path} cannot be read ({error}): restore it from a copy") from error

    # --- splits ---

    def splits(self) -> list[str]:
        """The names of the splits that were written beside the shards."""
        return sorted(path.stem for path in (self.path / SPLITS).glob("*.parquet"))

    def write_split(self, name: str, split: Split, *, unit: Unit = "video") -> None:
        """Keep `split` as `splits/NAME.parquet`. `unit="face"` for one of `face_records`. Shards stay as they are.

        What the store holds and the split leaves out is kept with an empty side: what is added later is not there.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"a split's name has letters, digits, dots and dashes only, got {name!r}")
        held = self.records() if unit == "video" else self.face_records()
        ids = sorted({*split.sides, *(record.video_id for record in held)})
        columns: dict[str, list[Any]] = {"video_id": ids, "side": [split.sides.get(key, "") for key in ids]}
        if unit == "face":
            parts = [key.rsplit("#", 2) for key in ids]
            columns["video_id"] = [part[0] for part in parts]
            columns |= {"track_id": [int(p[1]) for p in parts], "frame_index": [int(p[2]) for p in parts]}
        said = {
            "by": split.by,
            "seed": split.seed,
            "ratio": split.ratio,
            "kept_together": split.kept_together,
            "n_leaked_groups": len(split.leaked_groups),
            "n_shared_persons": len(split.shared_persons),
            "notes": split.notes,
        }
        table = pa.table(columns).replace_schema_metadata({"telltale.split": canonical_json(said)})
        buffer = io.BytesIO()
        parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
        write_files(self.path / SPLITS, {f"{name}.parquet": buffer.getvalue()})

    def remove_split(self, name: str) -> None:
        """Raises `UsageError` where there is none of this name, `OutputError`."""
        self._read_split(name)
        path = self.path / SPLITS / f"{name}.parquet"
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(f"{path} cannot be removed: {error.strerror}; make its folder writable") from error

    def _read_split(self, name: str) -> pa.Table:
        path = self.path / SPLITS / f"{name}.parquet"
        if not path.is_file():
            there = ", ".join(self.splits()) or "none yet"
            raise UsageError(
                f"{self.path} has no split {name!r} (there is: {there}): make it with `telltale split {self.path} "
                f"--name {name}`"
            )
        return read_parquet(path, shown=str(path))

    def sides(self, name: str) -> npt.NDArray[np.str_]:
        """The side of every row in split `name`: train, val, test, or an empty string for rows it leaves out."""
        table = self._read_split(name)
        wanted = table.column("side").to_pylist()
        if "track_id" in table.column_names:
            keys = [_face_id(*key) for key in _columns(table, "video_id", "track_id", "frame_index")]
            rows = [_face_id(*key) for key in _columns(self.table(_FACE), *_FACE)]
        else:
            keys = table.column("video_id").to_pylist()
            rows = self.table(["video_id"]).column("video_id").to_pylist()
        side_of = dict(zip(keys, wanted, strict=True))
        return np.array([side_of.get(row, "") for row in rows], dtype="<U5")

    def side_records(self, name: str) -> dict[str, list[VideoRecord]]:
        """Side -> the videos with a face on it, for `check_leaks`. A torn video is on several."""
        table = self._read_split(name)
        found: dict[str, list[VideoRecord]] = {}
        by_id = {record.video_id: record for record in self.records()}
        for side in SIDES:
            on = dict.fromkeys(
                video for video, at in _columns(table, "video_id", "side") if at == side and video in by_id
            )
            found[side] = [by_id[video] for video in on]
        return found

    def n_undealt(self, name: str) -> int:
        """How many videos split `name` knows nothing of, most likely added after it was made: neither drawn nor left
        out, and not without a side in an official one."""
        known = set(self._read_split(name).column("video_id").to_pylist())
        is_official = self.split_notes(name).get("by") == "official"
        return sum(
            record.video_id not in known and not (is_official and record.official_split is None)
            for record in self.records()
        )

    def split_notes(self, name: str) -> dict[str, Any]:
        """How split `name` was made: by, seed, ratio, what it kept together, what it leaks."""
        metadata = self._read_split(name).schema.metadata or {}
        return cast(dict[str, Any], json.loads(metadata.get(b"telltale.split", b"{}")))

    # --- whole or not ---

    def verify(self) -> None:
        """Read every byte; `StoreInvalid` names each file that is missing, changed, or does not belong."""
        bad = []
        for part in self.manifest.parts():
            what = _wrong_size(self.path, part)
            if not what and file_sha256(self.path / part.name) != part.sha256:
                what = "its SHA-256 is not the manifest's"
            if what:
                bad.append(f"{part.name}: {what}")
        named = {part.name for part in self.manifest.shards}
        there = {f"{SHARDS}/{path.name}" for path in (self.path / SHARDS).glob("*.parquet")}
        bad += [f"{name}: not in the manifest" for name in sorted(there - named)]
        if bad:
            raise StoreInvalid(f"{self.path}: {'; '.join(bad)}. Restore from a copy, or prepare the store again")


def check_distinct(stores: Sequence[Store], *, or_copies: bool = True) -> None:
    """Raises `UsageError` where two of `stores` are one, or copies of one: every face would count twice."""
    seen: dict[str, int] = {}
    for number, store in enumerate(stores):
        for key in (str(store.path.resolve()), *([store.manifest.videos.sha256] if or_copies else [])):
            first = stores[seen.setdefault(key, number)]
            if seen[key] != number:
                same = "is named twice" if first.path == store.path else f"holds the same faces as {first.path}"
                raise UsageError(f"{store.path} {same}, and each would count twice: name one of them once")


def undealt(stores: Sequence[Store], split: str | None) -> list[str]:
    """A sentence for each of `stores` that holds videos of which `split` says nothing, for whoever uses it."""
    if split is None:
        return []
    return [
        f"{n:,} of {store.manifest.n_videos:,} videos of {store.path} are on no side of split {split}: if they came "
        "later, split again with `telltale split`."
        for store in stores
        if (n := store.n_undealt(split))
    ]


_RECORD = (
    "dataset",
    "video_id",
    "label",
    "method",
    "group_id",
    "person_id",
    "official_split",
)
_FACE = ("video_id", "track_id", "frame_index")


def _face_id(video_id: str, track_id: int, frame_index: int) -> str:
    return f"{video_id}#{track_id}#{frame_index}"


def _columns(table: pa.Table, *names: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)


__all__ = ["Store", "check_distinct", "open_store", "undealt"]
