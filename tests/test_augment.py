from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import make_faces
from telltale.augment import NONE, Augmentation, augment_clip, half_size, jpeg
from telltale.crops import CropSpec, crop_face
from telltale.types import RgbImage

ALWAYS = Augmentation(
    degrade_p=1, light_p=1, grey_p=1, rescale_p=1, blur_p=1, sharpen_p=1, noise_p=1, jpeg_p=1, cutout_p=1, flip_p=1
)
OVERLAID = replace(NONE, flip_p=0, overlay_p=1.0)


def _face(seed: int = 0) -> RgbImage:
    return make_faces.face(np.random.default_rng(seed))


def _augmented(clip: RgbImage, *, seed: int, spec: Augmentation | None = None) -> RgbImage:
    rng = np.random.default_rng(seed)
    return augment_clip(clip, centre_xy=(48, 48), side_px=90, size_px=64, rng=rng, spec=spec)


@pytest.mark.parametrize("seed", range(12))
def test_every_frame_of_a_clip_is_changed_alike(seed: int) -> None:
    clip = np.repeat(_face()[None], 3, axis=0)
    out = _augmented(clip, seed=seed, spec=ALWAYS)
    assert out.shape == (3, 64, 64, 3)
    assert out.dtype == np.uint8
    assert (out[0] == out[1]).all()
    assert (out[0] == out[2]).all()


def test_the_same_seed_gives_the_same_picture_and_another_another() -> None:
    clip = _face()[None]
    assert (_augmented(clip, seed=5) == _augmented(clip, seed=5)).all()
    assert (_augmented(clip, seed=5) != _augmented(clip, seed=6)).any()


def test_without_augmentation_a_face_is_cut_as_a_scan_cuts_it() -> None:
    picture = _face()
    spec = CropSpec(size_px=64, margin_frac=0.0, down_frac=0.0)
    scanned = crop_face(picture, np.array([8, 8, 88, 88], np.float32), None, spec)
    rng = np.random.default_rng(0)
    trained = augment_clip(picture[None], centre_xy=(48, 48), side_px=80, size_px=64, rng=rng, spec=NONE)[0]
    inner = slice(4, -4)
    off = np.abs(trained.astype(float) - scanned.astype(float))[inner, inner]
    assert off.mean() < 6


def test_a_crop_of_the_right_size_keeps_every_pixel() -> None:
    picture = _face()
    cut = augment_clip(
        picture[None], centre_xy=(48, 48), side_px=96, size_px=96, rng=np.random.default_rng(0), spec=NONE
    )
    assert (cut[0] == picture).all()


def test_plain_clips_are_at_most_mirrored() -> None:
    picture = _face()
    spec = Augmentation(plain_p=1.0, degrade_p=0.0)
    cuts = [
        augment_clip(picture[None], centre_xy=(48, 48), side_px=96, size_px=96, rng=np.random.default_rng(i), spec=spec)
        for i in range(12)
    ]
    mirrored = [(cut[0] == picture[:, ::-1]).all() for cut in cuts]
    assert all(is_mirrored or (cut[0] == picture).all() for cut, is_mirrored in zip(cuts, mirrored, strict=True))
    assert 0 < sum(mirrored) < 12


def test_a_cut_that_reaches_outside_repeats_the_edge() -> None:
    picture = np.full((40, 40, 3), 77, np.uint8)
    rng = np.random.default_rng(0)
    out = augment_clip(picture[None], centre_xy=(0, 0), side_px=120, size_px=32, rng=rng, spec=NONE)
    assert (out == 77).all()


def test_flipping_only_mirrors() -> None:
    flipped = replace(NONE, flip_p=1.0)
    picture = _face()
    rng = np.random.default_rng(0)
    mirrored = augment_clip(picture[None], centre_xy=(48, 48), side_px=96, size_px=96, rng=rng, spec=flipped)
    assert (mirrored[0] == picture[:, ::-1]).all()


def test_stronger_compression_loses_more() -> None:
    picture = _face().astype(float)
    losses = [np.abs(jpeg(picture.astype(np.uint8), quality) - picture).mean() for quality in (90, 50, 10)]
    assert losses == sorted(losses)


def test_half_size_keeps_the_shape_and_loses_detail() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert half_size(noise).shape == noise.shape
    assert half_size(noise).std() < 0.6 * noise.std()


@pytest.mark.parametrize("seed", range(6))
def test_film_keeps_size_and_length(seed: int) -> None:
    spec = Augmentation(degrade_p=1, film_p=1, film_px=(32, 64))
    out = _augmented(np.repeat(_face()[None], 4, axis=0), seed=seed, spec=spec)
    assert out.shape == (4, 64, 64, 3)


