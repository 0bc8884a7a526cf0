"""A child process that does the dangerous work, and is killed when it takes too long or too much.

    with Worker() as worker:
        for message in worker.run("probe", {"path": "clip.mp4"}, deadline_s=60):
            print(message.kind, message.data)

Started with `subprocess`, not `multiprocessing`: scripts without a `__main__` guard and notebooks work.
One child serves job after job, so that its start is paid once; after a kill the next job gets a new one.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from telltale import _wire
from telltale._wire import Message
from telltale.errors import (
    DeadlineExceeded,
    OutOfMemory,
    Stopped,
    TelltaleError,
    UsageError,
    WorkerCrashed,
    error_from_code,
)

JOBS: Mapping[str, str] = {
    "extract": "telltale.extract:extract_job",
    "probe": "telltale.video:probe_job",
}
"""All a worker can be asked to do: generator functions, `args -> Iterator[Message]`, imported in the child."""

_BOOT = (
    "import sys, json; s = json.loads(sys.argv[1]); sys.path[:] = s['sys_path']; "
    "from telltale._child import main; main(s)"
)
_WATCH_EVERY_S = 0.02
_QUEUED_MESSAGES = 32


@dataclass(frozen=True)
class WorkerLimits:
    """What a worker may use before it is killed."""

    memory_bytes: int = 1 << 30
    """Of memory it takes for itself (resident and private)."""


class _Child:
    """One running process and the two threads that listen to it."""

    def __init__(self, limits: WorkerLimits, jobs: Mapping[str, str]) -> None:
        settings = {
            "sys_path": [entry for entry in sys.path if entry],
            "jobs": dict(jobs),
            "parent_pid": os.getpid(),
            "memory_bytes": limits.memory_bytes,
        }
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        stdin, stdout, stderr = self.process.stdin, self.process.stdout, self.process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise RuntimeError("Popen was asked for three pipes")
        self._requests: IO[bytes] = stdin
        self.messages: queue.Queue[Message | None] = queue.Queue(_QUEUED_MESSAGES)
        self.is_dropped = False
        self.last_words: collections.deque[str] = collections.deque(maxlen=5)
        self.peak_bytes = 0
        self._threads = [
            threading.Thread(target=target, args=(pipe,), daemon=True)
            for target, pipe in ((self._listen, stdout), (self._drain, stderr))
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: Message) -> None:
        _wire.write(self._requests, message)

    def _listen(self, pipe: IO[bytes]) -> None:
        message: Message | None
        try:
            while (message := _wire.read(pipe)) is not None:
                self._put(message)
        except (_wire.WireError, OSError, ValueError):
            self.kill()
        self._put(None)

    def _put(self, message: Message | None) -> None:
        while not self.is_dropped:
            with contextlib.suppress(queue.Full):
                self.messages.put(message, timeout=0.1)
                return

    def _drain(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in iter(lambda: pipe.readline(4096), b""):
                self.last_words.append(line.decode("utf-8", "backslashreplace").rstrip())

    def resident_bytes(self) -> int:
        """Memory in use now; 0 where the system does not tell."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
            resident = int(pages) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0
        self.peak_bytes = max(self.peak_bytes, resident)
        return resident

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()

    def dispose(self) -> None:
        """Kill, wait, and close what is open."""
        self.kill()
        self.is_dropped = True
        self.process.wait()
        for thread in self._threads:
            thread.join(timeout=2)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Worker:
    """A killable child process. Not for several threads at once: one job at a time."""

    def __init__(self, limits: WorkerLimits = WorkerLimits(), *, jobs: Mapping[str, str] = JOBS) -> None:
        self.limits = limits
        self._jobs = jobs
        self._child: Future[_Child] | None = None
        self._watch: _Watch | None = None
        self._is_busy = False
        self._is_closed = False
        self.peak_memory_bytes = 0
        """The most any child of this worker was seen to use."""
        self._start()

    def _start(self) -> Future[_Child]:
        if self._child is None:
            self._child = _spawner().submit(_Child, self.limits, self._jobs)
        return self._child

    def warm(self, job: str) -> None:
        """Let the child import what `job` needs, without waiting for it."""
        self._start().result().send(Message("warm", {"job": job}))

    def run(
        self, job: str, args: Mapping[str, Any], *, deadline_s: float, stop: threading.Event | None = None
    ) -> Generator[Message, None, None]:
        """Do one job and give what it says, as it says it. `args` are JSON values.

        Raises the `TelltaleError` that the job raised, `DeadlineExceeded`, `OutOfMemory` or `WorkerCrashed`, and
        `Stopped` once another thread sets `stop`, which kills the child at once.
        Leaving the iteration early kills the child; the next run gets a new one.
        """
        if job not in self._jobs:
            raise UsageError(f"no job is called {job!r}; there are {', '.join(self._jobs)}")
        if self._is_closed or self._is_busy:
            raise UsageError("this worker is closed" if self._is_closed else "this worker is already at work")
        return self._run(job, args, deadline_s, stop)

    def _run(
        self, job: str, args: Mapping[str, Any], deadline_s: float, stop: threading.Event | None
    ) -> Generator[Message, None, None]:
        self._is_busy = True
        started_at = time.monotonic()
        child = self._start().result()
        self._watch = watch = _Watch(child, started_at, deadline_s, self.limits, stop)
        is_clean = False
        try:
            try:
                child.send(Message("run", {"job": job, "args": dict(args), "folder": str(Path.cwd())}))
            except OSError:
                raise self._why_it_ended(child, watch) from None
            while True:
                message = child.messages.get()
                if message is None or watch.verdict == "stopped":
                    raise self._why_it_ended(child, watch)
                if message.kind == "say":
                    yield Message(message.data["kind"], message.data["data"], message.arrays)
                elif message.kind == "done":
                    is_clean = True
                    return
                elif message.kind == "failed":
                    is_clean = message.data["code"] != OutOfMemory.code
                    raise error_from_code(message.data["code"], message.data["message"])
                elif message.kind == "crashed":
                    raise WorkerCrashed(message.data["message"])
        finally:
            watch.stop()
            self._watch = None
            self.peak_memory_bytes = max(self.peak_memory_bytes, child.peak_bytes)
            if not is_clean:
                self._drop()
            self._is_busy = False

    def extend(self, deadline_s: float) -> None:
        """Let the job that is running take `deadline_s` from its start, if that is longer than what it has."""
        if self._watch is not None:
            self._watch.ends_at = max(self._watch.ends_at, self._watch.started_at + deadline_s)

    def _why_it_ended(self, child: _Child, watch: _Watch) -> TelltaleError:
        if watch.verdict == "stopped":
            return Stopped("stopped on request")
        if watch.verdict == "deadline":
            return DeadlineExceeded(
                f"stopped after {watch.ends_at - watch.started_at:g} s; allow more time with --deadline"
            )
        if watch.verdict == "memory":
            limit = self.limits.memory_bytes / (1 << 20)
            return OutOfMemory(f"stopped at {limit:.0f} MiB of memory; the file asks for more than it may have")
        status = child.process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        last = f" ({child.last_words[-1]})" if child.last_words else ""
        return WorkerCrashed(f"the process that reads files ended {how}{last}")

    def _drop(self) -> None:
        if self._child is not None:
            child, self._child = self._child.result(), None
            child.dispose()

    def close(self) -> None:
        """End the child. The worker cannot be used again."""
        self._is_closed = True
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Watch:
    """Kills the child at its deadline, above its memory or when asked to, also while nobody waits for it."""

    def __init__(
        self,
        child: _Child,
        started_at: float,
        deadline_s: float,
        limits: WorkerLimits,
        stop: threading.Event | None,
    ) -> None:
        self.verdict = ""
        self.started_at = started_at
        self.ends_at = started_at + deadline_s
        self._child = child
        self._limits = limits
        self._stop_asked = stop
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stopped.wait(_WATCH_EVERY_S):
            if self._stop_asked is not None and self._stop_asked.is_set():
                self.verdict = "stopped"
            elif time.monotonic() > self.ends_at:
                self.verdict = "deadline"
            elif self._child.resident_bytes() > self._limits.memory_bytes:
                self.verdict = "memory"
            if self.verdict:
                self._child.kill()
                return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


_spawners: dict[int, ThreadPoolExecutor] = {}


def _spawner() -> ThreadPoolExecutor:
    """One thread that lives as long as this process starts all children: on Linux a child that is to die
    with its parent dies with the *thread* that started it (prctl(2), PR_SET_PDEATHSIG)."""
    return _spawners.setdefault(os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="telltale-spawner"))


__all__ = ["JOBS", "Message", "Worker", "WorkerLimits"]
