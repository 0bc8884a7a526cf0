"""Every kind and level of the suites of robustness, and the grid made of them."""

from __future__ import annotations

import numpy as np
import pytest

import make_videos
from telltale import perturb
from telltale.errors import UnknownName, UsageError
from telltale.evaluate._grid import Robustness
from telltale.evaluate._robustness import clean_bar, differences, share_above
from telltale.evaluate._selective import risk_coverage

CROP = make_videos.shrunk(160)
NEEDS_ENCODER = {"hevc", "vp9", "h264", "h264_strong", "two_passes", "three_passes"}


def done(kind: str, level: int, rgb: np.ndarray = CROP) -> np.ndarray:
    return perturb.degrade(rgb, kind, level, rng=perturb.rng_of("clip", kind, level))


def harm(rgb: np.ndarray) -> float:
    return float(np.abs(rgb.astype(float) - CROP.astype(float)).mean())


@pytest.mark.parametrize("kind", perturb.KINDS)
def test_a_crop_stays_a_crop_and_the_same_seed_gives_the_same(kind: str) -> None:
    for level in (1, 5):
        found = done(kind, level)
        assert found.shape == CROP.shape
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, done(kind, level))


@pytest.mark.parametrize("kind", sorted(set(perturb.KINDS) - {"flip"}))
def test_a_higher_level_does_more_harm(kind: str) -> None:
    assert harm(done(kind, 5)) > harm(done(kind, 1)) >= 0


@pytest.mark.parametrize("kind", ["noise", "gaussian_noise", "shot_noise", "impulse_noise", "blocks", "motion"])
def test_another_video_is_degraded_in_another_way(kind: str) -> None:
    one, other = (perturb.degrade(CROP, kind, 3, rng=perturb.rng_of(name, kind, 3)) for name in ("a", "b"))
    assert not np.array_equal(one, other)


def test_levels_are_those_of_the_papers() -> None:
    grey = np.full((64, 64, 3), 200, np.uint8)
    assert [int(done("contrast", level, grey).max()) for level in perturb.LEVELS] == [170, 145, 120, 95, 70]
    colours = done("saturation", 5)
    assert np.ptp(colours.astype(int), axis=2).max() <= 2
    assert np.var(done("noise", 4, grey)[..., 1] / 255.0) == pytest.approx(0.01, rel=0.6)
    black_and_white = np.isin(done("impulse_noise", 3, grey), (0, 255)).mean()
    assert black_and_white == pytest.approx(0.09, abs=0.01)


def test_blocks_are_placed_in_small_pictures_too() -> None:
    """The original formula places none below 256 px."""
    assert (done("blocks", 1, make_videos.shrunk(64)) == 128).all(axis=2).sum() >= 64


def test_a_frame_changes_its_size_where_that_is_the_point() -> None:
    frame = np.zeros((1000, 1600, 3), np.uint8)
    assert done("size", 5, frame).shape == (150, 240, 3)
    assert done("crop", 5, frame).shape == (750, 1200, 3)
    assert done("pad", 5, frame).shape == (1250, 2000, 3)
    assert done("size", 1, np.zeros((300, 500, 3), np.uint8)).shape == (300, 500, 3)


@pytest.mark.parametrize("size", [(33, 47), (17, 16), (16, 200)])
@pytest.mark.parametrize("kind", perturb.KINDS)
def test_odd_and_small_pictures_are_degraded_too(kind: str, size: tuple[int, int]) -> None:
    rgb = make_videos.background(size)
    assert done(kind, 5, rgb).shape == rgb.shape


def as_clip(kind: str, level: int, clip: np.ndarray) -> np.ndarray:
    return perturb.degrade_clip(clip, kind, level, rng=lambda: perturb.rng_of("clip", kind, level))


@pytest.mark.parametrize("kind", sorted(NEEDS_ENCODER))
def test_pictures_of_a_clip_are_encoded_as_one_video(kind: str) -> None:
    clip = np.stack([np.roll(CROP, 2 * shift, 1) for shift in range(6)])
    found = as_clip(kind, 5, clip)
    assert found.shape == clip.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, as_clip(kind, 5, clip))
    assert not np.array_equal(found[4], done(kind, 5, clip[4])), "it was predicted from other pictures"
    np.testing.assert_array_equal(as_clip(kind, 5, clip[:1])[0], done(kind, 5, clip[0]))


