"""Stores that somebody made to do harm: refused in words, and nothing outside the folder is read or written."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from make_outcomes import make, video
from telltale import datasets, store
from telltale.errors import StoreInvalid
from telltale.split import make_split
from telltale.store import Store, open_store
from telltale.store._format import footer_sha256, settings_sha256

Change = Callable[[dict[str, Any]], object]


def _rewrite(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    said = json.loads(path.read_bytes())
    change(said)
    said["settings_sha256"] = settings_sha256(said["settings"])
    path.write_text(json.dumps(said))


def _replace_shard(folder: Path, table: pa.Table) -> None:
    """The first shard, with the sizes and sums of what is now in it."""

    def change(said: dict[str, Any]) -> None:
        path = folder / said["shards"][0]["name"]
        parquet.write_table(table, path)
        said["shards"][0] |= {"size_bytes": path.stat().st_size, "footer_sha256": footer_sha256(path)}

    _rewrite(folder, change)


def _replace_index(made: Store, index: np.ndarray[Any, Any]) -> None:
    path = made.path / made.manifest.index.name
    np.save(path, index)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _rewrite(made.path, lambda said: said["index"].update(sha256=digest, size_bytes=path.stat().st_size))


@pytest.mark.parametrize("name", ["{outside}", "../outside.parquet", "shards/../../outside.parquet", "shards\\a", ""])
def test_a_file_outside_the_store_is_not_read(made: Store, tmp_path: Path, name: str) -> None:
    outside = shutil.copy(made.path / made.manifest.shards[0].name, tmp_path / "outside.parquet")
    _rewrite(made.path, lambda said: said["shards"][0].update(name=name.format(outside=outside)))
    with pytest.raises(StoreInvalid, match=r"manifest\.json cannot be read \(shards\.0\.name: .*: restore it") as told:
        open_store(made.path)
    assert "\n" not in told.value.message


@pytest.mark.parametrize("name", ["shards", "shards/*", "videos-*"])
def test_a_store_made_of_links_is_read(made: Store, tmp_path: Path, name: str) -> None:
    (path, *_) = sorted(made.path.glob(name))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    open_store(made.path).verify()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["shards/*", "index-*", "videos-*"])
def test_a_pipe_in_the_place_of_a_file_is_refused_unread(made: Store, name: str) -> None:
    (path, *_) = sorted(made.path.glob(name))
    inside = path.relative_to(made.path).as_posix()

    def change(said: dict[str, Any]) -> None:
        (part,) = (part for part in [*said["shards"], said["index"], said["videos"]] if part["name"] == inside)
        part["size_bytes"] = 0

    path.unlink()
    os.mkfifo(path)
    _rewrite(made.path, change)
    with pytest.raises(StoreInvalid, match=f"{inside}: no regular file|the index of 60 rows has only 0 bytes"):
        open_store(made.path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_the_manifest_is_refused_unread(made: Store) -> None:
    (made.path / "manifest.json").unlink()
    os.mkfifo(made.path / "manifest.json")
    with pytest.raises(StoreInvalid, match="is no store"):
        open_store(made.path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(n_faces=-5), "n_faces: .*greater than or equal to 0"),
        (lambda m: m.update(n_videos=-1), "n_videos: .*greater than or equal to 0"),
        (lambda m: m["counts"][0].update(n_frames_sampled=-1), r"counts\.0\.n_frames_sampled: .*greater than"),
        (lambda m: m["counts"][0].update(label=2), r"counts\.0\.label: .*less than or equal to 1"),
        (lambda m: m["shards"][0].update(n_rows=-1), r"shards\.0\.n_rows: .*greater than or equal to 0"),
        (lambda m: m.update(n_faces=10**18), "n_faces is 10{18}, the index has 60 rows and the shards 60"),
        (lambda m: m["shards"][0].update(n_rows=10**18), "n_faces is .* the shards 1"),
        (lambda m: m["index"].update(n_rows=59), "n_faces is .* the index has 59 rows"),
        (lambda m: m.update(settings={}, surprise=1), "surprise: Extra inputs"),
    ],
)
def test_counts_that_cannot_be_are_refused(made: Store, change: Change, said: str) -> None:
    _rewrite(made.path, change)
    with pytest.raises(StoreInvalid, match=rf"manifest\.json cannot be read \({said}"):
        open_store(made.path)


def test_more_faces_than_the_index_has_room_for_are_refused(made: Store) -> None:
    def change(said: dict[str, Any]) -> None:
        said["shards"] = [{**said["shards"][0], "n_rows": 10**18}]
        said["n_faces"] = said["index"]["n_rows"] = 10**18

    _rewrite(made.path, change)
    with pytest.raises(StoreInvalid, match="of 1000000000000000000 rows has only"):
        open_store(made.path)


def test_an_index_that_names_no_shard_is_refused(made: Store) -> None:
    index = np.load(made.path / made.manifest.index.name)
    index["shard"][-1] = 77
    _replace_index(made, index)
    with pytest.raises(StoreInvalid, match="does not belong to this store: prepare it again"):
        open_store(made.path).image(0)


def test_an_index_of_another_shape_is_refused(made: Store) -> None:
    _replace_index(made, np.load(made.path / made.manifest.index.name)[:, None])
    with pytest.raises(StoreInvalid, match="does not belong to this store: prepare it again"):
        open_store(made.path).image(0)


@pytest.mark.parametrize("name", ["crop", "plan", "detector"])
@pytest.mark.parametrize("value", [7, {"kind": "none", "value": -1}])
def test_settings_that_cannot_be_are_refused(made: Store, name: str, value: object) -> None:
    _rewrite(made.path, lambda said: said["settings"].update({name: value}))
    with pytest.raises(StoreInvalid, match=r"does not say .*\): prepare it again"):
        getattr(open_store(made.path), name)


@pytest.mark.parametrize("what", ["a row too many", "no column of labels", "a label that is none"])
def test_a_shard_of_another_make_is_refused(made: Store, what: str) -> None:
    table = parquet.read_table(made.path / made.manifest.shards[0].name)
    label = table.column_names.index("label")
    other = {
        "a row too many": lambda: pa.concat_tables([table, table.slice(0, 1)]),
        "no column of labels": lambda: table.drop_columns(["label"]),
        "a label that is none": lambda: table.set_column(label, "label", pa.array([7] * len(table))),
    }[what]()
    _replace_shard(made.path, other)
    with pytest.raises(StoreInvalid, match=r"shards/0.* does not belong to this store: .*prepare the store again"):
        open_store(made.path).table(["label", "video_id"])


def test_a_split_with_a_side_of_its_own_is_refused_and_nothing_is_written(made: Store, tmp_path: Path) -> None:
    made.write_split("main", make_split(made.records()))
    path = made.path / "splits/main.parquet"
    table = parquet.read_table(path)
    side = table.column_names.index("side")
    parquet.write_table(table.set_column(side, "side", pa.array(["../.."] * len(table))), path)
    with pytest.raises(StoreInvalid, match=r"main\.parquet: a side is train, val or test, got '\.\./\.\.'"):
        store.export(made, tmp_path / "a/b/out", split="main")
    assert not (tmp_path / "a").exists()


def test_export_lists_faces_without_controls_and_formulas_and_keeps_names_in_its_manifest(tmp_path: Path) -> None:
    method = "=cmd()\x1b]0;pwned\x07"
    records = [replace(video(tmp_path / "set", number), method=method) for number in range(2)]
    store.export(make(tmp_path / "made.store", records), tmp_path / "out")
    with (tmp_path / "out/faces.csv").open(newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"'=cmd()\\x1b]0;pwned\\x07"}
    assert {record.method for record in datasets.read(tmp_path / "out").records} == {method}
