"""The routes to scans: listed, looked at, cancelled, deleted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from anyio import AsyncFile
from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from telltale.web.asked import Asked, Found, Serving
from telltale.web.problems import documented
from telltale.web.rows import ScanRow
from telltale.web.schema import Scan, ScanEntry, ScanPage, State
from telltale.web.service import Service

_CHUNK_BYTES = 65_536
_GONE = documented("not_found", "invalid")
router = APIRouter(tags=["scans"])


@router.get("/scans", summary="List scans, the newest first", responses=documented("invalid"))
async def list_scans(
    service: Serving,
    caller: Asked,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[
        str | None, Query(description="`next` of the page before.", pattern=r"^\d{1,12}\.\d{1,9}-[0-9a-f]{32}$")
    ] = None,
    q: Annotated[str, Query(max_length=200, description="Part of the file's name.")] = "",
    state: State | None = None,
) -> ScanPage:
    rows = await service.db(
        service.scan_db.list, owner=caller.owner, text=q, state=state, before=_place(cursor), limit=limit + 1
    )
    items = await service.entries(rows[:limit])
    last = rows[limit - 1] if len(rows) > limit else None
    return ScanPage(items=items, next=None if last is None else _cursor(last))


def _cursor(row: ScanRow) -> str:
    return f"{row.created_at!r}-{row.id}"


def _place(cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    time_text, _, scan_id = cursor.partition("-")
    return float(time_text), scan_id


@router.get(
    "/scans/{scan_id}",
    summary="One scan, with its report once it has ended",
    response_model=Scan,
    responses=_GONE,
)
async def get_scan(service: Serving, row: Found) -> Response:
    entry = await service.db(service.jobs.entry, row)
    head = json.dumps(entry.model_dump(mode="json")).removesuffix("}").encode("ascii")
    report = await _report(service, row)
    return StreamingResponse(_joined(head + b', "report": ', report, b"}"), media_type="application/json")


async def _report(service: Service, row: ScanRow) -> AsyncFile[bytes] | bytes | None:
    """The report as JSON, as it lies on disk: checking a long one once more would cost more than reading it.

    Opened before the answer begins, which a scan that is deleted meanwhile would break off.
    """
    if not row.has_report:
        return None

    def make() -> bytes:
        return json.dumps(service.folder.report_data(row.analysis_id, name=row.name)).encode("ascii")

    made = await service.made_from(row, "json", make)
    try:
        return made if made is None or isinstance(made, bytes) else await anyio.open_file(made, "rb")
    except FileNotFoundError:
        return None


async def _joined(head: bytes, file: AsyncFile[bytes] | bytes | None, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    if file is None or isinstance(file, bytes):
        yield file or b"null"
    else:
        async with file:
            while chunk := await file.read(_CHUNK_BYTES):
                yield chunk
    yield tail


@router.delete(
    "/scans/{scan_id}",
    summary="Cancel a scan that waits or runs; delete one that has ended",
    response_model=ScanEntry,
    responses=_GONE
    | documented("foreign_origin", "no_space")
    | {200: {"description": "Cancelled."}, 204: {"description": "Deleted, with its upload and report."}},
)
async def delete_scan(service: Serving, row: Found, caller: Asked) -> Response:
    """A cancelled scan stays in the list as such, without its upload, until it is deleted too."""
    service.annotator.forget(row.id)
    done = await service.db(service.jobs.remove, row.id, owner=caller.owner)
    service.annotator.forget(row.id)  # of whoever asked in between
    entry = await service.entry(row.id, caller) if done == "cancelled" else None
    return Response(status_code=204) if entry is None else JSONResponse(entry.model_dump(mode="json"))


__all__ = ["router"]
