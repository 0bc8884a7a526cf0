"""The parent's side of one worker process: its pipes, its memory, its end. Used by `sandbox`.

child = Child(jobs, memory_bytes=1 << 30)
child.send(Message("run", {...}))
child.receive(timeout_s=1)          # a Message, or Ended
"""

from __future__ import annotations

import collections
import contextlib
import errno
import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

from telltale import _grants, _wire
from telltale._confine import Powers
from telltale._fork import renew_after_fork
from telltale._wire import Message

_BOOT = (
    "import sys, json; s = json.loads(sys.argv[1]); sys.path[:] = s['sys_path']; "
    "from telltale._child import main; main(s)"
)
"""`-P` and the parent's own path: a `numpy.py` beside a suspicious video must not be imported."""
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}
"""glibc otherwise hands the networks' buffers back to the system after every frame and asks for them, page by page,
for the next: a third of R-Net's time. What is over after a job is given back at its end."""
_KEPT = {"PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME"}
_KEPT |= {"VIRTUAL_ENV", "CONDA_PREFIX", "GLIBC_TUNABLES"}
_KEPT |= {"SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS"}
_KEPT_PREFIXES = ("LC_", "LD_", "DYLD_", "PYTHON", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "MALLOC_", "ASAN_", "COVERAGE")
_QUEUED_MESSAGES, _QUEUED_BYTES = 32, 64 << 20
"""What may wait to be looked at. A worker is held up beyond that, lest one that was taken over fills our memory."""
_WATCH_EVERY_S = 0.02
_GONE_WITHIN_S = 2.0
"""How long an end is waited for; a process in an uninterruptible read of a dead disk is left to the system."""


