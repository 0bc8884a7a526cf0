"""What every explanation in `telltale.explain` must do. A new one is tested here by being there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from make_bundles import make_patches, make_redness, make_trainable
from make_videos import portrait
from telltale.bundle import load_bundle
from telltale.errors import UsageError
from telltale.explain import Explainer, Explanation, create, names
from telltale.runtime import Scorer
from telltale.types import Clip, RgbImage

for library in ("onnx", "torch", "captum", "skimage", "sklearn", "safetensors"):
    pytest.importorskip(library, reason="explains models made with torch and onnx")

SIZE = 64
FAST = {"lime": {"n_samples": 64, "n_segments": 16}}


def clip_of(*faces: RgbImage, padding: int = 0) -> Clip:
    rgb = np.stack([*faces, *faces[-1:] * padding])
    return Clip(0, np.arange(len(rgb)) / 2, rgb, np.arange(len(rgb)) < len(faces))


def face() -> RgbImage:
    return np.ascontiguousarray(portrait()[60:188, 160:288][::2, ::2])


@pytest.fixture(scope="session")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A network with weights, never trained."""
    return Scorer(load_bundle(make_trainable(tmp_path_factory.mktemp("models") / "net", size_px=SIZE)))


@pytest.fixture(scope="session")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """Red speaks for fake, green against."""
    return Scorer(load_bundle(make_patches(tmp_path_factory.mktemp("models") / "patches")))


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    made: str = request.param
    return made


@pytest.fixture
def explainer(name: str) -> Explainer:
    return create(name, **FAST.get(name, {}))


def test_it_is_named_after_its_file(explainer: Explainer, name: str) -> None:
    assert isinstance(explainer, Explainer)
    assert explainer.name == name


def test_heat_lies_on_the_crop(explainer: Explainer, trainable: Scorer) -> None:
    clip = clip_of(face())
    found = explainer.explain(trainable, clip)
    assert found.heat.shape == (SIZE, SIZE)
    assert np.ptp(found.heat) > 0
    assert found.target == "fake"
    assert found.logit == pytest.approx(float(trainable.score([clip]).logit[0]))
    assert found.settings["target"] == "fake"


def test_for_real_is_against_fake(name: str, trainable: Scorer) -> None:
    both = [
        create(name, target=target, **FAST.get(name, {})).explain(trainable, clip_of(face())).heat
        for target in ("fake", "real")
    ]
    np.testing.assert_allclose(both[0], -both[1], atol=1e-5)


def test_the_same_face_gets_the_same_heat(explainer: Explainer, name: str, trainable: Scorer) -> None:
    import torch

    state = torch.random.get_rng_state()
    again = create(name, **FAST.get(name, {}))
    first, second = (method.explain(trainable, clip_of(face())) for method in (explainer, again))
    np.testing.assert_array_equal(first.heat, second.heat)
    assert first.settings == second.settings
    assert torch.equal(state, torch.random.get_rng_state()), "it drew from the global random numbers"


def test_a_face_is_not_written_to(explainer: Explainer, trainable: Scorer) -> None:
    clip = clip_of(face())
    clip.rgb.flags.writeable = False
    explainer.explain(trainable, clip)


def test_pictures_are_faces(explainer: Explainer, trainable: Scorer) -> None:
    clip = clip_of(face())
    pictures = explainer.explain(trainable, clip).pictures(clip)
    assert "heat" in pictures
    assert all(picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8 for picture in pictures.values())


def test_what_is_red_is_found_and_what_is_green_speaks_against(explainer: Explainer, patches: Scorer) -> None:
    rgb = np.full((32, 32, 3), 90, np.uint8)
    rgb[4:16, 4:16] = (250, 40, 40)
    rgb[20:28, 20:28] = (40, 250, 40)
    try:
        heat = explainer.explain(patches, clip_of(rgb)).heat
    except UsageError as error:
        pytest.skip(f"not for this model: {error}")
    red, green = heat[6:14, 6:14].mean(), heat[21:27, 21:27].mean()
    elsewhere = heat[18:30, 2:14].mean()
    assert red > elsewhere > green
    assert red > 0 > green


def test_a_sequence_is_explained_as_a_whole_or_refused(explainer: Explainer, tmp_path: Path) -> None:
    scorer = Scorer(load_bundle(make_redness(tmp_path / "sequence", n_frames=4)))
    rgb = np.full((32, 32, 3), 90, np.uint8)
    rgb[4:16, 4:16] = (250, 40, 40)
    try:
        heat = explainer.explain(scorer, clip_of(rgb, rgb, padding=2)).heat
    except UsageError as error:
        pytest.skip(f"not for this model: {error}")
    assert heat.shape == (32, 32)


def test_a_model_that_it_refuses_is_refused_without_a_face(
    explainer: Explainer, trainable: Scorer, patches: Scorer, tmp_path: Path
) -> None:
    explainer.check(trainable.bundle)
    for scorer in (patches, Scorer(load_bundle(make_redness(tmp_path / "sequence", n_frames=4)))):
        size = scorer.bundle.card.size_px
        try:
            explainer.explain(scorer, clip_of(*[np.zeros((size, size, 3), np.uint8)] * scorer.bundle.card.n_frames))
        except UsageError as error:
            with pytest.raises(UsageError, match=re.escape(str(error))):
                explainer.check(scorer.bundle)
        else:
            explainer.check(scorer.bundle)


def test_it_says_how_far_it_is(explainer: Explainer, trainable: Scorer) -> None:
    shares: list[float] = []
    explainer.explain(trainable, clip_of(face()), on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert shares[0] >= 0


def test_settings_can_be_written_as_json(explainer: Explainer, trainable: Scorer) -> None:
    import json

    json.dumps(dict(explainer.explain(trainable, clip_of(face())).settings), allow_nan=False)


def test_an_explanation_checks_itself() -> None:
    with pytest.raises(ValueError, match=r"heat must be float32 \(S, S\)"):
        Explanation("cam", "fake", np.zeros((2, 3), np.float32), 0.0)
    with pytest.raises(ValueError, match="finite"):
        Explanation("cam", "fake", np.full((2, 2), np.nan, np.float32), 0.0)
