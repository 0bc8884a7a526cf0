"""The routes to what became of a scan: its page, its clip as uploaded and drawn on, its picture."""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from telltale._text import file_stem
from telltale.errors import OutputError, Stopped, TelltaleError, WorkerNotStarted
from telltale.report import to_html
from telltale.web.analysis import PLAYED_AS
from telltale.web.annotated import AnnotatorBusy
from telltale.web.asked import Asked, Found, Serving
from telltale.web.parts import etag_from, etag_of, file_in_parts, page_in_full, whole
from telltale.web.problems import documented, problem
from telltale.web.rows import ScanRow
from telltale.web.service import Service

_META_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
_HEAD_BYTES = 8192
"""Of a page: its policy stands in the first few lines."""
_PATIENCE_S = 20.0
"""So long an answer waits for an annotated clip before it says that it is being made."""
_NOT_DRAWN = {
    "deadline_exceeded": "drawing took longer than the server allows",
    "out_of_memory": "drawing needed more memory than the server allows",
    "worker_crashed": "the process that draws broke off",
    "worker_not_started": "the machine could not start the process that draws; try later",
}
"""Without the errors' own messages, which name paths of the server."""
_NO_RIGHTS = "default-src 'none'; sandbox"
_ASKED_AGAIN = {"Cache-Control": "private, no-cache"}
"""A browser keeps it, and asks before it shows it: the scan may be deleted, or its user have signed out."""
_AS_UPLOADED = {"Content-Security-Policy": _NO_RIGHTS, **_ASKED_AGAIN}
"""What strangers made is never more than played."""
_WITHOUT_RESULT = documented("not_found", "invalid", "no_result")
_KNOWN: dict[int | str, dict[str, Any]] = {304: {"description": "What the ETag in If-None-Match stands for."}}
router = APIRouter(tags=["results"])


@router.get(
    "/scans/{scan_id}/report.html",
    summary="The report as one self-contained page",
    response_class=Response,
    responses=_WITHOUT_RESULT | {200: {"content": {"text/html": {}}, "description": "The page."}},
)
async def report_html(request: Request, service: Serving, row: Found) -> Response:
    if not row.has_report:
        raise problem("no_result", f"the scan is {row.state}: there is no report")
    page = await service.made(row, "html", lambda report: to_html(report).encode("utf-8"))
    if page is None:
        raise problem("no_result", "the report is not kept")
    if isinstance(page, bytes):
        return Response(page, media_type="text/html", headers=_headers_of(page, row.name))
    with _unless_deleted():
        with page.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        return page_in_full(request, page, _headers_of(head, row.name))


def _headers_of(page: bytes, name: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": f"{_own_policy(page)}; sandbox allow-scripts allow-modals; frame-ancestors 'none'",
        "Content-Disposition": f'inline; filename="telltale-{_ascii_stem(name)}.html"',
    }


@contextlib.contextmanager
def _unless_deleted() -> Iterator[None]:
    """Files go in another thread, at any moment: that a scan was there just now does not say that they are."""
    try:
        yield
    except FileNotFoundError:
        raise problem("no_result", "it is not kept: the scan was deleted, or has nothing of this kind") from None


def _own_policy(page: bytes) -> str:
    """What the page allows itself, as it does where it is opened from a disk."""
    found = _META_POLICY.search(page[:_HEAD_BYTES].decode("utf-8", "ignore"))
    return html.unescape(found[1]) if found else _NO_RIGHTS


def _ascii_stem(name: str) -> str:
    return file_stem(name).encode("ascii", "ignore").decode("ascii").strip("-_") or "report"


