"""When the whole picture is searched for faces, and when only the places where they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from make_videos import background
from telltale._request import ExtractRequest, face_from_json
from telltale.extract import extract_job
from telltale.faces import DetectorConfig
from telltale.following import MOST_FOLLOWED, FaceFinder
from telltale.sampling import SamplePlan
from telltale.tracking import Tracker
from telltale.types import Face, Frame, RgbImage

Room = Callable[[float], dict[str, tuple[float, float]]]
"""Seconds -> who is in the picture, and where the middle of the face is."""


@dataclass
class Searching:
    """Sees who is in the room, and notes when it had to look everywhere."""

    room: Room
    name: str = "made"
    searched_s: list[float] = field(default_factory=list)

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        self.searched_s += [frame.pts_s for frame in frames]
        return [[_face(frame, x, y) for x, y in self.room(frame.pts_s).values()] for frame in frames]


@dataclass
class Following(Searching):
    """Sees again who is within half a face of where somebody was expected."""

    def follow(self, frame: Frame, expected: Sequence[Face]) -> list[Face]:
        return [
            _face(frame, x, y)
            for x, y in self.room(frame.pts_s).values()
            if any(abs(x - _middle(face)[0]) < 30 and abs(y - _middle(face)[1]) < 30 for face in expected)
        ]


def _face(frame: Frame, x: float, y: float) -> Face:
    return Face(frame.index, frame.pts_s, np.array([x - 30, y - 36, x + 30, y + 36], np.float32), 0.99)


def _middle(face: Face) -> tuple[float, float]:
    x0, y0, x1, y1 = face.box_xyxy.tolist()
    return (x0 + x1) / 2, (y0 + y1) / 2


def _look(
    detector: Searching,
    *,
    seconds: float = 6,
    fps: float = 2,
    every_s: float = 2.0,
    picture: Callable[[float], RgbImage] = lambda _: background(),
) -> list[int]:
    """How many faces were found in each frame."""
    tracker = Tracker()
    finder = FaceFinder(detector, tracker, search_every_s=every_s)
    counts = []
    for i in range(round(seconds * fps) + 1):
        frame = Frame(i, i / fps, picture(i / fps))
        found = finder.find(frame)
        tracker.update(i, frame.pts_s, found, rgb=frame.rgb)
        counts.append(len(found))
    return counts


HERE, THERE, BESIDE = (100.0, 150.0), (350.0, 150.0), (262.0, 150.0)


def _one(_: float) -> dict[str, tuple[float, float]]:
    return {"ann": (200, 150)}


def test_somebody_who_stays_is_searched_for_now_and_then_and_followed_between() -> None:
    detector = Following(_one)
    assert _look(detector) == [1] * 13
    assert detector.searched_s == [0, 0.5, 2.5, 4.5]


def test_a_face_that_moves_is_followed() -> None:
    detector = Following(lambda t: {"ann": (100 + 40 * t, 150)})
    assert _look(detector) == [1] * 13
    assert detector.searched_s == [0, 0.5, 2.5, 4.5]


def test_who_comes_in_while_others_stay_is_found_at_the_next_search() -> None:
    detector = Following(lambda t: {"ann": HERE} | ({"bob": THERE} if t >= 3 else {}))
    assert _look(detector) == [1] * 9 + [2] * 4
    assert detector.searched_s == [0, 0.5, 2.5, 4.5, 5.0]


def test_where_somebody_is_missing_the_whole_picture_is_searched_until_the_gap_is_too_long_to_fill() -> None:
    detector = Following(lambda t: {"ann": HERE} | ({"bob": THERE} if t < 3 else {}))
    assert _look(detector, seconds=4) == [2] * 6 + [1] * 3
    assert detector.searched_s == [0, 0.5, 2.5, 3.0, 3.5]


def test_where_nobody_is_every_frame_is_searched() -> None:
    detector = Following(lambda _: {})
    assert _look(detector, seconds=3) == [0] * 7
    assert len(detector.searched_s) == 7


def test_after_a_cut_the_whole_picture_is_searched_at_once() -> None:
    def shot(t: float) -> RgbImage:
        return background() if t < 1.5 else np.ascontiguousarray(255 - background())

    detector = Following(_one)
    assert _look(detector, seconds=3, picture=shot) == [1] * 7
    assert detector.searched_s == [0, 0.5, 1.5, 2.0]


@pytest.mark.parametrize(("every_s", "fps"), [(0, 2), (0, 25), (2, 1), (0.5, 2)])
def test_every_frame_is_searched_where_that_is_asked_for_or_frames_lie_far_apart(every_s: float, fps: float) -> None:
    detector = Following(_one)
    n_faces = _look(detector, seconds=4, fps=fps, every_s=every_s)
    assert len(detector.searched_s) == len(n_faces)


def test_a_detector_that_cannot_follow_searches_every_frame() -> None:
    detector = Searching(_one)
    assert _look(detector) == [1] * 13
    assert len(detector.searched_s) == 13


def test_a_crowd_is_searched_for() -> None:
    crowd = {str(i): (40.0 + 60 * i, 150.0) for i in range(MOST_FOLLOWED + 1)}
    detector = Following(lambda _: crowd)
    assert _look(detector, seconds=2) == [len(crowd)] * 5
    assert len(detector.searched_s) == 5


def test_one_face_found_for_two_that_were_expected_is_not_everybody() -> None:
    detector = Following(lambda t: {"ann": (200.0, 150.0)} | ({"bob": BESIDE} if t < 1.5 else {}))
    assert _look(detector, seconds=2) == [2, 2, 2, 1, 1]
    assert 1.5 in detector.searched_s


def _faces(clip: Path, every_s: float) -> list[Face]:
    request = ExtractRequest(
        str(clip), plan=SamplePlan("fps", 4), detector_config=DetectorConfig(search_every_s=every_s)
    )
    messages = [message for message in extract_job(request.to_json()) if message.kind == "faces"]
    return [face_from_json(row) for message in messages for row in message.data["faces"]]


def test_a_clip_gives_the_same_people_in_the_same_places_either_way(two_face_clip: Path) -> None:
    searched, followed = _faces(two_face_clip, 0), _faces(two_face_clip, 2)
    assert len(searched) == len(followed) > 8
    assert [face.pts_s for face in searched] == [face.pts_s for face in followed]
    for face in searched:
        nearest = min(
            (other for other in followed if other.pts_s == face.pts_s),
            key=lambda other: float(np.abs(other.box_xyxy - face.box_xyxy).max()),
        )
        assert np.abs(nearest.box_xyxy - face.box_xyxy).max() < 0.12 * face.width_px
    assert [f.box_xyxy.tolist() for f in searched] != [f.box_xyxy.tolist() for f in followed]
