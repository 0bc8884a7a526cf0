"""Classical models from a store to a bundle that scans."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from make_stores import PICTURE_PX, Clip, colour, split, store_of_clips, store_of_pictures
from telltale.bundle import load_bundle
from telltale.cli import app
from telltale.crops import CropSpec
from telltale.errors import DataError, LeakFound, UsageError
from telltale.evaluate import EvaluateSettings, evaluate
from telltale.models import _pixel_graphs
from telltale.recipe import Recipe, load_recipe, names
from telltale.sampling import SamplePlan
from telltale.scan import Scanner
from telltale.split import make_split
from telltale.store import Store
from telltale.train import FaceTable, TrainSettings, train
from telltale.train._pixels import PixelRun, train_pixels
from test_base_install import NOT_IN_BASE

KINDS = ("random-forest", "svm", "logistic")
BASE = Path(__file__).parents[2] / ".venv-base" / "bin" / "python"
"""The base install, where `make test-base` has made one; elsewhere its missing libraries are put out of reach."""
TINY = ["model.options.size_px=8"]


def recipe(kind: str, *more: str) -> Recipe:
    trees = ["model.options.n_trees=6"] if kind == "random-forest" else []
    return load_recipe(kind, overrides=[*TINY, *trees, *more])


def pictures(folder: Path, n: int = 120, *, seed: int = 0) -> Store:
    """Fakes are redder than reals, mostly; two pictures a group."""
    rng = np.random.default_rng(seed)
    fakes = np.arange(n) % 2 == 1
    logits = rng.normal(2.4 * fakes - 1.2, 1.0).round(1)
    store = store_of_pictures(folder, logits.tolist(), fakes.tolist(), groups=[str(i // 2) for i in range(n)])
    split(store)
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return pictures(tmp_path_factory.mktemp("pictures") / "store")


@pytest.fixture(scope="module")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[PixelRun, Path]]:
    found = {}
    for kind in KINDS:
        out = tmp_path_factory.mktemp(kind)
        found[kind] = (train_pixels([store], recipe(kind), out=out, settings=TrainSettings(n_threads=2)), out)
    return found


def test_the_published_recipes_are_shipped() -> None:
    assert set(KINDS) <= set(names())
    assert all(load_recipe(kind).model.options["size_px"] == 64 for kind in KINDS)
    assert load_recipe("random-forest").grid == {"model.options.n_trees": (100, 500, 1000, 2000)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_a_bundle_that_evaluates_alike(
    kind: str, runs: dict[str, tuple[PixelRun, Path]], store: Store
) -> None:
    run, out = runs[kind]
    bundle = load_bundle(out / "bundle")
    said = evaluate(bundle, store, settings=EvaluateSettings(side="test"))
    mine = run.evaluations["test"]
    assert said.video.auc is not None
    assert said.video.auc > 0.8
    assert said.video.auc == pytest.approx(mine.video.auc, abs=1e-6)
    assert said.video.confusion == mine.video.confusion
    assert said.model == mine.model
    assert not said.warnings or "rough" in said.warnings[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_card_says_what_was_done(kind: str, runs: dict[str, tuple[PixelRun, Path]]) -> None:
    card = load_bundle(runs[kind][1] / "bundle").card
    assert card.input_kind == "pixels"
    assert card.crop == CropSpec(size_px=8, margin_frac=0.1, down_frac=CropSpec().down_frac)
    assert (card.training[0].n_real, card.training[0].n_fake) == (36, 36)
    assert len(card.training[0].group_hashes) == 36 * 10
    assert set(card.resources) == {"wall_s", "cpu_s", "peak_memory_mb", "mean_memory_mb"}
    off = card.metrics["export_parity"]
    assert isinstance(off, float)
    assert off < 1e-3
    assert card.recipe["model"]["options"]["kind"] == kind  # type: ignore[index]


def test_figures_and_pictures_come_unasked(runs: dict[str, tuple[PixelRun, Path]]) -> None:
    _, out = runs["svm"]
    for side in ("val", "test"):
        assert {"evaluation.json", "faces.csv", "roc.png", "confusion.png"} <= {p.name for p in (out / side).iterdir()}
        said = json.loads((out / side / "evaluation.json").read_text())
        assert said["side"] == side
        assert set(said["video"]["report"]) == {"real", "fake", "macro", "weighted"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundle_scans(kind: str, runs: dict[str, tuple[PixelRun, Path]], face_clip: Path) -> None:
    with Scanner(runs[kind][1] / "bundle") as scanner:
        report = scanner.scan(face_clip)
    assert report.verdict.label in ("real", "fake", "uncertain")
    assert report.verdict.p_fake is not None


@pytest.mark.parametrize("kind", KINDS)
def test_at_64_px_the_bundle_scans_where_there_is_no_torch(
    kind: str, store: Store, tmp_path: Path, face_clip: Path
) -> None:
    run = train_pixels(
        [store], recipe(kind, "model.options.size_px=64"), out=tmp_path / "run", settings=TrainSettings(n_threads=2)
    )
    assert run.bundle is not None
    command = ["scan", "--json", "--model", str(run.bundle.path), str(face_clip)]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({NOT_IN_BASE!r}))
from telltale.cli import main
main({command!r})
"""
    python = BASE if BASE.is_file() else Path(sys.executable)
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["error"] is None
    assert report["verdict"]["label"] in ("real", "fake", "uncertain")
    assert 0 < report["verdict"]["p_fake"] < 1


