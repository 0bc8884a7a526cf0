"""Where a run begins, what it learns from beside labels, when it ends, what it keeps, and how many share it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console

import make_bundles
import make_faces
import make_runs
import make_stores
from telltale import models
from telltale.bundle import TrainingSource, load_bundle
from telltale.crops import CropSpec, crop_face
from telltale.errors import BundleInvalid, LeakFound, UsageError, WeightsMissing
from telltale.export import onnx_outputs
from telltale.models import Weights
from telltale.recipe import Recipe, Stage, TeacherPart, load_recipe
from telltale.store import Outcome, StoredFace, StoreWriter, encode_crop, open_store
from telltale.train import FaceTable, TrainSettings, _begin, _run, load_all, train
from telltale.train._data import MixedBatches
from telltale.train._features import FeatureCache
from telltale.train._mix import Mix, Shard
from telltale.train._pictures import learning_curves
from telltale.train._progress import FitProgress, waiting
from telltale.train._teacher import Teacher
from telltale.types import Face, VideoRecord

BASELINE = ("model.options.dropout=0", "mix={'*': {real: 4, fake: 4}}", "stages.0.steps_per_epoch=2")


def fit(recipe: Recipe, out: Path, **options: Any) -> Path:
    train([make_faces.table(n=32)], recipe=recipe, out=out, settings=replace(make_runs.ALONE, **options))
    return out


def weights(run: Path, prefix: str = "ema.") -> dict[str, torch.Tensor]:
    state = torch.load(run / "stage-0" / "last.ckpt", weights_only=False)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(make_runs.tiny("baseline-cnn", *BASELINE), tmp_path_factory.mktemp("baseline"))


# Several processes


def test_two_processes_end_with_the_weights_of_one(baseline: Path, tmp_path: Path) -> None:
    shared = fit(make_runs.tiny("baseline-cnn", *BASELINE), tmp_path / "shared", devices=2)
    ours, theirs = weights(baseline), weights(shared)
    off = torch.cat([(ours[name] - theirs[name]).abs().flatten() for name in ours])
    moved = torch.cat([value.flatten() for value in ours.values()]).abs().mean()
    assert float((off > 1e-5).float().mean()) < 1e-3
    assert float(off.max()) < 0.1 * float(moved)
    card = load_bundle(shared / "bundle").card
    assert card.metrics["export_parity"] < 1e-3  # type: ignore[operator]


def test_shares_of_a_batch_are_the_batch() -> None:
    table = make_faces.table().on("train")
    recipe = make_faces.recipe()
    whole = MixedBatches(table, recipe, stage=0)[1]
    parts = [MixedBatches(table, recipe, stage=0, shard=Shard(rank, 3))[1] for rank in range(3)]
    for rank, part in enumerate(parts):
        assert torch.equal(part["clips"], whole["clips"][rank::3])
        assert torch.allclose(part["weight"], whole["weight"][rank::3] * 3)
    assert float(whole["weight"].sum()) == pytest.approx(1.0)
    with pytest.raises(UsageError, match="cannot be shared by 11"):
        MixedBatches(table, recipe, stage=0, shard=Shard(0, 11))


def test_an_error_in_a_process_is_the_run_s(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--weights none"):
        fit(make_runs.tiny("baseline-cnn", *BASELINE), tmp_path, devices=2, weights="hub")


def test_no_process_is_no_run() -> None:
    with pytest.raises(UsageError, match="want 1 or more, got 0 and 1"):
        TrainSettings(devices=0)


def test_nodes_are_told_where_the_first_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_RANK", raising=False)
    with pytest.raises(UsageError, match="NODE_RANK"):
        fit(make_runs.tiny("baseline-cnn", *BASELINE), tmp_path, nodes=2)


# Where it begins, and whom it learns from


def test_a_run_begins_with_the_weights_of_a_bundle(baseline: Path) -> None:
    bundle = load_bundle(baseline / "bundle")
    recipe, table = make_runs.tiny("baseline-cnn", *BASELINE), make_faces.table(n=16)
    net = _begin.start(table, recipe, Weights(str(bundle.path)))
    best = torch.load(baseline / "stage-0" / "best.ckpt", weights_only=False)["state_dict"]
    assert all(torch.equal(value, best[f"ema.{name}"]) for name, value in net.state_dict().items())


def test_what_its_beginning_learned_from_is_not_judged_on(baseline: Path, tmp_path: Path) -> None:
    turned = make_faces.table(n=32)
    turned = replace(turned, side=np.where(turned.side == "val", "train", "val"))
    recipe = make_runs.tiny("baseline-cnn", *BASELINE)
    settings = replace(make_runs.ALONE, weights=str(baseline / "bundle"))
    with pytest.raises(LeakFound, match="baseline-cnn learned from 12 of the 12 groups"):
        train([turned], recipe=recipe, out=tmp_path / "a", settings=settings)
    bundle = train([turned], recipe=recipe, out=tmp_path / "b", settings=replace(settings, allow_leaks=True))
    assert [source.name for source in bundle.card.training] == ["made", "made (by baseline-cnn)"]
    assert "baseline-cnn learned from 12 of the 12 groups" in bundle.card.limits[-1]


def test_leaks_that_are_accepted_are_counted_on_the_card(tmp_path: Path) -> None:
    table = make_faces.table(n=32)
    torn = replace(table, side=np.where(np.isin(np.arange(32), (1, 3)), "val", table.side))
    torn.side[0] = "train"
    recipe = make_runs.tiny("baseline-cnn", *BASELINE)
    bundle = train([torn], recipe=recipe, out=tmp_path, settings=replace(make_runs.ALONE, allow_leaks=True))
    assert bundle.card.limits[-1].startswith("2 groups had faces on more than one side")


def test_a_file_of_two_stores_on_different_sides_is_a_leak(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures, fakes = rng.integers(0, 256, (40, 48, 48, 3), np.uint8), [bool(i % 2) for i in range(40)]
    one, two = (
        make_stores.store_of_pictures(tmp_path / name, [0] * 40, fakes, picture=pictures.__getitem__, dataset=name)
        for name in ("one", "two")
    )
    dealt = [make_stores.split(store, seed=seed).sides for seed, store in enumerate((one, two))]
    torn = [name for name in dealt[0] if dealt[0][name] != dealt[1][name]]
    with pytest.raises(LeakFound, match=f"^{len(torn)} files in several stores"):
        load_all([one, two])
    recipe = make_runs.tiny("baseline-cnn", *BASELINE)
    bundle = train([one, two], recipe=recipe, out=tmp_path / "run", settings=replace(make_runs.ALONE, allow_leaks=True))
    assert bundle.card.limits[-1].startswith(f"{2 * len(torn)} groups had faces on more than one side")


def test_a_recipe_names_where_it_begins(baseline: Path, tmp_path: Path) -> None:
    begin = make_runs.tiny("baseline-cnn", *BASELINE, f"weights={baseline / 'bundle'}", "stages.0.lr=1e-12")
    again = fit(begin, tmp_path / "again", weights=None)
    first = torch.load(baseline / "stage-0" / "best.ckpt", weights_only=False)["state_dict"]
    assert all(torch.allclose(value, first[name], atol=1e-8) for name, value in weights(again).items())
    assert str(baseline) not in load_bundle(again / "bundle").card.model_dump_json()


def test_a_bundle_without_weights_is_no_beginning(tmp_path: Path) -> None:
    folder = make_bundles.make_redness(tmp_path / "redness")
    with pytest.raises(WeightsMissing, match=r"teacher\.bundle"):
        models.create("transfer", weights=Weights(str(folder)))
    with pytest.raises(WeightsMissing, match=r"--set model\.options\.backbone=mobilenetv2"):
        models.create("transfer", weights=Weights("default"), options={"backbone": "mobilenetv2_035"})


def test_the_shipped_model_is_a_beginning_though_only_its_graph_is_shipped() -> None:
    table = make_faces.table(n=16)
    recipe = load_recipe("mobilenetv2", overrides=[f"model={json.dumps(load_bundle('default').card.recipe['model'])}"])
    net = _begin.start(table, recipe, Weights("default")).eval()
    crops = [cv2.resize(table.decode(row), (224, 224)) for row in range(4)]
    clips = np.stack(crops)[:, None].astype(np.uint8)
    with torch.no_grad():
        logit, _ = net(torch.from_numpy(clips))
    said, _ = onnx_outputs(load_bundle("default").path / "model.onnx", clips, n_threads=1)
    assert np.abs(logit.numpy() - said).max() < 1e-3
    assert not net.is_folded


def test_weights_of_another_model_are_no_beginning(baseline: Path) -> None:
    with pytest.raises(BundleInvalid, match="do not fit this recipe's model"):
        models.create("transfer", weights=Weights(str(baseline / "bundle")))


def test_a_teacher_answers_to_the_crops_that_are_learned_from(tmp_path: Path) -> None:
    folder = make_bundles.make_redness(tmp_path / "redness")
    recipe = make_faces.recipe(teacher={"bundle": str(folder), "weight": 0.5})
    batch = MixedBatches(make_faces.table().on("train"), recipe, stage=0, teacher=Teacher(recipe))[0]
    red, green, _ = batch["clips"].float().mean(dim=(1, 2, 3)).unbind(1)
    assert torch.allclose(batch["teacher"], (red - green) / 16, atol=1e-3)


def test_a_teacher_may_see_the_crop_before_it_was_degraded(tmp_path: Path) -> None:
    folder = make_bundles.make_redness(tmp_path / "redness")
    degrading = {"degrade_p": 1.0, "light_p": 1.0, "cast_p": 1.0}

    def batch(sees: str, augmentation: dict[str, float]) -> dict[str, torch.Tensor]:
        recipe = make_faces.recipe(teacher={"bundle": str(folder), "sees": sees}, augmentation=augmentation)
        return MixedBatches(make_faces.table().on("train"), recipe, stage=0, teacher=Teacher(recipe))[0]

    degraded, clean = batch("clean", degrading), batch("augmented", {"degrade_p": 0.0})
    assert torch.allclose(degraded["teacher"], clean["teacher"])
    assert not torch.equal(degraded["clips"], clean["clips"])
    assert not torch.allclose(batch("augmented", degrading)["teacher"], clean["teacher"], atol=0.1)


def test_a_student_comes_closer_to_its_teacher(tmp_path: Path) -> None:
    folder = make_bundles.make_redness(tmp_path / "redness")
    more = (f"teacher.bundle={folder}", "teacher.weight=1", "stages.0.epochs=3", "stages.0.steps_per_epoch=4")
    out = fit(make_runs.tiny("baseline-cnn", *BASELINE[:2], *more), tmp_path / "run")
    with (out / "stage-0" / "metrics.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]


def test_a_stage_has_a_teacher_of_its_own_and_the_card_names_what_it_learned_from(tmp_path: Path) -> None:
    seen = TrainingSource(name="elsewhere", digest="d")
    folder = make_bundles.make_redness(tmp_path / "redness", training=(seen,))
    teacher = TeacherPart(bundle=str(folder), weight=1.0)
    second = Stage(size_px=32, epochs=2, steps_per_epoch=4, warmup_steps=0, teacher=teacher)
    recipe = make_runs.tiny("baseline-cnn", *BASELINE[:2])
    recipe = recipe.model_copy(update={"stages": (recipe.stages[0], second)})
    bundle = train([make_faces.table(n=16)], recipe=recipe, out=tmp_path / "run", settings=make_runs.ALONE)
    assert "elsewhere (by redness)" in [source.name for source in bundle.card.training]
    said = Recipe.model_validate(bundle.card.recipe)
    assert [said.in_stage(number).teacher.bundle for number in (0, 1)] == [None, "redness"]


def test_a_teacher_of_other_crops_is_refused(tmp_path: Path) -> None:
    folder = make_bundles.make_redness(tmp_path / "wide", crop=CropSpec(size_px=32, margin_frac=0.5))
    with pytest.raises(UsageError, match="crop_margin_frac"):
        Teacher(make_faces.recipe(teacher={"bundle": str(folder)}))
    assert Teacher(make_faces.recipe(teacher={"bundle": str(folder)}, crop_margin_frac=0.4)).bundle.card.size_px == 32
    longer = make_bundles.make_redness(tmp_path / "long", n_frames=4)
    with pytest.raises(UsageError, match="4 frame"):
        Teacher(make_faces.recipe(teacher={"bundle": str(longer)}))


# When it ends, and what it leaves


def test_a_stage_ends_when_nothing_gets_better(tmp_path: Path) -> None:
    out = fit(
        make_runs.tiny("baseline-cnn", *BASELINE, "stages.0.epochs=9", "stages.0.patience=2", "stages.0.lr=1e-12"),
        tmp_path,
    )
    with (out / "stage-0" / "metrics.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3


def test_a_stage_that_ended_for_want_of_patience_does_not_go_on_when_resumed(tmp_path: Path) -> None:
    """Killed between its last epoch and the mark that it is done."""
    recipe = make_runs.tiny("baseline-cnn", *BASELINE, "stages.0.epochs=9", "stages.0.patience=2", "stages.0.lr=1e-12")
    out = fit(recipe, tmp_path)
    whole = {path.name: path.read_bytes() for path in (out / "stage-0").glob("*.c*")}
    assert set(whole) == {"best.ckpt", "last.ckpt", "metrics.csv"}
    (out / "stage-0" / "done").unlink()
    fit(recipe, out, resume=True)
    assert {name: (out / "stage-0" / name).read_bytes() for name in whole} == whole
    assert (out / "stage-0" / "done").is_file()


def test_curves_are_left_as_csv_picture_and_events(baseline: Path) -> None:
    with (baseline / "stage-0" / "metrics.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "val_auc", "images_per_s", "lr"} <= set(row)
    assert (baseline / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    (events,) = (baseline / "stage-0" / "tensorboard").iterdir()
    assert b"val_auc" in events.read_bytes()
    assert set(json.loads((baseline / "stage-0" / "done").read_text())) == {
        "wall_s", "cpu_s", "peak_memory_mb", "mean_memory_mb",
    }  # fmt: skip


def test_curves_of_many_stages_are_in_the_order_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in range(11):
        folder = tmp_path / f"stage-{stage}"
        folder.mkdir()
        # The last stage has two epochs, and its first is the best.
        aucs = [0.9, 0.8] if stage == 10 else [0.5]
        lines = ["loss,val_auc", *(f"{stage},{auc}" for auc in aucs)]
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "stage-0 (copy)").mkdir()
    (tmp_path / "stage-0 (copy)" / "metrics.csv").write_text("loss,val_auc\n99,1\n")
    drawn: dict[str, Any] = {}

    def draw(curves: Any, **known: Any) -> Any:
        drawn.update(known, loss=curves["loss"]["train"])
        return Figure()

    monkeypatch.setattr("telltale.plots.learning_curves", draw)
    assert learning_curves(tmp_path) == tmp_path / "learning_curves.png"
    assert drawn == {"loss": [*range(11), 10], "stages": [1] * 10 + [2], "best_epoch": 11}


def test_the_terminal_shows_images_a_second_and_time_left() -> None:
    screen = io.StringIO()
    shown = FitProgress(stage=1, n_stages=3, n_steps=40, console=Console(file=screen, force_terminal=True, width=140))
    trainer: Any = SimpleNamespace(global_step=10, current_epoch=0, max_epochs=4, world_size=2)
    shown.on_train_start(trainer)
    shown.on_train_epoch_start(trainer)
    trainer.global_step = 11
    shown.on_train_batch_end(trainer, None, {"loss": 0.5}, {"mask": torch.ones(8, 1, dtype=torch.bool)})
    shown.teardown()
    said = screen.getvalue()
    assert "stage 2/3, epoch 1/4" in said
    assert "images/s, loss 0.500" in said
    assert "left" in said


def test_what_is_waited_for_before_and_after_a_fit_is_counted_on_a_line() -> None:
    screen = io.StringIO()
    with waiting("judging faces", 40, console=Console(file=screen, force_terminal=True, width=140)) as step:
        step(15)
    assert "judging faces" in screen.getvalue()
    assert "15/40" in screen.getvalue()


def test_crops_smaller_than_the_recipe_learns_at_are_refused(tmp_path: Path) -> None:
    store = make_runs.store_of_sequences(tmp_path / "store")
    with pytest.raises(UsageError, match="--size 224"):
        train([store], recipe=load_recipe("inceptionv3-gru"), out=tmp_path / "run", settings=make_runs.ALONE)


def test_fakes_in_turn_are_each_drawn_once() -> None:
    table = make_faces.table().on("train")
    recipe = make_faces.recipe(mix={"made": {"real": 4, "fake": 4}}, pairing="none")
    mix = Mix(table, recipe)
    drawn = [draw.row for step in range(mix.steps_once()) for draw in mix.draws(0, step)]
    assert sorted(drawn) == list(range(len(table)))


# What is computed once


def test_features_of_a_frozen_backbone_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_runs.store_of_sequences(tmp_path / "store")
    recipe, counts = make_runs.tiny("inceptionv3-gru"), []
    compute = FeatureCache._compute

    def counted(self: FeatureCache, pictures: dict[bytes, Any]) -> Any:
        counts.append(len(pictures))
        return compute(self, pictures)

    monkeypatch.setattr(FeatureCache, "_compute", counted)
    for name in ("one", "two"):
        settings = replace(make_runs.ALONE, cache=tmp_path / "cache")
        train([store], recipe=recipe, out=tmp_path / name, settings=settings)
    half = len(counts) // 2
    assert sum(counts[:half]) > 0
    assert sum(counts[half:]) == 0
    monkeypatch.setattr(_run, "cacheable", lambda *_: False)
    train([store], recipe=recipe, out=tmp_path / "plain", settings=make_runs.ALONE)
    ours, theirs = (weights(tmp_path / name, "ema.head") for name in ("one", "plain"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


def test_pixels_that_a_stage_blends_are_not_computed_once(tmp_path: Path) -> None:
    table = load_all([make_runs.store_of_sequences(tmp_path / "store")])
    recipe = make_runs.tiny("inceptionv3-gru", "stages.0.mix={'*': {real: 2, blend: 2}}", "stages.0.epochs=1")
    _run.fit(table, recipe, out=tmp_path / "run", settings=make_runs.ALONE)
    assert not (tmp_path / "run" / "features").exists()


def test_a_cache_gives_what_the_backbone_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"n_frames": 2, "backbone": "mobilenetv2_035"}
    net = models.create("feature_gru", weights=Weights("none"), options=options).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    cache = FeatureCache(net, tmp_path, size_px=32)
    given = cache.of(pictures[[0, 1, 2, 0]])
    with torch.no_grad():
        own = net.frame(torch.from_numpy(pictures)).numpy()  # type: ignore[operator]
    assert np.allclose(given, own[[0, 1, 2, 0]], atol=1e-5)
    again = FeatureCache(net, tmp_path, size_px=32)
    monkeypatch.setattr(net.frame, "forward", None)  # would end a second computation
    assert np.array_equal(again.of(pictures), given[:3])


def test_points_of_a_store_lie_in_its_crops(tmp_path: Path) -> None:
    spec = CropSpec(size_px=32, margin_frac=0.2, down_frac=0.1)
    box, points = np.array([10, 20, 70, 80], np.float32), (make_faces.POINTS / 2 + 20).astype(np.float32)
    record = VideoRecord(dataset="made", video_id="v", path="v.mp4", name="v.mp4", label=0, group_id="made:v")
    face = Face(frame_index=0, pts_s=0.0, box_xyxy=box, confidence=0.99, points=points)
    frame = np.zeros((120, 120, 3), np.uint8)
    for x, y in points.astype(int).tolist():
        frame[y - 4 : y + 5, x - 4 : x + 5] = 255
    stored = StoredFace(encode_crop(crop_face(frame, box, points, spec), format="png"), face, track_id=0)
    writer = StoreWriter(tmp_path / "store", settings={"crop": asdict(spec), "detect": True})
    writer.stage([Outcome(record, "0" * 64, faces=[stored], n_frames_sampled=1, n_frames_with_face=1)])
    writer.compact([record])
    table = FaceTable.from_store(open_store(tmp_path / "store"), np.array(["train"]))
    shown = table.decode(0)
    assert all(shown[round(y), round(x)].min() > 100 for x, y in table.points[0].tolist())
