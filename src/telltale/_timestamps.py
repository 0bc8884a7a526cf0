"""When each frame of a video is shown: timestamps made monotonic.

Containers give None, negative, repeated and wrapped timestamps. `Clock` turns what comes into ascending
seconds and counts what it had to change.

>>> clock = Clock(interval_s=0.04)
>>> [round(clock.next(pts_s), 2) for pts_s in (0.0, 0.04, None, 0.12, -95443.7, -95443.66)]
[0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
>>> clock.n_repaired
2
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telltale.types import Float64Array

Int64Array = npt.NDArray[np.int64]

NO_PTS = -(1 << 63)
"""FFmpeg's own mark for a timestamp that is not there."""
_NUDGE_BELOW_S = 1.0
"""A step back smaller than this is one frame out of order; a larger one is a new beginning (wrap, splice)."""
_GAP_ABOVE_S = 3600.0
"""A step forward larger than this is damage: even a slide show changes its slide within the hour."""
_MAX_REORDER = 64
"""Packets come in decoding order; H.264 and HEVC show a frame at most 16 places from there."""
_START_WITHIN_S = 3600.0
"""A file's own beginning is believed when its first frame follows within this time: a picture may come in a minute and
more after the sound, and players count from the sound."""


class Clock:
    """Timestamps as they come, in display order, to ascending seconds."""

    def __init__(self, interval_s: float) -> None:
        self.n_seen = 0
        self.n_missing = 0
        self.n_moved = 0
        self._interval_s = interval_s
        self._offset_s = 0.0
        self._last_s: float | None = None

    def next(self, pts_s: float | None) -> float:
        """The time at which the next frame is shown, later than all before."""
        self.n_seen += 1
        last_s = self._last_s
        if pts_s is None:
            self.n_missing += 1
            time_s = 0.0 if last_s is None else last_s + self._interval_s
        else:
            time_s = pts_s + self._offset_s
            if last_s is not None and not last_s < time_s <= last_s + _GAP_ABOVE_S:
                time_s = self._repaired(time_s, last_s)
        self._last_s = time_s
        return time_s

    def _repaired(self, time_s: float, last_s: float) -> float:
        self.n_moved += 1
        if last_s - _NUDGE_BELOW_S < time_s <= last_s:
            return last_s + self._interval_s / 2
        self._offset_s += last_s + self._interval_s - time_s
        return last_s + self._interval_s

    @property
    def is_synthetic(self) -> bool:
        """No timestamp at all was found: time is counted from the frame rate."""
        return self.n_seen > 0 and self.n_missing == self.n_seen

    @property
    def n_repaired(self) -> int:
        return 0 if self.is_synthetic else self.n_missing + self.n_moved


@dataclass(frozen=True)
class Timeline:
    """When the frames of a file are shown, from its packets alone."""

    times_s: Float64Array
    """(n,), ascending, 0 = the beginning of the file."""
    pts: Int64Array | None
    """(n,), the container's own numbers in the same order; None where decoded frames will not carry them."""
    is_by_order: bool
    """The n-th frame that is decoded is the n-th here, whatever its timestamp says."""
    origin_pts: int
    """The container's number that is 0 seconds."""
    interval_s: float
    """The usual time between two frames."""
    decoded_at: Int64Array | None = None
    """(n,), which packet in decoding order, from 0, each frame comes from; None where `pts` is."""

    @property
    def end_s(self) -> float:
        """When the last frame stops being shown, as far as can be told."""
        return float(self.times_s[-1]) + self.interval_s if len(self.times_s) else 0.0

    def place(self, pts: int | None) -> int | None:
        """Which frame of the video it is, counted from 0: skipped frames count. None where the packets do not tell."""
        if self.pts is None or pts is None:
            return None
        at = int(np.searchsorted(self.pts, pts))
        return at if at < len(self.pts) and self.pts[at] == pts else None


def build(
    packet_pts: Int64Array,
    *,
    time_base_s: float,
    interval_s: float,
    start_pts: int | None,
    knows_display_order: bool = True,
) -> Timeline:
    """The timeline of packets in decoding order, int64 (n,) with `NO_PTS` where there is none.

    `interval_s` is used where timestamps do not tell. `start_pts`: the beginning of the file, where it says.
    `knows_display_order` is False for AVI, which numbers packets as they are decoded.
    """
    known = packet_pts[packet_pts != NO_PTS]
    if not len(known):
        return Timeline(np.arange(len(packet_pts), dtype=np.float64) * interval_s, None, False, 0, interval_s)
    if len(known) == len(packet_pts):
        order = np.argsort(packet_pts, kind="stable")
        pts = packet_pts[order]
        origin = _origin(int(pts[0]), start_pts, time_base_s)
        times_s = np.asarray((pts - origin) * time_base_s, np.float64)
        steps = np.diff(times_s)
        moved = np.abs(order - np.arange(len(order))).max()
        if moved <= _MAX_REORDER and (steps > 0).all() and (steps <= _GAP_ABOVE_S).all():
            usual_s = float(np.median(steps)) if len(steps) else interval_s
            if not knows_display_order:
                return Timeline(times_s, None, True, origin, usual_s)
            return Timeline(times_s, pts, False, origin, usual_s, order)
    origin = _origin(int(known[0]), start_pts, time_base_s)
    interval_s = min(interval_s, _usual_s(known, time_base_s, interval_s))
    clock = Clock(interval_s)
    shown = _in_display_order(packet_pts.tolist(), time_base_s)
    repaired = [clock.next(None if pts == NO_PTS else (pts - origin) * time_base_s) for pts in shown]
    return Timeline(np.array(repaired, np.float64), None, False, origin, interval_s)


def _origin(first_pts: int, start_pts: int | None, time_base_s: float) -> int:
    """Players count from the start of the file, where that is believable; otherwise from its first frame."""
    if start_pts is not None and 0 <= (first_pts - start_pts) * time_base_s <= _START_WITHIN_S:
        return start_pts
    return first_pts


def _usual_s(known: Int64Array, time_base_s: float, unknown_s: float) -> float:
    """The usual step between times that advance: a header's rate may be thinned by a jump of hours."""
    steps_s: Float64Array = np.diff(np.sort(known)).astype(np.float64) * time_base_s
    steps_s = steps_s[(steps_s > 0) & (steps_s <= _GAP_ABOVE_S)]
    return float(np.median(steps_s)) if len(steps_s) else unknown_s


def _in_display_order(packet_pts: list[int], time_base_s: float) -> Iterator[int]:
    """Undo the reordering within each stretch between two jumps of the clock. Packets of the stretch before may come
    after a jump."""

    def follows(stretch: list[int], pts: int) -> bool:
        return bool(stretch) and -_NUDGE_BELOW_S < (pts - stretch[-1]) * time_base_s < _GAP_ABOVE_S

    before: list[int] = []
    stretch: list[int] = []
    for pts in packet_pts:
        if pts == NO_PTS:
            yield from (*sorted(before), *sorted(stretch), pts)
            before, stretch = [], []
        elif not stretch or follows(stretch, pts):
            stretch.append(pts)
        elif len(stretch) <= _MAX_REORDER and follows(before, pts):
            before.append(pts)
        else:
            yield from sorted(before)
            before, stretch = stretch, [pts]
    yield from (*sorted(before), *sorted(stretch))
