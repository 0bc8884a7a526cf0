"""From logits to a verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from telltale._text import clock
from telltale.aggregate import (
    Calibration,
    JudgedTrack,
    Minimum,
    Thresholds,
    calibrate,
    decide,
    log_odds,
    sigmoid,
    track_log_odds,
)
from telltale.sampling import SamplePlan, choose
from telltale.types import Code, Face, Track, Verdict

TAIL = ((0.05, 0.0), (0.01, 2.0), (0.001, 4.5))
THRESHOLDS = Thresholds(real_below=0.3, fake_above=float(sigmoid(2.0)), tail=TAIL)


def judged(
    p: list[float],
    *,
    track_id: int = 0,
    fps: float = 2.0,
    pts_s: list[float] | None = None,
    size_px: float = 100.0,
    interpolated: tuple[int, ...] = (),
) -> JudgedTrack:
    box = np.array([0, 0, size_px, size_px], np.float32)
    times_s = [i / fps for i in range(len(p))] if pts_s is None else pts_s
    faces = tuple(
        Face(i, at_s, box, 0.99, source="interpolated" if i in interpolated else "detected")
        for i, at_s in enumerate(times_s)
    )
    return JudgedTrack(Track(track_id, faces), np.array(p))


def verdict_of(*tracks: JudgedTrack, is_still: bool = False, thresholds: Thresholds = THRESHOLDS) -> Verdict:
    verdict, _ = decide(tracks, calibration=Calibration(), thresholds=thresholds, minimum=Minimum(), is_still=is_still)
    return verdict


def test_a_steadily_suspicious_face_is_fake() -> None:
    verdict = verdict_of(judged([0.95] * 8))
    assert verdict.label == "fake"
    assert verdict.p_fake == pytest.approx(0.95)


def test_a_steadily_innocent_face_is_real() -> None:
    assert verdict_of(judged([0.05] * 8)).label == "real"


def test_between_the_thresholds_it_is_uncertain_and_says_why() -> None:
    verdict = verdict_of(judged([0.5] * 8))
    assert verdict.label == "uncertain"
    assert verdict.codes == (Code.BETWEEN_THRESHOLDS,)
    assert "30%" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.916, "The face scores 91.6%, between 25.6% and 91.8%, where"),
        (0.2589, "The face scores 25.9%, between 25.6% and 91.8%, where"),
        (0.25599, "The face scores 25.60%, below the 25.62% under which"),
        (0.9191, "The face scores 91.9%, at or above the 91.8% that"),
        (0.5, "The face scores 50%, between 26% and 92%, where"),
        (0.95, "The face scores 95%, at or above the 92% that"),
    ],
)
def test_a_score_near_a_line_reads_unlike_it(p: float, said: str) -> None:
    thresholds = Thresholds(real_below=0.2562, fake_above=0.9177, n_real=100, n_fake=100)
    assert verdict_of(judged([p] * 8), thresholds=thresholds).reasons[0].startswith(said)


@pytest.mark.parametrize("p", [0.05, 0.95])
def test_lines_that_nobody_measured_are_not_said_to_be_rarely_reached(p: float) -> None:
    reason = verdict_of(judged([p] * 8), thresholds=Thresholds(n_real=0, n_fake=0)).reasons[0]
    assert reason.endswith("% that comes with the model and was not measured.")
    between = verdict_of(judged([0.5] * 8), thresholds=Thresholds(n_real=0, n_fake=0)).reasons[0]
    assert between.endswith("%, lines that were not measured.")


def test_no_face_is_no_score() -> None:
    verdict = verdict_of()
    assert (verdict.label, verdict.p_fake) == ("no_face", None)


def test_too_few_detected_faces_are_no_score_however_many_are_interpolated() -> None:
    verdict = verdict_of(judged([0.99] * 6, interpolated=(1, 2, 3, 4)))
    assert (verdict.label, verdict.p_fake, verdict.codes) == ("no_face", None, (Code.TOO_FEW_FACES,))
    assert verdict.reasons[0].startswith("The face was found in 2 of the frames"), "the first reason is all a table has"
    assert "--fps 10" in verdict.reasons[0]


def test_one_face_is_enough_for_a_still() -> None:
    assert verdict_of(judged([0.99]), is_still=True).label == "fake"


def test_a_small_face_is_no_score() -> None:
    verdict = verdict_of(judged([0.99] * 8, size_px=20))
    assert (verdict.label, verdict.codes) == ("no_face", (Code.TOO_SMALL,))


def test_a_track_that_cannot_be_judged_does_not_hide_one_that_can() -> None:
    verdict, tracks = decide(
        [judged([0.99] * 2), judged([0.05] * 8, track_id=1)],
        calibration=Calibration(),
        thresholds=THRESHOLDS,
        minimum=Minimum(),
        is_still=False,
    )
    assert verdict.label == "real"
    assert [track.p_fake is None for track in tracks] == [True, False]


def test_a_verdict_names_whom_it_is_on_and_counts_those_who_could_not_be_judged() -> None:
    verdict = verdict_of(judged([0.05] * 8), judged([0.99] * 2, track_id=1))
    assert (verdict.label, verdict.codes) == ("real", (Code.NOT_ALL_JUDGED,))
    assert verdict.reasons[0].startswith("Only person 0 could be judged. The face scores 5%, below")
    assert verdict.reasons[1] == "1 more person was seen but not judged: too few frames."
    small = [judged([0.99] * 8, track_id=i, size_px=20) for i in (2, 3)]
    verdict = verdict_of(judged([0.99] * 8), judged([0.99] * 2, track_id=1), *small)
    assert verdict.label == "fake"
    told = "3 more people were seen but not judged: too small a face (2), too few frames (1)."
    assert told in verdict.reasons


def test_who_was_judged_in_another_shot_is_no_other_person() -> None:
    again = replace(judged([0.9] * 2, track_id=1), track=replace(judged([0.9] * 2, track_id=1).track, person=0))
    verdict = verdict_of(appearance(0.05, 0, 0), again)
    assert (verdict.label, verdict.codes, len(verdict.reasons)) == ("real", (), 1)
    assert verdict.reasons[0].startswith("Only person 0 could be judged.")


def test_three_forged_seconds_in_a_minute_show() -> None:
    p = [0.05] * 120
    p[60:66] = [0.999] * 6
    verdict, (track,) = decide(
        [judged(p)], calibration=Calibration(), thresholds=THRESHOLDS, minimum=Minimum(), is_still=False
    )
    assert verdict.label == "fake"
    (span,) = track.suspicious_s
    assert span[0] == pytest.approx(30.0, abs=1.6)
    assert span[1] == pytest.approx(33.0, abs=1.6)


@pytest.mark.parametrize("seconds", [13, 30, 61, 120])
def test_a_moment_counts_the_same_wherever_it_is(seconds: int) -> None:
    """Two seconds at the end were taken for a window of twelve or sixty, of which there are few."""
    calm = [0.05] * (2 * seconds)
    scores = []
    for first in (seconds, 2 * seconds - 4):
        p = [*calm[:first], *[0.97] * 4, *calm[first + 4 :]]
        scores.append(verdict_of(judged(p)).p_fake)
    assert scores[1] == pytest.approx(scores[0], abs=0.02)


def frame_times(fps: float, n_samples: int) -> list[float]:
    """When the first `n_samples` of two a second are shown. 0 fps: a phone's, which come as they like."""
    if fps == 0:
        pts_s = np.cumsum(np.random.default_rng(3).uniform(0.02, 0.06, size=40 * n_samples))
    else:
        pts_s = np.arange(round(n_samples * fps)) / fps
    times_s: list[float] = pts_s[choose(pts_s, SamplePlan()).indices][:n_samples].tolist()
    return times_s


