"""A path in, a `Report` out. Bad input is a report that says so, never an exception.

report = scan("clip.mp4")
report.verdict.label        # real, fake, uncertain, no_face or failed

with Scanner() as scanner:  # one worker and one model for many files
    for path in paths:
        print(scanner.scan(path).verdict)

What happens to one file is in `_scan_one`, top to bottom.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from telltale._beside_verdict import Extra
from telltale._scan_beside import scan_beside, scan_in_turn
from telltale._scan_one import extract_request
from telltale._scan_settings import AnyPath, ScanSettings, checked_settings, is_count
from telltale._scanner import Scanner, load_scorer
from telltale.bundle import Bundle
from telltale.errors import UsageError
from telltale.runtime import Scorer
from telltale.scoring import Progress
from telltale.types import Report


def scan(
    path: AnyPath,
    *,
    model: str | Path | Bundle | Scorer = "default",
    settings: ScanSettings | None = None,
    on_progress: Progress | None = None,
    on_extra: Extra | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """The report on one video or picture. For many, `Scanner` or `scan_many` save the start of worker and model.

    `on_progress(share, n_frames)`: share of the video that was read, None where its length is not known, and frames
    looked at. `on_extra(share, doing)`: of all that is made after it, where stability or the annotated clip was asked
    for. Another thread may set `stop`. Whatever is wrong with the file is in the report. Raises `ModelError`,
    `DeviceMissing`, `Stopped`, `OutputError` where `annotate_into` cannot be written, and `UsageError` for what is no
    path and for what the model cannot do (heat maps).
    """
    with Scanner(model, settings=settings) as scanner:
        return scanner.scan(path, on_progress=on_progress, on_extra=on_extra, stop=stop)


def scan_many(
    paths: AnyPath | Iterable[AnyPath],
    *,
    model: str | Path | Bundle | Scorer = "default",
    settings: ScanSettings | None = None,
    jobs: int = 1,
    on_progress: Progress | None = None,
    on_extra: Extra | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Report]:
    """Reports in the order of `paths`, from `jobs` worker processes that share one model. See `scan`; with several jobs
    `on_progress` and `on_extra` are called from several threads, and do not say for which file.

    `paths` may never end: at most 2 `jobs` of them are taken before the first of their reports is given. With several
    jobs, what is done when `stop` is set or Ctrl-C pressed is given before `Stopped` or KeyboardInterrupt is raised.
    """
    settings = checked_settings(settings)
    if not is_count(jobs):
        raise UsageError(f"jobs must be a whole number of at least 1, got {jobs!r}")
    is_one = isinstance(paths, str | bytes | os.PathLike) or not isinstance(paths, Iterable) or hasattr(paths, "read")
    todo: Iterable[AnyPath] = [paths] if is_one else paths  # type: ignore[list-item, assignment]
    if jobs == 1:
        return scan_in_turn(todo, model, settings, on_progress, on_extra, stop)
    return scan_beside(todo, model, replace(settings, n_threads=1), jobs, on_progress, on_extra, stop)


__all__ = ["ScanSettings", "Scanner", "extract_request", "load_scorer", "scan", "scan_many"]