def _environment() -> dict[str, str]:
    """What a Python process needs of ours. The rest stays here: keys of buckets and servers are in environments, and
    whoever takes a decoder over can read its own."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _KEPT or name.upper().startswith(_KEPT_PREFIXES)
    }
    return _ENVIRONMENT | ours


class Ended:
    """What comes instead of a message when the process has closed its pipe."""


class Child:
    """One running process, and the two threads that listen to it. Raises `OSError` where the system gives no more."""

    def __init__(self, jobs: Mapping[str, str], *, memory_bytes: int, powers: Powers) -> None:
        self._handing_over: socket.socket | None = None
        theirs: socket.socket | None = None
        if _grants.IS_USED:
            self._handing_over, theirs = socket.socketpair()
        settings = {
            "sys_path": [entry for entry in sys.path if entry],
            "jobs": dict(jobs),
            "parent_pid": os.getpid(),
            "memory_bytes": memory_bytes,
            "may_read": [os.path.abspath(path) for path in powers.may_read],  # noqa: PTH100 - links stay
            "may_write": [os.path.abspath(path) for path in powers.may_write],  # noqa: PTH100
            "not_code": _not_code(),
            "files_fd": None if theirs is None else theirs.fileno(),
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,  # a buffer has a lock, for which a process forked meanwhile would wait in vain
                env=_environment(),
                pass_fds=() if theirs is None else (theirs.fileno(),),
            )
        except BaseException:
            if self._handing_over is not None:
                self._handing_over.close()
            raise
        finally:
            if theirs is not None:
                theirs.close()
        self.pid: Final = self._process.pid
        self._messages: queue.Queue[Message | Ended] = queue.Queue(_QUEUED_MESSAGES)
        self._queued_bytes = 0
        self._is_smaller = threading.Condition()
        self._last_words: collections.deque[str] = collections.deque(maxlen=5)
        self._is_dropped = False
        self._is_ours = True
        self.is_through = False
        """Whether it has said that the job it was given is over; what it said before may still wait to be received."""
        self._threads: list[threading.Thread] = []
        for name, hear, pipe in (
            ("listen", self._listen, self._process.stdout),
            ("drain", self._drain, self._process.stderr),
        ):
            thread = threading.Thread(target=_heard, args=(hear, pipe), name=f"telltale-{name}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system counts threads and processes together
                self.dispose()
                raise OSError(errno.EAGAIN, str(error)) from error
            self._threads.append(thread)
        renew_after_fork(self)

    def renew(self) -> None:
        """In a forked process: the child is the other process's, which goes on with it."""
        self._is_ours = False
        self._process.returncode = 0  # `Popen` then neither signals nor waits for it
        self._close_pipes()

    def send(self, message: Message, files: Mapping[str, Sequence[int]] = MappingProxyType({})) -> None:
        """A request, and the open files that belong to it, which are closed here. Raises `OSError` when the
        process is gone."""
        self.is_through = False
        if self._handing_over is not None:
            _grants.send(self._handing_over, files)
        if self._process.stdin is not None:
            _wire.write(self._process.stdin, message)

    def receive(self, *, timeout_s: float) -> Message | Ended | None:
        """The next message; None when nothing came in time."""
        if not self._is_ours:
            return Ended()
        try:
            message = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(message, Message):
            with self._is_smaller:
                self._queued_bytes -= message.n_bytes
                self._is_smaller.notify()
        return message

    def _listen(self, pipe: IO[bytes]) -> None:
        try:
            while (message := _wire.read(pipe)) is not None:
                self.is_through = message.kind in ("done", "failed")
                self._put(message)
        except (_wire.WireError, OSError, ValueError) as error:
            self._last_words.append(f"its answer could not be understood: {error}")
            self.kill()
        self._put(Ended())

    def _put(self, message: Message | Ended) -> None:
        if isinstance(message, Message):
            with self._is_smaller:
                while self._queued_bytes and self._queued_bytes + message.n_bytes > _QUEUED_BYTES:
                    if self._is_dropped:
                        return
                    self._is_smaller.wait(0.1)
                self._queued_bytes += message.n_bytes
        while not self._is_dropped:
            with contextlib.suppress(queue.Full):
                self._messages.put(message, timeout=0.1)
                return

    def _drain(self, pipe: IO[bytes]) -> None:
        """What the process prints is kept from the user's terminal; its last lines say why it died."""
        with contextlib.suppress(OSError, ValueError):
            for line in iter(lambda: pipe.readline(4096), b""):
                self._last_words.append(line.decode("utf-8", "backslashreplace").rstrip())

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def forget_words(self) -> None:
        """What it printed belongs to a job that is over."""
        self._last_words.clear()

    def memory_bytes(self, field: str = "VmRSS") -> int:
        """Resident memory now, or its peak (`VmHWM`); 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text("ascii", "replace")
        except OSError:
            return 0
        line = next((line for line in status.splitlines() if line.startswith(f"{field}:")), "x: 0 kB")
        return int(line.split()[1]) * 1024

    def how_it_ended(self) -> str:
        """In words: the signal or status, and the last line it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GONE_WITHIN_S)
        for thread in self._threads:
            thread.join(_GONE_WITHIN_S)
        status = self._process.returncode
        how = f"by {signal.Signals(-status).name}" if status is not None and status < 0 else f"with status {status}"
        if status == -9:
            how += ", perhaps because the machine ran out of memory"
        return f"{how} ({self._last_words[-1]})" if self._last_words else how

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()

    def dispose(self) -> None:
        """Kill, wait, and close what is open."""
        self._is_dropped = True
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GONE_WITHIN_S)
        for thread in self._threads:
            thread.join(_GONE_WITHIN_S)
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._handing_over is not None:
            self._handing_over.close()


def _heard(hear: Callable[[IO[bytes]], None], pipe: io.FileIO) -> None:
    """The buffer is this thread's alone: a process forked from ours has no such thread, and never closes it."""
    with io.BufferedReader(pipe) as buffered:
        hear(buffered)


def _not_code() -> list[str]:
    """Folders in Python's path that are there for a script's sake, and may hold anything: not to be read."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    found = [str(Path(main).absolute().parent)] if main else []
    with contextlib.suppress(FileNotFoundError):
        found.append(str(Path.cwd()))
    return found


class Watch:
    """Kills a child at its deadline, above its memory or when asked to, also while nobody listens to it. One that is
    through before its deadline is heard to the end, however long that takes."""

    def __init__(
        self, child: Child, *, started_at: float, deadline_s: float, memory_bytes: int, stop: threading.Event | None
    ) -> None:
        self.verdict = ""
        """Why it was killed: deadline, memory or stopped; empty while it was not."""
        self.started_at = started_at
        self.ends_at = started_at + deadline_s
        self._child = child
        self._memory_bytes = memory_bytes
        self._stop_asked = stop
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="telltale-watch", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over.wait(_WATCH_EVERY_S):
            if self._stop_asked is not None and self._stop_asked.is_set():
                self.verdict = "stopped"
            elif time.monotonic() > self.ends_at and not self._child.is_through:
                self.verdict = "deadline"
            elif self._child.memory_bytes() > self._memory_bytes:
                self.verdict = "memory"
            if self.verdict:
                self._child.kill()
                return

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()
