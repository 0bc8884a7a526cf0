"""What a container or picture says about itself, in the worker: streams, rates, metadata as bounded text."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Mapping
from typing import Any

from av.container import InputContainer

from telltale import _container
from telltale._source import PICTURE_FORMATS, Source
from telltale._text import MAX_ENTRIES, short
from telltale.errors import InputError
from telltale.types import ContainerInfo, StreamInfo

_MAX_PACKETS = 20_000
"""Rates and key frames are measured over so many: five minutes of most clips."""
_ENCODER_NOTE = re.compile(rb"(x26[45] ?(?:- core|\(build)[\x20-\x7e]{8,1500})")
"""x264 and x265 write their settings into the first frame."""
_KEPT_EXIF = ("Make", "Model", "Software", "DateTime", "Artist", "Copyright", "ImageDescription", "HostComputer")


def describe(source: Source) -> ContainerInfo | None:
    """None where nothing can be opened: the scan itself says why."""
    return _picture(source) if source.is_picture else _video(source)


def _video(source: Source) -> ContainerInfo:
    limits = _container.DecodeLimits()
    with _container.open_container(source, limits) as container:
        header_rate = int(container.bit_rate) or None
        index = _analysed(container, source, limits)
        counts = _Counts()
        for packet in _container.packets(container, list(container.streams)):  # type: ignore[arg-type]
            if counts.is_full:
                break
            counts.add(packet)
        streams = [_stream(stream, counts) for stream in container.streams]
        return ContainerInfo(
            format=container.format.name,
            bit_rate=header_rate,
            bits_per_pixel=None if index is None else _bits_per_pixel(streams[index]),
            key_frame_every_s=None if index is None else counts.key_frame_every_s(index),
            metadata=_texts(container.metadata),
            streams=tuple(streams[:MAX_ENTRIES]),
        )


def _analysed(container: InputContainer, source: Source, limits: _container.DecodeLimits) -> int | None:
    """The index of the stream that a scan of the whole file looks at; None where there is no video to look at."""
    try:
        streams = _container.candidates(container, source)
        if len(streams) > 1:
            scans = _container.scan(source, limits, until_s=None, until_n=None)
            return _container.pick(streams, scans, source).index
    except InputError:
        return None
    return streams[0].index


class _Counts:
    """Bytes and key frames by stream, from the packets."""

    def __init__(self) -> None:
        self._n = 0
        self._bytes: dict[int, int] = {}
        self._times: dict[int, list[float]] = {}
        self._keys: dict[int, list[float]] = {}
        self.notes: dict[int, str] = {}

    @property
    def is_full(self) -> bool:
        return self._n >= _MAX_PACKETS

    def add(self, packet: Any) -> None:
        if not packet.size:
            return
        self._n += 1
        index = packet.stream_index
        if index not in self._bytes and (found := _ENCODER_NOTE.search(bytes(packet))):
            self.notes[index] = found[1].decode("ascii")
        self._bytes[index] = self._bytes.get(index, 0) + packet.size
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or not packet.time_base:
            return
        time_s = float(time * packet.time_base)
        self._times.setdefault(index, []).append(time_s)
        if packet.is_keyframe:
            self._keys.setdefault(index, []).append(time_s)

    def bit_rate(self, index: int) -> int | None:
        times = self._times.get(index, [])
        if len(times) < 2:
            return None
        span_s = (max(times) - min(times)) * len(times) / (len(times) - 1)
        return round(8 * self._bytes[index] / span_s) if span_s > 0 else None

    def key_frame_every_s(self, index: int) -> float | None:
        keys = sorted(self._keys.get(index, []))
        steps = [after - before for before, after in itertools.pairwise(keys)]
        return round(statistics.median(steps), 3) if steps else None


def _stream(stream: Any, counts: _Counts) -> StreamInfo:
    context = stream.codec_context
    notes = {"encoder settings in the stream": counts.notes[stream.index]} if stream.index in counts.notes else {}
    is_video = stream.type == "video"
    return StreamInfo(
        kind=stream.type or "data",
        codec=context.codec.canonical_name if context is not None else "unknown",
        profile=_optional(getattr(context, "profile", None)),
        pixel_format=_optional(getattr(context, "pix_fmt", None)) if is_video else None,
        width_px=getattr(context, "width", None) or None if is_video else None,
        height_px=getattr(context, "height", None) or None if is_video else None,
        fps=round(float(stream.average_rate), 3) if is_video and stream.average_rate else None,
        bit_rate=counts.bit_rate(stream.index) or getattr(context, "bit_rate", None) or None,
        sample_rate_hz=getattr(context, "sample_rate", None) or None,
        n_channels=getattr(context, "channels", None) if stream.type == "audio" else None,
        metadata=_texts(stream.metadata) | _texts(notes),
    )


def _bits_per_pixel(stream: StreamInfo | None) -> float | None:
    if stream is None or not (stream.bit_rate and stream.width_px and stream.height_px and stream.fps):
        return None
    return round(stream.bit_rate / (stream.width_px * stream.height_px * stream.fps), 4)


def _picture(source: Source) -> ContainerInfo | None:
    import warnings

    from PIL import ExifTags, Image

    from telltale.pictures import DAMAGE

    try:
        with warnings.catch_warnings(), source.file() as file:
            warnings.simplefilter("ignore")  # of decompression bombs: nothing is decompressed
            with Image.open(file, formats=PICTURE_FORMATS) as image:
                exif = {ExifTags.TAGS.get(tag, ""): value for tag, value in image.getexif().items()}
                texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
                kept = {name: exif[name] for name in _KEPT_EXIF if name in exif}
                kind = (image.format or "unknown").lower()
                seen = StreamInfo(kind="picture", codec=kind, pixel_format=image.mode, width_px=image.width,
                                  height_px=image.height)  # fmt: skip
    except DAMAGE:
        return None
    return ContainerInfo(format=kind, metadata=_texts(kept | texts), streams=(seen,))


def _texts(metadata: Mapping[Any, Any]) -> dict[str, str]:
    """Bounded, and without what no encoder takes; still hostile: whoever shows it escapes it."""
    pairs = list(metadata.items())[:MAX_ENTRIES]
    return {short(key): short(value) for key, value in pairs}


def _optional(value: object) -> str | None:
    return short(value) if value else None
