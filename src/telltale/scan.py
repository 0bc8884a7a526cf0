"""The whole chain, top to bottom: a path in, a `Report` out. Bad input is a report that says so, never an exception.

report = scan("clip.mp4")
report.verdict.label        # real, fake, uncertain, no_face or failed

with Scanner() as scanner:  # one worker and one model for many files
    for path in paths:
        print(scanner.scan(path).verdict)
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from telltale import _beside_verdict
from telltale._cam import Head, find_head
from telltale._card_words import summarise_card
from telltale._fork import renew_after_fork
from telltale._report_words import NO_FACE_SOUGHT, to_see_more, what_scores
from telltale._request import ExtractRequest, check_detector, run_extract
from telltale._scan_settings import AnyPath, ScanSettings, checked_settings, is_count, path_name
from telltale._text import encodable
from telltale._versions import versions
from telltale.aggregate import decide
from telltale.bundle import Bundle, ModelCard, load_bundle
from telltale.errors import DeadlineExceeded, FileMissing, NotAFile, Stopped, TelltaleError, UsageError
from telltale.faces import SEARCH_EVERY_S, DetectorConfig, files_read
from telltale.runtime import Scorer
from telltale.sandbox import Powers, Worker, WorkerLimits
from telltale.scoring import Findings, Progress
from telltale.types import ErrorInfo, InputInfo, ModelInfo, Report

_HASH_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.1


class Scanner:
    """A model and a worker process, kept from file to file. One file at a time: other threads wait for their turn, and
    `scan_many` runs several. In a process that is forked from this one it has a worker of its own."""

    def __init__(
        self,
        model: str | Path | Bundle | Scorer = "default",
        *,
        settings: ScanSettings | None = None,
    ) -> None:
        """Load `model`; a `Scorer` is shared as it is. Raises `ModelError` if it or the detector's weights cannot be
        used, `UsageError` if it cannot be explained and that was asked for.

        The model is made ready while the first file is read: `DeviceMissing`, and `BundleInvalid` for a graph that is
        not what the card says, come with that file, or with `scorer`.
        """
        self.settings = checked_settings(settings)
        self._worker = Worker()
        self._worker.warm("extract")  # both while the bundle is looked at
        self._executor = _executor()
        self._turn = threading.RLock()
        self._ready: Scorer | None = None
        try:
            if isinstance(model, Scorer):
                self.scorer = model
            else:
                self._bundle = model if isinstance(model, Bundle) else load_bundle(model)
                self._loading: Future[Scorer] | None = None
            self._let_detector_read()
            self._heads: dict[str, Head] = {}
            self._head()
        except BaseException:
            self.close()
            raise
        renew_after_fork(self)

    def renew(self) -> None:
        """See `_fork`. A model that was ready is shared; one in the making is made anew."""
        self._executor, self._turn = _executor(), threading.RLock()
        if self._ready is None:
            self._loading = None
        else:
            self.scorer = self._ready

    @property
    def scorer(self) -> Scorer:
        """The model, once it is ready; another may take its place between two files."""
        return self._load().result()

    @scorer.setter
    def scorer(self, scorer: Scorer) -> None:
        self._bundle, self._ready, loaded = scorer.bundle, scorer, Future[Scorer]()
        loaded.set_result(scorer)
        self._loading = loaded

    def _load(self) -> Future[Scorer]:
        """The model, in the making from the first call on."""
        if self._loading is None:
            self._loading = self._executor.submit(self._make_ready)
        return self._loading

    def _make_ready(self) -> Scorer:
        """Beside the worker that reads the first file, which takes as long."""
        self._ready = load_scorer(self._bundle, self.settings)
        import numpy.ma  # noqa: F401 - the first median imports it, when nothing else is left to do

        return self._ready

    def _let_detector_read(self) -> None:
        """A detector with weights of its own needs a worker that may read them, and can use them."""
        name, config = _detector(self._bundle.card, self.settings)
        files = files_read(name, config=config)
        if files:
            self._worker.close()
            self._worker = Worker(WorkerLimits(powers=Powers(may_read=files)))
            check_detector(self._worker, name, config)

    def scan(
        self,
        path: AnyPath,
        *,
        on_progress: Progress | None = None,
        on_extra: _beside_verdict.Extra | None = None,
        stop: threading.Event | None = None,
    ) -> Report:
        """The report on one file. Whatever is wrong with the file is in the report. Raises `UsageError` for what is no
        path, and where `on_progress` asks for another scan.

        Another thread may set `stop`: the worker is then killed and `Stopped` raised.
        """
        name, turn = path_name(path), self._turn
        while not turn.acquire(timeout=-1 if stop is None else _LOOK_EVERY_S):
            if stop is not None and stop.is_set():
                raise Stopped("stopped on request")
        try:
            return self._report(name, on_progress, on_extra, stop)
        finally:
            turn.release()

    def _report(
        self,
        path: str,
        on_progress: Progress | None,
        on_extra: _beside_verdict.Extra | None,
        stop: threading.Event | None,
    ) -> Report:
        settings = self.settings
        report = self._scan(path, on_progress=on_progress, stop=stop)
        if report.error is not None:
            return report
        limits: dict[str, Any] = {"deadline_s": settings.deadline_s, "stop": stop}
        told = _beside_verdict.shares(
            on_extra, recompressing=settings.stability, drawing=settings.annotate_into is not None
        )
        if settings.provenance:
            report = _beside_verdict.with_provenance(report, path, self._worker, **limits)
        if settings.stability:
            report = _beside_verdict.with_stability(
                report,
                path,
                lambda copy: self._scan(copy, stop=stop, is_plain=True),
                on_progress=told["recompressing"],
                **limits,
            )
        if settings.annotate_into is not None:
            report = _beside_verdict.with_annotation(
                report, path, settings.annotate_into, on_progress=told["drawing"], **limits
            )
        return report

    def _scan(
        self,
        path: AnyPath,
        *,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
        is_plain: bool = False,
    ) -> Report:
        """`is_plain`: without pictures."""
        started = time.perf_counter()
        request = extract_request(path, self._bundle.card, self.settings, is_plain=is_plain)
        findings = Findings(
            self._bundle.card,
            lambda: self.scorer,
            self._executor,
            pictures=self.settings.pictures and not is_plain,
            head=None if is_plain else self._head(),
            on_progress=on_progress,
        )
        decided: dict[str, Any] = {}
        failure: ErrorInfo | None = None
        known_by = ("", 0)
        try:
            run = run_extract(self._worker, request, stop=stop)
            self._load()  # not before the worker knows what to do
            with closing(run) as messages:
                for message in messages:
                    findings.take(message)
            decided = self._decided(findings)
        except (Stopped, UsageError):  # neither says anything about the file
            raise
        except TelltaleError as error:
            self._load().result()  # raises: a model that cannot be used is no fault of the file
            failure, known_by = ErrorInfo.of(error), self._fingerprint(request.path, error, stop)
        findings.timings_s["total"] = round(time.perf_counter() - started, 4)
        known = self._circumstances(request, findings, known_by)
        return Report(**decided, **known) if failure is None else Report.failed(failure, **known)

    def _fingerprint(self, path: str, error: TelltaleError, stop: threading.Event | None) -> tuple[str, int]:
        """SHA-256 and size of a file that could not be scanned; ("", 0) where nothing can be read, or not in time."""
        if isinstance(error, DeadlineExceeded | FileMissing | NotAFile):
            return "", 0
        from telltale._said import fingerprint  # not before a worker is at work beside

        try:
            with closing(self._worker.run("hash", {"path": path}, deadline_s=_HASH_WITHIN_S, stop=stop)) as messages:
                return fingerprint(messages)
        except Stopped:
            raise
        except TelltaleError:  # the report says already what is wrong with the file
            return "", 0

    def _head(self) -> Head | None:
        """What heat maps are made with, where they are asked for."""
        if not self.settings.explain:
            return None
        bundle = self._bundle
        if bundle.sha256 not in self._heads:
            self._heads[bundle.sha256] = find_head(bundle)
        return self._heads[bundle.sha256]

    def close(self) -> None:
        """Stop the worker process."""
        self._worker.close()
        self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Scanner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _decided(self, findings: Findings) -> dict[str, Any]:
        card = self._bundle.card
        told = summarise_card(card)
        verdict, tracks = decide(
            findings.finish(),
            calibration=card.calibration,
            thresholds=card.thresholds,
            minimum=card.minimum,
            is_still=findings.is_still,
            farthest=None if card.gate is None else card.gate.limit,
            to_see_more=to_see_more(
                findings.video,
                findings.frames,
                findings.codes,
                asdict(self.settings.plan or card.sample),
                is_out_of_time=findings.is_out_of_time,
            ),
            what=what_scores(told),
        )
        codes = tuple(dict.fromkeys((*verdict.codes, *findings.codes)))
        first, *rest = verdict.reasons
        if told.is_whole_frame:
            first += f" {NO_FACE_SOUGHT}"
        reasons = (first, *findings.partial, *rest)  # a verdict on a part must not read like one on the whole
        return {
            "verdict": verdict.model_copy(update={"codes": codes, "reasons": reasons}),
            "tracks": findings.as_displayed(tracks),
            "pictures": findings.pictures(),
            "explanation": findings.explanation,
            "is_out_of_time": findings.is_out_of_time,
        }

    def _circumstances(self, request: ExtractRequest, findings: Findings, known_by: tuple[str, int]) -> dict[str, Any]:
        video = findings.video
        path, card = encodable(request.path), self._bundle.card
        if video is not None and (video.sha256 or not known_by[0]):
            known_by = video.sha256, video.size_bytes
        sha256, size_bytes = known_by
        settings = asdict(request) | {"path": path, "device": self.scorer.device}
        return {
            "input": InputInfo(path=path, sha256=sha256, size_bytes=size_bytes),
            "video": replace(video, path=path) if video else None,
            "model": ModelInfo(name=card.name, sha256=self._bundle.sha256, card=summarise_card(card)),
            "settings": settings,
            "warnings": findings.warnings,
            "frames": findings.frames,
            "timings_s": findings.timings_s,
            "versions": versions(),
        }


def extract_request(
    path: AnyPath, card: ModelCard, settings: ScanSettings, *, is_plain: bool = False
) -> ExtractRequest:
    """What the worker is asked to do; what `settings` leave open comes from the model's card."""
    detector, config = _detector(card, settings)
    return ExtractRequest(
        path=path_name(path),
        plan=settings.plan or card.sample,
        detector=detector,
        detector_config=config,
        crop=card.crop,
        thumbnails=(settings.pictures or settings.explain) and not is_plain,
        deadline_s=settings.deadline_s,
        n_decode_threads=1 if settings.n_threads == 1 else None,
    )


