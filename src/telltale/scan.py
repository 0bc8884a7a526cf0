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
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from telltale import _extras
from telltale._cam import Head, find_head
from telltale._card_words import summarise_card
from telltale._report_words import to_see_more
from telltale._request import ExtractRequest, default_deadline_s
from telltale._text import encodable
from telltale._versions import versions
from telltale.aggregate import decide
from telltale.bundle import Bundle, ModelCard, load_bundle
from telltale.errors import DeadlineExceeded, FileMissing, NotAFile, Stopped, TelltaleError
from telltale.faces import SEARCH_EVERY_S, DetectorConfig, files_read
from telltale.findings import Findings, Progress
from telltale.runtime import Device, Scorer
from telltale.sampling import SamplePlan
from telltale.sandbox import Powers, Worker, WorkerLimits
from telltale.types import ErrorInfo, InputInfo, ModelInfo, Report, Verdict

_HASH_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """How to look. What is None comes from the model's card."""

    plan: SamplePlan | None = None
    detector: str | None = None
    detector_model: str | None = None
    """Weights file, for detectors that ship none."""
    min_face_px: float | None = None
    min_confidence: float | None = None
    search_every_s: float | None = None
    """See `DetectorConfig`; None: its default."""
    deadline_s: float | None = None
    """None: 60 s, or three times the video's length where that is more."""
    pictures: bool = False
    """Keep thumbnails and crops for an HTML report."""
    explain: bool = False
    """Keep also, for every crop that is kept, a heat map of what spoke for and against a forgery."""
    stability: bool = False
    """Recompress and rescale the input, and scan every result: ten times the work."""
    provenance: bool = False
    """Read Content Credentials and container metadata. They alter no score."""
    annotate_into: Path | None = None
    """Write the annotated clip into the report's folder under this one."""
    n_threads: int = 2
    """1 where several workers share the machine: decoding then uses one thread too."""
    device: Device = "auto"
    """Where the model runs: `auto` takes CUDA where ONNX Runtime has it. Faces are found on processors."""


