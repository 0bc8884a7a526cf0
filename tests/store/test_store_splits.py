"""Splits beside the shards, and what leaves a store."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import make_datasets
from make_datasets import tiny_picture
from make_outcomes import hashes, make
from telltale import datasets, store
from telltale.cli import app
from telltale.errors import DataError, OutputError, UsageError
from telltale.inspect import inspect_data
from telltale.split import check_leaks, k_fold, make_split
from telltale.store import Store, StoreWriter, open_store, tasks
from telltale.types import Side, VideoRecord


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


@pytest.mark.parametrize("per_class", [None, 2])
def test_videos_that_came_after_the_split_are_told_from_those_it_left_out(
    tmp_path: Path, videos: list[VideoRecord], per_class: int | None
) -> None:
    before = make(tmp_path / "s", videos[:8])
    before.write_split("main", make_split(before.records(), per_class=per_class, ratio="50/50"))
    before.write_split("torn", make_split(before.face_records(), by="random"), unit="face")
    assert before.n_undealt("main") == before.n_undealt("torn") == 0
    grown = make(tmp_path / "s", videos)
    assert grown.n_undealt("main") == grown.n_undealt("torn") == 4
    (said,) = store.undealt([grown], "main")
    assert "4 of 12 videos" in said
    assert "no side of split main: if they came later, split again" in said
    findings = " ".join(finding.text for finding in inspect_data(grown.path).findings)
    assert "4 of 12 videos are on no side of split main" in findings
    assert store.undealt([grown], None) == []


def test_videos_without_an_official_side_are_left_out_on_purpose(tmp_path: Path, videos: list[VideoRecord]) -> None:
    sides: list[Side] = ["train", "train", "val", "test"]
    listed = [replace(video, official_split=side) for video, side in zip(videos, sides, strict=False)]
    before = make(tmp_path / "s", listed)
    before.write_split("main", make_split(before.records(), by="official"))
    assert make(tmp_path / "s", [*listed, *videos[4:]]).n_undealt("main") == 0


def test_a_split_by_face_tears_videos_apart_and_the_leak_is_found(made: Store) -> None:
    split = make_split(made.face_records(), by="random", ratio="80/20", seed=42)
    assert split.leaked_groups
    made.write_split("by-image", split, unit="face")
    sides = made.sides("by-image")
    assert (sum(sides == "train"), sum(sides == "test")) == (48, 12)
    with pytest.raises(DataError, match="more than one side"):
        check_leaks(made.side_records("by-image"))


def test_a_leak_is_told_once_and_not_said_to_flatter(made: Store) -> None:
    done = CliRunner().invoke(
        app, ["split", str(made.path), "--name", "by-image", "--by", "random", "--ratio", "80/20"]
    )
    assert done.exit_code == 0
    assert done.stderr.count("groups are on more than one side") == 1
    assert "say nothing about people that the model never saw" in done.stderr
    assert "flatter" not in done.stderr


def test_what_is_true_of_all_folds_is_told_once(tmp_path: Path, videos: list[VideoRecord]) -> None:
    apart = [replace(one, group_id=f"made:{one.video_id}") for one in videos]
    made = make(tmp_path / "faces.store", apart)
    done = CliRunner().invoke(app, ["split", str(made.path), "--name", "cv", "--folds", "3"])
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("no group with any real") == 1
    assert "all folds: " in done.stderr


def test_folds_are_splits(made: Store) -> None:
    for number, fold in enumerate(k_fold(made.records(), k=3)):
        made.write_split(f"cv-{number}", fold)
    assert made.splits() == ["cv-0", "cv-1", "cv-2"]
    held_out = np.array([made.sides(name) == "val" for name in made.splits()])
    assert (held_out.sum(axis=0) == 1).all()


def test_fewer_folds_leave_none_of_the_older_deal(made: Store) -> None:
    made.write_split("five-9", make_split(made.records()))  # called like a fold, and none
    command = ["split", str(made.path), "--name", "five", "--folds"]
    assert CliRunner().invoke(app, [*command, "5"]).exit_code == 0
    done = CliRunner().invoke(app, [*command, "3"])
    assert made.splits() == ["five-0", "five-1", "five-2", "five-9"]
    assert done.stderr.count("removed, a fold of an older deal") == 2


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


def test_export_to_folders_is_read_again_with_its_groups_and_sides(made: Store, tmp_path: Path) -> None:
    made.write_split("default", make_split(made.records(), ratio="60/20/20"))
    store.export(made, tmp_path / "out", split="default")
    again = datasets.read(tmp_path / "out", find_duplicates=False)
    assert (again.name, again.problems, len(again)) == ("manifest", (), 60)
    there = made.table(["label", "method", "group_id", "person_id"]).to_pylist()
    rows = [(*row.values(), str(side)) for row, side in zip(there, made.sides("default"), strict=True)]
    found = [(r.label, r.method, r.group_id, r.person_id, r.official_split) for r in again.records]
    assert sorted(found, key=str) == sorted(rows, key=str)
    assert not make_split(again.records, by="official").leaked_groups


def test_export_without_a_split_keeps_the_data_sets_own_sides(tmp_path: Path) -> None:
    for name in ("train/real/a.jpg", "test/fake/b.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(tiny_picture(len(name)))
    records = datasets.read(tmp_path / "set").records
    writer = StoreWriter(tmp_path / "s", settings={})
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    store.export(open_store(tmp_path / "s"), tmp_path / "out")
    again = datasets.read(tmp_path / "out").records
    assert {(r.group_id, r.official_split) for r in again} == {(r.group_id, r.official_split) for r in records}


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


FILLS_UP = """
import resource, signal, sys
from pathlib import Path
from telltale import store
from telltale.errors import OutputError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.export(store.open_store(sys.argv[1]), Path(sys.argv[2]), to="npy")
except OutputError as error:
    sys.exit(error.message)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a file's size")