def test_the_training_side_is_known_to_the_card(runs: dict[str, tuple[PixelRun, Path]], store: Store) -> None:
    with pytest.raises(LeakFound, match="trained on 36 of the 36 groups"):
        evaluate(runs["svm"][1] / "bundle", store, settings=EvaluateSettings(side="train"))


def test_what_it_was_neither_trained_nor_chosen_on_is_known(
    runs: dict[str, tuple[PixelRun, Path]], store: Store
) -> None:
    run, out = runs["svm"]
    said = evaluate(out / "bundle", store, settings=EvaluateSettings(side="unseen"))
    assert said.frame.n == run.evaluations["test"].frame.n


def test_a_data_set_that_it_was_only_chosen_on_is_not_unseen(store: Store, tmp_path: Path) -> None:
    fakes = [number % 2 == 1 for number in range(40)]
    logits = [2.0 * fake - 1 for fake in fakes]
    chosen_on = store_of_pictures(
        tmp_path / "b", logits, fakes, dataset="others", picture=lambda i: colour(logits[i], size_px=PICTURE_PX + 1)
    )
    dealt = make_split(chosen_on.face_records())
    chosen_on.write_split("main", replace(dealt, sides=dict.fromkeys(dealt.sides, "val")), unit="face")
    run = train_pixels([store, chosen_on], recipe("logistic"), out=tmp_path / "out")
    assert run.bundle is not None
    assert [(source.name, source.n_real) for source in run.bundle.card.training if source.name == "others"] == [
        ("others", 0)
    ]
    with pytest.raises(DataError, match="none is unseen"):
        evaluate(run.bundle, chosen_on, settings=EvaluateSettings(side="unseen"))


