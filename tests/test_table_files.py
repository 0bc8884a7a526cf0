"""Rows that were staged become a table: beside each other, each file fetched once, and whole wherever it is killed."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import AbstractContextManager, nullcontext

import pyarrow as pa
import pytest
from pyarrow import parquet

from bucket_servers import Footage
from telltale._places import Bucket
from telltale._table_files import STAGED, TABLE, TableFiles, parquet_bytes, staged_name
from telltale.errors import OutputError
from telltale.many import SCHEMA

N_MANY, N_IN_BUCKET = 400, 40


class Killed(BaseException):
    """What the driver dies of."""


class InMemory:
    """A place that holds its files itself, counts what is read, and can end after so many steps."""

    def __init__(self, files: dict[str, bytes] | None = None, *, n_steps: int | None = None) -> None:
        self.files = dict(files or {})
        self.read_names: list[str] = []
        self._n_left = n_steps
        self._lock = threading.Lock()

    def _step(self) -> None:
        with self._lock:
            if self._n_left == 0:
                raise Killed
            if self._n_left is not None:
                self._n_left -= 1

    def names(self, folder: str) -> list[str]:
        self._step()
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))

    def read(self, name: str) -> bytes | None:
        self._step()
        self.read_names.append(name)
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._step()
        self.files[name] = data

    def remove(self, names: list[str]) -> None:
        for name in names:
            self._step()
            self.files.pop(name, None)

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def stage(self, key: str, *, path: str | None = None, label: str = "real") -> None:
        said = {
            "key": key,
            "path": path or key,
            "path_sha256": f"sha256 of {path or key}",
            "label": label,
            "report": "",
        }
        self.files[staged_name(key)] = parquet_bytes(pa.Table.from_pylist([said], SCHEMA))

    def rows(self, folder: str) -> Counter[tuple[str, str]]:
        """How often each (path, label) is in the files of `folder`."""
        tables = [parquet.read_table(pa.BufferReader(self.files[name])) for name in InMemory(self.files).names(folder)]
        return Counter((row["path"], row["label"]) for table in tables for row in table.to_pylist())


def test_staged_rows_are_read_beside_each_other() -> None:
    two_read = threading.Barrier(2, timeout=20)

    class Waits(InMemory):
        def read(self, name: str) -> bytes | None:
            two_read.wait()
            return super().read(name)

    place = Waits()
    for key in "abcd":
        place.stage(key)
    TableFiles(place).compact()
    assert place.rows(TABLE) == {(key, "real"): 1 for key in "abcd"}
    assert place.names(STAGED) == []


def test_a_bucket_answers_several_threads(footage: Footage) -> None:
    staged = InMemory()
    for i in range(N_IN_BUCKET):
        staged.stage(f"{i:03d}")
    place = Bucket(f"{footage.url}/results")
    for name, data in staged.files.items():
        place.write(name, data)
    TableFiles(place).compact()
    assert place.names(STAGED) == []
    assert TableFiles(place).labels() == {f"{i:03d}": "real" for i in range(N_IN_BUCKET)}


def test_a_large_file_is_fetched_once_however_often_rows_become_part_of_the_table() -> None:
    place = InMemory()
    place.stage("a")
    TableFiles(place).compact()
    files = TableFiles(place)
    for key in "bcd":
        place.stage(key)
        files.compact()
    assert files.labels() == dict.fromkeys("abcd", "real")
    large = Counter(name for name in place.read_names if name.startswith(TABLE))
    assert list(large.values()) == [1]  # what was there before; what is in the others it knows


def test_a_row_that_is_replaced_goes_from_the_file_that_held_it_and_the_others_stay() -> None:
    place = InMemory()
    for key in "abc":
        place.stage(key, label="failed")
    files = TableFiles(place)
    files.compact()
    place.stage("b2", path="b", label="fake")
    files.compact()
    assert place.rows(TABLE) == {("a", "failed"): 1, ("b", "fake"): 1, ("c", "failed"): 1}
    assert files.labels() == TableFiles(place).labels() == {"a": "failed", "b2": "fake", "c": "failed"}


def test_an_object_that_cannot_be_read_ends_the_reading() -> None:
    class Refuses(InMemory):
        def read(self, name: str) -> bytes | None:
            super().read(name)
            raise OutputError("check your keys")

    place = Refuses()
    for i in range(N_MANY):
        place.stage(f"{i:03d}")
    with pytest.raises(OutputError, match="check your keys"):
        TableFiles(place).compact()
    assert len(place.read_names) < N_MANY
    assert len(place.names(STAGED)) == N_MANY


def test_killed_at_any_step_no_row_is_lost_and_the_next_driver_ends_the_same() -> None:
    before = InMemory()
    for key in "abc":
        before.stage(key, label="failed")
    TableFiles(before).compact()
    for key, path in (("a2", "a"), ("d", "d"), ("e", "e")):
        before.stage(key, path=path)
    after = InMemory(before.files)
    TableFiles(after).compact()
    n_steps = 0
    while True:
        place = InMemory(before.files, n_steps=n_steps)
        try:
            TableFiles(place).compact()
            break
        except Killed:
            n_steps += 1
        left = InMemory(place.files)
        assert {path for path, _ in left.rows(STAGED) + left.rows(TABLE)} == set("abcde")
        assert ("a", "real") in left.rows(STAGED) + left.rows(TABLE)
        TableFiles(left).compact()
        assert left.rows(TABLE) == after.rows(TABLE)
        assert left.rows(STAGED) == {}
    assert place.files == after.files
    assert n_steps > 10
