"""The REST routes under /api/v1. The document at /openapi.json says the same for programs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import ValidationError

from telltale.web.asked import Asked, Found, service_of
from telltale.web.events import all_scans, one_scan
from telltale.web.problems import documented, invalid, problem
from telltale.web.results import add_results
from telltale.web.rows import ScanRow
from telltale.web.schema import (
    FILE_FIELD,
    ModelEntry,
    Scan,
    ScanEntry,
    ScanOptions,
    ScanPage,
    State,
)
from telltale.web.service import Caller, Service
from telltale.web.store import ClientBusy, QueueFull

_CHUNK_BYTES = 65_536


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
            if options.explain and model not in service.explained:
                raise invalid([{"loc": ["explain"], "msg": f"model {model!r} gives no heat maps"}])
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
        service.annotator.forget(row.id)
        done = await service.db(service.jobs.remove, row.id, owner=caller.owner)
        service.annotator.forget(row.id)  # of whoever asked in between
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
                async for text in one_scan(
                    service.hub, event, lambda: service.is_still(caller, request), lambda: service.entry(row.id, caller)
                ):
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

        async def stream() -> AsyncIterator[str]:
            with service.hub.listening(caller.client) as event:
                async for text in all_scans(
                    service.hub, event, lambda: service.is_still(caller, request), service.news, caller.owner
                ):
                    yield text

        service.hub.check_room(caller.client)
        return _event_stream(stream())

    add_results(router)

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


async def _check_room(service: Service, caller: Caller, n_bytes: int) -> None:
    """Turn an upload away before it is received, where it would be afterwards."""
    settings = service.settings
    if await service.db(service.store.active_of, caller.client) >= settings.per_client:
        raise _client_busy(service)
    if await service.db(service.store.count, "queued") >= settings.queue_length:
        raise _queue_full(service)
    if not service.has_room(n_bytes):
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

    return await service.made_from(row, "json", make)


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


__all__ = ["scans_router"]
