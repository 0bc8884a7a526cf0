"""A child process that does the dangerous work, and is killed when it takes too long or too much.

    with Worker() as worker:
        for message in worker.run("hash", {"path": "clip.mp4"}, deadline_s=60):
            print(message.kind, message.data)

Started with `subprocess`, not `multiprocessing`: scripts without a `__main__` guard and notebooks work.
One child serves job after job, so that its start is paid once; after a kill the next job gets a new one.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from telltale import _grants
from telltale._confine import Powers
from telltale._fork import renew_after_fork
from telltale._process import Child, Ended, Watch
from telltale._spawner import spawn
from telltale._wire import Message
from telltale.errors import (
    DeadlineExceeded,
    InputError,
    ModelError,
    OutOfMemory,
    OutputError,
    Stopped,
    TelltaleError,
    UsageError,
    WorkerCrashed,
    WorkerNotStarted,
    error_from_code,
)

JOBS: Mapping[str, str] = {
    "confined": "telltale._confine:confined_job",
    "annotate": "telltale.annotate:annotate_job",
    "detector": "telltale.extract:detector_job",
    "extract": "telltale.extract:extract_job",
    "hash": "telltale.video:hash_job",
    "provenance": "telltale.provenance:provenance_job",
    "transcode": "telltale.stability:transcode_job",
}
"""What a worker is usually asked to do (`inspect` adds a job of its own): generator functions,
`args -> Iterator[Message]`, imported in the child."""
_FILE_ARGS = ("path", "boxes_from")
_LOOK_EVERY_S = 0.25
_OF_FILES: tuple[type[TelltaleError], ...] = (InputError, ModelError, DeadlineExceeded, OutOfMemory)
"""What a worker may name as wrong. Whatever says nothing about the file (`Stopped`, `UsageError`) ends a whole run,
and is not believed."""
if not _grants.IS_USED:  # it then opens files itself, and may have too many open
    _OF_FILES += (WorkerNotStarted,)


@dataclass(frozen=True)
class WorkerLimits:
    """What a worker may use before it is killed."""

    memory_bytes: int = 1 << 30
    """Resident memory."""
    powers: Powers = Powers()
    """What may be read and written beside the file of each job, where the system can hold it to that."""


class Worker:
    """A killable child process that starts in the background. Not for several threads at once: one job at a time.
    In a process that is forked from this one it starts a child of its own."""

    def __init__(self, limits: WorkerLimits = WorkerLimits(), *, jobs: Mapping[str, str] = JOBS) -> None:
        self.limits = limits
        self.peak_memory_bytes = 0
        """The most any child of this worker has used; 0 where the system does not tell."""
        self._jobs = jobs
        self._starting: list[Future[Child]] = []
        self._watch: Watch | None = None
        self._turn = threading.Lock()
        self._is_closed = False
        self._at_end = weakref.finalize(self, _dispose, self._starting)
        renew_after_fork(self)
        self._start()

    def renew(self) -> None:
        """See `_fork`. The child that was started stays the other process's."""
        self._at_end.detach()
        self._starting, self._watch, self._turn = [], None, threading.Lock()
        self._at_end = weakref.finalize(self, _dispose, self._starting)

    def _start(self) -> Future[Child]:
        with contextlib.suppress(IndexError):  # not asked first: another thread may close the worker in between
            return self._starting[0]
        if self._is_closed:
            raise Stopped("stopped on request")
        is_usual = self.limits == WorkerLimits() and self._jobs is JOBS
        starting = _early.pop() if is_usual and _early else _started(self.limits, self._jobs)
        self._starting.append(starting)
        return starting

    def warm(self, job: str) -> None:
        """Let the child import what `job` needs as soon as it has started, without waiting for either."""
        _warm(self._start(), job)

    def run(
        self, job: str, args: Mapping[str, Any], *, deadline_s: float, stop: threading.Event | None = None
    ) -> Generator[Message, None, None]:
        """Do one job and give what it says, as it says it. `args` are JSON values; the files that `path` and
        `boxes_from` name are opened here and handed over.

        Raises the `TelltaleError` that the job raised, `DeadlineExceeded`, `OutOfMemory` or `WorkerCrashed`, and
        `Stopped` once another thread sets `stop` or closes the worker, which kills the child at once; where that was
        done before, nothing is begun.
        Leaving the iteration early kills the child; the next run gets a new one.
        """
        if job not in self._jobs:
            raise UsageError(f"no job is called {job!r}; there are {', '.join(self._jobs)}")
        if self._is_closed or (stop is not None and stop.is_set()):
            raise Stopped("stopped on request")
        turn = self._turn
        if not turn.acquire(blocking=False):
            raise UsageError("this worker is already at work")
        messages = self._run(job, args, deadline_s, stop, turn)
        next(messages)  # asked already: the caller may do something else before it listens
        return messages

    def _run(
        self, job: str, args: Mapping[str, Any], deadline_s: float, stop: threading.Event | None, turn: threading.Lock
    ) -> Generator[Message, None, None]:
        started_at = time.monotonic()
        try:
            child = self._child()
            names = [args[name] for name in _FILE_ARGS if args.get(name) is not None] if _grants.IS_USED else []
            files = _grants.opened(list(dict.fromkeys(names)), timeout_s=deadline_s)
            self._watch = watch = Watch(
                child, started_at=started_at, deadline_s=deadline_s, memory_bytes=self.limits.memory_bytes, stop=stop
            )
        except BaseException:
            turn.release()
            raise
        is_clean = False
        try:
            try:
                asked = {"job": job, "args": dict(args), "folder": _folder(), "files": list(files)}
                child.send(Message("run", asked), files)
            except (OSError, ValueError) as error:
                if isinstance(error, ValueError) and not self._is_closed:  # else: of a pipe that was closed meanwhile
                    raise
                raise self._why_it_ended(child, watch) from None
            yield Message("asked")
            while not is_clean:
                message = child.receive(timeout_s=_LOOK_EVERY_S)
                is_clean = isinstance(message, Message) and _is_over(message)
                if self._is_closed or isinstance(message, Ended) or (watch.verdict and not is_clean):
                    raise self._why_it_ended(child, watch)
                if message is not None:
                    yield from _said(message, may_write=bool(self.limits.powers.may_write))
        finally:
            watch.end()
            self._watch = None
            self.peak_memory_bytes = max(self.peak_memory_bytes, child.memory_bytes("VmHWM"))
            if is_clean and not watch.verdict and not self._is_closed:
                child.forget_words()
            else:
                _dispose(self._starting)
            turn.release()

    def _child(self) -> Child:
        """One that lives: an idle one may have been killed for the machine's memory. Raises `WorkerNotStarted`."""
        child = self._started_child()
        if not child.is_alive:
            _dispose(self._starting)
            child = self._started_child()
        return child

    def _started_child(self) -> Child:
        try:
            return self._start().result()
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread for the spawner
            self._starting.clear()
            raise WorkerNotStarted(
                f"no process to read files with can be started ({error}); free memory or allow more processes"
            ) from error

    def extend(self, deadline_s: float) -> None:
        """Let the job that is running take `deadline_s` from its start, if that is longer than what it has."""
        if self._watch is not None:
            self._watch.ends_at = max(self._watch.ends_at, self._watch.started_at + deadline_s)

    def _why_it_ended(self, child: Child, watch: Watch) -> TelltaleError:
        if self._is_closed or watch.verdict == "stopped":
            return Stopped("stopped on request")
        if watch.verdict == "deadline":
            allowed_s = watch.ends_at - watch.started_at
            return DeadlineExceeded(f"stopped after {allowed_s:g} s; give it a longer deadline (--deadline)")
        if watch.verdict == "memory":
            limit = self.limits.memory_bytes / (1 << 20)
            return OutOfMemory(f"stopped at {limit:.0f} MiB of memory; the file asks for more than it may have")
        return WorkerCrashed(f"the process that reads files ended {child.how_it_ended()}")

    def close(self) -> None:
        """End the child. The worker cannot be used again; a job that another thread has it do raises `Stopped`."""
        self._is_closed = True
        _dispose(self._starting)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_early: list[Future[Child]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _early.clear())


