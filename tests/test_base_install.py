"""The base install alone turns the example clips into reports; `make test-base` runs this where PyTorch is absent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOT_IN_BASE = ("torch", "torchvision", "timm", "lightning", "sklearn", "matplotlib", "skimage", "onnx", "captum")


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """The three examples, scanned by the command line with every optional library out of reach."""
    out = tmp_path_factory.mktemp("report")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({NOT_IN_BASE!r}))
from telltale.cli import main
main(["scan", "--json", "--out", {str(out)!r}, {str(EXAMPLES)!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], out


def test_every_example_gets_an_answer(scanned: tuple[list[dict[str, Any]], Path]) -> None:
    reports, _ = scanned
    names = [Path(report["input"]["path"]).name for report in reports]
    assert names == ["astronaut.mp4", "astronaut_selfblended.mp4", "no_face.mp4"]
    assert [report["verdict"]["label"] == "no_face" for report in reports] == [False, False, True]
    assert all(report["error"] is None for report in reports)


def test_the_portrait_is_one_person_on_every_frame(scanned: tuple[list[dict[str, Any]], Path]) -> None:
    reports, _ = scanned
    for report in reports[:2]:
        (track,) = report["tracks"]
        assert len(track["faces"]) >= 0.9 * report["frames"]["analysed"]
        assert 0 < track["p_fake"] < 1


def test_each_has_a_page(scanned: tuple[list[dict[str, Any]], Path]) -> None:
    _, out = scanned
    assert len(list(out.glob("*/report.html"))) == 3
    assert (out / "index.html").is_file()
    assert (out / "summary.csv").is_file()


def test_real_clips_are_read_and_their_people_followed(shared: Path) -> None:
    clips = sorted((shared / "videos" / "labelled").glob("*.mp4"))
    done = subprocess.run(
        [sys.executable, "-m", "telltale", "scan", "--json", *map(str, clips)], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["input"]["path"] for report in reports] == [str(clip) for clip in clips]
    for report in reports:
        assert max(len(track["faces"]) for track in report["tracks"]) > 0.5 * report["frames"]["analysed"]
