"""What becomes of one record of a data set: its faces as they will be stored, or why there are none."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from telltale._source import fingerprint
from telltale.datasets import Record
from telltale.errors import CorruptFile, InputError, UsageError
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


def encode_crop(rgb: RgbImage, *, format: str = "jpeg", quality: int = 95) -> bytes:
    """A crop, uint8 (H, W, 3), as JPEG without chroma subsampling, or as PNG; the same bytes for the same pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    if format == "jpeg":
        Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=0)
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
        _expect_whole_picture(record.name, data)
    except InputError as error:
        return Outcome(record, content_sha256(record), failure=ErrorInfo(code=error.code, message=error.message))
    return Outcome(record, hashlib.sha256(data).hexdigest(), [StoredFace(data)])


def _first_scan_of_jpeg(data: bytes) -> int:
    """Where the pixels begin; before, thumbnails have ends of their own. `len(data)` where they do not."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return at + 2 + length
        at += 1 if marker == 0xFF else 2 + length  # a marker may be filled up with more of the first byte
    return len(data)


def _expect_whole_picture(name: str, data: bytes) -> None:
    """Raises `InputError` where the bytes are no picture, or stop before its end. Decoding each in the worker would
    tell all that is broken, and take some ten times as long as storing a crop does."""
    if data.startswith(b"\xff\xd8\xff"):
        is_whole = b"\xff\xd9" in data[_first_scan_of_jpeg(data) :]  # nothing in a scan looks like the end of the image
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        is_whole = data.rfind(b"IEND") > data.rfind(b"IDAT") > 0
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        is_whole = len(data) >= 8 + int.from_bytes(data[4:8], "little")
    elif data.startswith((b"GIF8", b"BM")):
        is_whole = True  # neither has an end that can be told
    else:
        raise InputError(f"{name} is no picture by its first bytes")
    if not is_whole:
        raise CorruptFile(f"{name} stops before the picture's end; copy it again from where it came")


__all__ = ["Outcome", "StoredFace", "as_given", "content_sha256", "encode_crop"]
