"""Many files: one after another, or several beside each other with one model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from telltale._beside_verdict import Extra
from telltale._scan_settings import AnyPath, ScanSettings
from telltale._scanner import Scanner
from telltale.bundle import Bundle
from telltale.errors import Stopped
from telltale.runtime import Scorer
from telltale.scoring import Progress
from telltale.types import Report


def scan_in_turn(
    paths: Iterable[AnyPath],
    model: str | Path | Bundle | Scorer,
    settings: ScanSettings,
    on_progress: Progress | None,
    on_extra: Extra | None,
    stop: threading.Event | None,
) -> Iterator[Report]:
    with Scanner(model, settings=settings) as scanner:
        for path in paths:
            yield scanner.scan(path, on_progress=on_progress, on_extra=on_extra, stop=stop)


def scan_beside(
    paths: Iterable[AnyPath],
    model: str | Path | Bundle | Scorer,
    settings: ScanSettings,
    jobs: int,
    on_progress: Progress | None,
    on_extra: Extra | None,
    stop: threading.Event | None,
) -> Iterator[Report]:
    is_over = _Either(stop)
    idle: SimpleQueue[Scanner] = SimpleQueue()

    def scan_one(path: AnyPath) -> Report:
        scanner = idle.get()
        try:
            return scanner.scan(path, on_progress=on_progress, on_extra=on_extra, stop=is_over)
        finally:
            idle.put(scanner)

    with ExitStack() as stack:
        first = stack.enter_context(Scanner(model, settings=settings))
        idle.put(first)
        for _ in range(jobs - 1):
            idle.put(stack.enter_context(Scanner(first.scorer, settings=settings)))
        pool = stack.enter_context(ThreadPoolExecutor(jobs, thread_name_prefix="scan"))
        stack.callback(is_over.set)  # before the pool waits for what is under way
        waiting: deque[Future[Report]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(scan_one, path))
                while waiting and (waiting[0].done() or len(waiting) == 2 * jobs):
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)
        except (KeyboardInterrupt, Stopped):
            is_over.set()
            for done in [one for one in waiting if one.done() and one.exception() is None]:
                yield done.result()
            raise


def _first(waiting: deque[Future[Report]]) -> Report:
    """Taken out once it is there: whoever breaks the wait off does not lose it."""
    report = waiting[0].result()
    waiting.popleft()
    return report


class _Either(threading.Event):
    """Set by us, or with another one."""

    def __init__(self, other: threading.Event | None) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or (self._other is not None and self._other.is_set())
