"""A data set in a bucket is read as its copy in a folder is, and nothing in it is taken for more than a name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import make_datasets
from bucket_servers import Footage
from telltale import datasets
from telltale._places import Bucket, Found
from telltale.datasets._bucket import opened
from telltale.errors import DataError, FileMissing, UnknownLabel, UsageError
from telltale.types import FaceRecord

FORMATS = [name for name in datasets.names() if name != "deepfake_faces"]
"""Half of those faces lie in a zip file."""


@pytest.mark.parametrize("name", FORMATS)
def test_every_layout_is_read_as_in_a_folder(footage: Footage, tmp_path: Path, name: str) -> None:
    root = tmp_path / "the set"
    make_datasets.MAKERS[name](root, 3, make_datasets.content_of(name))
    here = datasets.read(root)
    there = datasets.read_bucket(footage.put(root, "the set"))
    assert [replace(record, path="", version=None) for record in there.records] == [
        replace(record, path="") for record in here.records
    ]
    assert (there.name, there.problems) == (here.name, here.problems)
    for record in there.records:
        assert record.path == f"{footage.url}/the set/{Path(_local(here, record.name)).relative_to(root).as_posix()}"
        with opened(record, tmp_path) as copy:
            assert Path(copy.path).read_bytes() == Path(_local(here, record.name)).read_bytes()
        assert not Path(copy.path).exists()


def _local(dataset: datasets.Dataset, name: str) -> str:
    return next(record.path for record in dataset.records if record.name == name)


def test_a_zip_file_in_a_bucket_is_refused_with_what_to_do(footage: Footage, tmp_path: Path) -> None:
    make_datasets.deepfake_faces(tmp_path / "set", 4)
    with pytest.raises(DataError, match=r"set: zip files in a bucket are not looked into: unpack them there"):
        datasets.read_bucket(footage.put(tmp_path / "set", "set"))


def test_faces_beside_their_table_are_read(footage: Footage, tmp_path: Path) -> None:
    make_datasets.deepfake_faces(tmp_path / "set", 4)
    (tmp_path / "set" / "faces-0.zip").unlink()
    found = datasets.read_bucket(footage.put(tmp_path / "set", "set"))
    assert len(found.records) == 5
    assert all(isinstance(record, FaceRecord) for record in found.records)


def test_a_list_of_its_own_is_read_and_names_only_what_is_in_the_bucket(footage: Footage, tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "lists").mkdir(parents=True)
    (tmp_path / "outside.mp4").write_bytes(b"not in the bucket")
    (root / "lists" / "a.mp4").write_bytes(b"a")
    (root / "lists" / "labels.csv").write_text(
        f"path,label\na.mp4,real\nnone.mp4,fake\n{tmp_path}/outside.mp4,fake\n../b.mp4,fake\n"
    )
    (root / "b.mp4").write_bytes(b"b")
    found = datasets.read_bucket(f"{footage.put(root, 'set')}/lists/labels.csv")
    assert [(record.name, record.label) for record in found.records] == [("a.mp4", 0)]
    assert {(problem.kind, problem.path) for problem in found.problems} == {
        ("missing", "none.mp4"),
        ("missing", f"{tmp_path}/outside.mp4"),
        ("missing", "../b.mp4"),
    }


def test_what_a_reader_says_is_about_the_bucket(footage: Footage, tmp_path: Path) -> None:
    for label in ("real", "strange"):
        (tmp_path / "set" / label).mkdir(parents=True)
        (tmp_path / "set" / label / "a.mp4").write_bytes(b"a")
    url = footage.put(tmp_path / "set", "set")
    with pytest.raises(UnknownLabel, match=r"strange/a\.mp4 is labelled 'strange'"):
        datasets.read_bucket(url)
    assert len(datasets.read_bucket(url, labels={"real": 0, "strange": 1})) == 2
    with pytest.raises(DataError, match=rf"^{url}/real looks like none of"):
        datasets.read_bucket(f"{url}/real")
    with pytest.raises(FileMissing, match=f"^{url}/nothing does not exist"):
        datasets.read_bucket(f"{url}/nothing")
    with pytest.raises(FileMissing, match=r"list\.csv does not exist"):
        datasets.read_bucket(f"{url}/list.csv")
    with pytest.raises(UsageError, match="s3://NAME"):
        datasets.read_bucket(str(tmp_path))


def test_an_object_that_is_there_twice_is_told_by_its_checksum(footage: Footage, tmp_path: Path) -> None:
    for name, data in (("real/a.mp4", b"same"), ("fake/b.mp4", b"same"), ("fake/c.mp4", b"else")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    found = datasets.read_bucket(footage.put(tmp_path / "set", "set"))
    assert found.problems == datasets.read(tmp_path / "set").problems
    assert [problem.kind for problem in found.problems] == ["contradictory"]
    groups = {record.name: record.group_id for record in found.records}
    assert groups["real/a.mp4"] == groups["fake/b.mp4"] != groups["fake/c.mp4"]


def test_a_folder_whose_name_goes_on_is_another(footage: Footage, tmp_path: Path) -> None:
    for name in ("set", "set2"):
        (tmp_path / name / "real").mkdir(parents=True)
        (tmp_path / name / "real" / f"{name}.mp4").write_bytes(name.encode())
        footage.put(tmp_path / name, name)
    for url in (f"{footage.url}/set", f"{footage.url}/set/"):
        assert [record.name for record in datasets.read_bucket(url).records] == ["real/set.mp4"]
        assert datasets.read_bucket(url).problems == ()


@pytest.mark.parametrize(
    "name", ["../../escaped.mp4", "real/../../escaped.mp4", "real//a.mp4", "/a.mp4", "real/a\0.mp4", "n" * 300 + ".mp4"]
)
def test_an_object_whose_name_is_no_path_is_reported_and_makes_no_file(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    url = f"{footage.url}/set"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def find(self: Bucket, suffixes: Any = None) -> Iterator[Found]:
        del self, suffixes
        yield Found(f"{url}/fake/b.mp4", 1, "v")
        yield Found(f"{url}/fake/b.mp4/c.mp4", 1, "v")  # a store has no folders: both may be there
        yield Found(f"{url}/real/a.mp4", 1, "v")
        yield Found(f"{url}/real/", 0, "v")
        yield Found(f"{url}/{name}", 1, "v")

    monkeypatch.setattr(Bucket, "find", find)
    found = datasets.read_bucket(url)
    assert [record.name for record in found.records] == ["fake/b.mp4", "real/a.mp4"]
    assert [problem.kind for problem in found.problems] == ["unknown", "unknown"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_only_the_lists_that_a_layout_reads_are_fetched(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Not a store's shards or a table of results beside them, nor what lies beside each clip."""
    root = tmp_path / "set"
    make_datasets.MAKERS[name](root, 3, make_datasets.content_of(name))
    own = {path for path in root.rglob("*") if path.is_file()}
    there = datasets.read_bucket(footage.put(root, "set"))
    beside = sorted({path.parent for path in own})
    for folder in beside:
        for noise in ("clip.json", "clip.txt", "clip.jsonl", "clip.parquet"):
            (folder / noise).write_bytes(b"neither JSON nor Parquet")
    for noise in ("out/shards/0.parquet", "out/manifest.json", "out/table/part-0.parquet", "out/manifest.csv"):
        (root / noise).parent.mkdir(parents=True, exist_ok=True)
        (root / noise).write_bytes(b"neither JSON nor Parquet")
    url, fetched, fetch = footage.put(root, "set"), set(), Bucket.fetch

    def noted(bucket: Bucket, url: str, to: Path) -> None:
        fetched.add(url)
        fetch(bucket, url, to)

    monkeypatch.setattr(Bucket, "fetch", noted)
    again = datasets.read_bucket(url)
    assert [replace(record, version=None) for record in again.records] == [
        replace(record, version=None) for record in there.records
    ]
    assert {root / one.removeprefix(f"{url}/") for one in fetched} <= own


