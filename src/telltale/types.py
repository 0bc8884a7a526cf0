"""The things that flow through Telltale, from a frame to a report. Frozen, and checked when made.

Pictures are RGB, uint8, (height, width, 3); coordinates are pixels from the top-left corner of the frame
*as displayed*, rotation applied. 1 = fake = positive, everywhere.

>>> Face(frame_index=0, pts_s=0.0, box_xyxy=np.array([10, 10, 60, 70], np.float32), confidence=0.99)
Face(frame 0 @ 0.000 s, box [10 10 60 70], confidence 0.990, detected)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from telltale._source import read_regular
from telltale.errors import CorruptFile, FileMissing, FileUnreadable

if TYPE_CHECKING:
    from telltale._reported import (
        Attachment,
        CardSummary,
        ContainerInfo,
        Credentials,
        ErrorInfo,
        FaceReport,
        FrameCounts,
        Heat,
        InputInfo,
        ModelInfo,
        Provenance,
        Report,
        Stability,
        StabilityRow,
        StreamInfo,
        TrackReport,
        Verdict,
        Written,
        suspicion,
    )

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]
RgbImage = npt.NDArray[np.uint8]
"""uint8 (H, W, 3), red first."""

Label = Literal["real", "fake", "uncertain", "no_face", "failed"]
FaceSource = Literal["detected", "interpolated"]
Timestamps = Literal["exact", "repaired", "synthetic"]
Side = Literal["train", "val", "test"]


class Code(StrEnum):
    """The closed list of what a report can say about an analysis. Errors have codes of their own (`errors`)."""

    NO_FACE = "no_face"
    TOO_FEW_FACES = "too_few_faces"
    TOO_SMALL = "too_small"
    TOO_BLURRED = "too_blurred"
    BETWEEN_THRESHOLDS = "between_thresholds"
    OUT_OF_DOMAIN = "out_of_domain"
    NOT_ALL_JUDGED = "not_all_judged"
    PARTIAL = "partial"
    BEGINNING_ONLY = "beginning_only"
    CAPPED = "capped"
    FRAMES_LOST = "frames_lost"
    TIMESTAMPS_SYNTHETIC = "timestamps_synthetic"
    TIMESTAMPS_REPAIRED = "timestamps_repaired"
    GEOMETRY_CHANGED = "geometry_changed"
    SEVERAL_VIDEO_STREAMS = "several_video_streams"
    HDR_TONE_MAPPED = "hdr_tone_mapped"
    ALPHA_COMPOSITED = "alpha_composited"
    INTERLACED = "interlaced"
    FACE_CROP_INPUT = "face_crop_input"


def _expect(condition: bool, what: str, got: object) -> None:
    if not condition:
        raise ValueError(f"{what}, got {got}")


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says about itself, and what was found on looking."""

    path: str
    sha256: str
    size_bytes: int
    container: str
    codec: str
    width_px: int
    """As displayed, rotation applied."""
    height_px: int
    rotation_deg: int
    """Clockwise turn that was applied: 0, 90, 180 or 270."""
    duration_s: float | None
    fps_header: float | None
    """From the header; may lie."""
    n_frames_header: int | None
    """From the header; may lie. Never used for allocation or sampling."""
    stream_index: int
    timestamps: Timestamps = "exact"
    is_image: bool = False

    @property
    def is_still(self) -> bool:
        """One picture, neither a video nor an animation: a single face is then enough for a verdict."""
        return self.is_image and (self.n_frames_header or 1) == 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture. `index` counts decoded frames from 0."""

    index: int
    pts_s: float
    rgb: RgbImage
    shrunk: float = 1.0
    """Pixels of `rgb` by those of the picture as displayed: below 1 where it was made smaller."""

    def __post_init__(self) -> None:
        _expect(
            self.rgb.dtype == np.uint8 and self.rgb.ndim == 3 and self.rgb.shape[2] == 3,
            "rgb must be uint8 (H, W, 3)",
            f"{self.rgb.dtype} {self.rgb.shape}",
        )

    def __repr__(self) -> str:
        height, width = self.rgb.shape[:2]
        return f"Frame({self.index} @ {self.pts_s:.3f} s, {width}x{height})"


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame."""

    frame_index: int
    pts_s: float
    box_xyxy: Float32Array
    """float32 (4,), px; may reach outside the frame."""
    confidence: float
    """0-1, the detector's own."""
    points: Float32Array | None = None
    """float32 (5, 2), px: the person's right eye (left in the picture), left eye, nose, right and left mouth corner."""
    source: FaceSource = "detected"

    def __post_init__(self) -> None:
        _expect(self.box_xyxy.shape == (4,), "box_xyxy must be (4,)", self.box_xyxy.shape)
        x0, y0, x1, y1 = self.box_xyxy
        _expect(bool(x1 > x0 and y1 > y0), "box_xyxy must have x1 > x0 and y1 > y0", self.box_xyxy)
        if self.points is not None:
            _expect(self.points.shape == (5, 2), "points must be (5, 2)", self.points.shape)
        _expect(0.0 <= self.confidence <= 1.0, "confidence must be 0-1", self.confidence)

    @property
    def width_px(self) -> float:
        return float(self.box_xyxy[2] - self.box_xyxy[0])

    @property
    def height_px(self) -> float:
        return float(self.box_xyxy[3] - self.box_xyxy[1])

    def __repr__(self) -> str:
        box = " ".join(f"{v:.0f}" for v in self.box_xyxy)
        return (
            f"Face(frame {self.frame_index} @ {self.pts_s:.3f} s, box [{box}], "
            f"confidence {self.confidence:.3f}, {self.source})"
        )


