"""A recipe with members: each is trained by its own recipe, and one bundle gives the mean of their logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import make_faces
import make_runs
from telltale import models
from telltale.bundle import WEIGHTS_NAME, Bundle, load_bundle, write_card
from telltale.errors import LeakFound, TelltaleError, UsageError
from telltale.export import onnx_outputs
from telltale.models import Weights
from telltale.recipe import Recipe
from telltale.train import _run, export_checkpoint, join, load_all, train
from telltale.tune import tune

SHARES = (0.75, 0.25)
OURS = "model.options.backbone=mobilenetv2"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    members = [
        {"recipe": make_runs.tiny("mobilenetv2", OURS, f"seed={seed}").model_dump(), "share": 2 * share}
        for seed, share in enumerate(SHARES)
    ]
    return Recipe.model_validate({"members": members, "mix": {"*": {"real": 2, "fake": 2}}, "card": {"name": "both"}})


@pytest.fixture(scope="module")
def run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train([make_faces.table(n=32)], recipe=recipe, out=out, settings=make_runs.ALONE)
    return out


def members_of(run: Path) -> list[Bundle]:
    return [load_bundle(run / f"member-{number}" / "bundle") for number in (0, 1)]


def clips() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, 1, 32, 32, 3), dtype=np.uint8)


def test_the_logit_is_the_mean_of_the_members_by_their_shares(run: Path) -> None:
    first, second = (onnx_outputs(member.model_path, clips())[0] for member in members_of(run))
    assert np.abs(first - second).max() > 1e-5, "two seeds, two models"
    logit, pooled = onnx_outputs(load_bundle(run / "bundle").model_path, clips())
    np.testing.assert_allclose(logit, SHARES[0] * first + SHARES[1] * second, atol=1e-7)
    assert pooled is not None
    assert pooled.shape == (5, 2560)


def test_its_card_names_what_it_was_joined_from(run: Path) -> None:
    card, (first, second) = load_bundle(run / "bundle").card, members_of(run)
    members = card.recipe["members"]
    assert isinstance(members, list)
    assert [(member["sha256"], member["share"]) for member in members] == [
        (first.sha256, SHARES[0]),
        (second.sha256, SHARES[1]),
    ]
    assert card.name == "both"
    assert card.training == first.card.training
    assert card.resources["wall_s"] == pytest.approx(
        first.card.resources["wall_s"] + second.card.resources["wall_s"], abs=0.01
    )
    assert (run / "val" / "roc.png").is_file()


def test_it_is_a_beginning_with_its_weights_or_its_graph_alone(run: Path, tmp_path: Path) -> None:
    bundle = load_bundle(run / "bundle")
    graph_alone = tmp_path / "graph"
    graph_alone.mkdir()
    (graph_alone / "model.onnx").write_bytes(bundle.model_path.read_bytes())
    write_card(graph_alone, bundle.card)
    assert not (graph_alone / WEIGHTS_NAME).exists()
    expected = onnx_outputs(bundle.model_path, clips())[0]
    for begin in (bundle.path, graph_alone):
        net = models.create("transfer", weights=Weights(str(begin)), options={"trunks": 2}).eval()
        with torch.no_grad():
            logit = net(torch.from_numpy(clips()))[0].numpy()
        np.testing.assert_allclose(logit, expected, atol=1e-3)


def test_it_is_trained_on_as_one_network(run: Path, tmp_path: Path) -> None:
    further = make_runs.tiny("mobilenetv2", OURS, "model.options.trunks=2", "stages.0.frozen_parts=3")
    settings = replace(make_runs.ALONE, weights=str(run / "bundle"))
    bundle = train([make_faces.table(n=32)], recipe=further, out=tmp_path / "further", settings=settings)
    assert bundle.sha256 != load_bundle(run / "bundle").sha256
    net = models.create("transfer", weights=Weights(str(bundle.path)), options={"trunks": 2})
    assert next(iter(net.parts())) == "blocks.0"  # type: ignore[operator]


def test_a_run_that_was_stopped_goes_on_with_the_member_that_is_due(recipe: Recipe, run: Path, tmp_path: Path) -> None:
    first = tmp_path / "run" / "member-0"
    first.parent.mkdir()
    (run / "member-0").rename(first)
    try:
        settings = replace(make_runs.ALONE, resume=True)
        bundle = train([make_faces.table(n=32)], recipe=recipe, out=tmp_path / "run", settings=settings)
    finally:
        first.rename(run / "member-0")
    assert bundle.sha256 == load_bundle(run / "bundle").sha256


def test_members_that_look_at_faces_in_different_ways_do_not_join(run: Path, tmp_path: Path) -> None:
    faces, other = make_faces.table(n=32), make_runs.tiny("mobilenetv2", OURS, "stages.0.size_px=64")
    larger = train([faces], recipe=other, out=tmp_path / "larger", settings=make_runs.ALONE)
    with pytest.raises(UsageError, match="one size"):
        join([members_of(run)[0], larger], load_all([faces]), other, shares=(1, 1), out=tmp_path / "joined")
    baseline = train([faces], recipe=make_runs.tiny("baseline-cnn"), out=tmp_path / "cnn", settings=make_runs.ALONE)
    with pytest.raises(UsageError, match="only those join"):
        join([baseline, baseline], load_all([faces]), other, shares=(1, 1), out=tmp_path / "joined")
    with pytest.raises(UsageError, match="shares above 0"):
        join(members_of(run), load_all([faces]), other, shares=(1, 0), out=tmp_path / "joined")


def test_members_that_would_not_join_are_refused_before_they_are_trained(recipe: Recipe, tmp_path: Path) -> None:
    for name, more, said in (("baseline-cnn", (), "not baseline_cnn"), ("mobilenetv2", ("stages.0.size_px=64",), "64")):
        other = recipe.members[1].model_copy(update={"recipe": make_runs.tiny(name, *more)})
        wrong = recipe.model_copy(update={"members": (recipe.members[0], other)})
        with pytest.raises(UsageError, match=said):
            train([make_faces.table(n=32)], recipe=wrong, out=tmp_path / "run", settings=make_runs.ALONE)
        assert not (tmp_path / "run").exists()


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("trained, and only then refused")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("model.options.pool=flatten",), "pool over places"),
        (("model.options.hidden=8",), "pool over places"),
        (("model.options.mean=[0.4, 0.4, 0.4]",), "one mean and std"),
        (("model.options.n_frames=2",), "no option n_frames"),
        (("model.options.trunk=2",), "did you mean trunks"),
        (("crop_margin_frac=0.3",), r"members\.1\.recipe cuts faces in another way"),
        (("mix={elsewhere: {real: 2, fake: 2}}",), "names none of the sources"),
        (("stages.0.begin_share=0.5",), r"stages\.0\.begin_share"),
        (("teacher.bundle=none at all",), "no model folder"),
        (("weights=nowhere.npz",), "no weights file"),
    ],
)
def test_a_member_that_cannot_be_trained_or_joined_is_refused_before_the_first_is_trained(
    more: tuple[str, ...], said: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = recipe.members[1].model_copy(update={"recipe": make_runs.tiny("mobilenetv2", OURS, *more)})
    first = recipe.members[0].recipe.model_copy(update={"weights": "none"})
    members = (recipe.members[0].model_copy(update={"recipe": first}), other)
    wrong = recipe.model_copy(update={"members": members})
    weights = None if any(setting.startswith("weights") for setting in more) else "none"
    monkeypatch.setattr(_run, "fit", refuse)
    settings = replace(make_runs.ALONE, weights=weights)
    with pytest.raises(TelltaleError, match=said):
        train([make_faces.table(n=32)], recipe=wrong, out=tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_an_ensemble_may_be_a_member(recipe: Recipe, tmp_path: Path) -> None:
    inner = recipe.members[0].model_copy(update={"recipe": recipe})
    outer = recipe.model_copy(update={"members": (recipe.members[0], inner)})
    bundle = train([make_faces.table(n=32)], recipe=outer, out=tmp_path / "run", settings=make_runs.ALONE)
    assert (tmp_path / "run/member-1/member-1/bundle/card.json").is_file()
    pooled = onnx_outputs(bundle.model_path, clips())[1]
    assert pooled is not None
    assert pooled.shape == (5, 3 * 1280)


def test_leaks_that_are_accepted_are_counted_on_its_card(recipe: Recipe, run: Path, tmp_path: Path) -> None:
    table = make_faces.table(n=32)
    torn = replace(table, side=np.where(table.side == "val", "train", np.where(table.side == "train", "val", "test")))
    options: dict[str, Any] = {"shares": SHARES, "out": tmp_path / "joined"}
    with pytest.raises(LeakFound):
        join(members_of(run), torn, recipe, **options)
    bundle = join(members_of(run), torn, recipe, allow_leaks=True, **options)
    assert any("say nothing about people it never saw" in limit for limit in bundle.card.limits)


def test_what_needs_stages_refuses_members(recipe: Recipe, run: Path, tmp_path: Path) -> None:
    faces = [make_faces.table(n=32)]
    with pytest.raises(UsageError, match="recipe of a member"):
        tune(faces, recipe=recipe, out=tmp_path / "search", grid={"seed": [1, 2]})
    with pytest.raises(UsageError, match="recipe of the member"):
        export_checkpoint(run / "member-0/stage-0/best.ckpt", faces, recipe=recipe, out=tmp_path / "bundle")
    with pytest.raises(UsageError, match="one machine"):
        train(faces, recipe=recipe, out=tmp_path / "nodes", settings=replace(make_runs.ALONE, nodes=2))
