"""MTCNN against the package its networks come from: tests/golden/mtcnn.json, made by scripts/make_mtcnn_golden.py."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtcnn_pictures
from make_videos import background, paste_portrait
from telltale.faces import DetectorConfig, FaceDetector, create
from telltale.faces.mtcnn import _kept
from telltale.types import Face, Float32Array, Frame, RgbImage

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "mtcnn.json").read_text(encoding="utf-8"))
LEAST_IOU = 0.9
MOST_OFF_FRAC = 0.05
"""Of a face's width, for points."""


def _cases(kind: str) -> dict[int, dict[str, list[dict[str, Any]]]]:
    cases: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for case in GOLDEN[kind]:
        cases.setdefault(case["min_face_px"], {})[case["picture"]] = case["faces"]
    return cases


@cache
def _detector(min_face_px: float) -> FaceDetector:
    config = DetectorConfig(min_face_px=min_face_px, side_px=4096, min_confidence=GOLDEN["least_confidence"])
    return create("mtcnn", config=config)


def _found(rgb: RgbImage, min_face_px: float) -> list[Face]:
    (faces,) = _detector(min_face_px).detect([Frame(0, 0.0, rgb)])
    return faces


def _iou(a: Float32Array, b: Float32Array) -> float:
    across, down = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(across, 0.0) * max(down, 0.0)
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def _assert_agrees(found: list[Face], expected: list[dict[str, Any]], where: str) -> None:
    assert len(found) == len(expected), where
    remaining = list(expected)
    for face in found:
        best = max(remaining, key=lambda e: _iou(face.box_xyxy, np.array(e["box_xyxy"], np.float32)))
        remaining.remove(best)
        assert _iou(face.box_xyxy, np.array(best["box_xyxy"], np.float32)) >= LEAST_IOU, where
        assert face.points is not None
        assert np.abs(face.points - np.array(best["points"])).max() <= MOST_OFF_FRAC * face.width_px, where
        assert face.confidence == pytest.approx(best["confidence"], abs=0.05), where


@pytest.mark.parametrize("min_face_px", [20, 40])
def test_made_pictures_give_the_packages_faces(min_face_px: int) -> None:
    pictures = mtcnn_pictures.made()
    for name, expected in _cases("made")[min_face_px].items():
        _assert_agrees(_found(pictures[name], min_face_px), expected, name)


@pytest.mark.parametrize("min_face_px", [20, 40])
def test_real_pictures_give_the_packages_faces(shared: Path, min_face_px: int) -> None:
    cases = _cases("shared")[min_face_px]
    pictures = dict(mtcnn_pictures.read(shared))
    assert pictures.keys() == cases.keys()
    for name, expected in cases.items():
        _assert_agrees(_found(pictures[name], min_face_px), expected, name)


def test_the_golden_file_holds_what_the_issue_asks_for() -> None:
    counts = [len(case["faces"]) for kind in ("made", "shared") for case in GOLDEN[kind]]
    assert len(counts) >= 60
    assert {0, 1, 2, 3, 12} <= set(counts)


def test_the_minimum_face_is_a_minimum() -> None:
    picture = background((720, 405))
    paste_portrait(picture, 0, 5, 400)
    paste_portrait(picture, 450, 100, 120, mirrored=True)  # a face of some 20 x 26 px
    assert len(_found(picture, 20)) == 2
    assert len(_found(picture, 60)) == 1


def test_a_large_frame_is_searched_at_a_bounded_side_and_answered_in_its_own_pixels() -> None:
    small = background((720, 405))
    paste_portrait(small, 100, 30, 370)
    large = np.repeat(np.repeat(small, 3, axis=0), 3, axis=1)
    detector = create("mtcnn")
    ((expected,), (found,)) = detector.detect([Frame(0, 0.0, small), Frame(1, 0.0, large)])
    assert _iou(found.box_xyxy, expected.box_xyxy * 3) > 0.9
    assert (found.frame_index, expected.frame_index) == (1, 0)


def test_a_smaller_minimum_face_widens_the_search() -> None:
    picture = background((1920, 1080))
    paste_portrait(picture, 900, 500, 150)  # a face of 25 x 32 px: 9 px at the default side
    frame = Frame(0, 0.0, picture)
    assert create("mtcnn").detect([frame]) == [[]]
    assert len(create("mtcnn", config=DetectorConfig(min_face_px=24)).detect([frame])[0]) == 1


def test_frames_detected_together_give_what_they_give_alone() -> None:
    frames = [Frame(i, 0.0, rgb) for i, rgb in enumerate(mtcnn_pictures.made().values())]
    detector = create("mtcnn")
    together = detector.detect(frames)
    for frame, faces in zip(frames, together, strict=True):
        (alone,) = detector.detect([frame])
        assert [f.box_xyxy.round(1).tolist() for f in faces] == [f.box_xyxy.round(1).tolist() for f in alone]


def test_noise_is_bounded_and_holds_no_face() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    assert create("mtcnn").detect([Frame(0, 0.0, noise)]) == [[]]


def test_a_picture_longer_than_opencv_samples_from_is_searched_all_the_same() -> None:
    strip = np.full((110, 34_000, 3), 200, np.uint8)
    paste_portrait(strip, 33_880, 0, 110)
    (face,) = _found(strip, 20)
    assert 33_880 < face.box_xyxy[0] < face.box_xyxy[2] < 34_000


def test_suppression_in_blocks_is_suppression_at_once() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 140, (300, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 60, (300, 2)), rng.normal(size=(300, 1))], axis=1)
    boxes = boxes.astype(np.float32)
    order = np.argsort(-boxes[:, 4])
    expected = [i for rank, i in enumerate(order) if all(_iou(boxes[i, :4], boxes[j, :4]) <= 0.5 for j in order[:rank])]
    assert _kept(boxes, 0.5).tolist() == expected