def test_a_colour_cast_moves_colours_further() -> None:
    clip = _face()[None]
    still = Augmentation(scale=(1, 1), shift_frac=0, rotation_deg=0, aspect=0, flip_p=0, degrade_p=0)
    none = dict.fromkeys(("grey_p", "rescale_p", "blur_p", "sharpen_p", "noise_p", "jpeg_p", "cutout_p"), 0.0)

    def colour(spec: Augmentation, seed: int) -> npt.NDArray[np.float64]:
        picture = _augmented(clip, seed=seed, spec=spec).astype(np.float64)
        return np.asarray(picture - picture.mean(-1, keepdims=True))

    def moved(cast_p: float) -> float:
        lit = replace(still, degrade_p=1, light_p=1, cast_p=cast_p, **none)  # type: ignore[arg-type]
        return float(np.mean([np.abs(colour(lit, seed) - colour(still, seed)).mean() for seed in range(20)]))

    assert moved(1.0) > 1.5 * moved(0.0)


@pytest.mark.parametrize("name", [name for name in Augmentation.__dataclass_fields__ if name.endswith("_p")])
@pytest.mark.parametrize("chance", [-0.1, 1.1, float("nan")])
def test_a_chance_lies_between_0_and_1(name: str, chance: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a chance from 0 to 1"):
        Augmentation(**{name: chance})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (1.2, 0.8)}, {"scale": (0, 1)}, {"jpeg_quality": (96, 28)}, {"jpeg_quality": (50, 101)},
        {"film_px": (2, 64)}, {"rescale_px": (0, 64)}, {"shift_frac": -0.1}, {"contrast": float("inf")},
    ],
)  # fmt: skip
def test_what_no_picture_can_be_drawn_from_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(NONE, **wrong)


@pytest.mark.parametrize("quality", [(99, 100), (100, 100)])
def test_the_mildest_compression_can_be_asked_for(quality: tuple[int, int]) -> None:
    spec = replace(ALWAYS, jpeg_quality=quality)
    assert all(_augmented(_face()[None], seed=seed, spec=spec).shape == (1, 64, 64, 3) for seed in range(8))


def _overlaid(seed: int, *, spec: Augmentation = OVERLAID) -> RgbImage:
    return augment_clip(
        np.repeat(_face()[None], 2, axis=0), centre_xy=(48, 48), side_px=96, size_px=96,
        rng=np.random.default_rng(seed), spec=spec,
    )  # fmt: skip


def test_captions_and_stickers_cover_a_part_of_a_face_and_leave_the_rest() -> None:
    changed = [(_overlaid(seed)[0] != _face()).any(axis=2).mean() for seed in range(60)]
    assert np.count_nonzero(changed) > 50  # a few lie outside
    assert 0.02 < np.median(changed) < 0.3
    assert max(changed) < 0.8


def test_every_frame_of_a_clip_has_the_same_caption() -> None:
    for seed in range(5):
        first, second = _overlaid(seed)
        assert (first == second).all()


def test_captions_are_laid_over_plain_clips_too_and_compressed_with_the_rest() -> None:
    plain = replace(OVERLAID, plain_p=1.0)
    assert any((_overlaid(seed, spec=plain)[0] != _face()).any() for seed in range(5))
    compressed = replace(
        OVERLAID, degrade_p=1, light_p=0, grey_p=0, rescale_p=0, blur_p=0, sharpen_p=0, noise_p=0, cutout_p=0, jpeg_p=1
    )
    assert all((_overlaid(seed, spec=compressed)[0] != _overlaid(seed)[0]).mean() > 0.5 for seed in range(5))


ROUGH = replace(
    NONE, flip_p=0, degrade_p=1, light_p=0, grey_p=0, rescale_p=0, blur_p=0, sharpen_p=0, noise_p=0, cutout_p=0,
    jpeg_p=0, rough_p=1,
)  # fmt: skip


def test_rough_light_and_lenses_change_a_face_and_every_frame_of_it_alike() -> None:
    for seed in range(60):
        first, second = _overlaid(seed, spec=ROUGH).astype(float)
        assert (first == second).all()
        assert np.abs(first - _face()).mean() > 1


def test_rough_light_is_noise_darkness_flatness_and_blur() -> None:
    def edges(picture: RgbImage) -> float:
        return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())

    seen, plain = [_overlaid(seed, spec=ROUGH)[0] for seed in range(60)], _face()
    assert sum(edges(picture) > 1.5 * edges(plain) for picture in seen) > 5
    assert sum(edges(picture) < 0.7 * edges(plain) for picture in seen) > 5
    assert any(picture.mean() < 0.7 * plain.mean() for picture in seen)


def test_framing_alone_cuts_a_clip_alike_and_leaves_it_clean() -> None:
    spec = replace(ALWAYS, overlay_p=1.0, contrast=0.5, rough_p=1.0)
    degraded, clean = (_augmented(_face()[None], seed=3, spec=each) for each in (spec, spec.framing()))
    framed = replace(spec, degrade_p=0, overlay_p=0, contrast=0)
    assert (clean == _augmented(_face()[None], seed=3, spec=framed)).all()
    assert (clean != degraded).mean() > 0.5
