"""What `video.open_video` gives: the frames of a video file (`FileReader`) or of a picture (`PictureReader`).

    with FileReader(source, SamplePlan("fps", 2), limits=DecodeLimits(), n_threads=None) as reader:
        for frame in reader: ...

What was found out on the way (`codes`, `warnings`, `info`, counts) is computed when asked for, so it is
right also when the iteration was left early.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from telltale import _container
from telltale._container import DAMAGE, NO_MEMORY, DecodeLimits, Missing
from telltale._rgb import Converter, turn_of
from telltale._source import FileHash, Source
from telltale._timestamps import Clock
from telltale.errors import CorruptFile, NoFrames, UnsupportedCodec
from telltale.pictures import Picture
from telltale.sampling import Choice, SamplePlan, choose
from telltale.types import Code, Frame, RgbImage, Timestamps, VideoInfo

_EPSILON_S = 1e-6
"""Slack for times that went through a container's rounding."""
_MOST_THREADS = 8
_PIXELS_IN_FLIGHT = 33_000_000
"""Four frames of 4K."""
_CONVERSIONS = {
    Code.HDR_TONE_MAPPED: "The video is HDR; it was tone-mapped to what an ordinary screen shows.",
    Code.ALPHA_COMPOSITED: "Transparent parts were made white.",
    Code.INTERLACED: "The video is interlaced; where two moments were woven together one of them was kept.",
}


class _Reader:
    """What readers of videos and pictures share."""

    def __init__(self, source: Source, info: VideoInfo, file_hash: FileHash) -> None:
        self._source = source
        self._hash = file_hash
        self._info = info
        self._is_finished = False
        self.n_decoded = 0
        self.n_lost = 0

    @property
    def info(self) -> VideoInfo:
        if not self._info.sha256 and (self._is_finished or self._hash.is_done):
            self._info = replace(self._info, sha256=self._hash.result())
        return self._info

    def _findings(self) -> list[tuple[Code, str]]:
        raise NotImplementedError

    @property
    def codes(self) -> list[Code]:
        return [code for code, _ in self._findings()]

    @property
    def warnings(self) -> list[str]:
        return [warning for _, warning in self._findings()]

    def close(self) -> None:
        self._is_finished = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PictureReader(_Reader):
    """A picture as a video of one frame, or of several when it is animated."""

    def __init__(self, source: Source, plan: SamplePlan, *, limits: DecodeLimits) -> None:
        self._picture = picture = Picture(source, max_pixels=limits.max_pixels)
        self._times_s = picture.times_s()
        self._choice = choose(self._times_s, plan)
        self._converter = Converter(max_side_px=plan.max_side_px)
        info = VideoInfo(
            path=source.path,
            sha256="",
            size_bytes=source.size_bytes,
            container=picture.format,
            codec=picture.format,
            width_px=picture.width_px,
            height_px=picture.height_px,
            rotation_deg=0,
            duration_s=None,
            fps_header=None,
            n_frames_header=picture.n_frames,
            stream_index=0,
            is_image=True,
        )
        super().__init__(source, info, FileHash(Path(source.readable)))

    def __iter__(self) -> Iterator[Frame]:
        for index in self._choice.indices.tolist():
            rgb = self._converter.shrunk(self._picture.rgb(index))
            self.n_decoded += 1
            yield Frame(index, float(self._times_s[index]), rgb)
        self._is_finished = True

    def _findings(self) -> list[tuple[Code, str]]:
        found = _capped(self._choice)
        return found + [(code, _CONVERSIONS[code]) for code in sorted(self._picture.codes)]

    def close(self) -> None:
        self._picture.close()
        super().close()


