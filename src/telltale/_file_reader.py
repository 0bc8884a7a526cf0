"""The frames of a video file: opened, timed, decoded as far as needed, and turned into RGB where wanted.

with FileReader(source, SamplePlan("fps", 2), limits=DecodeLimits(), n_threads=None) as reader:
    for frame in reader: ...
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from telltale import _container
from telltale._container import DAMAGE, NO_MEMORY, DecodeLimits, Missing
from telltale._cores import usable_cores
from telltale._damage import Damage, Shown
from telltale._promise import CODECS, Owed, Promise
from telltale._reader import Finding, VideoReader, converted, left_out
from telltale._rgb import Converter
from telltale._source import FileHash, Source
from telltale._timestamps import Clock
from telltale.errors import CorruptFile, NoFrames, UnsupportedCodec
from telltale.sampling import SamplePlan, choose
from telltale.types import Code, Float64Array, Frame, RgbImage, Timestamps, VideoInfo

_EPSILON_S = 1e-6
"""Slack for times that went through a container's rounding."""
_MOST_THREADS = 8
_PIXELS_IN_FLIGHT = 33_000_000
"""Four frames of 4K."""


class _Due:
    """The times that were chosen. Each takes the first good frame that is not earlier."""

    def __init__(self, times_s: list[float]) -> None:
        self._times_s = times_s
        self._n_passed = 0
        self._n_claimed = 0

    def claims(self, time_s: float, *, is_key: bool) -> bool:
        """Whether a frame that was decoded has to be held: one is due and no other is held for it. Those that are held
        may all be spoiled where a key frame comes."""
        if is_key:
            self.gave_up()
        n_before, n_claimed = self._n_claimed, self._n_until(time_s)
        self._n_claimed = max(n_before, n_claimed)
        return n_claimed > n_before

    def gave_up(self) -> None:
        """A frame that was held is spoiled."""
        self._n_claimed = self._n_passed

    def takes(self, time_s: float) -> bool:
        """Whether a good frame is due, which is then given out."""
        n_before, n_passed = self._n_passed, self._n_until(time_s)
        self._n_passed = max(n_before, n_passed)
        return n_passed > n_before

    @property
    def is_over(self) -> bool:
        return self._n_passed == len(self._times_s)

    def _n_until(self, time_s: float) -> int:
        return bisect_right(self._times_s, time_s + _EPSILON_S)


