"""What a network is begun with: ready to learn, the same when it is resumed, and named by the card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import make_bundles
import make_faces
import make_runs
from telltale import models
from telltale.bundle import WEIGHTS_NAME, TrainingSource, load_bundle
from telltale.errors import LeakFound, UsageError
from telltale.models import Weights
from telltale.models._mobilenet import MobileNetV2, folded
from telltale.train import FaceTable, _begin, export_checkpoint, train

OURS = ("model.options.backbone=mobilenetv2", "model.options.dropout=0")
BASELINE = ("model.options.dropout=0", "stages.0.epochs=1")


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """Folded weights of a random network, none of whose layers is dead."""
    torch.manual_seed(0)
    net = MobileNetV2().eval()
    for layer in net.layers():
        torch.nn.init.uniform_(layer.norm.bias, 0.2, 1.0)
    parts: dict[str, Any] = {}
    for number, (weight, bias) in enumerate(folded(net)):
        parts |= {f"{number:02d}_conv_s1_w": weight, f"{number:02d}_conv_s1_b": bias}
    np.savez(tmp_path / "folded.npz", **parts)
    return tmp_path / "folded.npz"


def test_a_sequence_s_folded_backbone_is_made_ready_too(npz: Path, tmp_path: Path) -> None:
    store = make_runs.store_of_sequences(tmp_path / "store")
    table, recipe = FaceTable.from_store(store, np.full(len(store), "train")), make_runs.tiny("cnn-lstm", *OURS)
    begun: Any = _begin.start(table, recipe, Weights(str(npz)))
    given: Any = models.create("cnn_lstm", weights=Weights(str(npz)), options=recipe.model.options)
    assert (begun.is_folded, given.is_folded) == (False, True)
    pictures = torch.from_numpy(np.stack([table.decode(row) for row in range(0, 120, 10)]))
    with torch.no_grad():
        torch.testing.assert_close(begun.frame.eval()(pictures), given.frame.eval()(pictures), rtol=1e-3, atol=1e-3)
    assert not begun.frame[1].layers()[5].norm.running_mean.eq(0).all()
    own: Any = models.create("cnn_lstm", weights=Weights("none"), options={"n_frames": 3})
    assert not own.is_folded


# The same beginning, when it is resumed


def fitted(out: Path, *, seed: int = 0, **settings: Any) -> Path:
    """RUN/bundle of a run."""
    recipe = make_runs.tiny("baseline-cnn", *BASELINE, f"seed={seed}")
    options = replace(make_runs.ALONE, **settings)
    return train([make_faces.table(n=32)], recipe=recipe, out=out, settings=options).path


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two bundles of one folder name."""
    folder = tmp_path_factory.mktemp("beginnings")
    return fitted(folder / "one"), fitted(folder / "two", seed=1)


def test_a_run_does_not_go_on_from_another_bundle_of_the_same_name(
    beginnings: tuple[Path, Path], tmp_path: Path
) -> None:
    one, two = beginnings
    assert one.name == two.name
    out = tmp_path / "run"
    fitted(out, weights=str(one))
    said = rf"began with other weights \(bundle, SHA-256 {load_bundle(one).sha256[:12]}.*{load_bundle(two).sha256[:12]}"
    with pytest.raises(UsageError, match=said):
        fitted(out, weights=str(two), resume=True)
    moved = tmp_path / "moved"
    one.rename(moved)
    try:
        fitted(out, weights=str(moved), resume=True)
    finally:
        moved.rename(one)


def test_a_run_does_not_go_on_from_another_file_of_the_same_name(npz: Path, tmp_path: Path) -> None:
    recipe = make_runs.tiny("mobilenetv2", *OURS, "stages.0.epochs=1")
    settings = replace(make_runs.ALONE, weights=str(npz))
    train([make_faces.table(n=32)], recipe=recipe, out=tmp_path / "run", settings=settings)
    parts = dict(np.load(npz))
    np.savez(npz, **{name: value + 1e-3 for name, value in parts.items()})
    with pytest.raises(UsageError, match=r"other weights \(folded\.npz, SHA-256 "):
        train([make_faces.table(n=32)], recipe=recipe, out=tmp_path / "run", settings=replace(settings, resume=True))


