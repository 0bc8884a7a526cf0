"""News about analyses, from worker threads to event streams (server-sent events).

hub.changed(analysis_id)                    # any thread; without an id: the queue moved
hub.gone(owner, scan_id)                    # any thread
async for text in all_scans(hub, ...):      # what goes to one client
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice

from telltale.web.problems import problem
from telltale.web.schema import ENDED, ScanEntry

_HEARTBEAT_S = 15.0
_LONGEST_S = 3600.0
"""Then the stream ends, and a browser opens it anew."""
_ASK_AGAIN_S = 5.0
"""How often a stream makes sure that whoever opened it may still see it."""
_PAUSE_S = 0.25
"""News is gathered for so long."""
_OVERLAP_S = 5.0
"""Clocks and commits: one look reaches back so far into the one before."""
_MOST_GONE = 1000
"""Scans that a stream can be told are gone at once; of more a page learns when it lists them anew."""


class Hub:
    """Wakes event streams. Of many changes in a row a stream sees the last."""

    def __init__(self, *, streams_per_client: int) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._streams: dict[asyncio.Event, str] = {}
        self._of_client: Counter[str] = Counter()
        self._streams_per_client = streams_per_client
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self.n_news = 0
        """Grows with everything that streams are told of."""
        self.n_gone = 0
        self._gone: deque[tuple[str, str]] = deque(maxlen=_MOST_GONE)
        self.is_closing = False

    def attach(self) -> None:
        """Use the event loop that runs now."""
        self._loop = asyncio.get_running_loop()

    @property
    def n_streams(self) -> int:
        return len(self._streams)

    def changed(self, analysis_id: str = "") -> None:
        """There is news of an analysis, or of the queue, in which others have a place; from any thread."""
        if self._loop is None:
            return
        with self._lock:
            is_told = bool(self._changed)
            self._changed.add(analysis_id)
        if not is_told:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._wake_changed)

    def gone(self, owner: str, scan_id: str) -> None:
        """A scan is no more; from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # as above
                self._loop.call_soon_threadsafe(self._note_gone, owner, scan_id)

    def _note_gone(self, owner: str, scan_id: str) -> None:
        self._gone.append((owner, scan_id))
        self.n_gone += 1
        self._wake({""})

    def gone_since(self, owner: str, n_gone: int) -> Sequence[str]:
        """The owner's scans that went since `n_gone` had that value."""
        newest = islice(reversed(self._gone), self.n_gone - n_gone)
        return [scan_id for whose, scan_id in newest if whose == owner]

    def _wake_changed(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        self._wake(changed)

    def _wake(self, changed: Set[str]) -> None:
        self.n_news += 1
        for event, of in self._streams.items():
            if not of or of in changed or "" in changed:
                event.set()

    def close(self) -> None:
        """End all streams."""
        self.is_closing = True
        self._wake({""})

    @contextlib.contextmanager
    def listening(self, client: str, event: asyncio.Event, *, of: str = "") -> Iterator[None]:
        """Have `event` set when there is news of this analysis, or without one of any, or of the queue. Raises a 429
        problem where one client has too many streams."""
        if self._of_client[client] >= self._streams_per_client:
            raise problem("client_busy", f"{self._streams_per_client} event streams of yours are open", retry_after_s=5)
        self._streams[event] = of
        self._of_client[client] += 1
        try:
            yield
        finally:
            del self._streams[event]
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]


@dataclass(slots=True)
class _Look:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    n_news: int = -1
    since: float = 0.0
    texts: Mapping[str, str] = field(default_factory=dict)


class News:
    """Scans as JSON. Streams of one owner wake together: the first looks into the database, for all of them."""

    def __init__(self, hub: Hub, read: Callable[[str, float], Awaitable[Sequence[ScanEntry]]]) -> None:
        """`read` gives an owner's scans that are active or changed since a time."""
        self._hub, self._read = hub, read
        self._looks: dict[str, _Look] = {}

    async def since(self, owner: str, since: float) -> Mapping[str, str]:
        """Id -> JSON, of those that are active or changed since then, or a little earlier."""
        look = self._looks.setdefault(owner, _Look())
        async with look.lock:
            is_near = since - 2 * _OVERLAP_S <= look.since <= since
            if look.n_news != self._hub.n_news or not is_near:
                n_news, earlier = self._hub.n_news, since - _OVERLAP_S
                look.texts = {entry.id: entry.model_dump_json() for entry in await self._read(owner, earlier)}
                look.n_news, look.since = n_news, earlier
            return look.texts


async def one_scan(
    hub: Hub, event: asyncio.Event, may: Callable[[], Awaitable[bool]], read: Callable[[], Awaitable[ScanEntry | None]]
) -> AsyncIterator[str]:
    """`progress` events while the scan waits and runs, then one `end`; without data if it was deleted."""
    yield "retry: 2000\n\n"
    sent = ""
    async for _ in _ticks(hub, event, may):
        entry = await read()
        if entry is None:
            yield "event: end\ndata: null\n\n"
            return
        text = entry.model_dump_json()
        if entry.state in ENDED:
            yield f"event: end\ndata: {text}\n\n"
            return
        yield f"event: progress\ndata: {text}\n\n" if text != sent else ": still here\n\n"
        sent = text


async def all_scans(
    hub: Hub, event: asyncio.Event, may: Callable[[], Awaitable[bool]], news: News, owner: str
) -> AsyncIterator[str]:
    """A `scan` event for every change of a scan, a `gone` one with its id for every one that is no more. What came and
    ended between two looks is told too."""
    n_gone = hub.n_gone
    yield "retry: 2000\n\n"
    sent: Mapping[str, str] = {}
    since = time.time() - _OVERLAP_S
    async for _ in _ticks(hub, event, may):
        looked_at = time.time()
        texts = await news.since(owner, since)
        since = looked_at - _OVERLAP_S
        for scan_id, text in texts.items():
            if sent.get(scan_id) != text:
                yield f"event: scan\ndata: {text}\n\n"
        sent = texts
        # After what was read before they went.
        gone, n_gone = hub.gone_since(owner, n_gone), hub.n_gone
        for scan_id in gone:
            yield f"event: gone\ndata: {json.dumps(scan_id)}\n\n"
        yield ": still here\n\n"


async def _ticks(hub: Hub, event: asyncio.Event, may: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
    """One at once, one for news, one for the heartbeat; none any more for those who `may` not."""
    loop = asyncio.get_running_loop()
    ends_at, ask_at = loop.time() + _LONGEST_S, loop.time() + _ASK_AGAIN_S
    while not hub.is_closing and loop.time() < ends_at:
        event.clear()
        if loop.time() >= ask_at:
            if not await may():
                return
            ask_at = loop.time() + _ASK_AGAIN_S
        yield
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), _HEARTBEAT_S)
        await asyncio.sleep(_PAUSE_S)


__all__ = ["Hub", "News", "all_scans", "one_scan"]
