from __future__ import annotations

import csv
import pickle
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import make_faces
import make_runs
import make_stores
from telltale.bundle import DetectorSettings, load_bundle
from telltale.crops import CropSpec, box_of, centre_square, crop_face, square_of
from telltale.errors import DataError, LeakFound, StoreInvalid, UsageError
from telltale.evaluate import EvaluateSettings, evaluate
from telltale.recipe import CardText, SourceMix, Stage, load_recipe
from telltale.runtime import Scorer
from telltale.sampling import SamplePlan
from telltale.store import Store
from telltale.train import (
    FaceTable,
    _run,
    _validation,
    check_sizes,
    export_checkpoint,
    framed,
    load_all,
    read_faces,
    train,
)
from telltale.train._data import Batch, MixedBatches, epoch_loader
from telltale.train._faces import common_detector
from telltale.train._module import average
from telltale.train._optimise import rate
from telltale.types import Clip


def _train(out: Path, *, resume: bool = False, **changes: object) -> Path:
    recipe = make_faces.recipe(**changes)
    train([make_faces.table()], recipe=recipe, out=out, settings=replace(make_runs.ALONE, resume=resume))
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tmp_path_factory.mktemp("run"))


def _averaged(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint, weights_only=False)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith("ema.")}


def test_a_run_ends_in_a_bundle_that_scores(run: Path) -> None:
    bundle = load_bundle(run / "bundle")
    assert bundle.card.calibration.method == "platt"
    assert bundle.card.metrics["export_parity"] <= 1e-3  # type: ignore[operator]
    assert bundle.weights_path is not None
    crop = make_faces.face(np.random.default_rng(0))[:32, :32]
    clip = Clip(track_id=0, pts_s=np.zeros(1), rgb=crop[None], mask=np.ones(1, bool))
    assert np.isfinite(Scorer(bundle).score([clip]).logit).all()


def test_the_card_says_what_was_learned_from(run: Path) -> None:
    card = load_bundle(run / "bundle").card
    (source,) = card.training
    assert (source.name, source.n_real, source.n_fake) == ("made", 24, 24)
    assert len(source.digest) == 64
    assert card.recipe["seed"] == 0
    assert card.resources["wall_s"] > 0
    assert "8 real" in card.thresholds.population


