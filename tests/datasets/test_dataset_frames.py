"""Pictures in folders: which of them are of one video, and which folders say how a fake was made."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from make_datasets import write
from telltale import datasets
from telltale.datasets._frames import Frames, Placed
from telltale.split import make_split

FRAMES = [f"{kind}/{n}.png" for kind in ("real/v1", "real/v2", "fake/v1", "fake/v2") for n in ("000", "001")]


def groups(root: Path) -> dict[str, str]:
    return {r.name: r.group_id.removeprefix(f"{root.name}:") for r in datasets.read(root).records}


def test_the_frames_of_a_video_stay_with_its_fakes_and_with_no_other_video(tmp_path: Path) -> None:
    write(tmp_path, *FRAMES, *(f"fake/wav2lip/v{v}/{n}.png" for v in (1, 2) for n in ("000", "001")))
    found = groups(tmp_path)
    assert {group: {name.split("/")[-2] for name in found if found[name] == group} for group in found.values()} == {
        "v1": {"v1"}, "v2": {"v2"}
    }  # fmt: skip
    records = {record.name: record for record in datasets.read(tmp_path).records}
    assert {records[name].method for name in records if "wav2lip" in name} == {"wav2lip"}
    assert {records[name].method for name in FRAMES} == {None}
    assert records["fake/v1/001.png"].original_id == records["real/v1/001.png"].original_id


def video_of(name: str) -> str:
    return next(part for part in name.split("/") if part.startswith("vid"))


@pytest.mark.parametrize("inner", [["frames"], ["frames/left"], ["frames", "masks"]])
@pytest.mark.parametrize("method", ["", "/wav2lip"])
def test_frames_a_level_deeper_stay_with_their_video(tmp_path: Path, inner: list[str], method: str) -> None:
    videos = [f"{kind}/vid{v}" for kind in ("real", f"fake{method}") for v in range(12)]
    write(tmp_path, *(f"{video}/{folder}/{n:03d}.png" for video in videos for folder in inner for n in range(2)))
    assert all(group == video_of(name) for name, group in groups(tmp_path).items())
    assert {r.method for r in datasets.read(tmp_path).records if r.label} == {method.strip("/") or None}


def test_two_videos_with_frames_a_level_deeper_are_two(tmp_path: Path) -> None:
    write(tmp_path, *(f"{kind}/vid{v}/frames/{n}.png" for kind in ("real", "fake") for v in (1, 2) for n in (0, 1)))
    assert set(groups(tmp_path).values()) == {"vid1", "vid2"}
    assert {record.method for record in datasets.read(tmp_path).records} == {None}


def test_frames_of_fakes_only_a_level_deeper_go_with_their_real(tmp_path: Path) -> None:
    names = [f"{kind}/{n}.png" for v in (1, 2) for kind in (f"real/vid{v}", f"fake/vid{v}/frames") for n in (0, 1)]
    write(tmp_path, *names)
    assert all(group == video_of(name) for name, group in groups(tmp_path).items())
    assert {record.method for record in datasets.read(tmp_path).records} == {None}


def test_clips_that_are_numbered_anew_for_everybody_go_with_the_person(tmp_path: Path) -> None:
    write(tmp_path, *(f"real/p{p}/{clip}/{n}.png" for p in range(10) for clip in "ab" for n in (0, 1)))
    assert set(groups(tmp_path).values()) == {f"p{p}" for p in range(10)}


def test_videos_of_one_name_in_collections_and_compressions_stay_together(tmp_path: Path) -> None:
    write(
        tmp_path,
        *(f"real/{of}/vid{v}/{n}.png" for of in ("c23", "c40") for v in range(9) for n in (0, 1)),
        *(f"fake/{of}/vid1/{n}.png" for of in ("swap", "gan", "lips") for n in (0, 1)),
    )
    found = groups(tmp_path)
    assert all(group == video_of(name) for name, group in found.items())
    assert {record.method for record in datasets.read(tmp_path).records if record.label} == {"swap", "gan", "lips"}


def test_no_video_whose_frames_are_pictures_is_on_two_sides(tmp_path: Path) -> None:
    write(tmp_path, *(f"{kind}/v{v}/{n:03d}.png" for kind in ("real", "fake") for v in range(10) for n in range(3)))
    records = datasets.read(tmp_path).records
    split = make_split(records, ratio="60/20/20")
    assert len({record.group_id for record in records}) == 10
    assert all(len({split.sides[r.video_id] for r in records if f"/v{v}/" in r.name}) == 1 for v in range(10))


def test_pictures_that_stand_for_themselves_are_paired_by_name_below_a_method(tmp_path: Path) -> None:
    write(tmp_path, "real/a.jpg", "real/b.jpg", "fake/wav2lip/a.jpg", "fake/wav2lip/c.jpg", "fake/gan/part1/b.jpg")
    assert groups(tmp_path) == {
        "real/a.jpg": "a", "real/b.jpg": "b", "fake/wav2lip/a.jpg": "a", "fake/wav2lip/c.jpg": "c",
        "fake/gan/part1/b.jpg": "b",
    }  # fmt: skip
    assert {record.method for record in datasets.read(tmp_path).records if record.label} == {"wav2lip", "gan"}


def test_collections_are_no_videos(tmp_path: Path) -> None:
    write(tmp_path, *(f"real/{of}/{of}_{n}.png" for of in ("ffhq", "celeba") for n in range(4)), "fake/gan/ffhq_1.png")
    assert groups(tmp_path) == {
        **{f"real/{of}/{of}_{n}.png": f"{of}_{n}" for of in ("ffhq", "celeba") for n in range(4)},
        "fake/gan/ffhq_1.png": "ffhq_1",
    }


def test_a_stray_picture_makes_no_video_of_a_collection(tmp_path: Path) -> None:
    reals = [f"real/youtube/{v:03d}/{n}.png" for v in range(12) for n in (0, 1)]
    fakes = [f"fake/youtube/{v:03d}_{v + 1:03d}/{n}.png" for v in range(0, 12, 2) for n in (0, 1)]
    write(tmp_path / "without", *reals, *fakes)
    write(tmp_path / "with", *reals, *fakes, "real/youtube/cover.png")
    without, found = groups(tmp_path / "without"), groups(tmp_path / "with")
    assert {name: found[name] for name in fakes} == {name: without[name] for name in fakes}
    assert len({found[name] for name in fakes}) == 6


def test_people_in_a_folder_each_stay_together_whatever_their_pictures_are_called(tmp_path: Path) -> None:
    write(tmp_path, *(f"real/person{p}/{p}_{n}.png" for p in range(8) for n in range(2)), "fake/person3/swap.png")
    found = groups(tmp_path)
    assert set(found.values()) == {f"person{p}" for p in range(8)}
    assert found["fake/person3/swap.png"] == "person3"


def test_where_reals_lie_both_ways_a_pair_by_name_ties_its_folder(tmp_path: Path) -> None:
    write(
        tmp_path, "real/a.jpg", "real/v1/0.jpg", "real/v2/0.jpg", "fake/swap/a.jpg", "fake/swap/b.jpg", "fake/v1/0.jpg"
    )
    assert groups(tmp_path) == {
        "real/a.jpg": "a", "fake/swap/a.jpg": "a", "fake/swap/b.jpg": "a", "real/v1/0.jpg": "v1", "fake/v1/0.jpg": "v1",
        "real/v2/0.jpg": "v2",
    }  # fmt: skip


def test_very_many_folders_are_looked_at_once_each() -> None:
    places = [("a", f"v{i}") for i in range(30_000)] + [("b", f"v{i}") for i in range(30_000)]
    began = time.process_time()
    frames = Frames(Placed("0.png", below, label=0) for below in places)
    assert frames.group(Placed("0.png", ("b", "v7"), label=0)) == "v7"
    assert time.process_time() - began < 20, "0.5 s here; a pass over all of them for each takes minutes"