@router.get(
    "/scans/{scan_id}/annotated.mp4",
    summary="The clip with what was found drawn into it",
    response_class=FileResponse,
    responses=_WITHOUT_RESULT
    | documented("bad_range", "queue_full", "no_space")
    | {
        200: {"content": {"video/mp4": {}}, "description": "The clip."},
        202: {"content": {"application/json": {}}, "description": "It is being made; ask again after Retry-After."},
        206: {"content": {"video/mp4": {}}, "description": "A part of it."},
    }
    | _KNOWN,
)
async def annotated(request: Request, service: Serving, row: Found, caller: Asked) -> Response:
    """Made when it is first asked for, which takes some times the length of the clip."""
    if row.state != "done" or not row.media_type or row.media_type.startswith("image/"):
        raise problem("no_result", "there is no video to draw on")
    path = await _drawn_on(service, row, caller.client)
    if path is None:
        return JSONResponse({"status": "being made"}, status_code=202, headers={"Retry-After": "5"})
    if not await service.is_there(row):
        raise problem("no_result", "the scan was deleted meanwhile")
    with _unless_deleted():
        made_ns = path.stat().st_mtime_ns  # for this scan alone, so that it tells of nobody else's
        return file_in_parts(request, path, "video/mp4", _AS_UPLOADED, etag=etag_of(b"%d" % made_ns))


async def _drawn_on(service: Service, row: ScanRow, client: str) -> Path | None:
    """The annotated clip; None while it is being made. Raises the problem where it cannot be."""
    try:
        made = asyncio.wrap_future(service.annotator.ask(row, client))
        made.add_done_callback(_take_note)
        return await asyncio.wait_for(asyncio.shield(made), _PATIENCE_S)
    except TimeoutError:
        return None
    except AnnotatorBusy:
        raise problem("queue_full", "other clips are being drawn on; try later", retry_after_s=30) from None
    except OutputError:
        service.annotator.forget(row.id)  # it is made anew for whoever asks when there is room
        raise problem("no_space", "there is no room left for the clip; delete scans of yours, or try later") from None
    except (Stopped, FileNotFoundError):
        service.annotator.forget(row.id)
        raise problem("no_result", "the scan was deleted meanwhile") from None
    except TelltaleError as error:
        if isinstance(error, WorkerNotStarted):  # says nothing about the clip
            service.annotator.forget(row.id)
        raise problem("not_drawn", _NOT_DRAWN.get(error.code, "it cannot be read and written anew")) from None


def _take_note(made: asyncio.Future[Path]) -> None:
    """Whoever asked may have left: asyncio must not complain that nobody looked at a failure. Those who ask later are
    told of it."""
    if not made.cancelled():
        made.exception()


@router.get(
    "/scans/{scan_id}/media",
    summary="What was uploaded, to be played",
    response_class=FileResponse,
    responses=_WITHOUT_RESULT
    | documented("bad_range")
    | {
        200: {"content": {kind: {} for kind in PLAYED_AS}, "description": "The file."},
        206: {"content": {kind: {} for kind in PLAYED_AS}, "description": "A part of it."},
    }
    | _KNOWN,
)
async def media(request: Request, service: Serving, row: Found) -> Response:
    if row.state != "done" or not row.media_type:
        raise problem("no_result", "this upload is not kept, or not yet there to be played")
    with _unless_deleted():
        path, etag = service.folder.media(row.analysis_id), etag_from(row.sha256)
        return file_in_parts(request, path, row.media_type, _AS_UPLOADED, etag=etag)


@router.get(
    "/scans/{scan_id}/thumbnail.jpg",
    summary="A small picture from the middle",
    response_class=FileResponse,
    responses=_WITHOUT_RESULT
    | {200: {"content": {"image/jpeg": {}}, "description": "JPEG, at most 180 px high."}}
    | _KNOWN,
)
async def thumbnail(request: Request, service: Serving, row: Found) -> Response:
    if not row.has_thumbnail or row.state == "cancelled":
        raise problem("no_result", "there is no picture of this scan")
    with _unless_deleted():
        picture = service.folder.thumbnail(row.analysis_id).read_bytes()
    return whole(request, picture, "image/jpeg", _ASKED_AGAIN)


__all__ = ["router"]
