"""Tasks for the engine's tests, in a file of their own so that a Ray worker can import them; a Ray with no cluster."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from telltale.errors import UsageError, require


@dataclass(frozen=True)
class Square:
    """x -> x * x; writes a line when it is opened and when it is closed."""

    log: Path

    @contextmanager
    def start(self) -> Iterator[Callable[[int], int]]:
        self._write("open")
        yield lambda x: x * x
        self._write("close")

    def _write(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(line + "\n")


@dataclass(frozen=True)
class Fragile:
    """Kills its process on item 3 each time, and on item 5 the first time."""

    marks: Path

    @contextmanager
    def start(self) -> Iterator[Callable[[int], int]]:
        yield self._do

    def _do(self, x: int) -> int:
        mark = self.marks / "5"
        if x == 3 or (x == 5 and not mark.exists()):
            mark.touch()
            os._exit(1)
        return x


@dataclass(frozen=True)
class Raises:
    """Raises ValueError on item 2."""

    @contextmanager
    def start(self) -> Iterator[Callable[[int], int]]:
        yield self._do

    def _do(self, x: int) -> int:
        if x == 2:
            raise ValueError("two is not liked")
        return x


@dataclass(frozen=True)
class Marks:
    """Leaves a file named after each item that it does."""

    folder: Path

    @contextmanager
    def start(self) -> Iterator[Callable[[int], None]]:
        yield lambda x: (self.folder / str(x)).touch()


@dataclass(frozen=True)
class Unable:
    """Raises UsageError in every worker that opens it; writes a line each time."""

    log: Path

    @contextmanager
    def start(self) -> Iterator[Callable[[int], int]]:
        with self.log.open("a") as file:
            file.write("open\n")
        raise UsageError("there is no such detector")
        yield abs


class Elsewhere:
    """Can be made here, but not unpickled in a worker, as where a package is missing there."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return require, ("no_such_package", "bucket")

    def start(self) -> AbstractContextManager[Callable[[int], int]]:
        return nullcontext(abs)


@dataclass(frozen=True)
class UntilClosed:
    """Does item 0 at once, and any other until its worker is closed. `late` are those it was given after that."""

    late: list[int] = field(default_factory=list)
    is_closed: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def start(self) -> Iterator[Callable[[int], int]]:
        try:
            yield self._do
        finally:
            self.is_closed.set()
            time.sleep(0.2)  # time enough for a thread to take the next item

    def _do(self, x: int) -> int:
        if self.is_closed.is_set():
            self.late.append(x)
        elif x:
            self.is_closed.wait(20)
        return x


class RayError(Exception):
    """As Ray's errors are: one for the task's own, others beside it."""


class RayTaskError(RayError):
    pass


class OutOfMemoryError(RayError):
    pass


class OneActorRay:
    """What the engine uses of Ray, in this process. The memory monitor kills whoever is given `killed_on`."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    cloudpickle = pickle

    def __init__(self, killed_on: int | None = None) -> None:
        self.killed_on = killed_on
        self.n_started = 0
        self.joined: list[dict[str, object]] = []

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: object) -> None:
        self.joined.append(options)

    def shutdown(self) -> None:
        """It holds nothing."""

    def remote(self, **_: object) -> Callable[[type], Any]:
        return lambda runner: SimpleNamespace(remote=lambda: self._actor(runner()))

    def _actor(self, runner: Any) -> Any:
        self.n_started += 1

        def later(name: str) -> Any:
            return SimpleNamespace(remote=lambda *given: lambda: self._call(getattr(runner, name), *given))

        return SimpleNamespace(open=later("open"), do=later("do"), close=later("close"))

    def _call(self, method: Callable[..., Any], *given: object) -> Any:
        if given == (self.killed_on,):
            raise OutOfMemoryError("a worker ran out of memory")
        return method(*given)

    def wait(self, asked: list[Any], num_returns: int, timeout: float | None) -> tuple[list[Any], list[Any]]:
        del timeout
        return asked[:num_returns], asked[num_returns:]

    def get(self, call: Callable[[], Any]) -> Any:
        return call()

    def kill(self, actor: Any) -> None:
        """It holds nothing."""
