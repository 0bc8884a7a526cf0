"""The worker process: what crosses, what is stopped, what is left behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sandbox_jobs import JOBS
from telltale import sandbox
from telltale._process import Child
from telltale._wire import Message
from telltale.errors import (
    CorruptFile,
    DeadlineExceeded,
    NotAFile,
    OutOfMemory,
    Stopped,
    UsageError,
    WorkerCrashed,
    WorkerNotStarted,
)
from telltale.sandbox import Powers, Worker, WorkerLimits, start_early

ENOUGH_S = 60.0
"""A deadline that no job here is meant to reach, however busy the machine."""
MEBI = 1 << 20

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker(jobs=JOBS) as worker:
        yield worker


def answers(worker: Worker, job: str, *, deadline_s: float = ENOUGH_S, **args: Any) -> list[Message]:
    return list(worker.run(job, args, deadline_s=deadline_s))


def pid_of(worker: Worker) -> int:
    (message,) = answers(worker, "pid")
    return int(message.data["pid"])


def is_running(pid: int) -> bool:
    """Gone, or a zombie that waits to be collected: both have ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def ends_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not is_running(pid):
            return True
        time.sleep(0.02)
    return False


def test_a_job_answers_with_json_and_arrays(worker: Worker) -> None:
    dtypes = ["uint8", "bool", "int32", "int64", "float32", "float64"]
    (message,) = answers(worker, "echo", dtypes=dtypes, text="ä\udcff", number=1.5, nothing=None)
    assert message.kind == "echo"
    assert message.data == {"dtypes": dtypes, "text": "ä\udcff", "number": 1.5, "nothing": None}
    for name in dtypes:
        np.testing.assert_array_equal(message.arrays[name], np.arange(6).astype(name).reshape(2, 3))
        assert message.arrays[name].dtype == name


def test_one_child_serves_job_after_job(worker: Worker) -> None:
    assert pid_of(worker) == pid_of(worker)


def test_a_bad_file_does_not_cost_the_child(worker: Worker) -> None:
    before = pid_of(worker)
    with pytest.raises(CorruptFile, match="broken here"):
        answers(worker, "raise_known", message="broken here")
    assert pid_of(worker) == before


def test_a_run_that_nobody_listens_to_is_asked_and_ends_with_its_generator(worker: Worker) -> None:
    before = pid_of(worker)
    worker.run("echo", {"dtypes": [], "text": "", "number": 1, "nothing": None}, deadline_s=60).close()
    assert ends_within(before, 5)
    assert pid_of(worker) != before


def test_an_unknown_error_becomes_worker_crashed_with_its_type_and_no_traceback(
    worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WorkerCrashed, match=r"^ZeroDivisionError: division of labour \(sandbox_jobs.py:\d+\)$"):
        answers(worker, "raise_unknown")
    assert pid_of(worker)
    assert capfd.readouterr() == ("", "")


def test_a_job_that_cannot_be_imported_is_named(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed, match="No module named 'no_such_module'"):
        answers(worker, "not_importable")


def test_only_jobs_of_the_table_run(worker: Worker) -> None:
    with pytest.raises(UsageError, match="no job is called"):
        worker.run("os:system", {"command": "id"}, deadline_s=1)


@pytest.mark.parametrize("job", ["sleep", "sleep_in_c"])
def test_a_job_is_killed_at_its_deadline_even_when_stuck_in_c(worker: Worker, job: str) -> None:
    pid_of(worker)  # the start is not what is measured
    run = worker.run(job, {"seconds": 3600}, deadline_s=1.0)
    start = time.monotonic()
    pid = next(run).data["pid"]
    with pytest.raises(DeadlineExceeded, match="1 s"):
        next(run)
    assert 0.9 < time.monotonic() - start < 1.0 + 2.0
    assert not is_running(pid)
    assert pid_of(worker) != pid


