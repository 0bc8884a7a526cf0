"""What a worker says about one file, checked before anybody uses it: a decoder that was taken over says what it likes.

with closing(worker.run("extract", ...)) as run:
    for message in checked(run, side_px=224):       # of the kinds that `extract` has, with all that belongs to them
        ...

Apart from scoring, so that a fault of our own is never taken for one of the worker's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from telltale._request import face_from_json
from telltale._text import encodable, short
from telltale._wire import Message
from telltale.errors import WorkerCrashed
from telltale.types import Code, FaceSource, VideoInfo

_MOST = 2**63 - 1
"""Larger numbers are in no header, and overflow what is computed from them."""
_SHA256 = re.compile("[0-9a-f]{64}|")
_Count = Annotated[int, Field(ge=0, le=_MOST)]
_Number = Annotated[float, Field(ge=-_MOST, le=_MOST)]
_Id = Annotated[int, Field(ge=0, lt=2**31 - 1)]
_Point = tuple[_Number, _Number]


def _text(value: str) -> str:
    value.encode()  # raises a ValueError for what is no text, which no report could be written with
    return value


_Text = Annotated[str, AfterValidator(_text)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Info(_Said):
    info: VideoInfo

    @model_validator(mode="after")
    def _check(self) -> Self:
        numbers = [value for value in asdict(self.info).values() if isinstance(value, int | float)]
        if min(self.info.width_px, self.info.height_px) < 1 or max(map(abs, numbers)) > _MOST:
            raise ValueError("numbers that no file has")
        for text in (self.info.container, self.info.codec):
            _text(text)
        if not _SHA256.fullmatch(self.info.sha256):
            raise ValueError("a SHA-256 that is none")
        return self


class _Face(_Said):
    track_id: _Id
    frame_index: _Count
    pts_s: _Number
    box_xyxy: tuple[_Number, _Number, _Number, _Number]
    points: tuple[_Point, _Point, _Point, _Point, _Point] | None
    confidence: _Number
    source: FaceSource


class _Faces(_Said):
    index: _Count
    pts_s: _Number
    shrunk: Annotated[float, Field(gt=1 / _MOST, le=1)] = 1.0
    faces: list[_Face]


class _Thumbnail(_Said):
    pts_s: _Number


class _Still(_Said):
    pass


class _Done(_Info):
    decoded: _Count
    analysed: _Count
    lost: _Count
    codes: list[Code]
    warnings: list[_Text]
    partial: list[_Text]
    is_out_of_time: bool
    persons: list[_Id | None]
    timings_s: dict[_Text, _Number]


class _Hash(_Said):
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: _Count


@contextmanager
def understood() -> Iterator[None]:
    """Around the reading of what a worker said, and nothing else: what makes no sense there is `WorkerCrashed`."""
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise WorkerCrashed(
            f"the process that reads files said what makes no sense ({type(error).__name__}: {short(error)})"
        ) from error


def checked(messages: Iterable[Message], *, side_px: int) -> Iterator[Message]:
    """The messages of an `extract` job whose crops have `side_px`. Raises `WorkerCrashed` at what it would not say."""
    last_s: dict[int, float] = {}
    is_done = False
    for message in messages:
        with understood():
            if is_done:
                raise ValueError(f"{short(message.kind)} after the end")
            said = _checked(message, side_px)
            is_done = said.kind == "done"
            for face in said.data["faces"] if said.kind == "faces" else ():
                if face["pts_s"] < last_s.get(face["track_id"], -_MOST):
                    raise ValueError("a face earlier than the one before")
                last_s[face["track_id"]] = face["pts_s"]
        yield said
    if not is_done:
        raise WorkerCrashed("the process that reads files ended without saying what it had read")


def _checked(message: Message, side_px: int) -> Message:
    match message.kind:
        case "info":
            return Message("info", asdict(_read_info(message.data)))
        case "faces":
            return _faces(message, side_px)
        case "thumbnail" | "still" as kind:
            jpeg = message.arrays["jpeg"]
            if jpeg.dtype != np.uint8 or jpeg.ndim != 1:
                raise ValueError(f"jpeg must be uint8 (N,), got {jpeg.dtype} {jpeg.shape}")
            said = _Thumbnail if kind == "thumbnail" else _Still
            return Message(kind, said(**message.data).model_dump(), {"jpeg": jpeg})
        case "done":
            done = _Done(**{**message.data, "info": _read_info(message.data["info"])})
            return Message("done", done.model_dump())
        case other:
            raise ValueError(f"expected info, faces, thumbnail, still or done, got {short(other)}")


def _read_info(data: Mapping[str, Any]) -> VideoInfo:
    return _Info.model_validate({"info": {**data, "path": encodable(str(data["path"]))}}).info


def _faces(message: Message, side_px: int) -> Message:
    said, crops = _Faces(**message.data).model_dump(), message.arrays["crops"]
    expected = (len(said["faces"]), side_px, side_px, 3)
    if crops.dtype != np.uint8 or crops.shape != expected:
        raise ValueError(f"crops must be uint8 {expected}, got {crops.dtype} {crops.shape}")
    for row in said["faces"]:
        face_from_json(row)
    return Message("faces", said, {"crops": crops})


def fingerprint(messages: Iterable[Message]) -> tuple[str, int]:
    """SHA-256 and size in bytes from a `hash` job. Raises `WorkerCrashed` where it says anything else."""
    said = list(messages)
    with understood():
        (message,) = said
        found = _Hash(**message.data)
    return found.sha256, found.size_bytes
