"""From staged files to shards: in the order of the data set, in bounded memory, visible all at once or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from telltale._files import file_sha256, write_files
from telltale._text import visible
from telltale.datasets import Problem
from telltale.errors import DataError, OutputError, StoreInvalid
from telltale.store._format import (
    ARRAY_BYTES,
    INDEX_DTYPE,
    MANIFEST,
    ROW_GROUP_ROWS,
    SCHEMA,
    SHARD_BYTES,
    SHARDS,
    STAGING,
    UNFINISHED,
    VIDEOS_SCHEMA,
    WRITE_OPTIONS,
    ClassCount,
    FailedVideo,
    Manifest,
    Part,
    find_images,
    footer_sha256,
    pictures_of,
    read_parquet,
)
from telltale.store._rows import read_videos, task_metadata
from telltale.store._stage import StoreWriter, Task

_PART_FILES = ".telltale-*.part"
_OURS = re.compile(
    rf"{SHARDS}/\d{{5}}-[0-9a-f]{{12}}\.parquet|index-[0-9a-f]{{12}}\.npy|videos-[0-9a-f]{{12}}\.parquet"
    rf"|{STAGING}/[0-9a-f]{{2}}/([0-9a-f]{{32}}\.parquet|\.telltale-[^/]+\.part)"
)
"""Names that we give: whatever else lies in the folder is somebody's."""
_CARD = """---
configs:
- config_name: default
  data_files: shards/*.parquet
---
A store of faces made by `telltale prepare`: one row a face, 1 = fake. `manifest.json` says how it was made; the terms
of the data sets it was made from apply.
"""


def compact(writer: StoreWriter, all_tasks: Sequence[Task], *, problems: Sequence[Problem]) -> Manifest:
    """See `StoreWriter.compact`."""
    if not all_tasks:
        raise DataError("there is nothing to store: the data set has no usable file")
    names = [writer.task_name(task) for task in all_tasks]
    staged = [writer.staged_path(name).exists() for name in names]
    held = writer.finished()
    missing = [task for task, name, is_staged in zip(all_tasks, names, staged, strict=True)
               if not is_staged and name not in held]  # fmt: skip
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} tasks are not done, such as {missing[0][0].name}: run the same "
            "command again"
        )
    if writer.manifest is not None and not any(staged) and list(held) == names:
        return _told_anew(writer.out, writer.manifest, problems)
    _unpack(writer, {name for name, is_staged in zip(names, staged, strict=True) if not is_staged})
    return _build(writer, names, problems)


def _told_anew(out: Path, manifest: Manifest, problems: Sequence[Problem]) -> Manifest:
    """The store as it is; the problems of the data set may be others than when it was made."""
    if tuple(problems) != manifest.problems:
        manifest = manifest.model_copy(update={"problems": tuple(problems)})
        write_files(out, {MANIFEST: (manifest.model_dump_json(indent=1) + "\n").encode()})
    _clean(out, manifest)
    return manifest


def _unpack(writer: StoreWriter, wanted: set[str]) -> None:
    """Stage again what the finished store holds of `wanted`, so that it can be gathered anew with what was added."""
    if writer.manifest is None or not wanted:
        return
    path = writer.out / writer.manifest.videos.name
    videos: dict[str, list[dict[str, Any]]] = {}
    for row in read_parquet(path, shown=str(path)).to_pylist():
        videos.setdefault(row["task"], []).append(row)
    task_of = {row["video_id"]: task for task, rows in videos.items() for row in rows}
    empty = SCHEMA.empty_table()
    for task in wanted:
        if not any(row["n_faces"] for row in videos[task]):
            writer.stage_table(task, empty.replace_schema_metadata(task_metadata(videos[task])))
    current: str | None = None
    pending: list[pa.Table] = []
    for part in writer.manifest.shards:
        if file_sha256(writer.out / part.name) != part.sha256:
            raise StoreInvalid(f"{writer.out}: {part.name} is damaged: restore it from a copy, or delete the store")
        for group in _row_groups(writer.out / part.name):
            start = 0
            for task, run in groupby(group.column("video_id").to_pylist(), key=task_of.__getitem__):
                if task != current:
                    _stage_again(writer, current, pending, videos)
                    current, pending = task, []
                n_rows = sum(1 for _ in run)
                if task in wanted:
                    pending.append(group.slice(start, n_rows))
                start += n_rows
    _stage_again(writer, current, pending, videos)


