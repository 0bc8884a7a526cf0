"""Trouble that passes is not kept for good: what was not fetched is fetched by the next run,
and an outage stops the run instead of failing video after video."""

from __future__ import annotations

from pathlib import Path

import pytest

import make_datasets
import make_videos
from bucket_servers import Footage
from telltale import datasets
from telltale._places import Bucket
from telltale.crops import CropSpec
from telltale.errors import FileMissing, FileUnreadable, TelltaleError
from telltale.prepare import PrepareSettings, prepare
from telltale.prepare._fetching import MOST_IN_A_ROW
from telltale.sampling import SamplePlan

SETTINGS = PrepareSettings(plan=SamplePlan("first", 1), crop=CropSpec(size_px=64))
FAILED = {"unsupported_container": 1}


class Fetches:
    """Notes what is fetched, and has some of it not arrive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.urls: list[str] = []
        self.troubled: tuple[str, ...] = ()
        """What addresses end in that do not arrive."""
        self.error: type[TelltaleError] = FileUnreadable
        fetch = Bucket.fetch

        def noted(bucket: Bucket, url: str, to: Path) -> None:
            self.urls.append(url)
            if url.endswith(self.troubled):
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
    fetches.troubled = tuple(f"/{i:02d}.mp4" for i in range(2, n))
    with pytest.raises(FileUnreadable, match=r"10 objects in a row .*11\.mp4 cannot .* token has expired.*your keys"):
        prepare(dataset, out, settings=SETTINGS)
    assert 2 + MOST_IN_A_ROW <= len(fetches.names()) < n
    fetches.troubled = ()
    assert prepare(dataset, out, settings=SETTINGS).failures == {"unsupported_container": n}
    assert fetches.names() == [f"{i:02d}.mp4" for i in range(2, n)]


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
