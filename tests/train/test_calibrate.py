from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from telltale import metrics
from telltale.aggregate import Calibration, Thresholds, calibrate, log_odds, sigmoid, track_log_odds
from telltale.cli._card import _reached
from telltale.train import _judge
from telltale.train._calibrate import (
    RATES,
    Clips,
    fit_platt,
    fit_thresholds,
    limits_of,
    limits_of_few,
    of_tracks,
    real_tail,
)
from telltale.train._judge import Answers, fit_reading, measure
from telltale.train._validation import ValidationSet
from telltale.types import Float64Array


def _scores(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], n)
    return np.where(label == 1, 1.5, -1.5) + rng.logistic(size=2 * n), label


def _clips(label: np.ndarray, source: np.ndarray | None = None, group: np.ndarray | None = None) -> Clips:
    """Each of one source and a group of its own, unless it is said."""
    each = np.arange(len(label)).astype(str)
    return Clips(
        label=label,
        source=np.full(len(label), "a") if source is None else source,
        group=each if group is None else group,
        track=each,
        pts_s=np.zeros(len(label)),
    )


def test_calibrated_logits_are_probabilities() -> None:
    logit, label = _scores()
    p = calibrate(3 * logit + 2, fit_platt(3 * logit + 2, label))
    assert metrics.ece(label, p) < 0.03
    assert metrics.log_loss(label, p) == pytest.approx(
        metrics.log_loss(label, calibrate(logit, fit_platt(logit, label)))
    )


def test_calibration_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    logit, label = _scores(500)
    found = fit_platt(logit, label)
    reference = LogisticRegression(C=1e6, tol=1e-8).fit(logit[:, None], label)
    assert found.scale == pytest.approx(reference.coef_[0, 0], abs=0.02)
    assert found.bias == pytest.approx(reference.intercept_[0], abs=0.02)


def test_classes_weigh_the_same_however_many_there_are() -> None:
    logit, label = _scores()
    many_fakes = np.concatenate([np.flatnonzero(label == 0), np.repeat(np.flatnonzero(label == 1), 3)])
    one, other = fit_platt(logit, label), fit_platt(logit[many_fakes], label[many_fakes])
    assert other.bias == pytest.approx(one.bias, abs=0.02)
    assert other.scale == pytest.approx(one.scale, abs=0.02)


def test_a_calibration_needs_both_classes() -> None:
    logit, label = _scores(50)
    with pytest.raises(ValueError, match="real and fake"):
        fit_platt(logit[label == 0], label[label == 0])


