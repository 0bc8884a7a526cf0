"""Read frames from a video or picture that may be anything, hostile included.

    for frame in read_frames("clip.mp4", SamplePlan("fps", 2)):
        print(frame.index, frame.pts_s, frame.rgb.shape)

Runs inside the worker process (`sandbox`). The packets of the file are read once without decoding; their
timestamps decide which frames are wanted (`sampling.choose`); then frames are decoded, those that no other
frame needs and nobody wants are skipped, and only wanted ones become RGB.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av
import av.error
import av.logging
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from telltale import _timestamps
from telltale._rgb import Converter, turn_of
from telltale._source import Source, printable
from telltale.errors import (
    CorruptFile,
    InputError,
    NoFrames,
    NoVideoStream,
    OutOfMemory,
    TooManyPixels,
    TooManyStreams,
    UnsupportedCodec,
    UnsupportedContainer,
)
from telltale.sampling import SamplePlan, choose
from telltale.types import Code, Frame, VideoInfo

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,ogg,mxf,dv,nut,ivf,obu,"
    "h264,hevc,vvc,m4v,h263,mjpeg,wav,mp3,flac,aac"
)
_DECODE_ERRORS = (av.error.FFmpegError, UnicodeDecodeError, IndexError, ValueError, OverflowError)
"""What was seen to come out of PyAV on damaged files; not only its own errors."""


@dataclass(frozen=True)
class DecodeLimits:
    """What a file may ask for before it is refused."""

    max_pixels: int = 36_000_000
    """Pixels of one frame."""
    max_streams: int = 64


class VideoReader(Protocol):
    """Frames in time order, and what was found out about the file on the way."""

    n_decoded: int
    """Frames decoded so far."""
    n_skipped: int
    """Frames passed over so far because neither the plan nor another frame needed them."""
    n_lost: int
    """Frames known to be missing or damaged so far."""
    codes: list[Code]
    warnings: list[str]
    span_s: tuple[float, float] | None
    """Times of the first and the last frame seen so far."""

    @property
    def info(self) -> VideoInfo:
        """Size as displayed, timestamps and SHA-256 are final after the last frame; the hash is "" while unknown."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: Any, error: Any, trace: Any) -> None: ...
    def close(self) -> None: ...


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def probe(path: str | os.PathLike[str], *, limits: DecodeLimits = DecodeLimits()) -> VideoInfo:
    """What a file is: sizes, codec, duration, hash. Decodes one frame to be sure. Raises `InputError`."""
    with open_video(path, SamplePlan("first", 1), limits=limits) as reader:
        for _ in reader:
            break
        return reader.info


def read_frames(
    path: str | os.PathLike[str], plan: SamplePlan = SamplePlan(), *, limits: DecodeLimits = DecodeLimits()
) -> Iterator[Frame]:
    """The sampled frames of a video or picture, in time order. Raises `InputError`."""
    with open_video(path, plan, limits=limits) as reader:
        yield from reader


def open_video(
    path: str | os.PathLike[str],
    plan: SamplePlan = SamplePlan(),
    *,
    limits: DecodeLimits = DecodeLimits(),
    n_threads: int | None = None,
) -> VideoReader:
    """Open a video or picture for reading the frames of `plan`. `n_threads`: None = as many as help.

    Raises the `InputError` that says why the file cannot be read.
    """
    source = Source(path)
    try:
        if source.kind == "video":
            return FileReader(source, plan, limits=limits, n_threads=n_threads)
        return PictureReader(source, plan, limits=limits)
    except BaseException:
        source.close()
        raise


class _Hash:
    """The file's SHA-256, computed in a thread beside the decoding."""

    def __init__(self, path: str) -> None:
        self._value = ""
        self._error: OSError | None = None
        self._path = path
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = sha256_file(self._path)
        except OSError as error:
            self._error = error

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> str:
        self._thread.join()
        if self._error is not None:
            raise CorruptFile(f"reading failed half-way ({self._error.strerror}); check the disk") from self._error
        return self._value


