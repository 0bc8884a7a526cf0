"""The routes that stay open: events about one scan, or about all."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from telltale.web.asked import Asked, Found, Serving
from telltale.web.events import all_scans, one_scan
from telltale.web.problems import documented

router = APIRouter(tags=["scans"])


@router.get(
    "/scans/{scan_id}/events",
    summary="Follow one scan",
    response_class=StreamingResponse,
    responses=documented("not_found", "invalid", "client_busy")
    | {200: {"content": {"text/event-stream": {}}, "description": "`progress` events, then one `end`."}},
)
async def scan_events(request: Request, service: Serving, row: Found, caller: Asked) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        with service.hub.listening(caller.client) as event:
            async for text in one_scan(
                service.hub, event, lambda: service.is_still(caller, request), lambda: service.entry(row.id, caller)
            ):
                yield text

    service.hub.check_room(caller.client)
    return _event_stream(stream())


@router.get(
    "/events",
    summary="Follow all scans that wait or run",
    response_class=StreamingResponse,
    responses=documented("client_busy")
    | {200: {"content": {"text/event-stream": {}}, "description": "`scan` events; the stream stays open."}},
)
async def events(request: Request, service: Serving, caller: Asked) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        with service.hub.listening(caller.client) as event:
            async for text in all_scans(
                service.hub, event, lambda: service.is_still(caller, request), service.news, caller.owner
            ):
                yield text

    service.hub.check_room(caller.client)
    return _event_stream(stream())


def _event_stream(texts: AsyncIterator[str]) -> StreamingResponse:
    # nginx would gather a stream before passing it on.
    return StreamingResponse(texts, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


__all__ = ["router"]