def test_the_deadline_holds_while_nobody_listens(worker: Worker) -> None:
    pid_of(worker)
    run = worker.run("sleep_in_c", {"seconds": 3600}, deadline_s=0.5)
    pid = next(run).data["pid"]
    assert ends_within(pid, 0.5 + 2.0)
    with pytest.raises(DeadlineExceeded):
        next(run)


def test_a_deadline_can_be_extended_from_within(worker: Worker) -> None:
    pid_of(worker)
    run = worker.run("sleep", {"seconds": 1.5}, deadline_s=1.0)
    next(run)
    worker.extend(ENOUGH_S)
    assert list(run) == []


def test_another_thread_can_stop_a_job(worker: Worker) -> None:
    stop = threading.Event()
    run = worker.run("sleep_in_c", {"seconds": 3600}, deadline_s=ENOUGH_S, stop=stop)
    pid = next(run).data["pid"]
    stop.set()
    with pytest.raises(Stopped):
        next(run)
    assert not is_running(pid)


def test_another_thread_can_close_a_worker_at_work(worker: Worker) -> None:
    """As when a run is broken off: nothing is said of the file."""
    run = worker.run("sleep_in_c", {"seconds": 3600}, deadline_s=ENOUGH_S)
    pid = next(run).data["pid"]
    closing = threading.Thread(target=worker.close)
    closing.start()
    with pytest.raises(Stopped):
        next(run)
    closing.join()
    assert not is_running(pid)


def test_what_was_said_before_the_deadline_is_heard_after_it(worker: Worker) -> None:
    heard = []
    for message in worker.run("count", {"n": 20}, deadline_s=2.0):
        heard.append(message.data["i"])
        if len(heard) == 1:
            time.sleep(2.5)
    assert heard == list(range(20))


