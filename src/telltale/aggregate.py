"""From logits of single faces to a verdict: calibrate, gather per person, decide for the video.

    frame   p = sigmoid(scale * logit + bias)
    track   the largest of these log-odds, calibrated as a track:
              the trimmed mean of p over all its faces;
              the highest trimmed mean in a sliding window of 3, 12 and 60 s, less ln(number of such windows): three
              forged seconds in a minute must show, and looking in twenty places must not by itself raise the score
    person  each of K tracks that look like one person is lowered by ln K, but not below the trimmed mean over all their
              faces: cuts are places to look in as windows are, and a speaker forged throughout keeps the score
    video   the most suspicious track against a threshold that allows for the number of people (Sidak, 1967)

>>> float(calibrate(np.array([0.0], np.float32), Calibration())[0])
0.5
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from telltale._interval import half_width
from telltale._report_words import DENSER, not_judged
from telltale._telling import telling_spans
from telltale._text import clock, percent, percents, plural
from telltale.types import Code, Float64Array, Label, Track, TrackReport, Verdict, Written, count_people, person_of

WINDOWS_S = (3.0, 12.0, 60.0)
FAKES_BEYOND = 0.05
_TRIM_FRAC = 0.1
_MIN_WINDOW_FACES = 4
_STARTS_A_WINDOW = 10
_JITTER = 1.2
"""A window for so many faces is a little longer than they usually take: they are not evenly spaced."""
_SLACK_STEPS = 0.25
"""Nor does a sample fall on every half second: of 25 frames a second they follow after .52 and .48 s by turns."""
_JOINED_S = 1.0
"""Suspicious faces further apart are no span: nobody looked between them."""
_SPANS_NAMED = 3
_P_LIMIT = 1e-6


class Calibration(Written):
    """How logits become probabilities, fitted at even odds (Platt, 1999)."""

    method: Literal["none", "temperature", "platt"] = "none"
    scale: float = Field(default=1.0, gt=0)
    bias: float = 0.0
    track_scale: float = Field(default=1.0, gt=0)
    """The same for a track: applied to the log-odds of the mean probability over its faces."""
    track_bias: float = 0.0
    fitted_on: str = ""
    """The population: sources, n."""


class Thresholds(Written):
    """Where `real` ends and `fake` begins, as calibrated probabilities."""

    real_below: float = Field(default=0.25, ge=0, le=1)
    fake_above: float = Field(default=0.75, ge=0, le=1)
    false_positive_rate: float = Field(default=0.01, gt=0, lt=1)
    """Share of the worst source's real faces, of those measured, that reach `fake_above`, at most."""
    miss_rate: float = Field(default=0.05, gt=0, lt=1)
    """Share of the fakes measured that fall under `real_below`, at most."""
    tail: tuple[tuple[float, float], ...] = ()
    """(false-positive rate, calibrated log-odds reached at that rate), worst source, rates falling."""
    tail_extrapolated_below: float | None = None
    """Rates under this one come from a fitted tail or from few groups, not from counts."""
    fakes_reach: float | None = None
    """Calibrated log-odds that no more than `FAKES_BEYOND` of the fakes exceed; None where a card does not say."""
    population: str = ""
    n_real: int = 0
    n_fake: int = 0

    @property
    def is_measured(self) -> bool:
        """Whether the lines were drawn by faces at all; a model from elsewhere may come without."""
        return self.n_real > 0 and self.n_fake > 0

    @property
    def is_counted(self) -> bool:
        """Whether there were reals enough to count `false_positive_rate` among them."""
        return self.tail_extrapolated_below is None or self.false_positive_rate >= self.tail_extrapolated_below

    @property
    def is_for_one(self) -> bool:
        """Whether nothing is known of rates under `false_positive_rate`, so that there is no bar for several people."""
        return len({odds for rate, odds in self.tail if rate <= self.false_positive_rate}) < 2

    def fake_above_for(self, n_people: int) -> float:
        """The `fake` threshold when the most suspicious of `n_people` is looked at.

        Each person gets the rate 1 - (1 - rate)^(1/n), so that together they raise no more false alarms than one.
        The log-odds at that rate are interpolated in `tail`, linearly in ln(rate), and continued with its last slope.
        """
        if n_people <= 1 or len(self.tail) < 2:
            return self.fake_above
        rate = 1.0 - (1.0 - self.false_positive_rate) ** (1.0 / n_people)
        x = np.log([point[0] for point in self.tail])[::-1]
        y = np.array([point[1] for point in self.tail])[::-1]
        at = math.log(rate)
        if at < x[0]:
            slope = min((y[1] - y[0]) / (x[1] - x[0]), 0.0)
            found = y[0] + slope * (at - x[0])
        else:
            found = float(np.interp(at, x, y))
        return max(self.fake_above, float(sigmoid(found)))


