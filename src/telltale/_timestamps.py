"""When each frame of a video is shown: timestamps made monotonic, and the packets of a file read without decoding.

Containers give None, negative, repeated and wrapped timestamps. `Clock` turns what comes into ascending
seconds and counts what it had to change.

>>> clock = Clock(interval_s=0.04)
>>> [round(clock.next(pts), 2) for pts in (0.0, 0.04, None, 0.12, -95443.7, -95443.66)]
[0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
>>> clock.n_repaired
2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from telltale.types import Float64Array

_NUDGE_BELOW_S = 1.0
"""A step back smaller than this is one frame out of order; a larger one is a new beginning (wrap, splice)."""
_GAP_ABOVE_S = 3600.0
"""A step forward larger than this is damage: even a slide show changes its slide within the hour."""
_MAX_REORDER = 64
"""Packets come in decoding order; H.264 and HEVC let a frame be shown at most 16 places from there."""


class Clock:
    """Timestamps as they come, in display order, to ascending seconds."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.n_seen = 0
        self.n_missing = 0
        self.n_moved = 0
        self._offset_s = 0.0
        self._last_s: float | None = None

    def next(self, pts_s: float | None) -> float:
        """The time at which the next frame is shown, later than all before."""
        self.n_seen += 1
        last = self._last_s
        if pts_s is None:
            self.n_missing += 1
            time_s = 0.0 if last is None else last + self.interval_s
        else:
            time_s = pts_s + self._offset_s
            if last is not None and (time_s <= last or time_s > last + _GAP_ABOVE_S):
                self.n_moved += 1
                if last - _NUDGE_BELOW_S < time_s <= last:
                    time_s = last + self.interval_s / 2
                else:
                    self._offset_s += last + self.interval_s - time_s
                    time_s = last + self.interval_s
        self._last_s = time_s
        return time_s

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
    pts: npt.NDArray[np.int64] | None
    """(n,), the container's own numbers in the same order; None where they cannot be trusted to match."""
    origin_pts: int
    """The container's number that is 0 seconds."""
    interval_s: float
    """The usual time between two frames."""


def build(packet_pts: list[int | None], *, time_base_s: float, interval_s: float, start_pts: int | None) -> Timeline:
    """The timeline of packets in decoding order. `start_pts`: the beginning of the file, where it says."""
    known = [pts for pts in packet_pts if pts is not None]
    if not known:
        return Timeline(np.arange(len(packet_pts), dtype=np.float64) * interval_s, None, 0, interval_s)
    origin = _origin(min(known), start_pts, time_base_s)
    if len(known) == len(packet_pts):
        pts = np.array(known, np.int64)
        order = np.argsort(pts, kind="stable")
        shown = pts[order]
        times = np.asarray((shown - origin) * time_base_s, np.float64)
        steps = np.diff(times)
        moved = np.abs(order - np.arange(len(order))).max()
        if moved <= _MAX_REORDER and (steps > 0).all() and (steps <= _GAP_ABOVE_S).all():
            usual = float(np.median(steps)) if len(steps) else interval_s
            return Timeline(times, shown, origin, usual)
    origin = _origin(next(p for p in packet_pts if p is not None), start_pts, time_base_s)
    clock = Clock(interval_s)
    pieces = _in_display_order(packet_pts, time_base_s)
    times = np.array([clock.next(None if p is None else (p - origin) * time_base_s) for p in pieces], np.float64)
    return Timeline(times, None, origin, interval_s)


def _origin(first_pts: int, start_pts: int | None, time_base_s: float) -> int:
    """Players count from the start of the file, where that is believable; otherwise from its first frame."""
    if start_pts is not None and 0 <= (first_pts - start_pts) * time_base_s <= 60:
        return start_pts
    return first_pts


def _in_display_order(packet_pts: list[int | None], time_base_s: float) -> list[int | None]:
    """Undo the reordering within each stretch between two jumps of the clock."""
    shown: list[int | None] = []
    stretch: list[int] = []
    for pts in packet_pts:
        if pts is None:
            shown += [*sorted(stretch), None]
            stretch = []
            continue
        if stretch and not -_NUDGE_BELOW_S < (pts - stretch[-1]) * time_base_s < _GAP_ABOVE_S:
            shown += sorted(stretch)
            stretch = []
        stretch.append(pts)
    return shown + sorted(stretch)


__all__ = ["Clock", "Timeline", "build"]
