"""A model that judges the middle of whole frames: nowhere is it said that a face was found."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import make_videos
import telltale
from make_bundles import make_redness
from telltale import SamplePlan, ScanSettings
from telltale._report_index import summarise
from telltale._report_words import NO_FACE_SOUGHT, lede
from telltale.cli import app
from telltale.crops import CropSpec
from telltale.report import to_html
from telltale.types import Code

pytest.importorskip("onnx", reason="makes models with onnx")

CROP = CropSpec(kind="centre_square", size_px=64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "whole"
    return make_redness(folder, size_px=64, crop=CROP, sample=SamplePlan("first", 26))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos.face_clip(tmp_path_factory.mktemp("clips") / "long.mp4", seconds=6)


def test_a_report_says_that_no_face_was_looked_for(model: Path, clip: Path) -> None:
    report = telltale.scan(clip, model=model, settings=ScanSettings(pictures=True))
    assert report.verdict.reasons[0].startswith("The middle of the frame scores ")
    assert report.verdict.reasons[0].endswith(NO_FACE_SOUGHT)
    assert lede(report).startswith("The middle of the frame ")
    one = summarise(report)
    assert (one.n_people, one.n_faces) == (0, 0)
    page = to_html(report)
    assert "pixels large" not in page
    assert "One person" not in page
    assert "People followed" not in page
    assert "the middle of the frame, as the model sees it" in page


def test_a_plan_of_the_card_that_ends_early_is_said(model: Path, clip: Path) -> None:
    report = telltale.scan(clip, model=model)
    assert Code.BEGINNING_ONLY in report.verdict.codes
    assert report.verdict.reasons[1].startswith("Only the first 1.0 of 6.0 s were looked at")


def test_the_card_says_what_is_looked_at_and_which_frames(model: Path, tmp_path: Path) -> None:
    def shown(folder: Path) -> str:
        return " ".join(CliRunner().invoke(app, ["models", "show", str(folder)]).stdout.split())

    told = shown(model)
    assert "looks at the middle of 1 frame(s), at 64 px: no face is looked for" in told
    assert "detector" not in told
    assert "samples first 26 (the beginning only)" in told
    faces = make_redness(tmp_path / "faces", sample=SamplePlan("fps", 5, seconds=5, max_frames=20))
    assert "samples fps 5, the first 20 of these only, the first 5 s only" in shown(faces)
    assert "detector mtcnn" in shown(faces)


def test_prepare_says_that_no_face_was_looked_for(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "real").mkdir(parents=True)
    (tmp_path / "set" / "real" / "a.mp4").write_bytes(clip.read_bytes())
    command = ["prepare", str(tmp_path / "set"), "--out", str(tmp_path / "s"), "--crop", "centre_square"]
    done = CliRunner().invoke(app, [*command, "--first", "4"])
    assert done.exit_code == 0, done.output
    assert "frames kept" in done.stdout
    assert "with a face" not in done.output
    assert "no face was looked for" in done.output
