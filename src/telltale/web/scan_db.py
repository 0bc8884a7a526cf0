"""Jobs in SQLite: what was asked for, what became of it. Survives `kill -9` at any moment.

A *scan* is what one client asked for: a name and an owner. An *analysis* is the work: bytes, model and settings.
Scans of the same bytes with the same settings share one analysis, so that it is done once.

    with closing(ScanDb(database(data))) as scan_db:
        scan_db.admit(new, queue_length=256, per_client=64)   # -> the scan's row
        work = scan_db.claim()                                # queued -> running, in a fair order
        scan_db.finish(work, Ending(state="done", ...))
"""

from __future__ import annotations

import json
import sqlite3
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from telltale.web.database import Database
from telltale.web.rows import Ending, Kept, NewScan, ScanRow, Work
from telltale.web.schema import ENDED, State

MAX_ATTEMPTS = 2
"""A running analysis at a crash is run once more, then set aside."""
_STATE = "CASE WHEN s.cancelled_at IS NULL THEN a.state ELSE 'cancelled' END"
_SELECT = f"""
SELECT s.id, s.analysis_id, s.name, s.created_at, a.sha256, a.size_bytes, a.model, a.options,
    s.client, max(a.started_at, s.created_at) AS started_at,
    coalesce(s.cancelled_at, max(a.finished_at, s.created_at)) AS finished_at, a.outcome, a.error, a.media_type,
    a.has_thumbnail, {_STATE} AS state
FROM scans s JOIN analyses a ON a.id = s.analysis_id
"""
"""No moment before the scan was created: when somebody else had the same bytes analysed is nobody's business."""
_IN_TURN = """
SELECT id FROM (
    SELECT id, queued_at, row_number() OVER (PARTITION BY client ORDER BY queued_at, id)
        + (SELECT count(*) FROM analyses r WHERE r.state = 'running' AND r.client = q.client) AS turn
    FROM analyses q WHERE state = 'queued'
) ORDER BY turn, queued_at, id
"""
"""Clients take turns; what runs of one's own has had its turn."""
_IS_ACTIVE = "s.cancelled_at IS NULL AND a.state IN ('queued', 'running')"


class QueueFull(Exception):
    """As many analyses wait as may."""


class ClientBusy(Exception):
    """As many scans of this client wait or run as may."""


class OverShare(Exception):
    """This client's scans take more of the disk than is left."""


