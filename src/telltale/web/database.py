"""The database of a data folder: one connection, its tables and its transactions. `store` and `keys` have the queries.

with closing(Keys(database(data))) as keys:
    ...
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from telltale.errors import OutputError, UsageError
from telltale.web.rows import SCHEMA, SCHEMA_VERSION


def database(data: Path) -> Path:
    """The database of a data folder, which is made where absent. Raises `OutputError`."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{data} cannot be used ({error.strerror}); choose another --data folder") from error
    return data / "telltale.db"


class Database:
    """Safe to use from several threads; each call is one transaction."""

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` for a database of another version."""
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.row_factory = sqlite3.Row
        # FULL: an upload that was answered with 202 survives a power cut, not only a crash.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            self._db.close()
            raise UsageError(f"{path} was written by another version of Telltale; choose another --data folder")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite has rolled back by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _number(self, query: str, *values: object) -> int:
        """Of a query that gives one."""
        ((number,),) = self._rows(query, *values)
        return int(number)


__all__ = ["Database", "database"]
