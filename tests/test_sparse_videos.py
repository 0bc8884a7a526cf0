"""Videos sampled too thinly for a verdict are told of when they are prepared, and when a model learns from them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

import make_videos
from make_stores import Clip, split, store_of_clips, store_of_pictures
from telltale.cli import app
from telltale.sampling import SamplePlan
from telltale.store import Store, sparse


def clips(folder: Path, n_faces: list[int], *, filled: tuple[int, ...] = (), plan: SamplePlan | None = None) -> Store:
    made = [
        Clip([[2.0 * (i % 2) - 1] * n], fake=bool(i % 2), group=str(i), filled=filled) for i, n in enumerate(n_faces)
    ]
    return store_of_clips(folder, made, plan=asdict(plan or SamplePlan("uniform", 2)))


def test_the_typical_video_counts(tmp_path: Path) -> None:
    made = clips(tmp_path / "few.store", [2, 2, 2, 9])
    assert sparse([made]) == [
        f"The typical video of {made.path} shows a person in 2 sampled frames, and below 3 nothing is said about it: "
        "neither a model's figures nor a scan that samples alike will have it. Prepare it into another --out, sampled "
        "more densely than --frames 2."
    ]
    assert sparse([clips(tmp_path / "enough.store", [2, 3, 3, 9])]) == []


def test_faces_of_one_person_count_and_only_those_that_were_found(tmp_path: Path) -> None:
    filled = clips(tmp_path / "filled.store", [4, 4, 4], filled=(1, 2), plan=SamplePlan("every", 30))
    assert "in 2 sampled frames" in sparse([filled])[0]
    assert sparse([filled])[0].endswith("than --every 30.")
    two = store_of_clips(tmp_path / "two", [Clip([[1.0] * 2] * 2, fake=bool(i % 2), group=str(i)) for i in range(4)])
    assert sparse([two])[0].endswith("Prepare it into another --out, sampled more densely.")


def test_fewer_frames_by_max_frames_are_named_so(tmp_path: Path) -> None:
    made = clips(tmp_path / "s", [1] * 4, plan=SamplePlan("fps", 5, max_frames=1))
    assert sparse([made])[0].endswith("sampled more densely than --fps 5 --max-frames 1.")


def test_a_picture_is_enough_by_itself(tmp_path: Path) -> None:
    assert sparse([store_of_pictures(tmp_path / "s", [0.0, 1.0], [False, True])]) == []


@pytest.mark.parametrize(("frames", "is_said"), [(2, True), (4, False)])
def test_prepare_says_so(tmp_path: Path, frames: int, is_said: bool) -> None:
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        make_videos.face_clip(tmp_path / "data" / label / "0.mp4", seconds=1)
    command = ["prepare", str(tmp_path / "data"), "--out", str(tmp_path / "s.store"), "--frames", str(frames)]
    result = CliRunner().invoke(app, [*command, "--size", "64"])
    assert result.exit_code == 0, result.output
    assert ("more densely than --frames 2" in result.stderr) == is_said


def test_train_says_so(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="fits a model on pixels")
    pytest.importorskip("torch", reason="the command wants all that trains")
    made = clips(tmp_path / "few.store", [2] * 40)
    split(made)
    command = ["train", str(made.path), "--recipe", "logistic", "--set", "model.options.size_px=8"]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert "more densely than --frames 2" in result.stderr
