"""Rows 20 to 22 for `scan`: a full disk, a read-only one, kill -9, a file that takes all memory. Stores: test_store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import make_videos
from make_bundles import make_redness
from telltale.sandbox import Worker, WorkerLimits
from telltale.scan import Scanner
from web_server import environment

pytest.importorskip("onnx", reason="makes models with onnx")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_redness(tmp_path_factory.mktemp("model") / "redness", size_px=64)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB; unmounted afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.name != "posix" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def scan(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "telltale", "scan", *args]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_a_disk_that_is_full_or_read_only_is_named_and_what_is_there_is_whole(
    disk: Path, model: Path, portrait: Path
) -> None:
    (disk / "ballast").write_bytes(bytes(60_000))
    full = scan(str(portrait), "--model", str(model), "--out", str(disk / "out"))
    assert full.returncode == 2
    assert "output_failed" in full.stderr
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["ballast"]
    remount(disk, "size=8m")
    again = scan(str(portrait), "--model", str(model), "--out", str(disk / "out"))
    assert again.returncode == 0
    assert (disk / "out" / "index.html").is_file()
    remount(disk, "ro")
    closed = scan(str(portrait), "--model", str(model), "--out", str(disk / "other"))
    assert closed.returncode == 2
    assert "Read-only file system" in closed.stderr


def test_a_killed_scan_leaves_no_process_and_no_part_of_a_file(tmp_path: Path, model: Path) -> None:
    clip = make_videos.face_clip(tmp_path / "long.mp4", seconds=20)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "telltale", "scan", str(clip), "--model", str(model), "--all-frames"]
    process = subprocess.Popen([*command, "--out", str(out)], env=environment(), stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    while not children:
        assert process.poll() is None
        children = psutil.Process(process.pid).children()
        time.sleep(0.02)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert gone
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".part" or path.name.startswith(".telltale")]
    assert scan(str(clip), "--model", str(model), "--first", "3", "--out", str(out)).returncode == 0


def test_a_file_that_takes_all_memory_fails_by_name_and_the_next_one_is_scanned(
    tmp_path: Path, model: Path, portrait: Path
) -> None:
    """Row 22."""
    large = make_videos.write_picture(tmp_path / "large.png", np.zeros((5900, 5900, 3), np.uint8), format="PNG")
    with Scanner(model) as scanner:
        scanner._worker.close()
        scanner._worker = Worker(WorkerLimits(memory_bytes=220 << 20))
        failed, fine = scanner.scan(large), scanner.scan(portrait)
    assert failed.error is not None
    assert failed.error.code == "out_of_memory"
    assert fine.error is None
    assert len(fine.tracks) == 1
