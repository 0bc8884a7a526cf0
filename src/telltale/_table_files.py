"""The files of a table of results at a place: a small one for each row that was staged, then a few large ones.

    files = TableFiles(place)
    files.compact()                 # what is staged becomes part of the table
    files.labels()                  # key -> label of what is in the table

Large files are named after what is in them: one that was looked at once is not fetched again, except when a row in it
is replaced.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import compute, parquet

from telltale._places import Place

STAGED, TABLE = "staged", "table"
ROWS_PER_FILE = 20_000
_AT_ONCE = 16
"""Requests to the place. What lies far away answers after 20 ms or more, one after the other in minutes."""
_LOOKED_AT = ["key", "label", "path", "path_sha256", "is_out_of_time"]


def staged_name(key: str) -> str:
    return f"{STAGED}/{key}.parquet"


def parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


class TableFiles:
    """What lies at `place`, for one driver: it remembers whose rows are in which large file, and their labels. `place`
    is asked from several threads."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._looked_at: dict[str, pa.Table] = {}

    def labels(self) -> dict[str, Any]:
        """Key -> label of what is in the table."""
        labels: dict[str, Any] = {}
        for name in self._place.names(TABLE):
            rows = self._look_at(name)
            labels.update(zip(rows["key"].to_pylist(), rows["label"].to_pylist(), strict=True))
        return labels

    def cut_short(self) -> set[str]:
        """Keys of what is in the table and was not read to its end in the time allowed."""
        found: set[str] = set()
        for name in self._place.names(TABLE):
            rows = self._look_at(name)
            found.update(rows["key"].filter(rows["is_out_of_time"]).to_pylist())
        return found

    def compact(self) -> None:
        """Staged rows become files of `ROWS_PER_FILE`. What is staged goes last, so killed at any point no row is lost,
        and doing it again ends the same."""
        staged = self._place.names(STAGED)
        for start in range(0, len(staged), ROWS_PER_FILE):
            names = staged[start : start + ROWS_PER_FILE]
            with _several() as pool:
                fresh = pa.concat_tables(pool.map(self._read, names), promote_options="default")
            written = self._write(fresh)
            # by name: a file that changed, or that was missing and is there, has another key and is the same file
            replaced = pa.array({*_whose(fresh).to_pylist(), *fresh["path"].to_pylist()}, pa.string())
            for name in self._place.names(TABLE):
                if name != written and compute.any(_are_in(self._look_at(name)["whose"], replaced)).as_py():
                    self._leave_out(name, replaced)
            with _several() as pool:
                list(pool.map(self._place.remove, (names[i::_AT_ONCE] for i in range(_AT_ONCE))))

    def _leave_out(self, name: str, replaced: pa.Array) -> None:
        table = self._read(name)
        kept = table.filter(compute.invert(_are_in(_whose(table), replaced)))
        if len(kept):
            self._write(kept)
        self._place.remove([name])
        del self._looked_at[name]

    def _look_at(self, name: str) -> pa.Table:
        if name not in self._looked_at:
            self._looked_at[name] = _outline(self._read(name, _LOOKED_AT))
        return self._looked_at[name]

    def _read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """`columns`: those of them that there are."""
        data = pa.BufferReader(self._place.read(name) or b"")
        # not `read_table`, which takes three times as long for a single row
        file = parquet.ParquetFile(data, page_checksum_verification=True)
        if columns is not None:
            columns = [column for column in columns if column in file.schema_arrow.names]
        return file.read(columns, use_threads=False)

    def _write(self, table: pa.Table) -> str:
        data = parquet_bytes(table)
        name = f"{TABLE}/{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        self._place.write(name, data)
        self._looked_at[name] = _outline(table)
        return name


@contextmanager
def _several() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests; broken off, it waits for those under way only."""
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="table")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _outline(table: pa.Table) -> pa.Table:
    of_all = pa.array([False] * len(table)) if "is_out_of_time" not in table.column_names else table["is_out_of_time"]
    rows = pa.table({"key": table["key"], "label": table["label"], "whose": _whose(table), "is_out_of_time": of_all})
    return rows.combine_chunks()  # of staged rows, which come in thousands of pieces


def _whose(table: pa.Table) -> pa.ChunkedArray:
    """Whose row each is: `path_sha256`, or `path` where there is none, which no hash is equal to."""
    if "path_sha256" not in table.column_names:
        return table["path"]
    return compute.coalesce(table["path_sha256"], table["path"])


def _are_in(whose: pa.ChunkedArray, names: pa.Array) -> pa.ChunkedArray:
    return compute.is_in(whose, value_set=names)