@needs_proc
def test_a_job_that_grows_is_stopped_at_its_memory() -> None:
    with Worker(WorkerLimits(memory_bytes=300 * MEBI), jobs=JOBS) as worker:
        with pytest.raises(OutOfMemory, match="300 MiB"):
            answers(worker, "eat_memory", step_bytes=4 * MEBI)
        assert worker.peak_memory_bytes < 1.5 * 300 * MEBI
        assert pid_of(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts everything only on Linux")
def test_what_is_asked_for_at_once_is_refused_at_once(worker: Worker) -> None:
    with pytest.raises(OutOfMemory):
        answers(worker, "eat_memory_at_once", n_bytes=64 << 30)
    assert pid_of(worker)


def test_a_crash_names_its_signal(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed, match="SIGABRT"):
        answers(worker, "abort")
    assert pid_of(worker)


def test_a_child_that_leaves_is_quoted(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed, match=r"status 7 \(so long\)"):
        answers(worker, "leave")


def test_a_child_that_was_killed_between_jobs_is_replaced(worker: Worker) -> None:
    pid = pid_of(worker)
    os.kill(pid, signal.SIGKILL)
    assert ends_within(pid, 5)
    assert pid_of(worker) != pid


def test_a_deadline_that_passes_while_the_end_is_not_yet_heard_costs_the_next_job_nothing(worker: Worker) -> None:
    for _ in worker.run("count", {"n": 1}, deadline_s=1.0):
        time.sleep(1.2)
    assert pid_of(worker)


def test_a_process_that_cannot_be_started_is_named_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    n_open = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else None
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere/python")
        worker = Worker(jobs=JOBS)
        with pytest.raises(WorkerNotStarted, match="/nowhere/python"):
            pid_of(worker)
    if n_open is not None:
        assert len(list(Path("/proc/self/fd").iterdir())) == n_open
    with worker:
        assert pid_of(worker)


@pytest.mark.parametrize("name", ["telltale-listen", "telltale-drain"])
def test_a_machine_without_a_thread_to_spare_starts_no_child_either(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start, children = threading.Thread.start, []
    popen = subprocess.Popen

    def start_another(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    def noted(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        children.append(popen(*args, **options))
        return children[-1]

    monkeypatch.setattr(threading.Thread, "start", start_another)
    monkeypatch.setattr(subprocess, "Popen", noted)
    with Worker(jobs=JOBS) as worker, pytest.raises(WorkerNotStarted, match="can't start new thread"):
        pid_of(worker)
    (child,) = children
    assert child.returncode is not None, "it was waited for"


def test_what_a_job_prints_reaches_neither_the_wire_nor_the_user(
    worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    assert [message.kind for message in answers(worker, "print_much")] == ["printed"]
    assert capfd.readouterr() == ("", "")


def test_a_job_finds_nothing_on_standard_input(worker: Worker) -> None:
    (message,) = answers(worker, "standard_input")
    assert message.data == {"text": ""}


def test_a_child_that_talks_nonsense_is_killed(worker: Worker) -> None:
    with pytest.raises(WorkerCrashed):
        answers(worker, "talk_nonsense")
    assert pid_of(worker)


def test_a_run_that_is_abandoned_leaves_a_worker_that_works(worker: Worker) -> None:
    run = worker.run("count", {"n": 10_000, "n_bytes": 100_000}, deadline_s=ENOUGH_S)
    next(run)
    run.close()
    assert [message.data["i"] for message in answers(worker, "count", n=3)] == [0, 1, 2]


def test_a_slow_listener_loses_nothing(worker: Worker) -> None:
    received = []
    for message in worker.run("count", {"n": 200, "n_bytes": 50_000}, deadline_s=ENOUGH_S):
        if message.data["i"] % 50 == 0:
            time.sleep(0.05)
        assert (message.arrays["payload"] == message.data["i"] % 256).all()
        received.append(message.data["i"])
    assert received == list(range(200))


def test_a_child_that_is_not_listened_to_does_not_fill_the_parents_memory(worker: Worker) -> None:
    messages = worker.run("count", {"n": 40, "n_bytes": 16 << 20}, deadline_s=ENOUGH_S)
    next(messages)
    before = psutil.Process().memory_info().rss
    time.sleep(1.0)
    assert psutil.Process().memory_info().rss - before < 128 << 20
    assert sum(1 for _ in messages) == 39


def test_a_worker_does_one_job_at_a_time(worker: Worker) -> None:
    run = worker.run("count", {"n": 5}, deadline_s=ENOUGH_S)
    next(run)
    with pytest.raises(UsageError, match="already at work"):
        worker.run("pid", {}, deadline_s=ENOUGH_S)
    assert len(list(run)) == 4


def test_relative_paths_begin_where_the_caller_is(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_of(worker)
    monkeypatch.chdir(tmp_path)
    (message,) = answers(worker, "folder")
    assert message.data["folder"] == str(tmp_path.resolve())


def test_a_module_beside_the_video_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken over')", "utf-8")
    monkeypatch.chdir(tmp_path)
    with Worker(jobs=JOBS) as worker:
        assert pid_of(worker)


def test_a_warmed_worker_works_as_any_other(worker: Worker) -> None:
    worker.warm("pid")
    worker.warm("not_importable")
    assert pid_of(worker)


def test_a_child_started_early_is_the_next_usual_workers(face_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def counted(*args: Any, **limits: Any) -> Child:
        started.append(limits["memory_bytes"])
        return Child(*args, **limits)

    monkeypatch.setattr(sandbox, "Child", counted)
    monkeypatch.setattr(sandbox, "_early", [])
    usual, small = WorkerLimits().memory_bytes, 512 * MEBI
    start_early("hash")
    start_early("hash")  # one is enough
    with Worker(WorkerLimits(memory_bytes=small)) as limited, Worker() as first, Worker() as second:
        for worker in (limited, first, second):
            (said,) = worker.run("hash", {"path": str(face_clip)}, deadline_s=ENOUGH_S)
            assert said.data["sha256"] == hashlib.sha256(face_clip.read_bytes()).hexdigest()
    assert started == [usual, small, usual]


def test_a_closed_worker_is_closed(worker: Worker) -> None:
    pid = pid_of(worker)
    worker.close()
    assert not is_running(pid)
    with pytest.raises(Stopped):  # which nobody records: it says nothing about the file
        worker.run("pid", {}, deadline_s=1)


def test_a_job_that_nobody_wants_any_more_is_not_begun(worker: Worker) -> None:
    pid, stop = pid_of(worker), threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        worker.run("pid", {}, deadline_s=ENOUGH_S, stop=stop)
    assert pid_of(worker) == pid


@pytest.mark.parametrize("deadline_s", [1e10, float("inf")])
def test_a_deadline_may_be_further_off_than_a_wait_can_be(face_clip: Path, deadline_s: float) -> None:
    with Worker() as worker:
        assert answers(worker, "hash", deadline_s=deadline_s, path=str(face_clip))


def test_a_worker_that_is_forgotten_takes_its_child_with_it() -> None:
    worker = Worker(jobs=JOBS)
    pid = pid_of(worker)
    del worker
    assert ends_within(pid, 5)


@pytest.mark.parametrize("job", ["sleep", "sleep_in_c"])
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, job: str) -> None:
    if job == "sleep_in_c" and sys.platform != "linux":
        pytest.skip("only Linux tells a process of its parent's death")
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, threading\n"
        "from sandbox_jobs import JOBS\n"
        "from telltale.sandbox import Worker\n"
        "def work():\n"  # not in the main thread: PR_SET_PDEATHSIG is about the thread that starts a child
        f"    run = Worker(jobs=JOBS).run({job!r}, {{'seconds': 3600}}, deadline_s=3600)\n"
        "    print(next(run).data['pid'], flush=True)\n"
        "    next(run)\n"
        "threading.Thread(target=work).start()\n",
        "utf-8",
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        parent.wait()
        assert ends_within(pid, 5)
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()


def test_a_child_works_on_where_the_main_thread_has_ended(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import threading, time\n"
        "from sandbox_jobs import JOBS\n"
        "from telltale.sandbox import Worker\n"
        "def work():\n"
        "    with Worker(jobs=JOBS) as first, Worker(jobs=JOBS) as second:\n"
        "        (said,) = first.run('pid', {}, deadline_s=60)\n"
        "        threading.main_thread().join()\n"
        "        time.sleep(.3)\n"  # the end of a thread takes its children with it at once
        "        (again,) = first.run('pid', {}, deadline_s=60)\n"
        "        (other,) = second.run('pid', {}, deadline_s=60)\n"  # and new ones can be started
        "        print(said.data == again.data != other.data)\n"
        "threading.Thread(target=work).start()\n",
        "utf-8",
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=120)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


def test_a_child_outlives_the_thread_that_asked_for_it(worker: Worker) -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(pid_of(worker)))
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert pid_of(worker) == found[0]


def test_a_script_without_a_main_guard_can_use_a_worker(tmp_path: Path) -> None:
    script = tmp_path / "no_guard.py"
    script.write_text(
        "from sandbox_jobs import JOBS\n"
        "from telltale.sandbox import Worker\n"
        "with Worker(jobs=JOBS) as worker:\n"
        "    print(len(list(worker.run('count', {'n': 3}, deadline_s=60))))\n",
        "utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("3\n", "", 0)


def test_what_cannot_be_read_can_still_be_identified(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    with Worker() as worker:
        (message,) = answers(worker, "hash", path=str(tmp_path / "junk"))
        assert message.data == {"sha256": hashlib.sha256(b"junk").hexdigest(), "size_bytes": 4}
        with pytest.raises(NotAFile):
            answers(worker, "hash", path=str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_file_that_never_ends_is_stopped_at_the_deadline(tmp_path: Path) -> None:
    """Row 7: somebody reads a pipe all the same."""
    os.mkfifo(tmp_path / "clip.mp4")
    with Worker(WorkerLimits(powers=Powers(may_read=(str(tmp_path),))), jobs=JOBS) as worker:
        answers(worker, "pid")
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            answers(worker, "open_blindly", deadline_s=1.0, name=str(tmp_path / "clip.mp4"))
        assert time.monotonic() - start < 1.0 + 2.0
