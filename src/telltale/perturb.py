"""What a picture goes through before somebody asks whether it is real, by kind and level: the suites of robustness.

    degrade(rgb, "noise", 3, rng=rng_of("clip.mp4", "noise", 3))

Levels 1 to 5 are those of DeeperForensics-1.0 (Jiang et al., CVPR 2020), of ImageNet-C (Hendrycks & Dietterich, ICLR
2019), and of what platforms do on delivery. They are meant for whole frames, before faces are cut; the same is done
to a real picture and a forged one. What has no scale of its own (blur, blocks, pixels) is in pixels of the picture
that is given, so a crop suffers more than a frame. Pictures of one clip (`degrade_clip`) go through a video encoder
together.

>>> degrade(np.full((64, 64, 3), 200, np.uint8), "contrast", 5, rng=np.random.default_rng(0)).max()
np.uint8(70)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from telltale.augment import jpeg
from telltale.errors import UnknownName
from telltale.recompress import through
from telltale.types import RgbImage

Float = npt.NDArray[np.float64]
Kind = Callable[[RgbImage, int, Callable[[], np.random.Generator]], RgbImage]
"""(clip, level 1-5, rng) -> clip, uint8 (T, H, W, 3)."""

LEVELS = (1, 2, 3, 4, 5)
_CROP_SIDE_PX = 480
"""A smaller picture is taken for a crop: it is shrunk as a frame of 1080 px that held it would be."""


def degrade(rgb: RgbImage, kind: str, level: int, *, rng: np.random.Generator) -> RgbImage:
    """`rgb`, uint8 (H, W, 3), after `kind` at `level`. Sizes may change. Raises UnknownName, ValueError."""
    (done,) = degrade_clip(rgb[None], kind, level, rng=lambda: rng)
    return np.asarray(done)


def degrade_clip(clip: RgbImage, kind: str, level: int, *, rng: Callable[[], np.random.Generator]) -> RgbImage:
    """`clip`, uint8 (T, H, W, 3), after `kind` at `level`: as one video through the kinds that encode; otherwise the
    same is done to each picture, with a new generator from `rng`, which gives the same each time."""
    if kind not in KINDS:
        raise UnknownName(f"there is no kind of perturbation {kind!r} (there are {', '.join(KINDS)})")
    if level not in LEVELS:
        raise ValueError(f"level must be 1 to 5, got {level}")
    return np.ascontiguousarray(KINDS[kind](clip, level, rng), np.uint8)


def rng_of(name: str, kind: str, level: int) -> np.random.Generator:
    """The generator for one picture or video: from its name, the kind and the level, so that every run is alike."""
    digest = hashlib.sha256(f"{name}\0{kind}\0{level}".encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(np.frombuffer(digest[:16], np.uint32))


def _bytes(x: Float) -> RgbImage:
    """From 0-1."""
    return np.clip(x * 255, 0, 255).round().astype(np.uint8)


def _unit(rgb: RgbImage) -> Float:
    return rgb.astype(np.float64) / 255


def _saturation(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    import cv2

    ycc = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb).astype(np.float64)
    ycc[..., 1:] = 128 + (ycc[..., 1:] - 128) * (0.4, 0.3, 0.2, 0.1, 0.0)[level - 1]
    return np.asarray(cv2.cvtColor(np.clip(ycc, 0, 255).round().astype(np.uint8), cv2.COLOR_YCrCb2RGB), np.uint8)


def _contrast(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    return _bytes(_unit(rgb) * (0.85, 0.725, 0.6, 0.475, 0.35)[level - 1])


def _blocks(rgb: RgbImage, level: int, rng: np.random.Generator) -> RgbImage:
    """The original counts in whole multiples of 256 px and so places none in a smaller picture."""
    height, width = rgb.shape[:2]
    n = max(1, round((16, 32, 48, 64, 80)[level - 1] * min(height, width) / 256))
    out = rgb.copy()
    for x, y in zip(rng.integers(0, max(1, width - 8), n), rng.integers(0, max(1, height - 8), n), strict=True):
        out[y : y + 8, x : x + 8] = 128
    return out


def _noise_in_ycc(rgb: RgbImage, level: int, rng: np.random.Generator) -> RgbImage:
    import cv2

    variance = (0.001, 0.002, 0.005, 0.01, 0.05)[level - 1]
    ycc = _unit(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb), np.uint8))
    noisy = _bytes(ycc + rng.normal(0, variance**0.5, ycc.shape))
    return np.asarray(cv2.cvtColor(noisy, cv2.COLOR_YCrCb2RGB), np.uint8)


def _blur(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    import cv2

    kernel = (7, 9, 13, 17, 21)[level - 1]
    return np.asarray(cv2.GaussianBlur(rgb, (kernel, kernel), kernel / 6), np.uint8)


def _pixels(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    return _pixelated(rgb, 1 / (2, 3, 4, 5, 6)[level - 1])


def _gaussian_noise(rgb: RgbImage, level: int, rng: np.random.Generator) -> RgbImage:
    return _bytes(_unit(rgb) + rng.normal(0, (0.08, 0.12, 0.18, 0.26, 0.38)[level - 1], rgb.shape))


def _shot_noise(rgb: RgbImage, level: int, rng: np.random.Generator) -> RgbImage:
    photons = (60, 25, 12, 5, 3)[level - 1]
    return _bytes(rng.poisson(_unit(rgb) * photons) / photons)


def _impulse_noise(rgb: RgbImage, level: int, rng: np.random.Generator) -> RgbImage:
    drawn = rng.random(rgb.shape)
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[level - 1]
    return np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 255, rgb)).astype(np.uint8)


def _defocus(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    import cv2

    radius = (3, 4, 6, 8, 10)[level - 1]
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = (x**2 + y**2 <= radius**2).astype(np.float64)
    return np.asarray(cv2.filter2D(rgb, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT), np.uint8)


def _motion(rgb: RgbImage, level: int, rng: np.random.Generator) -> RgbImage:
    """A line of Gaussian weights in a direction within 45 degrees of level."""
    import cv2

    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[level - 1]
    weights = np.exp(-(np.arange(2 * radius + 1, dtype=np.float64) ** 2) / (2 * sigma**2))
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
    for step, weight in enumerate(weights):
        kernel[round(2 * radius + step * np.sin(angle)), round(2 * radius + step * np.cos(angle))] += weight
    return np.asarray(cv2.filter2D(rgb, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.uint8)


def _brightness(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    import cv2

    hsv = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + level / 10, 0, 1)
    return _bytes(np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float64))


def _contrast_about_mean(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    x = _unit(rgb)
    mean = x.mean(axis=(0, 1), keepdims=True)
    return _bytes((x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[level - 1] + mean)


def _jpeg(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    return jpeg(rgb, (25, 18, 15, 10, 7)[level - 1])


def _pixelate(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    return _pixelated(rgb, (0.6, 0.5, 0.4, 0.3, 0.25)[level - 1])


def _pixelated(rgb: RgbImage, scale: float) -> RgbImage:
    import cv2

    height, width = rgb.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _size(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    """To a long side of 1080, 720 .. px, never larger; a crop by the same factor, and up again."""
    longest = (1080, 720, 540, 360, 240)[level - 1]
    if max(rgb.shape[:2]) > _CROP_SIDE_PX:
        return _resized(rgb, min(1.0, longest / max(rgb.shape[:2])))
    height, width = rgb.shape[:2]
    return _to(_resized(rgb, longest / 1080), width, height)


def _resized(rgb: RgbImage, scale: float) -> RgbImage:
    height, width = rgb.shape[:2]
    return _to(rgb, max(2, round(width * scale)), max(2, round(height * scale)))


def _to(rgb: RgbImage, width: int, height: int) -> RgbImage:
    import cv2

    how = cv2.INTER_AREA if width < rgb.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), np.uint8)


def _crop(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    """5 to 25 % of width and height cut off; a crop is brought to its size again, as a closer camera would."""
    height, width = rgb.shape[:2]
    x, y = round(width * level / 40), round(height * level / 40)
    inner = rgb[y : height - y, x : width - x]
    return inner if max(height, width) > _CROP_SIDE_PX else _to(inner, width, height)


def _pad(rgb: RgbImage, level: int, _rng: np.random.Generator) -> RgbImage:
    """Black bars of 5 to 25 % around; a crop keeps its size."""
    height, width = rgb.shape[:2]
    x, y = round(width * level / 40), round(height * level / 40)
    padded = np.pad(rgb, ((y, y), (x, x), (0, 0)))
    return padded if max(height, width) > _CROP_SIDE_PX else _to(padded, width, height)


def _flip(rgb: RgbImage, _level: int, _rng: np.random.Generator) -> RgbImage:
    return rgb[:, ::-1]


def _caption(rgb: RgbImage, level: int, rng: np.random.Generator) -> RgbImage:
    """A bar with letters across, the lower the level the thinner, over the lower third."""
    import cv2

    out = rgb.copy()
    height, width = out.shape[:2]
    tall = max(4, round(height * (0.05, 0.08, 0.11, 0.15, 0.2)[level - 1]))
    top = min(height - tall, round(height * rng.uniform(0.62, 0.8)))
    out[top : top + tall] = out[top : top + tall] // 4
    where, scale = (round(width * 0.05), top + round(tall * 0.75)), tall / 40
    cv2.putText(
        out, "WHAT THEY SAID", where, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), max(1, round(tall / 15))
    )
    return out


def _each(change: Callable[[RgbImage, int, np.random.Generator], RgbImage]) -> Kind:
    """What is done to each picture, uint8 (H, W, 3)."""
    return lambda clip, level, rng: np.stack([change(rgb, level, rng()) for rgb in clip])


def _encoded(encoder: str, *quality: int) -> Kind:
    """By level."""
    return lambda clip, level, _rng: through(clip, encoder, quality[level - 1])


_h264 = _encoded("libx264", 18, 23, 28, 33, 40)
_vp9 = _encoded("libvpx-vp9", 31, 36, 41, 46, 51)


def _two_passes(clip: RgbImage, level: int, rng: Callable[[], np.random.Generator]) -> RgbImage:
    """Uploaded, then fetched and uploaded again."""
    return _h264(DELIVERY["size"](_h264(clip, level, rng), min(level, 3), rng), level, rng)


def _three_passes(clip: RgbImage, level: int, rng: Callable[[], np.random.Generator]) -> RgbImage:
    return _vp9(_two_passes(clip, level, rng), level, rng)


DEEPER_FORENSICS: Mapping[str, Kind] = MappingProxyType(
    {
        "saturation": _each(_saturation), "contrast": _each(_contrast), "blocks": _each(_blocks),
        "noise": _each(_noise_in_ycc), "blur": _each(_blur), "pixels": _each(_pixels),
        "h264_strong": _encoded("libx264", 30, 32, 35, 38, 40),
    }
)  # fmt: skip
IMAGENET_C: Mapping[str, Kind] = MappingProxyType(
    {
        "gaussian_noise": _each(_gaussian_noise), "shot_noise": _each(_shot_noise),
        "impulse_noise": _each(_impulse_noise), "defocus": _each(_defocus), "motion": _each(_motion),
        "brightness": _each(_brightness), "flat_contrast": _each(_contrast_about_mean), "jpeg": _each(_jpeg),
        "pixelate": _each(_pixelate),
    }
)  # fmt: skip
DELIVERY: Mapping[str, Kind] = MappingProxyType(
    {
        "h264": _h264, "hevc": _encoded("libx265", 24, 28, 32, 36, 40), "vp9": _vp9, "size": _each(_size),
        "two_passes": _two_passes, "three_passes": _three_passes, "crop": _each(_crop), "pad": _each(_pad),
        "caption": _each(_caption), "flip": _each(_flip),
    }
)  # fmt: skip
KINDS: Mapping[str, Kind] = MappingProxyType({**DEEPER_FORENSICS, **IMAGENET_C, **DELIVERY})

__all__ = ["DEEPER_FORENSICS", "DELIVERY", "IMAGENET_C", "KINDS", "LEVELS", "degrade", "degrade_clip", "rng_of"]
