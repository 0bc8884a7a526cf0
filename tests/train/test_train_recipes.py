"""Every recipe: two tiny epochs on made faces, and its bundle scans a clip, without torch too."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import make_faces
import make_runs
from telltale import models
from telltale.bundle import Bundle
from telltale.errors import ModelError, UsageError
from telltale.evaluate import EvaluateSettings, evaluate
from telltale.models import Weights, _backbone
from telltale.recipe import Stage, load_recipe, names
from telltale.scan import Scanner
from telltale.store import open_store
from telltale.train import load_all
from telltale.train._clips import cut_clips
from telltale.train._data import MixedBatches
from telltale.train._module import frozen_parts
from telltale.train._run import with_steps

BASE = Path(__file__).parents[2] / ".venv-base" / "bin" / "telltale"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Every shipped recipe after two tiny epochs."""
    folder = tmp_path_factory.mktemp("recipes")
    return {name: make_runs.run(name, folder / name) for name in make_runs.RECIPES}


def test_no_recipe_is_left_out() -> None:
    assert names() == make_runs.RECIPES


@pytest.mark.parametrize("name", make_runs.RECIPES)
def test_a_recipe_trains_and_its_bundle_scans(name: str, bundles: dict[str, Bundle], face_clip: Path) -> None:
    bundle = bundles[name]
    assert bundle.card.name == name
    with Scanner(bundle.path) as scanner:
        report = scanner.scan(face_clip)
    assert report.verdict.label in ("real", "fake", "uncertain")
    assert report.verdict.p_fake is not None


@pytest.mark.parametrize("name", make_runs.RECIPES)
def test_a_bundle_scans_without_torch(name: str, bundles: dict[str, Bundle], face_clip: Path) -> None:
    if not BASE.is_file():
        pytest.skip("needs .venv-base, the environment without torch: make test-base")
    done = subprocess.run(
        [str(BASE), "scan", str(face_clip), "--model", str(bundles[name].path), "--fps", "4", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"]["p_fake"] is not None


@pytest.mark.parametrize("name", make_runs.RECIPES)
def test_pictures_and_what_it_took_come_unasked(name: str, bundles: dict[str, Bundle]) -> None:
    out, card = bundles[name].path.parent, bundles[name].card
    assert {"roc.png", "confusion.png"} <= {path.name for path in (out / "val").iterdir()}
    runs = sorted(out.glob("member-*")) or [out]
    assert all((run / "learning_curves.png").is_file() for run in runs) or card.input_kind == "pixels"
    assert set(card.resources) == {"wall_s", "cpu_s", "peak_memory_mb", "mean_memory_mb"}


def test_the_published_settings_are_shipped() -> None:
    vgg, xception, baseline = (load_recipe(name) for name in ("vgg16", "xception", "baseline-cnn"))
    assert (vgg.stages[0].optimiser, vgg.stages[0].lr, vgg.stages[0].epochs) == ("rmsprop", 2e-5, 10)
    assert [(s.lr, s.epochs, s.learn_from) for s in xception.stages] == [(0.1, 3, "head"), (0.01, 10, "block6")]
    assert (baseline.stages[0].optimiser, baseline.stages[0].epochs, baseline.mix["*"].real) == ("nadam", 5, 32)


def test_an_epoch_is_once_through_the_faces() -> None:
    faces = make_faces.table().on("train")
    assert with_steps(load_recipe("vgg16"), faces).stages[0].steps_per_epoch == round(len(faces) / 10)


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


def test_a_bundle_of_sequences_says_so_and_evaluates(bundles: dict[str, Bundle]) -> None:
    for name in make_runs.SEQUENCES:
        card = bundles[name].card
        assert (card.input_kind, card.n_frames, card.sample) == ("clip", 3, make_runs.tiny(name).sample)
        store = open_store(bundles[name].path.parent.with_name(f"{name}-faces"))
        assert evaluate(bundles[name], store, settings=EvaluateSettings(side="test")).video.n > 0


def test_sequences_are_calibrated_by_track(bundles: dict[str, Bundle]) -> None:
    card = bundles["cnn-lstm"].card
    assert "tracks" in card.calibration.fitted_on
    assert card.thresholds.population.startswith("tracks: ")
    assert bundles["mobilenetv2"].card.calibration.track_scale == 1.0


def test_clips_are_cut_as_a_scan_cuts_them(tmp_path: Path) -> None:
    table = load_all([make_runs.store_of_sequences(tmp_path / "store")])
    cut = cut_clips(table, 4)
    for rows, mask in zip(cut.rows, cut.mask, strict=True):
        assert len(set(table.track[rows].tolist())) == 1
        assert (np.diff(table.pts_s[rows[mask]]) > 0).all()
    assert set(cut.rows[cut.mask].tolist()) == set(range(len(table)))
    short = cut_clips(load_all([make_runs.store_of_sequences(tmp_path / "short", n_faces=2)]), 4)
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


def test_a_sequence_is_blended_alike_in_every_frame(tmp_path: Path) -> None:
    chosen = make_runs.tiny("cnn-lstm", "mix={'*': {real: 2, blend: 2}}", "augment=false")
    batch = MixedBatches(load_all([make_runs.store_of_sequences(tmp_path / "store")]), chosen, stage=0)[0]
    reals, fakes = batch["clips"][:2].float(), batch["clips"][2:].float()
    assert batch["label"].tolist() == [0, 0, 1, 1]
    assert (fakes != reals).any()
    # the frames of a made clip are one picture: so must be its fakes, but for the last JPEG
    assert torch.equal(fakes[:, 0], fakes[:, 1])


def test_a_donor_is_a_face_of_the_source_drawn(tmp_path: Path) -> None:
    chosen = make_runs.tiny("cnn-lstm", "mix={'*': {real: 2, blend: 2, donor_p: 1.0}}", "augment=false")
    table = load_all([make_runs.store_of_sequences(tmp_path / "store")])
    points = make_faces.POINTS / 96 * 32
    batches = MixedBatches(replace(table, points=np.repeat(points[None], len(table), axis=0)), chosen, stage=0)
    donors = [draw.donor for draw in batches.mix.draws(0, 0) if draw.blend]
    assert all(donor is not None and not batches.heads.label[donor] for donor in donors)
    # reals are green, fakes red: a donor's row counts clips, not faces, and a face taken by it would be another's
    red, green, _ = batches[0]["clips"][2:].float().mean(dim=(0, 1, 2, 3))
    assert green > red + 50
