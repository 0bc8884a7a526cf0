"""What is there of each task of a store that is to be made: staged, or in the finished store of the same folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from telltale.errors import StoreInvalid
from telltale.store._format import Manifest, Part, check_part, read_parquet, read_videos_table
from telltale.store._rows import as_said, read_videos
from telltale.store._shards import ShardReader, ends_shard
from telltale.store._stage import StoreWriter, Task

Named = tuple[str, Task]
"""A task and its name."""


@dataclass(frozen=True, slots=True)
class Held:
    """A task in the finished store."""

    rows: list[dict[str, Any]]
    """Of videos."""
    first_face: int

    @property
    def n_faces(self) -> int:
        return sum(row["n_faces"] for row in self.rows)


@dataclass(frozen=True, slots=True)
class WholeShard:
    """A shard of the finished store that goes into the next as it is."""

    part: Part
    entries: np.ndarray[Any, Any]
    """Of the index."""
    tasks: tuple[str, ...]
    rows: list[dict[str, Any]]
    """Of videos."""


class There:
    """What is there of each task: its staged file, else its rows of the finished store, from where they lie."""

    def __init__(self, writer: StoreWriter, names: Iterable[str]) -> None:
        self._writer, self.out = writer, writer.out
        self.staged = {name for name in names if writer.staged_path(name).exists()}
        self.held: dict[str, Held] = {}
        self.held_rows: list[dict[str, Any]] = []
        self._faces: ShardReader | None = None
        self._shards: dict[int, tuple[Part, np.ndarray[Any, Any]]] = {}
        """Of the finished store, by its first face: what it is, and its part of the index."""
        if writer.manifest is not None:
            self.held_rows = read_videos_table(writer.out, writer.manifest.videos).to_pylist()
            self._faces = ShardReader(writer.out, writer.manifest)
            first = 0
            for _, run in groupby(self.held_rows, key=itemgetter("task")):
                held = Held(list(run), first)
                self.held[writer.name_of(held.rows)] = held
                first += held.n_faces
            self._shards = _shards_of(writer.out, writer.manifest)

    def whole_shard(self, tasks: Sequence[Named], at: int) -> WholeShard | None:
        """The shard that begins with the task `at`, where the next store has the very same: all of its tasks, in their
        order, with what the data set says of them, and an end where its own is."""
        found = self._shards.get(self._first_face(*tasks[at]))
        if found is None:
            return None
        part, entries = found
        first = self.held[tasks[at][0]].first_face
        n_faces, n_bytes, is_end = 0, 0, False
        for end in range(at, len(tasks)):
            name, task = tasks[end]
            held = self._untouched(name, task)
            if held is None or (held.n_faces and held.first_face != first + n_faces):
                return None
            task_bytes = int(entries["size"][n_faces : n_faces + held.n_faces].sum())
            n_faces, n_bytes = n_faces + held.n_faces, n_bytes + task_bytes
            is_end = held.n_faces > 0 and ends_shard(name, task_bytes=task_bytes, shard_bytes=n_bytes)
            if n_faces >= part.n_rows or is_end:
                break
        if n_faces != part.n_rows or not (is_end or self._has_no_face(tasks[end + 1 :])):
            return None
        if _size_bytes(self.out / part.name) != part.size_bytes:  # reading it will say what is wrong
            return None
        names = tuple(name for name, _ in tasks[at : end + 1])
        return WholeShard(part, entries, names, [row for name in names for row in self.held[name].rows])

    def _first_face(self, name: str, task: Task) -> int:
        """Its place, of a task that is as it was and has any; else -1."""
        held = self._untouched(name, task)
        return held.first_face if held is not None and held.n_faces else -1

    def _untouched(self, name: str, task: Task) -> Held | None:
        """What is held of it, where nothing else is staged or said."""
        held = self.held.get(name)
        if held is None or name in self.staged or as_said(name, held.rows, task) != held.rows:
            return None
        return held

    def _has_no_face(self, tasks: Sequence[Named]) -> bool:
        return all(name not in self.staged and not self.held[name].n_faces for name, _ in tasks)

    def size_bytes(self, tasks: Sequence[Named]) -> int:
        """About what these take in shards that have to be written."""
        total = sum(self._writer.staged_path(name).stat().st_size for name in self.staged)
        manifest = self._writer.manifest
        if manifest is None or not manifest.n_faces:
            return total
        n_faces = sum(self.held[name].n_faces for name, _ in tasks if name not in self.staged)
        held_bytes = sum(part.size_bytes for part in manifest.shards) * n_faces // manifest.n_faces
        return total + max(0, held_bytes - sum(shard.part.size_bytes for shard in self._whole_shards(tasks)))

    def _whole_shards(self, tasks: Sequence[Named]) -> Iterator[WholeShard]:
        """About those that the next store takes over."""
        at = 0
        while at < len(tasks):
            shard = self.whole_shard(tasks, at)
            at += 1 if shard is None else len(shard.tasks)
            if shard is not None:
                yield shard

    def read(self, name: str) -> tuple[list[dict[str, Any]], pa.Table]:
        """Its rows of videos, and of faces."""
        if name in self.staged:
            path = self._writer.staged_path(name)
            try:
                table = read_parquet(path, shown=str(path))
            except StoreInvalid:
                path.unlink(missing_ok=True)
                raise
            return read_videos(table.schema), table
        held = self.held[name]
        assert self._faces is not None, "only a finished store holds anything"
        return held.rows, self._faces.rows(held.first_face, held.n_faces)

    def close(self) -> None:
        if self._faces is not None:
            self._faces.close()


def _size_bytes(path: Path) -> int:
    """-1 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _shards_of(out: Path, manifest: Manifest) -> dict[int, tuple[Part, np.ndarray[Any, Any]]]:
    """The shards of a store by their first face, each with its part of the index."""
    index = np.load(check_part(out, manifest.index))
    found, first = {}, 0
    for part in manifest.shards:
        found[first] = part, index[first : first + part.n_rows]
        first += part.n_rows
    return found
