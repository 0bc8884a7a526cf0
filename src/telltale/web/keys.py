"""API keys: who may ask, and as whose their scans are kept. Only hashes are stored (`guard.digest`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from telltale.web.database import Database, database, explained


@contextmanager
def keys_of(data: Path) -> Iterator[Keys]:
    """The keys of a data folder, for a command that reads or changes them. Raises `UsageError` and `OutputError`."""
    path = database(data)
    with explained(path), closing(Keys(path)) as keys:
        yield keys


class Keys(Database):
    """The keys of a data folder."""

    def add(self, name: str, digest: str) -> None:
        """Keep a key's SHA-256 under a name, which becomes the owner of what is scanned with it."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", (name, digest, time.time()))

    def remove(self, name: str) -> bool:
        """Whether there was one."""
        with self._transaction() as db:
            return db.execute("DELETE FROM keys WHERE name = ?", (name,)).rowcount == 1

    def n_scans(self, name: str) -> int:
        """Scans under this name, which whoever gets a key of it sees: those of a key that was removed are kept."""
        return self._number("SELECT count(*) FROM scans WHERE owner = ?", name)

    def names(self) -> Sequence[str]:
        return [row["name"] for row in self._rows("SELECT name FROM keys ORDER BY name")]

    def owner(self, digest: str) -> str | None:
        """Whose key has this SHA-256."""
        return next((row["name"] for row in self._rows("SELECT name FROM keys WHERE digest = ?", digest)), None)


__all__ = ["Keys", "keys_of"]
