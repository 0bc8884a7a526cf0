"""What uploads do to a face, at fixed strengths: how much of a model's figures is left then.

>>> sorted(suite("resolution"))
['half_size', 'quarter_size']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from telltale import perturb
from telltale.augment import half_size, jpeg
from telltale.errors import UnknownName, nearest
from telltale.evaluate._score import Change
from telltale.types import RgbImage

GRIDS: Mapping[str, Mapping[str, perturb.Kind]] = MappingProxyType(
    {
        "deeperforensics": perturb.DEEPER_FORENSICS,
        "imagenet_c": perturb.IMAGENET_C,
        "delivery": perturb.DELIVERY,
        "robustness": perturb.KINDS,
    }
)
"""Suites with levels, whose figures make a grid."""


def kind_and_level(name: str) -> tuple[str, int]:
    """Of a change of one of `GRIDS`; ("", 0) for others."""
    kind, _, level = name.rpartition("-")
    return (kind, int(level)) if kind in perturb.KINDS else ("", 0)


def _levels(kind: str) -> tuple[int, ...]:
    return perturb.LEVELS if kind != "flip" else (1,)


OneByOne = Callable[[RgbImage, np.random.Generator], RgbImage]
"""What is done to each crop, uint8 (S, S, 3)."""


def _degrade(kind: str, level: int) -> Change:
    def change(clip: RgbImage, rng: Callable[[], np.random.Generator]) -> RgbImage:
        import cv2

        done = perturb.degrade_clip(clip, kind, level, rng=rng)
        if done.shape == clip.shape:
            return done
        height, width = clip.shape[1:3]
        back = [cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA) for rgb in done]
        return np.stack(back).astype(np.uint8, copy=False)

    return change


def _each(change: OneByOne) -> Change:
    return lambda clip, rng: np.stack([change(rgb, rng()) for rgb in clip])


def _jpeg(quality: int) -> OneByOne:
    return lambda rgb, _rng: jpeg(rgb, quality)


def _quarter_size(rgb: RgbImage, _rng: np.random.Generator) -> RgbImage:
    import cv2

    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blur(sigma_frac: float) -> OneByOne:
    """`sigma_frac` of the crop's side."""

    def blur(rgb: RgbImage, _rng: np.random.Generator) -> RgbImage:
        import cv2

        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_frac * rgb.shape[0]), np.uint8)

    return blur


def _noise(sigma: float) -> OneByOne:
    def noise(rgb: RgbImage, rng: np.random.Generator) -> RgbImage:
        return np.clip(rgb + rng.normal(0, sigma, rgb.shape), 0, 255).round().astype(np.uint8)

    return noise


def _gamma(power: float) -> OneByOne:
    table = (255 * (np.arange(256) / 255) ** power).round().astype(np.uint8)
    return lambda rgb, _rng: table[rgb]


def _grey(rgb: RgbImage, _rng: np.random.Generator) -> RgbImage:
    grey = (rgb @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


_PLAIN: dict[str, Mapping[str, OneByOne]] = {
    "compression": {f"jpeg_{quality}": _jpeg(quality) for quality in (90, 70, 50, 30)},
    "resolution": {"half_size": lambda rgb, _rng: half_size(rgb), "quarter_size": _quarter_size},
    "blur": {"blur_1pct": _blur(0.01), "blur_2pct": _blur(0.02)},
    "noise": {"noise_5": _noise(5), "noise_15": _noise(15)},
    "light": {"darker": _gamma(1.8), "brighter": _gamma(0.55), "grey": _grey},
}
_GRADED: dict[str, Mapping[str, Change]] = {
    name: {f"{kind}-{level}": _degrade(kind, level) for kind in kinds for level in _levels(kind)}
    for name, kinds in GRIDS.items()
}
SUITES: Mapping[str, Mapping[str, Change]] = MappingProxyType(
    {name: {key: _each(change) for key, change in changes.items()} for name, changes in _PLAIN.items()} | _GRADED
)
"""Suite -> name -> change. Sigmas of blur are in percent of the crop's side, those of noise in grey levels."""


def suite_names() -> list[str]:
    """`standard` takes every change without levels, `robustness` every one with them."""
    return ["standard", *SUITES]


def suite(name: str) -> dict[str, Change]:
    """The changes of a suite. Raises UnknownName."""
    if name == "standard":
        return {key: change for part, changes in SUITES.items() if part not in GRIDS for key, change in changes.items()}
    if name not in SUITES:
        there_are = f"(there are {', '.join(suite_names())}){nearest(name, suite_names())}"
        raise UnknownName(f"there is no perturbation suite {name!r} {there_are}")
    return dict(SUITES[name])
