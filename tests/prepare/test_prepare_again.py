"""`prepare` into a store that is there: of other files or with other settings it stops, and says why."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import make_datasets
from telltale import datasets
from telltale.crops import CropSpec
from telltale.errors import UsageError
from telltale.faces import DetectorConfig
from telltale.prepare import PrepareSettings, Progress, prepare
from telltale.sampling import SamplePlan
from telltale.store import is_store, open_store
from telltale.store._differences import differences

SETTINGS = PrepareSettings(detector="haar")


def site(folder: Path, *, seed: int, n: int = 12) -> Path:
    """Pictures under the names that every site gives them; each seed has others."""
    for i in range(n):
        for label in ("real", "fake"):
            path = folder / "data" / label / f"{i:02d}_{label}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_datasets.tiny_picture(1000 * seed + 2 * i + (label == "fake")))
    return folder / "data"


def test_another_set_of_the_same_names_does_not_replace_a_store(tmp_path: Path) -> None:
    one, other, out = site(tmp_path / "a", seed=1), site(tmp_path / "b", seed=2), tmp_path / "s.store"
    before = prepare(one, out, settings=SETTINGS)
    with pytest.raises(
        UsageError,
        match=r"holds other files than .*data: of 16 .* of the same name 16 have other content, first "
        r"fake/00_fake\.jpg: choose another --out, or delete it first",
    ):
        prepare(other, out, settings=SETTINGS)
    assert open_store(out).manifest == before
    assert not (out / "staging").exists()


def test_a_few_files_may_have_changed(tmp_path: Path) -> None:
    source, out = site(tmp_path / "a", seed=1), tmp_path / "s.store"
    before = prepare(source, out, settings=SETTINGS)
    for path in sorted(source.rglob("*.jpg"))[:8]:
        path.write_bytes(make_datasets.tiny_picture(5000 + int(path.name[:2])))
    assert prepare(source, out, settings=SETTINGS).videos.sha256 != before.videos.sha256


def test_files_that_failed_may_all_be_put_right(tmp_path: Path) -> None:
    source, out = site(tmp_path / "a", seed=1, n=3), tmp_path / "s.store"
    for path in source.rglob("*.jpg"):
        path.write_bytes(b"version https://git-lfs" + path.name.encode())
    assert sum(prepare(source, out, settings=SETTINGS).failures.values()) == 6
    site(tmp_path / "a", seed=1, n=3)
    assert prepare(source, out, settings=SETTINGS).failures == {}


def test_a_set_that_moved_is_the_same_set(tmp_path: Path) -> None:
    source, out = site(tmp_path / "a", seed=1), tmp_path / "s.store"
    before = prepare(source, out, settings=SETTINGS)
    shutil.move(source, tmp_path / "data")
    assert prepare(tmp_path / "data", out, settings=SETTINGS) == before


def tree(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of every file below `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


STRANGERS = ("README.md", "index-old.npy", "shards/my.parquet", "staging/notes.txt", "videos-list.parquet")


def test_no_store_is_made_among_files_of_somebody_else(tmp_path: Path) -> None:
    source, out = site(tmp_path / "a", seed=1, n=1), tmp_path / "mine"
    for name in STRANGERS:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    for folder in (out, source):
        before = tree(folder)
        with pytest.raises(UsageError, match=r"files that no store has, such as .*: choose another --out, or empty"):
            prepare(source, folder, settings=SETTINGS)
        assert tree(folder) == before


def test_what_somebody_put_into_a_store_stays(tmp_path: Path) -> None:
    source, out = site(tmp_path / "a", seed=1, n=1), tmp_path / "s.store"
    prepare(source, out, settings=SETTINGS)
    for name in STRANGERS:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    prepare(site(tmp_path / "a", seed=1, n=2), out, settings=SETTINGS)
    assert {(out / name).read_text() for name in STRANGERS} == {"mine"}
    assert len(list(out.glob("videos-*.parquet"))) == 2, "his and the store's"


def test_a_store_that_is_begun_is_none_of_the_data_beside_it(tmp_path: Path) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    def read() -> datasets.Dataset:
        return datasets.read(source, labels={"staging": 0})

    source = site(tmp_path / "a", seed=1, n=2)
    (source / "staging").mkdir()
    shutil.copyfile(source / "real" / "00_real.jpg", source / "staging" / "cut.jpg")
    out = source / "mine.store"
    with pytest.raises(KeyboardInterrupt):
        prepare(read(), out, settings=SETTINGS, on_progress=interrupt)
    assert is_store(out)
    assert not is_store(source), "a folder of that name alone is no mark"
    assert {one.path for one in read().problems} <= {"staging/cut.jpg"}, "whose bytes are there twice"
    prepare(read(), out, settings=SETTINGS)
    assert len(open_store(out).videos()) == 5


PLAIN = PrepareSettings()
FACES = CropSpec(size_px=64, margin_frac=0.3, align=True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"plan": SamplePlan("fps", 1)}, "--fps 2 in the store, 1 asked"),
        ({"plan": SamplePlan("uniform", 8)}, "--fps 2 in the store, --frames 8 asked"),
        ({"plan": SamplePlan("all")}, "--fps 2 in the store, --all-frames asked"),
        ({"plan": SamplePlan(seconds=5)}, "no --seconds in the store, 5 asked"),
        ({"plan": SamplePlan(cap=30)}, "plan.cap 600 in the store, 30 asked"),
        (
            {"crop": FACES},
            "--align off in the store, on asked; --margin -0.095 in the store, 0.3 asked; --size 224 in the store, 64 "
            "asked",
        ),
        ({"detector": "haar"}, "--detector mtcnn in the store, haar asked"),
        ({"detector_config": DetectorConfig(min_face_px=40)}, "no --min-face in the store, 40 asked"),
        ({"faces": "largest"}, "--faces all in the store, largest asked"),
        ({"boxes_from_original": True}, "--boxes-from-original off in the store, on asked"),
        ({"detect": False, "crop": CropSpec(kind="as_given", size_px=99)}, "--detect on in the store, off asked"),
    ],
)
def test_other_settings_are_named_as_options_with_both_values(asked: dict[str, Any], said: str) -> None:
    assert differences(PLAIN.identity(), replace(PLAIN, **asked).identity()) == said


def test_what_one_side_does_not_say_is_named_too() -> None:
    older = {key: value for key, value in PLAIN.identity().items() if key != "faces"}
    assert differences(older, PLAIN.identity()) == "no --faces in the store, all asked"
    assert differences(PLAIN.identity(), older) == "--faces all in the store, none asked"
    assert differences({"plan": "?"}, {"plan": {"kind": "fps", "value": 2}}) == "plan ? in the store, --fps 2 asked"


def test_a_store_of_other_settings_says_which(tmp_path: Path) -> None:
    source, out = site(tmp_path, seed=1, n=1), tmp_path / "s.store"
    prepare(source, out, settings=SETTINGS)
    with pytest.raises(
        UsageError, match=r"other settings: --fps 2 in the store, 1 asked: choose another --out, or delete it first"
    ):
        prepare(source, out, settings=replace(SETTINGS, plan=SamplePlan("fps", 1)))
