"""What is drawn on an annotated clip, as plain values: who is where at each moment, and which seconds tell most.

A report knows a face at the sampled frames only. Between two of them its box is drawn where a straight line puts it,
after the last for a moment where it was, before the first nowhere, and over a cut never: it would be on somebody else.

>>> person = Person(1, "real", 0.1, times=[0.0, 1.0], boxes=[[0, 0, 10, 10], [10, 0, 20, 10]], scores=[0.1, None])
>>> person.box_at(0.5, most_apart_s=2.0)
(5.0, 0.0, 15.0, 10.0)
>>> person.box_at(9.0, most_apart_s=2.0) is None
True
"""

from __future__ import annotations

import bisect
import statistics
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from telltale._telling import TELLING_S, telling_means
from telltale.types import Label, Report, TrackReport, suspicion

Box = tuple[float, float, float, float]
N_TILES = 12
STRIP_SHARE = 0.15
"""Of the picture's height: the timeline covers no more."""
_APART = 2.5
"""Samples of one face this many times the usual distance apart are not joined: nobody looked between."""
_LEAST_APART_S = 0.1
_NEXT = 1.5
"""The next look comes within so many usual steps."""
_SAME_S = 0.001
"""Times this close are one moment: far below any frame interval."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person of the report."""

    id: int
    label: Label
    p_fake: float | None
    times: list[float]
    boxes: list[list[float]]
    """px of the picture as displayed."""
    scores: list[float | None]
    """None throughout where the person must not be judged."""
    held_steps: float = 0.5
    """How long the box stays after the last sample, in usual steps."""

    @property
    def suspicion(self) -> tuple[bool, float]:
        return suspicion(self.label, self.p_fake)

    def box_at(self, time_s: float, *, most_apart_s: float, shot_s: float = 0.0) -> Box | None:
        """Where the face is at a time; None where it was not seen in this shot, which began at `shot_s`, before."""
        at = bisect.bisect_right(self.times, time_s + _SAME_S) - 1
        if at < 0 or self.times[at] < shot_s - _SAME_S:
            return None
        since_s = max(0.0, time_s - self.times[at])
        is_last = at + 1 == len(self.times)
        step_s = 0.0 if is_last else self.times[at + 1] - self.times[at]
        if 0.0 < step_s <= most_apart_s:
            pairs = zip(self.boxes[at], self.boxes[at + 1], strict=True)
            return _box([a + since_s / step_s * (b - a) for a, b in pairs])
        held_s = (self.held_steps if is_last else 0.5) * most_apart_s / _APART
        return _box(self.boxes[at]) if since_s <= max(held_s, _SAME_S) else None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the worker needs to draw; travels to it as JSON."""

    headline: str
    label: Label
    p_fake: float | None
    thresholds: tuple[float, float] | None
    people: list[Person]
    most_apart_s: float
    end_s: float
    telling_s: tuple[float, float] | None
    """The seconds that tell most; None where nobody was judged."""
    tiles_s: list[float]
    """Times of the contact sheet's frames."""
    caption: list[str]
    """Lines beside the contact sheet, and below a still picture."""
    strip_on_top: bool = False
    """Whether the timeline lies along the upper edge: faces meet it less often there."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        people = [Person(**person) for person in data["people"]]
        spans = {key: tuple(data[key]) if data[key] else None for key in ("thresholds", "telling_s")}
        return cls(**{**data, **spans, "people": people})


def make_plan(report: Report, *, headline: str, caption: list[str]) -> Plan:
    """What to draw for a report."""
    times = sorted({face.pts_s for track in report.tracks for face in track.faces})
    step_s = _usual_step(report)
    seen = [track for track in report.tracks if track.faces]
    people = [_person(track, held_steps=_held_steps(track, seen, times[-1], step_s)) for track in seen]
    duration_s = report.video.duration_s if report.video else None
    return Plan(
        headline=headline,
        label=report.verdict.label,
        p_fake=report.verdict.p_fake,
        thresholds=report.verdict.thresholds,
        people=people,
        most_apart_s=max(_LEAST_APART_S, _APART * step_s),
        end_s=max([*times, duration_s or 0.0]),
        telling_s=telling_seconds(report),
        tiles_s=_tiles(report, times),
        caption=caption,
        strip_on_top=_is_free_above(report),
    )


def _is_free_above(report: Report) -> bool:
    """Whether fewer faces reach into the upper edge than into the lower one."""
    if report.video is None:
        return False
    height = report.video.height_px
    boxes = [face.box_xyxy for track in report.tracks for face in track.faces]
    above = sum(box[1] < STRIP_SHARE * height for box in boxes)
    return above < sum(box[3] > (1 - STRIP_SHARE) * height for box in boxes)


def _person(track: TrackReport, *, held_steps: float) -> Person:
    return Person(
        id=track.id,
        label=track.label,
        p_fake=track.p_fake,
        times=[face.pts_s for face in track.faces],
        boxes=[list(face.box_xyxy) for face in track.faces],
        scores=[None if track.p_fake is None else face.p_fake for face in track.faces],
        held_steps=held_steps,
    )


def _held_steps(track: TrackReport, others: list[TrackReport], end_s: float, step_s: float) -> float:
    """Half a step after the last sample, as nobody knows when the face went; to the end of the clip where it had not
    gone at the last look; not at all where the next look finds somebody else in its place."""
    last = track.faces[-1]
    if last.pts_s == end_s:
        return 1.0
    next_s = last.pts_s + _NEXT * step_s
    new = [one.faces[0] for one in others if last.pts_s < one.faces[0].pts_s <= next_s]
    return 0.0 if any(_meet(last.box_xyxy, face.box_xyxy) for face in new) else 0.5


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _usual_step(report: Report) -> float:
    """The usual time between two frames that were looked at."""
    steps = [float(step) for track in report.tracks for step in np.diff([face.pts_s for face in track.faces])]
    return statistics.median(steps) if steps else 0.5


def telling_seconds(report: Report) -> tuple[float, float] | None:
    """Around the highest mean score over `TELLING_S` seconds of the person who decided the verdict."""
    judged = [track for track in report.tracks if track.p_fake is not None]
    if not judged:
        return None
    means = telling_means(max(judged, key=lambda track: track.suspicion))
    if not means:
        return None
    start_s, _ = max(means, key=lambda one: (one[1], -one[0]))
    # The window may end after the last sample; then it begins earlier.
    start_s = max(0.0, min(start_s, means[-1][0] - TELLING_S))
    return start_s, start_s + TELLING_S


def _tiles(report: Report, times: list[float]) -> list[float]:
    """Evenly over the times with faces, the highest score among them; without faces, over the clip."""
    if not times:
        end_s = (report.video.duration_s or 0.0) if report.video else 0.0
        return [end_s * (i + 0.5) / N_TILES for i in range(N_TILES)] if end_s > 0 else [0.0]
    picked = {times[round(i * (len(times) - 1) / (N_TILES - 1))] for i in range(N_TILES)}
    judged = [track for track in report.tracks if track.p_fake is not None]
    scores = [(face.p_fake, face.pts_s) for track in judged for face in track.faces if face.p_fake is not None]
    if scores and (highest := max(scores)[1]) not in picked:
        picked.remove(min(picked, key=lambda time_s: abs(time_s - highest)))
        picked.add(highest)
    return sorted(picked)


def _box(values: list[float]) -> Box:
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1
