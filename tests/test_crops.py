"""The only crop code there is: geometry to the pixel, edges, scaling, turning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mtcnn_pictures
from make_videos import portrait
from telltale.crops import CropSpec, centre_square, crop_face
from telltale.faces import create
from telltale.types import Float32Array, Frame, RgbImage


def _box(*values: float) -> Float32Array:
    return np.array(values, np.float32)


def _gradient(width: int, height: int) -> RgbImage:
    """Red counts columns, green counts rows."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return rgb


PLAIN = CropSpec(size_px=64, margin_frac=0.0, down_frac=0.0)


def test_a_square_box_without_margin_is_cut_as_it_lies() -> None:
    picture = _gradient(200, 200)
    assert np.array_equal(crop_face(picture, _box(50, 70, 114, 134), None, PLAIN), picture[70:134, 50:114])


def test_the_longer_side_makes_the_square_and_the_margin_is_on_both_sides() -> None:
    spec = CropSpec(size_px=60, margin_frac=0.25, down_frac=0.0)
    crop = crop_face(_gradient(200, 200), _box(90, 80, 110, 120), None, spec)  # 20 x 40 -> 60 x 60 about (100, 100)
    assert crop[0, 0, :2].tolist() == [70, 70]
    assert crop[-1, -1, :2].tolist() == [129, 129]


def test_the_square_moves_down_by_a_part_of_the_longer_side() -> None:
    spec = CropSpec(size_px=40, margin_frac=0.0, down_frac=0.1)
    crop = crop_face(_gradient(200, 200), _box(90, 80, 110, 120), None, spec)
    assert crop[0, 0, :2].tolist() == [80, 84]


@pytest.mark.parametrize(
    ("box", "corner", "repeated"),
    [
        ((-32, 68, 32, 132), (0, 0), (0, 68)),
        ((168, 168, 232, 232), (-1, -1), (199, 199)),
        ((-300, 68, -236, 132), (-1, -1), (0, 131)),
        ((400, 400, 464, 464), (0, 0), (199, 199)),
    ],
)
def test_outside_the_picture_its_edge_is_repeated(
    box: tuple[float, ...], corner: tuple[int, int], repeated: tuple[int, int]
) -> None:
    crop = crop_face(_gradient(200, 200), _box(*box), None, PLAIN)
    assert crop[corner[0], corner[1], :2].tolist() == list(repeated)
    assert crop.shape == (64, 64, 3)
    assert crop[..., 0].max() <= 199


def test_shrinking_averages() -> None:
    checkered = np.zeros((128, 128, 3), np.uint8)
    checkered[::2, ::2] = checkered[1::2, 1::2] = 255
    crop = crop_face(checkered, _box(0, 0, 128, 128), None, PLAIN)
    assert np.abs(crop.astype(int) - 127).max() <= 1


def test_enlarging_keeps_the_proportions() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:60, 45:55] = 255
    crop = crop_face(picture, _box(34, 34, 66, 66), None, CropSpec(size_px=128, margin_frac=0.0, down_frac=0.0))
    bright = crop[..., 0] > 127
    assert (bright.any(axis=0).sum(), bright.any(axis=1).sum()) == (40, 80)


def test_a_crop_is_never_a_view_of_the_frame() -> None:
    picture = _gradient(200, 200)
    crop_face(picture, _box(50, 70, 114, 134), None, PLAIN)[:] = 0
    assert picture[100, 100, 0] == 100


