"""What other frames of the same clip might have given."""

from __future__ import annotations

import numpy as np
import pytest

from telltale._interval import half_width, t_975
from telltale.aggregate import Calibration, JudgedTrack, Minimum, Thresholds, decide, log_odds, sigmoid
from telltale.types import Face, Float64Array, Track, Verdict


def verdict_of(*shots: Float64Array, calibration: Calibration | None = None) -> Verdict:
    """On one person seen in these shots, one after the other."""
    box, start, tracks = np.array([0, 0, 100, 100], np.float32), 0, list[JudgedTrack]()
    for number, p in enumerate(shots, start=1):
        faces = tuple(Face(i, i / 2, box, 0.99) for i in range(start, start + len(p)))
        tracks.append(JudgedTrack(Track(number, faces, person=1), p))
        start += len(p)
    return decide(
        tracks, calibration=calibration or Calibration(), thresholds=Thresholds(), minimum=Minimum(), is_still=False
    )[0]


def faces(n: int, alike: float, *, n_clips: int, middle: float, spread: float) -> Float64Array:
    """(n_clips, n): probabilities whose neighbours correlate by `alike` in log-odds."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(n_clips, n))
    for i in range(1, n):
        steps[:, i] = alike * steps[:, i - 1] + np.sqrt(1 - alike**2) * steps[:, i]
    return sigmoid(middle + spread * steps)


@pytest.mark.parametrize(("n", "alike"), [(8, 0.2), (20, 0.1), (20, 0.4), (120, 0.6), (120, 0.8), (600, 0.3)])
@pytest.mark.parametrize(("middle", "spread"), [(-2.5, 1.2), (0.0, 1.5), (3.7, 0.5)])
def test_other_frames_give_what_the_interval_says(n: int, alike: float, middle: float, spread: float) -> None:
    """With frames taken for independent, and the plain mean for the trimmed one, it was 43 to 90 in 100."""
    ordered = np.sort(faces(1, 0.0, n_clips=200_000, middle=middle, spread=spread)[:, 0])
    truth = float(log_odds(ordered[20_000:-20_000].mean()))
    holds = []
    for p in faces(n, alike, n_clips=400, middle=middle, spread=spread):
        half, cut = half_width(p, trim_frac=0.1), n // 10
        assert half is not None
        holds.append(abs(float(log_odds(np.sort(p)[cut : n - cut].mean())) - truth) <= half)
    assert 0.88 <= np.mean(holds) <= 0.98


def test_students_t_is_near_enough() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (2, 3, 5, 10, 30, 1000):
        assert t_975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_the_score_is_in_the_middle_in_log_odds() -> None:
    p = sigmoid(np.random.default_rng(1).normal(1.0, 1.0, size=6).repeat(2))
    for calibration in (Calibration(), Calibration(track_scale=1.6, track_bias=-0.5)):
        verdict = verdict_of(np.clip(p, 0.5, 0.9), calibration=calibration)
        assert verdict.interval is not None
        assert verdict.p_fake is not None
        low, high = log_odds(verdict.interval)
        assert (low + high) / 2 == pytest.approx(float(log_odds(verdict.p_fake)))


def test_of_a_few_faces_nothing_is_said_and_faces_that_agree_leave_no_doubt() -> None:
    assert verdict_of(np.linspace(0.4, 0.6, 7)).interval is None
    assert verdict_of(np.full(8, 0.5)).interval == (0.5, 0.5)


def test_where_a_part_of_the_clip_decides_there_is_none() -> None:
    """The spread over all frames is not that of three seconds."""
    calm, forged = np.full(60, 0.05), np.full(6, 0.999)
    assert verdict_of(np.concatenate([calm, forged, calm])).interval is None
    assert verdict_of(calm, np.full(8, 0.999), calm).interval is None, "one shot of three"


def test_of_a_speaker_in_several_shots_it_is_of_all_the_faces() -> None:
    p = sigmoid(np.random.default_rng(0).normal(2.0, 0.3, size=20))
    cut, whole = verdict_of(p[:5], p[5:12], p[12:]), verdict_of(p)
    assert whole.interval is not None
    assert cut.interval == pytest.approx(whole.interval)
