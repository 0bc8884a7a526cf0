"""The routes that stay open: events about one scan, or about all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from telltale.web.asked import Asked, Found, Serving
from telltale.web.events import Hub, all_scans, one_scan
from telltale.web.problems import documented

router = APIRouter(tags=["scans"])


class _EventStream(StreamingResponse):
    """Looked for room and counted in one step: of a hundred at the same moment only as many get in as may."""

    def __init__(self, hub: Hub, client: str, event: asyncio.Event, texts: AsyncIterator[str], *, of: str = "") -> None:
        # nginx would gather a stream before passing it on.
        super().__init__(texts, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._hub, self._client, self._event, self._of = hub, client, event, of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hub.listening(self._client, self._event, of=self._of):
            await super().__call__(scope, receive, send)


@router.get(
    "/scans/{scan_id}/events",
    summary="Follow one scan",
    response_class=StreamingResponse,
    responses=documented("not_found", "invalid", "client_busy")
    | {200: {"content": {"text/event-stream": {}}, "description": "`progress` events, then one `end`."}},
)
async def scan_events(request: Request, service: Serving, row: Found, caller: Asked) -> StreamingResponse:
    event = asyncio.Event()
    texts = one_scan(
        service.hub, event, lambda: service.is_still(caller, request), lambda: service.entry(row.id, caller)
    )
    return _EventStream(service.hub, caller.client, event, texts, of=row.analysis_id)


@router.get(
    "/events",
    summary="Follow all scans that wait or run",
    response_class=StreamingResponse,
    responses=documented("client_busy")
    | {
        200: {
            "content": {"text/event-stream": {}},
            "description": "`scan` events, `gone` with the id of a scan that is no more; the stream stays open.",
        }
    },
)
async def events(request: Request, service: Serving, caller: Asked) -> StreamingResponse:
    event = asyncio.Event()
    texts = all_scans(service.hub, event, lambda: service.is_still(caller, request), service.news, caller.owner)
    return _EventStream(service.hub, caller.client, event, texts)


__all__ = ["router"]
