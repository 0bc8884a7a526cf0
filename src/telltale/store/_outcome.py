"""What becomes of one record of a data set: its faces as they will be stored, or why there are none."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from telltale._source import fingerprint
from telltale.datasets import Record
from telltale.errors import InputError, UsageError
from telltale.store._whole_picture import expect_whole_picture
from telltale.types import ErrorInfo, Face, FaceRecord, RgbImage


@dataclass(frozen=True, slots=True)
class StoredFace:
    """One row to be: an encoded picture and where it was cut from; `face=None` for a crop that came as it is."""

    image: bytes
    """JPEG or PNG."""
    face: Face | None = None
    track_id: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record: its faces, or why there are none."""

    record: Record
    sha256: str
    """Of the record's file or picture; empty where it could not be read."""
    faces: Sequence[StoredFace] = ()
    n_frames_sampled: int = 0
    n_frames_with_face: int = 0
    failure: ErrorInfo | None = None
    original_sha256: str | None = None
    """Of the video where its faces were looked for instead, as `sha256`; None where that was the record's own."""


def encode_crop(rgb: RgbImage, *, format: str = "jpeg") -> bytes:
    """A crop, uint8 (H, W, 3), as JPEG without chroma subsampling, or as PNG; the same bytes for the same pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    if format == "jpeg":
        Image.fromarray(rgb).save(buffer, "JPEG", quality=95, subsampling=0)
    elif format == "png":
        Image.fromarray(rgb).save(buffer, "PNG", compress_level=3)
    else:
        raise UsageError(f"crops are stored as jpeg or png, not {format!r}")
    return buffer.getvalue()


def content_sha256(record: Record) -> str:
    """SHA-256 of the record's bytes, in hex; empty where they cannot be read, or lie in a bucket."""
    if record.version is not None:
        return ""
    try:
        if isinstance(record, FaceRecord):
            return hashlib.sha256(record.read_bytes()).hexdigest()
        return fingerprint(record.path)[0]
    except InputError:
        return ""


def as_given(record: Record) -> Outcome:
    """A picture as it is. One that cannot be read is a named failure; a video is a `UsageError`."""
    if not isinstance(record, FaceRecord):
        raise UsageError(f"{record.name} is a video: only pictures can be stored as they are")
    try:
        data = record.read_bytes()
        expect_whole_picture(record.name, data)
    except InputError as error:
        return Outcome(record, content_sha256(record), failure=ErrorInfo.of(error))
    return Outcome(record, hashlib.sha256(data).hexdigest(), [StoredFace(data)])
