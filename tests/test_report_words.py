"""The sentences of a report that are said of people and moments."""

from __future__ import annotations

from make_reports import make_report, make_track
from telltale import _report_words
from telltale.types import CardSummary, Report

CARD = CardSummary(
    size_px=224, min_face_px=40, min_faces=3, fake_above=0.75, real_below=0.25, false_positive_rate=0.01, miss_rate=0.05
)


def _by(report: Report, card: CardSummary) -> Report:
    return report.model_copy(update={"model": report.model.model_copy(update={"card": card})})


def test_the_moment_that_is_named_is_the_one_that_scores_highest_not_the_longest() -> None:
    track = make_track(1, [0.94] * 20 + [0.5] * 4 + [0.99] * 8)
    spans = ((0.0, 9.5), (12.0, 15.5))
    report = make_report(tracks=[track.model_copy(update={"suspicious_s": spans, "label": "fake"})])
    assert _report_words.lede(report).endswith(", most of all from 0:12 to 0:16.")


def test_one_man_seen_after_two_cuts_is_one_face() -> None:
    cut = [make_track(i, [0.05] * 6, start_s=3.0 * i).model_copy(update={"person": 1}) for i in (1, 2, 3)]
    knows = "of the forgeries that the model knows."
    assert _report_words.lede(make_report(label="real", tracks=cut)) == f"The face shows no trace {knows}"
    beside = [*cut, make_track(4, [0.05] * 6), make_track(5, [0.05] * 6)]
    assert _report_words.lede(make_report(label="real", tracks=beside)).startswith("None of the 3 faces")
    small = [make_track(i, [None] * 4, start_s=3.0 * i).model_copy(update={"person": 1}) for i in (1, 2)]
    assert _report_words.lede(make_report(label="no_face", tracks=small)).startswith("A face was found, but")


def test_lines_that_nobody_measured_do_not_say_where_faces_lie() -> None:
    report = _by(make_report(label="uncertain", tracks=[make_track(1, [0.5] * 6)]), CARD)
    assert _report_words.lede(report) == (
        "The face scores between lines that were not measured, so no verdict is given."
    )
