"""What poor light, a shaking hand and a lens out of focus do to a picture. Drawn at random for `augment`.

step = rough(224, np.random.default_rng(0))
step(picture)                   # uint8 (224, 224, 3) -> the same
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Step = Callable[[Picture], Picture]


def rough(size_px: int, rng: np.random.Generator) -> Step:
    """One of these for pictures of `size_px`; in a quarter of the cases another one after it."""
    kinds = [_defocus, _motion, _dim, _flat, _grain, _photons, _specks]  # light and lens before the sensor
    drawn = sorted(rng.choice(len(kinds), 2 if rng.random() < 0.25 else 1, replace=False))
    steps = [kinds[number](size_px, rng) for number in drawn]

    def step(picture: Picture) -> Picture:
        for one in steps:
            picture = one(picture)
        return picture

    return step


def _between(rng: np.random.Generator, least: float, most: float) -> float:
    """Evenly by their logarithms."""
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))


def _defocus(size_px: int, rng: np.random.Generator) -> Step:
    """A disc, as an open lens makes it."""
    return _filtered(_disc(_between(rng, 1.2, 8.0) * size_px / 224))


def _disc(radius_px: float) -> npt.NDArray[np.float32]:
    reach = int(np.ceil(radius_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc: npt.NDArray[np.float32] = np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return disc


def _motion(size_px: int, rng: np.random.Generator) -> Step:
    """A straight line in any direction, as an exposure draws it."""
    import cv2

    half = _between(rng, 2.0, 16.0) * size_px / 224
    angle = rng.uniform(0, np.pi)
    reach = int(np.ceil(half)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    fraction = 16  # cv2.line takes ends in 1 / 2**4 of a pixel
    ends = [(reach + sign * half * np.array([np.cos(angle), np.sin(angle)])) * fraction for sign in (-1, 1)]
    first, last = ((round(float(x)), round(float(y))) for x, y in ends)
    cv2.line(kernel, first, last, 255, lineType=cv2.LINE_AA, shift=4)
    return _filtered(kernel.astype(np.float32))


def _filtered(kernel: npt.NDArray[np.float32]) -> Step:
    import cv2

    kernel = kernel / kernel.sum()
    return lambda picture: np.asarray(cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT), np.uint8)


def _dim(size_px: int, rng: np.random.Generator) -> Step:
    """Little light, which the camera made up for in part: the sensor's noise comes up with it."""
    light, gain = _between(rng, 0.08, 0.5), rng.uniform(0.3, 1.0)
    noise = rng.standard_normal((size_px, size_px, 3), np.float32) * rng.uniform(1.0, 4.0)
    return lambda picture: _u8((picture * light + noise) * light**-gain)


def _flat(_size_px: int, rng: np.random.Generator) -> Step:
    """Little contrast: haze, a dirty lens, backlight."""
    left, towards = _between(rng, 0.06, 0.6), rng.uniform(0.6, 1.4)
    return lambda picture: _u8((picture - picture.mean()) * left + min(picture.mean() * towards, 255.0))


def _grain(size_px: int, rng: np.random.Generator) -> Step:
    sigma = _between(rng, 6.0, 70.0)
    noise = rng.standard_normal((size_px, size_px, int(rng.choice([1, 3]))), np.float32) * sigma
    return lambda picture: _u8(picture + noise)


def _photons(_size_px: int, rng: np.random.Generator) -> Step:
    """Shot noise: so many photons a pixel where it is white."""
    most = _between(rng, 4.0, 150.0)
    seed = int(rng.integers(2**31))  # drawn once a clip: every frame alike
    return lambda picture: _u8(np.random.default_rng(seed).poisson(picture * (most / 255)) * (255 / most))


def _specks(size_px: int, rng: np.random.Generator) -> Step:
    """Single values that are black or white."""
    share = _between(rng, 0.01, 0.2)
    drawn = rng.random((size_px, size_px, int(rng.choice([1, 3]))), np.float32)
    black, white = drawn < share / 2, drawn > 1 - share / 2
    return lambda picture: np.where(black, 0, np.where(white, 255, picture)).astype(np.uint8)


def _u8(values: npt.NDArray[np.floating]) -> Picture:
    picture: Picture = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return picture
