"""How the answers of a network are read: calibration, thresholds and gate from validation, then figures by source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale import metrics
from telltale._cores import usable_cores
from telltale.aggregate import Calibration, Thresholds, calibrate, sigmoid
from telltale.export import onnx_outputs
from telltale.gate import Gate
from telltale.train import _calibrate, _validation
from telltale.train._progress import waiting
from telltale.types import BoolArray, Float64Array


@dataclass(frozen=True)
class Answers:
    """What an exported network says of faces."""

    of: _validation.ValidationSet
    logit: Float64Array
    """(N,)"""
    pooled: Float64Array | None
    """(N, C) its features, averaged over places; None where it gives none."""


def ask(graph: Path, of: _validation.ValidationSet) -> Answers:
    with waiting("judging faces", len(of)) as step:
        logit, pooled = onnx_outputs(graph, of.clips, mask=of.mask, n_threads=usable_cores(), on_done=step)
    return Answers(of, logit, pooled)


@dataclass(frozen=True)
class Reading:
    """What a card says of how to read a network's logits."""

    calibration: Calibration
    thresholds: Thresholds
    gate: Gate | None
    limits: tuple[str, ...] = ()

    def is_strange(self, answers: Answers) -> BoolArray:
        """(N,): beyond the gate, so not called fake."""
        return _beyond(self.gate, answers)


def fit_reading(answers: Answers, gate: Gate | None) -> Reading:
    """`answers` are those on all of validation. Raises ValueError where they are of one class."""
    of, logit = answers.of, answers.logit
    known, clips = _known(of), _clips(of)
    calibration = _calibrate.fit_platt(logit[known], of.label[known], fitted_on=_population(of))

    def limits(read: Calibration) -> tuple[str, ...]:
        return _calibrate.limits_of_few(of.label[known], of.group[known], read)

    whole = _calibrate.of_tracks(clips.take(known), logit[known], calibration)
    if whole is not None:
        return Reading(*whole, gate, limits(whole[0]))
    # people beyond the gate are never called fake, so they do not set the line; whole tracks all do
    lines = known & ~(strangers(_beyond(gate, answers), of.group, of.label) & (of.label == 0))
    each = "single pictures" if of.clips.shape[1] == 1 else "single clips"
    thresholds = _calibrate.fit_thresholds(clips.take(lines), logit[lines], calibration, each=each)
    return Reading(calibration, thresholds, gate, limits(calibration))


def _beyond(gate: Gate | None, answers: Answers) -> BoolArray:
    if gate is None or answers.pooled is None:
        return np.zeros(len(answers.of), bool)
    return np.asarray(gate.distance(answers.pooled) > gate.limit)


def strangers(is_strange: BoolArray, group: npt.NDArray[np.str_], label: npt.NDArray[np.int64]) -> BoolArray:
    """(N,): the faces of those of whose faces more than half are beyond the gate. A scan judges people, not faces, and
    takes the median of their distances (`aggregate`)."""
    _, person = np.unique(np.char.add(group, np.char.mod("#%d", label)), return_inverse=True)
    return np.asarray((np.bincount(person, is_strange) / np.bincount(person) > 0.5)[person])


def _known(of: _validation.ValidationSet) -> BoolArray:
    """(N,): what calibration is fitted on: the faces as they are, and blends of the reals where no face is fake."""
    plain = of.kind == "plain"
    if (of.label[plain] == 1).any():
        return np.asarray(plain)
    return np.asarray(plain | (of.kind == "blend"))


def _clips(of: _validation.ValidationSet) -> _calibrate.Clips:
    """A blend is on another track than the real it was made of."""
    track = np.char.add(of.track, np.char.add("/", of.kind))
    return _calibrate.Clips(label=of.label, source=of.source, group=of.group, track=track, pts_s=of.pts_s)


def _population(of: _validation.ValidationSet) -> str:
    known = _known(of)
    blended = "self-blended" if (of.kind[known] == "blend").any() else "fake"
    parts = []
    for source in sorted(set(of.source.tolist())):
        rows = known & (of.source == source)
        parts.append(f"{source} {int((of.label[rows] == 0).sum())} real {int((of.label[rows] == 1).sum())} {blended}")
    return "validation faces: " + ", ".join(parts)


def measure(answers: Answers, reading: Reading) -> dict[str, Any]:
    """Figures by source: those of `metrics.figures`, of single faces, where both classes are there, and what the tracks
    of each class were called."""
    of, p, is_strange = answers.of, calibrate(answers.logit, reading.calibration), reading.is_strange(answers)
    clips = _clips(of)
    found: dict[str, Any] = {}
    for source in sorted(set(of.source.tolist())):
        here, plain = of.source == source, of.kind == "plain"
        rows = here & plain
        entry: dict[str, Any] = {"n_real": int((of.label[rows] == 0).sum()), "n_fake": int((of.label[rows] == 1).sum())}
        for label, name in ((0, "real"), (1, "fake")):
            if (rows & (of.label == label)).any():
                ours = rows & (of.label == label)
                entry[f"{name}_called"] = called(clips.take(ours), answers.logit[ours], reading, is_strange[ours])
        if entry["n_real"] and entry["n_fake"]:
            entry |= _balanced(of.label[rows], p[rows], of.group[rows])
            for kind in ("jpeg30", "half"):
                entry[f"auc_{kind}"] = _rounded(
                    metrics.auc(of.label[here & (of.kind == kind)], p[here & (of.kind == kind)])
                )
        blended = here & ((of.kind == "blend") | (plain & (of.label == 0)))
        if (of.kind[blended] == "blend").any() and entry["n_real"]:
            entry["auc_blend"] = _rounded(metrics.auc(of.label[blended], p[blended]))
        found[source] = entry
    return found


def called(clips: _calibrate.Clips, logit: Float64Array, reading: Reading, is_strange: BoolArray) -> dict[str, float]:
    """Shares of the tracks called real, uncertain and fake, as a scan calls them; a picture is a track of one face."""
    odds, limits = _calibrate.odds_of_tracks(clips, logit, reading.calibration), reading.thresholds
    p, (track, _) = sigmoid(odds), _calibrate.tracks(clips)
    above = p >= max(limits.fake_above, limits.real_below)
    fake = above & ~(np.bincount(track, is_strange) / np.bincount(track) > 0.5)
    real = ~above & (p < limits.real_below)
    return {
        "real": _rounded(float(real.mean())),
        "uncertain": _rounded(float((~fake & ~real).mean())),
        "fake": _rounded(float(fake.mean())),
    }


def _balanced(label: npt.NDArray[np.int64], p: Float64Array, groups: npt.NDArray[np.str_]) -> dict[str, Any]:
    """Every figure on as many reals as fakes, taken evenly from the larger class, with intervals over groups."""
    sides = [np.flatnonzero(label == value) for value in (0, 1)]
    n = min(len(side) for side in sides)
    rows = np.concatenate([_validation.spread(side, n) for side in sides])
    y, q, of_row = label[rows], p[rows], groups[rows]
    found: dict[str, Any] = {"balanced_n": 2 * n}
    found |= {name: _rounded(value) for name, value in metrics.figures(y, q).items()}
    intervals = metrics.bootstrap_figures(y, q, groups=of_row, rng=np.random.default_rng(0))
    found["ece_by_chance"] = _rounded(metrics.ece_by_chance(q, rng=np.random.default_rng(1)))
    found["ci95"] = {
        name: [_rounded(low), _rounded(high)]
        for name, (low, high) in intervals.items()
        if np.isfinite([low, high]).all()  # of one group, say, there is none
    }
    return found


def _rounded(x: float) -> float:
    return round(x, 4)
