"""Every recipe that trains a network: two tiny epochs on made faces, and its bundle scans a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import make_faces
import make_stores
from telltale import models
from telltale.crops import CropSpec
from telltale.errors import ModelError, UsageError
from telltale.evaluate import EvaluateSettings, evaluate
from telltale.models import Weights, _backbone
from telltale.recipe import Stage, load_recipe
from telltale.scan import Scanner
from telltale.store import Store
from telltale.train import load_all, train
from telltale.train._clips import cut_clips
from telltale.train._data import MixedBatches
from telltale.train._module import frozen_parts
from telltale.train._run import with_steps

SMALLEST = {
    "baseline-cnn": ["stages.0.size_px=32"],
    "vgg16": ["stages.0.size_px=32"],
    "xception": ["stages.0.size_px=32", "stages.1.size_px=32", "stages.1.epochs=1"],
}
TINY = ["stages.0.epochs=2", "stages.0.steps_per_epoch=1", "precision=32-true"]
MIX = ["mix.*.real=2", "mix.*.fake=2"]


@pytest.mark.parametrize("name", SMALLEST)
def test_a_recipe_trains_and_its_bundle_scans(name: str, tmp_path: Path, face_clip: Path) -> None:
    short = [f"stages.{i}.steps_per_epoch=1" for i in range(len(load_recipe(name).stages))]
    chosen = load_recipe(name, overrides=[*TINY, *short, *MIX, *SMALLEST[name]])
    bundle = train([make_faces.table(n=24)], recipe=chosen, weights="none", out=tmp_path, workers=0, threads=1)
    assert bundle.card.name == name
    with Scanner(bundle.path) as scanner:
        report = scanner.scan(face_clip)
    assert report.verdict.label in ("real", "fake", "uncertain")
    assert report.verdict.p_fake is not None


def test_the_published_settings_are_shipped() -> None:
    vgg, xception, baseline = (load_recipe(name) for name in ("vgg16", "xception", "baseline-cnn"))
    assert (vgg.stages[0].optimiser, vgg.stages[0].lr, vgg.stages[0].epochs) == ("rmsprop", 2e-5, 10)
    assert [(s.lr, s.epochs, s.learn_from) for s in xception.stages] == [(0.1, 3, "head"), (0.01, 10, "block6")]
    assert (baseline.stages[0].optimiser, baseline.stages[0].epochs, baseline.mix["*"].real) == ("nadam", 5, 32)


def test_an_epoch_is_once_through_the_faces() -> None:
    assert with_steps(load_recipe("vgg16"), 1004).stages[0].steps_per_epoch == 100


def test_stages_name_the_part_from_which_they_learn() -> None:
    net = models.create("transfer", weights=Weights("none"), options={"backbone": "legacy_xception"})
    still = frozen_parts(net, Stage(learn_from="block6"))
    parts = net.parts()  # type: ignore[operator]
    assert still == [part for name, part in parts.items()][: list(parts).index("block6")]
    assert len(frozen_parts(net, Stage(learn_from="head"))) == len(parts) - 1
    with pytest.raises(UsageError, match="did you mean block6"):
        frozen_parts(net, Stage(learn_from="blok6"))


def test_a_head_that_flattens_fits_the_size_of_its_input() -> None:
    net = models.create(
        "transfer", weights=Weights("none"), size_px=64, options={"backbone": "vgg16", "pool": "flatten", "hidden": 8}
    )
    logit, features = net(torch.zeros(2, 1, 64, 64, 3, dtype=torch.uint8))
    assert logit.shape == (2,)
    assert features.shape == (2, 512, 2, 2)


def test_a_model_without_pretrained_weights_says_so() -> None:
    with pytest.raises(UsageError, match="--weights none"):
        models.create("baseline_cnn", weights=Weights("hub"), size_px=32)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean dropout"):
        models.create("baseline_cnn", weights=Weights("none"), size_px=32, options={"droput": 0.1})


def test_a_hub_out_of_reach_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    make = timm.create_model

    def unreachable(name: str, *, pretrained: bool, **options: Any) -> object:
        if pretrained:
            raise OSError("no route to host")
        return make(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(ModelError, match="--weights FILE"):
        models.create("transfer", weights=Weights("hub"), options={"backbone": "mobilenetv2_035"})


def test_weights_for_another_backbone_are_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="lacks"):
        _backbone.load_backbone("mobilenetv2_035", Weights(str(tmp_path / "other.pt")))
    with pytest.raises(UsageError, match="no weights file"):
        _backbone.load_backbone("mobilenetv2_035", Weights(str(tmp_path / "absent.pt")))


SEQUENCES = {
    "cnn-lstm": ["model.options.n_frames=3", "model.options.units=8", "stages.0.size_px=32"],
    "inceptionv3-gru": ["model.options.n_frames=3", "model.options.backbone=mobilenetv2_035", "stages.0.size_px=32"],
}
CROP = CropSpec(size_px=32, margin_frac=0.2, down_frac=0.0)


def _store(folder: Path, *, n_faces: int = 5) -> Store:
    clips = [
        make_stores.Clip([[6.0 if i % 2 else -6.0] * n_faces], fake=bool(i % 2), group=str(i // 2)) for i in range(24)
    ]  # fmt: skip
    store = make_stores.store_of_clips(folder, clips, crop=CROP)
    make_stores.split(store)
    return store


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_recipe_of_sequences_trains_from_a_store_and_its_bundle_scans(
    name: str, tmp_path: Path, face_clip: Path
) -> None:
    chosen = load_recipe(name, overrides=[*TINY, *MIX, *SEQUENCES[name]])
    store = _store(tmp_path / "store")
    bundle = train([store], recipe=chosen, weights="none", out=tmp_path / "run", workers=0, threads=1)
    assert (bundle.card.input_kind, bundle.card.n_frames, bundle.card.sample) == ("clip", 3, chosen.sample)
    with Scanner(bundle.path) as scanner:
        report = scanner.scan(face_clip)
    assert report.verdict.label in ("real", "fake", "uncertain")
    assert report.verdict.p_fake is not None
    assert evaluate(bundle, store, settings=EvaluateSettings(side="test")).video.n > 0


def test_clips_are_cut_as_a_scan_cuts_them(tmp_path: Path) -> None:
    table = load_all([_store(tmp_path / "store")])
    cut = cut_clips(table, 4)
    for rows, mask in zip(cut.rows, cut.mask, strict=True):
        assert len(set(table.track[rows].tolist())) == 1
        assert (np.diff(table.pts_s[rows[mask]]) > 0).all()
    assert set(cut.rows[cut.mask].tolist()) == set(range(len(table)))
    short = cut_clips(load_all([_store(tmp_path / "short", n_faces=2)]), 4)
    assert short.mask.tolist() == [[True, True, False, False]] * len(short)
    assert (short.rows[:, 1:] == short.rows[:, 1:2]).all()


@pytest.mark.parametrize("name", ["cnn_lstm", "feature_gru"])
def test_padding_changes_nothing(name: str) -> None:
    options = {"n_frames": 4, "backbone": "mobilenetv2_035"}
    net = models.create(name, weights=Weights("none"), options=options).eval()
    clips = torch.randint(0, 255, (2, 4, 32, 32, 3), dtype=torch.uint8)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    changed = clips.clone()
    changed[0, 2:] = 0
    with torch.no_grad():
        before, after = net(clips, mask)[0], net(changed, mask)[0]
    assert torch.equal(before, after)
    assert not torch.equal(net(clips, torch.ones_like(mask))[0][0], before[0])


def test_self_blends_are_refused_for_sequences(tmp_path: Path) -> None:
    chosen = load_recipe("cnn-lstm", overrides=[*MIX, "mix.*.blend=1", "model.options.n_frames=3"])
    with pytest.raises(UsageError, match="blend=0"):
        MixedBatches(load_all([_store(tmp_path / "store")]), chosen, stage=0)
