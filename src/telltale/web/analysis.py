"""One analysis: from an upload and what was asked of it to a report, whatever happens on the way.

analyst = Analyst(settings, folder, scorers)
with analyst.scanner() as scanner:
    report = analyst.scan(scanner, work, on_progress=..., stop=...)
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

from telltale._report_words import ENDS_EARLY, ERRORS, headline, lede, not_judged, people_seen
from telltale._request import HASH_NOT_KNOWN
from telltale._source import PICTURE_FORMATS
from telltale._text import percent
from telltale._versions import versions
from telltale.errors import (
    FileMissing,
    FileUnreadable,
    InputError,
    Stopped,
    TelltaleError,
    UnknownName,
    WorkerCrashed,
    WorkerError,
    WorkerNotStarted,
    error_from_code,
)
from telltale.runtime import Scorer
from telltale.sandbox import Worker
from telltale.scan import Scanner, ScanSettings
from telltale.scoring import Progress
from telltale.types import ErrorInfo, InputInfo, ModelInfo, Report
from telltale.web.files import DataFolder
from telltale.web.rows import Work
from telltale.web.schema import Outcome, ScanOptions
from telltale.web.settings import ServeSettings

_MEDIA_TYPES = {
    "mov,mp4,m4a,3gp,3g2,mj2": "video/mp4",
    "matroska,webm": "video/webm",
    "ogg": "video/ogg",
    "mpegts": "video/mp2t",
    "avi": "video/x-msvideo",
    **{name.lower(): f"image/{name.lower()}" for name in PICTURE_FORMATS},
    "mpo": "image/jpeg",  # a JPEG with a second picture behind it, as some cameras write; the first is shown
}
"""What a browser is told the upload is: from what was found in it, never from what the sender says. Whatever is a
picture begins with `image/`."""
_UNPLAYED = "application/octet-stream"
_STARTS_WITHIN_S = 60.0
PLAYED_AS = (*dict.fromkeys(_MEDIA_TYPES.values()), _UNPLAYED)


class Analyst:
    """Shared by all workers; each has a `scanner` of its own."""

    def __init__(self, settings: ServeSettings, folder: DataFolder, scorers: Mapping[str, Scorer]) -> None:
        self._settings, self._folder, self._scorers = settings, folder, scorers

    def scanner(self) -> Scanner:
        """A worker process; it takes every model in turn."""
        return Scanner(next(iter(self._scorers.values())), settings=self._scan_settings())

    def scan(self, scanner: Scanner, work: Work, *, on_progress: Progress, stop: threading.Event) -> Report:
        """The report on an upload. Raises `Stopped` once `stop` is set, `UnknownName` for a model that is gone, and
        `WorkerNotStarted`, which says nothing about the file."""
        if work.model not in self._scorers:
            message = f"the server was started anew without the model {work.model!r}; send the file once more"
            raise UnknownName(message)
        scanner.scorer = self._scorers[work.model]
        scanner.settings = self._scan_settings(ScanOptions.model_validate_json(work.options), work.model)
        report = scanner.scan(self._folder.media(work.id), on_progress=on_progress, stop=stop)
        if stop.is_set():
            raise Stopped("stopped on request")
        if report.error is not None and report.error.code == WorkerNotStarted.code:
            raise WorkerNotStarted(report.error.message)
        known = InputInfo(path=report.input.path, sha256=work.sha256, size_bytes=work.size_bytes)
        warnings = tuple(told for told in report.warnings if told != HASH_NOT_KNOWN)  # it was taken as it came
        return report.model_copy(update={"input": known, "warnings": warnings})

    def can_start(self, stop: threading.Event) -> bool:
        """Whether the machine lets a worker process start and answer now; False once `stop` is set."""
        return self.confined(stop) is not None

    def confined(self, stop: threading.Event) -> Mapping[str, str] | None:
        """What a worker process gives up before it reads a file (`_confine.in_force`); None where `can_start` says
        no."""
        try:
            with Worker() as worker:
                (message,) = worker.run("confined", {}, deadline_s=_STARTS_WITHIN_S, stop=stop)
        except (WorkerError, Stopped):
            return None
        return message.data

    def _scan_settings(self, options: ScanOptions | None = None, model: str = "") -> ScanSettings:
        options = options or ScanOptions()
        scorer = self._scorers[model] if model else next(iter(self._scorers.values()))
        return ScanSettings(
            plan=options.plan(scorer.bundle.card.sample),
            detector=options.detector,
            min_face_px=options.min_face_px,
            min_confidence=options.min_confidence,
            search_every_s=options.search_every_s,
            deadline_s=min(options.deadline_s or math.inf, self._settings.deadline_s),
            pictures=True,
            explain=bool(options.explain),
            provenance=True,
            n_threads=self._settings.threads_per_analysis,
        )

    def set_aside(self, work: Work) -> Report:
        message = (
            f"The server stopped {work.attempts} times while this file was being analysed, so it is not tried again; "
            "send it once more to have it tried"
        )
        return self.failed(work, WorkerCrashed(message))

    def failed(self, work: Work, error: TelltaleError) -> Report:
        bundle = self._scorers[work.model].bundle if work.model in self._scorers else None
        return Report.failed(
            ErrorInfo.of(error),
            input=InputInfo(path=str(self._folder.media(work.id)), sha256=work.sha256, size_bytes=work.size_bytes),
            model=ModelInfo(name=work.model, sha256=bundle.sha256 if bundle else ""),
            versions=versions(),
        )


def is_lasting(report: Report) -> bool:
    """Whether the same bytes would end the same way; not so where time, memory, a crash or the disk decided."""
    if report.error is None:
        return not report.is_out_of_time
    error = error_from_code(report.error.code, "")
    return isinstance(error, InputError) and not isinstance(error, (FileMissing, FileUnreadable))


def outcome(report: Report) -> Outcome:
    verdict = report.verdict
    reason = lede(report) if report.error is None else ERRORS.get(report.error.code, "The analysis failed.")
    if others := not_judged(report.tracks):
        reason += f" {others}"
    if ENDS_EARLY & {*verdict.codes}:
        reason += " Only a part of the file was looked at."
    return Outcome(
        label=verdict.label,
        headline=headline(label=verdict.label, any_face=bool(report.tracks)),
        p_fake=verdict.p_fake,
        score="" if verdict.p_fake is None else percent(verdict.p_fake),
        reason=reason,
        n_people=people_seen(report),
    )


def media_type(report: Report) -> str:
    """What a browser is told the upload is; empty where it was not read."""
    return "" if report.video is None else _MEDIA_TYPES.get(report.video.container, _UNPLAYED)


__all__ = ["PLAYED_AS", "Analyst", "is_lasting", "media_type", "outcome"]