def _stage_again(
    writer: StoreWriter, task: str | None, tables: Sequence[pa.Table], videos: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    if task is not None and tables:
        table = pa.concat_tables(tables)
        writer.stage_table(task, table.replace_schema_metadata(task_metadata(videos[task])))


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.metadata.num_row_groups):
            yield file.read_row_group(group)


def _build(writer: StoreWriter, names: Sequence[str], problems: Sequence[Problem]) -> Manifest:
    out = writer.out
    try:
        (out / SHARDS).mkdir(parents=True, exist_ok=True)
        _sweep(out)
        with contextlib.ExitStack() as stack:
            shards = _Shards(out / SHARDS, stack)
            videos: list[dict[str, Any]] = []
            for name in names:
                path = writer.staged_path(name)
                try:
                    table = read_parquet(path, shown=str(path))
                except StoreInvalid:
                    path.unlink(missing_ok=True)
                    raise
                videos += read_videos(table.schema)
                shards.add(table)
            shards.close()
        index = shards.index()
        buffer = io.BytesIO()
        np.save(buffer, index)
        index_part = _publish(out, "index", ".npy", buffer.getvalue(), len(index))
        buffer = io.BytesIO()
        parquet.write_table(
            pa.Table.from_pylist(videos, VIDEOS_SCHEMA), buffer, compression="zstd", write_page_checksum=True
        )
        videos_part = _publish(out, "videos", ".parquet", buffer.getvalue(), len(videos))
        manifest = _manifest(writer, videos, problems, shards.parts, index_part, videos_part)
        _write_card(out)
        write_files(out, {MANIFEST: (manifest.model_dump_json(indent=1) + "\n").encode()})
        _clean(out, manifest)
    except OSError as error:
        raise OutputError(
            f"{visible(str(out))}: {error.strerror or error}; free some space or make it writable and run the same "
            "command again: what was prepared is kept"
        ) from error
    return manifest


def _publish(out: Path, stem: str, suffix: str, data: bytes, n_rows: int) -> Part:
    """Write a file that is named after its contents, so that it can lie beside the one it will replace."""
    digest = hashlib.sha256(data).hexdigest()
    name = f"{stem}-{digest[:12]}{suffix}"
    write_files(out, {name: data})
    return Part(name=name, size_bytes=len(data), sha256=digest, n_rows=n_rows)