class Minimum(Written):
    """What must be there before anything is said."""

    n_faces: int = Field(default=3, ge=1)
    """Detected faces of one person in a video; one is enough for a still."""
    face_px: float = Field(default=40.0, gt=0)
    """Longer side of the face box, median over the track."""


@dataclass(frozen=True, slots=True)
class JudgedTrack:
    """A track with what the model said about its faces."""

    track: Track
    p_face: Float64Array
    """(number of faces,) calibrated; NaN for a face that no clip is centred on, and for single pictures of places
    where a face was expected and not found: there may be a wall."""
    distance: Float64Array | None = None
    """(number of faces,) from what the model knows (`gate`); NaN where it was not measured, None where nowhere."""


def sigmoid(x: npt.ArrayLike) -> Float64Array:
    """1 / (1 + e^-x) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, np.float64))))


def log_odds(p: npt.ArrayLike) -> Float64Array:
    """ln(p / (1 - p)); p is kept `1e-6` away from 0 and 1, where no calibration means anything."""
    q = np.clip(np.asarray(p, np.float64), _P_LIMIT, 1 - _P_LIMIT)
    return np.asarray(np.log(q / (1 - q)))


def calibrate(logit: npt.ArrayLike, calibration: Calibration) -> Float64Array:
    """Calibrated probability of fake for the logits of single clips: float64 of the shape that `logit` has."""
    return sigmoid(calibration.scale * np.asarray(logit, np.float64) + calibration.bias)


def track_log_odds(pts_s: Float64Array, p_face: Float64Array, calibration: Calibration) -> float:
    """Calibrated log-odds of one track from its faces' times and probabilities, both (n,), n >= 1, no NaN."""
    best = float(log_odds(_trimmed_mean(p_face)))
    for window_s in sorted({_stretched(window_s, pts_s) for window_s in WINDOWS_S}):
        windows = sliding_windows(pts_s, p_face, window_s)
        if windows:
            n_independent = (pts_s[-1] - pts_s[0]) / window_s
            best = max(best, max(z for _, _, z in windows) - math.log(n_independent))
    return calibration.track_scale * best + calibration.track_bias


def sliding_windows(
    pts_s: Float64Array, p_face: Float64Array, window_s: float = WINDOWS_S[0]
) -> list[tuple[float, float, float]]:
    """(start_s, end_s, log-odds of the trimmed mean) of each window with enough faces; none in a track no longer than
    one. A window begins with each face, ten at most in its own length, and ends before the face `window_s` later, as
    what lasts three seconds shows in six faces at two a second. None reaches beyond the track's end: of a long window
    with little in it few would be independent, and the highest of many short ones counts for less. Where faces lie far
    apart, `window_s` grows to what enough of them take: a long video must not lose its windows because it is looked at
    more sparsely."""
    window_s = _stretched(window_s, pts_s)
    if pts_s[-1] - pts_s[0] <= window_s:
        return []
    _, starts = np.unique(np.floor((pts_s - pts_s[0]) / (window_s / _STARTS_A_WINDOW)), return_index=True)
    step_s = float(np.median(np.diff(pts_s)))
    slack_s = _SLACK_STEPS * step_s
    starts = starts[pts_s[starts] + window_s <= pts_s[-1] + step_s + slack_s]
    ends = np.searchsorted(pts_s, pts_s[starts] + window_s - slack_s)
    rows = [(i, j) for i, j in zip(starts.tolist(), ends.tolist(), strict=True) if j - i >= _MIN_WINDOW_FACES]
    odds = log_odds([_trimmed_mean(p_face[i:j]) for i, j in rows])
    return [(float(pts_s[i]), float(pts_s[j - 1]), float(z)) for (i, j), z in zip(rows, odds, strict=True)]


