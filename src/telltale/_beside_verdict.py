"""What a report gets beside the verdict, where it was asked for: provenance, stability, the annotated clip.

None of it can turn a finished report into a failed one: what does not come about is a warning that says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from telltale._report_index import report_name
from telltale._request import default_deadline_s
from telltale._text import encodable
from telltale.errors import InputError, WorkerError
from telltale.sandbox import Worker
from telltale.types import Report

Extra = Callable[[float, str], None]
"""Called with the share that is done of all that is made beside the verdict, and what is being made."""
_COST = {"recompressing": 10, "drawing": 3}
"""Beside each other, as measured on clips of 720p."""


def _untold(_share: float, _doing: str) -> None: ...


def shares(on_extra: Extra | None, *, recompressing: bool, drawing: bool) -> dict[str, Extra]:
    """For each of the two a function of its own share, that tells the share of both together."""
    wanted = {"recompressing": recompressing, "drawing": drawing}
    total = sum(_COST[name] for name, is_wanted in wanted.items() if is_wanted)
    made: dict[str, Extra] = {}
    before = 0
    for name in (name for name, is_wanted in wanted.items() if is_wanted):

        def tell(share: float, doing: str, before: int = before, cost: int = _COST[name]) -> None:
            if on_extra is not None:
                on_extra((before + cost * share) / total, doing)

        made[name] = tell
        before += _COST[name]
    return made


def with_provenance(
    report: Report, path: str, worker: Worker, *, deadline_s: float | None, stop: threading.Event | None
) -> Report:
    """Content Credentials and what the container says."""
    from telltale.provenance import read_provenance

    started = time.perf_counter()
    allowed_s = deadline_s or default_deadline_s(None, report.input.size_bytes)
    found = read_provenance(path, worker, deadline_s=allowed_s, stop=stop)
    is_out_of_time = report.is_out_of_time or time.perf_counter() - started >= allowed_s
    return _with(report, "provenance", started, provenance=found, is_out_of_time=is_out_of_time)


def with_stability(
    report: Report,
    path: str,
    judge: Callable[[Path], Report],
    *,
    deadline_s: float | None,
    stop: threading.Event | None,
    on_progress: Extra = _untold,
) -> Report:
    """How the verdict moves under recompression."""
    from telltale.stability import measure_stability

    started = time.perf_counter()
    found = measure_stability(
        report,
        path,
        judge,
        deadline_s=deadline_s,
        stop=stop,
        on_progress=lambda done, total: on_progress(done / total, f"recompressing {done + 1} of {total}"),
    )
    return _with(report, "stability", started, stability=found)


def with_annotation(
    report: Report,
    path: str,
    out_dir: Path,
    *,
    deadline_s: float | None,
    stop: threading.Event | None,
    on_progress: Extra = _untold,
) -> Report:
    """The annotated clip, in the report's folder. Raises `OutputError` where the disk takes nothing."""
    from telltale.annotate import annotate

    started = time.perf_counter()
    duration_s = report.video.duration_s if report.video else None

    def drawn(pts_s: float) -> None:
        on_progress(min(pts_s / duration_s, 1.0) if duration_s else 0.0, "drawing")

    drawn(0.0)
    folder = out_dir / report_name(report)
    try:
        made = annotate(report, path, folder, deadline_s=deadline_s, stop=stop, on_progress=drawn)
    except (InputError, WorkerError) as error:
        told = f"The annotated clip could not be made: {encodable(error.message)}"
        return _with(report, "annotate", started, warnings=(*report.warnings, told))
    return _with(report, "annotate", started, attachments=made)


def _with(report: Report, stage: str, started: float, **fields: Any) -> Report:
    spent_s = time.perf_counter() - started
    total_s = report.timings_s.get("total", 0.0) + spent_s
    timings_s = {**report.timings_s, stage: round(spent_s, 4), "total": round(total_s, 4)}
    return report.model_copy(update={**fields, "timings_s": timings_s})
