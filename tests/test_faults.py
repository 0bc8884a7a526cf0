"""Every bad input of `make_hostile` through the API, the command line and REST; rows that need more than a file.

One rule for all: an input ends in a verdict, an abstention or a refusal with a code; nothing is left behind.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

import make_hostile
import make_videos
from make_bundles import make_redness
from make_hostile import Bad
from telltale._source import open_regular
from telltale.cli import app
from telltale.errors import WorkerNotStarted
from telltale.sampling import SamplePlan
from telltale.scan import Scanner, ScanSettings
from telltale.types import Code, Report
from web_server import running

pytest.importorskip("onnx", reason="makes models with onnx")
TABLE = make_hostile.all_of_them()
VERDICTS = {"real", "fake", "uncertain"}
MEMORY_LIMIT = 1 << 30


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_hostile.write_all(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "redness"
    return make_redness(folder, size_px=64, sample=SamplePlan("fps", 2, at_least=4))


@pytest.fixture(scope="module")
def scanner(model: Path) -> Iterator[Scanner]:
    with Scanner(model, settings=ScanSettings(n_threads=1)) as scanner:
        yield scanner


def outcome(report: Report) -> str:
    return report.error.code if report.error is not None else report.verdict.label


def is_as_expected(bad: Bad, outcome: str) -> bool:
    if bad.expected == "verdict":
        return outcome in VERDICTS
    return outcome in VERDICTS | {"no_face"} if bad.expected == "answered" else outcome == bad.expected


def workers() -> set[int]:
    """Process ids of the workers that this process has."""
    return {child.pid for child in psutil.Process().children() if "telltale._child" in " ".join(child.cmdline())}


def test_there_are_enough_and_every_row_is_held() -> None:
    assert len(TABLE) >= 150
    assert sorted(make_hostile.ROWS) == list(range(1, 28))
    assert {bad.row for bad in TABLE} == {row for row, where in make_hostile.ROWS.items() if where.startswith("here")}
    here = Path(__file__).parent
    for where in make_hostile.ROWS.values():
        for word in where.replace(";", " ").replace(",", " ").split():
            file, _, name = word.partition(".")
            if file.startswith("test_"):
                found = list(here.rglob(f"{file}.py"))
                assert found, f"{word} names no test"
                assert name in found[0].read_text("utf-8"), f"{word} names no test"


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: f"{bad.row}-{ascii(bad.name)[1:40]}")
def test_through_the_api(scanner: Scanner, inputs: dict[str, Path], bad: Bad) -> None:
    report = scanner.scan(inputs[bad.name])
    assert is_as_expected(bad, outcome(report)), (outcome(report), report.error, report.verdict)
    assert set(bad.codes) <= set(report.verdict.codes)
    assert (report.verdict.p_fake is None) == (report.verdict.label in ("no_face", "failed"))


def test_through_the_command_line(inputs: dict[str, Path], model: Path, tmp_path: Path) -> None:
    """One run over all of them: each has its line, in the order given, and its row in the summary."""
    as_list = tmp_path / "list.txt"
    as_list.write_bytes(b"\n".join(os.fsencode(path) for path in inputs.values() if not path.is_dir()))
    folder = next(path for path in inputs.values() if path.is_dir())
    named = [bad for bad in TABLE if not inputs[bad.name].is_dir()]
    asked = ["scan", f"@{as_list}", "--model", str(model), "--json", "--jobs", "2", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 3
    assert "Traceback" not in result.stderr
    reports = [Report.model_validate_json(line) for line in result.stdout.splitlines()]
    wrong = [
        (bad.name, bad.expected, outcome(report))
        for bad, report in zip(named, reports, strict=True)
        if not is_as_expected(bad, outcome(report))
    ]
    assert not wrong
    assert len((tmp_path / "out" / "summary.csv").read_text("utf-8").splitlines()) == len(named) + 1
    assert CliRunner().invoke(app, ["scan", str(folder), "--model", str(model)]).exit_code == 2


def test_through_the_web(inputs: dict[str, Path], model: Path, tmp_path: Path) -> None:
    """Everything that can be uploaded, at once; the server goes on."""
    sent = [bad for bad in TABLE if bad.is_file]
    with running(tmp_path / "data", model, workers=2, queue_length=len(sent)) as server, server.client() as client:
        entries = [client.submit(inputs[bad.name], name=os.fsencode(bad.name).decode("latin-1")) for bad in sent]
        wrong = []
        for bad, entry in zip(sent, entries, strict=True):
            scan = client.wait(entry.id, wait_s=120)
            got = outcome(scan.report) if scan.report is not None else scan.state
            if not is_as_expected(bad, got):
                wrong.append((bad.name, bad.expected, got))
        assert not wrong
        assert client.is_ready()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_nothing_is_left_behind(model: Path, inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, no temporary file, nothing beside the inputs; and the worker's memory stays in its bounds."""
    before = {path.name for path in next(iter(inputs.values())).parent.iterdir()}
    temporary = next(iter(inputs.values())).parent.parent / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    running_before = workers()
    with Scanner(model) as scanner:
        for bad in TABLE[::8]:
            scanner.scan(inputs[bad.name])
        peak = scanner._worker.peak_memory_bytes
    assert peak <= MEMORY_LIMIT
    assert not list(temporary.iterdir())
    assert {path.name for path in next(iter(inputs.values())).parent.iterdir()} == before
    assert workers() <= running_before


