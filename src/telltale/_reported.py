"""The parts of a report: what is said about a file and the people in it, as it is written to disk or sent.

Part of `telltale.types`, which gives these names: a process that only decodes never makes them, and making their
schemas takes a sixth of a second on an older core.

>>> Verdict(label="real", p_fake=0.1).label
'real'
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from telltale._evidence import (
    Attachment,
    CardSummary,
    ContainerInfo,
    Credentials,
    Heat,
    Provenance,
    Stability,
    StabilityRow,
    StreamInfo,
    Written,
)
from telltale.types import Code, FaceSource, Label, Pictures, VideoInfo


class Verdict(Written):
    """What is said about a video or a person in it."""

    label: Label
    p_fake: float | None = None
    """Calibrated probability at even odds; None for no_face and failed."""
    interval: tuple[float, float] | None = None
    """95 % interval of p_fake from the spread over frames; None for a single face."""
    thresholds: tuple[float, float] | None = None
    """(real below, fake above) as probabilities, after correction for the number of people."""
    codes: tuple[Code, ...] = ()
    reasons: tuple[str, ...] = ()


class FaceReport(Written):
    pts_s: float
    box_xyxy: tuple[float, float, float, float]
    p_fake: float | None
    source: FaceSource
    confidence: float


def suspicion(label: Label, p_fake: float | None) -> tuple[bool, float]:
    """Sorts people: the one whose is highest decides the verdict. A face that the gate holds back may score higher than
    one that is called fake, and decides nothing."""
    return label == "fake", -1.0 if p_fake is None else p_fake


class TrackReport(Written):
    """One person through a shot or more: when, how they were judged, and every face."""

    id: int
    person: int | None = None
    """As in `Track`."""
    start_s: float
    end_s: float
    p_fake: float | None
    label: Label
    codes: tuple[Code, ...] = ()
    reasons: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    suspicious_s: tuple[tuple[float, float], ...] = ()
    """Intervals (start, end) in which the sliding window is above the fake threshold."""
    faces: tuple[FaceReport, ...] = ()

    @property
    def suspicion(self) -> tuple[bool, float]:
        return suspicion(self.label, self.p_fake)


class InputInfo(Written):
    path: str
    """As given; bytes that are not UTF-8 are written as \\xNN."""
    sha256: str
    """Of the bytes received; empty where nothing could be read."""
    size_bytes: int


class ErrorInfo(Written):
    code: str
    message: str


class ModelInfo(Written):
    name: str
    sha256: str
    card: CardSummary | None = None


class FrameCounts(Written):
    decoded: int = 0
    analysed: int = 0
    lost: int = 0


class Report(Written):
    """Everything known about one input; one JSON object, schema version 1 (docs/report.md)."""

    schema_version: Literal[1] = 1
    input: InputInfo
    video: VideoInfo | None = None
    verdict: Verdict
    error: ErrorInfo | None = None
    tracks: tuple[TrackReport, ...] = ()
    model: ModelInfo
    settings: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    frames: FrameCounts = FrameCounts()
    timings_s: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    explanation: Heat | None = None
    """Where heat maps were asked for: how to read those in `pictures`."""
    stability: Stability | None = None
    provenance: Provenance | None = None
    attachments: tuple[Attachment, ...] = ()
    """Files beside the report: the annotated clip and what comes with it."""
    pictures: Pictures = Field(default_factory=Pictures, exclude=True, repr=False)
    is_out_of_time: bool = Field(default=False, exclude=True, repr=False)
    """Whether the deadline cut the scan short: another one may see more. Not written: it says nothing of the input."""

    def _repr_html_(self) -> str:
        from telltale.report import to_notebook

        return to_notebook(self)


__all__ = [
    "Attachment",
    "CardSummary",
    "ContainerInfo",
    "Credentials",
    "ErrorInfo",
    "FaceReport",
    "FrameCounts",
    "Heat",
    "InputInfo",
    "ModelInfo",
    "Provenance",
    "Report",
    "Stability",
    "StabilityRow",
    "StreamInfo",
    "TrackReport",
    "Verdict",
    "Written",
    "suspicion",
]
