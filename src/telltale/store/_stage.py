"""Preparing a store: each task (one video, or a batch of pictures) is a small file of its own until all are there.

A task's file is named after what the data set says about its records and after the settings, and holds the SHA-256 of
the bytes that were read; it is complete or not there. So a task is done once, and a run that was killed goes on where
it stopped.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from telltale._files import write_files
from telltale._source import fingerprint
from telltale.datasets import Problem, Record
from telltale.errors import InputError, StoreInvalid, TelltaleError, UsageError
from telltale.store._format import (
    MANIFEST,
    SCHEMA,
    STAGING,
    VIDEOS_SCHEMA,
    WRITE_OPTIONS,
    Manifest,
    canonical_json,
    read_parquet,
    settings_sha256,
)
from telltale.store._whole_picture import expect_whole_picture
from telltale.types import ErrorInfo, Face, FaceRecord, RgbImage

PICTURES_PER_TASK = 256
_SETTINGS = "settings.json"
_WITNESSES = 16
"""Files by which a set is known again."""
_TASK_KEY = b"telltale.task"

Task = tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class StoredFace:
    """One row to be: an encoded picture and where it was cut from; `face=None` for a crop that came as it is."""

    image: bytes
    """JPEG or PNG."""
    face: Face | None = None
    track_id: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record: its faces, or why there are none."""

    record: Record
    sha256: str
    """Of the record's file or picture; empty where it could not be read."""
    faces: Sequence[StoredFace] = ()
    n_frames_sampled: int = 0
    n_frames_with_face: int = 0
    failure: ErrorInfo | None = None


