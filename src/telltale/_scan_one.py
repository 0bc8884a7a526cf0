"""One file, top to bottom: what the worker is asked, what it finds, the verdict on that, the `Report`.

Bad input is a report that says so, never an exception.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from telltale import _beside_verdict
from telltale._cam import Head
from telltale._card_words import summarise_card
from telltale._report_words import NO_FACE_SOUGHT, to_see_more, what_scores
from telltale._request import ExtractRequest, run_extract
from telltale._scan_settings import AnyPath, ScanSettings, path_name
from telltale._text import encodable
from telltale._versions import versions
from telltale.aggregate import decide
from telltale.bundle import Bundle, ModelCard
from telltale.errors import DeadlineExceeded, FileMissing, NotAFile, Stopped, TelltaleError, UsageError
from telltale.faces import SEARCH_EVERY_S, DetectorConfig
from telltale.runtime import Scorer
from telltale.sandbox import Worker
from telltale.scoring import Findings, Progress
from telltale.types import ErrorInfo, InputInfo, ModelInfo, Report

_HASH_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Means:
    """What a file is scanned with."""

    settings: ScanSettings
    bundle: Bundle
    worker: Worker
    executor: Executor
    """Scores one batch after another, beside the worker."""
    make_ready: Callable[[], object]
    """Begins to load the model, where it is not there yet; returns at once."""
    scorer: Callable[[], Scorer]
    """The model, waited for. Raises where it cannot be used."""
    head: Head | None
    """What heat maps are made with, where they were asked for."""


def scan_one(
    path: str,
    means: Means,
    *,
    on_progress: Progress | None = None,
    on_extra: _beside_verdict.Extra | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """The verdict, and what was asked for beside it. Raises `Stopped`, `UsageError`, `ModelError`, `OutputError`."""
    settings = means.settings
    report = _verdict_on(path, means, on_progress=on_progress, stop=stop)
    if report.error is not None:
        return report
    limits: dict[str, Any] = {"deadline_s": settings.deadline_s, "stop": stop}
    told = _beside_verdict.shares(
        on_extra, recompressing=settings.stability, drawing=settings.annotate_into is not None
    )
    if settings.provenance:
        report = _beside_verdict.with_provenance(report, path, means.worker, **limits)
    if settings.stability:
        report = _beside_verdict.with_stability(
            report,
            path,
            lambda copy: _verdict_on(copy, means, stop=stop, is_plain=True),
            on_progress=told["recompressing"],
            **limits,
        )
    if settings.annotate_into is not None:
        report = _beside_verdict.with_annotation(
            report, path, settings.annotate_into, on_progress=told["drawing"], **limits
        )
    return report


def _verdict_on(
    path: AnyPath,
    means: Means,
    *,
    on_progress: Progress | None = None,
    stop: threading.Event | None = None,
    is_plain: bool = False,
) -> Report:
    """`is_plain`: without pictures."""
    started = time.perf_counter()
    request = extract_request(path, means.bundle.card, means.settings, is_plain=is_plain)
    findings = Findings(
        means.bundle.card,
        means.scorer,
        means.executor,
        pictures=means.settings.pictures and not is_plain,
        head=None if is_plain else means.head,
        on_progress=on_progress,
    )
    decided: dict[str, Any] = {}
    failure: ErrorInfo | None = None
    known_by = ("", 0)
    try:
        run = run_extract(means.worker, request, stop=stop)
        means.make_ready()  # not before the worker knows what to do
        with closing(run) as messages:
            for message in messages:
                findings.take(message)
        decided = _decided(findings, means)
    except (Stopped, UsageError):  # neither says anything about the file
        raise
    except TelltaleError as error:
        means.scorer()  # raises: a model that cannot be used is no fault of the file
        failure, known_by = ErrorInfo.of(error), _fingerprint(request.path, means.worker, error, stop)
    findings.timings_s["total"] = round(time.perf_counter() - started, 4)
    known = _circumstances(request, findings, means, known_by)
    return Report(**decided, **known) if failure is None else Report.failed(failure, **known)


def extract_request(
    path: AnyPath, card: ModelCard, settings: ScanSettings, *, is_plain: bool = False
) -> ExtractRequest:
    """What the worker is asked to do; what `settings` leave open comes from the model's card."""
    detector, config = detector_of(card, settings)
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


def detector_of(card: ModelCard, settings: ScanSettings) -> tuple[str, DetectorConfig]:
    """Its name, and how it looks."""
    confidence = settings.min_confidence
    return settings.detector or card.detector.name, DetectorConfig(
        min_face_px=settings.min_face_px,
        side_px=card.detector.side_px,
        min_confidence=card.detector.min_confidence if confidence is None else confidence,
        model_path=settings.detector_model,
        search_every_s=SEARCH_EVERY_S if settings.search_every_s is None else settings.search_every_s,
    )


def _decided(findings: Findings, means: Means) -> dict[str, Any]:
    card = means.bundle.card
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
            asdict(means.settings.plan or card.sample),
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


def _fingerprint(path: str, worker: Worker, error: TelltaleError, stop: threading.Event | None) -> tuple[str, int]:
    """SHA-256 and size of a file that could not be scanned; ("", 0) where nothing can be read, or not in time."""
    if isinstance(error, DeadlineExceeded | FileMissing | NotAFile):
        return "", 0
    from telltale._said import fingerprint  # not before a worker is at work beside

    try:
        with closing(worker.run("hash", {"path": path}, deadline_s=_HASH_WITHIN_S, stop=stop)) as messages:
            return fingerprint(messages)
    except Stopped:
        raise
    except TelltaleError:  # the report says already what is wrong with the file
        return "", 0


def _circumstances(
    request: ExtractRequest, findings: Findings, means: Means, known_by: tuple[str, int]
) -> dict[str, Any]:
    video = findings.video
    path, card = encodable(request.path), means.bundle.card
    if video is not None and (video.sha256 or not known_by[0]):
        known_by = video.sha256, video.size_bytes
    sha256, size_bytes = known_by
    settings = asdict(request) | {"path": path, "device": means.scorer().device}
    return {
        "input": InputInfo(path=path, sha256=sha256, size_bytes=size_bytes),
        "video": replace(video, path=path) if video else None,
        "model": ModelInfo(name=card.name, sha256=means.bundle.sha256, card=summarise_card(card)),
        "settings": settings,
        "warnings": findings.warnings,
        "frames": findings.frames,
        "timings_s": findings.timings_s,
        "versions": versions(),
    }
