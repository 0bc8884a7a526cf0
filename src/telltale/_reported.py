"""The parts of a report: what is said about a file and the people in it, as it is written to disk or sent.

Part of `telltale.types`, which gives these names: a process that only decodes never makes them, and making their
schemas takes a sixth of a second on an older core.

>>> Verdict(label="real", p_fake=0.1).label
'real'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from telltale._text import encodable
from telltale.errors import TelltaleError
from telltale.types import Code, FaceSource, Label, Pictures, VideoInfo


class Written(BaseModel):
    """What is written to disk or sent: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdict(Written):
    """What is said about a video or a person in it."""

    label: Label
    p_fake: float | None = None
    """Calibrated probability at even odds; None for no_face and failed."""
    interval: tuple[float, float] | None = None
    """What other frames of the same clip might have given, in 95 of 100; None of fewer than eight faces, and where a
    part of the clip decides."""
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
    def n_detected(self) -> int:
        return sum(face.source == "detected" for face in self.faces)

    @property
    def suspicion(self) -> tuple[bool, float]:
        return suspicion(self.label, self.p_fake)


class InputInfo(Written):
    path: str
    """As given; bytes that are not UTF-8 are written as \\xNN."""
    sha256: str
    """Of the bytes received; empty where nothing could be read, or not all of it in time."""
    size_bytes: int


class ErrorInfo(Written):
    code: str
    message: str

    @classmethod
    def of(cls, error: TelltaleError) -> Self:
        return cls(code=error.code, message=encodable(error.message))


class CardSummary(Written):
    """What a reader of a report must know about the model; the whole of it is in the model's card."""

    description: str = ""
    n_frames: int = 1
    """Faces of one person looked at together."""
    is_whole_frame: bool = False
    """Looks at the middle of frames, whoever is in them: no face is looked for."""
    size_px: int
    """Side of the crop that the model looks at."""
    min_face_px: float
    """Smaller faces are not judged."""
    min_faces: int
    """Nor are people seen less often, in a video."""
    fake_above: float
    real_below: float
    false_positive_rate: float
    """About the share of the real faces it was measured on that reach `fake_above`."""
    miss_rate: float
    """About the share of the fakes it was measured on that lie under `real_below`."""
    population: str = ""
    """On which faces both rates were measured."""
    training: tuple[str, ...] = ()
    """One line a source."""
    licence: str = ""
    limits: tuple[str, ...] = ()


class ModelInfo(Written):
    name: str
    sha256: str
    card: CardSummary | None = None


class FrameCounts(Written):
    decoded: int = 0
    analysed: int = 0
    lost: int = 0


class Heat(Written):
    """How the heat maps in `Pictures.heat` were made and what their colours stand for."""

    method: str
    target: Literal["fake", "real"]
    """Warm places speak for it, cold ones against."""
    full_logit: float
    """The heat, in logits, of the fullest colour: the same in every picture of a report."""
    n_faces: int
    """Faces that have a map."""
    told: str
    """What the colours mean, for a layman."""


class StabilityRow(Written):
    """The verdict on the clip after one treatment."""

    name: str
    """Short and stable: `h264_crf33`."""
    told: str
    """For people: "H.264, strongly compressed"."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Encoder and size, in the order applied."""
    size_bytes: int | None = None
    label: Label
    p_fake: float | None = None
    codes: tuple[Code, ...] = ()
    """As in the verdict: why it is uncertain, say."""
    n_faces: int = 0
    error: str | None = None
    """Why there is no verdict, where the treatment itself failed."""


class Stability(Written):
    """How the verdict moves when the clip is recompressed and rescaled."""

    baseline: StabilityRow
    """The stretch that was treated, as it came."""
    rows: tuple[StabilityRow, ...]
    stretch_s: tuple[float, float] | None = None
    """Which part of a long clip was treated; None: all of it."""
    n_same: int
    """Treatments after which the label is that of the baseline."""
    p_range: tuple[float, float] | None = None
    """Lowest and highest p_fake, baseline included."""
    told: str
    """The outcome in a sentence."""


class Credentials(Written):
    """Content Credentials (C2PA): what the file's signed history says. Absence is no evidence of anything."""

    status: Literal["absent", "valid", "invalid", "unreadable", "not_checked"]
    told: str
    """The outcome in a sentence or two."""
    is_signer_trusted: bool | None = None
    """None: no list of trusted signers was consulted."""
    title: str | None = None
    generator: str | None = None
    """The software that wrote the claim."""
    issuer: str | None = None
    """Organisation in the signing certificate, as it states itself."""
    signer: str | None = None
    signed_at: str | None = None
    actions: tuple[str, ...] = ()
    """What was done, as claimed: c2pa.created, c2pa.edited .."""
    source_types: tuple[str, ...] = ()
    """IPTC digital source types claimed: digitalCapture, trainedAlgorithmicMedia .."""
    ingredients: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Codes of checks that failed."""
    remote_url: str | None = None
    """Where the file says its credentials lie; never fetched."""


class StreamInfo(Written):
    """One stream of the container, from its header."""

    kind: str
    codec: str
    profile: str | None = None
    pixel_format: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    bit_rate: int | None = None
    """Bits per second, as measured from the packets where the file was read through, else as stated."""
    sample_rate_hz: int | None = None
    n_channels: int | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class ContainerInfo(Written):
    """What the file says about itself. Anyone can write anything there: shown as text, believed by nobody."""

    format: str
    bit_rate: int | None = None
    """Of the whole file, bits per second."""
    bits_per_pixel: float | None = None
    """Of the analysed video stream: bits per pixel and frame. Below about .03 fine traces of a forgery are gone."""
    key_frame_every_s: float | None = None
    """Median distance of key frames; encoders of platforms and of cameras differ in it."""
    metadata: dict[str, str] = Field(default_factory=dict)
    streams: tuple[StreamInfo, ...] = ()


class Provenance(Written):
    """Where the file comes from, by its own account."""

    credentials: Credentials
    container: ContainerInfo | None = None


ATTACHMENT_NAMES = ("annotated.mp4", "telling.gif", "contact_sheet.png", "annotated.png")


class Attachment(Written):
    """A file that lies beside the report."""

    name: str
    """In the report's folder: `annotated.mp4`."""
    kind: Literal["video", "gif", "contact_sheet", "picture"]
    told: str
    media_type: str
    size_bytes: int
    sha256: str
    width_px: int
    height_px: int


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

    @classmethod
    def failed(
        cls, error: ErrorInfo, *, input: InputInfo, model: ModelInfo, versions: Mapping[str, str], **known: Any
    ) -> Self:
        """The report where `error` left no verdict; `known`: further fields."""
        verdict = Verdict(label="failed", reasons=(error.message,))
        return cls(verdict=verdict, error=error, input=input, model=model, versions=dict(versions), **known)

    def _repr_html_(self) -> str:
        from telltale.report import to_notebook

        return to_notebook(self)