def test_export_to_npy_that_no_longer_fits_is_an_error_and_leaves_nothing(made: Store, tmp_path: Path) -> None:
    """60 faces of 32 px are 184 kB; the limit fails a write in the midst of them, as a full disk does."""
    command = [sys.executable, "-c", FILLS_UP, str(made.path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("nothing was written: free some space")) == (1, 1), done.stderr
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".telltale-*"))


def test_export_to_npy_maps_no_file_for_writing(made: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped file is sparse: on a full disk the first touch of a page that has no room ends the process."""
    opened = np.lib.format.open_memmap

    def only_reads(*given: Any, **more: Any) -> Any:
        assert more["mode"] == "r"
        return opened(*given, **more)

    monkeypatch.setattr("numpy.lib.format.open_memmap", only_reads)
    assert store.export(made, tmp_path / "out", to="npy") == 60


@pytest.mark.parametrize("kind", ["the folder itself", "a link"])
def test_export_into_an_empty_folder_moves_no_folder(
    made: Store, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "there")
    with monkeypatch.context() as broken:
        rename = Path.rename
        broken.setattr(Path, "rename", lambda path, to: cannot() if path.name == "faces.csv" else rename(path, to))
        with pytest.raises(OutputError, match="nothing was written"):
            store.export(made, "." if kind == "the folder itself" else tmp_path / "link")
    assert list((tmp_path / "there").iterdir()) == []
    assert store.export(made, "." if kind == "the folder itself" else tmp_path / "link") == 60
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"all", "faces.csv", "manifest.csv"}
    assert (tmp_path / "link").is_symlink()


def cannot() -> Path:
    raise OSError(errno.EIO, "the disk fails")


def test_export_refuses_a_link_that_leads_nowhere(made: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OutputError, match="leads nowhere"):
        store.export(made, tmp_path / "link")


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