class FileReader(_Reader):
    """The frames of a video file."""

    def __init__(self, source: Source, plan: SamplePlan, *, limits: DecodeLimits, n_threads: int | None) -> None:
        until_n = int(plan.value) if plan.kind == "first" else None
        scans = _container.scan(source, limits, until_s=plan.seconds, until_n=until_n)
        self._container = _container.open_container(source, limits)
        try:
            streams = _container.candidates(self._container, source)
            self._stream = _container.pick(streams, scans, source)
            _container.refuse_large(self._stream, source, limits)
            scan = scans[self._stream.index]
            self._n_streams = sum(bool(found.pts) for found in scans.values())
            self._timeline = _container.timeline(self._stream, scan)
            self._missing = _container.missing(self._stream, scan, self._timeline, source.size_bytes)
            info = self._describe(source, is_measured=scan.is_complete and not self._missing)
            _prepare(self._stream, limits, n_threads)
        except BaseException:
            self._container.close()
            raise
        super().__init__(source, info, FileHash(Path(source.readable)))
        self.n_lost = self._missing.n_frames if self._missing else 0
        self._limits = limits
        self._choice = choose(self._timeline.times_s, plan)
        self._converter = Converter(max_side_px=plan.max_side_px)
        self._clock = Clock(self._timeline.interval_s)
        self._is_tainted = False
        """The frame at hand is damaged, or built from one that is: damage lasts until the next key frame."""
        self._changed_size: str | None = None
        self._which = f"stream {self._stream.index} ({self._stream.width}x{self._stream.height}) was looked at"

    def _describe(self, source: Source, *, is_measured: bool) -> VideoInfo:
        stream = self._stream
        return VideoInfo(
            path=source.path,
            sha256="",
            size_bytes=source.size_bytes,
            container=self._container.format.name,
            codec=stream.codec_context.name,
            width_px=stream.width,
            height_px=stream.height,
            rotation_deg=0,
            duration_s=self._timeline.end_s if is_measured else _container.declared_duration_s(stream),
            fps_header=float(stream.average_rate) if stream.average_rate else None,
            n_frames_header=stream.frames or None,
            stream_index=stream.index,
        )

    def __iter__(self) -> Iterator[Frame]:
        due_s: list[float] = self._timeline.times_s[self._choice.indices].tolist()
        n_due, n_passed, n_taken = len(due_s), 0, 0
        for n_before, time_s, frame in self._timed(self._decoded()):
            if time_s < due_s[n_passed] - _EPSILON_S or self._is_tainted:
                continue
            yield Frame(self._timeline.place(frame.pts, n_before), time_s, self._to_rgb(frame))
            n_taken += 1
            while n_passed < n_due and due_s[n_passed] <= time_s + _EPSILON_S:
                n_passed += 1
            if n_passed == n_due:
                break
        self._is_finished = True
        if not n_taken:
            self._raise_nothing_found()

    def _raise_nothing_found(self) -> None:
        name = self._source.name
        if self.n_decoded:
            raise CorruptFile(f"{name}: every frame that was looked at is damaged; copy it again")
        raise NoFrames(f"{name}: no frame of its video can be decoded; it is damaged or was never finished")

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames in display order. What no frame is built from and nobody wants is skipped, which costs a
        third less time for usual H.264 and changes no other frame."""
        context = self._stream.codec_context
        pts = self._timeline.pts
        wanted = None if pts is None else set(pts[self._choice.indices].tolist())
        skips = None
        for packet in _container.packets(self._container, [self._stream]):
            if wanted is not None:
                can_skip = packet.pts not in wanted
                if can_skip != skips:
                    context.skip_frame = "NONREF" if can_skip else "DEFAULT"
                    skips = can_skip
            try:
                frames = packet.decode()
            except NO_MEMORY:
                raise _container.out_of_memory(self._source) from None
            except DAMAGE:
                self.n_lost += 1
                self._is_tainted = True
                continue
            for frame in frames:
                self.n_decoded += 1
                if frame.width * frame.height > self._limits.max_pixels:
                    self.n_lost += 1
                    continue
                self._is_tainted = frame.is_corrupt or (self._is_tainted and not frame.key_frame)
                self.n_lost += self._is_tainted
                yield frame

    def _timed(self, frames: Iterator[VideoFrame]) -> Iterator[tuple[int, float, VideoFrame]]:
        """Each frame, how many came before it, and when it is shown."""
        timeline, clock = self._timeline, self._clock
        time_base_s = float(self._stream.time_base or 0.001)
        n_by_order = len(timeline.times_s) if timeline.is_by_order else 0
        size: tuple[int, int] | None = None
        for n_before, frame in enumerate(frames):
            if size != (frame.width, frame.height):
                self._note_size(frame, is_first=size is None)
                size = (frame.width, frame.height)
            pts = frame.pts
            pts_s = None if pts is None else (pts - timeline.origin_pts) * time_base_s
            if n_before < n_by_order:
                pts_s = float(timeline.times_s[n_before])
            yield n_before, clock.next(pts_s), frame

    def _note_size(self, frame: VideoFrame, *, is_first: bool) -> None:
        degrees, _ = turn_of(frame)
        width, height = (frame.height, frame.width) if degrees in (90, 270) else (frame.width, frame.height)
        if is_first:
            self._info = replace(self._info, width_px=width, height_px=height, rotation_deg=degrees)
        else:
            self._changed_size = f"{width}x{height}"

    def _to_rgb(self, frame: VideoFrame) -> RgbImage:
        try:
            return self._converter.to_rgb(frame)
        except NO_MEMORY:
            raise _container.out_of_memory(self._source) from None
        except DAMAGE as error:
            pixels = frame.format.name
            message = f"{self._source.name}: its pixels ({pixels}) cannot be turned into RGB; convert it to H.264"
            raise UnsupportedCodec(message) from error

    @property
    def info(self) -> VideoInfo:
        state: Timestamps = "exact"
        if self._clock.is_synthetic:
            state = "synthetic"
        elif self._clock.n_repaired:
            state = "repaired"
        if state != self._info.timestamps:
            self._info = replace(self._info, timestamps=state)
        return super().info

    def _findings(self) -> list[tuple[Code, str]]:
        found = _capped(self._choice)
        if self._missing:
            found.append((Code.PARTIAL, _cut_off(self._missing, self._info)))
        n_damaged = self.n_lost - (self._missing.n_frames if self._missing else 0)
        if n_damaged:
            found.append(
                (Code.FRAMES_LOST, f"{n_damaged} frames that are damaged, or built from damaged ones, were left out.")
            )
        if self._clock.is_synthetic:
            found.append((Code.TIMESTAMPS_SYNTHETIC, "The file holds no times; they are counted from its frame rate."))
        elif self._clock.n_repaired:
            repaired = f"{self._clock.n_repaired} times were missing or did not advance, and were repaired."
            found.append((Code.TIMESTAMPS_REPAIRED, repaired))
        if self._changed_size:
            found.append((Code.GEOMETRY_CHANGED, f"The picture changes its size, last to {self._changed_size}."))
        if self._n_streams > 1:
            several = f"The file holds {self._n_streams} videos; {self._which}."
            found.append((Code.SEVERAL_VIDEO_STREAMS, several))
        return found + [(code, _CONVERSIONS[code]) for code in sorted(self._converter.codes)]

    def close(self) -> None:
        self._container.close()
        super().close()


def _capped(choice: Choice) -> list[tuple[Code, str]]:
    if not choice.was_capped:
        return []
    n = len(choice.indices)
    return [(Code.CAPPED, f"{n} frames spread over the whole clip were looked at instead of {choice.n_wanted}.")]


def _cut_off(missing: Missing, info: VideoInfo) -> str:
    if missing.frac_present is None:
        return "The file was cut off: its end is missing."
    whole = f" of {info.duration_s:.1f} s" if info.duration_s else ""
    return f"The file was cut off: {missing.frac_present:.0%}{whole} could be read."


def _prepare(stream: VideoStream, limits: DecodeLimits, n_threads: int | None) -> None:
    """Set the decoder up. More threads hold more frames in memory: few for large pictures."""
    pixels = max(1, stream.width * stream.height)
    affordable = max(1, min(_MOST_THREADS, _PIXELS_IN_FLIGHT // pixels))
    stream.codec_context.options = {"max_pixels": limits.for_decoder}
    stream.codec_context.skip_frame = "DEFAULT"
    stream.thread_count = min(affordable, n_threads or (os.cpu_count() or 1) + 1)
    stream.thread_type = "AUTO"


__all__ = ["FileReader", "PictureReader"]
