"""Which frames of a video are looked at: a `SamplePlan`, and `choose`, a pure function of the timestamps.

Times, never frame numbers, decide: a phone's variable frame rate would otherwise bunch the samples.

>>> choose(np.arange(90) / 30, SamplePlan("fps", 2)).indices.tolist()
[0, 15, 30, 45, 60, 75]
>>> choose(np.arange(90) / 30, SamplePlan("uniform", 3)).indices.tolist()
[15, 45, 75]
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from telltale.types import Float64Array

Kind = Literal["fps", "every", "uniform", "first", "all"]
Limit = Literal["first", "max_frames", "seconds"]

_EPSILON_S = 1e-6
"""Slack for times that went through a container's rounding; far below any frame interval."""


@dataclass(frozen=True)
class SamplePlan:
    """How frames are taken. The defaults take two a second, at most 600, spread over the whole clip."""

    kind: Kind = "fps"
    value: float = 2.0
    """fps: frames per second; every: n-th frame; uniform and first: number of frames; all: not used."""
    at_least: int = 1
    """fps only: a clip too short to give so many frames at this rate is sampled more densely."""
    max_frames: int | None = None
    """Take only the first so many of the sampled frames; `cap` then does nothing."""
    cap: int = 600
    """Protective limit: fps, every and all are thinned to it over the whole clip, which is reported."""
    seconds: float | None = None
    """Only the first so many seconds."""
    max_side_px: int | None = None
    """Frames with a longer side are made smaller."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))  # 2 and 2.0 are one plan, in a store's settings too
        if self.kind not in ("fps", "every", "uniform", "first", "all"):
            raise ValueError(f"kind must be fps, every, uniform, first or all, got {self.kind!r}")
        if not (math.isfinite(self.value) and self.value > 0):
            raise ValueError(f"value must be a number above 0, got {self.value}")
        if self.kind in ("every", "uniform", "first") and self.value != int(self.value):
            raise ValueError(f"value must be a whole number for {self.kind}, got {self.value}")
        for name in ("at_least", "max_frames", "cap", "seconds", "max_side_px"):
            limit = getattr(self, name)
            if limit is not None and not (math.isfinite(limit) and limit > 0):
                raise ValueError(f"{name} must be above 0, got {limit}")


EVERY_FRAME = SamplePlan("all", max_frames=10**9)
"""Of a clip of any length, without the cap."""


@dataclass(frozen=True)
class Moments(SamplePlan):
    """The frames that are nearest to given times: those at which another video was sampled."""

    kind: Kind = "all"
    times_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Sampling as a command line or a request names it; None and False: not at all.

    >>> Wanted(frames=8, max_side_px=720).plan(SamplePlan())
    SamplePlan(kind='uniform', value=8.0, at_least=1, max_frames=None, cap=600, seconds=None, max_side_px=720)
    """

    fps: float | None = None
    every: int | None = None
    frames: int | None = None
    first: int | None = None
    all_frames: bool | None = None
    max_frames: int | None = None
    seconds: float | None = None
    max_side_px: int | None = None

    def plan(self, default: SamplePlan) -> SamplePlan:
        """`default` with what is named here in its place: another rate of `fps` alters nothing else of a plan that is
        `fps` already. Raises ValueError where two kinds exclude each other."""
        kinds: dict[str, tuple[Kind, float | None]] = {
            "fps": ("fps", self.fps),
            "every": ("every", self.every),
            "frames": ("uniform", self.frames),
            "first": ("first", self.first),
            "all_frames": ("all", 1.0 if self.all_frames else None),
        }
        named = {name: SamplePlan(kind, value) for name, (kind, value) in kinds.items() if value is not None}
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} exclude each other; choose one")
        limits = {"max_frames": self.max_frames, "seconds": self.seconds, "max_side_px": self.max_side_px}
        plan = next(iter(named.values()), default)
        if plan.kind == default.kind == "fps":
            plan = replace(default, value=plan.value)
        return replace(plan, **{name: limit for name, limit in limits.items() if limit is not None})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Choice:
    """The frames that were chosen."""

    indices: npt.NDArray[np.int64]
    """(n,), ascending positions in the timestamps that were given."""
    n_wanted: int
    """How many the plan asked for before the cap."""
    ended_by: Limit | None = None
    """What of the plan left out the end of the clip, if anything did."""

    @property
    def was_capped(self) -> bool:
        return self.n_wanted > len(self.indices)


def choose(pts_s: Float64Array, plan: SamplePlan) -> Choice:
    """Choose frames from `pts_s`, float64 (n,) seconds, ascending: the times at which frames are shown.

    For fps, a frame is the first at or after each tick of 1 / value seconds counted from the first frame, so
    it is late by less than one frame, and the first frame is always taken. For uniform, the clip is cut into
    `value` equal spans of time and the frame shown at the middle of each is taken.
    """
    pts: Float64Array = pts_s
    ended_by: Limit | None = None
    if plan.seconds is not None and len(pts):
        pts = pts[pts < pts[0] + plan.seconds]
        ended_by = "seconds" if len(pts) < len(pts_s) else None
    if not len(pts):
        return Choice(np.empty(0, np.int64), 0)
    if isinstance(plan, Moments):
        nearest = _nearest(pts, np.array(plan.times_s, np.float64))
        return Choice(nearest, len(nearest))
    if plan.kind == "uniform":
        wanted = _uniform(pts, int(plan.value))
    elif plan.kind == "fps":
        wanted = _ticks(pts, min(1 / plan.value, _length_s(pts) / plan.at_least))
    else:
        step = int(plan.value) if plan.kind == "every" else 1
        wanted = np.arange(0, len(pts), step, dtype=np.int64)
    if plan.kind == "first" and len(wanted) > plan.value:
        wanted, ended_by = wanted[: int(plan.value)], "first"
    if plan.max_frames is not None:
        if len(wanted) > plan.max_frames:
            wanted, ended_by = wanted[: plan.max_frames], "max_frames"
    elif plan.kind in ("fps", "every", "all") and len(wanted) > plan.cap:
        kept = np.round(np.linspace(0, len(wanted) - 1, plan.cap)).astype(np.int64)
        return Choice(wanted[kept], len(wanted), ended_by)
    return Choice(wanted, len(wanted), ended_by)


def _ticks(pts: Float64Array, period_s: float) -> npt.NDArray[np.int64]:
    """The first frame of each period. Periods in which nothing new is shown give no frame twice."""
    period = np.floor((pts - pts[0] + _EPSILON_S) / max(period_s, _EPSILON_S))
    return np.flatnonzero(np.diff(period, prepend=-1.0) > 0)


def _uniform(pts: Float64Array, n: int) -> npt.NDArray[np.int64]:
    middles = pts[0] + (np.arange(n) + 0.5) * (_length_s(pts) / n)
    shown = np.searchsorted(pts, middles + _EPSILON_S, side="right") - 1
    return np.unique(shown).astype(np.int64)


def _nearest(pts: Float64Array, times_s: Float64Array) -> npt.NDArray[np.int64]:
    after = np.searchsorted(pts, times_s).clip(0, len(pts) - 1)
    before = (after - 1).clip(0)
    is_before = times_s - pts[before] < pts[after] - times_s
    return np.unique(np.where(is_before, before, after)).astype(np.int64)


def _length_s(pts: Float64Array) -> float:
    """From the first frame to the end of the last, which is taken to be shown as long as most are."""
    return float(pts[-1] - pts[0] + np.median(np.diff(pts))) if len(pts) > 1 else 0.0


__all__ = ["EVERY_FRAME", "Choice", "Moments", "SamplePlan", "Wanted", "choose"]
