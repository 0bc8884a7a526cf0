"""One line on the terminal while a stage is fitted (epoch, steps, images a second, time left), or while faces are made
ready for it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import lightning as L
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Step(Protocol):
    def __call__(self, n: int = 1, /) -> None: ...


def is_watched() -> bool:
    """Whether standard error is a terminal that somebody looks at."""
    return sys.stderr.isatty() and "PYTEST_CURRENT_TEST" not in os.environ


@contextmanager
def waiting(what: str, total: int | None = None, *, console: Console | None = None) -> Iterator[Step]:
    """A line while something else than a fit takes its time; what it gives is called as each of `total` is done."""
    if console is None and not is_watched():
        yield lambda _n=1: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        *((MofNCompleteColumn(), TimeRemainingColumn(compact=True)) if total else (TimeElapsedColumn(),)),
    )
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as line:
        task = line.add_task(what, total=total)
        yield lambda n=1: line.advance(task, n)


class FitProgress(L.Callback):
    """Counts the steps of one stage. The time left is that of the stage, at the pace of this epoch's steps."""

    def __init__(self, *, stage: int, n_stages: int, n_steps: int, console: Console | None = None) -> None:
        self._name = f"stage {stage + 1}/{n_stages}"
        self._n_steps = n_steps
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}", markup=False, style="dim"),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task(self._name, total=self._n_steps, pace="", completed=trainer.global_step)
        self._bar.start()

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._began_s, self._first_step, self._n_images = time.monotonic(), trainer.global_step, 0
        self._show(description=f"{self._name}, epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_batch_end(self, trainer: L.Trainer, _module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self._n_images += int(batch["mask"].sum()) * trainer.world_size
        spent_s = max(time.monotonic() - self._began_s, 1e-6)
        each_s = spent_s / max(trainer.global_step - self._first_step, 1)
        left_s = each_s * (self._n_steps - trainer.global_step)
        pace = f"{self._n_images / spent_s:.0f} images/s, loss {float(outputs['loss']):.3f}, {_clock(left_s)} left"
        self._show(completed=trainer.global_step, pace=pace)

    def on_validation_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._show(description=f"{self._name}, judging epoch {trainer.current_epoch + 1}")

    def teardown(self, *_: Any, **__: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, **fields: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, **fields)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