class _Shards:
    """Writes tables one after the other into files of about `SHARD_BYTES`."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.parts: list[Part] = []
        self._writer: parquet.ParquetWriter | None = None
        self._temporary = Path()
        self._pending: list[pa.Table] = []
        self._n_pending = 0
        self._n_pending_bytes = 0
        self._n_bytes = 0
        self._sizes: list[int] = []
        self._crcs: list[int] = []
        self._entries: list[np.ndarray[Any, Any]] = []

    def add(self, table: pa.Table) -> None:
        if table.num_rows == 0:
            return
        table = table.replace_schema_metadata(SCHEMA.metadata)
        start = 0
        for row, data in enumerate(pictures_of(table)):
            if self._n_pending_bytes + data.size > ARRAY_BYTES:
                self._keep(table.slice(start, row - start))
                self._write()
                start = row
            self._sizes.append(data.size)
            self._crcs.append(zlib.crc32(data))
            self._n_bytes += data.size
            self._n_pending_bytes += data.size
        self._keep(table.slice(start))
        if self._n_pending >= ROW_GROUP_ROWS:
            self._write()

    def _keep(self, table: pa.Table) -> None:
        if table.num_rows:
            self._pending.append(table)
            self._n_pending += table.num_rows

    def _write(self) -> None:
        self._flush()
        if self._n_bytes >= SHARD_BYTES:
            self._finish()

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._writer is None:
            handle, name = tempfile.mkstemp(prefix=".telltale-", suffix=".part", dir=self.folder)
            os.close(handle)
            self._temporary = Path(name)
            self.stack.callback(self._abandon, self._temporary)
            self._writer = parquet.ParquetWriter(name, SCHEMA, **WRITE_OPTIONS)
        self._writer.write_table(pa.concat_tables(self._pending).combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        self._pending.clear()
        self._n_pending = self._n_pending_bytes = 0

    def _finish(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        with self._temporary.open("rb+") as file:
            os.fsync(file.fileno())
        self._temporary.chmod(0o644)
        digest = file_sha256(self._temporary)
        name = f"{len(self.parts):05d}-{digest[:12]}.parquet"
        entries = np.zeros(len(self._sizes), INDEX_DTYPE)
        entries["offset"] = _offsets(self._temporary, self._sizes, self._crcs)
        entries["shard"], entries["size"], entries["crc32"] = len(self.parts), self._sizes, self._crcs
        self._entries.append(entries)
        size_bytes = self._temporary.stat().st_size
        self._temporary.replace(self.folder / name)
        self.parts.append(
            Part(
                name=f"{SHARDS}/{name}",
                size_bytes=size_bytes,
                sha256=digest,
                n_rows=len(self._sizes),
                footer_sha256=footer_sha256(self.folder / name),
            )
        )
        self._sizes, self._crcs, self._n_bytes = [], [], 0

    def _abandon(self, temporary: Path) -> None:
        """After a failure: no open file, no half-written one. After success there is nothing left to do."""
        if self._writer is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()
            self._writer = None
        temporary.unlink(missing_ok=True)

    def close(self) -> None:
        self._flush()
        self._finish()

    def index(self) -> np.ndarray[Any, Any]:
        return np.concatenate(self._entries) if self._entries else np.zeros(0, INDEX_DTYPE)


def _offsets(path: Path, sizes: Sequence[int], crcs: Sequence[int]) -> list[int]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        try:
            return find_images(view, parquet.ParquetFile(path), sizes, crcs)
        finally:
            view.release()


def _manifest(
    writer: StoreWriter,
    videos: Sequence[dict[str, Any]],
    problems: Sequence[Problem],
    shards: Sequence[Part],
    index: Part,
    table: Part,
) -> Manifest:
    totals: dict[tuple[str, int, str | None], Counter[str]] = {}
    for row in videos:
        total = totals.setdefault((row["dataset"], row["label"], row["method"]), Counter())
        total["n_videos"] += 1
        total["n_failed"] += row["code"] is not None
        for name in ("n_faces", "n_frames_sampled", "n_frames_with_face"):
            total[name] += row[name]
    failed = [row for row in videos if row["code"] is not None]
    names = ("n_videos", "n_failed", "n_faces", "n_frames_sampled", "n_frames_with_face")
    return Manifest(
        datasets=tuple(sorted({row["dataset"] for row in videos})),
        settings=writer.settings,
        settings_sha256=writer.settings_sha256,
        n_videos=sum(row["n_faces"] > 0 for row in videos),
        n_faces=sum(row["n_faces"] for row in videos),
        counts=tuple(
            ClassCount(dataset=key[0], label=key[1], method=key[2], **{name: total[name] for name in names})
            for key, total in sorted(totals.items(), key=lambda item: (*item[0][:2], item[0][2] or ""))
        ),
        failures=dict(sorted(Counter(row["code"] for row in failed).items())),
        failed=tuple(
            FailedVideo(video_id=row["video_id"], path=row["path"], code=row["code"], message=row["message"] or "")
            for row in failed
        ),
        problems=tuple(problems),
        shards=tuple(shards),
        index=index,
        videos=table,
    )


def _sweep(out: Path) -> None:
    """Remove what a killed run left half-written."""
    for folder in (out, out / SHARDS):
        for path in folder.glob(_PART_FILES):
            path.unlink(missing_ok=True)


def _clean(out: Path, manifest: Manifest) -> None:
    """Remove what the manifest does not name: the store that was there before, and what was staged."""
    named = {part.name for part in manifest.parts()}
    for path in [*out.glob("*"), *out.glob(f"{SHARDS}/*"), *out.glob(f"{STAGING}/*/*")]:
        name = path.relative_to(out).as_posix()
        if name not in named and _OURS.fullmatch(name):
            path.unlink(missing_ok=True)
    _sweep(out)
    for folder in (*out.glob(f"{STAGING}/*"), out / STAGING):
        with contextlib.suppress(OSError):  # not empty, or no folder: not ours
            folder.rmdir()
    (out / UNFINISHED).unlink(missing_ok=True)


def _write_card(out: Path) -> None:
    path = out / "README.md"
    if not path.exists() or b"made by `telltale prepare`" in path.read_bytes():
        write_files(out, {path.name: _CARD.encode()})
