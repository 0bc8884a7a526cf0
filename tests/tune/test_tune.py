"""A search judges every setting on the same grouped folds, and never looks at the test side."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import make_faces
from make_bundles import make_redness
from make_stores import Clip, split, store_of_clips, store_of_pictures
from telltale._group_hashes import hash_groups
from telltale.bundle import TrainingSource, load_bundle
from telltale.cli import app
from telltale.cli.tune import _grid
from telltale.errors import DataError, LeakFound, UsageError
from telltale.models._forest import Forest
from telltale.models.pixels import PixelModel
from telltale.recipe import Recipe, load_recipe
from telltale.split import make_split
from telltale.store import Store
from telltale.tune import Grid, TuneSettings, Tuning, tune
from telltale.tune._pixels import PixelFolds
from telltale.tune._trials import Trials

TINY = ["model.options.size_px=8"]
NETWORKS = TuneSettings(split="main", folds=2, weights="none", workers=0, refit=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(0)
    fakes = np.arange(90) % 2 == 1
    logits = rng.normal(2.4 * fakes - 1.2, 1.0).round(1)
    made = store_of_pictures(
        tmp_path_factory.mktemp("store") / "s", logits.tolist(), fakes.tolist(), groups=[str(i // 3) for i in range(90)]
    )
    split(made)
    return made


def search(store: Store, out: Path, kind: str = "logistic", grid: Grid | None = None, **changes: Any) -> Tuning:
    settings = replace(TuneSettings(folds=3, refit=False), **changes)
    return tune([store], recipe=kind, out=out, grid=grid, overrides=TINY, settings=settings)


def test_folds_cut_no_group_and_leave_the_test_side_alone(store: Store) -> None:
    data = PixelFolds([store], TuneSettings(split="main", folds=3))
    groups = data._faces.columns["group_id"]
    for group in np.unique(groups):
        assert len(np.unique(data._fold[groups == group])) == 1
    assert set(data._fold.tolist()) == {0, 1, 2}
    sides = store.sides("main")
    assert data.n_faces == int((sides != "test").sum())
    assert not set(data._faces.row.tolist()) & set(np.flatnonzero(sides == "test").tolist())


def test_faces_that_were_not_found_choose_no_setting(tmp_path: Path) -> None:
    clips = [Clip([[1.0, 2.0, 3.0]], fake=bool(i % 2), group=str(i), filled=[1]) for i in range(20)]
    made = store_of_clips(tmp_path / "s", clips)
    split(made)
    data = PixelFolds([made], TuneSettings(split="main", folds=2))
    assert not data._faces.is_filled.any()
    assert data.n_faces == 2 * data.n_groups
    assert set(data._fold.tolist()) == {0, 1}


def test_every_setting_is_tried_on_every_fold_and_the_best_is_refitted(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    seen: list[float] = []
    tuning = tune(
        [store], recipe="logistic", out=tmp_path / "out", grid={"model.options.c": [1e-12, 1.0, 0.01]}, overrides=TINY,
        settings=TuneSettings(folds=3), on_progress=lambda share, _: seen.append(share),
    )  # fmt: skip
    assert len(tuning.points) == 3
    assert all(len(point.folds) == 3 for point in tuning.points)
    assert [p.mean for p in tuning.points] == sorted((p.mean for p in tuning.points), reverse=True)
    assert tuning.best == tuning.points[0].setting
    assert seen == sorted(seen)
    assert tuning.bundle is not None
    card = load_bundle(tuning.bundle).card
    assert card.recipe["model"]["options"]["c"] == tuning.best["model.options.c"]  # type: ignore[index]
    out = tmp_path / "out"
    assert {"tuning.json", "results.csv", "search.png", "best"} == {path.name for path in out.iterdir()}
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["mean"]) == pytest.approx(tuning.points[0].mean)
    assert json.loads((out / "tuning.json").read_text())["bundle"] == tuning.bundle


def test_one_forest_a_fold_is_grown_on(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[int] = []
    fit = Forest.fit

    def counted(self: Forest, *args: object, **options: object) -> None:
        before = len(self.trees)
        fit(self, *args, **options)  # type: ignore[arg-type]
        grown.append(len(self.trees) - before)

    monkeypatch.setattr(Forest, "fit", counted)
    grid = {"model.options.n_trees": [7, 3, 10]}
    warm = search(store, tmp_path / "warm", "random-forest", grid=grid, metric="accuracy")
    assert grown == [3, 4, 3] * 3
    monkeypatch.setattr(Forest, "fit", fit)
    for n_trees in (3, 7, 10):
        alone = search(
            store,
            tmp_path / str(n_trees),
            "random-forest",
            grid={"model.options.n_trees": [n_trees]},
            metric="accuracy",
        )
        (same,) = [p for p in warm.points if p.setting["model.options.n_trees"] == n_trees]
        assert alone.points[0].folds == same.folds


def test_sizes_and_kinds_of_settings_may_be_mixed(store: Store, tmp_path: Path) -> None:
    tuning = search(
        store, tmp_path, "svm", grid={"model.options.size_px": [8, 10], "model.options.gamma": ["scale", 0.001]}
    )
    assert len(tuning.points) == 4


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("[16,8],[32,16]", [[16, 8], [32, 16]]),
        ("1e-4,1e-3", [1e-4, 1e-3]),
        ("sqrt,log2,0.5,null", ["sqrt", "log2", 0.5, None]),
        ("{real: 8, fake: 8},{real: 4, fake: 4}", [{"real": 8, "fake": 8}, {"real": 4, "fake": 4}]),
    ],
)
def test_a_grid_is_yaml_of_which_a_value_may_be_a_list(given: str, values: list[Any]) -> None:
    assert _grid([f"a.b={given}"]) == {"a.b": values}


def test_a_grid_that_is_no_yaml_is_named() -> None:
    with pytest.raises(UsageError, match=r"--grid a\.b=\[16,8 is no YAML"):
        _grid(["a.b=[16,8"])


def test_one_path_is_one_store(store: Store, tmp_path: Path) -> None:
    def found(given: Any, name: str) -> tuple[float, ...]:
        options: dict[str, Any] = {"overrides": TINY, "settings": TuneSettings(folds=3, refit=False)}
        out = tmp_path / name
        return tune(given, recipe="logistic", out=out, grid={"model.options.c": [1.0]}, **options).points[0].folds

    assert found(str(store.path), "text") == found(store.path, "path") == found([store], "list")


def test_a_random_search_draws_from_the_grid(store: Store, tmp_path: Path) -> None:
    grid = {"model.options.c": [10.0**k for k in range(-4, 3)]}
    one, other = (search(store, tmp_path / str(i), grid=grid, n_random=2, seed=5) for i in range(2))
    assert len(one.points) == 2
    assert [p.setting for p in one.points] == [p.setting for p in other.points]
    assert [p.folds for p in one.points] == [p.folds for p in other.points]


def stopped_after(n_trials: int) -> Callable[[float, str], None]:
    """A listener that breaks a search off."""
    left = iter(range(n_trials - 1))

    def listen(_share: float, _doing: str) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return listen


@pytest.mark.parametrize("n_trials", [1, 4, 6])
def test_a_search_that_was_stopped_tries_nothing_twice(
    n_trials: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"model.options.c": [0.01, 1.0]}
    whole = search(store, tmp_path / "whole", grid=grid)
    out, settings = tmp_path / "out", TuneSettings(folds=3, refit=False)
    with pytest.raises(KeyboardInterrupt):
        tune(
            [store], recipe="logistic", out=out, grid=grid, overrides=TINY, settings=settings,
            on_progress=stopped_after(n_trials),
        )  # fmt: skip
    with pytest.raises(UsageError, match="was stopped: go on with --resume"):
        search(store, out, grid=grid)
    with pytest.raises(UsageError, match="began with other metric, settings"):
        search(store, out, grid={"model.options.c": [0.01, 2.0]}, metric="ap", resume=True)
    fitted: list[int] = []
    fit = PixelModel.fit

    def counted(self: PixelModel, *args: Any, **options: Any) -> None:
        fitted.append(1)
        fit(self, *args, **options)

    monkeypatch.setattr(PixelModel, "fit", counted)
    went_on = search(store, out, grid=grid, resume=True)
    assert len(fitted) == 6 - n_trials
    assert [(p.setting, p.folds) for p in went_on.points] == [(p.setting, p.folds) for p in whole.points]
    assert not (out / "trials.json").exists()


def test_a_search_that_was_stopped_after_its_refit_ends_all_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Trials) -> None:
        raise KeyboardInterrupt

    grid = {"model.options.c": [0.01, 1.0]}
    with monkeypatch.context() as at_last:
        at_last.setattr(Trials, "end", killed)
        with pytest.raises(KeyboardInterrupt):
            search(store, tmp_path, grid=grid, refit=True)
    assert search(store, tmp_path, grid=grid, refit=True, resume=True).bundle is not None


def test_a_damaged_record_of_trials_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "trials.json").write_text("{")
    with pytest.raises(DataError, match=r"trials\.json is damaged.*delete it"):
        search(store, tmp_path, resume=True)


def search_networks(store: Store, out: Path, **changes: object) -> Tuning:
    stage = {"size_px": 32, "epochs": 1, "steps_per_epoch": 2, "lr": 1e-3, "warmup_steps": 1}
    return tune(
        [store],
        recipe=make_faces.recipe(mix={"*": {"real": 4, "fake": 4}}, stages=[stage], **changes),
        out=out,
        grid={"stages.0.lr": [1e-4]},
        settings=NETWORKS,
    )


def test_networks_are_searched_alike(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="trains a network")
    stopped = tmp_path / "out" / "trials" / "setting-0-fold-0" / "stage-0"
    stopped.mkdir(parents=True)  # a search that was stopped is no obstacle
    tuning = search_networks(store, tmp_path / "out")
    assert tuning.best == {"stages.0.lr": 1e-4}
    assert len(tuning.points[0].folds) == 2
    assert tuning.n_faces == int((store.sides("main") != "test").sum())
    assert not list((tmp_path / "out" / "trials").iterdir())


def test_a_teacher_that_knows_the_faces_is_refused(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="trains a network")
    groups = [record.group_id for record in store.records()][:9]
    learned = TrainingSource(name="stills", group_hashes=hash_groups(groups))
    teacher = make_redness(tmp_path / "teacher", training=(learned,))
    with pytest.raises(LeakFound, match=r"redness learned from .* search with faces that it never saw"):
        search_networks(store, tmp_path / "out", teacher={"bundle": str(teacher)})


def test_stores_that_no_model_could_be_fitted_to_are_refused_before_the_search(tmp_path: Path) -> None:
    stores = [
        store_of_clips(
            tmp_path / name,
            [Clip([[1.0]], fake=bool(i % 2), group=f"{name}{i}") for i in range(12)],
            detector=name,
        )
        for name in ("haar", "mtcnn")
    ]
    for made in stores:
        split(made)
    with pytest.raises(UsageError, match="--detector"):
        tune(
            stores, recipe="logistic", out=tmp_path / "out", grid={"model.options.c": [1.0]},
            settings=TuneSettings(split="main", folds=2),
        )  # fmt: skip
    assert not list(tmp_path.glob("out/*"))


def test_models_of_sequences_are_searched_alike(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="trains a network")
    import make_runs

    made = make_runs.store_of_sequences(tmp_path / "store")
    made.write_split("other", make_split(made.records(), ratio="50/25/25", seed=3))
    tuning = tune(
        [made], recipe=make_runs.tiny("inceptionv3-gru"), out=tmp_path / "out", grid={"model.options.dense": [4, 8]},
        settings=replace(NETWORKS, split="other"),
    )  # fmt: skip
    assert len(tuning.points) == 2
    assert tuning.n_faces == int((made.sides("other") != "test").sum())
    # one backbone for every fold and setting: its features are there once
    assert [path.name for path in (tmp_path / "out" / "trials").iterdir()] == ["features"]
    assert len(list((tmp_path / "out" / "trials" / "features").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": {"model.option.c": [1]}}, "did you mean model.options"),
        ({"grid": {"model.options.trees": [1]}}, "has no option 'trees'"),
        ({"grid": {"model.options.c": []}}, "--grid KEY=A,B,C"),
        ({"grid": {"model.name": ["pixels", "transfer"]}}, "search each on its own"),
        ({"folds": 1}, "2 or more"),
        ({"folds": 40}, "ask for fewer folds with --folds"),
        ({"n_random": 0}, "1 or more"),
        ({"metric": "speed"}, "must be one of auc"),
        ({"weights": "default"}, "leave out --weights"),
        ({"split": "other"}, "no split 'other'"),
    ],
)
def test_what_cannot_be_searched_is_said(options: dict[str, Any], message: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        search(store, tmp_path / "out", "logistic", **options)


@pytest.mark.parametrize("kind", ["logistic", "baseline-cnn"])
def test_a_fold_with_one_class_is_refused_before_the_search(kind: str, tmp_path: Path) -> None:
    fakes = [number % 2 == 1 for number in range(40)]
    groups = ["the only original" if not fake else str(number) for number, fake in enumerate(fakes)]
    made = store_of_pictures(tmp_path / "s", [2.0 * fake - 1 for fake in fakes], fakes, groups=groups)
    made.write_split("main", make_split(made.face_records(), ratio="60/40/0"), unit="face")
    settings = TuneSettings(split="main", folds=3, weights="none" if kind == "baseline-cnn" else None, refit=False)
    with pytest.raises(DataError, match=r"holds no real face.*fewer --folds"):
        tune([made], recipe=kind, out=tmp_path / "out", grid={"seed": [1, 2]}, settings=settings)


def test_a_recipe_without_a_grid_needs_one(store: Store, tmp_path: Path) -> None:
    plain = Recipe.model_validate(load_recipe("svm", overrides=TINY).model_dump() | {"grid": {}})
    with pytest.raises(UsageError, match="nothing to try"):
        tune([store], recipe=plain, out=tmp_path)


def test_a_torn_split_is_refused(store: Store, tmp_path: Path) -> None:
    store.write_split("torn", make_split(store.records(), by="random", ratio="60/20/20"))
    with pytest.raises(LeakFound):
        search(store, tmp_path, split="torn")
    (store.path / "splits" / "torn.parquet").unlink()


def test_a_search_does_not_overwrite_another(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tuning.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a search"):
        search(store, tmp_path)


def test_the_command_takes_a_grid(store: Store, tmp_path: Path) -> None:
    command = ["tune", str(store.path), "--recipe", "logistic", "--set", TINY[0], "--split", "main", "--folds", "2"]
    done = CliRunner().invoke(
        app, [*command, "--grid", "model.options.c=1e-3,1", "--no-refit", "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "0.001" in done.stdout
    assert "groups" in done.stdout
    twice = ["--grid", "model.options.c=1,0.01,1", "--grid", "model.options.c=0.1,1"]
    done = CliRunner().invoke(app, [*command, *twice, "--no-refit", "--out", str(tmp_path / "more")])
    assert done.exit_code == 0, done.output
    tried = json.loads((tmp_path / "more/tuning.json").read_text())["points"]
    assert sorted(point["setting"]["model.options.c"] for point in tried) == [0.01, 0.1, 1]
    done = CliRunner().invoke(app, [*command, "--grid", "c", "--out", str(tmp_path / "other")])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, [*command, "--weights", "none", "--out", str(tmp_path / "other")])
    assert done.exit_code == 2
    assert "leave out --weights" in done.stderr
    assert not (tmp_path / "other").exists()
