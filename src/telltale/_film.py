"""Writing video in the worker: RGB frames with their times into MP4, and the sound of the clip they come from.

with Film(path, width_px=640, height_px=360, fps=25) as film:
    film.add(rgb, time_s=0.0)

Times are kept to 1/90000 s, variable frame rates included. H.264 in 4:2:0 has even sides only: an odd side is made one
pixel longer by repeating the last.
"""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
import av.error
import av.logging
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from telltale import _container
from telltale._source import Source
from telltale.errors import OutputError, UnsupportedCodec
from telltale.types import RgbImage

TIME_BASE = Fraction(1, 90_000)
_BT709, _LIMITED = 1, 1
"""H.273 matrix, and AVCOL_RANGE_MPEG."""
_COPIED = ("aac", "mp3", "opus", "flac")
"""Sound that browsers play from an MP4; anything else becomes AAC, and so does what the muxer refuses."""
_SOUND_BITS_PER_S = 160_000
_AHEAD_S = 0.5
_OF_THE_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOTDIR}
)
"""Errors that say something about the place written to, and nothing about the clip."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder and what it is told. Threads and time base are the film's business."""

    name: str = "libx264"
    options: tuple[tuple[str, str], ...] = (("preset", "veryfast"), ("crf", "21"), ("bf", "0"))
    """No B-frames: with them the end of a clip of variable rate comes out too early, and browsers stop there."""
    container: str = "mp4"