class ScanDb(Database):
    """Scans and analyses. Each call is one transaction, from whichever thread."""

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` for a database of another version."""
        super().__init__(path)
        self._placed_at = -1
        self._places: Mapping[str, int] = {}
        self._fold_anew()

    def _fold_anew(self) -> None:
        """Names that an earlier version folded otherwise are found too."""
        with self._transaction() as db:
            rows = db.execute("SELECT id, name, folded FROM scans").fetchall()
            stale = [(_folded(row["name"]), row["id"]) for row in rows if row["folded"] != _folded(row["name"])]
            db.executemany("UPDATE scans SET folded = ? WHERE id = ?", stale)

    def admit(self, new: NewScan, *, queue_length: int, per_client: int) -> ScanRow:
        """Keep the scan; on an analysis that exists already, where its key does.

        Raises `QueueFull` and `ClientBusy`, and then keeps nothing.
        """
        now = time.time()
        with self._transaction() as db:
            found = db.execute("SELECT id, state FROM analyses WHERE key = ? AND is_reusable", (new.key,)).fetchone()
            if (found is None or found["state"] not in ENDED) and self.active_of(new.client) >= per_client:
                raise ClientBusy
            if found is None:
                if self.count("queued") >= queue_length:
                    raise QueueFull
                db.execute(
                    "INSERT INTO analyses (id, key, client, sha256, size_bytes, model, options, queued_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (new.id, new.key, new.client, new.sha256, new.size_bytes, new.model, new.options, now),
                )
            analysis_id = new.id if found is None else found["id"]
            db.execute(
                "INSERT INTO scans (id, analysis_id, owner, client, name, folded, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (new.id, analysis_id, new.owner, new.client, new.name, _folded(new.name), now),
            )
            row = self.get(new.id, owner=new.owner)
        if row is None:
            raise RuntimeError("a scan that was just kept is not there")
        return row

    def get(self, scan_id: str, *, owner: str) -> ScanRow | None:
        """The scan, if it is this owner's."""
        return next(self._scans("WHERE s.id = ? AND s.owner = ?", (scan_id, owner)), None)

    def is_there(self, scan_id: str) -> bool:
        """Whether anybody has it."""
        return next(self._scans("WHERE s.id = ?", (scan_id,)), None) is not None

    def list(
        self,
        *,
        owner: str,
        text: str = "",
        state: State | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 20,
    ) -> Sequence[ScanRow]:
        """Scans, the newest first, with `text` in their name; those after the one at `before`."""
        where, values = ["s.owner = ?"], [owner]
        if text:
            where.append("instr(s.folded, ?)")
            values.append(_folded(text))
        if state:
            where.append(f"{_STATE} = ?")
            values.append(state)
        if before is not None:
            where.append("(s.created_at, s.id) < (?, ?)")
            values += before  # type: ignore[arg-type]
        query = f"WHERE {' AND '.join(where)} ORDER BY s.created_at DESC, s.id DESC LIMIT ?"
        return list(self._scans(query, (*values, limit)))

    def news(self, *, owner: str, since: float) -> Sequence[ScanRow]:
        """Scans that wait or run, and those that came or ended since then, the oldest first."""
        query = (
            "WHERE s.owner = ? AND s.id IN ("
            "SELECT id FROM scans WHERE owner = ? AND created_at >= ?"
            " UNION SELECT id FROM scans WHERE cancelled_at >= ?"
            " UNION SELECT b.id FROM analyses c JOIN scans b ON b.analysis_id = c.id"
            " WHERE c.state IN ('queued', 'running') OR c.finished_at >= ?"
            ") ORDER BY s.created_at"
        )
        return list(self._scans(query, (owner, owner, since, since, since)))

    def _scans(self, query: str, values: tuple[Any, ...]) -> Iterator[ScanRow]:
        return (ScanRow(**row) for row in self._rows(_SELECT + query, *values))

    def places(self) -> Mapping[str, int]:
        """Analyses that wait -> how many of them come first. Looked at once after each change: all who follow one that
        waits ask together."""
        with self._lock:
            if self._placed_at != self._db.total_changes:
                self._placed_at = self._db.total_changes
                self._places = {row["id"]: number for number, row in enumerate(self._rows(_IN_TURN))}
            return self._places

    def active_of(self, client: str) -> int:
        """How many scans of this client wait or run."""
        return self._number(
            f"SELECT count(*) FROM scans s JOIN analyses a ON a.id = s.analysis_id WHERE s.client = ? AND {_IS_ACTIVE}",
            client,
        )

    def kept_for(self, client: str) -> Sequence[Kept]:
        """Analyses that this client has scans of which were not cancelled, each once."""
        rows = self._rows(
            "SELECT id, state, size_bytes FROM analyses WHERE id IN "
            "(SELECT analysis_id FROM scans WHERE client = ? AND cancelled_at IS NULL)",
            client,
        )
        return [Kept(**row) for row in rows]

    def count(self, state: State) -> int:
        return self._number("SELECT count(*) FROM analyses WHERE state = ?", state)

    def claim(self) -> Work | None:
        """The next analysis, now running. One client's hundred uploads do not keep another's one waiting."""
        with self._transaction() as db:
            row = db.execute(
                "UPDATE analyses SET state = 'running', attempts = attempts + 1, started_at = ? WHERE id = "
                f"({_IN_TURN} LIMIT 1) RETURNING id, attempts, sha256, size_bytes, model, options, client",
                (time.time(),),
            ).fetchone()
        return None if row is None else Work(**row)

    def is_running(self, analysis_id: str) -> bool:
        """Whether it still is: it may have been cancelled between `claim` and now."""
        return bool(self._number("SELECT count(*) FROM analyses WHERE id = ? AND state = 'running'", analysis_id))

    def finish(self, work: Work, ending: Ending) -> bool:
        """End an analysis; False where this attempt at it no longer runs (cancelled meanwhile)."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE analyses SET state = ?, is_reusable = ?, outcome = ?, error = ?, media_type = ?, "
                "has_thumbnail = ?, finished_at = ? WHERE id = ? AND state = 'running' AND attempts = ?",
                (
                    ending.state,
                    ending.is_reusable,
                    _json(ending.outcome),
                    _json(ending.error),
                    ending.media_type,
                    ending.has_thumbnail,
                    time.time(),
                    work.id,
                    work.attempts,
                ),
            )
            return done.rowcount == 1

    def put_back(self, analysis_id: str) -> None:
        """An orderly stop: the analysis waits again, and this attempt does not count."""
        with self._transaction() as db:
            db.execute(
                "UPDATE analyses SET state = 'queued', attempts = attempts - 1, started_at = NULL "
                "WHERE id = ? AND state = 'running'",
                (analysis_id,),
            )

    def recover(self) -> Sequence[Work]:
        """After a start: what ran at the last moment waits again. Returns what is to be set aside instead."""
        with self._transaction() as db:
            db.execute(
                "UPDATE analyses SET state = 'queued', started_at = NULL WHERE state = 'running' AND attempts < ?",
                (MAX_ATTEMPTS,),
            )
            rows = db.execute(
                "SELECT id, attempts, sha256, size_bytes, model, options, client FROM analyses WHERE state = 'running'"
            ).fetchall()
        return [Work(**row) for row in rows]

    def cancel(self, scan_id: str, *, owner: str) -> Sequence[str] | None:
        """The scan ends as cancelled; None if it does not wait or run. Returns its analysis if nobody else wants it:
        it is cancelled too, whoever does it must stop, and its files can go."""
        now = time.time()
        with self._transaction() as db:
            row = db.execute(
                "SELECT s.analysis_id FROM scans s JOIN analyses a ON a.id = s.analysis_id "
                f"WHERE s.id = ? AND s.owner = ? AND {_IS_ACTIVE}",
                (scan_id, owner),
            ).fetchone()
            if row is None:
                return None
            db.execute("UPDATE scans SET cancelled_at = ? WHERE id = ?", (now, scan_id))
            stopped = db.execute(
                "UPDATE analyses SET state = 'cancelled', is_reusable = 0, finished_at = ? WHERE id = ? "
                "AND NOT EXISTS (SELECT 1 FROM scans WHERE analysis_id = analyses.id AND cancelled_at IS NULL)",
                (now, row["analysis_id"]),
            )
            return [row["analysis_id"]] if stopped.rowcount else []

    def delete(self, scan_id: str, *, owner: str) -> Sequence[str]:
        """Forget an ended scan. Returns analyses that nobody wants any more: their files can go."""
        with self._transaction() as db:
            db.execute("DELETE FROM scans WHERE id = ? AND owner = ?", (scan_id, owner))
            return self._drop_unwanted(db)

    def expire(self, ended_before: float) -> tuple[Sequence[tuple[str, str, str]], Sequence[str]]:
        """Forget scans that ended before then. Returns these, as (analysis, scan, owner), and analyses whose files can
        go."""
        with self._transaction() as db:
            rows = db.execute(
                "DELETE FROM scans WHERE coalesce(cancelled_at, (SELECT max(a.finished_at, scans.created_at) "
                "FROM analyses a WHERE a.id = scans.analysis_id)) < ? RETURNING analysis_id, id, owner",
                (ended_before,),
            ).fetchall()
            return [(row["analysis_id"], row["id"], row["owner"]) for row in rows], self._drop_unwanted(db)

    def _drop_unwanted(self, db: sqlite3.Connection) -> Sequence[str]:
        """Whoever cancelled a scan wants no result: where nobody else is left, only the row stays, for the list."""
        rows = db.execute(
            "DELETE FROM analyses WHERE state IN ('done', 'failed', 'cancelled') "
            "AND NOT EXISTS (SELECT 1 FROM scans WHERE analysis_id = analyses.id) RETURNING id"
        ).fetchall()
        rows += db.execute(
            "UPDATE analyses SET state = 'cancelled', is_reusable = 0, outcome = NULL, error = NULL, media_type = '', "
            "has_thumbnail = 0 WHERE state IN ('done', 'failed') "
            "AND NOT EXISTS (SELECT 1 FROM scans WHERE analysis_id = analyses.id AND cancelled_at IS NULL) RETURNING id"
        ).fetchall()
        return [row["id"] for row in rows]

    def analysis_ids(self) -> set[str]:
        """Of analyses whose files are kept."""
        return {row["id"] for row in self._rows("SELECT id FROM analyses WHERE state != 'cancelled'")}

    def counts(self) -> dict[str, int]:
        """State -> analyses in it."""
        return dict(self._rows("SELECT state, count(*) FROM analyses GROUP BY state"))  # type: ignore[arg-type]


def _folded(name: str) -> str:
    """As names are compared: without case, and a letter with its accent is one character however it was written (macOS
    sends two)."""
    return unicodedata.normalize("NFC", name).casefold()


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


__all__ = ["MAX_ATTEMPTS", "ClientBusy", "OverShare", "QueueFull", "ScanDb"]
