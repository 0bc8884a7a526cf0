"""Times made monotonic, and counted when they had to be changed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale._timestamps import NO_PTS, Clock, Timeline, build


def line(pts: list[int], *, start_pts: int | None = 0, knows_display_order: bool = True) -> Timeline:
    return build(
        np.array(pts, np.int64),
        time_base_s=0.01,
        interval_s=0.04,
        start_pts=start_pts,
        knows_display_order=knows_display_order,
    )


def test_packets_in_decoding_order_are_put_in_display_order() -> None:
    timeline = line([0, 12, 4, 8, 24, 16, 20])
    assert timeline.pts is not None
    assert timeline.pts.tolist() == [0, 4, 8, 12, 16, 20, 24]
    assert timeline.decoded_at is not None
    assert timeline.decoded_at.tolist() == [0, 2, 3, 1, 5, 6, 4]
    assert timeline.times_s == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24])
    assert timeline.interval_s == pytest.approx(0.04)
    assert timeline.end_s == pytest.approx(0.28)


def test_without_any_times_they_are_counted_from_the_frame_rate() -> None:
    timeline = line([NO_PTS] * 4)
    assert timeline.pts is None
    assert timeline.times_s == pytest.approx([0, 0.04, 0.08, 0.12])


def test_time_counts_from_the_beginning_of_the_file() -> None:
    assert line([100, 104], start_pts=90).times_s == pytest.approx([0.1, 0.14])


def test_a_picture_may_begin_long_after_the_sound() -> None:
    assert line([7000, 7004], start_pts=0).times_s == pytest.approx([70, 70.04])
    assert line([350_000, 350_004], start_pts=0).times_s == pytest.approx([3500, 3500.04])


@pytest.mark.parametrize("start_pts", [None, 5000, -360_000, -(1 << 40)])
def test_a_beginning_that_cannot_be_is_not_believed(start_pts: int | None) -> None:
    assert line([100, 104], start_pts=start_pts).times_s == pytest.approx([0, 0.04])


def test_negative_times_count_from_the_first() -> None:
    assert line([-8, -4, 0, 4], start_pts=None).times_s == pytest.approx([0, 0.04, 0.08, 0.12])


def test_a_wrapped_clock_goes_on() -> None:
    timeline = line([0, 8, 4, 12, -(1 << 33), -(1 << 33) + 8, -(1 << 33) + 4], start_pts=None)
    assert timeline.pts is None
    assert timeline.times_s == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24])


def test_a_clip_that_begins_again_goes_on() -> None:
    times = line([0, 100, 200, 300, 0, 100, 200]).times_s
    assert times == pytest.approx([0, 1, 2, 3, 3.04, 4.04, 5.04])


def test_packets_of_before_a_jump_that_come_after_it_stay_before_it() -> None:
    hours = 400_000
    pts = [0, 12, 4, 8, hours + 24, hours + 16, 16, hours + 20, hours + 36, hours + 28, hours + 32]
    assert line(pts).times_s == pytest.approx(np.arange(11) * 0.04)


def test_a_rate_that_a_jump_has_thinned_is_not_believed() -> None:
    pts = np.array([*range(0, 200, 4), *range(400_000, 400_200, 4)], np.int64)
    timeline = build(pts, time_base_s=0.01, interval_s=40.0, start_pts=0)
    assert timeline.interval_s == pytest.approx(0.04)
    assert timeline.end_s == pytest.approx(4.0)


def test_repeated_and_missing_times_still_advance() -> None:
    times = line([0, 4, 4, 4, NO_PTS, 40]).times_s
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(0.4)


def test_avi_numbers_packets_as_they_are_decoded() -> None:
    timeline = line([0, 4, 8], knows_display_order=False)
    assert timeline.is_by_order
    assert timeline.pts is None
    assert timeline.times_s == pytest.approx([0, 0.04, 0.08])


def test_the_place_of_a_frame_counts_those_that_were_skipped() -> None:
    timeline = line([0, 8, 4, 12])
    assert timeline.place(8) == 2
    assert timeline.place(9) is None
    assert timeline.place(None) is None


def test_what_was_changed_is_counted() -> None:
    clock = Clock(0.04)
    for pts_s in (0.0, 0.04, 0.02, None, 0.5, 99999.0):
        clock.next(pts_s)
    assert clock.n_repaired == 3
    assert not clock.is_synthetic


def test_counting_alone_is_no_repair() -> None:
    clock = Clock(0.04)
    assert [clock.next(None) for _ in range(3)] == pytest.approx([0, 0.04, 0.08])
    assert clock.is_synthetic
    assert clock.n_repaired == 0


any_pts = st.just(NO_PTS) | st.integers(-(1 << 62), 1 << 62) | st.integers(0, 1000)


@given(st.lists(any_pts, min_size=1, max_size=80), st.none() | st.integers(-(1 << 62), 1 << 62))
def test_whatever_comes_times_ascend(pts: list[int], start_pts: int | None) -> None:
    timeline = line(pts, start_pts=start_pts)
    assert len(timeline.times_s) == len(pts)
    assert np.isfinite(timeline.times_s).all()
    assert (np.diff(timeline.times_s) > 0).all()


@given(st.lists(st.none() | st.floats(-1e12, 1e12), min_size=1, max_size=80))
def test_whatever_comes_the_clock_ascends(pts_s: list[float | None]) -> None:
    clock = Clock(0.04)
    times = [clock.next(pts) for pts in pts_s]
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
