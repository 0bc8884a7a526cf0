"""A page of a still picture, of an animated one, of a clip without a time line, and of a clip that changes its size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from make_reports import make_attachment, make_jpeg, make_report, make_track, wave
from read_page import ReadPage
from telltale import _report_words
from telltale._report_page import build_page
from telltale._report_people import jpeg_uri
from telltale._report_player import CannotEmbed, embed, link
from telltale._report_quality import build_quality
from telltale.report import summarise, to_html
from telltale.types import Code, Pictures, Report
from telltale.web.analysis import outcome


def known(report: Report, **known: Any) -> Report:
    """The same, with other facts about the file."""
    assert report.video is not None
    return report.model_copy(update={"video": replace(report.video, **known)})


def animated(**options: Any) -> Report:
    """Of sixty frames, as Pillow tells it: a picture without a duration."""
    gif = {"container": "gif", "codec": "gif", "duration_s": None, "fps_header": None}
    return known(make_report("a.gif", **options), is_image=True, n_frames_header=60, **gif)


def words(report: Report) -> str:
    return " ".join(" ".join(ReadPage(to_html(report)).text).split())


def test_an_animated_picture_has_the_page_of_a_clip() -> None:
    report = animated(tracks=[make_track(1, wave(20, 0.94, 0.99)), make_track(2, wave(20, 0.02, 0.1))])
    page = build_page(report)
    assert (page.is_still, page.what, page.boxes) == (False, "clip", [])
    assert [person.chart is not None for person in page.people] == [True, True]
    assert page.people[0].facts.startswith("0:00.0 to 0:09.5, found in 16 frames")
    assert (len(page.strip), len(page.frames)) == (10, 12)
    assert "half of all faces looked at were forged" in page.meaning
    assert page.quality is not None
    assert {"Frames", "Faces judged"} <= {row.name for row in page.quality.rows}
    assert "shot-box" not in to_html(report).partition('<ol class="strip">')[2].partition("</ol>")[0]


def test_of_several_people_the_number_is_not_said_of_clips() -> None:
    """It is the highest of so many faces, which is high among real ones, too."""
    people = [make_track(1, wave(20, 0.3, 0.5)), make_track(2, wave(20, 0.02, 0.1)), make_track(3, wave(20, 0.02, 0.1))]
    meaning = build_page(make_report(label="uncertain", tracks=people)).meaning
    assert "clips" not in meaning
    assert "that score like this one would be. This is the most suspicious of 3" in meaning
    one_twice = [track.model_copy(update={"person": 1}) for track in people[:2]]
    assert "half of all clips were fakes" in build_page(make_report(label="uncertain", tracks=one_twice)).meaning


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.98, "about 98 in 100 that score like this one would be fakes; if only 1 in 100 were, about 33 in 100."),
        (0.5, "about 50 in 100 that score like this one would be fakes; if only 1 in 100 were, about 1 in 100."),
        (
            0.999,
            "more than 99 in 100 that score like this one would be fakes; if only 1 in 100 were, about 91 in 100.",
        ),
        (0.4, "about 40 in 100 that score like this one would be fakes."),
    ],
)
def test_a_high_number_is_told_for_rare_fakes_too(p: float, said: str) -> None:
    meaning = build_page(make_report(label="uncertain", tracks=[make_track(1, [p] * 9)])).meaning
    assert meaning == f"If half of all clips were fakes, {said}"


def test_an_animated_picture_without_a_face_says_how_much_was_looked_at() -> None:
    assert _report_words.lede(animated(label="no_face")) == (
        "No face was found in the 24 frames that were looked at, so nothing is said about this clip."
    )


def test_an_animated_picture_plays_where_its_annotated_clip_lies(tmp_path: Path) -> None:
    report = animated()
    assert link(report, tmp_path) is None
    assert embed(report, tmp_path) is None, "no browser seeks in a picture"
    drawn = report.model_copy(update={"attachments": (make_attachment("annotated.mp4", "video", "video/mp4"),)})
    (tmp_path / "annotated.mp4").write_bytes(b"12345")
    linked, embedded = link(drawn, tmp_path), embed(drawn, tmp_path)
    assert linked is not None
    assert embedded is not None
    assert (linked.src, embedded.kind) == ("annotated.mp4", "embedded")
    still = known(drawn, n_frames_header=1)
    assert (link(still, tmp_path), embed(still, tmp_path)) == (None, None)
    with pytest.raises(CannotEmbed):
        embed(known(report, is_image=False), tmp_path)


def test_a_clip_of_which_nothing_is_kept_is_no_picture() -> None:
    report = make_report(label="no_face", duration_s=60).model_copy(update={"pictures": Pictures()})
    page = build_page(report)
    assert (page.is_still, page.what, page.strip) == (False, "clip", [])
    assert "earliest copy of the clip" in words(report)


def test_a_clip_of_one_frame_has_no_time_line_and_is_no_picture() -> None:
    report = known(make_report(tracks=[make_track(1, [0.97])], duration_s=0), duration_s=None, n_frames_header=1)
    page = build_page(report)
    assert (page.is_still, page.what, page.people[0].chart) == (False, "clip", None)
    assert "hollow: face filled in" not in words(report), "the key to a chart that is not there"
    assert page.people[0].facts.startswith("0:00.0 to 0:00.0, found in 1 frame")


@pytest.mark.parametrize(
    ("scores", "said", "unsaid"),
    [
        ([0.97] * 12, "hollow: face filled in", "stroke: face without a score"),  # every fifth is filled in
        ([None if i % 5 == 4 else 0.97 for i in range(12)], "stroke: face without a score", "hollow: face filled in"),
    ],
)
def test_the_key_names_the_marks_that_are_drawn(scores: list[float | None], said: str, unsaid: str) -> None:
    key = words(make_report(tracks=[make_track(1, scores)]))
    assert said in key
    assert unsaid not in key


def test_where_a_clip_changes_its_size_no_box_is_drawn() -> None:
    """Only the size of its first frame is known: on the others a box in per cent of that would lie elsewhere."""
    report = make_report()
    changed = report.model_copy(
        update={"verdict": report.verdict.model_copy(update={"codes": (Code.GEOMETRY_CHANGED,)})}
    )
    assert any(ReadPage(to_html(report)).values("data-box"))
    assert not any(ReadPage(to_html(changed)).values("data-box"))
    assert all(frame != "" for frame in ReadPage(to_html(changed)).values("data-frame")), "the frame is shown"


@pytest.mark.parametrize("is_image", [True, False])
def test_frames_are_counted_of_what_moves(is_image: bool) -> None:
    quality = build_quality(known(make_report(), is_image=is_image, n_frames_header=1 if is_image else 360))
    assert quality is not None
    assert ("Frames" in [row.name for row in quality.rows]) is not is_image


def test_a_person_who_was_not_judged_is_told_of_wherever_the_verdict_is() -> None:
    report = make_report(label="real", tracks=[make_track(1, [0.05] * 6), make_track(2, [None] * 4, size_px=20)])
    told = "1 more person was seen but not judged: too small a face."
    reasons = (*report.verdict.reasons, "Something else.", told)
    report = report.model_copy(update={"verdict": report.verdict.model_copy(update={"reasons": reasons})})
    assert _report_words.lede(report) == (
        "Person 1, the only one who could be judged, shows no trace of the forgeries that the model knows."
    )
    assert summarise(report).reason == f"{reasons[0]} {told}"
    assert told in words(report)
    assert outcome(report).reason.endswith(told)


def test_a_still_picture_is_shown_large_and_small_in_the_index() -> None:
    report = make_report("a.jpg", is_image=True, duration_s=0, tracks=[make_track(1, [0.04])])
    large = make_jpeg(3, width_px=900, height_px=600)
    report = report.model_copy(update={"pictures": replace(report.pictures, still=large)})
    assert [tile.image for tile in build_page(report).strip] == [jpeg_uri(large)]
    assert summarise(report).thumbnail == report.pictures.thumbnails[0][1]


def test_a_face_that_was_made_smaller_says_how_large_it_was_to_whoever_looked() -> None:
    report = make_report(label="real").model_copy(update={"settings": {"plan": {"max_side_px": 640}}})
    page, quality = build_page(report), build_quality(report)
    assert page.people[0].facts.endswith("face 120 pixels large, looked at with 60")
    assert quality is not None
    assert [row.value for row in quality.rows if row.name == "Face"] == ["120 pixels large, looked at with 60"]
    left, top, width, height = map(float, page.people[0].crops[0].box.split())
    assert (left, top, width) == pytest.approx((100 / 12.8, 80 / 7.2, 120 / 12.8), abs=0.06)
    assert height == pytest.approx(120 / 7.2, abs=0.06)