def test_each_epoch_leaves_a_row_of_figures(run: Path) -> None:
    with (run / "stage-0" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert {"val_auc", "loss", "lr", "images_per_s", "made_blend_auc", "made_jpeg30_auc"} <= set(rows[0])


def test_what_learning_asks_of_the_processor_ends_with_it(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    _train(tmp_path / "run")
    assert torch.get_num_threads() == threads
    assert np.multiply(np.full(9, 1e-42, np.float32), np.float32(1)).all()


def test_two_runs_give_the_same_weights(run: Path, tmp_path: Path) -> None:
    other = _train(tmp_path / "again")
    ours, theirs = (_averaged(path / "stage-0" / "last.ckpt") for path in (run, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert load_bundle(run / "bundle").sha256 == load_bundle(other / "bundle").sha256


def test_another_seed_gives_other_weights(run: Path, tmp_path: Path) -> None:
    other = _train(tmp_path / "other", seed=1)
    ours, theirs = (_averaged(path / "stage-0" / "last.ckpt") for path in (run, other))
    assert not all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_stopped_run_ends_like_one_that_was_not(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from telltale.train import _module

    class Stopped(Exception):
        pass

    learn = _module.Fit.training_step

    def stop(self: _module.Fit, batch: Batch, index: int) -> dict[str, Any]:
        if self.current_epoch == 1:
            raise Stopped
        return learn(self, batch, index)

    half = tmp_path / "half"
    with monkeypatch.context() as patched:
        patched.setattr(_module.Fit, "training_step", stop)
        with pytest.raises(Stopped):
            _train(half)
    _train(half, resume=True)
    ours, theirs = (_averaged(path / "stage-0" / "last.ckpt") for path in (run, half))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with (half / "stage-0" / "metrics.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


@pytest.mark.parametrize(("first", "last"), [({"frozen_parts": 3}, {}), ({}, {"place_weight": 1.0})])
def test_a_run_stopped_between_stages_ends_like_one_that_was_not(
    first: dict[str, Any], last: dict[str, Any], tmp_path: Path
) -> None:
    stages = [{"size_px": 32, "steps_per_epoch": 2, "lr": 1e-2, "warmup_steps": 0} | own for own in (first, last)]
    recipe = make_faces.recipe(stages=stages)

    def fit(*, resume: bool) -> dict[str, torch.Tensor]:
        _run.fit(make_faces.table(), recipe, out=tmp_path, settings=replace(make_runs.ALONE, resume=resume))
        state: dict[str, torch.Tensor] = torch.load(tmp_path / "stage-1" / "last.ckpt", weights_only=False)[
            "state_dict"
        ]
        return state

    whole = fit(resume=False)
    shutil.rmtree(tmp_path / "stage-1")
    resumed = fit(resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    ("changes", "seed", "named"),
    [({"seed": 9}, 0, "seed"), ({"stages": [{"size_px": 32, "lr": 1e-2}]}, 0, "stages"), ({}, 1, "faces")],
)
def test_a_run_goes_on_only_with_what_it_began_with(
    changes: dict[str, Any], seed: int, named: str, run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    faces = make_faces.table()
    faces = replace(faces, label=faces.label ^ seed)
    with pytest.raises(UsageError, match=f"began with other {named}: --resume goes on"):
        train([faces], recipe=make_faces.recipe(**changes), out=copy, settings=replace(make_runs.ALONE, resume=True))


def test_stages_that_have_not_begun_may_still_change(tmp_path: Path) -> None:
    stage = {"size_px": 32, "steps_per_epoch": 1}
    (tmp_path / "run.json").write_text('{"seed": 7}')  # of a run that was refused before its first stage
    for n_stages in (1, 2):
        recipe = make_faces.recipe(stages=[stage] * n_stages)
        _run.fit(make_faces.table(), recipe, out=tmp_path, settings=replace(make_runs.ALONE, resume=n_stages > 1))
    assert (tmp_path / "stage-1" / "done").is_file()


def test_a_folder_that_holds_a_run_is_not_overwritten(run: Path) -> None:
    with pytest.raises(UsageError, match="--resume"):
        _train(run)


def test_a_checkpoint_can_be_exported_by_itself(run: Path, tmp_path: Path) -> None:
    bundle = export_checkpoint(
        run / "stage-0" / "best.ckpt",
        [make_faces.table()],
        recipe=make_faces.recipe(),
        out=tmp_path / "bundle",
        with_weights=False,
    )
    assert bundle.sha256 == load_bundle(run / "bundle").sha256
    assert bundle.weights_path is None
    with pytest.raises(UsageError, match="no checkpoint"):
        export_checkpoint(tmp_path / "none.ckpt", [], recipe=make_faces.recipe(), out=tmp_path)


def test_a_gate_is_fitted_where_a_source_has_groups_enough(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "stage-0" / "last.ckpt"
    gated = make_faces.recipe(card=CardText(gate=True))

    few = export_checkpoint(checkpoint, [make_faces.table(n=64)], recipe=gated, out=tmp_path / "few")
    many = export_checkpoint(checkpoint, [make_faces.table(n=400)], recipe=gated, out=tmp_path / "many")

    assert few.card.gate is None
    assert many.card.gate is not None
    assert "training faces of made;" in many.card.gate.fitted_on
    crop = np.zeros((1, 32, 32, 3), np.uint8)
    scores = Scorer(many).score([Clip(0, np.zeros(1), crop, np.ones(1, bool))])
    assert scores.distance is not None
    assert np.isfinite(scores.distance).all()


@pytest.mark.parametrize(("begin_stage", "mixed_in"), [(None, 1), (0, 0)])
def test_a_share_of_an_earlier_stage_can_be_mixed_back_in(
    tmp_path: Path, begin_stage: int | None, mixed_in: int
) -> None:
    first = make_faces.recipe().stages[0].model_copy(update={"epochs": 1, "steps_per_epoch": 1})
    last = first.model_copy(update={"begin_share": 0.25, "begin_stage": begin_stage})
    run = _train(tmp_path / "run", stages=(first, first, last))
    earlier, ended = (_averaged(run / f"stage-{number}" / "best.ckpt") for number in (mixed_in, 2))
    kept = load_file(run / "bundle" / "weights.safetensors")
    name = next(name for name, value in ended.items() if not torch.equal(value, earlier[name]))
    mixed = 0.25 * earlier[name] + 0.75 * ended[name]
    assert torch.allclose(kept[name.removeprefix("ema.")], mixed, atol=1e-6)


def test_a_stage_mixes_only_with_one_before_it(tmp_path: Path) -> None:
    first = make_faces.recipe().stages[0]
    with pytest.raises(UsageError, match=r"stages\.1\.begin_stage"):
        _train(tmp_path / "run", stages=(first, first.model_copy(update={"begin_share": 0.25, "begin_stage": 1})))


def test_the_first_stage_began_with_no_checkpoint(tmp_path: Path) -> None:
    first = make_faces.recipe().stages[0].model_copy(update={"begin_share": 0.25})
    with pytest.raises(UsageError, match=r"stages\.0\.begin_share"):
        _train(tmp_path / "run", stages=(first,))


def test_a_batch_does_not_depend_on_the_number_of_workers() -> None:
    batches = MixedBatches(make_faces.table().on("train"), make_faces.recipe(), stage=0)
    plain, worked = (list(epoch_loader(batches, epoch=1, steps_per_epoch=2, workers=workers)) for workers in (0, 1))
    assert all(torch.equal(a["clips"], b["clips"]) for a, b in zip(plain, worked, strict=True))
    assert not torch.equal(plain[0]["clips"], plain[1]["clips"])


def test_a_batch_holds_what_the_mix_says_and_fakes_of_the_same_groups() -> None:
    table = make_faces.table().on("train")
    batches = MixedBatches(table, make_faces.recipe(mix={"made": {"real": 5, "fake": 5, "blend": 2}}), stage=0)
    draws = batches.mix.draws(0, 3)
    real, fake, blends = draws[:5], draws[5:10], draws[10:]
    assert [table.group_id[d.row] for d in real] == [table.group_id[d.row] for d in fake]
    assert [bool(table.label[d.row]) for d in draws] == [False] * 5 + [True] * 5 + [False] * 2
    assert [d.row for d in blends] == [d.row for d in real[:2]]
    batch = batches[3]
    assert batch["label"].tolist() == [0.0] * 5 + [1.0] * 7
    assert batch["clips"].shape == (12, 1, 32, 32, 3)


def test_a_stage_may_mix_and_augment_in_its_own_way() -> None:
    first = {"size_px": 32, "epochs": 1, "steps_per_epoch": 2}
    own = first | {"mix": {"made": {"real": 2, "fake": 3}}, "augmentation": {"degrade_p": 0.0, "plain_p": 1.0}}
    recipe = make_faces.recipe(mix={"made": {"real": 5, "fake": 5}}, stages=[first, own])
    table = make_faces.table().on("train")
    common, special = (MixedBatches(table, recipe, stage=number) for number in (0, 1))
    assert (len(common[0]["label"]), len(special[0]["label"])) == (10, 5)
    assert (common.recipe.augmentation.plain_p, special.recipe.augmentation.plain_p) == (0.0, 1.0)


def test_a_stage_that_mixes_other_faces_is_refused_before_the_first_is_run(tmp_path: Path) -> None:
    first = make_faces.recipe().stages[0]
    other = first.model_copy(update={"mix": {"elsewhere": SourceMix(real=2, fake=2)}})
    with pytest.raises(DataError, match="names none of the sources made"):
        _train(tmp_path / "run", stages=(first, other))
    assert not (tmp_path / "run" / "stage-0").exists()


def test_every_face_is_drawn_before_one_is_drawn_again() -> None:
    table = make_faces.table().on("train")
    mix = MixedBatches(table, make_faces.recipe(mix={"made": {"real": 4, "fake": 4}}), stage=0).mix
    drawn = [d.row for step in range(6) for d in mix.draws(0, step) if not table.label[d.row]]
    assert len(drawn) == len(set(drawn)) == 24


def test_a_mix_without_faces_to_fill_it_is_refused() -> None:
    only_real = make_faces.table(fakes=False).on("train")
    with pytest.raises(DataError, match="takes fake faces from made"):
        MixedBatches(only_real, make_faces.recipe(), stage=0)
    with pytest.raises(DataError, match="none of the sources"):
        MixedBatches(only_real, make_faces.recipe(mix={"other": {"real": 1}}), stage=0)


def test_a_group_on_two_sides_is_refused() -> None:
    table = make_faces.table()
    moved = FaceTable(**{**vars(table), "side": np.where(np.arange(len(table)) == 1, "train", table.side)})
    with pytest.raises(LeakFound, match="made:0"):
        load_all([moved])
    with pytest.raises(DataError, match="no faces"):
        load_all([FaceTable.empty()])


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    table = make_faces.table(n=6)
    table.write(tmp_path / "faces.parquet")
    again = FaceTable.read(tmp_path / "faces.parquet")
    assert again.digest() == table.digest()
    for name in ("dataset", "image_id", "label", "group_id", "side", "box_xyxy", "points"):
        assert np.array_equal(getattr(again, name), getattr(table, name)), name


def test_a_data_set_of_crops_is_read_and_split_by_group(tmp_path: Path) -> None:
    table = read_faces(make_faces.write_folder(tmp_path / "set"))
    assert len(table) == 40
    assert set(table.side.tolist()) == {"train", "val", "test"}
    load_all([table])


def test_copies_in_a_data_set_of_crops_stay_on_one_side(tmp_path: Path) -> None:
    root = make_faces.write_folder(tmp_path / "set")
    lines = (root / "metadata.csv").read_text()
    for i in range(0, 40, 2):
        (root / "faces_224" / f"copy{i}.jpg").write_bytes((root / "faces_224" / f"v{i}.jpg").read_bytes())
        lines += f"copy{i}.mp4,96,96,REAL,\n"
    (root / "metadata.csv").write_text(lines)
    table = read_faces(root)
    sides: dict[bytes, set[str]] = {}
    for image, side in zip(table.image.tolist(), table.side.tolist(), strict=True):
        sides.setdefault(image, set()).add(side)
    assert max(map(len, sides.values())) == 1


def test_a_picture_that_is_no_square_is_the_square_in_its_middle() -> None:
    spec = make_faces.recipe().crop(32)
    rgb = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    framed = crop_face(rgb, box_of(100, 60, spec), None, spec)
    assert np.abs(framed.astype(int) - centre_square(rgb, spec)).mean() < 2


def test_a_picture_that_does_not_decode_is_named() -> None:
    table = make_faces.table(n=2)
    table.image[0] = b"no picture"
    with pytest.raises(StoreInvalid, match="made/face0"):
        table.decode(0)


def test_a_crop_is_the_square_of_its_box() -> None:
    spec = make_faces.recipe().crop(32)
    centre, side_px = square_of(np.array(box_of(224, 224, spec), np.float32), spec)
    assert centre == pytest.approx((112, 112), abs=1e-3)
    assert side_px == pytest.approx(224, abs=1e-3)


def test_the_rate_warms_up_stays_and_falls() -> None:
    stage = Stage(epochs=10, steps_per_epoch=10, lr=1.0, final_lr=0.1, warmup_steps=10, decay_from=0.5)
    rates = [rate(stage, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:50] == [1.0] * 40
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[100] == pytest.approx(0.1)


def test_reals_of_one_source_and_fakes_of_another_are_judged_together() -> None:
    table = make_faces.table(n=8)
    apart = replace(table, dataset=np.where(table.label == 1, "fakes", "reals"))
    found = _validation.build(apart, make_faces.recipe(), size_px=32)
    assert sorted(found.label[found.judged].tolist()) == [0] * 4 + [1] * 4
    assert "val_auc" in _validation.figures(found, np.zeros(len(found)))


@pytest.mark.parametrize("name", ["val_acc", "accuracy"])
def test_a_figure_that_no_epoch_has_chooses_no_epoch(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no epoch has a figure '{name}' .*val_accuracy"):
        _train(tmp_path, monitor=name)
    assert not list(tmp_path.glob("stage-0*")), "it cannot be run again with the right name"


def test_faces_of_one_class_judge_no_epoch() -> None:
    reals = make_faces.table(n=8, fakes=False)
    found = _validation.build(reals, make_faces.recipe(mix={"*": {"real": 4, "fake": 4}}), size_px=32)
    with pytest.raises(DataError, match="real and fake faces"):
        _validation.check_monitor(found, "val_auc")


def test_averaging_moves_weights_and_statistics_by_the_same_share() -> None:
    a, b = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    with torch.no_grad():
        b.weight.fill_(3.0)
        b.running_mean.fill_(4.0)  # type: ignore[union-attr]
        b.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    average(a, b, 0.75)
    assert a.weight.tolist() == [1.5, 1.5]
    assert a.running_mean.tolist() == [1.0, 1.0]  # type: ignore[union-attr]
    assert int(a.num_batches_tracked) == 7  # type: ignore[arg-type]


def test_frozen_parts_do_not_learn(tmp_path: Path) -> None:
    stage = make_faces.recipe().stages[0].model_copy(update={"frozen_parts": 3, "epochs": 1})
    out = _train(tmp_path / "frozen", stages=[stage.model_dump()])
    state = torch.load(out / "stage-0" / "last.ckpt", weights_only=False)["state_dict"]
    torch.manual_seed(0)
    still = [name for name in state if name.startswith("net.backbone.blocks.0.") and name.endswith("running_mean")]
    assert still
    assert all(torch.equal(state[name], torch.zeros_like(state[name])) for name in still)


def _store(folder: Path, *, crop: CropSpec, dataset: str = "made", **settings: Any) -> Store:
    clips = [
        make_stores.Clip([[6.0 if i % 2 else -6.0] * 3], fake=bool(i % 2), group=str(i // 2)) for i in range(40)
    ]  # fmt: skip
    store = make_stores.store_of_clips(folder, clips, crop=crop, dataset=dataset, **settings)
    make_stores.split(store)
    return store


def test_stores_of_several_sources_train_together(tmp_path: Path) -> None:
    crop = CropSpec(size_px=32, margin_frac=0.2, down_frac=0.0)
    said: dict[str, Any] = {"detector": "haar", "detector_config": {"min_confidence": 0.8, "min_face_px": None}}
    stores = [_store(tmp_path / name, crop=crop, dataset=name, **said) for name in ("one", "two")]
    still = make_stores.store_of_pictures(
        tmp_path / "stills", [3.0, -3.0] * 20, [True, False] * 20, groups=[str(i // 2) for i in range(40)]
    )
    make_stores.split(still)
    mix = {"one": {"real": 3, "fake": 3}, "*": {"real": 1, "fake": 1}}
    bundle = train(
        [str(stores[0].path), stores[1], still],
        recipe=make_faces.recipe(mix=mix),
        out=tmp_path / "run",
        settings=replace(make_runs.ALONE, split="main"),
    )
    assert bundle.card.crop == crop
    assert bundle.card.detector == DetectorSettings(name="haar", min_confidence=0.8)
    assert [source.name for source in bundle.card.training] == ["one", "stills", "two"]
    assert evaluate(bundle, stores[0], settings=EvaluateSettings(split="main", side="test")).frame.n > 0
    with pytest.raises(LeakFound, match="trained on"):
        evaluate(bundle, stores[1], settings=EvaluateSettings(split="main", side="train"))


def test_a_stored_crop_is_trained_on_as_it_is(tmp_path: Path) -> None:
    crop = CropSpec(size_px=32, margin_frac=0.2, down_frac=0.1)
    store = _store(tmp_path / "store", crop=crop)
    table = load_all([store])
    assert len(table) == len(store)
    assert {len(table.on(side)) > 0 for side in ("train", "val", "test")} == {True}
    assert np.array_equal(crop_face(table.decode(5), table.box_xyxy[5], None, crop), store.rgb(5))
    assert len(pickle.dumps(table)) < 60_000


def test_stores_cut_in_different_ways_are_refused(tmp_path: Path) -> None:
    crops = [CropSpec(size_px=32, margin_frac=margin) for margin in (0.1, 0.2)]
    stores = [_store(tmp_path / str(i), crop=crop, dataset=str(i)) for i, crop in enumerate(crops)]
    with pytest.raises(UsageError, match="cut in different ways"):
        train(stores, recipe=make_faces.recipe(), out=tmp_path / "run", settings=make_runs.ALONE)


def test_stores_whose_faces_were_found_in_different_ways_are_refused(tmp_path: Path) -> None:
    crop = CropSpec(size_px=32)
    one, two = (_store(tmp_path / name, crop=crop, dataset=name, detector=name) for name in ("haar", "mtcnn"))
    still = make_stores.store_of_pictures(tmp_path / "stills", [3.0, -3.0], [True, False])
    with pytest.raises(UsageError, match="--detector"):
        common_detector([one, two])
    assert common_detector([one, still]).name == "haar"
    assert common_detector([still]) == DetectorSettings()


def test_sequences_are_sampled_as_the_stores_were(tmp_path: Path) -> None:
    plan, crop = SamplePlan("every", 3), CropSpec(size_px=32)
    store = _store(tmp_path / "store", crop=crop, plan=asdict(plan))
    other = _store(tmp_path / "other", crop=crop, dataset="other", plan=asdict(SamplePlan("fps", 5)))
    single, several = make_faces.recipe(), load_recipe("cnn-lstm")
    assert framed(several, [store]).sample == plan
    assert framed(several, [store, other]).sample == several.sample
    assert framed(single, [store]).sample == single.sample


def test_every_stage_that_is_too_large_for_a_store_is_named(tmp_path: Path) -> None:
    stores = [_store(tmp_path / f"{size_px}", crop=CropSpec(size_px=size_px)) for size_px in (48, 32)]
    stages = [{"size_px": size_px} for size_px in (64, 32, 48)]
    with pytest.raises(UsageError, match=r"32 px.*--set stages\.0\.size_px=32 --set stages\.2\.size_px=32$"):
        check_sizes(make_faces.recipe(stages=stages), stores, load_all(stores))


def test_videos_of_one_name_in_two_stores_are_no_clip_together(tmp_path: Path) -> None:
    one, two = (_store(tmp_path / name, crop=CropSpec(size_px=32)) for name in ("one", "two"))
    tracks = [set(load_all(given).track.tolist()) for given in ([one], [one, two])]
    assert len(tracks[1]) == 2 * len(tracks[0])


def test_a_leak_across_stores_is_found(tmp_path: Path) -> None:
    crop = CropSpec(size_px=32)
    one, two = (_store(tmp_path / name, crop=crop) for name in ("one", "two"))
    make_stores.split(two, seed=1)
    with pytest.raises(LeakFound, match=r"stores in one command.*, or accept it with --allow-leaks"):
        load_all([one, two])
    assert len(load_all([one, two], allow_leaks=True)) == len(one) + len(two)
    with pytest.raises(UsageError, match="no store"):
        load_all([make_faces.table()], split="main")
