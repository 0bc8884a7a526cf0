"""Who is boxed at each moment of an annotated clip, and that nobody wears the box of somebody else."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

import make_videos
from make_reports import make_report, make_track
from telltale._annotate_ink import COLOURS
from telltale._annotate_plan import Person, make_plan
from telltale.annotate import GIF_NAME, VIDEO_NAME, annotate
from telltale.types import Label, Report, RgbImage, TrackReport
from test_annotate import input_of

SIZE = (480, 360)
FPS = 25
LOOKS_S = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
LEFT, RIGHT = (30.0, 60.0, 150.0, 200.0), (300.0, 80.0, 430.0, 230.0)


def scene(box: tuple[float, float, float, float], *, is_other: bool) -> RgbImage:
    """A face about where the box is, in one of two rooms."""
    room = make_videos.background(SIZE)
    picture = 255 - room if is_other else room
    make_videos.paste_portrait(picture, round(box[0]) - 90, round(box[1]) - 60, 320, mirrored=is_other)
    return picture


def shots(path: Path, *shown: tuple[bool, int], n: int = 32) -> Path:
    """A clip of hard cuts: who is shown, from which frame on."""
    starts = [start for _, start in shown]
    who = [shown[np.searchsorted(starts, i, side="right") - 1][0] for i in range(n)]
    rooms = {is_other: scene(RIGHT if is_other else LEFT, is_other=is_other) for is_other in (False, True)}
    return make_videos.write_video(path, [rooms[is_other] for is_other in who], fps=FPS)


def seen(track_id: int, label: Label, box: tuple[float, float, float, float], *times: float) -> TrackReport:
    """A person who stood still and was seen at those times."""
    made = make_track(track_id, [0.99 if label == "fake" else 0.05] * len(times))
    faces = tuple(
        face.model_copy(update={"pts_s": time_s, "box_xyxy": box})
        for face, time_s in zip(made.faces, times, strict=True)
    )
    update = {"label": label, "faces": faces, "start_s": times[0], "end_s": times[-1]}
    return made.model_copy(update=update)


def report_on(path: Path, *tracks: TrackReport) -> Report:
    made = make_report(label="fake", tracks=tracks, duration_s=1.28)
    return made.model_copy(update={"input": input_of(path)})


def is_boxed(picture: RgbImage, box: tuple[float, float, float, float], label: str, scale: float = 1.0) -> bool:
    """Whether the left side of the box has the colour of the label."""
    left, top, _, bottom = (round(scale * value) for value in box)
    side = picture[top + 12 : bottom - 12, max(0, left - 3) : left + 4].astype(int)
    off = np.abs(side - np.array(COLOURS[label])).sum(axis=2).min(axis=1)
    return float(np.median(off)) < 150


def drawn(folder: Path) -> list[RgbImage]:
    with av.open(str(folder / VIDEO_NAME)) as film:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in film.decode(video=0)]


def whose(pictures: list[RgbImage]) -> str:
    """For each frame whose box it has: `r` of the real person, `f` of the fake one, `b` both, `-` none."""
    marks = {(True, False): "r", (False, True): "f", (True, True): "b", (False, False): "-"}
    return "".join(marks[is_boxed(one, LEFT, "real"), is_boxed(one, RIGHT, "fake")] for one in pictures)


@pytest.mark.parametrize("cut", [11, 14, 15])
def test_no_box_is_drawn_across_a_cut(tmp_path: Path, cut: int) -> None:
    """Frames 10 and 15 were looked at, and the cut lies between them."""
    clip = shots(tmp_path / "clip.mp4", (False, 0), (True, cut))
    people = seen(1, "real", LEFT, *LOOKS_S[:3]), seen(2, "fake", RIGHT, *LOOKS_S[3:])
    annotate(report_on(clip, *people), clip, tmp_path / "out")
    marks = whose(drawn(tmp_path / "out"))
    assert set(marks[:cut]) <= {"r", "-"}, marks
    assert set(marks[cut:]) <= {"f", "-"}, marks
    assert marks[:11] == "r" * 11, "from look to look the box is there"
    assert marks[15:] == "f" * 17, "and after the last one of the clip"
    with Image.open(tmp_path / "out" / GIF_NAME) as gif:
        in_gif = [np.asarray(one.convert("RGB"), np.uint8) for one in ImageSequence.Iterator(gif)]
    assert not any(is_boxed(one, RIGHT, "fake") for one in in_gif[: cut * len(in_gif) // 32])


def test_a_cutaway_between_two_looks_has_no_box(tmp_path: Path) -> None:
    clip = shots(tmp_path / "clip.mp4", (False, 0), (True, 6), (False, 9))
    annotate(report_on(clip, seen(1, "real", LEFT, *LOOKS_S)), clip, tmp_path / "out")
    assert whose(drawn(tmp_path / "out")) == "r" * 6 + "-" * 4 + "r" * 22


def test_after_the_last_look_a_cut_ends_the_box(tmp_path: Path) -> None:
    clip = shots(tmp_path / "clip.mp4", (False, 0), (True, 31))
    annotate(report_on(clip, seen(1, "real", LEFT, *LOOKS_S)), clip, tmp_path / "out")
    assert whose(drawn(tmp_path / "out")) == "r" * 31 + "-"


def test_a_face_is_nowhere_before_it_was_seen() -> None:
    person = Person(1, "fake", 0.99, [2.0, 2.5], [[0, 0, 10, 10], [5, 0, 15, 10]], [0.99, 0.99])
    assert person.box_at(1.99, most_apart_s=1.25) is None
    assert person.box_at(1.9999, most_apart_s=1.25) == (0.0, 0.0, 10.0, 10.0), "a rounded time is the same moment"
    assert person.box_at(2.25, most_apart_s=1.25) == (2.5, 0.0, 12.5, 10.0)
    assert person.box_at(2.25, most_apart_s=1.25, shot_s=2.1) is None
    assert person.box_at(2.5, most_apart_s=1.25, shot_s=2.1) == (5.0, 0.0, 15.0, 10.0)


def test_a_box_does_not_wait_where_the_next_look_finds_somebody_else() -> None:
    first, second = seen(1, "fake", LEFT, *LOOKS_S[:3]), seen(2, "real", LEFT, *LOOKS_S[3:])
    elsewhere = seen(2, "real", RIGHT, *LOOKS_S[3:])
    later = seen(2, "real", LEFT, *LOOKS_S[5:])
    held = [
        [person.held_steps for person in make_plan(make_report(tracks=people), headline="", caption=[]).people]
        for people in ([first, second], [first, elsewhere], [first, later])
    ]
    assert held == [[0.0, 1.0], [0.5, 1.0], [0.5, 1.0]]
