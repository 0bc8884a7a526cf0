"""What happens to a face on its way to a viewer, drawn at random: framing, light, scaling, blur, noise, compression.

Everything is drawn once a clip and done to every frame alike, and drawn in the same way for real and fake, so that
no trace of the augmentation can stand for a class.

>>> clip = np.full((2, 96, 96, 3), 128, np.uint8)
>>> out = augment_clip(clip, centre_xy=(48, 48), side_px=80, size_px=64, rng=np.random.default_rng(0))
>>> out.shape, out.dtype
((2, 64, 64, 3), dtype('uint8'))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale._overlay import overlay
from telltale._rough import rough
from telltale.recompress import CODECS, recompress
from telltale.types import RgbImage

Picture = npt.NDArray[np.uint8]
Step = Callable[[Picture], Picture]

_RANGES = {"scale": (0.01, 100), "rescale_px": (1, 4096), "jpeg_quality": (1, 100), "film_px": (16, 4096)}
"""Fields that are two numbers, and between which both must lie. No video codec takes less than 16 pixels."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much of each. `*_p` is the chance that a step happens at all. The defaults train the default model.

    Raises ValueError for a chance outside 0 to 1, a range whose ends are swapped or too far out, a number below 0.
    """

    scale: tuple[float, float] = (0.8, 1.3)
    """Side of the square that is cut out, as a multiple of the one a scan would cut."""
    shift_frac: float = 0.08
    """How far its centre may lie off, as a fraction of its side."""
    rotation_deg: float = 10.0
    shear_deg: float = 0.0
    aspect: float = 0.06
    flip_p: float = 0.5
    plain_p: float = 0.0
    """How many clips are framed as a scan frames them, at most mirrored. What is done to a clip after framing
    (`contrast`, `overlay_p`, `degrade_p`) is drawn apart from this."""
    degrade_p: float = 0.6
    """The chance that anything below happens at all: the rest of the clips are only framed."""
    light_p: float = 0.7
    """Brightness, contrast, gamma, saturation, white balance."""
    cast_p: float = 0.0
    """How many of those are as far off as old cameras: a strong colour cast, saturated up to clipping or pale."""
    contrast: float = 0.0
    """Differences from the picture's mean are multiplied by 1 - this to 1 + this, whatever `degrade_p` says."""
    rough_p: float = 0.0
    """Strong noise, hardly any light or contrast, out of focus, moved: one of them, or two."""
    grey_p: float = 0.08
    rescale_p: float = 0.5
    """Down to `rescale_px` and up again."""
    rescale_px: tuple[int, int] = (56, 200)
    blur_p: float = 0.15
    sharpen_p: float = 0.1
    noise_p: float = 0.2
    jpeg_p: float = 0.65
    jpeg_quality: tuple[int, int] = (28, 96)
    film_p: float = 0.0
    """Through a video codec at `film_px`, MPEG-1 to H.264, and up again."""
    film_px: tuple[int, int] = (72, 208)
    cutout_p: float = 0.15
    """A rectangle of one colour over a part of the face."""
    overlay_p: float = 0.0
    """Captions or stickers over the face, whatever `plain_p` and `degrade_p` say."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _RANGES:
                least, most = _RANGES[field.name]
                low, high = value
                if not least <= low <= high <= most:
                    raise ValueError(f"{field.name} must be from {least} to {most}, lower end first, got {low}, {high}")
            elif field.name.endswith("_p"):
                if not 0 <= value <= 1:
                    raise ValueError(f"{field.name} must be a chance from 0 to 1, got {value}")
            elif not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} must be 0 or more, got {value}")

    def framing(self) -> Augmentation:
        """Only what frames a clip: from the same draws the same cut of it, clean."""
        return replace(self, contrast=0.0, overlay_p=0.0, degrade_p=0.0)


NONE = Augmentation(scale=(1.0, 1.0), shift_frac=0, rotation_deg=0, aspect=0, flip_p=0, degrade_p=0)
"""Only cut out and scaled."""


def augment_clip(
    rgb: RgbImage,
    *,
    centre_xy: npt.ArrayLike,
    side_px: float,
    size_px: int,
    rng: np.random.Generator,
    spec: Augmentation | None = None,
) -> RgbImage:
    """Crop and degrade a clip uint8 (T, H, W, 3) -> (T, S, S, 3), every frame alike.

    `centre_xy` (2,) and `side_px`, in pixels of the pictures given, are the square that a scan would cut
    (`crops.crop_face`); what is cut lies around it. Where it reaches outside, edges are repeated.
    """
    return augment_marked(rgb, None, centre_xy=centre_xy, side_px=side_px, size_px=size_px, rng=rng, spec=spec)[0]


def augment_marked(
    rgb: RgbImage,
    marks: Picture | None,
    *,
    centre_xy: npt.ArrayLike,
    side_px: float,
    size_px: int,
    rng: np.random.Generator,
    spec: Augmentation | None = None,
) -> tuple[RgbImage, Picture | None]:
    """`augment_clip`, and `marks` uint8 (H, W) framed as the clip is: (S, S), each place where it went."""
    spec = Augmentation() if spec is None else spec
    framing = _framing(np.asarray(centre_xy, np.float64), side_px, size_px, rng, spec)
    steps = [framing, *([_contrast(rng, spec.contrast)] if spec.contrast else [])]
    if spec.overlay_p and rng.random() < spec.overlay_p:
        steps.append(overlay(size_px, rng))
    degraded = rng.random() < spec.degrade_p
    if degraded:
        steps += _quality(size_px, rng, spec)
    out = []
    for frame in rgb:
        picture: Picture = frame
        for step in steps:
            picture = step(picture)
        out.append(picture)
    clip = np.ascontiguousarray(np.stack(out))
    clip = _film(clip, rng, spec.film_px) if degraded and rng.random() < spec.film_p else clip
    return clip, None if marks is None else framing(marks)


def _framing(
    centre: npt.NDArray[np.float64], side_px: float, size_px: int, rng: np.random.Generator, spec: Augmentation
) -> Step:
    """One affine map from the picture to the square: no second resampling."""
    import cv2

    if spec.plain_p and rng.random() < spec.plain_p:
        spec = replace(NONE, flip_p=spec.flip_p)
    side = side_px * np.exp(rng.uniform(*np.log(spec.scale)))
    centre = centre + rng.uniform(-1, 1, 2) * spec.shift_frac * side_px
    angle = np.deg2rad(rng.uniform(-1, 1) * spec.rotation_deg)
    aspect = np.exp(rng.uniform(-1, 1) * spec.aspect / 2)
    mirror = -1.0 if rng.random() < spec.flip_p else 1.0
    border = int(rng.choice([cv2.BORDER_REPLICATE, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101]))
    enlarge = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    shear = np.tan(np.deg2rad(rng.uniform(-1, 1) * spec.shear_deg)) if spec.shear_deg else 0.0

    def step(picture: Picture) -> Picture:
        scale = size_px / side
        at = centre - 0.5  # pixel centres lie at whole numbers in OpenCV's maps, at halves in boxes
        if scale < 0.75:  # warpAffine samples single pixels: average first
            height, width = picture.shape[:2]
            factor = scale * 1.1
            new = (max(8, round(width * factor)), max(8, round(height * factor)))
            picture = _u8(cv2.resize(picture, new, interpolation=cv2.INTER_AREA))
            at = centre * np.array([new[0] / width, new[1] / height]) - 0.5
            scale = scale * width / new[0]
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[mirror * aspect * cos, -mirror * aspect * sin], [sin / aspect, cos / aspect]])
        linear = linear @ np.array([[1.0, shear], [0.0, 1.0]])
        offset = (size_px - 1) / 2 - linear @ at
        matrix = np.hstack([linear, offset[:, None]])
        return _u8(cv2.warpAffine(picture, matrix, (size_px, size_px), flags=enlarge, borderMode=border))

    return step


def _quality(size_px: int, rng: np.random.Generator, spec: Augmentation) -> list[Step]:
    """The steps drawn for this clip: light first, then what cameras and uploads do, in any order, compression last."""
    steps: list[Step] = []
    if rng.random() < spec.light_p:
        steps.append(_light(rng, cast_p=spec.cast_p))
    if rng.random() < spec.grey_p:
        steps.append(lambda p: np.repeat((p @ np.array([0.299, 0.587, 0.114]))[..., None], 3, 2).astype(np.uint8))
    if rng.random() < spec.cutout_p:
        steps.append(_cutout(size_px, rng))
    if spec.rough_p and rng.random() < spec.rough_p:
        steps.append(rough(size_px, rng))
    middle: list[Step] = []
    if rng.random() < spec.rescale_p:
        middle.append(_rescale(rng, spec.rescale_px))
    if rng.random() < spec.blur_p:
        middle.append(_blur(float(np.exp(rng.uniform(np.log(0.4), np.log(1.8)))) * size_px / 160))
    if rng.random() < spec.sharpen_p:
        middle.append(_sharpen(float(rng.uniform(0.2, 1.0))))
    if rng.random() < spec.noise_p:
        middle.append(_noise(size_px, rng))
    if rng.random() < spec.jpeg_p / 3:
        mild = max(50, spec.jpeg_quality[0])
        middle.append(_jpeg(int(rng.integers(mild, max(99, mild + 1)))))
    rng.shuffle(middle)
    steps += middle
    if rng.random() < spec.jpeg_p:
        steps.append(_jpeg(int(rng.integers(spec.jpeg_quality[0], spec.jpeg_quality[1] + 1))))
    return steps


def _contrast(rng: np.random.Generator, most: float) -> Step:
    factor = float(rng.uniform(1 - most, 1 + most))
    return lambda p: np.clip((p - p.mean()) * factor + p.mean(), 0, 255).astype(np.uint8)


def _light(rng: np.random.Generator, *, cast_p: float = 0.0) -> Step:
    cast = cast_p > 0 and rng.random() < cast_p
    gain = np.exp(rng.uniform(-0.25, 0.25)) * np.exp(rng.normal(0, 0.16 if cast else 0.05, 3))
    offset = rng.uniform(-18, 18)
    gamma = np.exp(rng.uniform(-0.25, 0.25))
    saturation = float(np.exp(rng.uniform(np.log(0.35), np.log(2.6))) if cast else rng.uniform(0.6, 1.35))
    x = np.arange(256)[:, None] / 255.0
    table = np.clip((x**gamma - 0.5) * gain * 255 + 127.5 + offset, 0, 255)
    tables = np.rint(table).astype(np.uint8)

    def step(picture: Picture) -> Picture:
        import cv2

        lit = _u8(cv2.LUT(picture, tables[None]))
        grey = cv2.cvtColor(lit, cv2.COLOR_RGB2GRAY)
        return _u8(cv2.addWeighted(lit, saturation, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - saturation, 0))

    return step


def _rescale(rng: np.random.Generator, px: tuple[int, int]) -> Step:
    import cv2

    size = int(np.exp(rng.uniform(*np.log(px))))
    down = int(rng.choice([cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    up = int(
        rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_CUBIC, cv2.INTER_NEAREST], p=[0.4, 0.4, 0.15, 0.05])
    )

    def step(picture: Picture) -> Picture:
        full = picture.shape[0]
        if size >= full:
            return picture
        return _u8(cv2.resize(cv2.resize(picture, (size, size), interpolation=down), (full, full), interpolation=up))

    return step


def _blur(sigma: float) -> Step:
    def step(picture: Picture) -> Picture:
        import cv2

        return _u8(cv2.GaussianBlur(picture, (0, 0), sigma))

    return step


def _sharpen(amount: float) -> Step:
    def step(picture: Picture) -> Picture:
        import cv2

        return _u8(cv2.addWeighted(picture, 1 + amount, cv2.GaussianBlur(picture, (0, 0), 1.0), -amount, 0))

    return step


def _noise(size_px: int, rng: np.random.Generator) -> Step:
    import cv2

    sigma = float(rng.uniform(1.5, 9))
    noise = rng.standard_normal((size_px, size_px, 3 if rng.random() < 0.5 else 1), np.float32) * sigma
    if rng.random() < 0.3:  # coarse grain
        noise = cv2.GaussianBlur(noise, (0, 0), 0.8).reshape(noise.shape) * 2.0

    def step(picture: Picture) -> Picture:
        return np.clip(picture + noise, 0, 255).astype(np.uint8)

    return step


def _cutout(size_px: int, rng: np.random.Generator) -> Step:
    width, height = (rng.uniform(0.1, 0.45, 2) * size_px).astype(int)
    x, y = int(rng.integers(0, size_px - width)), int(rng.integers(0, size_px - height))
    colour = rng.integers(0, 256, 3).astype(np.uint8)

    def step(picture: Picture) -> Picture:
        picture = picture.copy()
        picture[y : y + height, x : x + width] = colour
        return picture

    return step


def _jpeg(quality: int) -> Step:
    return lambda picture: jpeg(picture, quality)


def _film(clip: RgbImage, rng: np.random.Generator, px: tuple[int, int]) -> RgbImage:
    """The clip as a small video of another time, shown at the size it had."""
    import cv2

    full = clip.shape[1]
    size = min(int(np.exp(rng.uniform(*np.log(px)))), full) // 2 * 2
    codec = str(rng.choice(list(CODECS)))
    low, high = CODECS[codec]
    small = np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in clip])
    small = recompress(_u8(small), codec=codec, quality=int(rng.integers(low, high + 1)))
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    return _u8(np.stack([cv2.resize(frame, (full, full), interpolation=how) for frame in small]))


def jpeg(rgb: RgbImage, quality: int) -> RgbImage:
    """uint8 (H, W, 3) after one JPEG compression at `quality` 1-100."""
    import cv2

    ok, coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"a picture of {rgb.shape} could not be compressed")
    return _u8(cv2.cvtColor(_u8(cv2.imdecode(coded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB))


def half_size(rgb: RgbImage) -> RgbImage:
    """uint8 (H, W, 3) after halving and doubling its size."""
    import cv2

    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return _u8(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _u8(picture: Any) -> Picture:
    return np.asarray(picture, np.uint8)


__all__ = ["NONE", "Augmentation", "augment_clip", "augment_marked", "half_size", "jpeg"]
