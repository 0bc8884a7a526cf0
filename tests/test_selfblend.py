from __future__ import annotations

import numpy as np
import pytest

import make_faces
from telltale.selfblend import Blend, face_mask, self_blend


def _blend(seed: int, *, points: bool = True, donor: bool = False) -> Blend:
    picture = make_faces.face(np.random.default_rng(0))
    return self_blend(
        picture,
        rng=np.random.default_rng(seed),
        box_xyxy=make_faces.BOX,
        points=make_faces.POINTS if points else None,
        donor=make_faces.face(np.random.default_rng(1)) if donor else None,
        donor_points=make_faces.POINTS if donor else None,
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("points", "donor"), [(True, False), (False, False), (True, True)])
def test_only_what_lies_under_the_mask_changes(seed: int, points: bool, donor: bool) -> None:
    blend = _blend(seed, points=points, donor=donor)
    outside = blend.mask == 0
    assert outside.any()
    assert (blend.rgb[outside] == blend.background[outside]).all()


def test_half_the_backgrounds_are_the_picture_itself() -> None:
    picture = make_faces.face(np.random.default_rng(0))
    kept = [bool((_blend(seed).background == picture).all()) for seed in range(40)]
    assert 10 <= sum(kept) <= 30


def test_the_face_does_change() -> None:
    changed = [np.abs(b.rgb.astype(int) - b.background.astype(int)).max() for b in map(_blend, range(20))]
    assert np.median(changed) > 20


@pytest.mark.parametrize("seed", range(10))
def test_a_mask_stays_between_0_and_1_and_in_the_picture(seed: int) -> None:
    mask = _blend(seed).mask
    assert mask.shape == (make_faces.SIZE_PX, make_faces.SIZE_PX)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask.max() > 0


@pytest.mark.parametrize("seed", range(10))
def test_the_mask_of_a_face_covers_its_middle(seed: int) -> None:
    mask = face_mask((96, 96), rng=np.random.default_rng(seed), box_xyxy=make_faces.BOX)
    assert mask[48, 48] == 1
    assert mask[0, 0] == 0


def test_the_same_seed_gives_the_same_fake() -> None:
    assert (_blend(3).rgb == _blend(3).rgb).all()


def test_unknown_points_count_as_none() -> None:
    picture = make_faces.face(np.random.default_rng(0))
    unknown = np.full((5, 2), np.nan, np.float32)
    blends = [
        self_blend(picture, rng=np.random.default_rng(2), box_xyxy=make_faces.BOX, points=points)
        for points in (unknown, None)
    ]
    assert (blends[0].rgb == blends[1].rgb).all()


def test_a_donor_without_points_is_refused() -> None:
    picture = make_faces.face(np.random.default_rng(0))
    with pytest.raises(ValueError, match="points of both"):
        self_blend(picture, rng=np.random.default_rng(0), box_xyxy=make_faces.BOX, donor=picture)
