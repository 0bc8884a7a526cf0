"""Inspecting a store: what it says of its videos, not of the whole data set it was drawn from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import make_datasets
from make_outcomes import FACE, outcome, video
from telltale.cli import app
from telltale.cli.prepare import _conclude
from telltale.datasets import Problem
from telltale.inspect import Inspection, inspect_data
from telltale.split import make_split
from telltale.store import Store, StoreWriter, open_store, tasks
from telltale.types import VideoRecord


def made(out: Path, records: Sequence[VideoRecord], *, problems: Sequence[Problem] = (), n_faces: int = 5) -> Store:
    writer = StoreWriter(out, settings=FACE)
    for task in tasks(records):
        writer.stage([outcome(one, n_faces) for one in task if isinstance(one, VideoRecord)])
    writer.compact(records, problems=problems)
    return open_store(out)


def said(facts: Inspection) -> str:
    return " | ".join(finding.text for finding in facts.findings)


def test_a_store_has_those_copies_of_the_data_set_that_were_drawn(tmp_path: Path) -> None:
    records = [video(tmp_path / "set", number) for number in range(8)]
    a, b, c, d = (record.name for record in records[:4])
    problems = [
        Problem("duplicate", a, f"same bytes as {b}"),
        Problem("contradictory", c, f"same bytes as {d}"),
        Problem("duplicate", "clips/900.mp4", f"same bytes as {a}"),
        Problem("duplicate", d, "same bytes as clips/901.mp4"),
        Problem("contradictory", "clips/902.mp4", "same bytes as clips/903.mp4"),
        Problem("missing", "clips/904.mp4", "list.csv line 9"),
    ]
    facts = inspect_data(made(tmp_path / "drawn.store", records, problems=problems).path)
    assert facts.problems == {"duplicate": 1, "contradictory": 1, "missing": 1}
    assert "90" not in " ".join(row["path"] for row in facts.problem_list if row["kind"] != "missing")
    assert "In the data set it was made from, 1 file is listed but not there: clips/904.mp4." in said(facts)


def test_videos_that_gave_one_face_each_are_videos(tmp_path: Path) -> None:
    records = [video(tmp_path / "set", number) for number in range(4)]
    assert inspect_data(made(tmp_path / "one.store", records, n_faces=1).path).unit == "videos"
    stills = [replace(one, name=one.name + ".JPG", path=one.path) for one in records]
    assert inspect_data(made(tmp_path / "stills.store", stills, n_faces=1).path).unit == "pictures"


METHODS = ("NeuralTextures-from-the-first-run", "NeuralTextures-from-the-second-run", "FaceShifter", "FSGAN", "Wav-lip")


@pytest.fixture
def of_many_methods(tmp_path: Path) -> Store:
    records = [
        replace(video(tmp_path / "set", number, label=int(number % 6 > 0)), method=("", *METHODS)[number % 6] or None)
        for number in range(36)
    ]
    store = made(tmp_path / "methods.store", records)
    for name in ("main", "other", "third"):
        store.write_split(name, make_split(records))
    return store


def test_methods_that_begin_alike_are_told_apart_in_a_narrow_terminal(
    of_many_methods: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = CliRunner().invoke(app, ["inspect", str(of_many_methods.path)]).stdout
    _conclude(of_many_methods.manifest, of_many_methods.path)
    for shown in (out, capsys.readouterr().out):
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= 80
        table = re.sub(r"[\s\d,]+|of \d+ \([\d.]+%\)", "", shown)
        assert [method for method in METHODS if method not in table] == []


def test_all_sides_of_all_splits_are_counted(of_many_methods: Store) -> None:
    out = CliRunner().invoke(app, ["inspect", str(of_many_methods.path)], env={"COLUMNS": "80"}).stdout
    words = out.partition(" ! ")[0].split()
    assert [words.count(side) for side in ("train", "val", "test")] == [3, 3, 3]
    assert [words.count(name) for name in ("main", "other", "third")] == [3, 3, 3]


def test_a_store_without_any_face_says_so_and_not_that_labels_are_missing(tmp_path: Path) -> None:
    records = [video(tmp_path / "set", number) for number in range(4)]
    facts = inspect_data(made(tmp_path / "none.store", records, n_faces=0).path)
    assert "There is nothing to train on: no face was found in any of 4 videos." in said(facts)
    assert "no file has a label" not in said(facts)


def test_videos_that_a_split_by_face_counts_twice_are_told(tmp_path: Path) -> None:
    store = made(tmp_path / "faces.store", [video(tmp_path / "set", number) for number in range(12)])
    split = make_split(store.face_records(), by="random", ratio="50/50")
    store.write_split("torn", split, unit="face")
    facts = inspect_data(store.path)
    n_shown = sum(sum(counts.values()) for counts in facts.splits["torn"].counts.values())
    assert n_shown == 12 + facts.splits["torn"].n_on_several > 12
    assert f"Split torn: {n_shown - 12} videos have faces on more than one side and count on each." in said(facts)


def test_videos_on_no_official_side_are_told(tmp_path: Path) -> None:
    rows = [f"clips/{number:03d}.mp4,{number % 2},{'train' if number < 9 else ''}" for number in range(12)]
    for number in range(12):
        video(tmp_path, number)
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    assert "The official split: 3 videos are on no side and left out." in said(inspect_data(tmp_path / "list.csv"))


@pytest.mark.parametrize(("limit", "is_told"), [("5", True), ("4", False), ("99", True)])
def test_prepare_says_where_halves_are_fewer_than_the_limit(tmp_path: Path, limit: str, is_told: bool) -> None:
    for number in range(6):
        picture = tmp_path / "set" / ("real" if number < 2 else "fake") / f"{number}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(make_datasets.tiny_picture(number, 64))
    out = str(tmp_path / "a.store")
    args = [
        "prepare",
        str(tmp_path / "set"),
        "--out",
        out,
        "--no-detect",
        "--margin",
        "0.2",
        "--balance",
        "--limit",
        limit,
    ]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.stderr
    assert open_store(out).manifest.n_videos == 4
    assert (f"--balance draws as many real as fake: 4, where --limit is {limit}" in done.stderr) == is_told
