"""A video file opened with PyAV: the right stream, and its packets read once without decoding.

FFmpeg is given a whitelist of containers and one protocol, an open descriptor; the tests check what these do,
because an option whose name it does not know is ignored without a word.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
import av.error
import av.logging
import numpy as np
from av.container import Container, InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from telltale import _timestamps
from telltale._jpeg_file import ends_whole
from telltale._source import MJPEG, UNKNOWN, Source
from telltale._stated_length import ends_inside_a_packet
from telltale._timestamps import NO_PTS, Timeline
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

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,ogg,mxf,dv,nut,ivf,obu,"
    "h264,hevc,vvc,m4v,h263,mjpeg,wav,mp3,flac,aac"
)
"""FFmpeg's names. Sound alone is let in to be told from junk. None of them opens a second file."""
DAMAGE = (av.error.FFmpegError, UnicodeDecodeError, IndexError, ValueError, OverflowError)
"""What was seen to come out of PyAV on damaged files; not only its own errors."""
NO_MEMORY = (MemoryError, av.error.MemoryError)
_TS_PACKET_BYTES = 188
_MAX_RESTARTS = 100
"""Times that reading goes on after a packet that could not be read."""
_DECLARING = ("matroska,webm", "flv", "live_flv")
_TIMELESS = ("mjpeg", "obu", "h263")
"""Bare streams to which FFmpeg gives times of its own; to others it gives none."""
_SHORT_BY_S, _SHORT_BY_FRAC = 0.5, 0.03
"""A video that ends this much before its declared duration was cut off; sound often ends a little later."""
_SLOWEST_FPS, _USUAL_FPS, _FASTEST_FPS = 0.01, 25.0, 1000
"""FLV says 1000 and DV 60000 when they mean that they do not know."""
_CLOCK = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,9})?)")
_REORDER_SLACK = 64
"""Packets read beyond the last one needed, for those that come late."""