@dataclass(frozen=True, slots=True)
class Track:
    """One person through a shot or more: faces in time order."""

    id: int
    faces: tuple[Face, ...]
    person: int | None = None
    """Id of the first track that is taken for the same person's, its own if none is; None where nobody compared."""

    def __post_init__(self) -> None:
        times = [face.pts_s for face in self.faces]
        _expect(times == sorted(times), "a track's faces must be in time order", times)


@dataclass(frozen=True, slots=True)
class Clip:
    """Crops of one track that a model looks at together. T = 1 for image models, more for sequences."""

    track_id: int
    pts_s: Float64Array
    """(T,)"""
    rgb: RgbImage
    """uint8 (T, S, S, 3)"""
    mask: BoolArray
    """(T,): False where the clip is padded."""

    def __post_init__(self) -> None:
        t = len(self.pts_s)
        _expect(
            self.rgb.ndim == 4 and self.rgb.shape[0] == t and self.rgb.shape[1] == self.rgb.shape[2],
            f"rgb must be ({t}, S, S, 3)",
            self.rgb.shape,
        )
        _expect(self.mask.shape == (t,), f"mask must be ({t},)", self.mask.shape)

    def __repr__(self) -> str:
        return f"Clip(track {self.track_id}, {self.rgb.shape[0]} x {self.rgb.shape[1]} px)"


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's answers, columnar: one row a clip."""

    track_id: Int32Array
    """int32 (N,)"""
    pts_s: Float64Array
    """float64 (N,), s: a clip's middle."""
    logit: Float32Array
    """float32 (N,): positive = fake; not calibrated."""
    distance: Float64Array | None = None
    """float64 (N,): from what the model knows (`gate`), where its card has a gate."""

    def __post_init__(self) -> None:
        n = self.track_id.shape
        _expect(
            self.pts_s.shape == n and self.logit.shape == n and (self.distance is None or self.distance.shape == n),
            "columns must be equally long",
            (n, self.pts_s.shape, self.logit.shape),
        )

    def __len__(self) -> int:
        return len(self.logit)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """One video of a data set, with what the set says about it. 1 = fake."""

    dataset: str
    video_id: str
    """Unique inside the data set; holds the method where a name alone is not."""
    path: str
    """Opens the file."""
    name: str
    """The path inside the data set, with forward slashes: what a store keeps."""
    label: int
    method: str | None = None
    """How the fake was made, in the data set's words; None for reals and where unknown."""
    group_id: str
    """What must stay on one side of a split: the original video, or the persons in it. `NAMESPACE:ID`."""
    person_id: str | None = None
    """Everybody in it, target first: `NAMESPACE:ID+ID`; where only a circle of persons is known, that circle."""
    official_split: Side | None = None
    original_id: str | None = None
    """The video it is, or was made from: the same for a real and its fakes. None where the set does not say. A group
    may hold several."""
    version: str | None = None
    """None: `path` opens here. Else it is the address of an object in a bucket, and this changes when that does."""

    def __post_init__(self) -> None:
        _expect(self.label in (0, 1), "label must be 0 or 1", self.label)
        _expect(bool(self.video_id and self.group_id), "video_id and group_id must not be empty", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRecord:
    """One picture of a data set of pictures: a face crop, or a whole photograph."""

    dataset: str
    image_id: str
    path: str
    """The picture, or the zip file that holds it."""
    name: str
    label: int
    method: str | None = None
    group_id: str
    person_id: str | None = None
    official_split: Side | None = None
    original_id: str | None = None
    """As in `VideoRecord`."""
    member: ZipMember | None = None
    version: str | None = None
    """As in `VideoRecord`."""

    def __post_init__(self) -> None:
        _expect(self.label in (0, 1), "label must be 0 or 1", self.label)
        _expect(bool(self.image_id and self.group_id), "image_id and group_id must not be empty", self)

    @property
    def video_id(self) -> str:
        """The same as `image_id`, so that code for both kinds of records reads one name."""
        return self.image_id

    def read_bytes(self) -> bytes:
        """The encoded picture. Opens and closes its file, so it is safe after fork and spawn."""
        if self.member is not None:
            return self.member.read_bytes(self.path)
        return read_regular(self.path)


@dataclass(frozen=True, slots=True)
class ZipMember:
    """Where one file lies inside a zip file: read with one seek, without the zip's directory."""

    offset: int
    stored_bytes: int
    size_bytes: int
    crc32: int
    is_deflated: bool = False

    def read_bytes(self, path: str) -> bytes:
        try:
            with Path(path).open("rb", buffering=0) as file:
                file.seek(self.offset)
                data = file.read(self.stored_bytes)
        except FileNotFoundError as error:
            raise FileMissing(f"{path} does not exist (any more)") from error
        except OSError as error:
            raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error
        if self.is_deflated:
            try:
                data = zlib.decompressobj(-15).decompress(data, self.size_bytes + 1)
            except zlib.error as error:
                raise CorruptFile(f"{path} is damaged at byte {self.offset}: unpack it anew") from error
        if len(data) != self.size_bytes or zlib.crc32(data) != self.crc32:
            raise CorruptFile(f"{path} is damaged at byte {self.offset}: copy it anew")
        return data


@dataclass(frozen=True, slots=True)
class Pictures:
    """JPEG pictures that an HTML report shows; never part of the JSON."""

    thumbnails: tuple[tuple[float, bytes], ...] = ()
    """(pts_s, JPEG of the whole frame, small), in time order."""
    crops: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """(track id, index into that track's faces) -> JPEG of the crop the model saw."""
    heat: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """The same keys -> PNG, RGBA, smaller than the crop: to be stretched over it, shown without its own colours."""
    still: bytes | None = None
    """JPEG of a still picture, larger than its thumbnail."""


def person_of(track: Track | TrackReport) -> int:
    """Whom a track shows; one that nobody was compared with is a person of its own."""
    return track.id if track.person is None else track.person


def count_people(tracks: Iterable[Track | TrackReport]) -> int:
    """How many persons they show."""
    return len({person_of(track) for track in tracks})


def __getattr__(name: str) -> Any:
    """The parts of a report, made when they are first asked for."""
    if name in __all__:
        from telltale import _reported

        return getattr(_reported, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Attachment",
    "BoolArray",
    "CardSummary",
    "Clip",
    "Code",
    "ContainerInfo",
    "Credentials",
    "ErrorInfo",
    "Face",
    "FaceRecord",
    "FaceReport",
    "FaceSource",
    "Float32Array",
    "Float64Array",
    "Frame",
    "FrameCounts",
    "Heat",
    "InputInfo",
    "Int32Array",
    "Label",
    "ModelInfo",
    "Pictures",
    "Provenance",
    "Report",
    "RgbImage",
    "Scores",
    "Side",
    "Stability",
    "StabilityRow",
    "StreamInfo",
    "Timestamps",
    "Track",
    "TrackReport",
    "Verdict",
    "VideoInfo",
    "VideoRecord",
    "Written",
    "ZipMember",
    "count_people",
    "person_of",
    "suspicion",
]
