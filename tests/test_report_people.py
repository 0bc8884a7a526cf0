"""The people of a report's page: whose faces have a number, and what stands beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from make_reports import make_report, make_track
from read_page import ReadPage
from telltale._annotate_plan import make_plan
from telltale._report_page import build_page
from telltale.report import to_html
from telltale.types import Code, TrackReport


def too_small(track_id: int, scores: list[float], **options: float) -> TrackReport:
    """Whom the model gave scores, face by face, that must not be told."""
    scored = make_track(track_id, scores, size_px=20, **options)
    return make_track(track_id, [None] * len(scores), size_px=20, **options).model_copy(update={"faces": scored.faces})


def test_no_face_of_a_person_who_must_not_be_judged_has_a_number() -> None:
    report = make_report(label="no_face", tracks=[too_small(1, [0.71, 0.77, 0.73])])
    (person,) = build_page(report).unjudged
    assert {(crop.score, crop.zone) for crop in person.crops} == {("no score", "none")}
    assert not [text for text in ReadPage(to_html(report)).text if "%" in text]


def test_whoever_is_not_judged_has_the_mark_of_it_that_the_annotated_clip_draws() -> None:
    tracks = [too_small(1, [0.71, 0.77]), make_track(2, [0.5] * 4)]
    page = ReadPage(to_html(make_report(label="uncertain", tracks=tracks)))
    badges = [value for value in page.values("class") if value.startswith("badge ")]
    assert badges == ["badge uncertain", "badge no_face"]


def test_whoever_is_not_judged_is_shown_by_the_face_that_was_found_best() -> None:
    track = too_small(1, [0.71, 0.77, 0.73])
    faces = [face.model_copy(update={"confidence": c}) for face, c in zip(track.faces, (0.9, 0.8, 0.99), strict=True)]
    report = make_report(label="no_face", tracks=[track.model_copy(update={"faces": tuple(faces)})])
    portrait = build_page(report).unjudged[0].portrait
    assert portrait is not None
    assert portrait.face == 2


def test_a_contact_sheet_has_no_number_of_a_person_who_must_not_be_judged() -> None:
    odd = too_small(1, [0.1] * 37 + [0.99] + [0.1] * 23)
    plan = make_plan(make_report(label="no_face", tracks=[odd]), headline="", caption=[])
    assert plan.people[0].scores == [None] * 61
    assert 18.5 not in plan.tiles_s, "the highest score picks a frame"


@pytest.mark.parametrize(("fps", "half_s"), [(25.0, 0.01), (60.0, 0.0083), (None, 0.01)])
def test_a_player_is_sent_into_the_frame_not_to_its_edge(fps: float | None, half_s: float) -> None:
    report = make_report(label="real")
    assert report.video is not None
    crops = build_page(report.model_copy(update={"video": replace(report.video, fps_header=fps)})).people[0].crops
    assert {round(crop.seek_s - crop.pts_s, 4) for crop in crops} == {half_s}


@pytest.mark.parametrize(("is_image", "source"), [(True, "found in this picture"), (False, "found in this frame")])
def test_a_still_picture_has_no_frames(is_image: bool, source: str) -> None:
    report = make_report(label="real", is_image=is_image, tracks=[make_track(1, [0.05])])
    assert build_page(report).people[0].crops[0].source == source


def test_a_face_held_back_is_not_told_as_one_called_fake() -> None:
    track = make_track(1, [0.97] * 12).model_copy(update={"label": "uncertain", "codes": (Code.OUT_OF_DOMAIN,)})
    told = " ".join(" ".join(ReadPage(to_html(make_report(label="uncertain", tracks=[track]))).text).split())
    assert "and gives no verdict between. This one is not called fake: the face is unlike those that" in told
    assert "Suspicious:" not in told
    assert "Scores as fake, but unlike the faces that the model learned from:" in told