class Scanner:
    """A model and a worker process, kept from file to file. One file at a time; `scan_many` runs several."""

    def __init__(
        self,
        model: str | Path | Bundle | Scorer = "default",
        *,
        settings: ScanSettings | None = None,
    ) -> None:
        """Load `model`; a `Scorer` is shared as it is. Raises `ModelError` if it cannot be used,
        `UsageError` if it cannot be explained and that was asked for.

        The model is made ready while the first file is read: `DeviceMissing`, and `BundleInvalid` for a graph that is
        not what the card says, come with that file, or with `scorer`.
        """
        self.settings = settings or ScanSettings()
        self._worker = Worker()
        self._worker.warm("extract")  # both while the bundle is looked at
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="score")
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

    @property
    def scorer(self) -> Scorer:
        """The model, once it is ready; another may take its place between two files."""
        return self._load().result()

    @scorer.setter
    def scorer(self, scorer: Scorer) -> None:
        self._bundle, loaded = scorer.bundle, Future[Scorer]()
        loaded.set_result(scorer)
        self._loading = loaded

    def _load(self) -> Future[Scorer]:
        """The model, in the making from the first call on."""
        if self._loading is None:
            self._loading = self._executor.submit(_ready_scorer, self._bundle, self.settings)
        return self._loading

    def _let_detector_read(self) -> None:
        """A detector with weights of its own needs a worker that may read them."""
        name = self.settings.detector or self._bundle.card.detector.name
        files = files_read(name, config=DetectorConfig(model_path=self.settings.detector_model))
        if files:
            self._worker.close()
            self._worker = Worker(WorkerLimits(powers=Powers(may_read=files)))

    def scan(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> Report:
        """The report on one file. Whatever is wrong with the file is in the report.

        Another thread may set `stop`: the worker is then killed and `Stopped` raised.
        """
        settings = self.settings
        report = self._scan(path, on_progress=on_progress, stop=stop)
        if report.error is not None:
            return report
        if settings.provenance:
            report = _extras.with_provenance(report, os.fspath(path), self._worker)
        limits: dict[str, Any] = {"deadline_s": settings.deadline_s, "stop": stop}
        if settings.stability:
            report = _extras.with_stability(
                report, os.fspath(path), lambda copy: self._scan(copy, stop=stop, is_plain=True), **limits
            )
        if settings.annotate_into is not None:
            report = _extras.with_annotation(report, os.fspath(path), settings.annotate_into, **limits)
        return report

    def _scan(
        self,
        path: str | os.PathLike[str],
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
        report: dict[str, Any]
        fingerprint = ("", 0)
        try:
            deadline_s = request.deadline_s or default_deadline_s(None)
            run = self._worker.run("extract", request.to_json(), deadline_s=deadline_s, stop=stop)
            self._load()  # not before the worker knows what to do
            with closing(run) as messages:
                for message in messages:
                    findings.take(message)
                    if message.kind == "info" and request.deadline_s is None:
                        self._worker.extend(default_deadline_s(message.data["duration_s"]))
            report = self._decided(findings)
        except Stopped:
            raise
        except TelltaleError as error:
            self._load().result()  # raises: a model that cannot be used is no fault of the file
            report = _failed(error)
            fingerprint = self._fingerprint(request.path, error, stop)
        findings.timings_s["total"] = round(time.perf_counter() - started, 4)
        return Report(**report, **self._circumstances(request, findings, fingerprint))

    def _fingerprint(self, path: str, error: TelltaleError, stop: threading.Event | None) -> tuple[str, int]:
        """SHA-256 and size of a file that could not be scanned; ("", 0) where nothing can be read, or not in time."""
        if isinstance(error, DeadlineExceeded | FileMissing | NotAFile):
            return "", 0
        try:
            with closing(self._worker.run("hash", {"path": path}, deadline_s=_HASH_WITHIN_S, stop=stop)) as messages:
                (message,) = messages
            return message.data["sha256"], message.data["size_bytes"]
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
        verdict, tracks = decide(
            findings.finish(),
            calibration=card.calibration,
            thresholds=card.thresholds,
            minimum=card.minimum,
            is_still=findings.is_still,
            farthest=None if card.gate is None else card.gate.limit,
            to_see_more=to_see_more(findings.video, findings.frames, findings.codes),
        )
        codes = tuple(dict.fromkeys((*verdict.codes, *findings.codes)))
        first, *rest = verdict.reasons
        reasons = (first, *findings.partial, *rest)  # a verdict on a part must not read like one on the whole
        return {
            "verdict": verdict.model_copy(update={"codes": codes, "reasons": reasons}),
            "tracks": tuple(tracks),
            "pictures": findings.pictures(),
            "explanation": findings.explanation,
            "is_out_of_time": findings.is_out_of_time,
        }

    def _circumstances(
        self, request: ExtractRequest, findings: Findings, fingerprint: tuple[str, int]
    ) -> dict[str, Any]:
        video = findings.video
        path, card = encodable(request.path), self._bundle.card
        sha256, size_bytes = (video.sha256, video.size_bytes) if video and video.sha256 else fingerprint
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
    path: str | os.PathLike[str], card: ModelCard, settings: ScanSettings, *, is_plain: bool = False
) -> ExtractRequest:
    """What the worker is asked to do; what `settings` leave open comes from the model's card."""
    confidence = settings.min_confidence
    return ExtractRequest(
        path=os.fspath(path),
        plan=settings.plan or card.sample,
        detector=settings.detector or card.detector.name,
        detector_config=DetectorConfig(
            min_face_px=settings.min_face_px,
            side_px=card.detector.side_px,
            min_confidence=card.detector.min_confidence if confidence is None else confidence,
            model_path=settings.detector_model,
            search_every_s=SEARCH_EVERY_S if settings.search_every_s is None else settings.search_every_s,
        ),
        crop=card.crop,
        thumbnails=(settings.pictures or settings.explain) and not is_plain,
        deadline_s=settings.deadline_s,
        n_decode_threads=1 if settings.n_threads == 1 else None,
    )


def _failed(error: TelltaleError) -> dict[str, Any]:
    message = encodable(error.message)
    return {
        "verdict": Verdict(label="failed", reasons=(message,)),
        "error": ErrorInfo(code=error.code, message=message),
    }


def _ready_scorer(bundle: Bundle, settings: ScanSettings) -> Scorer:
    """Made beside the worker that reads the first file, which takes as long."""
    scorer = load_scorer(bundle, settings)
    import numpy.ma  # noqa: F401 - the first median imports it, when nothing else is left to do

    return scorer


def load_scorer(model: str | Path | Bundle, settings: ScanSettings | None = None) -> Scorer:
    """The model, checked and ready. Raises `ModelError` if it cannot be used."""
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    settings = settings or ScanSettings()
    return Scorer(bundle, n_threads=settings.n_threads, device=settings.device)


def scan(
    path: str | os.PathLike[str],
    *,
    model: str | Path | Bundle | Scorer = "default",
    settings: ScanSettings | None = None,
    on_progress: Progress | None = None,
) -> Report:
    """The report on one video or picture. For many, `Scanner` or `scan_many` save the start of worker and model.

    `on_progress(share, n_frames)`: share of the video that was read, None where its length is not known, and frames
    looked at. Whatever is wrong with the file is in the report. Raises `ModelError`, `DeviceMissing`, and `UsageError`
    for what the model cannot do (heat maps).
    """
    with Scanner(model, settings=settings) as scanner:
        return scanner.scan(path, on_progress=on_progress)


def scan_many(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    model: str | Path | Bundle | Scorer = "default",
    settings: ScanSettings | None = None,
    jobs: int = 1,
    on_progress: Progress | None = None,
) -> Iterator[Report]:
    """Reports in the order of `paths`, from `jobs` worker processes that share one model. See `scan`; with several jobs
    `on_progress` is called from several threads, and does not say for which file."""
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    settings = settings or ScanSettings()
    if jobs > 1:
        settings = replace(settings, n_threads=1)
    with ExitStack() as stack:
        first = stack.enter_context(Scanner(model, settings=settings))
        if jobs == 1:
            for path in paths:
                yield first.scan(path, on_progress=on_progress)
            return
        rest = [stack.enter_context(Scanner(first.scorer, settings=settings)) for _ in range(jobs - 1)]
        idle: SimpleQueue[Scanner] = SimpleQueue()
        for scanner in (first, *rest):
            idle.put(scanner)

        stop = threading.Event()

        def scan_one(path: str | os.PathLike[str]) -> Report:
            scanner = idle.get()
            try:
                return scanner.scan(path, on_progress=on_progress, stop=stop)
            finally:
                idle.put(scanner)

        pool = stack.enter_context(ThreadPoolExecutor(jobs, thread_name_prefix="scan"))
        stack.callback(stop.set)  # before the pool waits for what is under way
        yield from pool.map(scan_one, paths)


__all__ = ["ScanSettings", "Scanner", "extract_request", "load_scorer", "scan", "scan_many"]