def test_a_store_of_videos_gives_its_crop_to_the_card(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = [
        Clip([rng.normal(3 * (i % 2) - 1.5, 1, 4).round(1).tolist()], fake=bool(i % 2), group=str(i)) for i in range(40)
    ]
    crop = CropSpec(size_px=16, margin_frac=0.2)
    plan = SamplePlan("every", 3)
    made = store_of_clips(tmp_path / "store", clips, crop=crop, detector="haar", plan=asdict(plan))
    split(made)
    chosen = recipe("logistic", "model.options.size_px=16")
    run = train_pixels([made], chosen, out=tmp_path / "run")
    assert run.bundle is not None
    assert run.bundle.card.crop == crop
    assert (run.bundle.card.detector.name, run.bundle.card.sample) == ("haar", plan)
    assert "tracks" in run.bundle.card.calibration.fitted_on
    assert run.bundle.card.thresholds.population.startswith("tracks: ")
    assert evaluate(run.bundle, made).frame.n == run.evaluations["test"].frame.n
    smaller = train_pixels([made], recipe("logistic"), out=tmp_path / "smaller")
    assert smaller.bundle is not None
    assert smaller.bundle.card.crop == CropSpec(size_px=8, margin_frac=0.2)
    with pytest.raises(UsageError, match="--size 32"):
        train_pixels([made], recipe("logistic", "model.options.size_px=32"), out=tmp_path / "larger")


NOT_FOR_PIXELS = "fitted at once, from nothing, in one process: leave out --devices, --nodes, --cache, --resume"


@pytest.mark.parametrize(
    "settings",
    [
        TrainSettings(weights="default"),
        TrainSettings(resume=True),
        TrainSettings(cache="features"),
        TrainSettings(devices=4),
        TrainSettings(nodes=2),
    ],
)
def test_settings_that_say_nothing_to_a_model_on_pixels_are_refused(
    settings: TrainSettings, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=NOT_FOR_PIXELS):
        train(store, recipe=recipe("logistic"), out=tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_settings_of_networks_are_refused_by_a_model_on_pixels(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="knows no augment, stages: leave that out"):
        train(store, recipe=recipe("svm", "stages.0.lr=1e-5", "augment=false"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_refuses_them_in_the_same_words(store: Store, tmp_path: Path) -> None:
    command = ["train", str(store.path), "--recipe", "logistic", "--weights", "default", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert NOT_FOR_PIXELS in " ".join(done.stderr.split())


def test_faces_of_no_store_are_refused_by_a_model_on_pixels(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="learns from stores"):
        train([store, FaceTable.empty()], recipe=recipe("logistic"), out=tmp_path / "run")


def test_a_torn_split_is_refused_and_counted_where_allowed(tmp_path: Path) -> None:
    store = pictures(tmp_path / "store")
    faces = store.face_records()
    store.write_split("random", make_split(faces, by="random", ratio="60/20/20"), unit="face")
    settings = TrainSettings(split="random")
    with pytest.raises(LeakFound):
        train_pixels([store], recipe("logistic"), out=tmp_path / "a", settings=settings)
    run = train_pixels([store], recipe("logistic"), out=tmp_path / "b", settings=replace(settings, allow_leaks=True))
    assert run.evaluations["test"].leaked_groups > 0
    assert run.bundle is not None
    assert "groups had faces on more than one side" in run.bundle.card.limits[-1]


def test_the_card_of_a_model_counts_both_classes(runs: dict[str, tuple[PixelRun, Path]]) -> None:
    said = CliRunner().invoke(app, ["models", "show", str(runs["svm"][1] / "bundle")], env={"COLUMNS": "200"}).output
    val = runs["svm"][0].evaluations["val"].frame
    assert f"{val.n - val.n_fake} real, {val.n_fake} fake; AUC" in said


def test_a_split_without_validation_is_refused(tmp_path: Path) -> None:
    store = pictures(tmp_path / "store", 40)
    split(store, name="two", ratio="80/20")
    with pytest.raises(DataError, match="--ratio 80/10/10"):
        train_pixels([store], recipe("logistic"), out=tmp_path / "out", settings=TrainSettings(split="two"))


def test_a_run_does_not_overwrite_another(runs: dict[str, tuple[PixelRun, Path]], store: Store) -> None:
    with pytest.raises(UsageError, match="holds a model"):
        train_pixels([store], recipe("svm"), out=runs["svm"][1])


def test_a_machine_too_large_for_a_bundle_still_has_figures(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pixel_graphs, "MAX_BYTES", 1000)
    run = train_pixels([store], recipe("svm"), out=tmp_path)
    assert run.bundle is None
    assert not (tmp_path / "bundle").exists()
    assert json.loads((tmp_path / "test" / "evaluation.json").read_text())["video"]["auc"] > 0.8


def test_two_runs_give_the_same_bytes(store: Store, tmp_path: Path, runs: dict[str, tuple[PixelRun, Path]]) -> None:
    again: Any = train_pixels([store], recipe("random-forest"), out=tmp_path)
    first = runs["random-forest"][0].bundle
    assert first is not None
    assert again.bundle.sha256 == first.sha256


def test_the_command_trains_and_shows_the_figures(store: Store, tmp_path: Path) -> None:
    command = ["train", str(store.path), "--recipe", "logistic", "--set", TINY[0], "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "on side test of main" in done.stdout
    assert "peak_memory_mb" in done.stderr
    assert (tmp_path / "run" / "bundle" / "card.json").is_file()
