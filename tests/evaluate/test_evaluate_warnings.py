"""What an evaluation says beside its figures: copies on two sides, intervals that say too much, what chance does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from make_bundles import make_redness
from make_stores import SIZE_PX, Clip, colour, split, store_of_clips, store_of_pictures
from telltale import metrics, plots
from telltale._group_hashes import hash_files, hash_groups
from telltale.bundle import TrainingSource
from telltale.cli import app
from telltale.errors import LeakFound
from telltale.evaluate import EvaluateSettings, Measures, _files, evaluate, score_model
from telltale.split import make_split

pytest.importorskip("onnx", reason="makes models with onnx")

ALL = EvaluateSettings(side="all", repeats=50)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_redness(tmp_path / "redness", size_px=SIZE_PX)


def test_a_file_of_two_stores_on_different_sides_is_an_error(tmp_path: Path, model: Path) -> None:
    """Two data sets under names of their own, of the same pictures: no group tells it."""
    rng = np.random.default_rng(0)
    pictures, fakes = rng.integers(0, 256, (40, 48, 48, 3), np.uint8), [bool(i % 2) for i in range(40)]
    stores = [
        store_of_pictures(tmp_path / name, [0] * 40, fakes, picture=pictures.__getitem__, dataset=name)
        for name in ("first", "second")
    ]
    dealt = [split(store, seed=seed).sides for seed, store in enumerate(stores)]
    torn = [name for name in dealt[0] if dealt[0][name] != dealt[1][name]]
    assert torn
    with pytest.raises(LeakFound, match=rf"^{len(torn)} files in several stores, .* of first is .* of second"):
        evaluate(model, stores)
    said = evaluate(model, stores, settings=EvaluateSettings(allow_leaks=True, repeats=0))
    assert said.leaked_groups == sum(sides[name] == "test" for name in torn for sides in dealt)
    split(stores[1], seed=0)
    assert evaluate(model, stores, settings=EvaluateSettings(repeats=0)).leaked_groups == 0


def test_copies_within_a_store_are_no_leak_beyond_their_group(tmp_path: Path, model: Path) -> None:
    """In DFDC some recordings are there twice: what their groups say of them stands."""
    twice = store_of_pictures(
        tmp_path / "twice", [0] * 40, [bool(i % 2) for i in range(40)], picture=lambda i: colour(i // 20, size_px=48)
    )
    other = store_of_clips(
        tmp_path / "other", [Clip([[0.0] * 4], bool(i % 2), str(i // 2)) for i in range(20)], dataset="other"
    )
    split(twice)
    split(other)
    assert evaluate(model, [twice, other], settings=EvaluateSettings(repeats=0)).leaked_groups == 0


def test_leaked_groups_are_counted_as_the_store_names_them(tmp_path: Path, model: Path) -> None:
    """A group of FaceForensics++ is named after both its videos."""
    fakes, groups = [bool(i % 2) for i in range(40)], [f"{i // 4:03d}+{i // 4 + 500}" for i in range(40)]
    store = store_of_pictures(tmp_path / "ff", [0] * 40, fakes, groups=groups, dataset="ffpp")
    store.write_split("torn", make_split(store.records(), by="random", ratio="50/50"))
    said = evaluate(model, store, settings=EvaluateSettings(allow_leaks=True, repeats=0))
    assert said.leaked_groups == said.video.n_groups == 10


def _warned(folder: Path, n_groups: int, *, n_wrong: int = 0, repeats: int = 50) -> str:
    """The warnings of a model that is right about two pictures a group but for some."""
    fakes = [bool(i % 2) for i in range(2 * n_groups)]
    logits = [2.0 if fake == (i >= n_wrong) else -2.0 for i, fake in enumerate(fakes)]
    made = store_of_pictures(folder / "s", logits, fakes, groups=[str(i // 2) for i in range(2 * n_groups)])
    judged = make_redness(folder / "redness", size_px=SIZE_PX)
    return " ".join(evaluate(judged, made, settings=EvaluateSettings(side="all", repeats=repeats)).warnings)


def test_intervals_that_say_too_much_are_warned_of(tmp_path: Path) -> None:
    perfect = _warned(tmp_path / "perfect", 30)
    assert "The rarer class has only 30 groups: intervals near an AUC of 1 are too narrow." in perfect
    assert "The interval of auc, ap, eer, accuracy, balanced_accuracy" in perfect
    assert "has no width" in perfect
    nearly = _warned(tmp_path / "nearly", 30, n_wrong=3)
    assert "too narrow" in nearly
    assert "The interval of auc" not in nearly
    assert "too narrow" not in _warned(tmp_path / "many", 60, n_wrong=3)
    assert "too narrow" not in _warned(tmp_path / "none", 30, repeats=0)


def test_intervals_rest_on_the_groups_of_the_rarer_class(tmp_path: Path) -> None:
    fakes = [i < 9 for i in range(100)]
    made = store_of_pictures(tmp_path / "s", [1.0 if fake else (i % 7) / 3 for i, fake in enumerate(fakes)], fakes)
    judged = make_redness(tmp_path / "redness", size_px=SIZE_PX)
    said = evaluate(judged, made, settings=EvaluateSettings(side="all", repeats=50))
    assert "The rarer class has only 9 groups: the intervals are rough" in " ".join(said.warnings)
    assert "There are only 39 groups: the intervals are rough, and those of AUC" in _warned(tmp_path / "few", 39)
    assert "rough" not in _warned(tmp_path / "enough", 40)


@pytest.mark.parametrize(("n_fake", "is_told"), [(39, True), (41, False), (59, False), (64, True), (0, False)])
def test_of_an_uneven_mix_figures_of_probabilities_are_not_the_models(
    tmp_path: Path, n_fake: int, is_told: bool
) -> None:
    fakes = [i < n_fake for i in range(100)]
    made = store_of_pictures(tmp_path / "s", [(i % 7) / 3 for i in range(100)], fakes)
    judged = make_redness(tmp_path / "redness", size_px=SIZE_PX)
    said = " ".join(evaluate(judged, made, settings=EvaluateSettings(side="all", repeats=0)).warnings)
    assert (f"{n_fake}% of the videos are fake, and the probabilities are at even odds" in said) == is_told


@pytest.mark.parametrize("n_fake", [19, 20])
def test_a_method_of_few_fakes_has_no_interval(tmp_path: Path, n_fake: int) -> None:
    fakes = [i < n_fake for i in range(80)]
    made = store_of_pictures(tmp_path / "s", [(i % 7) / 3 for i in range(80)], fakes)
    judged = make_redness(tmp_path / "redness", size_px=SIZE_PX)
    (method,) = evaluate(judged, made, settings=EvaluateSettings(side="all", repeats=50)).methods
    assert method.auc is not None
    assert (method.auc_ci95 is None) == (n_fake == 19)


def test_of_fewer_reals_than_a_hundred_one_in_a_hundred_is_none(tmp_path: Path) -> None:
    assert "Of 99 real videos 1 % is less than one: tpr_at_1pct_fpr" in _warned(tmp_path / "few", 99, repeats=0)
    assert "Of 299 real videos 1 % is 2: tpr_at_1pct_fpr is rough" in _warned(tmp_path / "some", 299, repeats=0)
    assert "tpr_at_1pct_fpr" not in _warned(tmp_path / "enough", 300, repeats=0)


def test_beside_the_calibration_error_stands_what_chance_alone_makes_it(tmp_path: Path, model: Path) -> None:
    rng = np.random.default_rng(0)
    videos = [Clip([rng.normal(1.5 * (i % 2) - 0.7, 1.5, 6).tolist()], bool(i % 2), str(i // 2)) for i in range(24)]
    store = store_of_clips(tmp_path / "clips.store", videos)
    scored = score_model(model, [store], settings=ALL)
    said = scored.evaluation
    for measures, p in ((said.video, scored.p_video), (said.frame, scored.p_face)):
        by_chance = metrics.ece_by_chance(p, rng=np.random.default_rng([0, 17]))
        assert measures.ece_by_chance == pytest.approx(by_chance)
    assert evaluate(model, store, settings=replace(ALL, repeats=0)).video.ece_by_chance is None
    shown = CliRunner().invoke(app, ["evaluate", str(model), str(store.path), "--side", "all", "--resamples", "50"])
    (row,) = [line for line in shown.stdout.splitlines() if "by chance alone" in line]
    assert f"{said.video.ece_by_chance:.3f}" in row


def test_a_curve_names_its_own_figure() -> None:
    measures = Measures(n=4, n_fake=2, auc=0.98, ap=0.91, ci95={"auc": (0.96, 0.995), "ap": (0.8, 0.99)})
    curve = plots.Scored(np.array([0, 1]), np.array([0.1, 0.9]), name="videos")
    assert _files.noted(curve, measures, "auc").note == "AUC 0.980 (0.960 to 0.995)"
    assert _files.noted(curve, measures, "ap").note == "AP 0.910 (0.800 to 0.990)"
    assert _files.noted(curve, Measures(n=4, n_fake=4), "ap").note == ""


def test_a_card_that_lists_nothing_is_a_warning(tmp_path: Path, model: Path) -> None:
    store = store_of_clips(
        tmp_path / "store", [Clip(logits=[[0.0] * 3], fake=bool(i % 2), group=str(i)) for i in (0, 1)]
    )
    said = evaluate(model, store, settings=EvaluateSettings(side="all", repeats=0))
    assert any("does not list what it learned from" in warning for warning in said.warnings)


def test_a_card_that_lists_groups_alone_is_a_warning(tmp_path: Path) -> None:
    store = store_of_clips(tmp_path / "store", [Clip([[0.0] * 3], fake=bool(i % 2), group=str(i)) for i in (0, 1)])
    by_name = TrainingSource(name="one", group_hashes=hash_groups(["elsewhere:1"]))
    by_content = TrainingSource(name="two", group_hashes=hash_groups(["x:2"]), file_hashes=hash_files(["f" * 64]))
    for sources, is_warned in (((by_name,), True), ((by_name, by_content), False)):
        judged = make_redness(tmp_path / f"knows{len(sources)}", size_px=SIZE_PX, training=sources)
        said = " ".join(evaluate(judged, store, settings=EvaluateSettings(side="all", repeats=0)).warnings)
        assert ("The card of redness lists the groups it learned from by name alone" in said) == is_warned
        assert "does not list what it learned from" not in said
