"""Splits beside the shards, and what leaves a store."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import make_datasets
from make_datasets import tiny_picture
from make_outcomes import hashes
from telltale import datasets, store
from telltale.cli import app
from telltale.errors import DataError, OutputError, UsageError
from telltale.split import check_leaks, k_fold, make_split
from telltale.store import Store, StoreWriter, open_store, tasks


def test_a_split_lies_beside_the_shards_and_changes_none(made: Store) -> None:
    before = hashes(made.path)
    split = make_split(made.records(), ratio="60/20/20", seed=3)
    made.write_split("default", split)
    assert made.splits() == ["default"]
    sides = made.sides("default")
    assert [str(side) for side in sides] == [split.sides[v] for v in made.table(["video_id"])["video_id"].to_pylist()]
    assert {side: len(found) for side, found in made.side_records("default").items()} == {
        side: sum(value == side for value in split.sides.values()) for side in ("train", "val", "test")
    }
    check_leaks(made.side_records("default"))
    assert made.split_notes("default")["by"] == "group"
    after = hashes(made.path)
    assert after.pop("splits/default.parquet")
    assert after == before
    made.verify()


def test_a_split_leaves_out_what_was_not_drawn(made: Store) -> None:
    made.write_split("few", make_split(made.records(), per_class=3, seed=1))
    assert sum(made.sides("few") == "") == 5 * (12 - 6)


def test_a_split_by_face_tears_videos_apart_and_the_leak_is_found(made: Store) -> None:
    split = make_split(made.face_records(), by="random", ratio="80/20", seed=42)
    assert split.leaked_groups
    made.write_split("by-image", split, unit="face")
    sides = made.sides("by-image")
    assert (sum(sides == "train"), sum(sides == "test")) == (48, 12)
    with pytest.raises(DataError, match="more than one side"):
        check_leaks(made.side_records("by-image"))


def test_folds_are_splits(made: Store) -> None:
    for number, fold in enumerate(k_fold(made.records(), k=3)):
        made.write_split(f"cv-{number}", fold)
    assert made.splits() == ["cv-0", "cv-1", "cv-2"]
    held_out = np.array([made.sides(name) == "val" for name in made.splits()])
    assert (held_out.sum(axis=0) == 1).all()


@pytest.mark.parametrize("by", ["random", "official"])
def test_folds_are_by_group_only(made: Store, by: str) -> None:
    done = CliRunner().invoke(app, ["split", str(made.path), "--name", "five", "--by", by, "--folds", "5"])
    assert (done.exit_code, made.splits()) == (2, [])
    assert f"by group, not by {by}" in done.stderr


def test_a_split_that_is_not_there_says_how_to_make_it(made: Store) -> None:
    with pytest.raises(UsageError, match=r"telltale split .*--name nope"):
        made.sides("nope")
    with pytest.raises(UsageError, match="letters, digits"):
        made.write_split("../x", make_split(made.records()))
    with pytest.raises(UsageError, match="no column speed"):
        made.table(["speed"])


def test_export_to_folders_keeps_the_bytes(made: Store, tmp_path: Path) -> None:
    made.write_split("default", make_split(made.records(), ratio="60/20/20"))
    assert store.export(made, tmp_path / "out", split="default") == 60
    lines = (tmp_path / "out/faces.csv").read_text().splitlines()
    assert len(lines) == 61
    sides, labels = made.sides("default"), made.table(["label"])["label"].to_pylist()
    for row, line in enumerate(lines[1:]):
        name = line.split(",")[0]
        assert (tmp_path / "out" / name).read_bytes() == made.image(row)
        assert name.startswith(f"{sides[row]}/{('real', 'fake')[labels[row]]}/")


def test_export_to_npy_is_pixels_and_labels(made: Store, tmp_path: Path) -> None:
    assert store.export(made, tmp_path / "out", to="npy") == 60
    x, y = np.load(tmp_path / "out/X.npy"), np.load(tmp_path / "out/y.npy")
    assert (x.dtype, x.shape, y.dtype) == (np.uint8, (60, 32, 32, 3), np.uint8)
    assert y.tolist() == made.table(["label"])["label"].to_pylist()
    assert np.array_equal(x[41], made.rgb(41))


def test_export_names_apart_what_would_fall_together(tmp_path: Path) -> None:
    make_datasets.folder(tmp_path / "set", 0)
    for name in ("real/a b.jpg", "real/a_b.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(tiny_picture(len(name)))
        (tmp_path / "set" / name).write_bytes(tiny_picture(ord(name[6])))
    records = datasets.read(tmp_path / "set", format="folder").records
    writer = StoreWriter(tmp_path / "s", settings={})
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    store.export(open_store(tmp_path / "s"), tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2


def test_export_that_cannot_be_finished_leaves_nothing(made: Store, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    with pytest.raises(OutputError, match="not empty"):
        store.export(made, tmp_path / "full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(OutputError, match="nothing was written"):
            store.export(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".telltale-*"))


def test_export_to_npy_refuses_crops_of_several_sizes(tmp_path: Path) -> None:
    for size in (32, 40):
        path = tmp_path / f"set/real/{size}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny_picture(size, size))
    records = datasets.read(tmp_path / "set", format="folder").records
    writer = StoreWriter(tmp_path / "s", settings={})
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    with pytest.raises(DataError, match="40x40 px and others are 32x32"):
        store.export(open_store(tmp_path / "s"), tmp_path / "out", to="npy")
