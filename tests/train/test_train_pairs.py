"""Fakes and their originals: where a face was changed, parts of forgeries, pairs treated alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file

import make_faces
from telltale.augment import Augmentation, augment_marked
from telltale.errors import UsageError
from telltale.models import Weights
from telltale.recipe import Recipe
from telltale.train import FaceTable, TrainSettings, train
from telltale.train._begin import start
from telltale.train._data import MixedBatches
from telltale.train._loss import place_loss
from telltale.train._mix import Mix
from telltale.train._module import Fit
from telltale.train._pairs import changed, graft, is_unchanged
from telltale.types import RgbImage

IntArray = npt.NDArray[np.int64]
CHANGED = (slice(44, 60), slice(30, 66))
"""What `pair` forges, rows and columns."""
BATCH: dict[str, dict[str, int]] = {"made": {"real": 4, "fake": 4, "graft": 3, "blend": 2}}


def pair(seed: int = 0) -> tuple[RgbImage, RgbImage]:
    """A fake and its original, with noise of their own as two compressions leave it."""
    original = make_faces.face(np.random.default_rng(seed))
    fake = original.copy()
    fake[CHANGED] = 255 - fake[CHANGED]
    noise = np.random.default_rng(seed + 1).normal(0, 2, original.shape)
    return np.clip(fake + noise, 0, 255).astype(np.uint8), original


def paired_table(n: int = 64) -> FaceTable:
    """Each fake is the real of its group, a part of it forged."""
    table = make_faces.table(n=n)
    images = table.image.copy()
    for row in range(0, n, 2):
        fake, original = pair(row)
        images[row], images[row + 1] = make_faces.coded(original), make_faces.coded(fake)
    return dataclasses.replace(table, image=images)


def recipe(**changes: Any) -> Recipe:
    stage = {"size_px": 64, "epochs": 1, "steps_per_epoch": 2, "lr": 1e-3, "warmup_steps": 1, "place_weight": 1.0}
    data: dict[str, Any] = {"mix": BATCH, "stages": [stage], "pairing": "alike", "augmentation": {"degrade_p": 0.0}}
    return make_faces.recipe(**(data | changes))


def test_what_was_forged_is_marked_and_compression_is_not() -> None:
    fake, original = pair()
    marks = changed(fake, original)
    assert marks is not None
    inside = np.zeros(marks.shape, bool)
    inside[CHANGED] = True
    assert marks[inside].mean() > 0.9 * 255
    assert marks[~inside].mean() < 0.05 * 255
    assert not is_unchanged(marks)


def test_the_same_frame_compressed_twice_is_unchanged() -> None:
    original = make_faces.face(np.random.default_rng(3))
    noise = np.random.default_rng(4).normal(0, 2, original.shape)
    marks = changed(np.clip(original + noise, 0, 255).astype(np.uint8), original)
    assert marks is not None
    assert is_unchanged(marks)


def test_pictures_that_do_not_lie_on_each_other_are_not_compared() -> None:
    fake, original = pair()
    other = make_faces.face(np.random.default_rng(9))
    assert changed(fake, other) is None
    assert changed(fake[:-2], original) is None


def test_a_graft_is_part_fake_part_original() -> None:
    fake, original = pair()
    marks = changed(fake, original)
    assert marks is not None
    mixed, left = graft(fake, original, marks, np.random.default_rng(0))
    assert 0.2 < left.sum() / marks.sum() < 1.0
    assert (left <= marks).all()
    untouched = (mixed == original).all(axis=2)
    assert untouched.mean() > 0.2
    assert np.abs(mixed.astype(int) - fake)[left > 0].mean() < np.abs(mixed.astype(int) - original)[left > 0].mean()


def test_marks_go_where_the_picture_goes() -> None:
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[20:40, 10:30] = 255
    spec = Augmentation(degrade_p=0.0, flip_p=1.0)
    rng = np.random.default_rng(1)
    clip, marks = augment_marked(
        picture[None], picture[..., 0], centre_xy=(48, 48), side_px=80, size_px=64, rng=rng, spec=spec
    )
    assert marks is not None
    assert np.array_equal(clip[0, ..., 0], marks)


def test_a_fake_is_framed_and_degraded_as_its_real_is() -> None:
    batches = MixedBatches(paired_table().on("train"), recipe(augmentation={"degrade_p": 1.0}), stage=0)
    clips = batches[0]["clips"][:, 0].float()
    alike = (clips[:4] - clips[4:8]).abs().mean(dim=(1, 2, 3))
    apart = (clips[:4] - clips[[5, 6, 7, 4]]).abs().mean(dim=(1, 2, 3))
    assert (alike < 0.5 * apart).all()
    assert [draw.twin for draw in batches.mix.draws(0, 0)[4:8]] == [0, 1, 2, 3]


def test_a_batch_says_where_each_face_was_changed() -> None:
    batch = MixedBatches(paired_table().on("train"), recipe(), stage=0)[0]
    shares = batch["where"].mean(dim=(1, 2))
    assert batch["where"].shape == (13, 8, 8)
    assert (shares[:4] == 0).all()
    assert (shares[4:11] > 0.01).all()
    assert batch["label"].tolist() == [0.0] * 4 + [1.0] * 9


def test_a_fake_that_shows_no_change_is_not_learned() -> None:
    table = paired_table().on("train")
    images = table.image.copy()
    images[table.label == 1] = images[table.label == 0]
    same = dataclasses.replace(table, image=images)
    batch = MixedBatches(same, recipe(mix={"made": {"real": 4, "fake": 4}}), stage=0)[0]
    assert (batch["weight"][:4] > 0).all()
    assert (batch["weight"][4:] == 0).all()


def test_a_fake_whose_original_is_not_there_is_learned_without_places() -> None:
    table = paired_table().on("train")
    alone = dataclasses.replace(table, group_id=np.array([f"made:{i}" for i in range(len(table))]))
    batches = MixedBatches(alone, recipe(), stage=0)
    batch = batches[0]
    assert torch.isnan(batch["where"][4:11]).all()
    assert (batch["weight"] > 0).all()
    assert not any(draw.graft for draw in batches.mix.draws(0, 0))


def test_originals_are_of_the_same_moment() -> None:
    table = paired_table(8)
    later = dataclasses.replace(table, pts_s=np.array([0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0]))
    mix = Mix(later, recipe(mix={"made": {"real": 1, "graft": 4}}))
    found = {draw.row: draw.original for draw in mix.draws(0, 0) if later.label[draw.row]}
    assert found == {1: 0, 3: None, 5: 4, 7: None}


def faces_of(groups: Sequence[tuple[str, int, int]]) -> FaceTable:
    """So many reals and fakes of each group, all of one source; no picture is looked at."""
    return FaceTable.from_rows(
        [
            {
                "dataset": "made", "image_id": f"{group}-{label}-{i}", "label": label, "group_id": f"made:{group}",
                "side": "train", "box_xyxy": make_faces.BOX, "image": b"",
            }
            for group, n_real, n_fake in groups
            for label, n in enumerate((n_real, n_fake))
            for i in range(n)
        ]
    )  # fmt: skip


def times_drawn(table: FaceTable, wanted: Recipe, *, n_steps: int) -> IntArray:
    """(N,): how often each row is drawn."""
    mix = Mix(table, wanted)
    rows = [draw.row for step in range(n_steps) for draw in mix.draws(0, step)]
    return np.bincount(rows, minlength=len(table))


@pytest.mark.parametrize("n_unpaired_reals", [0, 3, 30])
@pytest.mark.parametrize("pairing", ["source", "alike"])
def test_fakes_of_groups_without_a_real_are_drawn_as_often_as_others(pairing: str, n_unpaired_reals: int) -> None:
    swaps, unpaired = [(f"swap{i}", 1, 1) for i in range(12)], [(f"real{i}", 1, 0) for i in range(n_unpaired_reals)]
    table = faces_of([*swaps, *unpaired, *((f"made-up{i}", 0, 1) for i in range(20))])
    drawn = times_drawn(table, recipe(mix={"made": {"real": 4, "fake": 4}}, pairing=pairing), n_steps=800)
    fake, lone = table.label == 1, np.char.startswith(table.group_id, "made:made-up")
    assert drawn[fake].sum() == 3200
    assert drawn[lone].tolist() == pytest.approx([100] * 20, abs=1), "they do not come in turn"
    assert drawn[fake & ~lone].tolist() == pytest.approx([100] * 12, abs=25)
    assert np.ptp(drawn[~fake]) <= 1


def test_where_no_fake_has_a_real_they_come_in_turn() -> None:
    table = faces_of([("a", 4, 0), *((f"made-up{i}", 0, 1) for i in range(6))])
    paired, turned = (
        [[draw.row for draw in Mix(table, recipe(mix={"made": {"real": 2, "fake": 4}}, pairing=how)).draws(0, step)]
         for step in range(9)]
        for how in ("source", "none")
    )  # fmt: skip
    assert paired == turned


def test_where_every_fake_has_a_real_each_real_brings_one_of_its_group() -> None:
    """The very draws of runs before there was a share for fakes without a real: they can be repeated."""
    table = faces_of([("a", 1, 3), ("b", 2, 1), ("c", 1, 0), ("d", 1, 5), ("e", 1, 0)])
    wanted = recipe(mix={"made": {"real": 3, "fake": 4}}, pairing="source")
    mix, fakes = Mix(table, wanted), np.flatnonzero(table.label == 1)
    for step in range(12):
        draws = [draw.row for draw in mix.draws(0, step)]
        rng = np.random.default_rng([wanted.seed, 0, step, 0, 1])
        series = [np.random.default_rng([wanted.seed, 0, turn, 1, 2]).permutation(fakes) for turn in range(8)]
        spare = iter(np.concatenate(series)[4 * step :].tolist())
        expected = []
        for real in [*draws[:3], None]:
            own = [] if real is None else [row for row in fakes if table.group_id[row] == table.group_id[real]]
            expected.append(rng.choice(own) if own else next(spare))
        assert draws[3:] == expected


def test_a_group_of_two_people_says_of_no_fake_whom_it_shows() -> None:
    table = paired_table(8)
    pairs = dataclasses.replace(table, group_id=np.array([f"made:{i // 4}" for i in range(8)]))
    draws = Mix(pairs, recipe(mix={"made": {"real": 2, "fake": 2, "graft": 2}})).draws(0, 0)
    assert {(draw.original, draw.twin, draw.graft) for draw in draws} == {(None, None, False)}
    one_track = dataclasses.replace(pairs, track=np.array([f"track{i // 4}" for i in range(8)]))
    draws = Mix(one_track, recipe(mix={"made": {"real": 2, "fake": 2}})).draws(0, 0)
    assert all(draw.original is not None and draw.twin is not None for draw in draws[2:])


def test_grafts_take_every_fake_once_as_fakes_do() -> None:
    table = paired_table(8)
    assert Mix(table, recipe(mix={"made": {"real": 2, "graft": 2}})).steps_once() == 2
    assert Mix(table, recipe(mix={"made": {"real": 2, "fake": 1, "graft": 1}})).steps_once() == 2


def test_the_loss_of_places_falls_where_they_are_told_right_and_ignores_the_unknown() -> None:
    where = torch.zeros(2, 8, 8)
    where[0, :4] = 1.0
    batch = {"where": where, "weight": torch.tensor([0.5, 0.5])}
    right = torch.where(where[:, ::2, ::2] > 0, 8.0, -8.0)
    assert place_loss(right, batch) < 0.01 < place_loss(-right, batch)
    unknown = torch.full_like(where, torch.nan)
    assert place_loss(right, {"where": unknown, "weight": batch["weight"]}) == 0


def test_places_are_learned_by_the_features_and_leave_no_part_in_the_bundle(tmp_path: Path) -> None:
    table, wanted = paired_table(), recipe()
    net = start(table.on("train"), wanted, Weights("none"))
    module = Fit(net, wanted, stage=0, validation=None)
    batch = MixedBatches(table.on("train"), wanted, stage=0)[0]
    module.training_step(batch, 0)["loss"].backward()
    assert module.places is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.places.parameters())
    bundle = train([table], recipe=wanted, out=tmp_path / "run", settings=TrainSettings(weights="none"))
    assert bundle.weights_path is not None
    assert set(load_file(bundle.weights_path)) == set(net.state_dict())


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "cnn_lstm", "options": {"n_frames": 2}}},
        {"augment": False},
        {"augment": False, "stages": [{"size_px": 64}]},
    ],
)
def test_places_and_grafts_that_cannot_be_learned_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="place_weight and graft"):
        MixedBatches(paired_table().on("train"), recipe(**changes), stage=0)


def test_an_embedding_has_no_places() -> None:
    wanted = recipe(uniformity=0.5)
    net = start(paired_table().on("train"), wanted, Weights("none"))
    object.__setattr__(net, "embed", net.forward)
    with pytest.raises(UsageError, match="no feature map"):
        Fit(net, wanted, stage=0, validation=None)


def test_a_stage_may_pair_in_its_own_way() -> None:
    stage = {"size_px": 64, "steps_per_epoch": 2, "pairing": "source"}
    draws = MixedBatches(paired_table().on("train"), recipe(stages=[stage]), stage=0).mix.draws(0, 0)
    assert all(draw.twin is None for draw in draws)
