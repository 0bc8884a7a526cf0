"""Shards: written one after the other under hidden names, or kept from the store before; read by the place of a row.

Where a shard ends depends on the tasks in it and nothing else (`ends_shard`), so that a task more in the middle of a
data set changes the shard it falls into and, at times, the next; the others are those that are there already.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import mmap
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from telltale._files import file_sha256
from telltale.errors import StoreInvalid
from telltale.store._format import (
    ARRAY_BYTES,
    INDEX_DTYPE,
    ROW_GROUP_ROWS,
    SCHEMA,
    SHARD_BYTES,
    SHARDS,
    WRITE_OPTIONS,
    Manifest,
    Part,
    find_images,
    footer_sha256,
    pictures_of,
)


def ends_shard(task: str, *, task_bytes: int, shard_bytes: int) -> bool:
    """Whether a shard ends after `task`, named by 32 hex digits, whose pictures take `task_bytes`; the shard then has
    `shard_bytes`.

    From half of `SHARD_BYTES` on a task ends it by its name, the more likely the larger it is (one in `SHARD_BYTES / 2`
    a byte), so that shards take about `SHARD_BYTES` of small tasks as of large ones; at twice `SHARD_BYTES` any does.
    """
    if shard_bytes < SHARD_BYTES // 2:
        return False
    drawn = int(hashlib.sha256(f"end\0{task}".encode()).hexdigest()[:12], 16) / (1 << 48)
    return shard_bytes >= 2 * SHARD_BYTES or drawn * SHARD_BYTES < 2 * task_bytes


class ShardWriter:
    """Writes the faces of one task after the other into files of about `SHARD_BYTES`, which `publish` gives their
    names, and takes over files that are there. What it wrote goes with `stack`."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.parts: list[Part] = []
        self._from: list[Path] = []
        """Where each part lies: under a hidden name, or under that of the store before."""
        self._kept: set[Path] = set()
        self._writer: parquet.ParquetWriter | None = None
        self._temporary = Path()
        self._pending: list[pa.Table] = []
        self._n_pending = 0
        self._n_pending_bytes = 0
        self._n_bytes = 0
        self._sizes: list[int] = []
        self._crcs: list[int] = []
        self._entries: list[np.ndarray[Any, Any]] = []

    @property
    def is_between(self) -> bool:
        """Whether the next face begins a shard."""
        return not self._sizes

    def add(self, task: str, table: pa.Table) -> None:
        if table.num_rows == 0:
            return
        table = table.replace_schema_metadata(SCHEMA.metadata)
        start, before = 0, self._n_bytes
        for row, data in enumerate(pictures_of(table)):
            if self._n_pending_bytes + data.size > ARRAY_BYTES:
                self._hold(table.slice(start, row - start))
                self._flush()
                start = row
            self._sizes.append(data.size)
            self._crcs.append(zlib.crc32(data))
            self._n_bytes += data.size
            self._n_pending_bytes += data.size
        self._hold(table.slice(start))
        if self._n_pending >= ROW_GROUP_ROWS:
            self._flush()
        if ends_shard(task, task_bytes=self._n_bytes - before, shard_bytes=self._n_bytes):
            self.close()

    def keep(self, file: Path, part: Part, entries: np.ndarray[Any, Any]) -> None:
        """Take a whole shard as it is: `file`, the part it is of another store, and its faces in the index. Only
        between two shards."""
        assert self.is_between
        entries = entries.copy()
        entries["shard"] = len(self.parts)
        self._entries.append(entries)
        self._from.append(file)
        self._kept.add(file)
        self.parts.append(part.model_copy(update={"name": self._name(part.sha256)}))

    def _name(self, digest: str) -> str:
        return f"{SHARDS}/{len(self.parts):05d}-{digest[:12]}.parquet"

    def _hold(self, table: pa.Table) -> None:
        if table.num_rows:
            self._pending.append(table)
            self._n_pending += table.num_rows

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
        entries = np.zeros(len(self._sizes), INDEX_DTYPE)
        entries["offset"] = _offsets(self._temporary, self._sizes, self._crcs)
        entries["shard"], entries["size"], entries["crc32"] = len(self.parts), self._sizes, self._crcs
        self._entries.append(entries)
        size_bytes = self._temporary.stat().st_size
        self._from.append(self._temporary)
        self.parts.append(
            Part(
                name=self._name(digest),
                size_bytes=size_bytes,
                sha256=digest,
                n_rows=len(self._sizes),
                footer_sha256=footer_sha256(self._temporary),
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

    def publish(self) -> None:
        """Give the files their names: whoever reads all shards of the folder finds none before the whole is written."""
        for file, part in zip(self._from, self.parts, strict=True):
            named = self.folder / Path(part.name).name
            if file not in self._kept:
                file.replace(named)
            elif file != named:
                _link(file, named)

    def index(self) -> np.ndarray[Any, Any]:
        return np.concatenate(self._entries) if self._entries else np.zeros(0, INDEX_DTYPE)


def _link(file: Path, named: Path) -> None:
    """Another name for the same file, or a copy where the disk knows no such thing. The first stays: the store before
    is whole until its successor's manifest is there."""
    if named.exists():  # of a run that was killed here: the name says what is in it
        return
    try:
        named.hardlink_to(file)
    except OSError:
        hidden = named.with_name(f".telltale-{named.stem}.part")
        shutil.copyfile(file, hidden)
        with hidden.open("rb+") as copy:
            os.fsync(copy.fileno())
        hidden.replace(named)


def _offsets(path: Path, sizes: Sequence[int], crcs: Sequence[int]) -> list[int]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        try:
            return find_images(view, parquet.ParquetFile(path), sizes, crcs)
        finally:
            view.release()


class ShardReader:
    """Rows of a finished store's shards, by their place in it. Each shard is checked once, when it is first read."""

    def __init__(self, out: Path, manifest: Manifest) -> None:
        self._out, self._parts = out, manifest.shards
        self._starts = [0, *itertools.accumulate(part.n_rows for part in self._parts)]
        self._shard = -1
        self._file: parquet.ParquetFile | None = None
        self._group_starts: list[int] = []
        self._group = -1
        self._table = SCHEMA.empty_table()

    def rows(self, start: int, n: int) -> pa.Table:
        """Rows `start` to `start + n`. Raises `StoreInvalid` naming the shard that is not as it was written."""
        found = [SCHEMA.empty_table()]
        while n > 0:
            table, at = self._group_of(start)
            piece = table.slice(start - at, n)
            found.append(piece)
            start, n = start + piece.num_rows, n - piece.num_rows
        return pa.concat_tables(found)

    def _group_of(self, row: int) -> tuple[pa.Table, int]:
        """The row group that holds `row`, and the place of its first."""
        shard = bisect.bisect_right(self._starts, row) - 1
        if shard != self._shard or self._file is None:
            self._file = self._opened(shard)
        group = bisect.bisect_right(self._group_starts, row - self._starts[shard]) - 1
        if group != self._group:
            self._table, self._group = self._file.read_row_group(group), group
        return self._table, self._starts[shard] + self._group_starts[group]

    def _opened(self, shard: int) -> parquet.ParquetFile:
        self.close()
        part = self._parts[shard]
        if file_sha256(self._out / part.name) != part.sha256:
            raise StoreInvalid(f"{self._out}: {part.name} is damaged: restore it from a copy, or delete the store")
        file = parquet.ParquetFile(self._out / part.name, page_checksum_verification=True)
        counts = (file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
        self._shard, self._group_starts, self._group = shard, [0, *itertools.accumulate(counts)][:-1], -1
        return file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