def test_a_run_that_noted_only_a_name_goes_on_with_it(beginnings: tuple[Path, Path], tmp_path: Path) -> None:
    one, _ = beginnings
    out = tmp_path / "run"
    fitted(out, weights=str(one))
    noted = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(noted | {"weights": "bundle"}))
    with pytest.raises(UsageError, match=r"other weights \(bundle; given: none\)"):
        fitted(out, weights="none", resume=True)
    fitted(out, weights=str(one), resume=True)


# What the card of a checkpoint knows


def test_the_card_of_a_checkpoint_names_what_its_teacher_learned_from(tmp_path: Path) -> None:
    seen = TrainingSource(name="elsewhere", digest="d")
    teacher = make_bundles.make_redness(tmp_path / "redness", training=(seen,))
    recipe = make_runs.tiny("baseline-cnn", *BASELINE, f"teacher.bundle={teacher}")
    table = make_faces.table(n=32)
    train([table], recipe=recipe, out=tmp_path / "run", settings=make_runs.ALONE)
    bundle = export_checkpoint(
        tmp_path / "run/stage-0/best.ckpt", [table], recipe=recipe, out=tmp_path / "bundle", weights="none"
    )
    assert "elsewhere (by redness)" in [source.name for source in bundle.card.training]


def test_a_teacher_of_a_later_stage_taught_an_earlier_checkpoint_nothing(tmp_path: Path) -> None:
    teacher = make_bundles.make_redness(tmp_path / "redness", training=(TrainingSource(name="elsewhere", digest="d"),))
    recipe = make_runs.tiny("baseline-cnn", *BASELINE)
    taught = recipe.stages[0].model_copy(update={"teacher": recipe.teacher.model_copy(update={"bundle": str(teacher)})})
    recipe, table = recipe.model_copy(update={"stages": (recipe.stages[0], taught)}), make_faces.table(n=32)
    train([table], recipe=recipe, out=tmp_path / "run", settings=make_runs.ALONE)
    named = []
    for stage in (0, 1):
        checkpoint = tmp_path / f"run/stage-{stage}/best.ckpt"
        bundle = export_checkpoint(checkpoint, [table], recipe=recipe, out=tmp_path / f"{stage}", weights="none")
        named.append([source.name for source in bundle.card.training])
    assert named == [["made"], ["made", "elsewhere (by redness)"]]


def test_the_beginning_of_a_checkpoint_is_named_and_is_not_judged_on(
    beginnings: tuple[Path, Path], tmp_path: Path
) -> None:
    one, two = beginnings
    out, turned = tmp_path / "run", make_faces.table(n=32)
    turned = replace(turned, side=np.where(turned.side == "val", "train", "val"))
    recipe, settings = make_runs.tiny("baseline-cnn", *BASELINE), replace(make_runs.ALONE, weights=str(one))
    train([turned], recipe=recipe, out=out, settings=replace(settings, allow_leaks=True))
    given: dict[str, Any] = {"recipe": recipe, "out": tmp_path / "bundle"}
    for other in (None, str(two)):
        with pytest.raises(UsageError, match=r"began with another bundle .*weights="):
            export_checkpoint(out / "stage-0/best.ckpt", [turned], weights=other, **given)
    with pytest.raises(LeakFound, match="baseline-cnn learned from 12 of the 12 groups"):
        export_checkpoint(out / "stage-0/best.ckpt", [turned], weights=str(one), **given)
    bundle = export_checkpoint(out / "stage-0/best.ckpt", [turned], weights=str(one), allow_leaks=True, **given)
    assert [source.name for source in bundle.card.training] == ["made", "made (by baseline-cnn)"]
    assert "baseline-cnn learned from 12 of the 12 groups" in bundle.card.limits[-1]


def test_weights_of_another_model_do_not_stay_in_a_bundle_without(
    beginnings: tuple[Path, Path], tmp_path: Path
) -> None:
    one, _ = beginnings
    (tmp_path / WEIGHTS_NAME).write_bytes((one / WEIGHTS_NAME).read_bytes())
    recipe = make_runs.tiny("baseline-cnn", *BASELINE, "seed=1")
    bundle = export_checkpoint(
        beginnings[1].parent / "stage-0/best.ckpt", [make_faces.table(n=32)], recipe=recipe, out=tmp_path,
        with_weights=False, weights="none",
    )  # fmt: skip
    assert bundle.weights_path is None
    assert not (tmp_path / WEIGHTS_NAME).exists()