def start_early(job: str) -> None:
    """Start the child of the next `Worker` with the usual limits: for a command that has a quarter of a second of
    imports before it. One that nobody takes ends with this process."""
    if not _early:
        with contextlib.suppress(RuntimeError):  # no thread for the spawner: whoever needs the child will say so
            _early.append(_started(WorkerLimits(), JOBS))
            _warm(_early[0], job)


def _started(limits: WorkerLimits, jobs: Mapping[str, str]) -> Future[Child]:
    return spawn(Child, jobs, memory_bytes=limits.memory_bytes, powers=limits.powers)


def _warm(starting: Future[Child], job: str) -> None:
    def ask(started: Future[Child]) -> None:
        with contextlib.suppress(OSError):  # the next run finds out that it is gone
            started.result().send(Message("warm", {"job": job}))

    starting.add_done_callback(ask)


def _is_over(message: Message) -> bool:
    """Whether the child is through with its job and fit for another: out of time, it may be in a frame without end."""
    unfit = (OutOfMemory.code, DeadlineExceeded.code)
    return message.kind == "done" or (message.kind == "failed" and message.data.get("code") not in unfit)


def _said(message: Message, *, may_write: bool) -> Iterator[Message]:
    """What the job said; the child is not trusted to keep to the protocol. Raises what went wrong in it."""
    if (
        message.kind == "say"
        and isinstance(message.data.get("kind"), str)
        and isinstance(message.data.get("data"), dict)
    ):
        yield Message(message.data["kind"], message.data["data"], message.arrays)
    elif message.kind == "failed":
        among = (*_OF_FILES, OutputError) if may_write else _OF_FILES
        raise error_from_code(str(message.data.get("code")), str(message.data.get("message")), among=among)
    elif message.kind != "done":
        raise WorkerCrashed(str(message.data.get("message", f"the worker said {message.kind!r}")))


def _dispose(starting: list[Future[Child]]) -> None:
    while starting:
        started = starting.pop()
        if started.exception() is None:
            started.result().dispose()


def _folder() -> str | None:
    """Where relative paths begin; None in a folder that was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109 - a string is sent
    except FileNotFoundError:
        return None


__all__ = ["JOBS", "Message", "Powers", "Worker", "WorkerLimits", "start_early"]