def test_lists_are_fetched_several_at_once(footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_datasets.dfdc(tmp_path / "set", 3)
    fetch, both = Bucket.fetch, threading.Barrier(2, timeout=20)

    def together(bucket: Bucket, url: str, to: Path) -> None:
        both.wait()
        fetch(bucket, url, to)

    url = footage.put(tmp_path / "set", "set")
    monkeypatch.setattr(Bucket, "fetch", together)
    assert datasets.read_bucket(url).records


def test_a_list_named_by_itself_is_all_that_is_fetched(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.mp4").write_bytes(b"a")
    for name in ("mine.csv", "metadata.json", "manifest.csv", "labels.csv"):
        (tmp_path / "set" / name).write_text("path,label\na.mp4,real\n")
    url, fetched, fetch = footage.put(tmp_path / "set", "set"), set(), Bucket.fetch

    def noted(bucket: Bucket, url: str, to: Path) -> None:
        fetched.add(url)
        fetch(bucket, url, to)

    monkeypatch.setattr(Bucket, "fetch", noted)
    assert len(datasets.read_bucket(f"{url}/mine.csv")) == 1
    assert fetched == {f"{url}/mine.csv"}


def test_a_list_that_lies_in_a_folder_of_no_layout_is_named(footage: Footage, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.mp4").write_bytes(b"a")
    (tmp_path / "set" / "mine.csv").write_text("path,label\na.mp4,real\n")
    with pytest.raises(DataError, match=r"set/mine\.csv is a list: give that"):
        datasets.read_bucket(footage.put(tmp_path / "set", "set"))