def _stretched(window_s: float, pts_s: Float64Array) -> float:
    took_s = pts_s[_MIN_WINDOW_FACES - 1 :] - pts_s[: 1 - _MIN_WINDOW_FACES]
    return max(window_s, _JITTER * float(np.median(took_s))) if len(took_s) else window_s


def decide(
    tracks: Sequence[JudgedTrack],
    *,
    calibration: Calibration,
    thresholds: Thresholds,
    minimum: Minimum,
    is_still: bool,
    farthest: float | None = None,
    to_see_more: str = DENSER,
    what: str = "The face",
) -> tuple[Verdict, list[TrackReport]]:
    """The verdict on a video and on each person in it, in the order given. Never a score without enough faces.

    Tracks of one person (`Track.person`), as cuts leave them, are counted as one; each has a verdict of its own.
    `farthest`: the distance beyond which a person's faces are too unlike what the model knows to be called fake.
    `to_see_more`: what can be done about too few faces. `what` reasons call that which scores.
    """
    n_faces = 1 if is_still else minimum.n_faces
    shortfalls = [shortfall(judged.track, n_faces, minimum.face_px, to_see_more, what) for judged in tracks]
    judgeable = [judged for judged, lacking in zip(tracks, shortfalls, strict=True) if lacking is None]
    n_people = count_people(judged.track for judged in judgeable)
    scores = _scores(judgeable, calibration)
    fake_above = thresholds.fake_above_for(n_people)
    # Where they cross, fake yields: both stated rates then still hold.
    bounds = (thresholds.real_below, max(fake_above, thresholds.real_below))
    reports = [
        _judge(judged, scores[judged.track.id], bounds, calibration, farthest, thresholds.is_measured, what)
        if lacking is None
        else _abstain(judged, *lacking)
        for judged, lacking in zip(tracks, shortfalls, strict=True)
    ]
    return _video_verdict(reports, bounds, n_people, thresholds), reports


def shortfall(
    track: Track, n_faces: int, face_px: float, to_see_more: str, what: str = "The face"
) -> tuple[Code, str] | None:
    """Why nothing is said about a person: code and reason. None where there is enough of them."""
    detected = [face for face in track.faces if face.source == "detected"]
    size_px = float(np.median([max(face.width_px, face.height_px) for face in detected])) if detected else 0.0
    if detected and size_px < face_px:
        return (
            Code.TOO_SMALL,
            f"{what} is only {size_px:.0f} pixels large; below {face_px:.0f} the model would be guessing.",
        )
    if len(detected) < n_faces:
        return (
            Code.TOO_FEW_FACES,
            f"{what} was found in {len(detected)} of the frames looked at; "
            f"at least {n_faces} are needed. {to_see_more}",
        )
    return None


def _abstain(judged: JudgedTrack, code: Code, reason: str) -> TrackReport:
    return _track_report(judged, label="uncertain", codes=(code,), reasons=(reason,))


@dataclass(frozen=True, slots=True)
class _Score:
    """Calibrated log-odds of a track."""

    odds: float
    alone: float
    """As they would be if it were the person's only track."""
    n_tracks: int
    """Of that person."""
    mean_of: Float64Array | None
    """The probabilities, in the order of time, whose trimmed mean it is; None where a window decides, or a track among
    several of the person's."""


def _scores(tracks: Sequence[JudgedTrack], calibration: Calibration) -> dict[int, _Score]:
    """By track id."""
    people: dict[int, list[JudgedTrack]] = {}
    for judged in tracks:
        people.setdefault(person_of(judged.track), []).append(judged)
    found = {}
    for shown in people.values():
        p_all = np.concatenate([_seen(one)[1] for one in sorted(shown, key=lambda one: one.track.faces[0].pts_s)])
        together = _mean_odds(p_all, calibration)
        for one in shown:
            pts_s, p_face = _seen(one)
            alone = track_log_odds(pts_s, p_face, calibration)
            odds = max(min(alone, together), alone - math.log(len(shown)))
            means = ((together, p_all), (_mean_odds(p_face, calibration), p_face))
            mean_of = next((p for mean, p in means if mean == odds), None)
            found[one.track.id] = _Score(odds, alone, len(shown), mean_of)
    return found


