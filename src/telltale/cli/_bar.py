"""One progress line on standard error; nothing where that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

_WHAT_CHARS = 28


class Update(Protocol):
    """What is left out stays as it was; `detail` goes."""

    def __call__(
        self, done: float | None = None, total: float | None = None, *, doing: str | None = None, detail: str = ""
    ) -> None: ...


@contextmanager
def bar(what: str, *columns: str) -> Iterator[Update]:
    """A line of what is being done, a bar, and of `columns` count, share, left (time) and detail, in their order."""
    # Rich would also draw into a file where FORCE_COLOR is set.
    if not sys.stderr.isatty():
        yield lambda *_, **__: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from telltale._text import visible

    known: dict[str, ProgressColumn] = {
        "count": MofNCompleteColumn(),
        "share": TaskProgressColumn(),
        "left": TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        "detail": TextColumn("{task.fields[detail]}", markup=False, style="dim"),
    }
    shown = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        *(known[name] for name in columns),
    )
    with Progress(*shown, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, detail="")

        def update(
            done: float | None = None, total: float | None = None, *, doing: str | None = None, detail: str = ""
        ) -> None:
            text = None if doing is None else _short(visible(doing or what))
            progress.update(task, completed=done, total=total, description=text, detail=detail)

        yield update


def _short(text: str) -> str:
    return text if len(text) <= _WHAT_CHARS else text[: _WHAT_CHARS - 1] + "…"


@contextmanager
def share_progress(what: str) -> Iterator[Callable[[float, str], None]]:
    """Gives a function of (share done, what is being done)."""
    with bar(what, "share", "left") as update:
        update(0.0, 1.0)
        yield lambda share, doing: update(share, doing=doing)
