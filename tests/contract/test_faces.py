"""What every face detector in `telltale.faces` must do. A new one is tested here by being there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from make_videos import FACE_IN_PORTRAIT, background, paste_portrait, portrait
from telltale import faces
from telltale.faces import DetectorConfig, FaceDetector, FaceFollower
from telltale.types import Face, Frame, RgbImage

WEIGHTS = {"yunet": Path("weights") / "yunet_n_640_640.onnx"}
"""Below ../shared, for detectors that ship none."""

Make = Callable[..., FaceDetector]


@pytest.fixture(params=faces.names())
def make(request: pytest.FixtureRequest) -> Make:
    """Makes the detector under test with fields of `DetectorConfig`."""
    name: str = request.param
    model_path = str(request.getfixturevalue("shared") / WEIGHTS[name]) if name in WEIGHTS else None

    def made(**fields: float) -> FaceDetector:
        return faces.create(name, config=DetectorConfig(model_path=model_path, **fields))  # type: ignore[arg-type]

    return made


def _frame(rgb: RgbImage, index: int = 0, pts_s: float = 0.0) -> Frame:
    return Frame(index, pts_s, rgb)


def _two_people() -> RgbImage:
    picture = background((720, 360))
    paste_portrait(picture, 10, 20, 340)
    paste_portrait(picture, 360, 20, 340, mirrored=True)
    return picture


def test_it_is_named_after_its_file(make: Make, request: pytest.FixtureRequest) -> None:
    detector = make()
    assert isinstance(detector, FaceDetector)
    assert detector.name in request.node.name


def test_a_portrait_has_one_face_where_the_face_is(make: Make) -> None:
    ((face,),) = make().detect([_frame(portrait(), index=7, pts_s=1.5)])
    x0, y0, x1, y1 = FACE_IN_PORTRAIT
    centre = (face.box_xyxy[:2] + face.box_xyxy[2:]) / 2
    assert x0 < centre[0] < x1
    assert y0 < centre[1] < y1
    assert 0.5 * (y1 - y0) < face.height_px < 1.5 * (y1 - y0)
    assert (face.frame_index, face.pts_s, face.source) == (7, 1.5, "detected")


def test_points_come_in_the_order_of_types_or_not_at_all(make: Make) -> None:
    for picture in (portrait(), np.ascontiguousarray(portrait()[:, ::-1])):
        ((face,),) = make().detect([_frame(picture)])
        if face.points is None:
            continue
        right_eye, left_eye, nose, right_mouth, left_mouth = face.points
        assert face.points.dtype == np.float32
        assert right_eye[0] < nose[0] < left_eye[0]
        assert right_mouth[0] < left_mouth[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_two_people_are_two_faces_most_certain_first(make: Make) -> None:
    (found,) = make(min_confidence=0.5).detect([_frame(_two_people())])
    assert len(found) == 2
    assert [face.confidence for face in found] == sorted((face.confidence for face in found), reverse=True)
    assert {face.box_xyxy[0] > 360 for face in found} == {True, False}


def test_several_frames_of_different_sizes_come_back_in_order(make: Make) -> None:
    pictures = [background((320, 240)), portrait(), _two_people(), portrait()[:, 50:400]]
    frames = [_frame(np.ascontiguousarray(rgb), i, float(i)) for i, rgb in enumerate(pictures)]
    found = make(min_confidence=0.5).detect(frames)
    assert [len(of_frame) for of_frame in found] == [0, 1, 2, 1]
    for frame, of_frame in zip(frames, found, strict=True):
        assert {(face.frame_index, face.pts_s) for face in of_frame} <= {(frame.index, frame.pts_s)}


def test_no_frames_give_nothing(make: Make) -> None:
    assert make().detect([]) == []


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (4096, 1), (1, 4096), (12, 12), (25, 3)])
def test_degenerate_pictures_hold_no_face(make: Make, size: tuple[int, int]) -> None:
    for value in (0, 128, 255):
        assert make().detect([_frame(np.full((size[1], size[0], 3), value, np.uint8))]) == [[]]


def test_a_scene_without_people_holds_no_face(make: Make) -> None:
    assert make().detect([_frame(background())]) == [[]]


def test_least_confidence_is_kept_to(make: Make) -> None:
    frame = _frame(_two_people())
    (many,) = make(min_confidence=0.3).detect([frame])
    (few,) = make(min_confidence=0.97).detect([frame])
    assert len(few) <= len(many)
    assert all(face.confidence >= 0.97 for face in few)
    assert all(0.3 <= face.confidence <= 1.0 for face in many)


def test_a_picture_is_not_written_to(make: Make) -> None:
    picture = portrait().copy()
    picture.flags.writeable = False
    make().detect([_frame(picture)])


def test_views_and_other_strides_are_pictures_too(make: Make) -> None:
    padded = np.zeros((600, 700, 4), np.uint8)
    padded[20:532, 40:552, :3] = portrait()
    assert len(make().detect([_frame(padded[20:532, 40:552, :3])])[0]) == 1


def test_the_same_picture_gives_the_same_faces(make: Make) -> None:
    def boxes(of: list[Face]) -> list[list[float]]:
        return [[*face.box_xyxy.tolist(), face.confidence] for face in of]

    frame = _frame(_two_people())
    detector = make()
    first, again, other = detector.detect([frame]), detector.detect([frame]), make().detect([frame])
    assert boxes(first[0]) == boxes(again[0]) == boxes(other[0])


def test_threads_change_nothing(make: Make) -> None:
    (one,), (two,) = (make(n_threads=n).detect([_frame(_two_people())]) for n in (1, 2))
    assert one
    for a, b in zip(one, two, strict=True):
        assert np.allclose(a.box_xyxy, b.box_xyxy, atol=0.01)


def test_boxes_at_the_edge_of_the_picture_have_area(make: Make) -> None:
    picture = background((300, 300))
    paste_portrait(picture, -190, -40, 700)
    (found,) = make(min_confidence=0.5).detect([_frame(picture)])
    assert all(face.width_px > 0 and face.height_px > 0 for face in found)


@pytest.mark.parametrize("off_frac", [-0.15, 0.0, 0.15])
def test_one_that_follows_finds_again_what_it_would_find(make: Make, off_frac: float) -> None:
    detector = make(min_confidence=0.5)
    if not isinstance(detector, FaceFollower):
        pytest.skip(f"{detector.name} does not follow: every frame is searched")
    frame = _frame(_two_people(), index=3, pts_s=1.5)
    (searched,) = detector.detect([frame])
    expected = [replace(face, box_xyxy=face.box_xyxy + np.float32(off_frac * face.width_px)) for face in searched]
    followed = detector.follow(frame, expected)
    assert len(followed) == len(searched) == 2
    for face in followed:
        off = min(np.abs(face.box_xyxy - other.box_xyxy).max() / other.width_px for other in searched)
        assert off < 0.1
        assert (face.frame_index, face.pts_s, face.source) == (3, 1.5, "detected")
        assert face.confidence >= 0.5
    assert [face.confidence for face in followed] == sorted((face.confidence for face in followed), reverse=True)


def test_one_that_follows_finds_nobody_where_nobody_is(make: Make) -> None:
    detector = make()
    if not isinstance(detector, FaceFollower):
        pytest.skip(f"{detector.name} does not follow: every frame is searched")
    expected = [Face(0, 0.0, np.array([100, 80, 200, 210], np.float32), 0.99)]
    assert detector.follow(_frame(background()), expected) == []