def encode_crop(rgb: RgbImage, *, format: str = "jpeg", quality: int = 95) -> bytes:
    """A crop, uint8 (H, W, 3), as JPEG without chroma subsampling, or as PNG; the same bytes for the same pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    if format == "jpeg":
        Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=0)
    elif format == "png":
        Image.fromarray(rgb).save(buffer, "PNG", compress_level=3)
    else:
        raise UsageError(f"crops are stored as jpeg or png, not {format!r}")
    return buffer.getvalue()


def tasks(records: Iterable[Record]) -> Iterator[Task]:
    """`records` cut into tasks: a video is one, up to `PICTURES_PER_TASK` pictures in a row are one."""
    batch: list[Record] = []
    for record in records:
        if not isinstance(record, FaceRecord):
            if batch:
                yield tuple(batch)
                batch = []
            yield (record,)
            continue
        batch.append(record)
        if len(batch) == PICTURES_PER_TASK:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def content_sha256(record: Record) -> str:
    """SHA-256 of the record's bytes, in hex; empty where they cannot be read, or lie in a bucket."""
    if record.version is not None:
        return ""
    try:
        if isinstance(record, FaceRecord):
            return hashlib.sha256(record.read_bytes()).hexdigest()
        return fingerprint(record.path)[0]
    except InputError:
        return ""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a store before it is asked for."""

    settings: dict[str, Any]
    sha256: Mapping[str, str]
    """Name -> SHA-256 of files it holds: of all where it is finished, else of the first few."""

    def holds(self, records: Sequence[Record]) -> bool:
        """Whether any of the first of these that it has by name is the same file: a set that has grown, not another."""
        again = [record for record in records if record.name in self.sha256][:_WITNESSES]
        return any(self.sha256[record.name] == content_sha256(record) for record in again)


def kept_settings(out: str | Path) -> Kept | None:
    """Of the finished store at `out`, else of one begun with `StoreWriter.keep_settings`; None where there is neither.
    Raises `StoreInvalid`."""
    out = Path(out)
    begun = out / STAGING / _SETTINGS
    path = next((path for path in (out / MANIFEST, begun) if path.exists()), None)
    if path is None:
        return None
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        if path == begun:
            return Kept(said["settings"], said["sha256"])
        table = read_parquet(out / said["videos"]["name"], ["path", "sha256"], shown=str(out))
        return Kept(said["settings"], {row["path"]: row["sha256"] for row in table.to_pylist()})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreInvalid(f"{path} does not say how the store is made ({error!r}): choose another --out") from error


class StoreWriter:
    """Makes the store at `out`. Safe to use from several threads, processes and machines that share the folder.

        writer = StoreWriter("faces.store", settings={"size_px": 224, ...})
        for task in tasks(dataset.records):
            if not writer.done(task):
                writer.stage([outcome_of(record) for record in task])     # or .fail(record, error)
        writer.compact(dataset.records, problems=dataset.problems)

    `settings` is everything that changes what is stored, as JSON; another value is another store.
    """

    def __init__(self, out: str | Path, *, settings: Mapping[str, Any]) -> None:
        self.out = Path(out)
        self.settings: dict[str, Any] = json.loads(canonical_json(settings))
        self.settings_sha256 = settings_sha256(self.settings)
        self._finished: dict[str, tuple[tuple[str, str], ...]] | None = None
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest | None:
        path = self.out / MANIFEST
        if not path.exists():
            return None
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StoreInvalid(f"{path} is no manifest of a store ({error}): choose another --out") from error
        if manifest.settings_sha256 != self.settings_sha256:
            keys = sorted(manifest.settings.keys() | self.settings.keys())
            changed = [key for key in keys if manifest.settings.get(key) != self.settings.get(key)]
            raise UsageError(
                f"{self.out} was made with another {', '.join(changed)}: choose another --out, or delete it first"
            )
        return manifest

    def keep_settings(self, records: Sequence[Record]) -> None:
        """Write the settings beside the staged files of a store that is not finished, for `kept_settings`."""
        if self.manifest is None:
            first = {record.name: content_sha256(record) for record in records[:_WITNESSES]}
            said = canonical_json({"settings": self.settings, "sha256": first})
            write_files(self.out / STAGING, {_SETTINGS: said.encode()})

    def task_name(self, task: Sequence[Record]) -> str:
        """The name of a task: the same for the same records, labels and groups, wherever the files lie. An object in a
        bucket is another one when it changes: to compare its bytes, as with files, would be to fetch it again."""
        said = [
            [r.dataset, r.video_id, r.name, r.label, r.method, r.group_id, r.person_id, r.official_split]
            + ([] if r.version is None else [r.version])
            for r in task
        ]
        return hashlib.sha256(canonical_json([self.settings_sha256, said]).encode()).hexdigest()[:32]

    def staged_path(self, name: str) -> Path:
        return self.out / STAGING / name[:2] / f"{name}.parquet"

    def done(self, task: Sequence[Record], *, retry_failed: bool = False) -> bool:
        """True where the task was done with these settings and its files have not changed since. Reads the files, but
        not those in a bucket, whose change the task's name tells."""
        what = self._results(self.task_name(task))
        if what is None or (retry_failed and any(code for _, code in what)):
            return False
        return len(what) == len(task) and all(
            record.version is not None or sha256 == content_sha256(record)
            for (sha256, _), record in zip(what, task, strict=True)
        )

    def _results(self, name: str) -> Sequence[tuple[str, str]] | None:
        """(SHA-256, failure code) of each record of a task that was done before."""
        path = self.staged_path(name)
        if path.exists():
            try:
                rows = read_videos(parquet.read_schema(path))
            except (pa.ArrowException, OSError, StoreInvalid):
                return None
            return [(row["sha256"], row["code"] or "") for row in rows]
        return self.finished().get(name)

    def finished(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        """The tasks that the store at `out` already holds, where there is one."""
        if self._finished is None:
            found: dict[str, tuple[tuple[str, str], ...]] = {}
            if self.manifest is not None:
                path = self.out / self.manifest.videos.name
                table = read_parquet(path, ["task", "sha256", "code"], shown=str(path))
                for row in table.to_pylist():
                    found[row["task"]] = (*found.get(row["task"], ()), (row["sha256"], row["code"] or ""))
            self._finished = found
        return self._finished

    def stage(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what became of one task's records, in their order. Raises `OutputError`, with nothing half-written."""
        name = self.task_name([outcome.record for outcome in outcomes])
        videos = [_video_row(name, outcome) for outcome in outcomes]
        table = _rows(outcomes).replace_schema_metadata(
            {**(SCHEMA.metadata or {}), _TASK_KEY: canonical_json(videos).encode()}
        )
        self.stage_table(name, table)

    def stage_table(self, name: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        parquet.write_table(table, buffer, **WRITE_OPTIONS)
        path = self.staged_path(name)
        write_files(path.parent, {path.name: buffer.getvalue()})

    def fail(self, record: Record, error: TelltaleError, *, sha256: str | None = None) -> None:
        """Keep that `record`, a task of its own, gave no faces because of `error`."""
        digest = content_sha256(record) if sha256 is None else sha256
        self.stage([Outcome(record, digest, failure=ErrorInfo(code=error.code, message=error.message))])

    def stage_as_given(self, task: Sequence[Record]) -> None:
        """Keep pictures as they are, without looking for faces in them. One that cannot be read is a named failure."""
        self.stage([as_given(record) for record in task])

    def compact(self, records: Iterable[Record], *, problems: Sequence[Problem] = ()) -> Manifest:
        """Gather the staged tasks of `records`, in their order, into shards, and finish the store.

        The store appears, or changes from what it was, in the one moment in which its manifest is renamed. The staged
        files are removed afterwards. Raises `DataError` naming what is not done, and `OutputError`.
        """
        from telltale.store._compact import compact

        self.manifest = compact(self, [*tasks(records)], problems=problems)
        self._finished = None
        return self.manifest


def as_given(record: Record) -> Outcome:
    """A picture as it is. One that cannot be read is a named failure; a video is a `UsageError`."""
    if not isinstance(record, FaceRecord):
        raise UsageError(f"{record.name} is a video: only pictures can be stored as they are")
    try:
        data = record.read_bytes()
        expect_whole_picture(record.name, data)
    except InputError as error:
        return Outcome(record, content_sha256(record), failure=ErrorInfo(code=error.code, message=error.message))
    return Outcome(record, hashlib.sha256(data).hexdigest(), [StoredFace(data)])


def _video_row(task: str, outcome: Outcome) -> dict[str, Any]:
    record, failure = outcome.record, outcome.failure
    return {
        "task": task,
        "dataset": record.dataset,
        "video_id": record.video_id,
        "path": record.name,
        "label": record.label,
        "method": record.method,
        "group_id": record.group_id,
        "person_id": record.person_id,
        "official_split": record.official_split,
        "sha256": outcome.sha256,
        "n_frames_sampled": outcome.n_frames_sampled,
        "n_frames_with_face": outcome.n_frames_with_face,
        "n_faces": len(outcome.faces),
        "code": failure.code if failure else None,
        "message": failure.message if failure else None,
    }


def _rows(outcomes: Sequence[Outcome]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for outcome in outcomes:
        record = outcome.record
        for stored in outcome.faces:
            face = stored.face
            values = (
                record.dataset,
                record.video_id,
                record.name,
                record.label,
                record.method,
                record.group_id,
                record.person_id,
                record.official_split,
                stored.track_id,
                face.frame_index if face else 0,
                face.pts_s if face else 0.0,
                face.box_xyxy.astype(np.float32).tolist() if face else None,
                face.points.astype(np.float32).tolist() if face and face.points is not None else None,
                face.confidence if face else None,
                face.source if face else None,
                {"bytes": stored.image, "path": _picture_name(record, stored)},
            )
            for name, value in zip(SCHEMA.names, values, strict=True):
                columns[name].append(value)
    return pa.table(columns, schema=SCHEMA)


def _picture_name(record: Record, stored: StoredFace) -> str:
    if stored.face is None:
        return record.name
    suffix = "png" if stored.image.startswith(b"\x89PNG") else "jpg"
    return f"{record.video_id}/{stored.track_id:03d}_{stored.face.frame_index:06d}.{suffix}"


def read_videos(schema: pa.Schema) -> list[dict[str, Any]]:
    """The rows of the table of videos that a staged file carries."""
    try:
        rows = json.loads((schema.metadata or {})[_TASK_KEY])
    except (KeyError, ValueError) as error:
        raise StoreInvalid("a staged file does not say what it is: delete it") from error
    return [{name: row[name] for name in VIDEOS_SCHEMA.names} for row in rows]


def task_metadata(videos: Sequence[Mapping[str, Any]]) -> dict[bytes, bytes]:
    """What `read_videos` reads."""
    return {**(SCHEMA.metadata or {}), _TASK_KEY: canonical_json(list(videos)).encode()}


__all__ = [
    "Outcome",
    "StoreWriter",
    "StoredFace",
    "Task",
    "as_given",
    "content_sha256",
    "encode_crop",
    "kept_settings",
    "read_videos",
    "task_metadata",
    "tasks",
]