def _detector(card: ModelCard, settings: ScanSettings) -> tuple[str, DetectorConfig]:
    confidence = settings.min_confidence
    return settings.detector or card.detector.name, DetectorConfig(
        min_face_px=settings.min_face_px,
        side_px=card.detector.side_px,
        min_confidence=card.detector.min_confidence if confidence is None else confidence,
        model_path=settings.detector_model,
        search_every_s=SEARCH_EVERY_S if settings.search_every_s is None else settings.search_every_s,
    )


def load_scorer(model: str | Path | Bundle, settings: ScanSettings | None = None) -> Scorer:
    """The model, checked and ready. Raises `ModelError` if it cannot be used, `DeviceMissing` where CUDA was asked for
    and is not there."""
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    settings = checked_settings(settings)
    return Scorer(bundle, n_threads=settings.n_threads, device=settings.device)


def scan(
    path: AnyPath,
    *,
    model: str | Path | Bundle | Scorer = "default",
    settings: ScanSettings | None = None,
    on_progress: Progress | None = None,
    on_extra: _beside_verdict.Extra | None = None,
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
    on_extra: _beside_verdict.Extra | None = None,
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
        return _scan_in_turn(todo, model, settings, on_progress, on_extra, stop)
    return _scan_beside(todo, model, replace(settings, n_threads=1), jobs, on_progress, on_extra, stop)


def _scan_in_turn(
    paths: Iterable[AnyPath],
    model: str | Path | Bundle | Scorer,
    settings: ScanSettings,
    on_progress: Progress | None,
    on_extra: _beside_verdict.Extra | None,
    stop: threading.Event | None,
) -> Iterator[Report]:
    with Scanner(model, settings=settings) as scanner:
        for path in paths:
            yield scanner.scan(path, on_progress=on_progress, on_extra=on_extra, stop=stop)


def _scan_beside(
    paths: Iterable[AnyPath],
    model: str | Path | Bundle | Scorer,
    settings: ScanSettings,
    jobs: int,
    on_progress: Progress | None,
    on_extra: _beside_verdict.Extra | None,
    stop: threading.Event | None,
) -> Iterator[Report]:
    is_over = _Either(stop)
    idle: SimpleQueue[Scanner] = SimpleQueue()

    def scan_one(path: AnyPath) -> Report:
        scanner = idle.get()
        try:
            return scanner.scan(path, on_progress=on_progress, on_extra=on_extra, stop=is_over)
        finally:
            idle.put(scanner)

    with ExitStack() as stack:
        first = stack.enter_context(Scanner(model, settings=settings))
        idle.put(first)
        for _ in range(jobs - 1):
            idle.put(stack.enter_context(Scanner(first.scorer, settings=settings)))
        pool = stack.enter_context(ThreadPoolExecutor(jobs, thread_name_prefix="scan"))
        stack.callback(is_over.set)  # before the pool waits for what is under way
        waiting: deque[Future[Report]] = deque()
        try:
            for path in paths:
                waiting.append(pool.submit(scan_one, path))
                while waiting and (waiting[0].done() or len(waiting) == 2 * jobs):
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)
        except (KeyboardInterrupt, Stopped):
            is_over.set()
            for done in [one for one in waiting if one.done() and one.exception() is None]:
                yield done.result()
            raise


def _first(waiting: deque[Future[Report]]) -> Report:
    """Taken out once it is there: whoever breaks the wait off does not lose it."""
    report = waiting[0].result()
    waiting.popleft()
    return report


class _Either(threading.Event):
    """Set by us, or with another one."""

    def __init__(self, other: threading.Event | None) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or (self._other is not None and self._other.is_set())


def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="score")


__all__ = ["ScanSettings", "Scanner", "extract_request", "load_scorer", "scan", "scan_many"]
