"""Models side by side: the same faces, the same resamples."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from make_bundles import make_redness
from make_stores import SIZE_PX, Clip, store_of_clips, store_of_pictures
from telltale._group_hashes import hash_groups
from telltale.aggregate import Calibration, Minimum
from telltale.bundle import TrainingSource
from telltale.cli import app
from telltale.errors import UsageError
from telltale.evaluate import EvaluateSettings, compare
from telltale.evaluate._measure import ROUGH_BELOW
from telltale.store import Store

pytest.importorskip("onnx", reason="makes models with onnx")

ALL = EvaluateSettings(side="all", repeats=200)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rng = np.random.default_rng(0)
    fakes = np.arange(120) % 2 == 1
    logits = rng.normal(1.2 * fakes - 0.6, 1.0).round(1)
    return store_of_pictures(tmp_path / "stills", logits.tolist(), fakes.tolist())


def model(folder: Path, name: str, *, scale: float = 1.0, bias: float = 0.0, n_faces: int = 1) -> Path:
    return make_redness(
        folder / name,
        name=name,
        size_px=SIZE_PX,
        calibration=Calibration(method="platt", scale=scale, bias=bias),
        minimum=Minimum(n_faces=n_faces),
    )


def test_a_model_differs_from_itself_by_nothing(store: Store, tmp_path: Path) -> None:
    one = model(tmp_path, "one")
    found = compare([one, one], on=store, settings=ALL)
    assert len(set(found.names)) == 2
    assert all(d.value == 0 and d.ci95 == (0, 0) and not d.clear for d in found.differences[0].video.values())


def test_a_difference_in_calibration_shows_where_it_should(store: Store, tmp_path: Path) -> None:
    fair, boastful = model(tmp_path, "fair"), model(tmp_path, "boastful", scale=9.0)
    found = compare([fair, boastful], on=store, settings=ALL)
    assert found.names == ("fair", "boastful")
    (pair,) = found.differences
    assert (pair.n_faces, pair.n_videos) == (120, 120)
    assert pair.video["auc"].value == pytest.approx(0, abs=5e-3)
    assert not pair.video["auc"].clear
    assert pair.video["log_loss"].clear
    assert pair.video["log_loss"].ci95[0] > 0
    assert pair.video["log_loss"].value == pytest.approx(
        (found.evaluations[1].video.log_loss or 0) - (found.evaluations[0].video.log_loss or 0)
    )


def test_no_difference_of_calibration_errors_is_called_clear(store: Store, tmp_path: Path) -> None:
    """Chance makes more of it in a resample, and more for a sharp model than for a dull one."""
    pytest.importorskip("matplotlib", reason="draws")
    models = [model(tmp_path, "fair"), model(tmp_path, "boastful", scale=9.0)]
    out = tmp_path / "out"
    found = compare(models, on=store, settings=ALL, out=out)
    assert "ece" not in found.differences[0].video | found.differences[0].frame
    command = ["compare", *(str(tmp_path / name) for name in ("fair", "boastful")), "--on", str(store.path)]
    done = CliRunner().invoke(app, [*command, "--side", "all", "--resamples", "50"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.stderr
    for said in found.evaluations:
        assert f"{said.video.ece:.3f} (by chance {said.video.ece_by_chance:.3f})" in done.stdout
    with (out / "figures.csv").open() as file:
        rows = {row["figure"]: row for row in csv.DictReader(file) if row["level"] == "video"}
    assert (rows["ece"]["low"], rows["ece_by_chance"]["low"]) == ("", "")
    assert float(rows["ece_by_chance"]["value"]) == pytest.approx(found.evaluations[1].video.ece_by_chance)


def test_the_interval_of_a_difference_is_narrower_than_the_figures(store: Store, tmp_path: Path) -> None:
    """Pairing removes what both share: here the models agree but for a shift."""
    found = compare([model(tmp_path, "a"), model(tmp_path, "b", bias=0.1)], on=store, settings=ALL)
    low, high = found.differences[0].video["accuracy"].ci95
    own = found.evaluations[0].video.ci95["accuracy"]
    assert high - low < (own[1] - own[0]) / 2


def test_what_either_abstains_from_is_in_no_difference(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    clips = [
        Clip([rng.normal(i % 2, 1, 2 if i < 6 else 5).round(1).tolist()], fake=bool(i % 2), group=str(i))
        for i in range(24)
    ]
    made = store_of_clips(tmp_path / "clips", clips)
    found = compare([model(tmp_path, "bold"), model(tmp_path, "shy", n_faces=3)], on=made, settings=ALL)
    assert [said.abstained for said in found.evaluations] == [0, 6]
    assert found.differences[0].n_videos == 18
    assert found.differences[0].n_faces == found.evaluations[1].frame.n == 18 * 5


def test_three_models_make_three_pairs(store: Store, tmp_path: Path) -> None:
    found = compare([model(tmp_path, name) for name in "abc"], on=store, settings=ALL)
    assert [(pair.first, pair.second) for pair in found.differences] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_tables_and_pictures_are_written(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    out = tmp_path / "out"
    found = compare([model(tmp_path, "a"), model(tmp_path, "b", scale=3.0)], on=store, settings=ALL, out=out)
    assert {path.name for path in out.iterdir()} == {
        "comparison.json", "figures.csv", "differences.csv", "figures.png", "roc.png", "precision_recall.png",
    }  # fmt: skip
    assert json.loads((out / "comparison.json").read_text())["names"] == ["a", "b"]
    with (out / "differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = [row for row in rows if row["level"] == "video" and row["figure"] == "brier"]
    assert float(row["second_less_first"]) == pytest.approx(found.differences[0].video["brier"].value)


def test_files_of_an_earlier_comparison_do_not_stay_beside_new_ones(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    out, models = tmp_path / "out", [model(tmp_path, name) for name in "ab"]
    compare(models, on=store, settings=ALL, out=out)
    assert (out / "roc.png").exists()
    for name in ("robustness_1.png", "robustness_12.png", "robustness_of_ours.png"):
        (out / name).write_bytes(b"as with --perturb deeperforensics")
    reals = store_of_pictures(tmp_path / "reals", [-1.0, 0.5, 1.0, -2.0], [False] * 4)
    compare(models, on=reals, settings=ALL, out=out)
    assert {path.name for path in out.iterdir()} == {
        "comparison.json", "figures.csv", "differences.csv", "figures.png", "robustness_of_ours.png",
    }  # fmt: skip


def test_unseen_is_what_none_of_the_models_knows(store: Store, tmp_path: Path) -> None:
    groups = [record.group_id for record in store.records()]

    def knowing(name: str, learned: list[str], chosen_on: list[str]) -> Path:
        source = TrainingSource(
            name="made", group_hashes=hash_groups(learned), validation_hashes=hash_groups(chosen_on)
        )
        return make_redness(tmp_path / name, name=name, size_px=SIZE_PX, training=(source,))

    one, other = knowing("one", groups[:40], groups[40:50]), knowing("other", groups[45:60], groups[60:70])
    found = compare([one, other], on=store, settings=EvaluateSettings(side="unseen", repeats=20))
    assert [evaluation.video.n for evaluation in found.evaluations] == [50, 50]
    assert found.differences[0].n_videos == 50
    done = CliRunner().invoke(
        app, ["compare", str(one), str(other), "--on", str(store.path), "--side", "unseen", "--balanced"]
    )
    assert done.exit_code == 0, done.output
    assert "unseen" in done.stdout


def test_one_model_is_nothing_to_compare(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two models"):
        compare([model(tmp_path, "one")], on=store, settings=ALL)


def test_the_command_says_that_one_model_was_given_twice(store: Store, tmp_path: Path) -> None:
    one = str(model(tmp_path, "one"))
    command = ["compare", one, f"{one}/", "--on", str(store.path), "--side", "all", "--resamples", "50"]
    assert "one/ is given twice" in CliRunner().invoke(app, command).stderr


def test_the_command_prints_which_differences_are_clear(store: Store, tmp_path: Path) -> None:
    models = [str(model(tmp_path, "a")), str(model(tmp_path, "b", scale=9.0))]
    command = ["compare", *models, "--on", str(store.path), "--side", "all", "--resamples", "50"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "b less a" in done.stdout
    assert "worse" in done.stdout
    done = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(done.stdout)["names"] == ["a", "b"]


def stills(folder: Path, n_real: int, n_fake: int) -> Store:
    """Pictures that are all told rightly, in as many groups as the larger class has pictures."""
    groups = [str(i) for n in (n_real, n_fake) for i in range(n)]
    fakes = [is_fake for n, is_fake in ((n_real, False), (n_fake, True)) for _ in range(n)]
    return store_of_pictures(folder, [2.0 if fake else -2.0 for fake in fakes], fakes, groups=groups)


@pytest.mark.parametrize(("n_real", "whose"), [(ROUGH_BELOW - 1, ""), (3 * ROUGH_BELOW, " of the rarer class")])
def test_no_difference_of_few_groups_of_a_class_is_clear_and_it_says_why(
    tmp_path: Path, n_real: int, whose: str
) -> None:
    models = [model(tmp_path, "a"), model(tmp_path, "b", scale=9.0)]
    few = stills(tmp_path / "few", n_real, ROUGH_BELOW - 1)
    (pair,) = compare(models, on=few, settings=ALL).differences
    low, high = pair.video["log_loss"].ci95
    assert (pair.n_groups, pair.n_rarer_groups) == (n_real, ROUGH_BELOW - 1)
    assert not low <= 0 <= high
    assert not any(difference.clear for level in (pair.frame, pair.video) for difference in level.values())
    enough = stills(tmp_path / "enough", n_real + 1, ROUGH_BELOW)
    assert compare(models, on=enough, settings=ALL).differences[0].video["log_loss"].clear
    command = ["compare", *map(str, models), "--on", str(few.path), "--side", "all", "--resamples", "50"]
    said = " ".join(CliRunner().invoke(app, command).stdout.split())
    assert f"of {ROUGH_BELOW - 1} groups{whose}: too few to call a difference clear ({ROUGH_BELOW} at least)" in said
    assert "better" not in said


def test_the_command_prints_the_warnings_and_leaks_of_every_model(store: Store, tmp_path: Path) -> None:
    groups = store.table(["group_id"]).column("group_id").to_pylist()
    knowing = make_redness(
        tmp_path / "knowing", name="knowing", size_px=SIZE_PX, minimum=Minimum(n_faces=1),
        training=(TrainingSource(name="stills", group_hashes=hash_groups(groups[:3])),),
    )  # fmt: skip
    models = [str(knowing), str(model(tmp_path, "plain")), str(model(tmp_path, "other"))]
    command = ["compare", *models, "--on", str(store.path), "--side", "all", "--resamples", "50", "--allow-leaks"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "LEAK (knowing): 3 groups of this side were learned from; the figures say nothing about people" in said
    assert "LEAK (plain)" not in said
    for name in ("plain", "other"):
        assert f"The card of {name} does not list what it learned from" in said
    assert said.count("Of 60 real videos 1 % is less than one") == 1
