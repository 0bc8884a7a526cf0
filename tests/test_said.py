"""What a worker that was taken over says about a file ends that file's scan and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from make_bundles import make_redness
from sandbox_jobs import LIES
from telltale import Scanner
from telltale.runtime import Scorer
from telltale.sandbox import Worker

pytest.importorskip("onnx", reason="makes models with onnx")


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanner]:
    with Scanner(make_redness(tmp_path_factory.mktemp("models") / "redness")) as scanner:
        scanner._worker.close()
        scanner._worker = Worker(jobs={"extract": "sandbox_jobs:lie", "hash": "sandbox_jobs:lie"})
        yield scanner


def failure(scanner: Scanner, path: Path) -> str:
    path.write_bytes(b"clip")
    report = scanner.scan(path)
    report.model_dump_json()
    assert report.error is not None
    assert report.verdict.label == "failed"
    return report.error.code


@pytest.mark.parametrize("lie", LIES)
def test_what_makes_no_sense_is_a_crash_of_the_worker(scanner: Scanner, tmp_path: Path, lie: str) -> None:
    assert failure(scanner, tmp_path / f"{lie}.mp4") == "worker_crashed"


@pytest.mark.parametrize("code", ["stopped", "usage", "worker_not_started", "output_failed", "data", "no_such_code"])
def test_an_error_that_would_end_a_whole_run_is_not_believed(scanner: Scanner, tmp_path: Path, code: str) -> None:
    assert failure(scanner, tmp_path / f"says_{code}.mp4") == "worker_crashed"


def test_an_error_of_the_file_is_believed(scanner: Scanner, tmp_path: Path) -> None:
    assert failure(scanner, tmp_path / "says_no_frames.mp4") == "no_frames"


def test_a_fault_of_our_own_scoring_is_not_laid_at_the_worker_s_door(
    redness: Path, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("ours")

    with Scanner(redness) as scanner:
        monkeypatch.setattr(Scorer, "score", broken)
        with pytest.raises(KeyError, match="ours"):
            scanner.scan(face_clip)
