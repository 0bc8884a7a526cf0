"""A model and a worker process that are kept from file to file.

with Scanner() as scanner:
    for path in paths:
        print(scanner.scan(path).verdict)
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from telltale._beside_verdict import Extra
from telltale._cam import Head, find_head
from telltale._fork import renew_after_fork
from telltale._request import check_detector
from telltale._scan_one import Means, detector_of, scan_one
from telltale._scan_settings import AnyPath, ScanSettings, checked_settings, path_name
from telltale.bundle import Bundle, load_bundle
from telltale.errors import Stopped
from telltale.faces import files_read
from telltale.runtime import Scorer
from telltale.sandbox import Powers, Worker, WorkerLimits
from telltale.scoring import Progress
from telltale.types import Report

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
        name, config = detector_of(self._bundle.card, self.settings)
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
        on_extra: Extra | None = None,
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
            return scan_one(name, self._means(), on_progress=on_progress, on_extra=on_extra, stop=stop)
        finally:
            turn.release()

    def _means(self) -> Means:
        return Means(
            self.settings, self._bundle, self._worker, self._executor, self._load, lambda: self.scorer, self._head()
        )

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


def load_scorer(model: str | Path | Bundle, settings: ScanSettings | None = None) -> Scorer:
    """The model, checked and ready. Raises `ModelError` if it cannot be used, `DeviceMissing` where CUDA was asked for
    and is not there."""
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    settings = checked_settings(settings)
    return Scorer(bundle, n_threads=settings.n_threads, device=settings.device)


def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="score")
