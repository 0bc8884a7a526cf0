"""Which frames are taken: a pure function of the times at which frames are shown."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from telltale.sampling import Kind, SamplePlan, Wanted, choose
from telltale.types import Float64Array

AT_30 = np.arange(300) / 30
UNEVEN = np.cumsum([0.0, 0.03, 0.5, 0.01, 0.01, 3.0, 0.2, 0.2, 0.2, 0.033, 0.033, 1.4])


def taken(pts_s: Float64Array, kind: Kind = "fps", value: float = 2.0, **kwargs: float) -> list[int]:
    indices: list[int] = choose(pts_s, SamplePlan(kind, value, **kwargs)).indices.tolist()  # type: ignore[arg-type]
    return indices


def test_two_a_second_are_every_fifteenth_at_thirty() -> None:
    assert taken(AT_30) == list(range(0, 300, 15))


def test_a_rate_above_the_clips_own_takes_every_frame_once() -> None:
    assert taken(AT_30, value=100) == list(range(300))


def test_a_tick_is_late_by_less_than_one_frame() -> None:
    times = AT_30 + 0.3
    for index, tick in zip(taken(times, value=7), np.arange(0, 10, 1 / 7), strict=True):
        assert -1e-9 <= times[index] - 0.3 - tick < 1 / 30


def test_variable_rate_is_sampled_by_time_not_by_number() -> None:
    assert taken(UNEVEN, value=1) == [0, 5, 8, 11]


def test_a_frame_shown_for_long_is_taken_once() -> None:
    assert taken(np.array([0.0, 10.0, 10.1]), value=2) == [0, 1]


def test_every_nth() -> None:
    assert taken(AT_30, "every", 100) == [0, 100, 200]


def test_uniform_covers_the_clip_by_time() -> None:
    assert taken(AT_30, "uniform", 3) == [50, 150, 250]
    assert taken(AT_30, "uniform", 1) == [150]
    assert taken(UNEVEN, "uniform", 4) == [4, 5, 10]  # the frame that is on screen for three seconds once


def test_uniform_of_more_than_there_are_takes_all_once() -> None:
    assert taken(AT_30[:5], "uniform", 50) == [0, 1, 2, 3, 4]


def test_first_and_all() -> None:
    assert taken(AT_30, "first", 20) == list(range(20))
    assert taken(AT_30, "all") == list(range(300))


def test_max_frames_stops_and_seconds_cuts() -> None:
    assert taken(AT_30, "fps", 2, max_frames=3) == [0, 15, 30]
    assert taken(AT_30, "fps", 2, seconds=1.0) == [0, 15]
    assert taken(AT_30, "uniform", 2, seconds=2.0) == [15, 45]
    assert taken(AT_30, "all", max_frames=2, seconds=0.01) == [0]


@pytest.mark.parametrize(
    ("plan", "ended_by"),
    [
        (SamplePlan(), None),
        (SamplePlan("uniform", 3), None),
        (SamplePlan(seconds=10), None),
        (SamplePlan(seconds=3), "seconds"),
        (SamplePlan("uniform", 3, seconds=3), "seconds"),
        (SamplePlan("first", 300), None),
        (SamplePlan("first", 299), "first"),
        (SamplePlan(max_frames=20), None),
        (SamplePlan(max_frames=19), "max_frames"),
        (SamplePlan(max_frames=5, seconds=3), "max_frames"),
        (SamplePlan(max_frames=6, seconds=3), "seconds"),
        (SamplePlan("all", cap=20), None),
    ],
    ids=str,
)
def test_a_plan_that_leaves_out_the_end_is_known_by_what_does(plan: SamplePlan, ended_by: str | None) -> None:
    assert choose(AT_30, plan).ended_by == ended_by


def test_the_cap_thins_over_the_whole_clip_and_says_so() -> None:
    choice = choose(AT_30, SamplePlan("all", cap=4))
    assert choice.indices.tolist() == [0, 100, 199, 299]
    assert choice.was_capped
    assert choice.n_wanted == 300


def test_who_sets_max_frames_has_set_the_limit() -> None:
    choice = choose(AT_30, SamplePlan("all", cap=4, max_frames=7))
    assert choice.indices.tolist() == list(range(7))
    assert not choice.was_capped


@pytest.mark.parametrize("kind", ["uniform", "first"])
def test_a_number_asked_for_is_not_capped(kind: Kind) -> None:
    choice = choose(AT_30, SamplePlan(kind, 100, cap=4))
    assert len(choice.indices) == 100
    assert not choice.was_capped


def test_nothing_comes_of_nothing() -> None:
    assert taken(np.empty(0)) == []
    assert taken(np.empty(0), "uniform", 5) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "sometimes"},
        {"value": 0.0},
        {"value": float("nan")},
        {"value": float("inf")},
        {"kind": "every", "value": 1.5},
        {"kind": "uniform", "value": 2.5},
        {"max_frames": 0},
        {"cap": -1},
        {"seconds": 0.0},
        {"max_side_px": 0},
    ],
    ids=str,
)
def test_a_plan_without_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SamplePlan(**wrong)  # type: ignore[arg-type]


def test_a_plan_travels_as_json() -> None:
    plan = SamplePlan("every", 5, max_frames=9, seconds=2.5, max_side_px=720)
    assert SamplePlan(**json.loads(json.dumps(dataclasses.asdict(plan)))) == plan
    adapter = TypeAdapter(SamplePlan)
    assert adapter.validate_json(adapter.dump_json(plan)) == plan


rising = st.lists(st.floats(0.001, 5), min_size=1, max_size=60).map(lambda steps: np.cumsum(np.array([0.0, *steps])))
plans = st.builds(
    SamplePlan,
    kind=st.sampled_from(["fps", "every", "uniform", "first", "all"]),
    value=st.integers(1, 40).map(float),
    max_frames=st.none() | st.integers(1, 30),
    cap=st.integers(1, 30),
    seconds=st.none() | st.floats(0.1, 50),
)


@given(rising, plans)
def test_whatever_the_plan_frames_are_taken_once_in_order_and_within_limits(
    pts_s: Float64Array, plan: SamplePlan
) -> None:
    choice = choose(pts_s, plan)
    indices = choice.indices
    assert len(indices) >= 1
    assert (np.diff(indices) > 0).all()
    assert indices[0] >= 0
    assert indices[-1] < len(pts_s)
    if plan.kind != "uniform":
        assert indices[0] == 0
    if plan.max_frames is not None:
        assert len(indices) <= plan.max_frames
    elif plan.kind in ("fps", "every", "all"):
        assert len(indices) <= plan.cap
    if plan.seconds is not None:
        assert pts_s[indices[-1]] < pts_s[0] + plan.seconds


@given(rising, st.floats(0.2, 50))
def test_no_stretch_with_frames_goes_unsampled(pts_s: Float64Array, fps: float) -> None:
    """Between two samples lies less than one period and one frame."""
    chosen = pts_s[choose(pts_s, SamplePlan("fps", fps, max_frames=10**9)).indices]
    for earlier, later in itertools.pairwise(chosen):
        before_later = pts_s[pts_s < later][-1]
        assert before_later - earlier <= 1 / fps + 1e-5


def test_what_is_not_named_stays_as_it_was() -> None:
    default = SamplePlan("uniform", 8, max_side_px=720)
    assert Wanted(all_frames=False).plan(default) == default
    assert Wanted(seconds=3).plan(default) == dataclasses.replace(default, seconds=3)
    assert Wanted(all_frames=True).plan(default) == SamplePlan("all", 1)


def test_the_default_rate_asked_for_is_the_default() -> None:
    default = SamplePlan("fps", 2, at_least=8, cap=300)
    assert Wanted(fps=2).plan(default) == default
    assert Wanted(fps=4, max_frames=9).plan(default) == SamplePlan("fps", 4, at_least=8, cap=300, max_frames=9)
    assert Wanted(fps=2).plan(SamplePlan("uniform", 8)) == SamplePlan("fps", 2)


def test_two_kinds_of_sampling_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="fps and all_frames exclude each other; choose one"):
        Wanted(fps=2, all_frames=True).plan(SamplePlan())
