"""The sentences of a report that are said of people and moments."""

from __future__ import annotations

from make_reports import make_report, make_track
from telltale import _report_words


def test_the_moment_that_is_named_is_the_one_that_scores_highest_not_the_longest() -> None:
    track = make_track(1, [0.94] * 20 + [0.5] * 4 + [0.99] * 8)
    spans = ((0.0, 9.5), (12.0, 15.5))
    report = make_report(tracks=[track.model_copy(update={"suspicious_s": spans, "label": "fake"})])
    assert _report_words.lede(report).endswith(", most of all from 0:12 to 0:16.")
