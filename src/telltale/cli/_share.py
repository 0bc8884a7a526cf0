"""A progress line that knows only a share done and what is being done; nothing where standard error is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WHAT_CHARS = 28


@contextmanager
def share_progress(what: str) -> Iterator[Callable[[float, str], None] | None]:
    """Gives a function of (share done, what is being done)."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from telltale._text import visible

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)

        def show(share: float, doing: str) -> None:
            bar.update(task, completed=share, description=visible(doing)[:_WHAT_CHARS] or what)

        yield show


__all__ = ["share_progress"]
