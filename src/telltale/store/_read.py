"""Opening a store: its table, its pictures at random, its splits, and whether every byte is as it was written."""

from __future__ import annotations

import io
import json
import mmap
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from telltale._faults import first_fault
from telltale._files import file_sha256, write_files
from telltale._text import plural, visible
from telltale.bundle import DetectorSettings
from telltale.crops import CropSpec
from telltale.errors import OutputError, StoreInvalid, UsageError
from telltale.sampling import SamplePlan
from telltale.split import SIDES, Split
from telltale.store._format import (
    COLUMNS,
    INDEX_DTYPE,
    MANIFEST,
    SHARD_NAME,
    SHARDS,
    SPLITS,
    UNFINISHED,
    VIDEOS_SCHEMA,
    Manifest,
    Part,
    canonical_json,
    check_part,
    footer_sha256,
    read_manifest,
    read_parquet,
    read_videos_table,
)
from telltale.types import FaceRecord, RgbImage, VideoRecord

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Unit = Literal["video", "face"]
_Seen = TypeVar("_Seen")
_Read = TypeVar("_Read")


def is_store(path: str | Path) -> bool:
    """Whether `path` is a store, finished or not: `open_store` then opens it, or says what is wrong with it."""
    root = Path(path)
    return ((root / MANIFEST).is_file() and (root / SHARDS).is_dir()) or (root / UNFINISHED).is_file()


def check_ours(path: str | Path) -> None:
    """Raises `UsageError` where a store would be made among files that are none of a store's."""
    root = Path(path)
    strangers = sorted(one.name for one in root.iterdir() if not one.name.startswith(".")) if root.is_dir() else []
    if strangers and not (is_store(root) or (root / MANIFEST).exists()):
        raise UsageError(
            f"{visible(str(root))} holds {plural(len(strangers), 'file')} that no store has, such as "
            f"{visible(strangers[0])}: choose another --out, or empty it first"
        )


def open_store(path: str | Path) -> Store:
    """The finished store at `path`, or `StoreInvalid`. Looks at names and sizes; `Store.verify` reads every byte."""
    root = Path(path)
    try:
        is_there = (root / MANIFEST).is_file()  # to open a pipe is to wait
        manifest = read_manifest(root / MANIFEST) if is_there else None
    except (OSError, ValueError) as error:
        raise StoreInvalid(f"{root / MANIFEST} cannot be read ({error}): restore it from a copy") from error
    if manifest is None:
        if (root / UNFINISHED).is_file():
            raise StoreInvalid(f"{root} is not finished: run the same `telltale prepare` command again")
        raise StoreInvalid(f"{root} is no store (no {MANIFEST}): make one with `telltale prepare`")
    bad = [f"{part.name}: {what}" for part in manifest.parts() if (what := _fault(root, part))]
    if bad:
        raise StoreInvalid(f"{root}: {'; '.join(bad)}: restore from a copy, or prepare the store again")
    return Store(root, manifest)


