"""The tables of the job database, and rows of them as plain values. `store` has the queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from telltale.web.schema import State

SCHEMA_VERSION = 1
SCHEMA = """
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
STATE = "CASE WHEN s.cancelled_at IS NULL THEN a.state ELSE 'cancelled' END"
SELECT = f"""
SELECT s.id, s.analysis_id, s.name, s.created_at, a.sha256, a.size_bytes, a.model, a.options, a.queued_at,
    max(a.started_at, s.created_at) AS started_at,
    coalesce(s.cancelled_at, max(a.finished_at, s.created_at)) AS finished_at, a.outcome, a.error, a.media_type,
    a.has_thumbnail, {STATE} AS state
FROM scans s JOIN analyses a ON a.id = s.analysis_id
"""
"""No moment before the scan was created: when somebody else had the same bytes analysed is nobody's business."""
IS_ACTIVE = "s.cancelled_at IS NULL AND a.state IN ('queued', 'running')"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewScan:
    """An upload that has arrived."""

    id: str
    """Also the analysis' id, where a new one is needed."""
    key: str
    """Of bytes, model, settings and version: equal keys have equal results."""
    owner: str
    client: str
    name: str
    sha256: str
    size_bytes: int
    model: str
    options: str
    """JSON"""


@dataclass(frozen=True, slots=True)
class ScanRow:
    """A scan with its analysis."""

    id: str
    analysis_id: str
    name: str
    created_at: float
    sha256: str
    size_bytes: int
    model: str
    options: str
    queued_at: float
    started_at: float | None
    finished_at: float | None
    outcome: str | None
    error: str | None
    media_type: str
    has_thumbnail: int
    state: State

    @property
    def has_report(self) -> bool:
        """Whether it has ended, and not by being cancelled."""
        return self.state in ("done", "failed")


@dataclass(frozen=True, slots=True)
class Work:
    """An analysis to be done."""

    id: str
    attempts: int
    sha256: str
    size_bytes: int
    model: str
    options: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of an analysis."""

    state: State
    """done or failed"""
    is_reusable: bool
    """Whether the same bytes would end the same way."""
    outcome: Mapping[str, Any] | None
    """`schema.Outcome`, as JSON values"""
    error: Mapping[str, Any] | None
    """`types.ErrorInfo`, as JSON values"""
    media_type: str
    """What a browser is told the upload is; empty where it was not read."""
    has_thumbnail: bool


__all__ = ["IS_ACTIVE", "SCHEMA", "SCHEMA_VERSION", "SELECT", "STATE", "Ending", "NewScan", "ScanRow", "Work"]
