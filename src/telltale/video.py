"""Read frames from a video or picture that may be anything, hostile included.

    for frame in read_frames("clip.mp4", SamplePlan("fps", 2)):
        print(frame.index, frame.pts_s, frame.rgb.shape)

Runs inside the worker process (`sandbox`). The packets of the file are read once without decoding; their
timestamps decide which frames are wanted (`sampling.choose`). Then frames are decoded, except those that
nobody wants and no other frame is built from, and only the wanted ones become RGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol, Self

from telltale._container import DecodeLimits
from telltale._file_reader import FileReader
from telltale._source import Source, fingerprint
from telltale._wire import Message
from telltale.pictures import PictureReader
from telltale.sampling import SamplePlan
from telltale.types import Code, Frame, VideoInfo

_LIMITS = DecodeLimits()


class VideoReader(Protocol):
    """Frames in time order, and what was found out about the file on the way."""

    @property
    def info(self) -> VideoInfo:
        """Size as displayed and timestamps are final after the last frame. The SHA-256 is "" until it is known;
        after the last frame, or when closed, it is waited for."""
        ...

    @property
    def n_decoded(self) -> int:
        """Frames decoded so far."""
        ...

    @property
    def n_lost(self) -> int:
        """Frames known to be damaged or missing so far."""
        ...

    @property
    def codes(self) -> list[Code]:
        """What a report must say about how this file was read, so far."""
        ...

    @property
    def warnings(self) -> list[str]:
        """The same in sentences, in the same order."""
        ...

    @property
    def origin_s(self) -> float:
        """What the container calls the moment that is 0 seconds here."""
        ...

    @property
    def interval_s(self) -> float:
        """The usual time between two frames."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None: ...


def probe(path: str | bytes | os.PathLike[str], *, limits: DecodeLimits = _LIMITS) -> VideoInfo:
    """What a file is: size, codec, duration, hash. One frame is decoded to be sure. Raises `InputError`."""
    with open_video(path, SamplePlan(max_frames=1), limits=limits) as reader:
        for _ in reader:
            pass
        return reader.info


def read_frames(
    path: str | bytes | os.PathLike[str], plan: SamplePlan = SamplePlan(), *, limits: DecodeLimits = _LIMITS
) -> Iterator[Frame]:
    """The sampled frames of a video or picture, in time order. Raises `InputError`."""
    with open_video(path, plan, limits=limits) as reader:
        yield from reader


def open_video(
    path: str | bytes | os.PathLike[str],
    plan: SamplePlan = SamplePlan(),
    *,
    limits: DecodeLimits = _LIMITS,
    n_threads: int | None = None,
) -> VideoReader:
    """Open a video or picture to read the frames of `plan`. `n_threads`: for decoding; None = as many as help.

    Raises the `InputError` that says why the file cannot be read.
    """
    source = Source(path)
    try:
        if source.is_picture:
            return PictureReader(source, plan, limits=limits)
        return FileReader(source, plan, limits=limits, n_threads=n_threads)
    except BaseException:
        source.close()
        raise


def probe_job(args: dict[str, Any]) -> Iterator[Message]:
    """The worker's side of `probe`."""
    yield Message("info", asdict(probe(args["path"])))


def hash_job(args: dict[str, Any]) -> Iterator[Message]:
    """SHA-256 and size of a file that cannot be read as a video, for its report."""
    sha256, size_bytes = fingerprint(args["path"])
    yield Message("hash", {"sha256": sha256, "size_bytes": size_bytes})


__all__ = [
    "DecodeLimits",
    "VideoReader",
    "hash_job",
    "open_video",
    "probe",
    "probe_job",
    "read_frames",
]