@dataclass(frozen=True)
class DecodeLimits:
    """What a file may ask for before it is refused."""

    max_pixels: int = 36_000_000
    """Pixels of one frame."""
    max_streams: int = 64

    @property
    def for_decoder(self) -> str:
        """FFmpeg counts pixels after rounding the sides up to what its decoders work in."""
        return str(self.max_pixels * 5 // 4)


@dataclass
class Scan:
    """The packets of one stream, in decoding order."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    ends_broken: bool = False
    """The last packet is incomplete: the file was cut off."""
    is_complete: bool = True
    """The file was read to its end."""


@dataclass(frozen=True)
class Missing:
    """What a file that was cut off has lost."""

    n_frames: int
    """Known to be missing; 0 where only the time tells."""
    frac_present: float | None
    """None where nothing tells how long it was."""
    in_bytes: bool = False
    """Whether that is a share of the file's bytes, and not of its time."""


def open_container(source: Source, limits: DecodeLimits) -> InputContainer:
    """Open and identify, decoding nothing. Raises `InputError` or `OutOfMemory`."""
    av.logging.set_level(None)
    av.logging.set_libav_level(av.logging.PANIC)
    try:
        container = _opened(source, {"max_pixels": limits.for_decoder})
    except NO_MEMORY:
        raise out_of_memory(source) from None
    except DAMAGE:
        raise _not_opened(source) from None
    if len(container.streams) > limits.max_streams:
        n_streams = len(container.streams)
        container.close()
        raise TooManyStreams(f"{source.name} has {n_streams} streams, more than {limits.max_streams}; extract one")
    return container


def _opened(source: Source, options: dict[str, str]) -> InputContainer:
    asked = {"format_whitelist": CONTAINERS, "skip_frame": "all"} | options
    format = "mjpeg" if source.kind == MJPEG else None  # FFmpeg takes its beginning for a picture
    with source.for_ffmpeg() as (url, only_this):
        return av.open(url, format=format, options=only_this | asked, metadata_errors="replace")


def out_of_memory(source: Source) -> OutOfMemory:
    return OutOfMemory(f"{source.name} asks for more memory than it may have; it is damaged or far too large")


def _not_opened(source: Source) -> InputError:
    if source.kind == UNKNOWN:
        return UnsupportedContainer(
            f"{source.name} is no video or picture of a kind that is read here; "
            "give a video (MP4, MKV, AVI ..) or a JPEG or PNG picture"
        )
    reason = "it is damaged, was cut off, or its recording was never finished; copy it again"
    return CorruptFile(f"{source.name} begins like {source.kind} but its index cannot be read: {reason}")


def candidates(container: InputContainer, source: Source) -> list[VideoStream]:
    """The streams that are moving pictures with a decoder; covers are none. Raises `InputError`."""
    pictures = container.streams.video
    moving = [stream for stream in pictures if not stream.disposition & Disposition.attached_pic]
    if not moving:
        what = "sound and a cover picture" if pictures else "sound" if container.streams.audio else "data"
        raise NoVideoStream(f"{source.name} holds {what} but no video, so no faces; give the video itself")
    readable = [stream for stream in moving if stream.codec_context is not None]
    if not readable:
        raise UnsupportedCodec(f"{source.name} is in a video format without a decoder here; convert it to H.264")
    return readable


def scan(source: Source, limits: DecodeLimits, *, until_s: float | None, until_n: int | None) -> dict[int, Scan]:
    """Read the packets of all candidate streams, by stream index; as far as needed."""
    with open_container(source, limits) as container:
        streams = candidates(container, source)
        scans = {stream.index: Scan() for stream in streams}
        for packet in packets(container, streams):
            if not packet.size or packet.is_discard:
                continue
            found = scans[packet.stream_index]
            pts = packet.pts
            found.pts.append(NO_PTS if pts is None else pts)
            found.ends_broken = packet.is_corrupt
            if _has_enough(found.pts, packet, until_s, until_n):
                found.is_complete = False
                # a stream of one packet is a cover; any other may be the one that is picked
                if all(not scan.is_complete for scan in scans.values() if len(scan.pts) > 1):
                    break
        else:
            if _ends_ragged(source):
                for found in scans.values():
                    found.ends_broken = True
        return scans


def _ends_ragged(source: Source) -> bool:
    """An MPEG stream whose last packet is cut: nothing in it says where its last frame ends."""
    if source.kind == "an MPEG program stream":
        with source.file() as file:
            return ends_inside_a_packet(file, source.size_bytes)
    return source.kind == "an MPEG transport stream" and bool(source.size_bytes % _TS_PACKET_BYTES)


def _has_enough(pts: array[int], packet: Packet[VideoStream], until_s: float | None, until_n: int | None) -> bool:
    if until_n is not None and len(pts) > until_n + _REORDER_SLACK:
        return True
    if until_s is None or len(pts) <= _REORDER_SLACK or not packet.time_base:
        return False
    first = pts[0]
    return first != NO_PTS and (pts[-_REORDER_SLACK] - first) * float(packet.time_base) > until_s


def packets(container: InputContainer, streams: list[VideoStream]) -> Iterator[Packet[VideoStream]]:
    """The packets of some streams, the others not read. After one that is damaged the next is tried."""
    wanted = {stream.index for stream in streams}
    for stream in container.streams:
        if stream.index not in wanted:
            stream.discard = Discard.all
    is_film_of_jpegs = container.format.name == "mjpeg"
    for _ in range(_MAX_RESTARTS):
        try:
            for packet in container.demux(tuple(streams)):
                if is_film_of_jpegs and packet.size and not ends_whole(bytes(packet)):
                    packet.is_corrupt = True  # its decoder fills what is missing with the frame before
                yield packet
            return
        except DAMAGE:
            continue


def pick(streams: list[VideoStream], scans: dict[int, Scan], source: Source) -> VideoStream:
    """The stream to analyse: of those that hold frames one that moves, then the default one, then the one with most
    picture."""
    filled = [stream for stream in streams if scans[stream.index].pts]
    if not filled:
        raise NoFrames(f"{source.name} announces a video but holds no frame of it; copy it again")

    def merit(stream: VideoStream) -> tuple[bool, bool, int, int]:
        n_packets = len(scans[stream.index].pts)
        is_default = bool(stream.disposition & Disposition.default)
        return n_packets > 1, is_default, n_packets * stream.width * stream.height, -stream.index

    return max(filled, key=merit)


def refuse_large(stream: VideoStream, source: Source, limits: DecodeLimits) -> None:
    """Raise `TooManyPixels` where the header already says so."""
    width, height = stream.width, stream.height
    if not width * height:  # a decoder that refuses `max_pixels` leaves no size behind (VP9)
        with _opened(source, {}) as container:
            unlimited = container.streams.video[stream.container.streams.video.index(stream)]
            width, height = unlimited.width, unlimited.height
    if width * height > limits.max_pixels:
        most = f"{limits.max_pixels / 1e6:g} million"
        raise TooManyPixels(f"{source.name} is {width}x{height}, more than {most} pixels a frame; make it smaller")


def timeline(stream: VideoStream, found: Scan) -> Timeline:
    """When the frames of a stream are shown."""
    container = stream.container
    time_base_s = float(stream.time_base or Fraction(1, 1000))
    start_us = container.start_time if isinstance(container, InputContainer) else None
    context = stream.codec_context
    pts = np.frombuffer(found.pts, np.int64)
    return _timestamps.build(
        pts if holds_times(container) else np.full_like(pts, NO_PTS),
        time_base_s=time_base_s,
        interval_s=1 / (fps(stream) or _USUAL_FPS),
        start_pts=None if start_us is None else round(start_us / av.time_base / time_base_s),
        knows_display_order=container.format.name != "avi" or not context.has_b_frames,
    )


def holds_times(container: Container) -> bool:
    """Whether the file says when its frames are shown."""
    return container.format.name not in _TIMELESS


def fps(stream: VideoStream) -> float | None:
    """Frames per second as the header says; None where it says nothing that can be."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and _SLOWEST_FPS < rate < _FASTEST_FPS:
            return float(rate)
    return None


def declared_duration_s(stream: VideoStream, when: Timeline) -> float | None:
    """What the header says; may lie. Matroska and FLV may say when the file ends, not how long it lasts: times that
    begin late are then taken off."""
    container = stream.container
    declared_s = _own_duration_s(stream)
    if declared_s is None and isinstance(container, InputContainer) and container.duration:
        declared_s = container.duration / av.time_base
    begin_s = _origin_s(stream, when)
    if declared_s is not None and container.format.name in _DECLARING and 0 < begin_s < declared_s:
        return declared_s - begin_s
    return declared_s


def _own_duration_s(stream: VideoStream) -> float | None:
    """The stream's, not the file's. Of Matroska that is its tag: FFmpeg may give a stream the file's length."""
    if stream.container.format.name != "matroska,webm":
        return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    tag = _CLOCK.fullmatch(stream.metadata.get("DURATION", ""))
    return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) if tag else None