def _fault(root: Path, part: Part) -> str:
    """What is wrong with a file of the store as far as can be told without opening it; empty if nothing is."""
    path = root / part.name
    try:
        found = path.stat()
    except OSError:
        return "missing"
    if not stat.S_ISREG(found.st_mode):
        return "no regular file"
    return "" if found.st_size == part.size_bytes else f"{found.st_size} bytes, should be {part.size_bytes}"


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

    # --- how it was made ---

    @property
    def crop(self) -> CropSpec:
        """How its faces were cut. Raises `StoreInvalid` where it does not say."""
        said: Any = self.manifest.settings.get("crop")
        return self._understood("how its faces were cut", lambda: CropSpec(**said))

    @property
    def plan(self) -> SamplePlan | None:
        """How its videos were sampled; None where it does not say, as of pictures that came as they were. Raises
        `StoreInvalid` where it cannot be so."""
        plan: Any = self.manifest.settings.get("plan")
        return self._understood("how its videos were sampled", lambda: SamplePlan(**plan)) if plan else None

    @property
    def detector(self) -> DetectorSettings:
        """What found its faces; the default where it does not say. Raises `StoreInvalid` where it cannot be so."""
        said = self.manifest.settings

        def settings() -> DetectorSettings:
            config = said.get("detector_config") or {}
            found = {key: config[key] for key in ("min_confidence", "side_px") if key in config}
            return DetectorSettings(name=said.get("detector", "mtcnn"), **found)

        return self._understood("what found its faces", settings)

    def _understood(self, what: str, read: Callable[[], _Read]) -> _Read:
        try:
            return read()
        except (TypeError, ValueError, UsageError) as error:
            raise StoreInvalid(f"{self.path} does not say {what} ({first_fault(error)}): prepare it again") from error

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
        return _expect_made_by_us(read_parquet(path, columns, shown=shown), part, columns, shown=shown)

    def videos(self) -> pa.Table:
        """One row a video, failed ones too: what the data set says, SHA-256, frames sampled, faces, failure code."""
        part = self.manifest.videos
        shown = f"{self.path}: {part.name}"
        return _expect_made_by_us(read_videos_table(self.path, part), part, VIDEOS_SCHEMA.names, shown=shown)

    def file_sha256s(self) -> dict[str, str]:
        """video_id -> SHA-256 of its file as `prepare` read it, hexadecimal; empty of what lies in a bucket."""
        rows = self.videos().select(["video_id", "sha256"]).to_pylist()
        return {row["video_id"]: row["sha256"] for row in rows}

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
        path = check_part(self.path, part)
        try:
            index = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError) as error:
            raise StoreInvalid(f"{path} is damaged ({error}): prepare the store again") from error
        fits = index.dtype == INDEX_DTYPE and index.shape == (part.n_rows,)
        if not fits or (len(index) and int(index["shard"].max()) >= len(self.manifest.shards)):
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
        table = read_parquet(path, shown=str(path))
        if not {"video_id", "side"} <= set(table.column_names):
            raise StoreInvalid(f"{path} has no column video_id or side: split again with `telltale split`")
        odd = set(table.column("side").to_pylist()) - {*SIDES, ""}
        if odd:  # export makes folders of them
            raise StoreInvalid(
                f"{path}: a side is {', '.join(SIDES[:-1])} or {SIDES[-1]}, got {odd.pop()!r}: split again with "
                "`telltale split`"
            )
        return table

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
        try:
            return dict(json.loads(metadata.get(b"telltale.split", b"{}")))
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreInvalid(
                f"split {name!r} of {self.path} does not say how it was made ({error}): split again with "
                "`telltale split`"
            ) from error

    # --- whole or not ---

    def verify(self) -> None:
        """Read every byte; `StoreInvalid` names each file that is missing, changed, or does not belong. What a run
        that was ended left beside the shards is named as that."""
        bad = []
        for part in self.manifest.parts():
            what = _fault(self.path, part)
            if not what and file_sha256(self.path / part.name) != part.sha256:
                what = "its SHA-256 is not the manifest's"
            if what:
                bad.append(f"{part.name}: {what}")
        named = {part.name for part in self.manifest.shards}
        others = sorted({f"{SHARDS}/{path.name}" for path in (self.path / SHARDS).glob("*.parquet")} - named)
        bad += [f"{name}: not in the manifest" for name in others if not SHARD_NAME.fullmatch(Path(name).name)]
        if bad:
            raise StoreInvalid(f"{self.path}: {'; '.join(bad)}. Restore from a copy, or prepare the store again")
        if others:
            raise StoreInvalid(
                f"{self.path} is whole, but beside its shards there is {', '.join(others)}: left over from a run that "
                "was ended. Remove that, or run the same `telltale prepare` again, which does"
            )


def _expect_made_by_us(table: pa.Table, part: Part, columns: Sequence[str], *, shown: str) -> pa.Table:
    """`table`, read from `part`. Raises `StoreInvalid` where it has other rows, columns or labels."""
    fits = table.num_rows == part.n_rows and set(columns) == set(table.column_names)
    if fits and "label" in table.column_names:
        fits = set(table.column("label").unique().to_pylist()) <= {0, 1}
    if not fits:
        raise StoreInvalid(f"{shown} does not belong to this store: restore it from a copy, or prepare the store again")
    return table


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