def test_a_model_that_learned_nothing_is_sure_of_nothing() -> None:
    logit, label = _scores(50)
    calibration = fit_platt(-logit, label, fitted_on="made")
    assert np.abs(calibrate(-logit, calibration) - 0.5).max() < 0.01
    assert "no better than chance" in calibration.fitted_on
    same = fit_platt(np.zeros(100), np.repeat([0, 1], 50))
    assert calibrate(np.zeros(1), same) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_loud_logits_that_know_little_are_turned_down(scale: float) -> None:
    """Newton from a scale of 1 swings to and fro for ever where the logits are large and nearly worthless."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 1600)
    logit = scale * rng.normal(0.2 * label, 3.0)
    found = fit_platt(logit, label)
    p = sigmoid(found.scale * logit + found.bias)
    assert 0.6 < -np.log(np.where(label == 1, p, 1 - p)).mean() < np.log(2)
    assert found.scale * scale == pytest.approx(fit_platt(logit / scale, label).scale, rel=1e-6)


def test_the_tail_is_counted_where_there_are_enough_and_fitted_where_not() -> None:
    rng = np.random.default_rng(0)
    many, few = rng.logistic(size=20_000), rng.logistic(size=200)
    at, counted = real_tail(many, 0.01)
    assert counted
    assert at == pytest.approx(np.log(99), abs=0.3)
    at, counted = real_tail(few, 0.001)
    assert not counted
    assert at == pytest.approx(np.log(999), rel=0.35)


def test_the_tail_falls_as_the_highest_reals_do_not_as_those_in_the_middle() -> None:
    """From median and upper tenth, normal scores would seem to reach 4.0 at one in a thousand."""
    draws = [np.random.default_rng(seed).normal(size=1200) for seed in range(20)]
    assert np.mean([real_tail(logit, 0.001)[0] for logit in draws]) == pytest.approx(3.09, abs=0.35)


@pytest.mark.parametrize("n", [100, 200, 500, 1200])
def test_several_people_raise_no_more_false_alarms_than_one_and_leave_fakes_to_be_found(n: int) -> None:
    others = np.random.default_rng(99).normal(-1.0, 1.0, size=20_000)
    label, alarms, found = np.repeat([0, 1], n), [], []
    for seed in range(40):
        logit = np.random.default_rng(seed).normal(4.0 * label - 1.0, 1.0)
        lines = fit_thresholds(_clips(label), logit, Calibration())
        bars = log_odds([lines.fake_above_for(people) for people in (1, 2, 4, 10)])
        alarms.append([1 - (others < bar).mean() ** people for bar, people in zip(bars, (1, 2, 4, 10), strict=True)])
        found.append([(logit[label == 1] >= bar).mean() for bar in bars])
    assert (np.mean(alarms, axis=0) < 0.014).all()
    assert np.mean(found, axis=0)[3] > 0.6


def test_the_card_says_what_hardly_any_fake_reaches() -> None:
    logit, label = _scores()
    calibration = fit_platt(logit, label)
    lines = fit_thresholds(_clips(label), logit, calibration)
    assert lines.fakes_reach is not None
    p = calibrate(logit, calibration)[label == 1]
    assert (p > float(sigmoid(lines.fakes_reach))).mean() == pytest.approx(0.05, abs=0.001)


def _scanned(logit: Float64Array, calibration: Calibration) -> Float64Array:
    """What a scan compares with the lines: the probability of a track of one face."""
    return sigmoid(log_odds(calibrate(logit, calibration)))


@pytest.mark.parametrize("n", [1, 12, 60, 199, 500, 599, 650, 1000, 1099])
@pytest.mark.parametrize("n_values", [0, 10], ids=["continuous", "votes of ten trees"])
def test_no_more_faces_lie_beyond_a_line_than_is_said(n: int, n_values: int) -> None:
    label = np.repeat([0, 1], n)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        logit = rng.normal(4.0 * label - 2.0, 1.0)
        if n_values:
            votes = rng.binomial(n_values, np.where(label == 1, 0.7, 0.25))
            logit = np.log((votes + 0.5) / (n_values - votes + 0.5))
        calibration = fit_platt(logit, label)
        lines = fit_thresholds(_clips(label), logit, calibration)
        p = _scanned(logit, calibration)
        assert (p[label == 0] >= lines.fake_above).mean() <= lines.false_positive_rate
        assert (p[label == 1] < lines.real_below).mean() <= lines.miss_rate
        assert all((p[label == 0] >= float(sigmoid(odds))).mean() <= rate for rate, odds in lines.tail)


def test_a_rate_of_few_groups_is_not_said_to_be_counted() -> None:
    logit, label = _scores(12)
    few = fit_thresholds(_clips(label), logit, fit_platt(logit, label))
    assert few.tail_extrapolated_below == 1.0
    assert not few.is_counted
    assert "12 real (too few groups for a rate: none of them reaches the line)" in few.population
    logit, label = _scores(4000)
    many = fit_thresholds(_clips(label), logit, fit_platt(logit, label))
    assert many.tail_extrapolated_below == 0.002
    assert many.is_counted


def test_the_card_says_how_many_real_faces_reached_the_line() -> None:
    few = Thresholds(tail_extrapolated_below=1.0, n_real=12)
    assert _reached(few).startswith("none of the 12 real faces it was measured on")
    assert "too few to count a rate" in _reached(few.model_copy(update={"n_real": 400}))
    many = Thresholds(tail_extrapolated_below=0.005, n_real=1288)
    assert _reached(many) == "reached by about 1% of the real faces it was measured on"


def test_the_worst_source_sets_the_fake_threshold() -> None:
    logit, label = _scores()
    source = np.where(label == 1, "a", np.where(np.arange(len(label)) % 2 == 0, "a", "b"))
    shifted = logit + 2 * ((source == "b") & (label == 0))
    calibration = fit_platt(shifted, label)
    thresholds = fit_thresholds(_clips(label, source), shifted, calibration)
    p = calibrate(shifted, calibration)
    rates = [(p[(source == name) & (label == 0)] >= thresholds.fake_above).mean() for name in ("a", "b")]
    assert rates[1] == pytest.approx(0.01, abs=0.003)
    assert rates[0] < rates[1]
    assert [rate for rate, _ in thresholds.tail] == list(RATES)
    odds = [at for _, at in thresholds.tail]
    assert odds == sorted(odds)
    assert thresholds.fake_above == pytest.approx(float(sigmoid(odds[2])))
    assert thresholds.tail_extrapolated_below == 0.005


def test_one_clip_is_no_tail_but_its_largest_logit_counts() -> None:
    logit, label = _scores()
    logit = np.append(logit, [5.0, 4.0, 3.0])
    label = np.append(label, [0, 0, 0])
    source = np.append(np.full(8000, "many"), ["clip"] * 3)
    group = np.append(np.arange(8000).astype(str), ["one"] * 3)
    calibration = fit_platt(logit, label)
    thresholds = fit_thresholds(_clips(label, source, group), logit, calibration)
    largest = float(calibrate(np.array([5.0]), calibration)[0])
    assert thresholds.fake_above > largest
    assert thresholds.fake_above == pytest.approx(largest)
    assert "clip 3 real (too few groups" in thresholds.population


def test_real_is_below_what_one_fake_in_twenty_falls_under() -> None:
    logit, label = _scores()
    calibration = fit_platt(logit, label)
    thresholds = fit_thresholds(_clips(label), logit, calibration)
    p = calibrate(logit, calibration)
    assert (p[label == 1] < thresholds.real_below).mean() == pytest.approx(0.05, abs=0.002)


def test_where_they_cross_fake_yields() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 2000)
    logit = np.where(label == 1, 8.0, -8.0) + rng.logistic(size=4000)
    thresholds = fit_thresholds(_clips(label), logit, fit_platt(logit, label))
    assert thresholds.fake_above == thresholds.real_below


def _tracks(n_clips: int, *, n_tracks: int = 60) -> tuple[Clips, Float64Array]:
    """Half of the tracks fake; clips agree with their track by 1 logit on average, with a spread of 2."""
    track = np.repeat(np.arange(n_tracks), n_clips)
    label = track % 2
    logit = np.random.default_rng(0).normal(2.0 * label - 1.0, 2.0)
    names = track.astype(str)
    pts_s = np.tile(np.arange(n_clips) / 2.0, n_tracks)
    shown = Clips(label=label, source=np.full(len(label), "made"), group=names, track=names, pts_s=pts_s)
    return shown, logit


def test_tracks_of_many_clips_are_calibrated_as_a_scan_judges_them() -> None:
    shown, logit = _tracks(12)
    faces = fit_platt(logit, shown.label)
    found = of_tracks(shown, logit, faces)
    assert found is not None
    calibration, thresholds = found
    assert (calibration.scale, calibration.bias) == (faces.scale, faces.bias)
    # twelve faces that agree are surer than one
    assert calibration.track_scale > 1.2
    odds = [
        track_log_odds(shown.pts_s[rows], calibrate(logit[rows], calibration), calibration)
        for rows in np.arange(len(logit)).reshape(60, 12)
    ]
    label = shown.label[::12]
    right = (sigmoid(odds) > 0.5) == label
    assert right.mean() > 0.9
    assert (sigmoid(np.array(odds)[label == 0]) > thresholds.fake_above).mean() <= 0.05
    assert thresholds.n_real == 30


def test_single_faces_are_their_own_tracks() -> None:
    shown, logit = _tracks(1)
    assert of_tracks(shown, logit, fit_platt(logit, shown.label)) is None


@pytest.mark.parametrize(("n_clips", "of"), [(1, "single pictures: "), (12, "tracks: ")])
def test_a_card_says_whether_its_lines_are_of_videos(n_clips: int, of: str) -> None:
    lines = fit_reading(_answers(*_tracks(n_clips)), None).thresholds
    assert lines.population.startswith(of)
    assert any("whole videos" in limit for limit in limits_of(lines)) == (n_clips == 1)


def _answers(shown: Clips, logit: Float64Array) -> Answers:
    """What a network said of the clips, of which nobody looks at the pixels."""
    n = len(logit)
    of = ValidationSet(
        clips=np.zeros((n, 1, 2, 2, 3), np.uint8), mask=np.ones((n, 1), bool), kind=np.full(n, "plain"),
        source=shown.source, label=shown.label, group=shown.group, track=shown.track, pts_s=shown.pts_s,
    )  # fmt: skip
    return Answers(of, logit, None)


@pytest.mark.parametrize("n_clips", [1, 12])
def test_a_card_says_what_a_scan_would_have_called_its_validation_tracks(n_clips: int) -> None:
    shown, logit = _tracks(n_clips, n_tracks=400)
    shown = replace(shown, source=np.where(shown.label == 1, "fakes", "reals"))
    answers = _answers(shown, logit)
    reading = fit_reading(answers, None)
    assert (reading.calibration.track_scale > 1.2) == (n_clips > 1)
    label = shown.label[::n_clips]
    p_face, lines = calibrate(logit, reading.calibration), reading.thresholds
    p = np.array(
        [
            float(sigmoid(track_log_odds(shown.pts_s[rows], p_face[rows], reading.calibration)))
            for rows in np.arange(len(logit)).reshape(400, n_clips)
        ]
    )
    figures = measure(answers, reading)
    for value, name in ((0, "real"), (1, "fake")):
        mine, said = p[label == value], figures[f"{name}s"][f"{name}_called"]
        assert said["fake"] == pytest.approx((mine >= lines.fake_above).mean(), abs=1e-4)
        assert said["real"] == pytest.approx((mine < lines.real_below).mean(), abs=1e-4)
    assert figures["reals"]["real_called"]["fake"] <= 0.01


def test_figures_of_a_face_or_two_have_no_intervals_that_are_no_numbers() -> None:
    found = _judge._balanced(np.array([0, 1]), np.array([0.2, 0.7]), np.array(["a", "a"]))
    assert found["auc"] == 1.0
    assert all(np.isfinite(bounds).all() for bounds in found["ci95"].values())


@pytest.mark.parametrize("n_clips", [1, 12])
def test_a_model_at_chance_calls_nothing_real_or_fake(n_clips: int) -> None:
    shown, logit = _tracks(n_clips, n_tracks=400)
    shown = replace(shown, source=np.where(shown.label == 1, "fakes", "reals"))
    reading = fit_reading(_answers(shown, -logit), None)
    assert (reading.thresholds.real_below, reading.thresholds.fake_above) == (0, 1)
    assert "calls nothing real or fake" in reading.limits[0]
    figures = measure(_answers(shown, -logit), reading)
    for name in ("real", "fake"):
        assert figures[f"{name}s"][f"{name}_called"] == {"real": 0, "uncertain": 1, "fake": 0}


def test_a_card_says_that_its_lines_were_drawn_by_a_handful() -> None:
    calibration = Calibration(fitted_on="made")
    label = np.repeat([0, 1], [50, 20])
    group = np.arange(70).astype(str)
    assert limits_of_few(label, group, calibration) == ()
    (few,) = limits_of_few(label[46:54], group[46:54], calibration)
    assert few.startswith("Its lines were drawn by 4 fakes and the reals of 4 groups: too few to measure a rate of 1%")
