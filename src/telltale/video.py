"""Read frames from a video or picture that may be anything, hostile included.

    for frame in read_frames("clip.mp4", SamplePlan("fps", 2)):
        print(frame.index, frame.pts_s, frame.rgb.shape)

A scan runs this inside the worker process (`sandbox`). Called from elsewhere it decodes in the caller's own process,
neither confined nor bounded: hostile files are for `telltale.scan`. The packets of the file are read once without
decoding; their timestamps decide which frames are wanted (`sampling.choose`). Then frames are decoded, except those
that nobody wants and no other frame is built from, and only the wanted ones become RGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from telltale._container import DecodeLimits
from telltale._file_reader import FileReader
from telltale._reader import VideoReader
from telltale._source import Source, fingerprint
from telltale._wire import Message
from telltale.pictures import PictureReader
from telltale.sampling import SamplePlan
from telltale.types import Frame, VideoInfo

_LIMITS = DecodeLimits()


def probe(path: str | bytes | os.PathLike[str], *, limits: DecodeLimits = _LIMITS) -> VideoInfo:
    """What a file is: size, codec, duration, hash. One frame is decoded to be sure. Raises `InputError`.

    In this process, not confined: for hostile files use `telltale.scan`, whose report has the same in `video`.
    """
    with open_video(path, SamplePlan(max_frames=1), limits=limits) as reader:
        for _ in reader:
            pass
        return reader.info


def read_frames(
    path: str | bytes | os.PathLike[str], plan: SamplePlan = SamplePlan(), *, limits: DecodeLimits = _LIMITS
) -> Iterator[Frame]:
    """The sampled frames of a video or picture, in time order. Raises `InputError`.

    Decodes in this process, not confined: for hostile files use `telltale.scan`.
    """
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
    "read_frames",
]
