"""Clips with what was found drawn into them, made when somebody asks: one at a time, in a killable worker.

future = annotator.ask(row, client)     # the file, when it is made; the same future for all who ask
"""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from telltale import __version__
from telltale.annotate import VIDEO_NAME, annotate
from telltale.errors import OutputError, TelltaleError, error_from_code
from telltale.web.files import DataFolder
from telltale.web.rows import ScanRow

_MOST_WAITING = 8
_MOST_OF_CLIENT = 2
"""That wait or are being drawn: one client does not take the places of all."""
_MOST_KNOWN = 256


class AnnotatorBusy(Exception):
    """As many clips wait to be drawn on as may."""


@dataclass(slots=True)
class _Making:
    client: str
    stop: threading.Event = field(default_factory=threading.Event)
    future: Future[Path] | None = None


class Annotator:
    """Keeps what it made beside the result."""

    def __init__(self, folder: DataFolder, *, deadline_s: float, held_by: Callable[[str], int]) -> None:
        """`held_by`: what a client's scans take of the disk."""
        self._folder, self._deadline_s, self._held_by = folder, deadline_s, held_by
        self._known: OrderedDict[str, _Making] = OrderedDict()
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="annotate")

    def ask(self, row: ScanRow, client: str) -> Future[Path]:
        """The clip of an ended scan whose upload is kept. What fails once fails for all who ask until it is forgotten.

        Raises `AnnotatorBusy`; the future raises what `annotate` does, and `OutputError` where there is no room.
        """
        with self._lock:
            known = self._known.get(row.id)
            if known is not None and known.future is not None and not _is_gone(known.future):
                return known.future
            under_way = [one.client for one in self._known.values() if one.future is not None and not one.future.done()]
            if len(under_way) >= _MOST_WAITING or under_way.count(client) >= _MOST_OF_CLIENT:
                raise AnnotatorBusy
            making = _Making(client)
            making.future = self._executor.submit(self._attempt, row, making.stop)
            self._known[row.id] = making
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            return making.future

    def _attempt(self, row: ScanRow, stop: threading.Event) -> Path:
        try:
            return self._make(row, stop)
        except TelltaleError as error:
            failure = error_from_code(error.code, error.message)
        raise failure  # without its traceback, which would keep the report's pictures for as long as it is known

    def _make(self, row: ScanRow, stop: threading.Event) -> Path:
        folder = self._folder.made_for(row.analysis_id, row.id) / f"annotated-{__version__}"
        if not (folder / VIDEO_NAME).is_file():
            # The clip will be about as large as the upload, and counts as an upload does.
            if not self._folder.has_room(row.size_bytes + self._held_by(row.client)):
                raise OutputError("there is no room left for the clip; free some space")
            report = self._folder.report(row.analysis_id, name=row.name)
            media = self._folder.media(row.analysis_id)
            try:
                annotate(report, media, folder, deadline_s=self._deadline_s, stop=stop)
                if stop.is_set() or not media.is_file():  # deleted or expired meanwhile, and what was made with it
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                self._folder.measure_anew(row.analysis_id)  # a film that failed was there for a while
        return folder / VIDEO_NAME

    def forget(self, scan_id: str) -> None:
        """Stop what is being made for this scan; whoever asks next has it made anew."""
        with self._lock:
            making = self._known.pop(scan_id, None)
        if making is not None:
            making.stop.set()

    def close(self) -> None:
        with self._lock:
            for making in self._known.values():
                making.stop.set()
        self._executor.shutdown(cancel_futures=True)


def _is_gone(future: Future[Path]) -> bool:
    """Made, but no longer there."""
    return future.done() and not future.cancelled() and future.exception() is None and not future.result().is_file()


__all__ = ["Annotator", "AnnotatorBusy"]