def _mean_odds(p_face: Float64Array, calibration: Calibration) -> float:
    return calibration.track_scale * float(log_odds(_trimmed_mean(p_face))) + calibration.track_bias


def _seen(judged: JudgedTrack) -> tuple[Float64Array, Float64Array]:
    """Times and probabilities of the faces that have one."""
    seen = np.isfinite(judged.p_face)
    return np.array([face.pts_s for face in judged.track.faces])[seen], judged.p_face[seen]


def _judge(
    judged: JudgedTrack,
    score: _Score,
    bounds: tuple[float, float],
    calibration: Calibration,
    farthest: float | None,
    is_measured: bool,
    what: str,
) -> TrackReport:
    pts_s, p_face = _seen(judged)
    p_fake, alone = float(sigmoid(score.odds)), float(sigmoid(score.alone))
    label, code, reason = _label(p_fake, bounds, is_measured, what)
    lowered = () if _label(alone, bounds, is_measured, what)[0] == label else (_why_lowered(alone, score.n_tracks),)
    if label == "fake" and _is_strange(judged, farthest):
        label, code = "uncertain", Code.OUT_OF_DOMAIN
        reason = (
            f"{what} scores {percent(p_fake)}, but is unlike the faces that the model learned from; among such faces "
            "it takes real ones for fake too often to say so."
        )
    return _track_report(
        judged,
        label=label,
        p_fake=p_fake,
        codes=(code,) if code else (),
        reasons=(reason, *lowered),
        interval=_interval(score, calibration),
        suspicious_s=_suspicious(pts_s, p_face, bounds[1], calibration),
    )


def _why_lowered(alone: float, n_tracks: int) -> str:
    return (
        f"These moments alone would score {percent(alone)}; of {n_tracks} appearances that look like one person the "
        "highest is high by chance, so it counts for less."
    )


def _is_strange(judged: JudgedTrack, farthest: float | None) -> bool:
    if farthest is None or judged.distance is None or not np.isfinite(judged.distance).any():
        return False
    return bool(np.nanmedian(judged.distance) > farthest)


def _label(p_fake: float, bounds: tuple[float, float], is_measured: bool, what: str) -> tuple[Label, Code | None, str]:
    real_below, fake_above = bounds
    above, below = "that real faces very rarely reach", "under which few forgeries fall"
    if not is_measured:
        above = below = "that comes with the model and was not measured"
    if p_fake >= fake_above:
        score, high = percents(p_fake, fake_above)
        return "fake", None, f"{what} scores {score}, at or above the {high} {above}."
    if p_fake < real_below:
        score, low = percents(p_fake, real_below)
        return "real", None, f"{what} scores {score}, below the {low} {below}."
    score, low, high = percents(p_fake, real_below, fake_above)
    where = "where real and forged faces both occur" if is_measured else "lines that were not measured"
    reason = f"{what} scores {score}, between {low} and {high}, {where}."
    return "uncertain", Code.BETWEEN_THRESHOLDS, reason


def _video_verdict(
    reports: Sequence[TrackReport], bounds: tuple[float, float], n_people: int, thresholds: Thresholds
) -> Verdict:
    is_higher = bounds[1] > max(thresholds.fake_above, thresholds.real_below)
    if not reports:
        return Verdict(label="no_face", codes=(Code.NO_FACE,), reasons=("No face was found in any frame looked at.",))
    judged = [report for report in reports if report.p_fake is not None]
    if not judged:
        codes = tuple(dict.fromkeys(code for report in reports for code in report.codes))
        why = tuple(dict.fromkeys(reason for report in reports for reason in report.reasons))
        return Verdict(label="no_face", codes=codes, reasons=why[:3])
    worst = max(judged, key=lambda report: report.suspicion)
    reasons = list(worst.reasons)
    if len(judged) > 1:
        of = str(len(judged))
        if n_people < len(judged):
            of += f" appearances, which look like {plural(n_people, 'person', 'people')}"
        reasons[0] = f"Person {worst.id} is the most suspicious of {of}. {reasons[0]}"
    elif len(reports) > 1:
        reasons[0] = f"Only person {worst.id} could be judged. {reasons[0]}"
    others, codes = not_judged(reports), worst.codes
    if others:
        reasons.append(others)
        codes = (*codes, Code.NOT_ALL_JUDGED)
    if n_people > 1:
        if is_higher:
            reasons.append(
                f"With {n_people} people the bar for fake is higher, so that a crowd raises no more false alarms than "
                f"one person{_but_hardly_any(bounds[1], thresholds)}."
            )
        elif thresholds.is_for_one:
            reasons.append("The bar for fake is the one for a single person: the model's card has none for several.")
    if worst.suspicious_s and worst.label != "real":
        spans = ", ".join(_span(start, end) for start, end in telling_spans(worst, _SPANS_NAMED))
        n_more = len(worst.suspicious_s) - _SPANS_NAMED
        reasons.append(f"Most suspicious at {spans}{f' and {n_more} more' if n_more > 0 else ''}.")
    return Verdict(
        label=worst.label,
        p_fake=worst.p_fake,
        interval=worst.interval,
        thresholds=bounds,
        codes=codes,
        reasons=tuple(reasons),
    )


