"""The queue and those who work it off: N threads, each with a `Scanner` whose worker process can be killed.

jobs = Jobs(settings, scan_db, folder, scorers, metrics=metrics, on_change=hub.changed, on_gone=hub.gone)
jobs.start()
row = jobs.submit(upload, ...)      # queued, or answered at once from the database
jobs.remove(row.id, owner="")       # cancels what waits or runs, deletes what has ended
jobs.stop()
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from telltale import __version__
from telltale.doctor import isolation
from telltale.errors import Stopped, TelltaleError, WorkerCrashed, WorkerNotStarted
from telltale.runtime import Scorer
from telltale.scan import Scanner
from telltale.types import ErrorInfo, Report
from telltale.web.analysis import Analyst, is_lasting, media_type, outcome
from telltale.web.files import DataFolder
from telltale.web.metrics import Metrics
from telltale.web.room import RESULT_BYTES
from telltale.web.rows import Ending, NewScan, ScanRow, Work
from telltale.web.scan_db import OverShare, ScanDb
from telltale.web.schema import ENDED, Outcome, Progress, ScanEntry, ScanOptions, State
from telltale.web.settings import ServeSettings
from telltale.web.upload import Upload

_log = logging.getLogger("telltale.web")
_TIDY_EVERY_S = 30.0
_TRY_AGAIN_S = 1.0
_LONGEST_WAIT_S = 120.0
"""That anybody is sent away for."""
_QUEUE = None
"""Has places that are handed out, as each client has."""
_PLAUSIBLE_SHARE = 0.05
"""Below this an estimate of the time left means nothing."""


@dataclass(slots=True)
class _Running:
    """One analysis under way."""

    work: Work
    stop: threading.Event = field(default_factory=threading.Event)
    started_at: float = field(default_factory=time.monotonic)
    share: float | None = None
    frames: int = 0

    def progress(self) -> Progress:
        left_s = None
        if self.share is not None and self.share >= _PLAUSIBLE_SHARE:
            left_s = round((time.monotonic() - self.started_at) / self.share * (1 - self.share), 1)
        stage = "analysing" if self.frames else "starting"
        return Progress(stage=stage, share=self.share, frames=self.frames, left_s=left_s)  # type: ignore[arg-type]


class Jobs:
    """Everything between an upload that has arrived and its result."""

    def __init__(
        self,
        settings: ServeSettings,
        scan_db: ScanDb,
        folder: DataFolder,
        scorers: Mapping[str, Scorer],
        *,
        metrics: Metrics,
        on_change: Callable[[str], None],
        on_gone: Callable[[str, str], None],
    ) -> None:
        """Both are called from any thread: `on_change` with the id of an analysis that got on, or an empty one where
        the queue moved, `on_gone` with the owner and the id of a scan that was deleted or has expired."""
        self._settings, self._scan_db, self._folder, self._scorers = settings, scan_db, folder, scorers
        self._analyst = Analyst(settings, folder, scorers)
        self._metrics = metrics
        self._on_change, self._on_gone = on_change, on_gone
        self._news = threading.Condition()
        self._is_stopping = threading.Event()
        self._running: dict[str, _Running] = {}
        self._took_s = 2.0
        self._next_place_at: dict[str | None, float] = {}
        self._held_up: set[str] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"analyst-{number}", daemon=True)
            for number in range(settings.workers)
        ]
        self._threads.append(threading.Thread(target=self._tidy, name="tidy", daemon=True))

    def start(self) -> None:
        """Take up what a crash left behind, then work."""
        for work in self._scan_db.recover():
            _log.warning("set aside after %d attempts: %s", work.attempts, work.id)
            self._conclude(work, self._analyst.set_aside(work))
        self._folder.drop_strays(self._scan_db.analysis_ids())
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Kill what runs; it waits again for the next start."""
        self._is_stopping.set()
        for running in list(self._running.values()):
            running.stop.set()
        with self._news:
            self._news.notify_all()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(timeout=10)

    @property
    def is_alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    @property
    def is_held_up(self) -> bool:
        """Whether nothing is analysed because the machine starts no process; a single worker that starts is enough."""
        return len(self._held_up) >= self._settings.workers

    @property
    def n_running(self) -> int:
        return len(self._running)

    def submit(self, upload: Upload, *, options: ScanOptions, model: str, owner: str, client: str) -> ScanRow:
        """Keep an upload and queue its analysis, or find an equal one of the same owner: that somebody else sent the
        same bytes is not told. Raises `QueueFull`, `ClientBusy`, and `OverShare` where others filled the disk
        meanwhile."""
        settings = options.model_dump(exclude_none=True)
        parts = [owner, upload.sha256, self._scorers[model].bundle.sha256, settings, __version__]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()
        if self.held_by(client) > self._folder.room_bytes():
            raise OverShare
        self._folder.keep_upload(upload.path, upload.id)
        try:
            row = self._scan_db.admit(
                NewScan(
                    id=upload.id,
                    key=key,
                    owner=owner,
                    client=client,
                    name=upload.name,
                    sha256=upload.sha256,
                    size_bytes=upload.size_bytes,
                    model=model,
                    options=json.dumps(settings),
                ),
                queue_length=self._settings.queue_length,
                per_client=self._settings.per_client,
            )
        except BaseException:
            self._folder.drop_media(upload.id)
            raise
        if row.analysis_id != upload.id:
            self._folder.drop_media(upload.id)
            self._metrics.reused.add()
        self._on_change("")
        with self._news:
            for of in self._next_place_at.keys() & {_QUEUE, client}:  # one who was told to come back has
                self._next_place_at[of] -= self._took_s / self._settings.workers
            self._news.notify()
        return row

    def held_by(self, client: str) -> int:
        """How many bytes of the disk this client's scans take: uploads that are kept, results with their pages and
        clips, and what is reckoned for results to come."""
        held_bytes = 0
        for kept in self._scan_db.kept_for(client):
            held_bytes += 0 if kept.state == "failed" else kept.size_bytes
            held_bytes += self._folder.result_bytes(kept.id) if kept.state in ENDED else RESULT_BYTES
        return held_bytes

    def remove(self, scan_id: str, *, owner: str) -> str | None:
        """Cancel the scan if it waits or runs, delete it if it has ended: `cancelled`, `deleted`, or None."""
        row = self._scan_db.get(scan_id, owner=owner)
        if row is None:
            return None
        dropped = self._scan_db.cancel(scan_id, owner=owner)
        if dropped is None:
            self._folder.drop(self._scan_db.delete(scan_id, owner=owner))
            self._folder.drop_made(row.analysis_id, scan_id)
            self._on_gone(owner, scan_id)
            return "deleted"
        for analysis_id in dropped:
            if running := self._running.get(analysis_id):
                running.stop.set()
            self._folder.drop_media(analysis_id)
        self._on_change("")
        return "cancelled"

    def entry(self, row: ScanRow) -> ScanEntry:
        """What the API says about a scan."""
        return self.entries([row])[0]

    def entries(self, rows: Sequence[ScanRow]) -> list[ScanEntry]:
        """`entry` of each; those that wait have their places from one look at the queue."""
        places = self._scan_db.places() if any(row.state == "queued" for row in rows) else {}
        return [self._entry(row, places) for row in rows]

    def _entry(self, row: ScanRow, places: Mapping[str, int]) -> ScanEntry:
        """What another scan of the same bytes goes on with is not said of one that was cancelled."""
        if row.state == "cancelled":
            row = replace(row, started_at=None, outcome=None, error=None, has_thumbnail=False)
        return ScanEntry(
            id=row.id,
            state=row.state,
            name=row.name,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            model=row.model,
            settings=ScanOptions.model_validate_json(row.options),
            created_at=_when(row.created_at),
            started_at=None if row.started_at is None else _when(row.started_at),
            finished_at=None if row.finished_at is None else _when(row.finished_at),
            expires_at=None if row.finished_at is None else _when(row.finished_at + self._settings.keep_s),
            progress=self._progress(row, places),
            outcome=None if row.outcome is None else Outcome.model_validate_json(row.outcome),
            error=None if row.error is None else self._error(row, row.error),
            has_media=bool(row.media_type) and row.state == "done",
            has_thumbnail=bool(row.has_thumbnail),
        )

    def _error(self, row: ScanRow, error: str) -> ErrorInfo:
        return ErrorInfo.model_validate(self._folder.with_name(json.loads(error), row.analysis_id, row.name))

    def _progress(self, row: ScanRow, places: Mapping[str, int]) -> Progress:
        if row.state in ENDED:
            return Progress(stage="ended", share=1.0 if row.state == "done" else None)
        if running := self._running.get(row.analysis_id):
            return running.progress()
        if row.state == "running":
            return Progress(stage="starting")
        return Progress(stage="waiting", ahead=places.get(row.analysis_id, 0))  # 0: taken up just now

    def retry_after_s(self) -> float:
        """When to come back, as the queue may have a place."""
        return self._next_place_s(_QUEUE)

    def own_retry_after_s(self, client: str) -> float:
        """When to come back, as one of this client's own scans may have ended."""
        return self._next_place_s(client)

    def _next_place_s(self, of: str | None) -> float:
        """Everybody turned away is told another time, as places come free one by one."""
        now = time.monotonic()
        with self._news:
            self._next_place_at = {whose: at for whose, at in self._next_place_at.items() if at > now}
            later = self._next_place_at.get(of, now) + self._took_s / self._settings.workers
            self._next_place_at[of] = min(later, now + _LONGEST_WAIT_S)
            return self._next_place_at[of] - now

    def _work(self) -> None:
        while not self._is_stopping.is_set():
            try:
                with self._analyst.scanner() as scanner:
                    while (work := self._next()) is not None:
                        self._attempt(scanner, work)
            except Exception:  # noqa: BLE001 - one fault must not cost a worker for good
                _log.exception("a worker stumbled")
                self._is_stopping.wait(1.0)

    def _next(self) -> Work | None:
        while not self._is_stopping.is_set():
            work = self._scan_db.claim()
            if work is not None:
                return work
            with self._news:
                self._news.wait(timeout=1.0)
        return None

    def _attempt(self, scanner: Scanner, work: Work) -> None:
        """Analyse, or put back what came to no end through no fault of its own: not before it is out of `_running`, as
        another thread may take it up at once."""
        try:
            self._analyse(scanner, work)
        except Stopped:
            if self._is_stopping.is_set():
                self._scan_db.put_back(work.id)
        except WorkerNotStarted as error:
            self._hold_up(work, error)

    def _hold_up(self, work: Work, error: WorkerNotStarted) -> None:
        """Let the queue wait until the machine starts processes again, rather than blame file after file."""
        me = threading.current_thread().name
        if not self._held_up:  # said once, not by every worker
            _log.warning("analyses wait until a process can be started: %s", error.message)
        self._held_up.add(me)
        try:
            self._once_possible(work, lambda: self._scan_db.put_back(work.id))
            self._on_change("")
            while not self._is_stopping.wait(_TRY_AGAIN_S) and not self._analyst.can_start(self._is_stopping):
                pass
        finally:
            self._held_up.discard(me)

    def _analyse(self, scanner: Scanner, work: Work) -> None:
        """Raises `Stopped` and `WorkerNotStarted`; all else is an end of the analysis."""
        self._running[work.id] = running = _Running(work)
        # `stop` or `remove` may have come between `claim` and now, and not found it.
        if self._is_stopping.is_set() or not self._scan_db.is_running(work.id):
            running.stop.set()
        self._on_change("")
        try:
            try:
                report = self._scan(scanner, running)
            except (Stopped, WorkerNotStarted):
                raise
            except TelltaleError as error:
                _log.warning("analysis %s failed: %s", work.id, error.message)
                report = self._analyst.failed(work, error)
            except Exception as error:  # noqa: BLE001 - a fault of ours is the job's failure, not the server's
                _log.exception("analysis %s failed", work.id)
                report = self._analyst.failed(work, WorkerCrashed(f"the analysis broke off ({type(error).__name__})"))
            self._once_possible(work, lambda: self._conclude(work, report))
            self._took_s += 0.2 * (time.monotonic() - running.started_at - self._took_s)
        finally:
            del self._running[work.id]
            self._on_change("")

    def _scan(self, scanner: Scanner, running: _Running) -> Report:
        def on_progress(share: float | None, n_frames: int) -> None:
            running.share, running.frames = share, n_frames
            self._on_change(running.work.id)

        return self._analyst.scan(scanner, running.work, on_progress=on_progress, stop=running.stop)

    def _once_possible(self, work: Work, write: Callable[[], None]) -> None:
        """A disk that is full takes no end of a scan either: it runs until there is room again, or the server stops."""
        while True:
            try:
                write()
                return
            except sqlite3.OperationalError as error:
                _log.warning("what became of %s cannot be written, tried again: %s", work.id, error)
            if self._is_stopping.wait(_TRY_AGAIN_S):
                self._scan_db.put_back(work.id)
                return

    def _conclude(self, work: Work, report: Report) -> None:
        state: State = "failed" if report.verdict.label == "failed" else "done"
        try:
            self._folder.keep_result(work.id, report)
        except TelltaleError as error:
            report, state = self._analyst.failed(work, error), "failed"
            _log.error("the result of %s cannot be written: %s", work.id, error.message)
        error_data = None if report.error is None else report.error.model_dump()
        ending = Ending(
            state=state,
            is_reusable=is_lasting(report),
            outcome=outcome(report).model_dump(),
            error=None if error_data is None else self._folder.without_path(error_data, work.id),
            media_type=media_type(report),
            has_thumbnail=bool(report.pictures.thumbnails),
        )
        if not self._scan_db.finish(work, ending):
            self._folder.drop([work.id])
            return
        if state == "failed":
            self._folder.drop_media(work.id)
        took_s = report.timings_s.get("total")
        self._metrics.ended(report.verdict.label, report.error.code if report.error else "", took_s)

    def _tidy(self) -> None:
        """Remove uploads and results whose time is over."""
        self._say_what_is_not_confined()
        while not self._is_stopping.wait(min(_TIDY_EVERY_S, self._settings.keep_s / 4)):
            try:
                self.expire()
            except Exception:  # noqa: BLE001 - tried again in half a minute
                _log.exception("removing old scans failed")

    def _say_what_is_not_confined(self) -> None:
        """Once, at the start: a service's filter may forbid what the same program can do elsewhere."""
        try:
            for check in isolation(self._analyst.confined(self._is_stopping) or {}):
                if check.status != "ok":
                    _log.warning("%s: %s -> %s", check.name, check.told, check.fix)
        except Exception:  # noqa: BLE001 - it must not keep this thread from its work
            _log.exception("what confines a worker cannot be told")

    def expire(self) -> Sequence[str]:
        """Remove what has been kept long enough; returns the analyses whose files went."""
        scans, gone = self._scan_db.expire(time.time() - self._settings.keep_s)
        self._folder.drop(gone)
        for analysis_id, scan_id, owner in scans:
            self._folder.drop_made(analysis_id, scan_id)
            self._on_gone(owner, scan_id)
        return gone


def _when(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, tz=UTC)


__all__ = ["Jobs"]
