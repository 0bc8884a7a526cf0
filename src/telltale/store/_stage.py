"""Preparing a store: each task (one video, or a batch of pictures) is a small file of its own until all are there.

A task's file is named after its records and the settings, and holds the SHA-256 of the bytes that were read; it is
complete or not there. So a task is done once, and a run that was killed goes on where it stopped. What the data set
says about a record (label, method, group, person, side) changes no face: it is filled in when shards are written.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from telltale._files import write_files
from telltale.datasets import Problem, Record
from telltale.errors import FileUnreadable, StoreInvalid, UsageError
from telltale.store._differences import differences
from telltale.store._format import (
    ARRAY_BYTES,
    MANIFEST,
    NO_FACE,
    STAGING,
    UNFINISHED,
    WRITE_OPTIONS,
    Manifest,
    canonical_json,
    pictures_of,
    read_manifest,
    read_parquet,
    read_videos_table,
    settings_sha256,
)
from telltale.store._outcome import Outcome, as_given, content_sha256
from telltale.store._rows import SAID, read_videos, staged_table
from telltale.types import FaceRecord

PICTURES_PER_TASK = 256
_ENDS_ONE_OF = 128
"""Pictures, on average. One batch in seven is then ended by its length, which what is added before it moves."""
_OLDER_NAME = ("dataset", "video_id", "path", *SAID)
WITNESSES = 16
"""Files by which a set is known again."""

Task = tuple[Record, ...]


def tasks(records: Iterable[Record]) -> Iterator[Task]:
    """`records` cut into tasks: a video is one, up to `PICTURES_PER_TASK` pictures in a row are one.

    Which pictures end a batch is in their names, so that one more is work for its own batch and perhaps the next, not
    for all behind it. `StoreWriter.tasks` knows the batches of older stores too.
    """
    return _cut(records, lambda picture: _hash(picture) % _ENDS_ONE_OF == 0)


def _cut(records: Iterable[Record], is_last: Callable[[FaceRecord], bool]) -> Iterator[Task]:
    batch: list[Record] = []
    for record in records:
        if not isinstance(record, FaceRecord):
            if batch:
                yield tuple(batch)
                batch = []
            yield (record,)
            continue
        batch.append(record)
        if len(batch) == PICTURES_PER_TASK or is_last(record):
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _hash(picture: FaceRecord) -> int:
    said = f"{picture.dataset}/{picture.video_id}".encode()
    return int.from_bytes(hashlib.sha256(said).digest()[:4], "big")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a store before it is asked for."""

    settings: dict[str, Any]
    sha256: Mapping[str, str]
    """Name -> SHA-256 of files it holds: of all where it is finished, else of the first few."""

    def holds(self, records: Sequence[Record]) -> bool:
        """Whether any of the first of these that it has by name is the same file: a set that has grown, not another."""
        again = [record for record in records if record.name in self.sha256][:WITNESSES]
        return any(self.sha256[record.name] == content_sha256(record) for record in again)


def kept_settings(out: str | Path) -> Kept | None:
    """Of the finished store at `out`, else of one begun with `StoreWriter.keep_settings`; None where there is neither.
    Raises `StoreInvalid`."""
    out = Path(out)
    begun = out / UNFINISHED
    path = next((path for path in (out / MANIFEST, begun) if path.exists()), None)
    if path is None:
        return None
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        if path == begun:
            return Kept(said["settings"], said["sha256"])
        table = read_parquet(out / said["videos"]["name"], ["path", "sha256"], shown=str(out))
        return Kept(said["settings"], {row["path"]: row["sha256"] for row in table.to_pylist()})
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise StoreInvalid(f"{path} does not say how the store is made ({error!r}): choose another --out") from error


class Result(NamedTuple):
    """What is compared of a record that was done: has a file changed, or did it fail?"""

    sha256: str
    code: str
    """Of its failure; empty where there was none."""
    original_sha256: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Result:
        """From its row of videos."""
        return cls(row["sha256"], "" if row["code"] in (None, NO_FACE) else row["code"], row["original_sha256"])

    @property
    def was_not_fetched(self) -> bool:
        """It lies in a bucket, and nothing of it was read."""
        return (self.sha256, self.code) == ("", FileUnreadable.code)


