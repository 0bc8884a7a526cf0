"""The database of a data folder: a connection, its tables and transactions. `scan_db` and `keys` have the queries.

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

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE analyses (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, is_reusable INTEGER NOT NULL DEFAULT 1, client TEXT NOT NULL,
    sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, model TEXT NOT NULL, options TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued', attempts INTEGER NOT NULL DEFAULT 0,
    queued_at REAL NOT NULL, started_at REAL, finished_at REAL,
    outcome TEXT, error TEXT, media_type TEXT NOT NULL DEFAULT '', has_thumbnail INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX analyses_key ON analyses (key) WHERE is_reusable;
CREATE INDEX analyses_state ON analyses (state);
CREATE INDEX analyses_finished ON analyses (finished_at);
CREATE TABLE scans (
    id TEXT PRIMARY KEY, analysis_id TEXT NOT NULL REFERENCES analyses (id), owner TEXT NOT NULL, client TEXT NOT NULL,
    name TEXT NOT NULL, folded TEXT NOT NULL, created_at REAL NOT NULL, cancelled_at REAL
) STRICT;
CREATE INDEX scans_analysis ON scans (analysis_id);
CREATE INDEX scans_owner ON scans (owner, created_at, id);
CREATE INDEX scans_client ON scans (client);
CREATE INDEX scans_cancelled ON scans (cancelled_at);
CREATE TABLE keys (name TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, created_at REAL NOT NULL) STRICT;
"""


def database(data: Path) -> Path:
    """The database of a data folder, which is made where absent. Raises `OutputError`."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{data} cannot be used ({error.strerror}); choose another --data folder") from error
    return data / "telltale.db"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """`OutputError`, with the next step, for what SQLite raises about the file: rights, damage, the disk."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        is_damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        step = "put a copy in its place" if is_damaged else "let this user write it and its folder"
        raise OutputError(f"{path} cannot be used ({error}); {step}, or choose another --data folder") from error


class Database:
    """Safe to use from several threads; each call is one transaction."""

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` for a database of another version, and `OutputError` for one that cannot be used."""
        self._lock = threading.RLock()
        with explained(path):
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            try:
                self._begin(path)
            except BaseException:
                self._db.close()
                raise

    def _begin(self, path: Path) -> None:
        self._db.row_factory = sqlite3.Row
        # FULL: an upload that was answered with 202 survives a power cut, not only a crash.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
        elif version != _SCHEMA_VERSION:
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


__all__ = ["Database", "database", "explained"]
