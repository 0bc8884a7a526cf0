"""Rows of the job database as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from telltale.web.schema import State


@dataclass(frozen=True, slots=True, kw_only=True)
class NewScan:
    """An upload that has arrived."""

    id: str
    """Also the analysis' id, where a new one is needed."""
    key: str
    """Of owner, bytes, model, settings and version: equal keys have equal results."""
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
    client: str
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


@dataclass(frozen=True, slots=True)
class Kept:
    """An analysis whose files somebody has."""

    id: str
    state: State
    size_bytes: int


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


__all__ = ["Ending", "Kept", "NewScan", "ScanRow", "Work"]
