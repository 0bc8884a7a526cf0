"""Inspecting a store: what it says of its videos, not of the whole data set it was drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from make_outcomes import FACE, outcome, video
from telltale.datasets import Problem
from telltale.inspect import Inspection, inspect_data
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
