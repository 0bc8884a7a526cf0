"""What annotated pictures say, how large and where: the verdict is readable, and no face is hidden behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import make_videos
from make_reports import make_report, make_track
from telltale import _annotate_stills
from telltale._annotate_ink import text_mask
from telltale._annotate_paint import Painter
from telltale._annotate_plan import Person, make_plan
from telltale._annotate_stills import with_caption
from telltale.annotate import VIDEO_NAME, _caption, annotate
from telltale.types import RgbImage
from test_annotate import frames, plan_of, report_on

HEADLINE = "No sign of a deepfake"


def grey(width_px: int, height_px: int) -> RgbImage:
    return np.full((height_px, width_px, 3), 120, np.uint8)


def rows_of(painter: Painter) -> str:
    assert painter._strip is not None
    return " ".join(painter._strip._head.rows)


@pytest.mark.parametrize("on_top", [False, True])
@pytest.mark.parametrize("size", [(1920, 1080), (1280, 534), (404, 720), (320, 240), (320, 180), (176, 144)])
def test_the_timeline_says_the_verdict_on_little_of_the_picture_or_below_it(
    size: tuple[int, int], on_top: bool
) -> None:
    width, height = size
    painter = Painter(plan_of(headline=HEADLINE, strip_on_top=on_top), width_px=width, height_px=height)
    assert HEADLINE in rows_of(painter)
    assert "not proof" in rows_of(painter)
    drawn = painter.paint(grey(width, height), 1.0)
    assert drawn.shape == (painter.height_px, width, 3)
    covered = (drawn[:height] != 120).any(axis=(1, 2))
    if painter.height_px > height:
        assert not covered.any()
    else:
        assert covered.sum() <= 0.15 * height
        assert covered[0 if on_top else -1]


def test_no_row_of_a_clip_called_real_ends_in_the_word_fake() -> None:
    painter = Painter(plan_of(headline=HEADLINE, p_fake=0.03), width_px=176, height_px=144)
    assert painter._strip is not None
    assert painter._strip._head.rows[:2] == (HEADLINE + ",", "fake score 3%  ·  not proof")


@pytest.mark.parametrize(("y", "on_top"), [(600.0, True), (300.0, False), (10.0, False)])
def test_the_timeline_lies_where_faces_do_not_for_the_whole_clip(y: float, on_top: bool) -> None:
    track = make_track(1, [0.9] * 4, size_px=120)
    faces = [face.model_copy(update={"box_xyxy": (100.0, y, 220.0, y + 120)}) for face in track.faces]
    report = make_report(tracks=[track.model_copy(update={"faces": tuple(faces)})])
    assert make_plan(report, headline="", caption=[]).strip_on_top is on_top


def test_no_label_lies_under_the_timeline() -> None:
    person = Person(1, "fake", 0.9, [0.0], [[200.0, 30.0, 260.0, 330.0]], [0.9])
    for on_top in (False, True):
        painter = Painter(plan_of(person, strip_on_top=on_top), width_px=640, height_px=360)
        label = painter._label(person, (200.0, 30.0, 260.0, 330.0), [])
        assert painter._free[0] <= label.y <= painter._free[1] - label.height


def test_a_small_clip_is_written_with_its_timeline_below(tmp_path: Path) -> None:
    clip = make_videos.face_clip(tmp_path / "clip.mp4", seconds=1, size=(176, 144))
    made = annotate(report_on(clip), clip, tmp_path / "out")
    first = frames(tmp_path / "out" / VIDEO_NAME)[0]
    assert first.shape[:2] == (made[0].height_px, made[0].width_px)
    assert first.shape[1] == 176
    assert first.shape[0] > 144


def test_a_score_is_called_one_in_smaller_letters_before_the_words_are_dropped() -> None:
    box = (100.0, 100.0, 180.0, 200.0)
    people = [Person(i, "fake", 0.95, [0.0], [list(box)], [0.95]) for i in (1, 2)]
    alone = Painter(plan_of(people[0]), width_px=640, height_px=480)._label(people[0], box, [])
    beside = Painter(plan_of(*people), width_px=640, height_px=480)._label(people[0], box, [])
    words = "Person 1  fake score 95%"
    assert alone.text.shape == text_mask(words, 13).shape
    assert beside.text.shape == text_mask(words, 11).shape


@pytest.mark.parametrize("size", [(60, 40), (360, 288), (4000, 3000)])
def test_the_words_below_a_picture_are_all_there(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, int]] = []

    def noted(words: str, size_px: int) -> object:
        drawn.append((words, size_px))
        return text_mask(words, size_px)

    monkeypatch.setattr(_annotate_stills, "text_mask", noted)
    caption = [f"{HEADLINE}, fake score 1%", "a.png", "Telltale 0.1.0, model default. An estimate, not proof."]
    page = with_caption(grey(*size), plan_of(caption=caption))
    words, head_px = next((words, size_px) for words, size_px in reversed(drawn) if words == caption[0])
    assert 11 <= head_px < 100
    assert text_mask(words, head_px).shape[1] < page.shape[1]
    assert caption[2] in [words for words, _ in drawn]
    shown = page[: size[1], (page.shape[1] - size[0]) // 2 :][:, : size[0]]
    assert (shown == 120).all()


def test_faces_that_cannot_be_judged_are_not_said_to_be_none() -> None:
    report = make_report(label="no_face", tracks=[make_track(1, [None] * 4, size_px=20)])
    assert _caption(report)[0] == "No face could be judged"
    assert _caption(make_report(label="no_face"))[0] == "No face to judge"
