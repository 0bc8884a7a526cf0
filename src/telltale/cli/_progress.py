"""One progress line on standard error while files are scanned; nothing where that is no terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from telltale._text import visible

_NAME_CHARS = 28


class ScanProgress:
    """Counts files and frames; `on_frames` may be called from several threads."""

    def __init__(self, progress: Progress | None, n_files: int, *, n_jobs: int) -> None:
        self._progress = progress
        self._n_files = n_files
        self._n_done = 0
        self._n_frames_done = 0
        self._follows_frames = n_jobs == 1
        self._lock = threading.Lock()
        self._task: TaskID | None = None
        if progress is not None:
            self._task = progress.add_task("starting", total=n_files, detail="")

    def start_file(self, path: str) -> None:
        name = visible(path.rsplit("/", 1)[-1])
        short = name if len(name) <= _NAME_CHARS else name[: _NAME_CHARS - 1] + "…"
        self._update(description=short if self._follows_frames else "scanning")

    def on_frames(self, share: float | None, n_frames: int) -> None:
        """The share of the current file that was read, and its frames so far."""
        if self._follows_frames:
            self._update(completed=self._n_done + (share or 0.0) * 0.99, detail=f"{n_frames} frames")

    def finish_file(self) -> None:
        with self._lock:
            self._n_done += 1
        self._update(completed=self._n_done, detail="")

    def _update(self, **fields: object) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, **fields)  # type: ignore[arg-type]


@contextmanager
def scan_progress(n_files: int, *, n_jobs: int) -> Iterator[ScanProgress]:
    """A line with file, frames, bar, count and time left."""
    # Rich would also draw into a file where FORCE_COLOR is set.
    if not sys.stderr.isatty():
        yield ScanProgress(None, n_files, n_jobs=n_jobs)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[detail]}", markup=False, style="dim"),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield ScanProgress(progress, n_files, n_jobs=n_jobs)


__all__ = ["ScanProgress", "scan_progress"]
