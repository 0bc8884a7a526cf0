"""Pyramids are what OpenCV's area average gives, whatever the sizes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from telltale.faces._pyramid import levels_of
from telltale.types import RgbImage


def noise(height: int, width: int) -> RgbImage:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("picture_wh", [(720, 405), (64, 48), (61, 97), (40, 2000), (2000, 2000)])
def test_every_level_is_the_average_of_the_area_it_covers(picture_wh: tuple[int, int]) -> None:
    width, height = picture_wh
    rgb = noise(height, width)
    sizes = [(max(1, int(width * scale)), max(1, int(height * scale))) for scale in (0.9, 0.5, 0.3, 0.21, 0.05)]
    levels = list(levels_of(rgb, sizes))
    for (w, h), level in zip(sizes, levels, strict=True):
        assert level.shape == (h, w, 3)
        assert level.dtype == np.float32
        expected = cv2.resize(rgb.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(level, expected, atol=height / 40_000)


@pytest.mark.parametrize("factor", [1.0, 1.5, 3.0])
def test_a_level_as_large_as_the_picture_or_larger_is_opencvs_own(factor: float) -> None:
    rgb = noise(30, 40)
    size = int(40 * factor), int(30 * factor)
    (level,) = levels_of(rgb, [size])
    np.testing.assert_array_equal(level, cv2.resize(rgb.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def test_a_picture_of_white_stays_white_to_the_last_row() -> None:
    for level in levels_of(np.full((1999, 7, 3), 255, np.uint8), [(6, 1501), (5, 403), (1, 1)]):
        np.testing.assert_allclose(level, 255.0, atol=0.05)
