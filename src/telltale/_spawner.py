"""The thread that starts all worker processes. Used by `sandbox`.

starting = spawn(Child, jobs, memory_bytes=1 << 30)     # a Future of the child
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

from telltale._fork import renew_after_fork

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Spawner:
    """One thread that lives as long as this process: on Linux a child that is to die with its parent dies with the
    *thread* that started it (prctl(2), PR_SET_PDEATHSIG). Not of an executor, whose threads end with the main thread
    (`threading._shutdown`), while others may still be at work."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._is_running = False

    def submit(self, start: Callable[[], _R]) -> Future[_R]:
        future: Future[_R] = Future()

        def answer() -> None:
            try:
                future.set_result(start())
            except BaseException as error:  # noqa: BLE001 - handed to whoever asked
                future.set_exception(error)

        with self._lock:
            if not self._is_running:
                threading.Thread(target=self._work, args=(self._asked,), name="telltale-spawner", daemon=True).start()
                self._is_running = True
        self._asked.put(answer)
        return future

    @staticmethod
    def _work(asked: queue.SimpleQueue[Callable[[], None]]) -> None:
        while True:
            asked.get()()


_spawner = _Spawner()


def spawn(start: Callable[_P, _R], *args: _P.args, **options: _P.kwargs) -> Future[_R]:
    """`start(*args, **options)` in the thread that outlives all others. Raises `RuntimeError` where the system gives
    no thread."""
    return _spawner.submit(lambda: start(*args, **options))
