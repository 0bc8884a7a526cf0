"""Do one thing to many files, on this machine or on a Ray cluster. The only place that knows Ray.

    class Lengths:
        def start(self):
            return contextlib.nullcontext(len)          # made once a worker, used for item after item

    for index, outcome in map_tasks(Lengths(), ["a", "bcd"], jobs=2):
        ...

Outcomes come as they are ready, each item exactly once. A worker that dies takes its item down with it: the item is
tried again on another worker, and set aside as `WorkerCrashed` when it has cost `MAX_ATTEMPTS` workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar

from telltale.errors import UsageError, WorkerCrashed, require

Engine = Literal["local", "ray"]
MAX_ATTEMPTS = 3
In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Task(Protocol[In_contra, Out_co]):
    """What is done to each item. Pickled to other machines, so it holds settings only; `start` opens the rest there."""

    def start(self) -> AbstractContextManager[Callable[[In_contra], Out_co]]:
        """What a worker opens once and closes at the end; gives the function that does one item."""
        ...


def map_tasks(
    task: Task[In, Out],
    items: Iterable[In],
    *,
    engine: Engine = "local",
    jobs: int = 1,
    address: str | None = None,
) -> Iterator[tuple[int, Out | WorkerCrashed]]:
    """(position of the item, its outcome), as they are ready. `items` is read no further ahead than needed.

    `local` runs `jobs` threads: the work itself is in worker processes (`sandbox`). `ray` runs `jobs` actors on the
    cluster at `address`, or on one started here. An exception that `task` raises is raised here.
    """
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1, got {jobs}")
    if engine == "local":
        return _local(task, items, jobs)
    if engine == "ray":
        return _ray(task, items, jobs, address)
    raise UsageError(f"engine must be local or ray, got {engine!r}")


def _local(task: Task[In, Out], items: Iterable[In], jobs: int) -> Iterator[tuple[int, Out]]:
    started = threading.local()
    with ExitStack() as stack:
        lock = threading.Lock()

        def start() -> None:
            with lock:
                started.run = stack.enter_context(task.start())

        def do(item: In) -> Out:
            result: Out = started.run(item)
            return result

        pool = ThreadPoolExecutor(jobs, thread_name_prefix="task", initializer=start)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        waiting = enumerate(items)
        running = {pool.submit(do, item): index for index, item in islice(waiting, 2 * jobs)}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=running.__getitem__):
                index = running.pop(future)
                running |= {pool.submit(do, item): i for i, item in islice(waiting, 1)}
                yield index, future.result()


def _ray(
    task: Task[In, Out], items: Iterable[In], jobs: int, address: str | None
) -> Iterator[tuple[int, Out | WorkerCrashed]]:
    ray = require("ray", "ray")
    with ExitStack() as stack:
        if not ray.is_initialized():
            # A cluster of its own takes the processors it needs; one that was there is left as it is.
            own = {} if address else {"num_cpus": jobs, "include_dashboard": False}
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, **own)
            stack.callback(ray.shutdown)
        remote = ray.remote(num_cpus=1, max_restarts=0)(_Runner)
        waiting = enumerate(items)
        attempts: dict[int, int] = {}
        running: dict[Any, tuple[int, In, Any]] = {}
        again: list[tuple[int, In]] = []
        idle = [remote.remote(task) for _ in range(jobs)]
        while True:
            while idle and (next_item := again.pop() if again else next(waiting, None)) is not None:
                actor, (index, item) = idle.pop(), next_item
                running[actor.do.remote(item)] = (index, item, actor)
            if not running:
                break
            (ready,), _ = ray.wait(list(running), num_returns=1)
            index, item, actor = running.pop(ready)
            try:
                outcome = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                idle.append(remote.remote(task))
                attempts[index] = attempts.get(index, 0) + 1
                if attempts[index] < MAX_ATTEMPTS:
                    again.append((index, item))
                else:
                    yield index, WorkerCrashed(f"{MAX_ATTEMPTS} workers died on it, so it was set aside ({error})")
                continue
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            idle.append(actor)
            yield index, outcome
        for actor in idle:
            ray.get(actor.close.remote())


class _Runner:
    """A Ray actor: one process that opens the task once."""

    def __init__(self, task: Task[Any, Any]) -> None:
        self._stack = ExitStack()
        self._run = self._stack.enter_context(task.start())

    def do(self, item: Any) -> Any:
        return self._run(item)

    def close(self) -> None:
        self._stack.close()


__all__ = ["MAX_ATTEMPTS", "Engine", "Task", "map_tasks"]