def test_the_same_bytes_give_the_same_report(scanner: Scanner, face_clip: Path, tmp_path: Path) -> None:
    """Row 19: under another name, too."""
    copy = tmp_path / "another name.mkv"
    copy.write_bytes(face_clip.read_bytes())
    first, second = scanner.scan(face_clip), scanner.scan(copy)
    assert first.input.sha256 == second.input.sha256
    assert first.verdict == second.verdict
    assert first.tracks == second.tracks


def test_a_turned_clip_scores_as_the_upright_one(scanner: Scanner, inputs: dict[str, Path]) -> None:
    """Row 11."""
    scores = [scanner.scan(inputs[f"turned_{degrees}.mp4"]).verdict.p_fake for degrees in (0, 90, 180, 270)]
    assert scores == pytest.approx([scores[0]] * 4, abs=0.01)


def test_a_flood_of_frames_is_sampled(scanner: Scanner, tmp_path: Path) -> None:
    """Row 4: 20,000 tiny frames in a second's worth of bytes; what was looked at is bounded, and said."""
    grey = np.full((64, 64, 3), 128, np.uint8)
    path = make_videos.write_video(tmp_path / "flood.mp4", (grey for _ in range(20_000)), fps=25, options={"g": "9999"})
    report = scanner.scan(path)
    assert path.stat().st_size < 1_000_000
    assert report.verdict.label == "no_face"
    assert report.frames.analysed <= 600
    assert Code.CAPPED in report.verdict.codes
    assert any("1,600" in warning or "1600" in warning for warning in report.warnings), report.warnings


@pytest.mark.parametrize("side", [6000])
def test_a_decompression_bomb_stays_in_bounds(model: Path, tmp_path: Path, side: int) -> None:
    """Row 3: the largest picture that is let in, from a few kilobytes; and its memory."""
    path = tmp_path / "bomb.png"
    make_videos.write_picture(path, np.zeros((side, side, 3), np.uint8), format="PNG")
    with Scanner(model) as scanner:
        report = scanner.scan(path)
        assert scanner._worker.peak_memory_bytes <= MEMORY_LIMIT
    assert outcome(report) in ("no_face", "too_many_pixels")


def test_every_report_can_be_written_and_read_again(scanner: Scanner, inputs: dict[str, Path]) -> None:
    """Row 27: whatever a name or a header holds."""
    named = [bad for bad in TABLE if bad.row == 2]
    assert named
    for bad in named:
        report = scanner.scan(inputs[bad.name])
        line = report.model_dump_json()
        assert json.loads(line)["input"]["path"]
        assert Report.model_validate_json(line).verdict == report.verdict


def test_too_many_open_files_are_no_fault_of_the_file(face_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as poor:
        poor.setattr(os, "open", refused)
        with pytest.raises(WorkerNotStarted, match="ulimit"):
            open_regular(os.fspath(face_clip))
