"""The REST routes under /api/v1, and those for operators. The document at /openapi.json says the same for programs."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import ValidationError

from telltale._text import file_stem
from telltale.report import to_html
from telltale.web.events import all_scans, one_scan
from telltale.web.jobs import PLAYED_AS
from telltale.web.problems import documented, invalid, problem
from telltale.web.schema import (
    FILE_FIELD,
    Health,
    ModelEntry,
    Scan,
    ScanEntry,
    ScanId,
    ScanOptions,
    ScanPage,
    State,
)
from telltale.web.service import Caller, Service
from telltale.web.store import ClientBusy, QueueFull, ScanRow

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_META_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
_CHUNK_BYTES = 65_536
_HEAD_BYTES = 8192
"""Of a page: its policy stands in the first few lines."""
_NO_RIGHTS = "default-src 'none'; sandbox"


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def caller_of(request: Request) -> Caller:
    return await service_of(request).caller(request)


Asked = Annotated[Caller, Depends(caller_of)]


async def row_of(scan_id: ScanId, request: Request, caller: Asked) -> ScanRow:
    row = await service_of(request).row(scan_id, caller)
    if row is None:
        raise problem("not_found", "there is no scan of that id; it may have been deleted or have expired")
    return row


Found = Annotated[ScanRow, Depends(row_of)]


def form_schema(model_names: list[str]) -> dict[str, Any]:
    """The upload form: the file, the model, and the settings."""
    schema = ScanOptions.model_json_schema()
    properties: dict[str, Any] = {
        FILE_FIELD: {"type": "string", "format": "binary", "description": "A video or picture."},
        "model": {"type": "string", "enum": model_names, "description": "Which model; the first is the default."},
    }
    for name, field in schema["properties"].items():
        (kind,) = [one for one in field["anyOf"] if one.get("type") != "null"]
        properties[name] = kind | {"description": field["description"]}
    return {
        "type": "object",
        "required": [FILE_FIELD],
        "properties": properties,
        "additionalProperties": False,
    }


def scans_router(*, require_key: bool, model_names: list[str]) -> APIRouter:
    """The routes about scans and models."""
    always = ("bad_form", "unknown_host", *(("key_required",) if require_key else ()))
    router = APIRouter(
        prefix="/api/v1",
        responses=documented(*always),
        dependencies=[Depends(HTTPBearer(auto_error=False, description="An API key."))] if require_key else [],
    )
    gone = documented("not_found", "invalid")
    without_result = gone | documented("no_result")

    @router.post(
        "/scans",
        status_code=202,
        tags=["scans"],
        summary="Upload a video or picture to have it analysed",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"multipart/form-data": {"schema": form_schema(model_names)}},
            }
        },
        responses=documented(
            "foreign_origin",
            "receipt_timeout",
            "too_large",
            "unsupported_media_type",
            "invalid",
            "queue_full",
            "no_space",
        )
        | {202: {"headers": {"Location": {"description": "Where the scan is.", "schema": {"type": "string"}}}}},
    )
    async def create_scan(request: Request, response: Response, caller: Asked) -> ScanEntry:
        """Answers as soon as the upload has arrived. Equal bytes with equal settings are analysed once."""
        service = service_of(request)
        await _check_room(service, caller, int(request.headers.get("content-length", "0") or 0))
        upload = await service.receiver.receive(request.headers.get("content-type", ""), request.stream())
        try:
            fields = dict(upload.fields)
            model = fields.pop("model", service.default_model())
            if model not in service.scorers:
                known = ", ".join(service.scorers)
                raise invalid([{"loc": ["model"], "msg": f"no model is called {model!r}; there are {known}"}])
            try:
                options = ScanOptions.model_validate_strings(fields)
            except ValidationError as error:
                raise invalid(error.errors()) from error
            row = await service.db(
                service.jobs.submit, upload, options=options, model=model, owner=caller.owner, client=caller.client
            )
        except QueueFull:
            raise _queue_full(service) from None
        except ClientBusy:
            raise _client_busy(service) from None
        finally:
            upload.path.unlink(missing_ok=True)
        response.headers["Location"] = f"/api/v1/scans/{row.id}"
        return await service.db(service.jobs.entry, row)

    @router.get("/scans", tags=["scans"], summary="List scans, the newest first", responses=documented("invalid"))
    async def list_scans(
        request: Request,
        caller: Asked,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[
            str | None, Query(description="`next` of the page before.", pattern=r"^\d{1,12}\.\d{1,9}-[0-9a-f]{32}$")
        ] = None,
        q: Annotated[str, Query(max_length=200, description="Part of the file's name.")] = "",
        state: State | None = None,
    ) -> ScanPage:
        service = service_of(request)
        before = None
        if cursor is not None:
            time_text, _, scan_id = cursor.partition("-")
            before = (float(time_text), scan_id)
        rows = await service.db(
            service.store.list, owner=caller.owner, text=q, state=state, before=before, limit=limit + 1
        )
        items = await service.entries(rows[:limit])
        last = rows[limit - 1] if len(rows) > limit else None
        return ScanPage(items=items, next=None if last is None else f"{last.created_at!r}-{last.id}")

    @router.get(
        "/scans/{scan_id}",
        tags=["scans"],
        summary="One scan, with its report once it has ended",
        response_model=Scan,
        responses=gone,
    )
    async def get_scan(request: Request, row: Found) -> Response:
        service = service_of(request)
        entry = await service.db(service.jobs.entry, row)
        head = json.dumps(entry.model_dump(mode="json")).removesuffix("}").encode("ascii")
        report = await report_file(service, row)
        return StreamingResponse(_joined(head + b', "report": ', report, b"}"), media_type="application/json")

    @router.delete(
        "/scans/{scan_id}",
        tags=["scans"],
        summary="Cancel a scan that waits or runs; delete one that has ended",
        response_model=ScanEntry,
        responses=gone
        | documented("foreign_origin")
        | {200: {"description": "Cancelled."}, 204: {"description": "Deleted, with its upload and report."}},
    )
    async def delete_scan(request: Request, row: Found, caller: Asked) -> Response:
        """A cancelled scan stays in the list as such, without its upload, until it is deleted too."""
        service = service_of(request)
        done = await service.db(service.jobs.remove, row.id, owner=caller.owner)
        entry = await service.entry(row.id, caller) if done == "cancelled" else None
        return Response(status_code=204) if entry is None else JSONResponse(entry.model_dump(mode="json"))

    @router.get(
        "/scans/{scan_id}/events",
        tags=["scans"],
        summary="Follow one scan",
        response_class=StreamingResponse,
        responses=gone
        | documented("client_busy")
        | {200: {"content": {"text/event-stream": {}}, "description": "`progress` events, then one `end`."}},
    )
    async def scan_events(request: Request, row: Found, caller: Asked) -> StreamingResponse:
        service = service_of(request)

        async def stream() -> AsyncIterator[str]:
            with service.hub.listening(caller.client) as event:
                async for text in one_scan(service.hub, event, lambda: service.entry(row.id, caller)):
                    yield text

        service.hub.check_room(caller.client)
        return _event_stream(stream())

    @router.get(
        "/events",
        tags=["scans"],
        summary="Follow all scans that wait or run",
        response_class=StreamingResponse,
        responses=documented("client_busy")
        | {200: {"content": {"text/event-stream": {}}, "description": "`scan` events; the stream stays open."}},
    )
    async def events(request: Request, caller: Asked) -> StreamingResponse:
        service = service_of(request)

        async def active() -> list[ScanEntry]:
            return await service.entries(await service.db(service.store.active, owner=caller.owner))

        async def stream() -> AsyncIterator[str]:
            with service.hub.listening(caller.client) as event:
                async for text in all_scans(service.hub, event, active, lambda one: service.entry(one, caller)):
                    yield text

        service.hub.check_room(caller.client)
        return _event_stream(stream())

    @router.get(
        "/scans/{scan_id}/report.html",
        tags=["results"],
        summary="The report as one self-contained page",
        response_class=Response,
        responses=without_result | {200: {"content": {"text/html": {}}, "description": "The page."}},
    )
    async def report_html(request: Request, row: Found) -> Response:
        service = service_of(request)
        if row.state not in ("done", "failed"):
            raise problem("no_result", f"the scan is {row.state}: there is no report")
        page = await service.made(row, "html", row.name, lambda report: to_html(report).encode("utf-8"))
        if page is None:
            raise problem("no_result", "the report is not kept")
        with page.open("rb") as file:
            found = _META_POLICY.search(file.read(_HEAD_BYTES).decode("utf-8", "ignore"))
        policy = html.unescape(found[1]) if found else _NO_RIGHTS
        headers = {
            "Content-Security-Policy": f"{policy}; sandbox allow-scripts allow-modals; frame-ancestors 'none'",
            "Content-Disposition": f'inline; filename="telltale-{_ascii_stem(row.name)}.html"',
        }
        return FileResponse(page, media_type="text/html", headers=headers, stat_result=page.stat())

    @router.get(
        "/scans/{scan_id}/media",
        tags=["results"],
        summary="What was uploaded, to be played",
        response_class=FileResponse,
        responses=without_result
        | documented("bad_range")
        | {
            200: {"content": {kind: {} for kind in PLAYED_AS}, "description": "The file."},
            206: {"content": {kind: {} for kind in PLAYED_AS}, "description": "A part of it."},
        },
    )
    async def media(request: Request, row: Found) -> Response:
        path = service_of(request).folder.media(row.analysis_id)
        if row.state != "done" or not row.media_type or not path.is_file():
            raise problem("no_result", "this upload is not kept, or not yet there to be played")
        _simplify_range(request, path.stat().st_size)
        headers = {"Content-Security-Policy": _NO_RIGHTS, "Cache-Control": "private, max-age=3600"}
        return FileResponse(path, media_type=row.media_type, headers=headers, stat_result=path.stat())

    @router.get(
        "/scans/{scan_id}/thumbnail.jpg",
        tags=["results"],
        summary="A small picture from the middle",
        response_class=FileResponse,
        responses=without_result | {200: {"content": {"image/jpeg": {}}, "description": "JPEG, 120 pixels high."}},
    )
    async def thumbnail(request: Request, row: Found) -> Response:
        path = service_of(request).folder.thumbnail(row.analysis_id)
        if not row.has_thumbnail or not path.is_file():
            raise problem("no_result", "there is no picture of this scan")
        return Response(path.read_bytes(), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    @router.get("/models", tags=["models"], summary="The models, with their cards")
    async def models(request: Request, caller: Asked) -> list[ModelEntry]:  # noqa: ARG001 - asks for the key
        service = service_of(request)
        return [
            ModelEntry(
                name=name,
                sha256=scorer.bundle.sha256,
                is_default=name == service.default_model(),
                card=scorer.bundle.card,
            )
            for name, scorer in service.scorers.items()
        ]

    return router


def operators_router() -> APIRouter:
    """Whether it lives, whether it works, and its figures."""
    router = APIRouter(tags=["operation"], responses=documented("unknown_host"))

    @router.get("/healthz", summary="Whether the server answers")
    async def healthz() -> Health:
        return Health()

    @router.get("/readyz", summary="Whether it can take and analyse uploads", responses=documented("not_ready"))
    async def readyz(request: Request) -> Health:
        service = service_of(request)
        await service.db(service.store.count, "queued")
        if not service.jobs.is_alive:
            raise problem("not_ready", "a worker has ended; restart the server")
        if service.folder.free_bytes() < service.settings.min_free_bytes:
            raise problem("not_ready", "the disk is full")
        return Health()

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=PlainTextResponse,
        responses=documented("key_required"),
    )
    async def metrics(request: Request, caller: Asked) -> PlainTextResponse:  # noqa: ARG001 - asks for the key
        service = service_of(request)
        text = await service.db(service.metrics.text)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return router


async def _check_room(service: Service, caller: Caller, n_bytes: int) -> None:
    """Turn an upload away before it is received, where it would be afterwards."""
    settings = service.settings
    if await service.db(service.store.active_of, caller.client) >= settings.per_client:
        raise _client_busy(service)
    if await service.db(service.store.count, "queued") >= settings.queue_length:
        raise _queue_full(service)
    if service.folder.free_bytes() < settings.min_free_bytes + n_bytes:
        raise problem("no_space", "there is no room left for uploads; try later")


def _queue_full(service: Service) -> Exception:
    detail = f"{service.settings.queue_length} analyses are waiting; come back at the time given"
    return problem("queue_full", detail, retry_after_s=service.jobs.retry_after_s())


def _client_busy(service: Service) -> Exception:
    detail = f"{service.settings.per_client} of your scans are waiting or running; come back at the time given"
    return problem("client_busy", detail, retry_after_s=service.jobs.retry_after_s())


async def report_file(service: Service, row: ScanRow) -> Path | None:
    """The report as JSON, as it lies on disk: checking a long one once more would cost more than reading it."""
    if row.state not in ("done", "failed"):
        return None

    def make() -> bytes:
        return json.dumps(service.folder.report_data(row.analysis_id, name=row.name)).encode("ascii")

    return await service.made_from(row, "json", row.name, make)


async def _joined(head: bytes, file: Path | None, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    if file is None:
        yield b"null"
    else:
        async with await anyio.open_file(file, "rb") as content:
            while chunk := await content.read(_CHUNK_BYTES):
                yield chunk
    yield tail


def _event_stream(texts: AsyncIterator[str]) -> StreamingResponse:
    # nginx would gather a stream before passing it on.
    return StreamingResponse(texts, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _simplify_range(request: Request, size_bytes: int) -> None:
    """One plain range is answered, nonsense ignored (RFC 9110, 14.2), what lies outside refused."""
    wanted = request.headers.get("range")
    if wanted is None:
        return
    found = _RANGE.fullmatch(wanted)
    if found is None or not any(found.groups()) or (all(found.groups()) and int(found[1]) > int(found[2])):
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
    elif (found[1] and int(found[1]) >= size_bytes) or (not found[1] and int(found[2]) == 0):
        raise problem("bad_range", f"the file has {size_bytes} bytes")


def _ascii_stem(name: str) -> str:
    return file_stem(name).encode("ascii", "ignore").decode("ascii").strip("-_") or "report"


__all__ = ["operators_router", "scans_router", "service_of"]