class StoreWriter:
    """Makes the store at `out`. Safe to use from several threads, processes and machines that share the folder.

        writer = StoreWriter("faces.store", settings={"size_px": 224, ...})
        for task in writer.tasks(dataset.records):
            if not writer.done(task):
                writer.stage([outcome_of(record) for record in task])
        writer.compact(dataset.records, problems=dataset.problems)

    `settings` is everything that changes what is stored, as JSON; another value is another store. `originals`, id of a
    fake to its real, are those where faces are looked for instead: a fake with another one is another task.
    """

    def __init__(
        self, out: str | Path, *, settings: Mapping[str, Any], originals: Mapping[str, Record] | None = None
    ) -> None:
        self.out = Path(out)
        self._originals = originals or {}
        self.settings: dict[str, Any] = json.loads(canonical_json(settings))
        self.settings_sha256 = settings_sha256(self.settings)
        self._finished: dict[str, tuple[Result, ...]] | None = None
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest | None:
        path = self.out / MANIFEST
        if not path.exists():
            return None
        try:
            manifest = read_manifest(path)
        except (OSError, ValueError) as error:
            raise StoreInvalid(f"{path} is no manifest of a store ({error}): choose another --out") from error
        if manifest.settings_sha256 != self.settings_sha256:
            raise UsageError(
                f"{self.out} was made with other settings: {differences(manifest.settings, self.settings)}: choose "
                "another --out, or delete it first"
            )
        return manifest

    def keep_settings(self, records: Sequence[Record] = ()) -> None:
        """Mark a store that is not finished as one, with its settings, for `kept_settings`; by the first few of
        `records` it will know the set again."""
        if self.manifest is None:
            first = {record.name: content_sha256(record) for record in records[:WITNESSES]}
            said = canonical_json({"settings": self.settings, "sha256": first})
            write_files(self.out, {UNFINISHED: said.encode()})

    def task_name(self, task: Sequence[Record]) -> str:
        """The name of a task: the same for the same records, wherever the files lie. An object in a
        bucket is another one when it changes: to compare its bytes, as with files, would be to fetch it again."""
        return self._hashed(
            [r.dataset, r.video_id, r.name]
            + ([] if r.version is None else [r.version])
            + ([[o.dataset, o.video_id, o.version]] if (o := self._originals.get(r.video_id)) else [])
            for r in task
        )

    def _hashed(self, said: Iterable[Sequence[object]]) -> str:
        return hashlib.sha256(canonical_json([self.settings_sha256, list(said)]).encode()).hexdigest()[:32]

    def name_of(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """The name of the task of which a finished store has these rows of videos. In older stores it holds what the
        data set said; of files without an original, which are most, it can be had from the row."""
        name: str = rows[0]["task"]
        if name == self._hashed([row[key] for key in _OLDER_NAME] for row in rows):
            return self._hashed([row[key] for key in _OLDER_NAME[:3]] for row in rows)
        return name

    def tasks(self, records: Sequence[Record]) -> list[Task]:
        """`tasks`; or the batches that older versions made, which ended by their length alone, where most of those are
        done. Work on either does not change which it is: what they have in common is not counted."""
        cut = list(tasks(records))
        if any(isinstance(record, FaceRecord) for record in records):
            older = list(_cut(records, lambda _: False))
            new, old = ({self.task_name(task): len(task) for task in one} for one in (cut, older))
            n_old, n_of_old = self._n_held(old, but=new)
            if n_old > n_of_old / 2 and n_old > self._n_held(new, but=old)[0]:
                return older
        return cut

    def _n_held(self, cut: Mapping[str, int], *, but: Mapping[str, int]) -> tuple[int, int]:
        """How many records the store holds, or has staged, in these tasks without the others, and of how many."""
        sizes = {name: n for name, n in cut.items() if name not in but}
        held = (n for name, n in sizes.items() if name in self.finished() or self.staged_path(name).exists())
        return sum(held), sum(sizes.values())

    def staged_path(self, name: str) -> Path:
        return self.out / STAGING / name[:2] / f"{name}.parquet"

    def done(self, task: Sequence[Record], *, retry_failed: bool = False) -> bool:
        """True where the task was done with these settings and its files have not changed since. Reads the files, but
        not those in a bucket, whose change the task's name tells; one that could not be fetched is not done."""
        what = self._results(self.task_name(task))
        if what is None or (retry_failed and any(one.code for one in what)):
            return False
        return len(what) == len(task) and all(
            (one.sha256, one.original_sha256) == (content_sha256(record), self.original_sha256(record))
            if record.version is None
            else not one.was_not_fetched
            for one, record in zip(what, task, strict=True)
        )

    def original_sha256(self, record: Record) -> str | None:
        """`Outcome.original_sha256` of an outcome of `record` now."""
        original = self._originals.get(record.video_id)
        return None if original is None else content_sha256(original)

    def was_not_fetched(self, task: Sequence[Record]) -> bool:
        """Whether the task was done before and something of it did not arrive from its bucket."""
        return any(one.was_not_fetched for one in self._results(self.task_name(task)) or ())

    def knows(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether the same became of the task before. To stage that again would have the whole store built anew."""
        what = self._results(self.task_name([outcome.record for outcome in outcomes]))
        return what is not None and [*what] == [
            Result(outcome.sha256, outcome.failure.code if outcome.failure else "", outcome.original_sha256)
            for outcome in outcomes
        ]

    def _results(self, name: str) -> Sequence[Result] | None:
        """Of each record of a task that was done before."""
        path = self.staged_path(name)
        if path.exists():
            try:
                rows = read_videos(parquet.read_schema(path))
            except (pa.ArrowException, OSError, StoreInvalid):
                return None
            return [Result.of(row) for row in rows]
        return self.finished().get(name)

    def finished(self) -> Mapping[str, Sequence[Result]]:
        """The tasks that the store at `out` already holds, where there is one."""
        if self._finished is None:
            found: dict[str, tuple[Result, ...]] = {}
            if self.manifest is not None:
                table = read_videos_table(self.out, self.manifest.videos)
                rows = itertools.chain.from_iterable(batch.to_pylist() for batch in table.to_batches(4096))
                for _, run in itertools.groupby(rows, key=itemgetter("task")):
                    task = list(run)
                    found[self.name_of(task)] = tuple(map(Result.of, task))
            self._finished = found
        return self._finished

    def stage(self, outcomes: Sequence[Outcome]) -> None:
        """Keep what became of one task's records, in their order. Raises `OutputError`, with nothing half-written."""
        name = self.task_name([outcome.record for outcome in outcomes])
        table = staged_table(name, outcomes)
        sizes = [picture.size for picture in pictures_of(table)]
        # A row group is read as one array.
        n_rows = len(sizes) if sum(sizes) <= ARRAY_BYTES else ARRAY_BYTES // max(sizes)
        buffer = io.BytesIO()
        parquet.write_table(table, buffer, row_group_size=max(1, n_rows), **WRITE_OPTIONS)
        path = self.staged_path(name)
        if self.manifest is None and not (self.out / UNFINISHED).exists():
            self.keep_settings()
        write_files(path.parent, {path.name: buffer.getvalue()})

    def stage_as_given(self, task: Sequence[Record]) -> None:
        """Keep pictures as they are, without looking for faces in them. One that cannot be read is a named failure."""
        self.stage([as_given(record) for record in task])

    def compact(
        self,
        records: Iterable[Record],
        *,
        problems: Sequence[Problem] = (),
        on_records: Callable[[int], None] | None = None,
    ) -> Manifest:
        """Gather the staged tasks of `records`, and what the finished store holds of them, in their order into shards,
        and finish the store. `on_records` gets how many are written so far.

        The store appears, or changes from what it was, in the one moment in which its manifest is renamed. The staged
        files are removed afterwards. Raises `DataError` naming what is not done, and `OutputError`, also where the disk
        has no room for the new shards beside the old ones.
        """
        from telltale.store._compact import compact

        self.manifest = compact(self, self.tasks(list(records)), problems=problems, on_records=on_records)
        self._finished = None
        return self.manifest
