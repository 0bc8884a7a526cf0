"""Where things lie on the chart of a report: times across in per cent, scores down in pixels.

Per cent across lets one drawing fit a phone and a wide screen without its letters shrinking. Scores are drawn in
zones of equal height (real, uncertain, fake), because thresholds of a calibrated model sit near the ends.

>>> scale = ZoneScale((0.2, 0.9))
>>> scale.fraction(0.2), scale.fraction(0.9), scale.fraction(0.55)
(0.3333333333333333, 0.6666666666666666, 0.5)
>>> ticks(9.0)
[0.0, 2.0, 4.0, 6.0, 8.0]
"""

from __future__ import annotations

import bisect
import itertools
import statistics
from dataclasses import dataclass

from telltale._text import clock, percent
from telltale.types import FaceReport, FaceSource, TrackReport

PLOT_TOP_PX = 14.0
PLOT_HEIGHT_PX = 96.0
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_MAX_TICKS = 6
_ABOVE_PLOT_PX = 5.0


@dataclass(frozen=True, slots=True)
class ZoneScale:
    """Maps p_fake to a fraction 0-1 so that each zone between thresholds is equally long."""

    thresholds: tuple[float, float] | None

    @property
    def edges(self) -> tuple[float, ...]:
        if self.thresholds is None:
            return (0.0, 1.0)
        real_below, fake_above = self.thresholds
        inner = (real_below, fake_above) if real_below < fake_above else (fake_above,)
        return (0.0, *(p for p in inner if 0.0 < p < 1.0), 1.0)

    def fraction(self, p: float) -> float:
        edges = self.edges
        zone = min(max(bisect.bisect_right(edges, p) - 1, 0), len(edges) - 2)
        within = (p - edges[zone]) / (edges[zone + 1] - edges[zone])
        return (zone + within) / (len(edges) - 1)

    def zone(self, p: float) -> str:
        """`real`, `uncertain` or `fake`; `plain` without thresholds."""
        if self.thresholds is None:
            return "plain"
        real_below, fake_above = self.thresholds
        return "fake" if p >= fake_above else "real" if p < real_below else "uncertain"

    def bands(self) -> list[tuple[str, float, float]]:
        """(zone, from, to) as fractions, from the bottom."""
        edges = self.edges
        middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
        return [(self.zone(p), i / len(middles), (i + 1) / len(middles)) for i, p in enumerate(middles)]


@dataclass(frozen=True, slots=True)
class Dot:
    """One face on the chart."""

    face: int
    """Index into the track's faces."""
    x: str
    y: str
    source: FaceSource
    zone: str
    is_scored: bool
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    x1: str
    x2: str
    y1: str
    y2: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything drawn for one person; every number is a ready attribute."""

    dots: tuple[Dot, ...]
    lines: tuple[Line, ...]
    suspicious: tuple[Line, ...]


def y_px(fraction: float) -> str:
    """From the top of the drawing; 1 is up."""
    return f"{PLOT_TOP_PX + (1 - fraction) * PLOT_HEIGHT_PX:.1f}"


def x_percent(pts_s: float, end_s: float) -> str:
    return f"{100 * min(max(pts_s / end_s, 0.0), 1.0):.2f}%" if end_s > 0 else "50%"


def ticks(end_s: float) -> list[float]:
    """Round times from 0 to at most `end_s`, six at most."""
    step = next((s for s in _STEPS_S if end_s / s <= _MAX_TICKS - 1), end_s / (_MAX_TICKS - 1) or 1.0)
    return [round(float(i * step), 6) for i in range(int(end_s / step + 1e-9) + 1)]


def lay_out(track: TrackReport, *, end_s: float, scale: ZoneScale) -> Chart:
    """The drawing of one track on an axis from 0 to `end_s` seconds."""
    dots = tuple(_dot(i, face, end_s, scale) for i, face in enumerate(track.faces))
    scored = [dot for dot in dots if dot.is_scored]
    times = [track.faces[dot.face].pts_s for dot in scored]
    steps = [after - before for before, after in itertools.pairwise(times)]
    # A line across a gap would claim what was not seen.
    longest = max(3 * statistics.median(steps), 0.2) if steps else 0.0
    lines = (Line(a.x, b.x, a.y, b.y) for a, b, step in zip(scored, scored[1:], steps, strict=False) if step <= longest)
    above = f"{_ABOVE_PLOT_PX:.1f}"
    spans = (Line(x_percent(a, end_s), x_percent(b, end_s), above, above) for a, b in track.suspicious_s)
    return Chart(dots=dots, lines=tuple(lines), suspicious=tuple(spans))


def _dot(index: int, face: FaceReport, end_s: float, scale: ZoneScale) -> Dot:
    p = face.p_fake
    return Dot(
        face=index,
        x=x_percent(face.pts_s, end_s),
        y=y_px(0.0 if p is None else scale.fraction(p)),
        source=face.source,
        zone="none" if p is None else scale.zone(p),
        is_scored=p is not None,
        title=clock(face.pts_s) + (", no score" if p is None else f": fake score {percent(p)}"),
    )
