"""A run that was killed, or whose disk refused: gone on with, it ends as if nothing had been."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from make_outcomes import hashes, make
from telltale import store
from telltale.errors import OutputError
from telltale.store import open_store
from telltale.types import VideoRecord


class Killed(BaseException):
    """The process is gone: nothing after it happens either."""


@contextmanager
def killed_at(moment: int) -> Iterator[Callable[[], bool]]:
    """The `moment`-th change to the disk does not happen, nor any after it. Gives whether it came to that."""
    n_changes = 0

    def guard(change: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            nonlocal n_changes
            n_changes += 1
            if n_changes >= moment:
                raise Killed
            return change(*args, **kwargs)

        return guarded

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (os, "rmdir"), (os, "unlink")):
            patch.setattr(owner, name, guard(getattr(owner, name)))
        yield lambda: n_changes >= moment


def test_killed_at_any_change_to_the_disk_and_run_again_it_is_as_if_nothing_had_been(
    tmp_path: Path, videos: list[VideoRecord]
) -> None:
    records = videos[:3]
    expected = hashes(make(tmp_path / "quiet.store", records).path)
    out = tmp_path / "killed.store"
    moment, came = 0, True
    while came:
        moment += 1
        with killed_at(moment) as came_to_it:
            with suppress(Killed):
                make(out, records)
            came = came_to_it()
        if moment % 3 == 0:
            with killed_at(5 + moment % 7), suppress(Killed):  # and once more, while it recovers
                make(out, records)
        make(out, records)
        assert hashes(out) == expected, moment
        shutil.rmtree(out)
    assert moment > 20


def test_killed_while_it_grows_the_old_store_stays_or_the_new_one_is_there(
    tmp_path: Path, videos: list[VideoRecord]
) -> None:
    old, new = videos[:3], videos[1:5]
    expected = hashes(make(tmp_path / "quiet.store", new).path)
    out = tmp_path / "killed.store"
    moment, came = 0, True
    while came:
        moment += 3
        make(out, old)
        with killed_at(moment) as came_to_it:
            with suppress(Killed):
                make(out, new)
            came = came_to_it()
        assert len(open_store(out)) in (15, 20)
        open_store(out).table([*store.COLUMNS, "image"])
        make(out, new)
        assert hashes(out) == expected, moment
        shutil.rmtree(out)


_PREPARE = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from make_outcomes import video, make
make(Path(sys.argv[1]) / "killed.store", [video(Path(sys.argv[1]) / "set", n) for n in range(20)])
"""


@pytest.mark.slow
def test_kill_9_at_seeded_moments_and_resumed_the_hashes_are_the_same(tmp_path: Path) -> None:
    """Real processes: the clock decides where each dies, so only what must hold anywhere is asked."""
    command = [sys.executable, "-c", _PREPARE, str(tmp_path), str(Path(__file__).parents[1])]
    subprocess.run(command, check=True)
    out = tmp_path / "killed.store"
    expected = hashes(out)
    rng = random.Random(0)
    started = time.monotonic()
    shutil.rmtree(out)
    subprocess.run(command, check=True)
    whole_s = time.monotonic() - started
    for _ in range(4):
        shutil.rmtree(out)
        process = subprocess.Popen(command)
        time.sleep(whole_s * rng.uniform(0.5, 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run(command, check=True)
        assert hashes(out) == expected


@contextmanager
def disk_error_at(moment: int, code: int) -> Iterator[None]:
    """From the `moment`-th fsync on, the disk refuses."""
    n_calls, real = 0, os.fsync

    def refuse(fd: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls >= moment:
            raise OSError(code, os.strerror(code))
        real(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        yield


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("moment", [1, 4, 5, 6, 7, 8, 9])
def test_a_disk_that_refuses_is_a_clear_error_and_leaves_nothing_half_written(
    tmp_path: Path, videos: list[VideoRecord], moment: int, code: int
) -> None:
    out = tmp_path / "s"
    with disk_error_at(moment, code), pytest.raises(OutputError, match=f"{os.strerror(code)}.*free some space"):
        make(out, videos[:4])
    assert not list(tmp_path.rglob(".telltale-*"))
    make(out, videos[:4]).verify()
    assert hashes(out) == hashes(make(tmp_path / "quiet", videos[:4]).path)


def test_a_full_disk_is_told_and_the_run_goes_on_when_it_is_freed(tmp_path: Path, videos: list[VideoRecord]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.name != "posix"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True
        ).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(120_000))
        with pytest.raises(OutputError, match="No space left on device"):
            make(disk / "s", videos)
        assert not list(disk.rglob(".telltale-*"))
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert hashes(make(disk / "s", videos).path) == hashes(make(tmp_path / "quiet", videos).path)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OutputError, match="Read-only file system"):
            make(disk / "t", videos)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_output_that_is_a_file_is_told(tmp_path: Path, videos: list[VideoRecord]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"(File exists|Not a directory).*choose another"):
        make(tmp_path / "file", videos)
