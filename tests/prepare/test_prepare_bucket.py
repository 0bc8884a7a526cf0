"""A data set in a bucket to a store: the same faces, each file fetched once, for as long as it is needed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import make_datasets
import make_videos
from bucket_servers import Footage
from telltale import datasets
from telltale._places import Bucket
from telltale.cli import app
from telltale.crops import CropSpec
from telltale.engine import Engine
from telltale.errors import OutputError
from telltale.prepare import PrepareSettings, Progress, prepare
from telltale.sampling import SamplePlan
from telltale.store import Manifest, open_store

SETTINGS = PrepareSettings(plan=SamplePlan("fps", 4), crop=CropSpec(size_px=64))
COMMAND = [sys.executable, "-m", "telltale", "prepare", "--fps", "4", "--size", "64"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips with a face, one that is no video, one that is empty."""
    root = tmp_path_factory.mktemp("data") / "mine"
    for label in ("real", "fake"):
        (root / label).mkdir(parents=True)
        for i in range(2):
            make_videos.face_clip(root / label / f"{label}{i}.mp4", seconds=1 + 0.5 * i)
    (root / "fake" / "junk.mp4").write_bytes(b"junk" * 100)
    (root / "real" / "empty.mp4").touch()
    return root


@pytest.fixture(scope="module")
def manifest(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return prepare(data, tmp_path_factory.mktemp("store") / "faces.store", settings=SETTINGS)


def faces(manifest: Manifest) -> list[str]:
    """What of a store does not name the objects it was made from."""
    return [part.sha256 for part in (*manifest.shards, manifest.index)]


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were fetched."""
    seen: list[str] = []
    fetch = Bucket.fetch

    def noted(self: Bucket, url: str, to: Path) -> None:
        seen.append(url)
        fetch(self, url, to)

    monkeypatch.setattr(Bucket, "fetch", noted)
    return seen


def test_the_faces_are_those_of_the_folder_that_was_copied_there(
    footage: Footage,
    data: Path,
    manifest: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fetches: list[str],
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    url = footage.put(data, "mine")
    made = prepare(datasets.read_bucket(url), tmp_path / "s.store", settings=SETTINGS, engine=Engine(jobs=2))
    assert faces(made) == faces(manifest)
    assert made.failures == manifest.failures == {"file_empty": 1, "unsupported_container": 1}
    assert sorted(fetches) == sorted(f"{url}/{path.relative_to(data).as_posix()}" for path in data.rglob("*.mp4"))
    assert list((tmp_path / "scratch").iterdir()) == []
    said = {failed.path: failed.message for failed in made.failed}
    assert said["fake/junk.mp4"].startswith(f"{url}/fake/junk.mp4")
    assert "scratch" not in made.model_dump_json()
    for row in open_store(tmp_path / "s.store").videos().to_pylist():
        assert row["sha256"] == hashlib.sha256((data / row["path"]).read_bytes()).hexdigest()


def test_what_was_done_is_not_fetched_again_and_what_changed_is(
    footage: Footage, data: Path, tmp_path: Path, fetches: list[str]
) -> None:
    url, out = footage.put(data, "mine"), tmp_path / "s.store"
    before = prepare(datasets.read_bucket(url), out, settings=SETTINGS)
    fetches.clear()
    seen: list[Progress] = []
    prepare(datasets.read_bucket(url), out, settings=SETTINGS, on_progress=seen.append)
    assert seen[-1].n_skipped == seen[-1].n_total == 6
    assert fetches == []
    cut = make_videos.face_clip(tmp_path / "cut.mp4", seconds=0.75)
    footage.files.put_file(str(cut), f"{footage.root}/mine/real/empty.mp4")
    after = prepare(datasets.read_bucket(url), out, settings=SETTINGS)
    assert fetches == [f"{url}/real/empty.mp4"]
    assert after.n_faces == before.n_faces + 3
    assert after.failures == {"unsupported_container": 1}


def test_an_object_that_went_since_is_a_failure_by_name_and_tried_again_on_request(
    footage: Footage, data: Path, tmp_path: Path, fetches: list[str]
) -> None:
    url, out = footage.put(data, "mine"), tmp_path / "s.store"
    dataset = datasets.read_bucket(url)
    footage.files.rm(f"{footage.root}/mine/fake/fake0.mp4")
    made = prepare(dataset, out, settings=SETTINGS)
    (gone,) = [failed for failed in made.failed if failed.path == "fake/fake0.mp4"]
    assert (gone.code, gone.message) == ("file_missing", f"{url}/fake/fake0.mp4 is not there any more")
    footage.put(data, "mine")
    fetches.clear()
    again = prepare(dataset, out, settings=SETTINGS, retry_failed=True)
    assert sorted(fetches) == [f"{url}/fake/fake0.mp4", f"{url}/fake/junk.mp4", f"{url}/real/empty.mp4"]
    assert again.n_faces == made.n_faces + 4


def test_a_killed_run_goes_on_where_it_was(
    footage: Footage, data: Path, manifest: Manifest, tmp_path: Path, fetches: list[str]
) -> None:
    url, out = footage.put(data, "mine"), tmp_path / "s.store"
    with subprocess.Popen([*COMMAND, "--bucket", url, "--out", str(out)], stderr=subprocess.DEVNULL) as process:
        while not (staged := list(out.glob("staging/*/*.parquet"))) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    staged = list(out.glob("staging/*/*.parquet"))
    assert 0 < len(staged) < 6
    assert faces(prepare(datasets.read_bucket(url), out, settings=SETTINGS)) == faces(manifest)
    assert len(fetches) == 6 - len(staged)


def test_a_file_on_its_way_when_a_run_is_broken_off_is_not_recorded(
    footage: Footage, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy goes with the worker's folder, which says nothing about the file."""
    dataset, fetch = datasets.read_bucket(footage.put(data, "mine")), Bucket.fetch
    is_first, is_on_its_way = threading.Lock(), threading.Event()

    def slow_after_the_first(self: Bucket, url: str, to: Path) -> None:
        fetch(self, url, to)
        if not is_first.acquire(blocking=False):
            is_on_its_way.set()
            until = time.monotonic() + 20
            while to.exists() and time.monotonic() < until:
                time.sleep(0.01)

    def stop(_: Progress) -> None:
        is_on_its_way.wait(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(Bucket, "fetch", slow_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset, tmp_path / "s.store", settings=SETTINGS, engine=Engine(jobs=2), on_progress=stop)
    assert len(list((tmp_path / "s.store").glob("staging/*/*.parquet"))) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
@pytest.mark.parametrize("full_for", ["fetched", "original/fetched"])
def test_a_full_disk_here_stops_the_run_and_blames_no_object(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_for: str
) -> None:
    for label, name in (("real", "0000"), ("fake", "0000_fake")):
        (tmp_path / "data" / label).mkdir(parents=True)
        make_videos.face_clip(tmp_path / "data" / label / f"{name}.mp4", seconds=0.5)
    settings = PrepareSettings(plan=SamplePlan("first", 1), crop=CropSpec(size_px=64), boxes_from_original=True)
    dataset, fetch, out = datasets.read_bucket(footage.put(tmp_path / "data", "data")), Bucket.fetch, tmp_path / "s"

    def fetch_to_full_disk(self: Bucket, url: str, to: Path) -> None:
        if f"{to.parent.name}/{to.name}".endswith(full_for):
            to.symlink_to("/dev/full")
        fetch(self, url, to)

    with monkeypatch.context() as full:
        full.setattr(Bucket, "fetch", fetch_to_full_disk)
        with pytest.raises(OutputError, match="free some space or set TMPDIR"):
            prepare(dataset, out, settings=settings)
    assert prepare(dataset, out, settings=settings).failures == {}


def test_fakes_are_cut_where_their_original_in_the_bucket_is(footage: Footage, tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
    make_videos.face_clip(tmp_path / "data" / "real" / "0000.mp4", seconds=1)
    make_videos.empty_clip(tmp_path / "data" / "fake" / "0000_fake.mp4", seconds=1)
    (tmp_path / "data" / "real" / "0001.mp4").write_bytes(b"junk" * 100)
    make_videos.empty_clip(tmp_path / "data" / "fake" / "0001_fake.mp4", seconds=1, size=(320, 240))
    settings = PrepareSettings(plan=SamplePlan("fps", 4), crop=CropSpec(size_px=64), boxes_from_original=True)
    url = footage.put(tmp_path / "data", "data")
    made = prepare(datasets.read_bucket(url), tmp_path / "s.store", settings=settings)
    rows = open_store(tmp_path / "s.store").table(["label", "box_xyxy"]).to_pylist()
    boxes = {label: [row["box_xyxy"] for row in rows if row["label"] == label] for label in (0, 1)}
    assert len(boxes[1]) == 4
    np.testing.assert_allclose(boxes[0], boxes[1])
    said = {failed.path: failed.message for failed in made.failed}
    assert said["fake/0001_fake.mp4"].startswith(f"{url}/real/0001.mp4")


def test_pictures_in_a_bucket_are_kept_as_they_are(footage: Footage, tmp_path: Path) -> None:
    for i in range(3):
        for label in ("real", "fake"):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            picture = make_datasets.tiny_picture(2 * i + (label == "fake"))
            (tmp_path / "data" / label / f"{label}{i}.jpg").write_bytes(picture)
    said = PrepareSettings(detect=False, margin_frac=0.2)
    here = prepare(tmp_path / "data", tmp_path / "here.store", settings=said)
    dataset = datasets.read_bucket(footage.put(tmp_path / "data", "data"))
    footage.files.rm(f"{footage.root}/data/fake/fake2.jpg")
    there = prepare(dataset, tmp_path / "there.store", settings=said)
    assert there.settings == here.settings
    assert (there.n_faces, there.failures) == (5, {"file_missing": 1})
    assert open_store(tmp_path / "there.store").image(0) == (tmp_path / "data" / "fake" / "fake0.jpg").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs telltale[ray]")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
def test_a_ray_cluster_fetches_for_itself(
    footage: Footage, data: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    dataset = datasets.read_bucket(footage.put(data, "mine"))
    made = prepare(dataset, tmp_path / "s.store", settings=SETTINGS, engine=Engine("ray", jobs=2))
    assert faces(made) == faces(manifest)


@pytest.mark.parametrize("given", [[], ["folder", "--bucket", "s3://footage"]])
def test_a_data_set_is_a_folder_or_in_a_bucket(given: list[str], tmp_path: Path) -> None:
    result: Any = CliRunner().invoke(app, ["prepare", *given, "--out", os.fspath(tmp_path / "s.store")])
    assert result.exit_code == 2
    assert "or --bucket, one of them" in result.stderr
