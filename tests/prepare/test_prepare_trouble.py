"""Trouble that passes is not kept for good: what was not fetched is fetched by the next run, a killed worker gets a
second chance, and an outage stops the run instead of failing video after video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import make_datasets
import make_videos
from bucket_servers import Footage
from telltale import datasets
from telltale._places import Bucket
from telltale._request import run_extract
from telltale.crops import CropSpec
from telltale.errors import (
    DetectorWeights,
    FileMissing,
    FileUnreadable,
    OutOfMemory,
    TelltaleError,
    WorkerCrashed,
)
from telltale.faces import DetectorConfig
from telltale.prepare import PrepareSettings, _task, prepare
from telltale.prepare._fetching import MOST_IN_A_ROW
from telltale.sampling import SamplePlan
from telltale.store import open_store

SETTINGS = PrepareSettings(plan=SamplePlan("first", 1), crop=CropSpec(size_px=64))
FAILED = {"unsupported_container": 1}


class Fetches:
    """Notes what is fetched, and has some of it not arrive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.urls: list[str] = []
        self.troubled: tuple[str, ...] = ()
        """What addresses end in that do not arrive."""
        self.n_before_outage: int | None = None
        """After so many nothing arrives."""
        self.error: type[TelltaleError] = FileUnreadable
        fetch = Bucket.fetch

        def noted(bucket: Bucket, url: str, to: Path) -> None:
            self.urls.append(url)
            is_out = self.n_before_outage is not None and len(self.urls) > self.n_before_outage
            if is_out or url.endswith(self.troubled):
                raise self.error(f"{url} cannot be fetched (PermissionError: The provided token has expired.)")
            fetch(bucket, url, to)

        monkeypatch.setattr(Bucket, "fetch", noted)

    def names(self) -> list[str]:
        found = sorted(url.rpartition("/")[2] for url in self.urls)
        self.urls.clear()
        return found


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> Fetches:
    return Fetches(monkeypatch)


def clips(root: Path) -> Path:
    for label, name in (("real", "0000"), ("fake", "0000_fake")):
        (root / label).mkdir(parents=True)
        make_videos.face_clip(root / label / f"{name}.mp4", seconds=0.5)
    (root / "real" / "junk.mp4").write_bytes(b"junk" * 100)
    return root


def junk(root: Path, n: int) -> Path:
    """Each is a failure by name, and quickly so."""
    (root / "real").mkdir(parents=True)
    for i in range(n):
        (root / "real" / f"{i:02d}.mp4").write_bytes(make_datasets.mark(i))
    return root


def test_what_was_not_fetched_is_fetched_by_the_next_run_and_nothing_else(
    footage: Footage, tmp_path: Path, fetches: Fetches
) -> None:
    dataset, out = datasets.read_bucket(footage.put(clips(tmp_path / "set"), "set")), tmp_path / "s.store"
    fetches.troubled = ("/0000.mp4",)
    made = prepare(dataset, out, settings=SETTINGS)
    assert made.failures == {"file_unreadable": 1, **FAILED}
    assert len(fetches.names()) == 3
    assert prepare(dataset, out, settings=SETTINGS) == made
    assert fetches.names() == ["0000.mp4"]
    fetches.troubled = ()
    again = prepare(dataset, out, settings=SETTINGS)
    assert (again.failures, again.n_faces) == (FAILED, made.n_faces + 1)
    assert fetches.names() == ["0000.mp4"]


