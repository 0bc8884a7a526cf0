"""The routes to what became of a scan: its page, its clip as uploaded and drawn on, its picture."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from telltale._text import file_stem
from telltale.errors import OutputError, TelltaleError
from telltale.report import to_html
from telltale.web.analysis import PLAYED_AS
from telltale.web.annotated import AnnotatorBusy
from telltale.web.asked import Found, service_of
from telltale.web.problems import documented, problem

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_META_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
_HEAD_BYTES = 8192
"""Of a page: its policy stands in the first few lines."""
_PATIENCE_S = 20.0
"""So long an answer waits for an annotated clip before it says that it is being made."""
_NO_RIGHTS = "default-src 'none'; sandbox"


def add_results(router: APIRouter) -> None:
    """Add them to the router of the API."""
    without_result = documented("not_found", "invalid", "no_result")

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
        page = await service.made(row, "html", lambda report: to_html(report).encode("utf-8"))
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
        "/scans/{scan_id}/annotated.mp4",
        tags=["results"],
        summary="The clip with what was found drawn into it",
        response_class=FileResponse,
        responses=without_result
        | documented("bad_range", "queue_full", "no_space")
        | {
            200: {"content": {"video/mp4": {}}, "description": "The clip."},
            202: {"content": {"application/json": {}}, "description": "It is being made; ask again after Retry-After."},
            206: {"content": {"video/mp4": {}}, "description": "A part of it."},
        },
    )
    async def annotated(request: Request, row: Found) -> Response:
        """Made when it is first asked for, which takes some times the length of the clip."""
        service = service_of(request)
        if row.state != "done" or not row.media_type or row.media_type.startswith("image/"):
            raise problem("no_result", "there is no video to draw on")
        try:
            made = asyncio.wrap_future(service.annotator.ask(row))
            path = await asyncio.wait_for(asyncio.shield(made), _PATIENCE_S)
        except TimeoutError:
            return JSONResponse({"status": "being made"}, status_code=202, headers={"Retry-After": "5"})
        except AnnotatorBusy:
            raise problem("queue_full", "other clips are being drawn on; try later", retry_after_s=30) from None
        except OutputError:
            service.annotator.forget(row.id)  # it is made anew for whoever asks when there is room
            raise problem("no_space", "there is no room left for the clip; try later") from None
        except (TelltaleError, FileNotFoundError) as error:
            service.annotator.forget(row.id)
            raise problem("no_result", f"the clip could not be made ({type(error).__name__})") from error
        if not await service.is_there(row) or not path.is_file():
            raise problem("no_result", "the scan was deleted meanwhile")
        headers = {"Cache-Control": "private, max-age=3600", "Content-Security-Policy": _NO_RIGHTS}
        return _file_in_parts(request, path, "video/mp4", headers)

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
        headers = {"Content-Security-Policy": _NO_RIGHTS, "Cache-Control": "private, max-age=3600"}
        return _file_in_parts(request, path, row.media_type, headers)

    @router.get(
        "/scans/{scan_id}/thumbnail.jpg",
        tags=["results"],
        summary="A small picture from the middle",
        response_class=FileResponse,
        responses=without_result | {200: {"content": {"image/jpeg": {}}, "description": "JPEG, at most 180 px high."}},
    )
    async def thumbnail(request: Request, row: Found) -> Response:
        path = service_of(request).folder.thumbnail(row.analysis_id)
        if not row.has_thumbnail or not path.is_file():
            raise problem("no_result", "there is no picture of this scan")
        return Response(path.read_bytes(), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


def _file_in_parts(request: Request, path: Path, kind: str, headers: dict[str, str]) -> FileResponse:
    _simplify_range(request, path.stat().st_size)
    return FileResponse(path, media_type=kind, headers=headers, stat_result=path.stat())


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


__all__ = ["add_results"]