def _turned_dots(angle: float) -> tuple[RgbImage, Float32Array]:
    """Two bright dots for eyes, on a line turned by `angle` about (150, 150), 60 px apart; and points there."""
    picture = np.zeros((300, 300, 3), np.uint8)
    half = 30 * np.array([np.cos(angle), np.sin(angle)])
    eyes = np.array([150 - half, 150 + half])
    for x, y in eyes:
        picture[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 255
    points = np.concatenate([eyes, np.full((3, 2), 170.0)]).astype(np.float32)
    return picture, points


@pytest.mark.parametrize("degrees", [-60, -20, 0, 15, 40])
@pytest.mark.parametrize("size_px", [50, 100, 220])
def test_aligned_eyes_are_level_at_the_same_scale_and_centre(degrees: float, size_px: int) -> None:
    picture, points = _turned_dots(np.radians(degrees))
    spec = CropSpec(size_px=size_px, margin_frac=0.0, down_frac=0.0, align=True)
    crop = crop_face(picture, _box(100, 100, 200, 200), points, spec)[..., 0].astype(float)
    scale = size_px / 100
    for left, right, expected_x in ((0, size_px // 2, 20), (size_px // 2, size_px, 80)):
        side = crop[:, left:right]
        rows, columns = np.mgrid[: side.shape[0], left:right] + 0.5
        assert (rows * side).sum() / side.sum() == pytest.approx(50 * scale, abs=max(1.0, scale))
        assert (columns * side).sum() / side.sum() == pytest.approx(expected_x * scale, abs=max(1.0, scale))


def test_without_points_nothing_is_turned() -> None:
    picture = portrait()
    box = _box(170, 60, 275, 190)
    spec, aligned = CropSpec(), CropSpec(align=True)
    assert np.array_equal(crop_face(picture, box, None, spec), crop_face(picture, box, None, aligned))


def test_level_eyes_give_the_same_crop_aligned_or_not() -> None:
    picture = portrait()
    box = _box(150, 60, 278, 188)
    points = np.array([[190, 100], [240, 100], [215, 120], [195, 150], [235, 150]], np.float32)
    spec = CropSpec(size_px=128, margin_frac=0.0, down_frac=0.0)
    aligned = CropSpec(size_px=128, margin_frac=0.0, down_frac=0.0, align=True)
    difference = crop_face(picture, box, points, spec).astype(int) - crop_face(picture, box, points, aligned)
    assert np.abs(difference).mean() < 1.0


def test_the_centre_square_is_the_middle_of_the_frame() -> None:
    crop = centre_square(_gradient(200, 100), CropSpec(kind="centre_square", size_px=100))
    assert np.array_equal(crop, _gradient(200, 100)[:, 50:150])
    assert centre_square(_gradient(31, 77), CropSpec(kind="centre_square", size_px=16)).shape == (16, 16, 3)


def test_the_default_shows_faces_as_the_training_crops_do(shared: Path) -> None:
    """docs/decisions.md: in the DFDC crops eyes are 92 of 224 px apart and the points' mean lies in the middle."""
    pictures = [Frame(0, 0.0, rgb) for name, rgb in mtcnn_pictures.read(shared) if "crowd" not in name]
    seen = []
    for of_picture in create("mtcnn").detect(pictures):
        for face in of_picture:
            assert face.points is not None
            longer = max(face.width_px, face.height_px)
            middle = (face.box_xyxy[:2] + face.box_xyxy[2:]) / 2 + [0, CropSpec().down_frac * longer]
            points = (face.points - middle) * 224 / (longer * (1 + 2 * CropSpec().margin_frac))
            seen.append([np.hypot(*(points[1] - points[0])), *points.mean(axis=0)])
    eyes_px, right_px, down_px = np.median(seen, axis=0)
    assert eyes_px == pytest.approx(92, abs=6)
    assert (right_px, down_px) == pytest.approx((0, 0), abs=5)


@pytest.mark.parametrize("box", [(10, 10, 10, 40), (40, 10, 10, 40), (np.nan, 0, 10, 10), (0, 0, np.inf, 10)])
def test_a_box_without_area_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="box_xyxy must have"):
        crop_face(_gradient(50, 50), _box(*box), None, PLAIN)


@pytest.mark.parametrize("fields", [{"size_px": 2}, {"margin_frac": 9.0}, {"down_frac": 1.0}, {"kind": "oval"}])
def test_a_spec_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        CropSpec(**fields)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=100)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    corner=st.tuples(st.floats(-200, 200), st.floats(-200, 200)),
    sides=st.tuples(st.floats(0.5, 300), st.floats(0.5, 300)),
    margin=st.floats(-0.2, 1.5),
    angle=st.floats(-3.0, 3.0),
    align=st.booleans(),
)
def test_every_box_gives_a_square_of_the_pictures_own_values(
    size: tuple[int, int],
    corner: tuple[float, float],
    sides: tuple[float, float],
    margin: float,
    angle: float,
    align: bool,
) -> None:
    picture = np.full((size[1], size[0], 3), 77, np.uint8)
    box = _box(*corner, corner[0] + sides[0], corner[1] + sides[1])
    points = np.array([[0, 0], [np.cos(angle), np.sin(angle)], [0, 0], [0, 0], [0, 0]], np.float32)
    crop = crop_face(picture, box, points, CropSpec(size_px=32, margin_frac=margin, align=align))
    assert crop.shape == (32, 32, 3)
    assert crop.dtype == np.uint8
    assert (crop == 77).all()