class FileReader(VideoReader):
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
            self._converter = Converter(
                max_side_px=plan.max_side_px,
                pixel_aspect=self._stream.sample_aspect_ratio,
                max_pixels=limits.max_pixels,
            )
            self._n_streams = sum(len(found.pts) > 1 for found in scans.values())  # a cover, an AVIF's still: no video
            self._timeline = _container.timeline(self._stream, scan)
            self._missing = _container.missing(self._stream, scan, self._timeline, source, limits)
            info = self._describe(source, is_measured=scan.is_complete and not self._missing)
            _prepare(self._stream, limits, n_threads)
        except BaseException:
            self._container.close()
            raise
        super().__init__(source, info, FileHash(source.file()))
        self._limits = limits
        self._plan, self._choice = plan, choose(self._timeline.times_s, plan)
        self._clock = Clock(self._timeline.interval_s)
        self._holds_times = _container.holds_times(self._container)
        self._damage = Damage(self._timeline.decoded_at)
        watches = info.codec in CODECS and self._timeline.pts is not None
        self._promise = Promise(info.codec, self._stream.codec_context.extradata or b"") if watches else None
        self._may_be_numbered_as_decoded = info.codec != "av1" and self._damage.is_in_order
        self._cut_pts = {scan.pts[-1]} if scan.ends_broken else set[int]()
        self._is_matched_by_time = self._timeline.pts is None and not self._timeline.is_by_order
        self._n_unmatched = 0
        """Frames chosen by repaired times that none of those decoded have."""
        self._changed_size: str | None = None
        self._time_base_s = float(self._stream.time_base or 0.001)  # a stream must not be asked once its file is closed

    @property
    def sampled_s(self) -> Float64Array:
        return self._timeline.times_s[self._choice.indices]

    @property
    def origin_s(self) -> float:
        return self._timeline.origin_pts * self._time_base_s

    @property
    def interval_s(self) -> float:
        return self._timeline.interval_s

    def _describe(self, source: Source, *, is_measured: bool) -> VideoInfo:
        stream = self._stream
        width_px, height_px = self._converter.square(stream.width, stream.height)
        return VideoInfo(
            path=source.path,
            sha256="",
            size_bytes=source.size_bytes,
            container=self._container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            width_px=width_px,
            height_px=height_px,
            rotation_deg=0,
            duration_s=self._timeline.end_s if is_measured else _container.declared_duration_s(stream, self._timeline),
            fps_header=_container.fps(stream),
            n_frames_header=stream.frames or None,
            stream_index=stream.index,
        )

    def __iter__(self) -> Iterator[Frame]:
        due = _Due(self._timeline.times_s[self._choice.indices].tolist())
        n_taken = 0
        for shown, is_spoiled in self._sorted_frames(due):
            self.n_decoded += 1
            if shown.frame is None:
                continue
            if is_spoiled:
                due.gave_up()
            elif due.takes(shown.time_s):
                rgb = self._to_rgb(shown.frame)
                displayed = self._converter.square(shown.frame.width, shown.frame.height)
                yield Frame(shown.place, shown.time_s, rgb, max(rgb.shape[:2]) / max(displayed))
                n_taken += 1
                if due.is_over:
                    break
        self._is_finished = True
        if self._is_matched_by_time:
            self._n_unmatched = max(0, len(self._choice.indices) - n_taken - self._damage.n_frames)
        if not n_taken:
            self._raise_nothing_found()

    def _raise_nothing_found(self) -> None:
        name = self._source.name
        if self.n_decoded:
            raise CorruptFile(f"{name}: every frame that was looked at is damaged; copy it again")
        raise NoFrames(f"{name}: no frame of its video can be decoded; it is damaged or was never finished")

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames in display order. What no frame is built from and nobody wants is skipped, which costs a third less
        time for usual H.264 and changes no other frame."""
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
            self._expect(packet, skips=bool(skips))
            if packet.is_corrupt and packet.pts is not None:
                self._cut_pts.add(packet.pts)  # many decoders make up what is missing and say nothing
            try:
                yield from packet.decode()
            except NO_MEMORY:
                raise _container.out_of_memory(self._source) from None
            except DAMAGE:
                self._damage.packet_lost(is_last=not packet.size)

    def _expect(self, packet: Packet[VideoStream], *, skips: bool) -> None:
        """Note the frame that the decoder owes for a packet."""
        place = self._timeline.place(packet.pts)
        if self._promise is None or place is None or not packet.size or packet.is_discard:
            return
        data = bytes(packet)
        owed = self._promise.of(data)
        if owed > (Owed.FRAME if skips else Owed.NOTHING):
            is_beginning = self._damage.is_beginning and packet.is_keyframe and self._promise.begins_anew(data)
            self._damage.expects(place, is_built_on=owed == Owed.REFERENCE, is_beginning=is_beginning)

    def _sorted_frames(self, due: _Due) -> Iterator[tuple[Shown, bool]]:
        """Each frame with whether it is spoiled, as soon as that is known; held until then only where it is due."""
        timeline, clock = self._timeline, self._clock
        n_by_order = len(timeline.times_s) if timeline.is_by_order else 0
        size: tuple[int, int] | None = None
        for n_before, frame in enumerate(self._decoded()):
            pts = frame.pts if self._holds_times else None
            pts_s = None if pts is None else (pts - timeline.origin_pts) * self._time_base_s
            if n_before < n_by_order:
                pts_s = float(timeline.times_s[n_before])
            time_s, place = clock.next(pts_s), timeline.place(pts)
            if size != (frame.width, frame.height):
                self._note_size(frame, is_first=size is None)
                size = (frame.width, frame.height)
            is_cut = frame.is_corrupt or frame.pts in self._cut_pts
            self._cut_pts -= {frame.pts}
            shown = Shown(
                n_before if place is None else place,
                time_s,
                frame if due.claims(time_s, is_key=frame.key_frame) else None,
                is_key=frame.key_frame,
                is_corrupt=is_cut or size[0] * size[1] > self._limits.max_pixels,
                may_be_half=frame.interlaced_frame and self._info.codec == "h264",
                is_placed=place is not None and not self._is_numbered_as_decoded(),
            )
            yield from self._damage.sort(shown)
        cut = [timeline.place(pts) for pts in self._cut_pts]
        yield from self._damage.finish(len(timeline.times_s), [place for place in cut if place is not None])

    def _is_numbered_as_decoded(self) -> bool:
        """Windows Media, MXF and what was made from AVI may number packets as they are decoded. The decoder waits for
        frames that come later then, and the order of their times knows of none."""
        return self._may_be_numbered_as_decoded and bool(self._stream.codec_context.has_b_frames)

    def _note_size(self, frame: VideoFrame, *, is_first: bool) -> None:
        degrees, _ = self._converter.turn_of(frame)
        width, height = self._converter.square(frame.width, frame.height)
        if degrees in (90, 270):
            width, height = height, width
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
    def n_lost(self) -> int:
        return self._damage.n_frames + self._n_unmatched + (self._missing.n_frames if self._missing else 0)

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

    def findings(self) -> list[Finding]:
        found = left_out(self._choice, self._plan, self._timeline.times_s, self._info.duration_s)
        if self._missing:
            found.append((Code.PARTIAL, _cut_off(self._missing, self._info)))
        n_damaged = self.n_lost - (self._missing.n_frames if self._missing else 0)
        if n_damaged:
            others = ", or are not where the repaired times have them" if self._n_unmatched else ""
            told = f"Frames that are damaged, or built from damaged ones{others}, and were left out: {n_damaged:,}."
            found.append((Code.FRAMES_LOST, told))
        if self._clock.is_synthetic:
            counted = f"The file holds no times; {1 / self.interval_s:g} frames a second were counted."
            found.append((Code.TIMESTAMPS_SYNTHETIC, counted))
        elif self._clock.n_repaired:
            repaired = f"Times that were missing or did not advance, and were repaired: {self._clock.n_repaired:,}."
            found.append((Code.TIMESTAMPS_REPAIRED, repaired))
        if self._changed_size:
            found.append((Code.GEOMETRY_CHANGED, f"The picture changes its size, last to {self._changed_size}."))
        if self._n_streams > 1:
            size = f"{self._info.width_px}x{self._info.height_px}"
            which = f"stream {self._info.stream_index} ({size}) was looked at"
            several = f"The file holds {self._n_streams} videos; {which}."
            found.append((Code.SEVERAL_VIDEO_STREAMS, several))
        return found + converted(self._converter.codes)

    def close(self) -> None:
        self._container.close()
        super().close()


def _cut_off(missing: Missing, info: VideoInfo) -> str:
    if missing.frac_present is None:
        return "The file was cut off: its end is missing."
    if missing.in_bytes:
        return f"The file was cut off: {missing.frac_present:.0%} of its bytes are there."
    whole = f" of {info.duration_s:.1f} s" if info.duration_s else ""
    return f"The file was cut off: {missing.frac_present:.0%}{whole} could be read."


def _prepare(stream: VideoStream, limits: DecodeLimits, n_threads: int | None) -> None:
    """Set the decoder up. More threads hold more frames in memory: few for large pictures."""
    pixels = max(1, stream.width * stream.height)
    affordable = max(1, min(_MOST_THREADS, _PIXELS_IN_FLIGHT // pixels))
    stream.codec_context.options = {"max_pixels": limits.for_decoder}
    stream.codec_context.skip_frame = "DEFAULT"
    stream.thread_count = min(affordable, n_threads or usable_cores() + 1)
    stream.thread_type = "AUTO"
    if "av1" in stream.codec_context.name:
        # dav1d hears what to skip only when it is opened, and would skip by what its first packet is: nothing, then.
        stream.codec_context.open(strict=False)
