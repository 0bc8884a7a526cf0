"""Names and files as disks and copies leave them, whatever the layout: accents apart, empty, linked in a ring."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from make_datasets import write
from telltale import datasets
from telltale._places import Found as Object
from telltale.datasets._bucket import StandIn
from telltale.types import VideoRecord

APART, ONE = "Zoe\u0308", "Zo\xeb"
"""The same name as a Mac copies it and as others do."""


def groups(root: Path) -> dict[str, str]:
    return {r.name: r.group_id.removeprefix(f"{root.name}:") for r in datasets.read(root).records}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_to_itself_is_a_problem_and_hides_no_other_file(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/b.mp4")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "real/loop.mp4").symlink_to("loop.mp4")
    dataset = datasets.read(tmp_path)
    assert [record.name for record in dataset.records] == ["fake/b.mp4", "real/a.mp4"]
    assert [(problem.kind, problem.path) for problem in dataset.problems] == [
        ("missing", "loop"), ("missing", "real/loop.mp4"),
    ]  # fmt: skip
    assert "symbolic links" in dataset.problems[0].detail


def test_names_copied_by_a_mac_are_the_same_names(tmp_path: Path) -> None:
    write(tmp_path / "a", f"real/{ONE}.mp4", f"fake/{APART}.mp4", "real/Clip.mp4", "fake/clip.mp4")
    by_name = {record.name: record for record in datasets.read(tmp_path / "a").records}
    real, fake = by_name[f"real/{ONE}.mp4"], by_name[f"fake/{APART}.mp4"]
    assert fake.group_id == real.group_id == f"a:{ONE}"
    assert fake.original_id == real.original_id is not None
    # Case tells names apart: `IMG_1.mp4` and `img_1.mp4` may be of two cameras.
    assert {*groups(tmp_path / "a").values()} == {ONE, "Clip", "clip"}
    write(tmp_path / "b", *(f"real/{ONE}{k}/{n}.png" for k in range(8) for n in range(2)), f"fake/swap/{APART}3/0.png")
    assert groups(tmp_path / "b")[f"fake/swap/{APART}3/0.png"] == f"{ONE}3"


def test_groups_that_a_list_or_dfdc_spells_in_two_forms_are_one(tmp_path: Path) -> None:
    write(tmp_path / "list", "a.mp4", "b.mp4")
    (tmp_path / "list/manifest.csv").write_text(
        f"path,label,group_id\na.mp4,real,{ONE}\nb.mp4,fake,{APART}\n", encoding="utf-8"
    )
    assert {record.group_id for record in datasets.read(tmp_path / "list").records} == {ONE}
    write(tmp_path / "dfdc", f"{ONE}.mp4", "f.mp4")
    listed = {f"{ONE}.mp4": {"label": "REAL"}, "f.mp4": {"label": "FAKE", "original": f"{APART}.mp4"}}
    (tmp_path / "dfdc/metadata.json").write_text(json.dumps(listed))
    assert {record.group_id for record in datasets.read(tmp_path / "dfdc").records} == {f"dfdc:{ONE}"}


def test_empty_files_are_no_copies_of_each_other(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/a.mp4", "real/b.mp4", "fake/b.mp4")
    for name in ("fake/a.mp4", "fake/b.mp4"):  # as an interrupted download leaves them
        (tmp_path / name).write_bytes(b"")
    assert set(groups(tmp_path).values()) == {"a", "b"}
    assert datasets.read(tmp_path).problems == ()


def test_empty_objects_in_a_bucket_are_no_copies_of_each_other(tmp_path: Path) -> None:
    there = StandIn("s3://footage", tmp_path, tmp_path, "s3://footage")
    records = []
    for name, n_bytes in {"a": 0, "b": 0, "c": 3, "d": 3}.items():
        url = f"s3://footage/{name}.mp4"
        there.objects[name] = Object(url, n_bytes, "1", f"md5 {n_bytes}")
        records.append(VideoRecord(dataset="d", video_id=name, path=url, name=name, label=0, group_id=f"d:{name}"))
    assert [[record.name for record in same] for same in there.same_bytes(records)] == [["c", "d"]]
