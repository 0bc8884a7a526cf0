"""From validation logits to a calibration and two thresholds, as DESIGN's "Verdict" asks.

>>> rng = np.random.default_rng(0)
>>> label = np.repeat([0, 1], 4000)
>>> fit_platt(np.where(label == 1, 2.0, -2.0) + rng.logistic(size=8000), label).scale > 0.5
True
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale._text import plural
from telltale.aggregate import FAKES_BEYOND, Calibration, Thresholds, calibrate, sigmoid, track_log_odds
from telltale.types import Float64Array

RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
FALSE_POSITIVE_RATE = 0.01
MISS_RATE = 0.05
MIN_SCALE = 1e-3
FEW_GROUPS = 50
FEW_FAKES = 20
CHANCE = "no better than chance there, so every probability is about .5"

_TRACKS = "tracks"
_SEVERAL = 0.5
_COUNTED = 5
"""A rate is read from counts where so many reals of the source lie above it; otherwise from a fitted tail."""
_PEAKS, _FEWEST_PEAKS, _MOST_PEAKS = 0.05, 25, 0.2
"""The tail is fitted to the highest twentieth of the reals, but to 25 where that is fewer, and to a fifth at most."""
_CLEARANCE = 1e-6
"""In log-odds: how far a line lies beyond a score that is not to reach it. A scan says `fake` at the line itself, and
comes to a score another way (`log_odds` of a mean), which rounding leaves a few units in the last place away."""


@dataclass(frozen=True)
class Clips:
    """Where clips come from, all (n,)."""

    label: npt.NDArray[np.int64]
    source: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    track: npt.NDArray[np.str_]
    """Which clips are one person's in one video of one source."""
    pts_s: Float64Array

    def take(self, rows: npt.NDArray[Any]) -> Clips:
        """The rows of an index array or of a mask."""
        return Clips(*(getattr(self, field.name)[rows] for field in fields(self)))