class Film:
    """One video being written. Raises `OutputError` when the disk takes no more, `UnsupportedCodec` when FFmpeg refuses
    these pictures or this sound."""

    def __init__(
        self,
        path: Path,
        *,
        width_px: int,
        height_px: int,
        fps: float,
        encoder: Encoder = Encoder(),
        sound: Sound | None = None,
        n_threads: int = 2,
    ) -> None:
        self.width_px, self.height_px = width_px + width_px % 2, height_px + height_px % 2
        self._interval_s = 1 / fps
        self._sound = sound
        self._held: tuple[VideoFrame, int] | None = None
        self._reformatter = VideoReformatter()
        av.logging.set_level(None)
        av.logging.set_libav_level(av.logging.PANIC)
        options = {"movflags": "+faststart"} if encoder.container == "mp4" else {}
        with _output_errors(path):
            self._path = path
            self._out: OutputContainer = av.open(str(path), "w", format=encoder.container, options=options)
            self._stream = self._video_stream(encoder, fps, n_threads)
            self._voice = _Voice(self._out, sound) if sound else None

    def _video_stream(self, encoder: Encoder, fps: float, n_threads: int) -> VideoStream:
        rate = Fraction(fps).limit_denominator(1001)
        stream = cast(VideoStream, self._out.add_stream(encoder.name, rate=rate, options=dict(encoder.options)))
        stream.width, stream.height, stream.pix_fmt = self.width_px, self.height_px, "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = TIME_BASE
        context.thread_count = n_threads
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        return stream

    def add(self, rgb: RgbImage, time_s: float) -> None:
        """The next frame, uint8 (H, W, 3), made to fit; times ascend."""
        picture = _fitted(rgb, self.width_px, self.height_px)
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(picture, format="rgb24"),
            format="yuv420p",
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED,
            threads=1,
        )
        frame.pts, frame.time_base = round(time_s / TIME_BASE), TIME_BASE
        if self._voice:
            self._voice.write_until(time_s + _AHEAD_S, self._path)
        self._write_held(frame.pts)
        self._held = frame, frame.pts

    def _write_held(self, until_pts: int) -> None:
        """A frame lasts until the next one, so it can be written only then."""
        if self._held is None:
            return
        frame, pts = self._held
        if until_pts <= pts:
            until_pts = pts + 1
        frame.duration = until_pts - pts
        with _output_errors(self._path):
            self._out.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what is held and the rest of the sound, and close."""
        if self._held is not None:
            self._write_held(self._held[1] + round(self._interval_s / TIME_BASE))
        if self._voice:
            self._voice.write_until(float("inf"), self._path)
            self._voice.finish(self._path)
        with _output_errors(self._path):
            self._out.mux(self._stream.encode(None))
            self._out.close()

        self._close_sound()

    def abandon(self) -> None:
        """Close what is open; what was written is of no use."""
        with contextlib.suppress(*_container.DAMAGE, OSError):
            self._out.close()
        self._close_sound()

    def _close_sound(self) -> None:
        if self._sound is not None:
            self._sound.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()


class Sound:
    """The sound of a file, packet by packet, in the time of its pictures."""

    def __init__(self, source: Source, *, origin_s: float) -> None:
        """`origin_s`: what the container calls the moment that is 0 seconds."""
        self._container: InputContainer = _container.open_container(source, _container.DecodeLimits())
        streams = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        self.stream: AudioStream | None = streams[0] if streams else None
        self.origin_s = origin_s

    @property
    def is_copied(self) -> bool:
        return (
            self.stream is not None
            and self.stream.codec_context.codec.canonical_name in _COPIED
            and _mp4_takes(self.stream)
        )

    def packets(self) -> Iterator[Packet[AudioStream]]:
        """With times in order; what has none is left out."""
        if self.stream is None:
            return
        last: int | None = None
        for packet in _container.packets(self._container, [self.stream]):  # type: ignore[list-item]
            if packet.dts is None or packet.pts is None or not packet.size or (last is not None and packet.dts <= last):
                continue
            last = packet.dts
            yield cast("Packet[AudioStream]", packet)

    def close(self) -> None:
        self._container.close()


def _mp4_takes(stream: AudioStream) -> bool:
    """Whether the MP4 muxer writes a header for it. It refuses MP3 below 16 kHz (`mov_init` in FFmpeg's movenc.c)."""
    with contextlib.closing(av.open(io.BytesIO(), "w", format="mp4")) as trial:
        try:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
        except _container.DAMAGE:
            return False
        return True


class _Voice:
    """Sound going into a film: copied where browsers play it and an MP4 may hold it, otherwise turned into AAC."""

    def __init__(self, out: OutputContainer, sound: Sound) -> None:
        self._out = out
        self._sound = sound
        self._packets = sound.packets()
        self._waiting: Packet[AudioStream] | None = None
        self._stream: Any = None
        self._resampler: AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None
        stream = sound.stream
        if stream is None:
            return
        self._is_copied = sound.is_copied
        if self._is_copied:
            self._stream = out.add_stream_from_template(stream)
        else:
            rate = stream.codec_context.sample_rate
            self._rate = rate if rate in (22_050, 24_000, 32_000, 44_100, 48_000) else 48_000
            self._layout = "mono" if stream.codec_context.channels == 1 else "stereo"
            self._stream = out.add_stream("aac", rate=self._rate, layout=self._layout)
            self._stream.bit_rate = _SOUND_BITS_PER_S

    def write_until(self, time_s: float, path: Path) -> None:
        if self._stream is None:
            return
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or float((packet.pts or 0) * packet.time_base) - self._sound.origin_s > time_s:
                return
            self._waiting = None
            with _output_errors(path):
                self._write(packet)

    def _write(self, packet: Packet[AudioStream]) -> None:
        shift = round(self._sound.origin_s / packet.time_base)
        if self._is_copied:
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift  # type: ignore[operator]
            packet.stream = self._stream
            self._out.mux(packet)
            return
        try:
            frames = packet.decode()
        except _container.DAMAGE:
            return
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                # AVI counts in whole frames of sound, too coarse for the pieces that come out
                frame.pts = round((float(frame.pts * frame.time_base) - self._sound.origin_s) * frame.sample_rate)
                frame.time_base = Fraction(1, frame.sample_rate)
            for piece in self._resampler_for(frame).resample(frame):
                self._out.mux(self._stream.encode(piece))

    def _resampler_for(self, frame: AudioFrame) -> AudioResampler:
        """A new one where a broadcast goes from mono to stereo: PyAV's takes sound of one form only."""
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if self._resampler is None or form != self._form:
            self._form = form
            self._resampler = AudioResampler(format="fltp", layout=self._layout, rate=self._rate, frame_size=1024)
        return self._resampler

    def finish(self, path: Path) -> None:
        if self._resampler is None:
            return
        with _output_errors(path):
            for piece in self._resampler.resample(None):
                self._out.mux(self._stream.encode(piece))
            self._out.mux(self._stream.encode(None))


class _output_errors:
    """What goes wrong in writing, as `OutputError` where it is the disk, as `UnsupportedCodec` where it is the clip."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if not isinstance(error, (*_container.DAMAGE, OSError)) or isinstance(error, MemoryError):
            return
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) in _OF_THE_DISK:
            raise OutputError(
                f"{self._path.parent}: the video cannot be written ({reason}); free some space or choose another folder"
            ) from error
        raise UnsupportedCodec(
            f"FFmpeg does not write such pictures or sound ({reason}); convert the clip, or make it smaller, first"
        ) from error


def _fitted(rgb: RgbImage, width_px: int, height_px: int) -> RgbImage:
    """The picture in the film's size: as it is, an odd side repeated, or, where the clip changes its size, fitted in
    and black around."""
    height, width = rgb.shape[:2]
    if (width, height) == (width_px, height_px):
        return np.ascontiguousarray(rgb)
    if 0 <= width_px - width <= 1 and 0 <= height_px - height <= 1:
        return np.pad(rgb, ((0, height_px - height), (0, width_px - width), (0, 0)), mode="edge")
    scale = min(width_px / width, height_px / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    out = np.zeros((height_px, width_px, 3), np.uint8)
    x, y = (width_px - size[0]) // 2, (height_px - size[1]) // 2
    out[y : y + size[1], x : x + size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return out