def test_an_object_that_never_arrives_does_not_have_the_store_built_anew(
    footage: Footage, tmp_path: Path, fetches: Fetches, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, out = datasets.read_bucket(footage.put(clips(tmp_path / "set"), "set")), tmp_path / "s.store"
    fetches.troubled = ("/0000.mp4",)
    made = prepare(dataset, out, settings=SETTINGS)

    def build(*_: object) -> None:
        pytest.fail("the store was built anew")

    monkeypatch.setattr("telltale.store._compact._build", build)
    assert prepare(dataset, out, settings=SETTINGS) == made


def test_an_original_that_was_not_fetched_is_fetched_by_the_next_run(
    footage: Footage, tmp_path: Path, fetches: Fetches
) -> None:
    dataset, out = datasets.read_bucket(footage.put(clips(tmp_path / "set"), "set")), tmp_path / "s.store"
    settings = PrepareSettings(plan=SETTINGS.plan, crop=SETTINGS.crop, boxes_from_original=True)
    fetches.troubled = ("/0000.mp4",)
    made = prepare(dataset, out, settings=settings)
    assert made.failures == {"file_unreadable": 2, **FAILED}
    assert all("real/0000.mp4 cannot" in one.message for one in made.failed if one.code == "file_unreadable")
    fetches.troubled = ()
    assert prepare(dataset, out, settings=settings).failures == FAILED


def test_an_outage_stops_the_run_and_the_next_one_goes_on(footage: Footage, tmp_path: Path, fetches: Fetches) -> None:
    n = MOST_IN_A_ROW + 20
    dataset, out = datasets.read_bucket(footage.put(junk(tmp_path / "set", n), "set")), tmp_path / "s.store"
    fetches.n_before_outage = 2
    with pytest.raises(FileUnreadable, match=r"10 objects in a row .*11\.mp4 cannot .* token has expired.*your keys"):
        prepare(dataset, out, settings=SETTINGS)
    assert 2 + MOST_IN_A_ROW <= len(fetches.names()) < n
    fetches.n_before_outage = None
    assert prepare(dataset, out, settings=SETTINGS).failures == {"unsupported_container": n}
    assert fetches.names() == [f"{i:02d}.mp4" for i in range(2, n)]


def test_objects_that_nobody_may_have_are_failures_and_what_is_new_is_still_prepared(
    footage: Footage, tmp_path: Path, fetches: Fetches
) -> None:
    root, out = junk(tmp_path / "set", 2 * MOST_IN_A_ROW + 8), tmp_path / "s.store"
    url = footage.put(root, "set")
    names = sorted(path.name for path in (root / "real").iterdir())
    for troubled in (names[::2], names[4 : 4 + MOST_IN_A_ROW + 2]):  # here and there; all in a row
        fetches.troubled = tuple(f"/{name}" for name in troubled)
        out = tmp_path / f"{troubled[1]}.store"
        for _ in range(2):
            made = prepare(datasets.read_bucket(url), out, settings=SETTINGS)
            assert made.failures["file_unreadable"] == len(troubled)
        fetches.urls.clear()


def test_objects_that_are_gone_are_no_outage(footage: Footage, tmp_path: Path, fetches: Fetches) -> None:
    n = MOST_IN_A_ROW + 2
    dataset = datasets.read_bucket(footage.put(junk(tmp_path / "set", n), "set"))
    fetches.troubled, fetches.error = ("",), FileMissing
    assert prepare(dataset, tmp_path / "s.store", settings=SETTINGS).failures == {"file_missing": n}


def test_an_outage_while_pictures_are_measured_stops_the_run(
    footage: Footage, tmp_path: Path, fetches: Fetches
) -> None:
    (tmp_path / "set" / "real").mkdir(parents=True)
    for i in range(MOST_IN_A_ROW + 2):
        (tmp_path / "set" / "real" / f"{i:02d}.jpg").write_bytes(make_datasets.tiny_picture(i))
    dataset = datasets.read_bucket(footage.put(tmp_path / "set", "set"))
    fetches.troubled = ("",)
    said = PrepareSettings(detect=False, margin_frac=0.2)
    with pytest.raises(FileUnreadable, match="10 objects in a row"):
        prepare(dataset, tmp_path / "s.store", settings=said)
    fetches.troubled = ()
    assert prepare(dataset, tmp_path / "s.store", settings=said).failures == {}


def test_a_worker_that_is_killed_once_costs_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel, for the memory of the whole machine: it says nothing about the file."""
    killed: list[int] = []

    def shot(worker: Any, request: Any) -> Iterator[Any]:
        messages = run_extract(worker, request)
        if request.path.endswith("0000.mp4") and not killed:
            for child in psutil.Process().children():
                if "telltale._child" in " ".join(child.cmdline()):
                    killed.append(child.pid)
                    child.kill()
        yield from messages

    monkeypatch.setattr(_task, "run_extract", shot)
    made = prepare(clips(tmp_path / "set"), tmp_path / "s.store", settings=SETTINGS)
    assert killed
    assert (made.failures, made.n_faces) == (FAILED, 2)


@pytest.mark.parametrize("error", [WorkerCrashed, OutOfMemory])
def test_a_video_that_ends_two_workers_is_a_failure_by_name_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[TelltaleError]
) -> None:
    tried: list[str] = []

    def ended(worker: Any, request: Any) -> Iterator[Any]:
        if request.path.endswith("0000.mp4"):
            tried.append(request.path)
            raise error(f"ended {len(tried)}")
        yield from run_extract(worker, request)

    monkeypatch.setattr(_task, "run_extract", ended)
    made = prepare(clips(tmp_path / "set"), tmp_path / "s.store", settings=SETTINGS)
    assert made.failures == {error.code: 1, **FAILED}
    assert [one.message for one in made.failed if one.code == error.code] == ["ended 2"]
    assert len(tried) == 2
    assert len(open_store(tmp_path / "s.store")) == 1


def test_weights_that_the_detector_cannot_use_stop_the_run_and_blame_no_file(tmp_path: Path) -> None:
    make_datasets.folder(tmp_path / "set")
    (tmp_path / "junk.bin").write_bytes(b"junk" * 1000)
    config = DetectorConfig(model_path=str(tmp_path / "junk.bin"))
    settings = PrepareSettings(plan=SamplePlan("first", 1), detector="yunet", detector_config=config)
    with pytest.raises(DetectorWeights, match="cannot use"):
        prepare(datasets.read(tmp_path / "set"), tmp_path / "s.store", settings=settings)