def fit_platt(logit: npt.ArrayLike, label: npt.ArrayLike, *, fitted_on: str = "") -> Calibration:
    """Scale and bias that minimise the log loss at even odds: both classes weigh the same (Platt, 1999).

    Targets are smoothed by 1 / (n + 2) as in the paper. A scale under `MIN_SCALE` standard deviations of the logits
    (reals rank as high as fakes) becomes that: such a model may not be sure of anything.

    Raises ValueError where a class is missing.
    """
    x, y = np.asarray(logit, np.float64), np.asarray(label)
    n_real, n_fake = int((y == 0).sum()), int((y == 1).sum())
    if not n_real or not n_fake:
        raise ValueError("a calibration needs real and fake faces")
    weight = np.where(y == 1, 0.5 / n_fake, 0.5 / n_real)
    target = np.where(y == 1, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    spread = float(x.std()) or 1.0
    line = np.stack([x / spread, np.ones_like(x)])

    def loss(weights: Float64Array) -> float:
        z = weights @ line
        return float(weight @ (np.logaddexp(0, z) - target * z))

    found = np.zeros(2)
    for _ in range(100):  # Newton; halved where it would overshoot, as it does from far away
        p = sigmoid(found @ line)
        gradient = line @ (weight * (p - target))
        hessian = (line * (weight * p * (1 - p))) @ line.T
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        while loss(found - step) > loss(found) and np.abs(step).max() > 1e-10:
            step = step / 2
        found = found - step
        if np.abs(step).max() < 1e-10:
            break
    if found[0] < MIN_SCALE:
        found = np.array([MIN_SCALE, 0.0])
        fitted_on = f"{fitted_on}; {CHANCE}"
    a, b = float(found[0]) / spread, float(found[1])
    return Calibration(method="platt", scale=a, bias=b, fitted_on=fitted_on)


def of_tracks(of: Clips, logit: Float64Array, calibration: Calibration) -> tuple[Calibration, Thresholds] | None:
    """Calibration and thresholds of whole tracks, judged as a scan judges them: a mean of many faces is surer than one.

    `of` and `logit` (n,) are clips as they are. None where fewer than half of the tracks of either class have more than
    one clip, as in sets of pictures: a track is then a face.
    """
    track, first = tracks(of)
    counts, label = np.bincount(track), of.label[first]
    if any((counts[label == value] > 1).mean() < _SEVERAL for value in (0, 1) if (label == value).any()):
        return None
    odds = odds_of_tracks(of, logit, calibration)
    fitted = fit_platt(odds, label)
    whole = calibration.model_copy(
        update={
            "track_scale": fitted.scale,
            "track_bias": fitted.bias,
            "fitted_on": f"{calibration.fitted_on}; {len(first)} tracks of them{fitted.fitted_on}",
        }
    )
    return whole, fit_thresholds(of.take(first), odds, fitted, each=_TRACKS)


def tracks(of: Clips) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each clip's track by number (n,), and each track's first clip."""
    names = np.char.add(np.char.add(of.source, "/"), of.track)
    _, first, track = np.unique(names, return_index=True, return_inverse=True)
    return track, first


def odds_of_tracks(of: Clips, logit: Float64Array, calibration: Calibration) -> Float64Array:
    """Log-odds of each of `tracks`, as a scan has them."""
    p, (track, first) = calibrate(logit, calibration), tracks(of)
    odds = np.empty(len(first))
    for number in range(len(first)):
        rows = np.flatnonzero(track == number)
        rows = rows[np.argsort(of.pts_s[rows], kind="stable")]
        odds[number] = track_log_odds(of.pts_s[rows], p[rows], calibration)
    return odds


def real_tail(logit: Float64Array, rate: float) -> tuple[float, bool]:
    """The logit that at most a share `rate` of these reals exceeds; whether it was counted, or comes of a fitted tail.

    The tail falls off as fast as the highest reals do: the mean excess over a high quantile is the scale of an
    exponential (peaks over threshold; Coles, 2001). What the many reals in the middle do says nothing about it.
    """
    counted = -_share_below(-logit, rate)
    if rate * len(logit) >= _COUNTED:
        return counted, True
    k = int(min(max(_FEWEST_PEAKS, _PEAKS * len(logit)), _MOST_PEAKS * len(logit)))
    top = np.sort(logit)[-k - 1 :]
    fitted = top[0] + float((top[1:] - top[0]).mean()) * np.log(k / len(logit) / rate) if k else counted
    return max(float(fitted), counted), False


def _share_below(values: Float64Array, rate: float) -> float:
    """The largest of `values` (n,) that at most a share `rate` of them lies under. A quantile between two values may
    have one more under it."""
    return float(np.sort(values)[int(rate * len(values) + 1e-9)])


def limits_of(thresholds: Thresholds) -> tuple[str, ...]:
    """What a card says among its limits of how they were fitted."""
    if thresholds.population.startswith(_TRACKS):
        return ()
    return ("How often whole videos of real people are called fake was not measured.",)


def fit_thresholds(
    of: Clips, logit: Float64Array, calibration: Calibration, *, each: str = "single pictures"
) -> Thresholds:
    """`fake` above what at most 1 % of the reals of the worst source exceed; `real` below what 5 % of the fakes of the
    worst source fall under; where they cross, `fake` yields.

    `of` and `logit` (n,); `each`: what a card calls one of them. A source with fewer than `FEW_GROUPS` groups of reals
    (one clip, say) has no tail to fit: the largest logit seen there counts instead, and is no rate. Raises ValueError
    where a class is missing.
    """
    reals, fakes = _by_source(of, logit, 0), _by_source(of, logit, 1)
    if not reals or not fakes:
        raise ValueError("thresholds need real and fake faces")
    few = {name for name in reals if len(np.unique(of.group[(of.source == name) & (of.label == 0)])) < FEW_GROUPS}

    def odds(x: float) -> float:
        return calibration.scale * x + calibration.bias

    def worst(rate: float) -> tuple[float, bool]:
        return max(
            (float(values.max()), False) if name in few else real_tail(values, rate) for name, values in reals.items()
        )

    population = f"{each}: {_counts(reals, 'real', few=few)}; {_counts(fakes, 'fake')}"
    n_real, n_fake = (sum(len(values) for values in those.values()) for those in (reals, fakes))
    if CHANCE in calibration.fitted_on:  # no line divides what it cannot tell apart
        return Thresholds(
            real_below=0.0, fake_above=1.0, tail_extrapolated_below=1.0, population=population, n_real=n_real,
            n_fake=n_fake,
        )  # fmt: skip
    tail = [(rate, *worst(rate)) for rate in RATES]
    fitted = [rate for rate, _, counted in tail if not counted]
    fake_above = odds(worst(FALSE_POSITIVE_RATE)[0]) + _CLEARANCE
    real_below = odds(min(_share_below(values, MISS_RATE) for values in fakes.values())) - _CLEARANCE
    return Thresholds(
        real_below=float(sigmoid(real_below)),
        fake_above=float(sigmoid(max(fake_above, real_below))),
        false_positive_rate=FALSE_POSITIVE_RATE,
        miss_rate=MISS_RATE,
        tail=tuple((rate, odds(at) + _CLEARANCE) for rate, at, _ in tail),
        tail_extrapolated_below=_next_above(max(fitted)) if fitted else None,
        fakes_reach=odds(-_share_below(-np.concatenate(list(fakes.values())), FAKES_BEYOND)),
        population=population,
        n_real=n_real,
        n_fake=n_fake,
    )


def limits_of_few(
    label: npt.NDArray[np.int64], group: npt.NDArray[np.str_], calibration: Calibration
) -> tuple[str, ...]:
    """What a card says among its limits of the validation faces that its lines were drawn by, (n,)."""
    if CHANCE in calibration.fitted_on:
        return ("On validation it was no better than chance: it calls nothing real or fake.",)
    n_groups, n_fake = len(np.unique(group[label == 0])), int((label == 1).sum())
    if n_groups >= FEW_GROUPS and n_fake >= FEW_FAKES:
        return ()
    return (
        f"Its lines were drawn by {plural(n_fake, 'fake')} and the reals of {plural(n_groups, 'group')}: too few to "
        f"measure a rate of {FALSE_POSITIVE_RATE:.0%} or {MISS_RATE:.0%}. Expect more errors among other faces.",
    )


def _by_source(of: Clips, logit: Float64Array, label: int) -> dict[str, Float64Array]:
    """The logits of one class, where a source has any."""
    mine = {name: logit[(of.source == name) & (of.label == label)] for name in np.unique(of.source).tolist()}
    return {name: values for name, values in mine.items() if len(values)}


def _counts(of: Mapping[str, Float64Array], kind: str, *, few: Set[str] = frozenset()) -> str:
    but = " (too few groups for a rate: none of them reaches the line)"
    return ", ".join(f"{name} {len(values)} {kind}{but if name in few else ''}" for name, values in of.items())


def _next_above(rate: float) -> float:
    """The lowest counted rate over `rate`; 1 where none is."""
    return min((r for r in RATES if r > rate), default=1.0)
