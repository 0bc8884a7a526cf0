"""What the routes share: opened at the server's start, closed at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from starlette.requests import HTTPConnection

from telltale._cam import find_head
from telltale.bundle import Bundle, load_bundle, shipped_names
from telltale.errors import UsageError
from telltale.runtime import Scorer
from telltale.scan import ScanSettings, load_scorer
from telltale.types import Report
from telltale.web.annotated import Annotator
from telltale.web.database import explained
from telltale.web.events import Hub, News
from telltale.web.files import DataFolder
from telltale.web.guard import client_of, owner_of
from telltale.web.jobs import Jobs
from telltale.web.keys import Keys
from telltale.web.metrics import Metrics
from telltale.web.problems import ProblemError
from telltale.web.room import Arriving, Room
from telltale.web.rows import ScanRow
from telltale.web.scan_db import ScanDb
from telltale.web.schema import ScanEntry
from telltale.web.settings import ServeSettings
from telltale.web.upload import Receiver

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Caller:
    owner: str
    """Whose scans are seen: a key's name, or empty where no keys are asked for."""
    client: str
    """Who is counted for limits."""


class Service:
    """Everything behind the routes."""

    def __init__(self, settings: ServeSettings) -> None:
        """Open the data folder and load the models. Raises `UsageError`, `ModelError` and `OutputError`."""
        self.settings = settings
        self.metrics = metrics = Metrics()
        self.scorers = _load_models(settings)
        self.explained = frozenset(name for name, scorer in self.scorers.items() if _is_explained(scorer.bundle))
        """Models that give heat maps."""
        self.folder = DataFolder(settings.data, min_free_bytes=settings.min_free_bytes)
        try:
            with explained(self.folder.database):
                self.scan_db = ScanDb(self.folder.database)
                self.keys = Keys(self.folder.database)
        except BaseException:
            self.folder.close()
            raise
        self._db = ThreadPoolExecutor(1, thread_name_prefix="db")
        self._files = ThreadPoolExecutor(4, thread_name_prefix="files")
        self._pages = ThreadPoolExecutor(1, thread_name_prefix="pages")
        self.hub = Hub(streams_per_client=settings.streams_per_client)
        self.news = News(self.hub, self._news)
        self.room = Room(self.folder.room_bytes)
        self.receiver = Receiver(
            self.folder.uploads,
            self._files,
            max_bytes=settings.max_upload_bytes,
            has_room=self.folder.has_room,
            check_share=self._check_share,
            on_bytes=lambda n_bytes: metrics.received.add(by=n_bytes),
        )
        self.jobs = Jobs(
            settings,
            self.scan_db,
            self.folder,
            self.scorers,
            metrics=metrics,
            on_change=self.hub.changed,
            on_gone=self.hub.gone,
        )
        self.annotator = Annotator(self.folder, deadline_s=settings.deadline_s, held_by=self.jobs.held_by)
        metrics.watch("scans_waiting", "Analyses that wait.", lambda: self.scan_db.count("queued"))
        metrics.watch("scans_running", "Analyses that run.", lambda: self.jobs.n_running)
        metrics.watch("uploads_arriving", "Uploads being received.", lambda: self.receiver.n_receiving)
        metrics.watch("event_streams", "Event streams open.", lambda: self.hub.n_streams)
        metrics.watch("disk_free_bytes", "Room in the data folder.", self.folder.free_bytes)

    def start(self) -> None:
        """In the event loop's thread."""
        self.hub.attach()
        self.jobs.start()

    def close(self) -> None:
        self.hub.close()
        self.annotator.close()
        self.jobs.stop()
        for executor in (self._db, self._files, self._pages):
            executor.shutdown(cancel_futures=True)
        self.scan_db.close()
        self.keys.close()
        self.folder.close()

    async def db(self, function: Callable[_P, _R], *args: _P.args, **options: _P.kwargs) -> _R:
        """Run a call of `scan_db` or `jobs` outside the event loop: a commit waits for the disk."""
        return await self._run(self._db, function, *args, **options)

    async def page(self, function: Callable[_P, _R], *args: _P.args, **options: _P.kwargs) -> _R:
        """Make a report's page: one at a time, so that making pages never takes all cores."""
        return await self._run(self._pages, function, *args, **options)

    async def _run(
        self, executor: ThreadPoolExecutor, function: Callable[_P, _R], *args: _P.args, **options: _P.kwargs
    ) -> _R:
        return await asyncio.get_running_loop().run_in_executor(executor, lambda: function(*args, **options))

    async def made(
        self, row: ScanRow, kind: str, make: Callable[[Report], bytes], *, key: str = ""
    ) -> Path | bytes | None:
        """A file made from a scan's report, kept beside it, or its bytes where there is no room; None where there is no
        result."""
        return await self.made_from(
            row, kind, lambda: make(self.folder.report(row.analysis_id, name=row.name)), key=key
        )

    async def made_from(
        self, row: ScanRow, kind: str, make: Callable[[], bytes], *, key: str = ""
    ) -> Path | bytes | None:
        """`made`, for what reads the result by itself. What is there already waits for nobody else's."""
        path = self.folder.made_path(row.analysis_id, row.id, kind, key)
        if path.is_file():
            return path if await self.is_there(row) else None
        try:
            made = await self.page(self.folder.made, row.analysis_id, row.id, kind, key, make)
        except FileNotFoundError:  # deleted just now, or the disk was full when it was to be kept
            return None
        return made if await self.is_there(row) else None

    async def is_there(self, row: ScanRow) -> bool:
        """Whether the scan still is; what was made for one that was deleted meanwhile goes after it."""
        if await self.db(self.scan_db.is_there, row.id):
            return True
        await self.page(self.folder.drop_made, row.analysis_id, row.id)
        return False

    async def caller(self, connection: HTTPConnection) -> Caller:
        """Who asks. Raises the 401 problem where a key is required and missing."""
        if not self.settings.require_key:
            return Caller("", client_of(connection))
        owner = await owner_of(connection, lambda digest: self.db(self.keys.owner, digest))
        return Caller(owner, owner)

    async def row(self, scan_id: str, caller: Caller) -> ScanRow | None:
        return await self.db(self.scan_db.get, scan_id, owner=caller.owner)

    async def entry(self, scan_id: str, caller: Caller) -> ScanEntry | None:
        row = await self.row(scan_id, caller)
        return None if row is None else await self.db(self.jobs.entry, row)

    async def entries(self, rows: Sequence[ScanRow]) -> list[ScanEntry]:
        return await self.db(self.jobs.entries, rows)

    async def _news(self, owner: str, since: float) -> Sequence[ScanEntry]:
        return await self.entries(await self.db(self.scan_db.news, owner=owner, since=since))

    async def _check_share(self, arriving: Arriving, n_bytes: int) -> None:
        held_bytes = await self.db(self.jobs.held_by, arriving.client)
        self.room.check(arriving.client, n_bytes, held_bytes=held_bytes, of=arriving)

    async def is_still(self, caller: Caller, connection: HTTPConnection) -> bool:
        """Whether `connection` would be let in as `caller` now: a key may have been replaced meanwhile."""
        try:
            return await self.caller(connection) == caller
        except ProblemError:
            return False

    def default_model(self) -> str:
        return next(iter(self.scorers))


def _is_explained(bundle: Bundle) -> bool:
    try:
        find_head(bundle)
    except UsageError:
        return False
    return True


def _load_models(settings: ServeSettings) -> dict[str, Scorer]:
    scorers: dict[str, Scorer] = {}
    for wanted in settings.models:
        bundle = load_bundle(wanted)
        name = str(wanted) if str(wanted) in shipped_names() else bundle.card.name
        if name in scorers:
            raise UsageError(f"two models are called {name!r}; serve one of them")
        threads = ScanSettings(n_threads=settings.threads_per_analysis)
        scorers[name] = load_scorer(bundle, threads)
    if not scorers:
        raise UsageError("name a model with --model")
    return scorers


__all__ = ["Caller", "Service"]