class _Reader:
    """What readers of videos and pictures share."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = _Hash(source.readable)
        self._info: VideoInfo
        self.n_decoded = 0
        self.n_skipped = 0
        self.n_lost = 0
        self.codes: list[Code] = []
        self.warnings: list[str] = []
        self.span_s: tuple[float, float] | None = None
        self._is_finished = False

    @property
    def info(self) -> VideoInfo:
        if not self._info.sha256 and (self._is_finished or self._hash.is_done):
            self._info = replace(self._info, sha256=self._hash.result())
        return self._info

    def _note(self, code: Code, warning: str) -> None:
        if code not in self.codes:
            self.codes.append(code)
            self.warnings.append(warning)

    def _saw(self, time_s: float) -> None:
        self.span_s = (time_s if self.span_s is None else self.span_s[0], time_s)

    def close(self) -> None:
        self._is_finished = True
        self._hash.result()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PictureReader(_Reader):
    """A picture as a video of one frame, or of a few when it is animated."""

    def __init__(self, source: Source, plan: SamplePlan, *, limits: DecodeLimits) -> None:
        from telltale.pictures import Picture

        super().__init__(source)
        self._picture = Picture(source, max_pixels=limits.max_pixels)
        self._plan = plan
        self._times = np.array(list(self._picture.times_s()))
        self._info = VideoInfo(
            path=source.path,
            sha256="",
            size_bytes=source.size_bytes,
            container=self._picture.format.lower(),
            codec=self._picture.format.lower(),
            width_px=self._picture.width_px,
            height_px=self._picture.height_px,
            rotation_deg=0,
            duration_s=None,
            fps_header=None,
            n_frames_header=self._picture.n_frames,
            stream_index=0,
            is_image=True,
        )

    def __iter__(self) -> Iterator[Frame]:
        choice = choose(self._times, self._plan)
        for index in choice.indices.tolist():
            rgb = self._picture.rgb(index)
            self.n_decoded += 1
            self._saw(float(self._times[index]))
            yield Frame(index, float(self._times[index]), rgb)
        self._is_finished = True
        if Code.ALPHA_COMPOSITED in self._picture.codes:
            self._note(Code.ALPHA_COMPOSITED, "transparent parts were made white")

    def close(self) -> None:
        self._picture.close()
        super().close()


class FileReader(_Reader):
    """The frames of a video file."""

    def __init__(self, source: Source, plan: SamplePlan, *, limits: DecodeLimits, n_threads: int | None) -> None:
        super().__init__(source)
        self._plan = plan
        self._limits = limits
        self._name = printable(source.path)
        self._converter = Converter(max_side_px=plan.max_side_px, n_threads=n_threads or 0)
        self._container = self._open()
        try:
            self._stream = self._pick_stream()
            self._timeline = self._scan_packets()
            self._choice = choose(self._timeline.times_s, plan)
            self._info = self._describe()
            self._prepare_decoder(n_threads)
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> InputContainer:
        av.logging.set_level(None)
        av.logging.set_libav_level(av.logging.PANIC)
        try:
            return av.open(
                "file:" + self._source.readable,
                options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS},
                metadata_errors="replace",
            )
        except (MemoryError, av.error.MemoryError):
            raise OutOfMemory(f"{self._name} needs more memory than it may have") from None
        except _DECODE_ERRORS as error:
            raise _not_opened(self._source, error) from None

    def _pick_stream(self) -> VideoStream:
        streams = self._container.streams
        if len(streams) > self._limits.max_streams:
            raise TooManyStreams(f"{self._name} has {len(streams)} streams, more than {self._limits.max_streams}")
        moving = [s for s in streams.video if not s.disposition & (1 << 10)]
        if not moving:
            cover = " (the picture in it is a cover)" if streams.video else ""
            raise NoVideoStream(f"{self._name} has sound but no video{cover}; there are no faces to look at")
        readable = [s for s in moving if s.codec_context is not None]
        if not readable:
            raise UnsupportedCodec(f"{self._name}: no decoder for this video here; convert it to H.264 first")
        best = max(readable, key=lambda s: (bool(s.disposition & 1), s.width * s.height, -s.index))
        if len(moving) > 1:
            self._note(
                Code.SEVERAL_VIDEO_STREAMS,
                f"{len(moving)} video streams in the file; stream {best.index} ({best.width}x{best.height}) was read",
            )
        if best.width * best.height > self._limits.max_pixels:
            raise TooManyPixels(
                f"{self._name} is {best.width}x{best.height}, more than "
                f"{self._limits.max_pixels / 1e6:.0f} million pixels a frame"
            )
        return best

    def _scan_packets(self) -> _timestamps.Timeline:
        stream = self._stream
        time_base = float(stream.time_base or Fraction(1, 1000))
        pts: list[int | None] = []
        with self._open() as container:
            for packet in _packets(container, container.streams.video[self._container.streams.video.index(stream)]):
                if packet.size and not packet.is_discard:
                    pts.append(packet.pts)
        start = self._container.start_time
        return _timestamps.build(
            pts,
            time_base_s=time_base,
            interval_s=1 / _fps(stream),
            start_pts=None if start is None else round(start / av.time_base / time_base),
        )

    def _describe(self) -> VideoInfo:
        stream = self._stream
        duration = None
        if stream.duration and stream.time_base:
            duration = float(stream.duration * stream.time_base)
        elif self._container.duration:
            duration = self._container.duration / av.time_base
        return VideoInfo(
            path=self._source.path,
            sha256="",
            size_bytes=self._source.size_bytes,
            container=self._container.format.name,
            codec=stream.codec_context.name,
            width_px=stream.width,
            height_px=stream.height,
            rotation_deg=0,
            duration_s=duration,
            fps_header=float(stream.average_rate) if stream.average_rate else None,
            n_frames_header=stream.frames or None,
            stream_index=stream.index,
        )

    def _prepare_decoder(self, n_threads: int | None) -> None:
        context = self._stream.codec_context
        context.options = {"max_pixels": str(self._limits.max_pixels)}
        if n_threads is not None:
            self._stream.thread_count = n_threads
        self._stream.thread_type = "AUTO" if n_threads is None or n_threads > 1 else "SLICE"

    def __iter__(self) -> Iterator[Frame]:
        timeline = self._timeline
        time_base = float(self._stream.time_base or Fraction(1, 1000))
        clock = _timestamps.Clock(timeline.interval_s)
        targets = timeline.times_s[self._choice.indices]
        n_targets, n_taken = len(targets), 0
        shown_as = None if timeline.pts is None else {int(p): i for i, p in enumerate(timeline.pts)}
        first_size: tuple[int, int] | None = None
        if self._choice.was_capped:
            self._note(
                Code.CAPPED,
                f"{n_targets} frames spread over the clip were looked at, not the {self._choice.n_wanted} asked for",
            )
        for index, frame in enumerate(self._decode(timeline)):
            pts = frame.pts
            time_s = clock.next(None if pts is None else (pts - timeline.origin_pts) * time_base)
            self._saw(time_s)
            size = (frame.width, frame.height)
            if first_size is None:
                first_size = size
                self._first(frame)
            elif size != first_size:
                self._note(Code.GEOMETRY_CHANGED, f"the picture changes size to {size[0]}x{size[1]} at {time_s:.2f} s")
            if n_taken < n_targets and time_s >= targets[n_taken] - 1e-6:
                if frame.is_corrupt:
                    self.n_lost += 1
                    continue
                while n_taken < n_targets and time_s >= targets[n_taken] - 1e-6:
                    n_taken += 1
                place = index if shown_as is None or pts is None else shown_as.get(pts, index)
                yield Frame(place, time_s, self._converter.to_rgb(frame))
                if n_taken == n_targets:
                    break
        self._finish(clock)

    def _first(self, frame: VideoFrame) -> None:
        degrees, _ = turn_of(frame)
        width, height = frame.width, frame.height
        if degrees in (90, 270):
            width, height = height, width
        self._info = replace(self._info, width_px=width, height_px=height, rotation_deg=degrees)

    def _decode(self, timeline: _timestamps.Timeline) -> Iterator[VideoFrame]:
        context = self._stream.codec_context
        wanted = None if timeline.pts is None else {int(p) for p in timeline.pts[self._choice.indices]}
        mode = None
        for packet in _packets(self._container, self._stream):
            if wanted is not None:
                needed = "DEFAULT" if packet.pts in wanted else "NONREF"
                if needed != mode:
                    context.skip_frame = needed  # type: ignore[assignment]
                    mode = needed
            try:
                frames = packet.decode()
            except (MemoryError, av.error.MemoryError):
                raise OutOfMemory(f"{self._name} needs more memory than it may have") from None
            except _DECODE_ERRORS:
                self.n_lost += 1
                continue
            for frame in frames:
                self.n_decoded += 1
                yield frame

    def _finish(self, clock: _timestamps.Clock) -> None:
        self._is_finished = True
        if self.n_decoded == 0:
            raise NoFrames(f"{self._name}: no frame of its video can be decoded; it is damaged or was never finished")
        for code in sorted(self._converter.codes):
            self._note(code, _CONVERSIONS[code])
        if self.n_lost:
            self._note(Code.FRAMES_LOST, f"{self.n_lost} frames were damaged and left out")
        if clock.is_synthetic:
            self._info = replace(self._info, timestamps="synthetic")
            self._note(Code.TIMESTAMPS_SYNTHETIC, "the file holds no times; they were counted from its frame rate")
        elif clock.n_repaired:
            self._info = replace(self._info, timestamps="repaired")
            self._note(
                Code.TIMESTAMPS_REPAIRED, f"{clock.n_repaired} times were missing or ran backwards and were repaired"
            )

    def close(self) -> None:
        self._container.close()
        super().close()


_CONVERSIONS = {
    Code.HDR_NOT_TONE_MAPPED: "HDR video was not tone-mapped: faces may look flat, scores are less reliable",
    Code.HDR_TONE_MAPPED: "HDR video was tone-mapped to normal brightness",
    Code.ALPHA_COMPOSITED: "transparent parts were made white",
    Code.INTERLACED: "the video is interlaced",
}


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets; after a damaged one the next is tried, until nothing more comes."""
    for _ in range(100):
        try:
            yield from container.demux(stream)
            return
        except _DECODE_ERRORS:
            continue


def _fps(stream: VideoStream) -> float:
    rate = stream.guessed_rate or stream.average_rate
    return float(rate) if rate and 0.01 < rate < 1000 else 25.0


def _not_opened(source: Source, error: Exception) -> InputError:
    name = printable(source.path)
    if source.head[4:8] == b"ftyp":
        return CorruptFile(
            f"{name} begins like an MP4 but its index (moov) is missing: it was cut off or never finished"
        )
    return UnsupportedContainer(f"{name} is no video or picture of a kind that is read here ({type(error).__name__})")


def probe_job(args: dict[str, Any]) -> Iterator[Any]:
    """The worker's side of `probe`."""
    from dataclasses import asdict

    from telltale.sandbox import Message

    yield Message("info", asdict(probe(args["path"])))


__all__ = [
    "DecodeLimits",
    "FileReader",
    "PictureReader",
    "VideoReader",
    "open_video",
    "probe",
    "probe_job",
    "read_frames",
    "sha256_file",
]