@pytest.mark.parametrize("kind", sorted(set(perturb.KINDS) - NEEDS_ENCODER))
def test_every_picture_of_a_clip_is_degraded_alike(kind: str) -> None:
    found = as_clip(kind, 3, np.stack([CROP] * 3))
    np.testing.assert_array_equal(found, np.stack([done(kind, 3)] * 3))


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="gaussian_noise"):
        done("grain", 1)
    with pytest.raises(ValueError, match="level"):
        done("blur", 6)


def grid(*rows: tuple[float | None, ...]) -> Robustness:
    kinds = tuple(f"k{i}" for i in range(len(rows)))
    levels = tuple(range(1, len(rows[0]) + 1))
    return Robustness(kinds=kinds, levels=levels, auc=rows, fpr=rows, clean_auc=0.9, clean_bar=0.5)


def test_means_are_of_kinds_then_of_the_whole() -> None:
    found = grid((0.9, 0.7), (0.6, None))
    assert found.kind_means == pytest.approx({"k0": 0.8, "k1": 0.6})
    assert found.grand_mean == pytest.approx(0.7)
    assert found.weakest(1) == [("k1", 1, 0.6)]


def test_a_cell_that_one_model_alone_has_is_in_no_mean_of_a_difference() -> None:
    found = differences("a", grid((0.9, 0.5), (0.7, None)), "b", grid((0.8, None), (0.8, 0.9)))
    assert found.mean == pytest.approx(0.0)  # of -.1 and +.1, not of what is left of each
    assert differences("a", grid((None,)), "b", grid((0.5,))).mean is None
    assert (grid((None,)).grand_mean, grid((None,)).fpr_mean, grid((None,)).kind_means) == (None, None, {"k0": None})


def test_two_grids_are_told_apart_cell_by_cell() -> None:
    found = differences("a", grid((0.9, 0.7)), "b", grid((0.8, 0.8)))
    assert [row[0] for row in found.auc] == pytest.approx([-0.1])
    assert found.mean == pytest.approx(0.0)
    with pytest.raises(UsageError, match="suites"):
        differences("a", grid((0.9, 0.7)), "b", grid((0.9,)))


def test_the_bar_is_where_five_per_cent_of_the_clean_reals_are() -> None:
    label, p = np.array([0] * 100 + [1] * 10), np.array([*np.arange(100) / 100, *[0.99] * 10])
    bar = clean_bar(label, p)
    assert share_above(label, p, bar) == pytest.approx(0.05, abs=0.011)
    assert share_above(label, np.minimum(p + 0.5, 1), bar) == pytest.approx(0.55, abs=0.011)
    assert clean_bar(np.ones(3, np.int64), np.ones(3)) is None


def test_risk_falls_where_the_surest_are_kept() -> None:
    label = np.array([1, 0, 1, 0, 1])
    found = risk_coverage(label, np.array([0.99, 0.02, 0.9, 0.6, np.nan]))
    assert found is not None
    assert found.coverage == pytest.approx((0.2, 0.4, 0.6, 0.8))
    assert found.risk == pytest.approx((0, 0, 0, 0.25))
    assert found.aurc == pytest.approx(0.0625)
    assert found.coverage_at_risk["0.05"] == 0, "three without a mistake may be luck"
    assert risk_coverage(label, np.full(5, np.nan)) is None


@pytest.mark.parametrize(
    ("limit", "n_wrong", "n_enough"), [("0.01", 0, 299), ("0.05", 0, 59), ("0.05", 1, 93), ("0.1", 0, 29)]
)
def test_a_share_is_kept_at_a_risk_that_its_upper_bound_meets(limit: str, n_wrong: int, n_enough: int) -> None:
    """59 without a mistake are the fewest of which 5 % is the upper bound: .95 ** 59 < .05 (Clopper & Pearson)."""
    for n, expected in ((n_enough - 1, 0.0), (n_enough, 1.0)):
        label = np.r_[np.zeros(n_wrong, np.int64), np.ones(n - n_wrong, np.int64)]
        found = risk_coverage(label, np.full(n, 0.9))
        assert found is not None
        assert found.coverage_at_risk[limit] == expected


def test_videos_as_sure_as_each_other_are_kept_together() -> None:
    label = np.repeat([1, 0], 50)
    p_fake = np.full(100, 0.9)
    one, other = risk_coverage(label, p_fake), risk_coverage(label[::-1], p_fake)
    assert one is not None
    assert one == other
    assert (one.coverage, one.risk, one.aurc) == ((1.0,), (0.5,), 0.5)
    assert one.coverage_at_risk["0.1"] == 0.0
    saturated = risk_coverage(label, np.where(label == 1, 1 - 1e-6, 1e-6))
    assert saturated is not None
    assert saturated.coverage == (1.0,), "a hair of rounding parts them"
