"""Many files: in order, beside each other, and stopped."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import telltale
from make_bundles import make_redness
from telltale import Scanner
from telltale.cli import app
from telltale.errors import Stopped
from telltale.types import Report

pytest.importorskip("onnx", reason="makes models with onnx")


@pytest.fixture(scope="module")
def redness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_redness(tmp_path_factory.mktemp("models") / "redness")


def test_many_come_back_in_the_order_given(redness: Path, face_clip: Path, empty_clip: Path, portrait: Path) -> None:
    paths = [face_clip, empty_clip, portrait, empty_clip]
    one, two = (list(telltale.scan_many(paths, model=redness, jobs=jobs)) for jobs in (1, 2))
    assert [report.input.path for report in two] == [str(path) for path in paths]
    assert [report.verdict for report in one] == [report.verdict for report in two]


def test_scans_under_way_stop_when_nobody_wants_their_reports(
    redness: Path, portrait: Path, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, was_stopped = Scanner.scan, threading.Event()

    def held_up(self: Scanner, path: Path, *, stop: threading.Event, **options: Any) -> Report:
        if path == face_clip and stop.wait(60):
            was_stopped.set()
            raise Stopped("stopped on request")
        return scan(self, path, stop=stop, **options)

    monkeypatch.setattr(Scanner, "scan", held_up)
    reports = telltale.scan_many([portrait, face_clip], model=redness, jobs=2)
    assert next(reports).verdict.label != "failed"
    reports.close()  # type: ignore[attr-defined]
    assert was_stopped.is_set()


def test_many_are_taken_no_further_ahead_than_twice_the_jobs(redness: Path, portrait: Path) -> None:
    taken: list[int] = []

    def endless() -> Iterator[Path]:
        for number in itertools.count():
            taken.append(number)
            yield portrait

    reports = telltale.scan_many(endless(), model=redness, jobs=2)
    for n_given in range(1, 4):
        assert next(reports).error is None
        assert len(taken) <= n_given + 4
    reports.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_stop_when_asked_to(redness: Path, portrait: Path, face_clip: Path, jobs: int) -> None:
    stop = threading.Event()
    reports = telltale.scan_many([portrait, *[face_clip] * 9], model=redness, jobs=jobs, stop=stop)
    assert next(reports).error is None
    stop.set()
    with pytest.raises(Stopped):
        list(itertools.islice(reports, 5, None))


@pytest.fixture
def second_is_done(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once everything but the scan of `slow.mp4` is done, which lasts until it is stopped."""
    scan, done = Scanner.scan, threading.Event()

    def held_up(self: Scanner, path: str, *, stop: threading.Event, **options: Any) -> Report:
        if path == "slow.mp4":
            while not stop.is_set():
                time.sleep(0.02)
            raise Stopped("stopped on request")
        try:
            return scan(self, path, stop=stop, **options)
        finally:
            done.set()

    monkeypatch.setattr(Scanner, "scan", held_up)
    return done


def once(event: threading.Event, act: Callable[[], object]) -> None:
    """Do it a little after."""

    def wait() -> None:
        event.wait(60)
        time.sleep(0.2)
        act()

    threading.Thread(target=wait).start()


def test_what_is_done_behind_a_slow_file_is_not_lost_when_a_run_is_stopped(
    redness: Path, second_is_done: threading.Event
) -> None:
    stop = threading.Event()
    once(second_is_done, stop.set)
    reports = telltale.scan_many(["slow.mp4", "gone.mp4"], model=redness, jobs=2, stop=stop)
    assert next(reports).input.path == "gone.mp4"
    with pytest.raises(Stopped):
        next(reports)


def test_ctrl_c_during_a_slow_file_prints_and_writes_what_is_done_behind_it(
    redness: Path, second_is_done: threading.Event, tmp_path: Path
) -> None:
    once(second_is_done, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    options = ["--model", str(redness), "--jobs", "2", "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["scan", "slow.mp4", "gone.mp4", *options])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (130, "telltale: stopped")
    assert [json.loads(line)["input"]["path"] for line in result.stdout.splitlines()] == ["gone.mp4"]
    assert "gone.mp4" in (tmp_path / "out/summary.csv").read_text()