def _but_hardly_any(fake_above: float, thresholds: Thresholds) -> str:
    if thresholds.fakes_reach is None or fake_above <= sigmoid(thresholds.fakes_reach):
        return ""
    return "; of the fakes that the model was measured on no more than 1 in 20 reached it"


def _span(start_s: float, end_s: float) -> str:
    """
    >>> _span(0.52, 0.52), _span(745.5, 790.0)
    ('0:00.5', '12:25.5-13:10.0')
    """
    start, end = clock(start_s), clock(end_s)
    return start if start == end else f"{start}-{end}"


def _track_report(judged: JudgedTrack, *, label: Label, **fields: object) -> TrackReport:
    faces = judged.track.faces
    return TrackReport.model_validate(
        {
            "id": judged.track.id,
            "person": judged.track.person,
            "start_s": faces[0].pts_s,
            "end_s": faces[-1].pts_s,
            "p_fake": None,
            "label": label,
            "faces": [
                {
                    "pts_s": face.pts_s,
                    "box_xyxy": tuple(round(float(v), 2) for v in face.box_xyxy),
                    "p_fake": float(p) if np.isfinite(p) else None,
                    "source": face.source,
                    "confidence": float(face.confidence),
                }
                for face, p in zip(faces, judged.p_face, strict=True)
            ],
            **fields,
        }
    )


def _trimmed_mean(p: Float64Array) -> float:
    ordered = np.sort(p)
    cut = int(len(ordered) * _TRIM_FRAC)
    return float(ordered[cut : len(ordered) - cut].mean())


def _interval(score: _Score, calibration: Calibration) -> tuple[float, float] | None:
    half = None if score.mean_of is None else half_width(score.mean_of, trim_frac=_TRIM_FRAC)
    if half is None:
        return None
    low, high = sigmoid(score.odds + calibration.track_scale * half * np.array([-1.0, 1.0]))
    return float(low), float(high)


def _suspicious(
    pts_s: Float64Array, p_face: Float64Array, fake_above: float, calibration: Calibration
) -> tuple[tuple[float, float], ...]:
    """Union of the windows (or of single faces in a short track) that reach the `fake` threshold; none in a picture.

    Whoever quotes a span must find no face in it that was left out of it: only what overlaps or follows at once, and
    soon, is joined.
    """
    if pts_s[0] == pts_s[-1]:
        return ()
    spans = sliding_windows(pts_s, p_face) or [
        (float(t), float(t), float(log_odds(p))) for t, p in zip(pts_s, p_face, strict=True)
    ]
    merged: list[tuple[float, float]] = []
    for start, end, z in spans:
        if sigmoid(calibration.track_scale * z + calibration.track_bias) < fake_above:
            continue
        if merged and _follows(start, merged[-1][1], pts_s):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _follows(start_s: float, end_s: float, pts_s: Float64Array) -> bool:
    """Whether no face lies between, and not too long a time."""
    first, last = np.searchsorted(pts_s, (start_s, end_s))
    return bool(first <= last + 1 and start_s <= end_s + _JOINED_S)


__all__ = [
    "FAKES_BEYOND",
    "Calibration",
    "JudgedTrack",
    "Minimum",
    "Thresholds",
    "calibrate",
    "decide",
    "log_odds",
    "shortfall",
    "sigmoid",
    "sliding_windows",
    "track_log_odds",
]
