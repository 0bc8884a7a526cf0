"""Tasks for the engine's tests, in a file of their own so that a Ray worker can import them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


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