@pytest.mark.parametrize("n_samples", [26, 27, 28, 29])
@pytest.mark.parametrize("fps", [25.0, 15.0, 30_000 / 1001, 0.0])
def test_three_forged_seconds_count_alike_at_the_start_in_the_middle_and_at_the_end(fps: float, n_samples: int) -> None:
    """No whole number of frames of 25 fps lasts half a second: the last window ended .02 s too late."""
    pts_s = frame_times(fps, n_samples)
    for first in (0, n_samples // 2, n_samples - 6):
        p = [0.999 if first <= i < first + 6 else 0.05 for i in range(n_samples)]
        verdict, (track,) = decide(
            [judged(p, pts_s=pts_s)],
            calibration=Calibration(),
            thresholds=THRESHOLDS,
            minimum=Minimum(),
            is_still=False,
        )
        assert verdict.p_fake == pytest.approx(0.996, abs=0.001)
        (span,) = track.suspicious_s
        assert span[0] <= pts_s[first + 1]
        assert span[1] >= pts_s[first + 4]


@pytest.mark.parametrize("step_s", [0.5, 1.001, 1.5, 6.0])
def test_two_forged_minutes_show_however_sparsely_a_long_video_is_looked_at(step_s: float) -> None:
    pts_s = np.arange(0, 900, step_s)
    p = np.where((pts_s > 400) & (pts_s < 520), 0.999, 0.05)
    verdict, (track,) = decide(
        [judged(p.tolist(), fps=1 / step_s)],
        calibration=Calibration(),
        thresholds=THRESHOLDS,
        minimum=Minimum(),
        is_still=False,
    )
    assert verdict.label == "fake"
    (span,) = track.suspicious_s
    assert span == pytest.approx((400, 520), abs=max(3.0, 4 * step_s))


def test_half_a_video_forged_shows_as_one_stretch_of_it_not_as_one_of_many_moments() -> None:
    p = [0.05] * 240 + [0.97] * 240
    assert verdict_of(judged(p)).label == "fake"


def suspicious(
    p: list[float], *, fps: float = 2.0, is_still: bool = False
) -> tuple[Verdict, list[tuple[float, float]]]:
    thresholds = Thresholds(real_below=0.3, fake_above=0.9)
    verdict, (track,) = decide(
        [judged(p, fps=fps)], calibration=Calibration(), thresholds=thresholds, minimum=Minimum(), is_still=is_still
    )
    return verdict, list(track.suspicious_s)


def test_a_face_below_the_line_parts_what_is_suspicious() -> None:
    verdict, spans = suspicious([0.99, 0.2, 0.99, 0.99, 0.99])
    assert spans == [(0.0, 0.0), (1.0, 2.0)]
    assert verdict.reasons[-1] == "Most suspicious at 0:00.0, 0:01.0-0:02.0."
    _, spans = suspicious([0.99] * 8 + [0.2] + [0.99] * 8)
    assert spans == [(0.0, 3.5), (4.5, 8.0)], "windows reach the line on both sides of that face, none with it"


def test_faces_that_were_looked_at_far_apart_are_no_span() -> None:
    assert suspicious([0.99, 0.99, 0.99], fps=0.1)[1] == [(0.0, 0.0), (10.0, 10.0), (20.0, 20.0)]


def test_of_many_suspicious_moments_those_that_score_highest_are_named_and_the_rest_counted() -> None:
    stretches = [[0.2] * 10 + [high] * 8 for high in (0.93, 0.99, 0.94, 0.98, 0.97)]
    verdict, spans = suspicious([p for stretch in stretches for p in stretch])
    assert len(spans) == 5
    named = ", ".join(f"{clock(start)}-{clock(end)}" for start, end in (spans[1], spans[3], spans[4]))
    assert verdict.reasons[-1] == f"Most suspicious at {named} and 2 more."


def test_a_picture_has_no_seconds() -> None:
    verdict, spans = suspicious([0.99], is_still=True)
    assert (verdict.label, spans) == ("fake", [])
    assert len(verdict.reasons) == 1


def test_one_odd_frame_in_a_minute_does_not_make_a_fake() -> None:
    p = [0.05] * 120
    p[60] = 0.999
    assert verdict_of(judged(p)).label == "real"


def test_looking_longer_does_not_by_itself_raise_the_score() -> None:
    rng = np.random.default_rng(0)
    pools = [rng.beta(2, 6, size=n) for n in (12, 600)]
    short, long = (track_log_odds(np.arange(len(p)) / 2, p, Calibration()) for p in pools)
    assert long < short + 0.5


def test_the_most_suspicious_person_decides() -> None:
    verdict = verdict_of(judged([0.05] * 8), judged([0.99] * 8, track_id=1))
    assert verdict.label == "fake"
    assert "Person 1" in verdict.reasons[0]


def test_a_crowd_raises_the_bar() -> None:
    person = [0.9] * 8
    assert verdict_of(judged(person)).label == "fake"
    crowd = [judged([0.05] * 8, track_id=i) for i in range(29)]
    verdict = verdict_of(judged(person, track_id=29), *crowd)
    assert verdict.label == "uncertain"
    assert "With 30 people the bar for fake is higher" in " ".join(verdict.reasons)


def test_a_bar_that_hardly_any_fake_reached_is_said_to_be_one() -> None:
    thresholds = THRESHOLDS.model_copy(update={"fakes_reach": 2.8})
    for n_others, is_said in ((1, False), (9, True)):
        crowd = [judged([0.05] * 8, track_id=i) for i in range(n_others)]
        verdict = verdict_of(judged([0.9] * 8, track_id=99), *crowd, thresholds=thresholds)
        assert ("no more than 1 in 20 reached it." in verdict.reasons[1]) == is_said


def appearance(p: float, track_id: int, person: int | None) -> JudgedTrack:
    of = judged([p] * 8, track_id=track_id)
    return replace(of, track=replace(of.track, person=person))


def test_cuts_do_not_raise_the_bar_for_one_person() -> None:
    speaker = [appearance(0.9, track_id, 1) for track_id in range(1, 8)]
    verdict = verdict_of(*speaker)
    assert verdict.label == "fake"
    assert verdict.thresholds == verdict_of(judged([0.9] * 8)).thresholds
    assert verdict.reasons[0].startswith(
        "Person 1 is the most suspicious of 7 appearances, which look like 1 person. The face"
    )
    assert "people" not in " ".join(verdict.reasons)


def shots(p: np.ndarray, n: int, *, person: int | None = 1) -> list[JudgedTrack]:
    """One speaker's faces, cut into `n` shots."""
    parts = enumerate(np.array_split(p, n), start=1)
    return [
        replace(of, track=replace(of.track, person=person))
        for i, part in parts
        for of in [judged(list(part), track_id=i)]
    ]


def test_cuts_make_no_real_speaker_suspicious() -> None:
    """The highest of twenty shots is high by chance: each was judged as if nobody had looked at the others."""
    p = sigmoid(np.random.default_rng(0).normal(-2.0, 1.5, size=80))
    whole = verdict_of(judged(list(p)))
    assert whole.label == "real"
    for n in (5, 10, 20):
        cut = verdict_of(*shots(p, n))
        assert cut.label == "real"
        assert cut.p_fake == pytest.approx(whole.p_fake, abs=0.05)


def test_cuts_leave_a_speaker_who_is_forged_throughout_fake() -> None:
    p = sigmoid(np.random.default_rng(0).normal(3.0, 1.0, size=80))
    for n in (1, 20):
        verdict = verdict_of(*shots(p, n))
        assert verdict.label == "fake"
        assert verdict.p_fake == pytest.approx(verdict_of(judged(list(p))).p_fake, abs=0.02)


def test_of_one_forged_shot_the_odds_are_divided_by_the_number_of_shots() -> None:
    p = np.repeat([0.05, 0.95, 0.05, 0.05], 8)
    verdict, tracks = decide(
        shots(p, 4), calibration=Calibration(), thresholds=THRESHOLDS, minimum=Minimum(), is_still=False
    )
    assert log_odds(verdict.p_fake or 0) == pytest.approx(log_odds(0.95) - np.log(4))
    assert [track.p_fake for track in tracks] == pytest.approx([0.05, verdict.p_fake, 0.05, 0.05])
    assert [track.label for track in tracks] == ["real", "uncertain", "real", "real"]
    assert verdict.reasons[1].startswith("These moments alone would score 95%; of 4 appearances")
    alone = verdict_of(*shots(p, 4, person=None))
    assert alone.p_fake == pytest.approx(0.95), "nobody knows that these are one person"


def test_people_count_once_each_however_often_they_appear() -> None:
    twice_each = [appearance(0.05, track_id, track_id % 3) for track_id in range(6)]
    verdict = verdict_of(*twice_each)
    assert verdict.thresholds == verdict_of(*twice_each[:3]).thresholds
    assert "of 6 appearances, which look like 3 people." in verdict.reasons[0]
    assert "With 3 people the bar" in " ".join(verdict.reasons)


def test_only_people_who_can_be_judged_count() -> None:
    hardly_seen = judged([0.9] * 2, track_id=0)
    again = [appearance(0.9, track_id, 0) for track_id in (1, 2)]
    assert verdict_of(hardly_seen, *again).thresholds == verdict_of(judged([0.9] * 8)).thresholds


def test_tracks_that_nobody_compared_are_people_of_their_own() -> None:
    assert verdict_of(*[appearance(0.05, track_id, None) for track_id in range(3)]).thresholds == verdict_of(
        *[appearance(0.05, track_id, track_id) for track_id in range(3)]
    ).thresholds  # fmt: skip


def test_a_model_without_a_tail_does_not_say_that_the_bar_was_raised() -> None:
    verdict = verdict_of(judged([0.9] * 8), judged([0.05] * 8, track_id=1), thresholds=Thresholds())
    assert verdict.thresholds == (Thresholds().real_below, Thresholds().fake_above)
    assert "the one for a single person" in " ".join(verdict.reasons)


def test_a_tail_that_is_flat_has_no_bar_for_several_either() -> None:
    """Of few groups the largest score counts, at every rate."""
    flat = Thresholds(fake_above=float(sigmoid(1.0)), tail=((0.05, 1.0), (0.01, 1.0), (0.001, 1.0)))
    verdict = verdict_of(judged([0.9] * 8), judged([0.05] * 8, track_id=1), thresholds=flat)
    assert "the one for a single person" in " ".join(verdict.reasons)
    rising = flat.model_copy(update={"tail": ((0.05, 1.0), (0.01, 1.0), (0.001, 2.0))})
    verdict = verdict_of(judged([0.9] * 8), judged([0.05] * 8, track_id=1), thresholds=rising)
    assert "the bar for fake is higher" in " ".join(verdict.reasons)


def test_a_crowd_of_real_faces_raises_no_more_false_alarms_than_one() -> None:
    rng = np.random.default_rng(1)
    # Real tracks whose log-odds have just the tail that the card states: rate(z) = .01 * exp(-(z - 2) * k).
    k = np.log(10) / 2.5
    z = np.minimum((-np.log(rng.random((2000, 30)) * 100) / k) + 2.0, 12.0)
    threshold = float(log_odds(THRESHOLDS.fake_above_for(30)))
    alarms = float((z.max(axis=1) >= threshold).mean())
    assert 0.003 < alarms < 0.02


def test_the_threshold_never_falls_with_more_people() -> None:
    bars = [THRESHOLDS.fake_above_for(n) for n in (1, 2, 5, 30, 1000)]
    assert bars == sorted(bars)
    assert bars[-1] < 1.0


def test_where_the_thresholds_cross_fake_yields() -> None:
    crossed = Thresholds(real_below=0.8, fake_above=0.6)
    assert verdict_of(judged([0.7] * 8), thresholds=crossed).label == "real"
    assert verdict_of(judged([0.9] * 8), thresholds=crossed).label == "fake"


def test_a_face_without_a_score_is_null_in_the_report() -> None:
    _, (track,) = decide(
        [judged([0.9, float("nan"), 0.9, 0.9])],
        calibration=Calibration(),
        thresholds=THRESHOLDS,
        minimum=Minimum(),
        is_still=False,
    )
    assert [face.p_fake is None for face in track.faces] == [False, True, False, False]


def test_calibration_is_a_line_through_the_log_odds() -> None:
    p = calibrate(np.array([-1.0, 0.0, 2.0], np.float32), Calibration(method="platt", scale=2.0, bias=-1.0))
    np.testing.assert_allclose(log_odds(p), [-3.0, -1.0, 3.0], rtol=1e-6)


def test_extreme_logits_stay_finite() -> None:
    assert np.isfinite(log_odds(calibrate(np.array([-1e4, 1e4]), Calibration()))).all()


class TestGate:
    """What the model does not know is not called fake."""

    @staticmethod
    def seen(p: float, distance: float, track_id: int = 0) -> JudgedTrack:
        of = judged([p] * 8, track_id=track_id)
        return replace(of, distance=np.full(8, distance))

    @staticmethod
    def said(*tracks: JudgedTrack, farthest: float | None = 1.5) -> Verdict:
        return decide(
            tracks, calibration=Calibration(), thresholds=THRESHOLDS, minimum=Minimum(), is_still=False,
            farthest=farthest,
        )[0]  # fmt: skip

    def test_a_strange_face_is_uncertain_instead_of_fake_and_says_why(self) -> None:
        verdict = self.said(self.seen(0.95, 2.0))
        assert verdict.label == "uncertain"
        assert verdict.codes == (Code.OUT_OF_DOMAIN,)
        assert "unlike the faces that the model learned from" in verdict.reasons[0]
        assert verdict.p_fake == pytest.approx(0.95)

    def test_nothing_else_changes(self) -> None:
        assert self.said(self.seen(0.95, 1.0)).label == "fake"
        assert self.said(self.seen(0.95, 2.0), farthest=None).label == "fake"
        assert self.said(judged([0.95] * 8)).label == "fake"
        assert self.said(self.seen(0.95, float("nan"))).label == "fake"
        assert self.said(self.seen(0.05, 2.0)).label == "real"

    def test_one_strange_frame_makes_no_strange_person(self) -> None:
        of = replace(self.seen(0.95, 1.0), distance=np.array([1.0] * 7 + [99.0]))
        assert self.said(of).label == "fake"

    def test_a_strange_person_does_not_hide_a_fake_one(self) -> None:
        assert self.said(self.seen(0.9999, 2.0), self.seen(0.999, 1.0, track_id=1)).label == "fake"
        assert self.said(self.seen(0.9999, 2.0), self.seen(0.05, 1.0, track_id=1)).label == "uncertain"
