"""uvicorn's HTTP/1.1 connection, with deadlines it does not have: for a request's head, for what is left of a body
nobody reads, and for answers that are not read. And with room made where there are too many connections.

    uvicorn.Config(app, http=bounded(limits, metrics, max_connections=10_000))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from telltale.web.metrics import Metrics
from telltale.web.settings import ReceiptLimits

MAX_HEAD_BYTES = 32_768
_MAX_DRAINED_BYTES = 64 << 20
"""Of a body that nobody reads, after an early answer: most clients read that answer only when they have sent all."""
_MOST_CRUMBS, _CRUMB_BYTES = 1024, 64
"""A body may come in more pieces than this only where they hold so many bytes on average: a chunk of one byte costs as
much to take apart as one of 64 KiB, and nobody else is served meanwhile."""
_YOUNG_S = 2.0
"""A connection this young is not judged slow."""


class _Connection(h11.Connection):
    """Stops taking a body apart that comes in crumbs."""

    def __init__(self, max_head_bytes: int, on_crumbs: Callable[[], None]) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._on_crumbs = on_crumbs
        self._n_pieces = self._n_bytes = 0
        self._is_over = False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self._is_over:
            return h11.NEED_DATA
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._n_pieces = self._n_bytes = 0
        elif isinstance(event, h11.Data):
            self._n_pieces += 1
            self._n_bytes += len(event.data)
            if self._n_pieces > _MOST_CRUMBS and self._n_bytes < _CRUMB_BYTES * self._n_pieces:
                self._is_over = True
                self._on_crumbs()
                return h11.NEED_DATA
        return event


class BoundedProtocol(H11Protocol):
    limits: ClassVar[ReceiptLimits]
    metrics: ClassVar[Metrics]
    max_connections: ClassVar[int]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _Connection(MAX_HEAD_BYTES, lambda: self._cut_off("crumbs"))
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._n_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self.max_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        self._n_bytes += len(data)
        super().data_received(data)
        if self._is_answering:
            self._stop_head_timer()
        elif self._n_bytes > _MAX_DRAINED_BYTES:
            self._cut_off("unread body")
        elif self._head_timer is None:
            self._await_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and not self._is_answering:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.limits.stall_s, self._cut_off, "slow reader")

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._stop_head_timer()
        self._since, self._n_bytes = self.loop.time(), 0
        is_draining = self.conn.their_state is h11.SEND_BODY
        wait_s = self.limits.grace_s if is_draining else self.limits.head_s
        self._head_timer = self.loop.call_later(wait_s, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._n_bytes and self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE:
            response = h11.Response(status_code=408, headers=[("content-length", "0"), ("connection", "close")])
            self.transport.write(self.conn.send(response) or b"")
            self.metrics.cut_off.add("slow head")
            self.transport.close()
        else:
            self._cut_off("slow head" if self._n_bytes else "idle")

    def _cut_off(self, why: str) -> None:
        self.metrics.cut_off.add(why)
        self.transport.abort()

    def _make_room(self) -> None:
        """Whoever sends least a second goes; those who have just come or are being answered stay."""
        now = self.loop.time()
        slow = [
            (one._n_bytes / (now - one._since), one)
            for one in self.connections
            if isinstance(one, BoundedProtocol) and one._is_slow_to_send(now)
        ]
        if slow:
            min(slow, key=lambda item: item[0])[1]._cut_off("room for others")
        else:
            self._cut_off("too many connections")

    def _is_slow_to_send(self, now: float) -> bool:
        is_receiving = not self._is_answering or self.cycle.more_body
        return is_receiving and now - self._since > _YOUNG_S


def bounded(limits: ReceiptLimits, metrics: Metrics, *, max_connections: int) -> type[BoundedProtocol]:
    """The protocol with its limits, as uvicorn takes it: a class."""
    return type(
        "Bounded", (BoundedProtocol,), {"limits": limits, "metrics": metrics, "max_connections": max_connections}
    )


__all__ = ["MAX_HEAD_BYTES", "bounded"]
