"""Faces unlike the known ones are not called fake, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import make_videos
from make_bundles import make_patches, make_redness
from make_stores import Clip as StoredClip
from make_stores import store_of_clips
from telltale.aggregate import Thresholds
from telltale.bundle import load_bundle
from telltale.errors import BundleInvalid
from telltale.evaluate import EvaluateSettings, evaluate
from telltale.gate import Gate, fit
from telltale.runtime import Scorer
from telltale.scan import scan
from telltale.train._judge import strangers
from telltale.types import Clip, Code, Float64Array, RgbImage

SIZE_PX = 32


def known(n: int = 400, *, seed: int = 0) -> Float64Array:
    """Features that vary along three directions of forty, and hardly elsewhere."""
    rng = np.random.default_rng(seed)
    return np.hstack([rng.normal(0, (5, 3, 2), (n, 3)), np.zeros((n, 37))]) + rng.normal(0, 0.1, (n, 40))


def red(level: int) -> RgbImage:
    return np.full((SIZE_PX, SIZE_PX, 3), (level, 0, 0), np.uint8)


def clip_of(rgb: RgbImage) -> Clip:
    return Clip(1, np.zeros(1), rgb[None], np.ones(1, bool))


def gate_for(path: Path, *, limit: float) -> Gate:
    """Knows features of dark red faces."""
    scorer = Scorer(load_bundle(path))
    _, features = scorer.score_with_features([clip_of(red(level)) for level in (20, 60, 100, 140)])
    pooled = features.mean(axis=(2, 3)).astype(np.float64) + np.random.default_rng(0).normal(0, 1, (4, 2))
    return fit(pooled, pooled, n_directions=1, fitted_on="four faces").model_copy(update={"limit": limit})


def test_a_tenth_of_clean_faces_lies_beyond_the_limit() -> None:
    gate = fit(known(), known(seed=1), n_directions=3, fitted_on="noise")
    assert (gate.distance(known(seed=2)) > gate.limit).mean() == pytest.approx(0.1, abs=0.05)
    assert gate.distance(known()).mean() == pytest.approx(1.0, abs=0.2)


def test_what_varies_otherwise_is_far() -> None:
    gate = fit(known(), known(seed=1), n_directions=3, fitted_on="noise")
    strange = known(seed=2) + np.eye(40)[20] * 3
    assert (gate.distance(strange) > gate.limit).all()
    along = known(seed=2) * 1.0
    along[:, 0] *= 1.1
    assert (gate.distance(along) > gate.limit).mean() < 0.3


def test_a_gate_survives_its_card() -> None:
    gate = fit(known(), known(seed=1), n_directions=3, fitted_on="noise")
    again = Gate.model_validate_json(gate.model_dump_json())
    assert again == gate
    assert again.n_features == 40


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mean", "AAAA!"),
        ("mean", "AAA="),
        ("directions", "AAAA"),
        ("limit", 0.0),
        ("limit", float("inf")),
        ("rest", -1.0),
        ("variance", (1.0, 0.0, 1.0)),
        ("variance", (1.0, float("nan"), 1.0)),
    ],
)
def test_a_damaged_gate_is_refused(field: str, value: object) -> None:
    gate = fit(known(), known(seed=1), n_directions=3, fitted_on="noise")
    with pytest.raises(ValidationError):
        Gate.model_validate({**gate.model_dump(), field: value})


def test_the_scorer_says_how_far_a_face_is_and_the_same_logit_as_without(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="makes models with onnx")
    plain = make_patches(tmp_path / "plain", size_px=SIZE_PX)
    gate = gate_for(plain, limit=5.0)
    gated = make_patches(tmp_path / "gated", size_px=SIZE_PX, gate=gate)
    clips = [clip_of(red(level)) for level in (80, 90, 200, 255, 30, 40, 50, 60, 70)]
    without, with_gate = Scorer(load_bundle(plain)).score(clips), Scorer(load_bundle(gated)).score(clips)
    assert without.distance is None
    assert with_gate.logit.tolist() == without.logit.tolist()
    assert with_gate.distance is not None
    assert len(with_gate.distance) == 9
    assert with_gate.distance[3] > with_gate.distance[0]


def test_a_gate_of_another_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="makes models with onnx")
    gate = gate_for(make_patches(tmp_path / "plain", size_px=SIZE_PX), limit=5.0)
    blind = make_redness(tmp_path / "blind", size_px=SIZE_PX, gate=gate)
    with pytest.raises(BundleInvalid, match="fit it again"):
        Scorer(load_bundle(blind))
    other = fit(known(), known(seed=1), n_directions=3, fitted_on="noise")
    with pytest.raises(BundleInvalid, match="40 features"):
        Scorer(load_bundle(make_patches(tmp_path / "other", size_px=SIZE_PX, gate=other)))


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """One that calls everything fake, and the same with a gate that finds everything strange."""
    pytest.importorskip("onnx", reason="makes models with onnx")
    always = Thresholds(real_below=0.0, fake_above=1e-6)
    plain = make_patches(tmp_path / "plain", size_px=SIZE_PX, thresholds=always)
    gate = gate_for(plain, limit=1e-9)
    return plain, make_patches(tmp_path / "gated", size_px=SIZE_PX, thresholds=always, gate=gate)


def test_a_scan_says_uncertain_and_why(models: tuple[Path, Path], tmp_path: Path) -> None:
    picture = tmp_path / "face.png"
    make_videos.write_picture(picture, make_videos.portrait(), format="PNG")
    without, gated = (scan(picture, model=model) for model in models)
    assert without.verdict.label == "fake"
    assert gated.verdict.label == "uncertain"
    assert Code.OUT_OF_DOMAIN in gated.verdict.codes
    assert gated.verdict.p_fake == without.verdict.p_fake


def test_an_evaluation_says_what_a_scan_would(models: tuple[Path, Path], tmp_path: Path) -> None:
    store = store_of_clips(tmp_path / "clips.store", [StoredClip([[1.0] * 6], i % 2 == 1, str(i)) for i in range(4)])
    settings = EvaluateSettings(side="all", repeats=0, perturb="light")
    without, gated = (evaluate(model, store, settings=settings) for model in models)
    assert without.verdicts["real"] == {"fake": 2}
    assert gated.verdicts["real"] == {"uncertain": 2}
    assert gated.frame.auc == without.frame.auc
    assert all(one.called_fake == 0 for one in gated.perturbed)


def test_a_person_is_a_stranger_by_most_of_their_faces() -> None:
    group, label = np.array(["a", "a", "a", "b", "b", "b"]), np.array([0, 0, 0, 0, 0, 1])
    found = strangers(np.array([True, True, False, False, True, False]), group, label)
    assert found.tolist() == [True, True, True, False, False, False]
