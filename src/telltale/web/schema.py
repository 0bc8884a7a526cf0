"""What the API takes and gives, for the server, its OpenAPI document and the client alike.

>>> ScanOptions(fps=4).plan(SamplePlan()).value
4.0
>>> ScanOptions(fps=4, every=2)
Traceback (most recent call last):
    ...
pydantic_core._pydantic_core.ValidationError: 1 validation error for ScanOptions
  Value error, fps and every exclude each other; choose one [type=value_error, input_value={'fps': 4, 'every': 2}, input_type=dict]
...
"""  # noqa: E501 - the message is pydantic's

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from telltale.bundle import ModelCard
from telltale.sampling import SamplePlan, Wanted
from telltale.types import ErrorInfo, Label, Report, Written

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})
FILE_FIELD = "file"
"""The form field that holds an upload."""
MAX_NAME_CHARS = 255
"""Of a file's name; of longer ones the end is kept."""
ScanId = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
"""128 random bits, made by the server."""


class ScanOptions(Written):
    """How to look; what is left out comes from the model's card. Most of the settings that `telltale scan` has."""

    fps: float | None = Field(default=None, gt=0, le=120, description="Sampling: so many frames a second.")
    every: int | None = Field(default=None, ge=1, le=100_000, description="Sampling: every n-th frame.")
    frames: int | None = Field(default=None, ge=1, le=5000, description="Sampling: so many frames, spread evenly.")
    first: int | None = Field(default=None, ge=1, le=5000, description="Sampling: the first n frames.")
    all_frames: bool | None = Field(default=None, description="Sampling: every frame, thinned on long clips.")
    max_frames: int | None = Field(default=None, ge=1, le=5000, description="Stop after so many sampled frames.")
    seconds: float | None = Field(default=None, gt=0, le=86_400, description="Only the first so many seconds.")
    max_side_px: int | None = Field(default=None, ge=16, le=16_384, description="Make larger frames smaller.")
    detector: Literal["mtcnn", "haar"] | None = Field(default=None, description="Which face detector.")
    min_face_px: float | None = Field(default=None, ge=12, le=16_384, description="Find faces from this size on.")
    min_confidence: float | None = Field(default=None, ge=0, le=1, description="Keep faces the detector is so sure of.")
    search_every_s: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="Search the whole picture for faces so often, and between only where they were; 0: in every frame.",
    )
    deadline_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Stop reading within so many seconds, or the server's own limit; what was seen by then is judged "
        "(`partial`).",
    )
    explain: bool | None = Field(default=None, description="Heat maps of what spoke for and against a forgery.")

    @model_validator(mode="after")
    def _one_kind_of_sampling(self) -> Self:
        self.plan(SamplePlan())
        return self

    def plan(self, default: SamplePlan) -> SamplePlan:
        """The sampling asked for, on top of the model's own."""
        return Wanted(**{field.name: getattr(self, field.name) for field in fields(Wanted)}).plan(default)


class Progress(Written):
    """How far an analysis is."""

    stage: Literal["waiting", "starting", "analysing", "ended"]
    share: float | None = Field(default=None, ge=0, le=1, description="Of the video; null where its length is unknown.")
    frames: int = Field(default=0, ge=0, description="Frames analysed.")
    ahead: int | None = Field(default=None, description="While waiting: how many analyses come first.")
    left_s: float | None = Field(default=None, description="Estimated seconds to go.")


class Outcome(Written):
    """A verdict in a few words; the report has all of them."""

    label: Label
    headline: str
    p_fake: float | None = None
    score: str = Field(default="", description="p_fake as people read it.")
    reason: str = ""
    n_people: int = 0


class ScanEntry(Written):
    """One upload and what became of it."""

    id: ScanId
    state: State
    name: str = Field(description="The file's name as it was sent. Whoever shows it has to escape it.")
    size_bytes: int
    sha256: str
    model: str
    settings: ScanOptions
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = Field(default=None, description="When upload and result are removed.")
    progress: Progress
    outcome: Outcome | None = None
    error: ErrorInfo | None = None
    has_media: bool = Field(description="Whether the upload can still be played.")
    has_thumbnail: bool = False


class Scan(ScanEntry):
    report: Report | None = Field(default=None, description="The report, schema version 1; null before the end.")


class ScanPage(Written):
    items: list[ScanEntry]
    next: str | None = Field(default=None, description="Give it as `cursor` for the next page; null on the last one.")


class ModelEntry(Written):
    name: str = Field(description="What `model` takes.")
    sha256: str
    is_default: bool
    card: ModelCard


class Health(Written):
    status: Literal["ok"] = "ok"


class Problem(Written):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; for programs.")
    errors: list[dict[str, Any]] | None = Field(default=None, description="For 422: what is wrong, and where.")


__all__ = [
    "ENDED",
    "FILE_FIELD",
    "MAX_NAME_CHARS",
    "Health",
    "ModelEntry",
    "Outcome",
    "Problem",
    "Progress",
    "Scan",
    "ScanEntry",
    "ScanId",
    "ScanOptions",
    "ScanPage",
    "State",
]