def _origin_s(stream: VideoStream, when: Timeline) -> float:
    return when.origin_pts * float(stream.time_base or 0)


def missing(stream: VideoStream, found: Scan, when: Timeline, source: Source, limits: DecodeLimits) -> Missing | None:
    """Whether the end of the file is missing, and how much of it.

    An MP4's index says it frame by frame, Matroska and FLV declare a duration: of the picture, or of a file whose sound
    may go on after it; AVI, Matroska and Windows Media their bytes.
    """
    container, size_bytes = stream.container.format.name, source.size_bytes
    if container.startswith("mov,"):
        entries = stream.index_entries
        if len(entries) and entries[-1].pos + entries[-1].size > size_bytes:
            n_cut = sum(entry.pos + entry.size > size_bytes for entry in entries)
            n_beyond = sum(entry.pos >= size_bytes for entry in entries)  # what is there in part is found damaged
            return Missing(n_beyond, 1 - n_cut / len(entries))
    if not found.is_complete:
        return None
    present, declared = when.end_s, declared_duration_s(stream, when) or 0.0
    slack = max(_SHORT_BY_S, _SHORT_BY_FRAC * declared) if container in _DECLARING else math.inf
    if declared - present > slack and _own_duration_s(stream) is None:
        present = max(present, _end_s(source, limits) - _origin_s(stream, when))
    if declared - present > slack:
        return Missing(0, present / declared)
    promised = source.promised_bytes
    if promised is not None and promised > size_bytes + 1:  # the last chunk may lack its padding
        return Missing(0, size_bytes / promised, in_bytes=True)
    return Missing(0, present / declared if present < declared else None) if found.ends_broken else None


def _end_s(source: Source, limits: DecodeLimits) -> float:
    """When the last packet of any kind ends, by the file's own clock."""
    last_s = -math.inf
    with open_container(source, limits) as container:
        for packet in packets(container, list(container.streams)):  # type: ignore[arg-type]
            if packet.size and packet.pts is not None and packet.time_base:
                last_s = max(last_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return last_s
