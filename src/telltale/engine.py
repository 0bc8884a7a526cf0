"""Do one thing to many files, on this machine or on a Ray cluster. The only place that knows Ray.

    class Lengths:
        def start(self):
            return contextlib.nullcontext(len)          # made once a worker, used for item after item

    for index, outcome in map_tasks(Lengths(), ["a", "bcd"], engine=Engine(jobs=2)):
        ...

Outcomes come as they are ready, each item exactly once. A worker that dies takes its item down with it: the item is
tried again on another worker, and set aside as `WorkerCrashed` when it has cost `MAX_ATTEMPTS` workers.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Literal, Protocol, TypeVar

from telltale.errors import Stopped, UsageError, WorkerCrashed, WorkerNotStarted, require

MAX_ATTEMPTS = 3
MAX_FAILED_STARTS = 20
_SLOW_START = "timed out during startup"
_HERE = "local"
"""What Ray calls a cluster of its own; without an address it would join whichever was started last on this machine."""
_LATE_START_S = 5.0
_ANSWER_WITHIN_S = 10.0
"""Ray itself tries for minutes where nothing listens."""
START_WITHIN_S = 600.0
"""How long a cluster without a free processor is waited for: one that grows takes minutes."""
In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the work is done, and on how many items at a time. Raises `UsageError` where there is no such place."""

    name: Literal["local", "ray"] = "local"
    """`local`: threads here; the work itself is in worker processes (`sandbox`). `ray`: actors on a Ray cluster."""
    jobs: int = 1
    address: str | None = None
    """Of the Ray cluster; None: what the environment variable RAY_ADDRESS says, or else one is started here."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"jobs must be at least 1, got {self.jobs}")
        if self.name not in ("local", "ray"):
            raise UsageError(f"engine must be local or ray, got {self.name!r}")


LOCAL = Engine()
"""One item at a time, on this machine."""


class Task(Protocol[In_contra, Out_co]):
    """What is done to each item. Pickled to other machines, so it holds settings only; `start` opens the rest there."""

    def start(self) -> AbstractContextManager[Callable[[In_contra], Out_co]]:
        """What a worker opens once and closes at the end; gives the function that does one item."""
        ...


def map_tasks(
    task: Task[In, Out], items: Iterable[In], *, engine: Engine = LOCAL
) -> Iterator[tuple[int, Out | WorkerCrashed]]:
    """(position of the item, its outcome), as they are ready. `items` is read no further ahead than needed.

    An exception that `task` raises is raised here.
    """
    return _local(task, items, engine.jobs) if engine.name == "local" else _ray(task, items, engine)


def _local(task: Task[In, Out], items: Iterable[In], jobs: int) -> Iterator[tuple[int, Out]]:
    started = threading.local()
    is_over = threading.Event()
    with ExitStack() as stack:
        lock = threading.Lock()

        def start() -> None:
            opened = task.start()
            started.run = opened.__enter__()
            with lock:
                stack.push(opened)

        def do(item: In) -> Out:
            if not hasattr(started, "run"):
                start()  # here, not as the pool's initializer: of that one's errors only "broken pool" is told
            if is_over.is_set():  # taken from the queue, or opened, while the rest was being closed
                raise Stopped("the run was broken off")
            result: Out = started.run(item)
            return result

        pool = ThreadPoolExecutor(jobs, thread_name_prefix="task")
        stack.callback(pool.shutdown, wait=True)
        try:
            waiting = enumerate(items)
            running = {pool.submit(do, item): index for index, item in islice(waiting, 2 * jobs)}
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=running.__getitem__):
                    index = running.pop(future)
                    running |= {pool.submit(do, item): i for i, item in islice(waiting, 1)}
                    yield index, future.result()
        finally:
            # Before the workers are closed, which ends what is under way: a thread would give its next item to a
            # closed one.
            is_over.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _ray(task: Task[In, Out], items: Iterable[In], engine: Engine) -> Iterator[tuple[int, Out | WorkerCrashed]]:
    ray = require("ray", "ray")
    with ExitStack() as stack:
        if not ray.is_initialized():
            address = engine.address or os.environ.get("RAY_ADDRESS") or _HERE
            # A cluster of its own takes the processors it needs; one that was there is left as it is.
            own: dict[str, Any] = {"num_cpus": engine.jobs, "include_dashboard": False} if address == _HERE else {}
            _start(ray, address=address, logging_level="ERROR", log_to_driver=False, **own)
            stack.callback(ray.shutdown)
        yield from _Actors(ray, task, engine.jobs).outcomes(items)


def _start(ray: Any, *, address: str, may_be_slow: bool = True, **options: Any) -> None:
    """Ray gives a node 30 s to start, which no option changes. From a cold disk on a slow machine that is too little;
    the second time its files are in memory. Raises `WorkerNotStarted` where there is no cluster to be had."""
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_WITHIN_S).close()
        ray.init(address=address, **options)
    except Exception as error:  # Ray has no class of its own for these
        if may_be_slow and _SLOW_START in str(error):
            return _start(ray, address=address, may_be_slow=False, **options)
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        if address == _HERE:
            raise WorkerNotStarted(f"Ray did not start here ({reason}); try --engine local") from error
        raise WorkerNotStarted(
            f"no Ray cluster answers at {address} ({reason}); see there with `ray status`, "
            "or leave --address and RAY_ADDRESS out for one of this machine's own"
        ) from error


class _Actors(Generic[In, Out]):
    """Ray actors, one item at a time each. An actor gets its first item when it has said that it is up: one that waits
    for a processor, after a node went, must not hold an item that others could do."""

    def __init__(self, ray: Any, task: Task[In, Out], jobs: int) -> None:
        self._ray, self._pickled = ray, ray.cloudpickle.dumps(task)
        self._remote = ray.remote(num_cpus=1, max_restarts=0)(_Runner)
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[int, In, Any]] = {}
        self._n_failed_starts = 0
        self._jobs = jobs

    def _start(self) -> None:
        actor = self._remote.remote()
        self._starting[actor.open.remote(self._pickled)] = actor

    def outcomes(self, items: Iterable[In]) -> Iterator[tuple[int, Out | WorkerCrashed]]:
        waiting = enumerate(items)
        attempts: dict[int, int] = {}
        again = list(islice(waiting, self._jobs))[::-1]
        held = next(waiting, None)
        for _ in again:
            self._start()
        outcome: tuple[int, Out | WorkerCrashed] | None = None
        try:
            while outcome is not None or held is not None or again or self._running:
                while self._idle and (again or held is not None):
                    if again:
                        index, item = again.pop()
                    else:
                        assert held is not None
                        (index, item), held = held, next(waiting, None)
                    actor = self._idle.pop()
                    self._running[actor.do.remote(item)] = (index, item, actor)
                if outcome is not None:  # only now: its actor has work while the outcome is looked at
                    yield outcome
                    outcome = None
                    continue
                ended = self._next_ended()
                if ended is None:
                    continue
                index, item, said = ended
                if not isinstance(said, BaseException):
                    outcome = index, said
                    continue
                attempts[index] = attempts.get(index, 0) + 1
                if attempts[index] < MAX_ATTEMPTS:
                    again.append((index, item))
                else:
                    outcome = index, WorkerCrashed(f"{MAX_ATTEMPTS} workers died on it, so it was set aside ({said})")
        finally:
            self._close()

    def _next_ended(self) -> tuple[int, In, Any] | None:
        """The next item that was done, or whose actor died; None where an actor came up, or did not."""
        asked = [*self._running, *self._starting]
        ready, _ = self._ray.wait(asked, num_returns=1, timeout=None if self._running or self._idle else START_WITHIN_S)
        if not ready:
            raise UsageError(
                f"no Ray worker could start within {START_WITHIN_S:g} s: the cluster has no free processor; "
                "add nodes or ask for fewer --jobs"
            )
        errors = self._ray.exceptions
        try:
            outcome: Any = self._ray.get(ready[0])
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RayError as error:  # died, was killed for its memory, or out of reach
            outcome = error
        if ready[0] in self._starting:
            actor = self._starting.pop(ready[0])
            if isinstance(outcome, BaseException):
                self._n_failed_starts += 1
                if self._n_failed_starts > MAX_FAILED_STARTS:
                    raise WorkerCrashed(f"Ray workers die before they have started ({outcome})") from outcome
                self._start()
            else:
                self._n_failed_starts = 0
                self._idle.append(actor)
            return None
        index, item, actor = self._running.pop(ready[0])
        if isinstance(outcome, BaseException):
            self._ray.kill(actor)  # one that is only out of reach must not come back
            self._start()
        else:
            self._idle.append(actor)
        return index, item, outcome

    def _close(self) -> None:
        if self._starting:
            up, _ = self._ray.wait(list(self._starting), num_returns=len(self._starting), timeout=_LATE_START_S)
            self._idle += [self._starting.pop(ready) for ready in up]
        errors = self._ray.exceptions
        for actor in self._idle:
            try:
                self._ray.get(actor.close.remote())
            except errors.RayTaskError:
                raise
            except errors.RayError:
                continue  # it died since: there is nothing left to close
        for actor in (*self._idle, *self._starting.values(), *(actor for *_, actor in self._running.values())):
            self._ray.kill(actor)


class _Runner:
    """A Ray actor: one process that opens the task once."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def open(self, pickled: bytes) -> None:
        """Answers when there is work to be given. Not in `__init__`, nor with the task itself as what is given: of an
        error there Ray tells no more than that the actor died, and another would be tried."""
        task: Task[Any, Any] = pickle.loads(pickled)
        self._run = self._stack.enter_context(task.start())

    def do(self, item: Any) -> Any:
        return self._run(item)

    def close(self) -> None:
        self._stack.close()


__all__ = ["LOCAL", "MAX_ATTEMPTS", "Engine", "Task", "map_tasks"]
