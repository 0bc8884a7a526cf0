"""Fakes and the originals they were made from: found, and cut in the same places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import make_datasets
import make_videos
from telltale import datasets
from telltale.crops import CropSpec
from telltale.prepare import PrepareSettings, Progress, originals_of, prepare
from telltale.sampling import Kind, SamplePlan
from telltale.store import Manifest, open_store


def test_fakes_can_be_cut_where_their_original_is(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
    make_videos.face_clip(tmp_path / "data" / "real" / "0000.mp4", seconds=1)
    # Nobody is in the fake, so every box in it must come from the original.
    make_videos.empty_clip(tmp_path / "data" / "fake" / "0000_fake.mp4", seconds=1)
    settings = PrepareSettings(plan=SamplePlan("fps", 4), crop=CropSpec(size_px=64), boxes_from_original=True)
    prepare(datasets.read(tmp_path / "data", format="uadfv"), tmp_path / "s.store", settings=settings)
    rows = open_store(tmp_path / "s.store").table(["label", "box_xyxy", "pts_s"]).to_pylist()
    boxes = {label: [row["box_xyxy"] for row in rows if row["label"] == label] for label in (0, 1)}
    assert len(boxes[1]) == 4
    np.testing.assert_allclose(boxes[0], boxes[1])


def test_a_fake_is_cut_anew_when_its_original_arrives(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
    make_videos.empty_clip(tmp_path / "data" / "fake" / "0000_fake.mp4", seconds=1)
    settings = PrepareSettings(plan=SamplePlan("fps", 4), crop=CropSpec(size_px=64), boxes_from_original=True)

    def made(name: str) -> Manifest:
        return prepare(datasets.read(tmp_path / "data", format="uadfv"), tmp_path / name, settings=settings)

    assert made("grown.store").n_faces == 0
    make_videos.face_clip(tmp_path / "data" / "real" / "0000.mp4", seconds=1)
    grown, fresh = ([part.sha256 for part in made(name).parts()] for name in ("grown.store", "fresh.store"))
    assert grown == fresh


def test_a_fake_is_cut_anew_when_its_original_is_another_file(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
    original = tmp_path / "data" / "real" / "0000.mp4"
    make_videos.face_clip(original, seconds=1)
    make_videos.empty_clip(tmp_path / "data" / "fake" / "0000_fake.mp4", seconds=1)
    settings = PrepareSettings(plan=SamplePlan("fps", 4), crop=CropSpec(size_px=64), boxes_from_original=True)
    dataset = datasets.read(tmp_path / "data", format="uadfv")
    seen: list[Progress] = []

    def made(name: str) -> Manifest:
        seen.clear()
        return prepare(dataset, tmp_path / name, settings=settings, on_progress=seen.append)

    assert made("grown.store").n_faces == 8
    made("grown.store")
    assert seen[-1].n_skipped == 2
    make_videos.two_face_clip(original, seconds=1)
    grown = made("grown.store")
    assert seen[-1].n_skipped == 0
    assert grown.n_faces == 16
    assert [part.sha256 for part in grown.parts()] == [part.sha256 for part in made("fresh.store").parts()]


@pytest.mark.parametrize(("kind", "value"), [("uniform", 8), ("fps", 4), ("every", 7), ("all", 1)])
def test_a_longer_original_is_looked_at_where_its_fake_is(tmp_path: Path, kind: Kind, value: int) -> None:
    """By its own length it would be sampled at other moments, and lend no face."""
    for number, seconds in enumerate((1.7, 2.0, 0.7)):
        for label in ("real", "fake"):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        make_videos.face_clip(tmp_path / "data" / "real" / f"{number:04d}.mp4", seconds=seconds)
        make_videos.empty_clip(tmp_path / "data" / "fake" / f"{number:04d}_fake.mp4", seconds=1)
    settings = PrepareSettings(
        plan=SamplePlan(kind, value, cap=20), crop=CropSpec(size_px=64), boxes_from_original=True
    )
    prepare(datasets.read(tmp_path / "data", format="uadfv"), tmp_path / "s.store", settings=settings)
    fakes = [row for row in open_store(tmp_path / "s.store").videos().to_pylist() if row["label"]]
    longer, shorter = fakes[:2], fakes[2]
    assert [row["n_faces"] for row in longer] == [row["n_frames_sampled"] for row in longer]
    assert shorter["n_frames_sampled"] / 2 < shorter["n_faces"] < shorter["n_frames_sampled"]


def matched(root: Path) -> dict[str, str]:
    """Name of each fake in the data set at `root` -> name of its original."""
    records = datasets.read(root).records
    names = {record.video_id: record.name for record in records}
    return {names[fake]: real.name for fake, real in originals_of(records).items()}


def test_a_fake_of_a_pair_is_matched_with_its_target_at_its_own_compression(tmp_path: Path) -> None:
    make_datasets.faceforensics(tmp_path, n=4)
    found = matched(tmp_path)
    assert found
    for fake, real in found.items():
        assert Path(fake).stem.split("_")[0] == Path(real).stem
        assert ("c40" in fake) == ("c40" in real) or not (tmp_path / real.replace("c23", "c40")).exists()


@pytest.mark.parametrize("name", sorted(make_datasets.MAKERS.keys() - {"deeperforensics", "faceforensics"}))
def test_every_fake_has_its_original_where_that_is_here(tmp_path: Path, name: str) -> None:
    expected = make_datasets.MAKERS[name](tmp_path / "the set", 4, make_datasets.content_of(name))
    assert matched(tmp_path / "the set") == {
        fake: real for real, *fakes in expected.together for fake in fakes if expected.labels[fake]
    }


def test_a_fake_whose_original_is_not_here_has_none_of_its_group(tmp_path: Path) -> None:
    make_datasets.faceforensics(tmp_path / "ffpp", n=2)
    (tmp_path / "ffpp/original_sequences/youtube/c23/videos/000.mp4").unlink()
    assert {Path(fake).stem: Path(real).stem for fake, real in matched(tmp_path / "ffpp").items()} == {"007_000": "007"}
    make_datasets.dfdcp(tmp_path / "dfdcp", n=2)
    original = tmp_path / "dfdcp/original_videos/100/100_A_001.mp4"
    original.rename(original.with_name("100_A_002.mp4"))
    listed = (tmp_path / "dfdcp/dataset.json").read_text()
    (tmp_path / "dfdcp/dataset.json").write_text(listed.replace("/100_A_001", "/100_A_002"))
    assert matched(tmp_path / "dfdcp").keys() == {"method_B/101/101_A/100_101_A_001.mp4"}


def test_a_fake_is_not_matched_with_a_video_that_only_shares_its_group(tmp_path: Path) -> None:
    # Two originals are the same file, so their groups are one.
    for name, number in {"real/a": 0, "real/b": 0, "fake/a": 1, "fake/b": 2}.items():
        (tmp_path / "twice" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "twice" / f"{name}.mp4").write_bytes(make_datasets.mark(number))
    assert matched(tmp_path / "twice") == {"fake/a.mp4": "real/a.mp4", "fake/b.mp4": "real/b.mp4"}


def test_a_list_matches_by_name_or_where_a_group_has_one_original(tmp_path: Path) -> None:
    rows = ["path,label,group_id", "a1.mp4,real,anna", "a2.mp4,real,anna", "x/a2.mp4,fake,anna", "x/a3.mp4,fake,anna"]
    rows += ["o.mp4,real,otto", "x/swapped.mp4,fake,otto"]
    for number, row in enumerate(rows[1:]):
        path = tmp_path / row.split(",")[0]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(make_datasets.mark(number))
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    assert matched(tmp_path) == {"x/a2.mp4": "a2.mp4", "x/swapped.mp4": "o.mp4"}


def test_where_two_originals_are_as_near_a_fake_has_none(tmp_path: Path) -> None:
    for name in ("real/p1/1.mp4", "real/p2/1.mp4", "fake/p2/1.mp4", "fake/swap/1.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert matched(tmp_path) == {"fake/p2/1.mp4": "real/p2/1.mp4"}


def test_crops_in_one_zip_have_originals_of_their_own(tmp_path: Path) -> None:
    make_datasets.deepfake_faces(tmp_path, n=4)
    dataset = datasets.read(tmp_path)
    packed = [record for record in dataset.records if record.path.endswith(".zip") and record.label]
    found = originals_of(dataset.records)
    assert {record.video_id: found[record.video_id].video_id for record in packed} == {
        "fake000001": "real000001",
        "fake000003": "real000003",
    }
    settings = PrepareSettings(crop=CropSpec(kind="centre_square", size_px=64), boxes_from_original=True)
    assert prepare(dataset, tmp_path / "s.store", settings=settings).failures == {}
