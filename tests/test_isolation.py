"""What a decoder that was taken over cannot do, and that nothing which looks like a playlist makes anybody try.

Linux with Landlock and seccomp; elsewhere the tests skip and `telltale doctor` says what is missing.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import make_hostile
import make_videos
from make_bundles import make_redness
from sandbox_jobs import JOBS
from telltale import _confine, _grants
from telltale.errors import DeadlineExceeded, FileMissing, InputError
from telltale.sandbox import Powers, Worker, WorkerLimits
from telltale.video import open_video
from web_server import environment, free_port

DISGUISES = [bad for bad in make_hostile.all_of_them() if bad.row == 1 and bad.expected == "unsupported_container"]
ENOUGH_S = 60.0


@pytest.fixture(scope="module")
def in_force() -> dict[str, str]:
    with Worker() as worker:
        (message,) = worker.run("confined", {}, deadline_s=ENOUGH_S)
    return {key: str(value) for key, value in message.data.items()}


@pytest.fixture
def full(in_force: dict[str, str]) -> None:
    if in_force["seccomp"] != "on" or not in_force["landlock"].startswith("version"):
        pytest.skip(f"this system cannot confine fully: {in_force}")


def tried(powers: Powers, folder: Path) -> dict[str, str]:
    secret = folder / "secret.txt"
    secret.write_text("keep")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        args = {"name": str(secret), "folder": str(folder), "port": listener.getsockname()[1]}
        with Worker(WorkerLimits(powers=powers), jobs=JOBS) as worker:
            (message,) = worker.run("try_everything", args, deadline_s=ENOUGH_S)
    return dict(message.data)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_keys_in_the_environment_stay_with_the_parent(monkeypatch: pytest.MonkeyPatch, face_clip: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "bucket key")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    with Worker() as worker:
        messages = worker.run("hash", {"path": str(face_clip)}, deadline_s=ENOUGH_S)
        children = psutil.Process().children()
        told = [Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0") for child in children]
        messages.close()
    (mine,) = [names for names in told if b"LC_ALL=C.UTF-8" in names]
    assert not any(b"bucket key" in name for name in mine)


def test_every_system_says_what_it_can_hold(in_force: dict[str, str]) -> None:
    assert set(in_force) == {"resource_limits", "no_new_privileges", "capabilities", "landlock", "seccomp"}
    assert all(in_force.values())


@pytest.mark.usefixtures("full")
def test_a_decoder_that_was_taken_over_can_do_nothing(tmp_path: Path) -> None:
    found = tried(Powers(), tmp_path)
    allowed = {what for what, came in found.items() if came == "done"}
    assert allowed <= {"a file of its own in memory"}
    assert (tmp_path / "secret.txt").read_text() == "keep"
    assert (tmp_path / "secret.txt").stat().st_mtime > 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


@pytest.mark.usefixtures("full")
def test_a_worker_may_write_where_it_was_told_to_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "other.txt").write_text("keep")
    found = tried(Powers(may_write=(str(folder),)), folder)
    done = {what for what, came in found.items() if came == "done"}
    assert {"a file", "a new file", "a change", "a removal"} <= done
    assert not done & {"a connection", "another program", "a shell", "passwords", "a link", "the rights of a file"}
    assert not done & {"the parent's memory", "the parent's environment"}


@pytest.mark.usefixtures("full")
def test_the_folder_of_a_script_is_not_code(tmp_path: Path) -> None:
    """`python check.py` puts the folder of check.py into Python's path, and videos may lie there."""
    (tmp_path / "secret.txt").write_text("keep")
    script = tmp_path / "check.py"
    script.write_text(
        "import sys\n"
        f"sys.path.append({str(Path(__file__).parent)!r})\n"
        "from sandbox_jobs import JOBS\n"
        "from telltale.sandbox import Worker\n"
        "with Worker(jobs=JOBS) as worker:\n"
        "    list(worker.run('open_blindly', {'name': 'secret.txt'}, deadline_s=60))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert "PermissionError" in result.stderr


class FakeKernel:
    """Landlock that takes every rule and restricts nobody."""

    def syscall(self, call: int, attr: object, *_: object) -> int:
        if call != _confine._CREATE_RULESET:
            return 0
        return 7 if attr is None else os.open(os.devnull, os.O_RDONLY)


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is of Linux")
def test_a_folder_of_code_that_nobody_may_enter_keeps_no_worker_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    def allow(_libc: object, _ruleset: int, path: str, _rights: int) -> None:
        allowed.append(path)
        if path == "/locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)

    allowed: list[str] = []
    monkeypatch.setattr(_confine, "_allow", allow)
    kernel: Any = FakeKernel()
    assert _confine._landlock(kernel, Powers(), ["/locked", "/code"]) == "version 7"
    assert {"/locked", "/code", "/usr"} <= set(allowed)
    with pytest.raises(PermissionError):
        _confine._landlock(kernel, Powers(may_read=("/locked",)), [])


def test_the_file_of_a_job_is_the_one_that_was_looked_at(tmp_path: Path, face_clip: Path) -> None:
    """What is swapped for a pipe after the look is still the file."""
    with Worker() as worker:
        (message,) = worker.run("hash", {"path": os.path.relpath(face_clip)}, deadline_s=ENOUGH_S)
        assert message.data["size_bytes"] == face_clip.stat().st_size
        with pytest.raises(FileMissing):
            list(worker.run("hash", {"path": str(tmp_path / "nothing")}, deadline_s=ENOUGH_S))
        (message,) = worker.run("hash", {"path": str(face_clip)}, deadline_s=ENOUGH_S)


def test_descriptors_do_not_pile_up(face_clip: Path) -> None:
    fds = Path("/proc/self/fd")
    if not fds.exists():
        pytest.skip("needs /proc")
    with Worker(jobs=JOBS) as worker:
        list(worker.run("read_all", {"path": str(face_clip)}, deadline_s=ENOUGH_S))
        before = len(list(fds.iterdir()))
        for _ in range(20):
            list(worker.run("read_all", {"path": str(face_clip)}, deadline_s=ENOUGH_S))
        assert len(list(fds.iterdir())) == before
        (child,) = [c for c in _children() if "telltale._child" in c]
        pid = int(child.split()[0])
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 40


def _children() -> list[str]:
    return [f"{child.pid} {' '.join(child.cmdline())}" for child in psutil.Process().children()]


def test_in_the_same_process_nothing_else_is_opened_either(tmp_path: Path) -> None:
    """`read_frames` without a worker: FFmpeg is given a descriptor and no protocol that opens names."""
    for bad in DISGUISES:
        bad.make(tmp_path / bad.name)
        with pytest.raises(InputError), open_video(tmp_path / bad.name):
            pass


class Trace:
    """strace around a program; what it connected to and what it opened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "trace.txt"

    def command(self) -> list[str]:
        calls = "connect,sendto,sendmsg,open,openat,openat2"
        return ["strace", "-f", "-qq", "-s", "300", "-e", f"trace={calls}", "-o", str(self.path)]

    def connections(self) -> list[str]:
        text = self.path.read_text("utf-8", "replace")
        return [line for line in text.splitlines() if "AF_INET" in line]

    def opened(self, folder: Path) -> set[str]:
        """Names in `folder` that were opened with success."""
        text = self.path.read_text("utf-8", "replace")
        found = re.findall(r'open(?:at2?)?\((?:[^"]*)"([^"]+)"[^\n]*\) = \d+', text)
        return {os.path.relpath(name, folder) for name in found if name.startswith(f"{folder}/")}

    def foreign(self) -> set[str]:
        """Files that the disguises name."""
        text = self.path.read_text("utf-8", "replace")
        return set(re.findall(r'"((?:/etc/hostname|[^"]*neighbour)[^"]*)"[^\n]*\) = \d+', text))


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Listener]]:
    """A folder of disguises beside a neighbour, a small model, and somebody who listens."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    pytest.importorskip("onnx", reason="makes models with onnx")
    folder = tmp_path_factory.mktemp("disguised")
    clips = folder / "clips"
    clips.mkdir()
    listener = Listener()
    make_videos.face_clip(clips / "neighbour.mp4", seconds=0.2)
    for bad in DISGUISES:
        bad.make(clips / bad.name)
        content = (clips / bad.name).read_bytes()
        (clips / bad.name).write_bytes(content.replace(b"127.0.0.1:9/", f"127.0.0.1:{listener.port}/".encode()))
    yield clips, make_redness(folder / "redness", size_px=64), listener
    listener.close()


class Listener:
    """Counts who comes."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.n_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                self.n_connections += 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def expect_nothing(trace: Trace, clips: Path, listener: Listener) -> None:
    assert trace.connections() == []
    assert trace.foreign() == set()
    assert trace.opened(clips) <= {bad.name for bad in DISGUISES}
    assert listener.n_connections == 0


def run_traced(trace: Trace, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*trace.command(), *command], env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


def test_disguises_given_to_the_api(traced: tuple[Path, Path, Listener], tmp_path: Path) -> None:
    clips, model, listener = traced
    trace = Trace(tmp_path)
    paths = [str(clips / bad.name) for bad in DISGUISES]
    script = (
        "import sys, telltale\n"
        f"for report in telltale.scan_many({paths!r}, model={str(model)!r}):\n"
        "    print(report.error.code)\n"
    )
    result = run_traced(trace, sys.executable, "-c", script)
    assert result.stdout.split() == ["unsupported_container"] * len(DISGUISES), result.stderr
    expect_nothing(trace, clips, listener)
    assert trace.opened(clips) == {bad.name for bad in DISGUISES}


def test_disguises_given_to_the_command_line(traced: tuple[Path, Path, Listener], tmp_path: Path) -> None:
    clips, model, listener = traced
    trace = Trace(tmp_path)
    paths = [str(clips / bad.name) for bad in DISGUISES]
    result = run_traced(trace, sys.executable, "-m", "telltale", "scan", *paths, "--model", str(model), "--json")
    assert result.stdout.count('"code": "unsupported_container"') == len(DISGUISES), result.stderr
    expect_nothing(trace, clips, listener)


def test_disguises_given_to_the_server(traced: tuple[Path, Path, Listener], tmp_path: Path) -> None:
    from telltale.web.client import Client

    clips, model, listener = traced
    trace, port = Trace(tmp_path), free_port()
    served = [sys.executable, "-m", "telltale", "serve", "--data", str(tmp_path / "data"), "--model", str(model)]
    server = subprocess.Popen([*trace.command(), *served, "--port", str(port)], env=environment())
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            while not client.is_ready():
                assert server.poll() is None
            entries = [client.submit(clips / bad.name) for bad in DISGUISES]
            ended = [client.wait(entry.id, wait_s=120) for entry in entries]
    finally:
        for process in psutil.Process(server.pid).children():  # strace itself would not end
            process.terminate()
        server.wait(60)
    assert {scan.error.code for scan in ended if scan.error is not None} == {"unsupported_container"}
    to_clients_and_resolver = ("sendto", "sendmsg", "htons(53)")
    assert not [line for line in trace.connections() if not any(word in line for word in to_clients_and_resolver)]
    assert trace.foreign() == set()
    assert trace.opened(clips) == set()
    assert listener.n_connections == 0


@pytest.mark.skipif(not _grants.IS_USED, reason="files are handed over on Linux alone")
def test_a_file_that_opens_too_late_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")
    go = threading.Event()
    opened_late: list[int] = []

    def slow(name: str) -> tuple[int, int]:
        go.wait(30)
        opened_late.append(os.open(name, os.O_RDONLY))
        return opened_late[0], 1

    monkeypatch.setattr("telltale._source.open_regular", slow)
    with pytest.raises(DeadlineExceeded, match="could not be opened"):
        _grants.opened([str(path)], timeout_s=0.01)
    (late,) = (thread for thread in threading.enumerate() if thread.name == "telltale-open")
    go.set()
    late.join(30)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened_late[0])
