"""Styles, scripts and the icon of the pages."""

from __future__ import annotations

import functools
import mimetypes
from collections.abc import Mapping
from importlib import resources

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from telltale._html import asset
from telltale.web.parts import etag_of, is_known
from telltale.web.problems import problem

_SHARED_ASSETS = ("page.css", "report.js")
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    if name not in _statics():
        raise problem("not_found", "there is no such file")
    content, kind, etag = _statics()[name]
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@functools.cache
def _statics() -> Mapping[str, tuple[bytes, str, str]]:
    """name -> (content, media type, ETag): a closed list, read once, so that no path is ever made from a request."""
    files = {entry.name: entry.read_bytes() for entry in (resources.files("telltale.web") / "static").iterdir()}
    files |= {name: asset(name).encode("utf-8") for name in _SHARED_ASSETS}
    return {name: (content, _kind(name), etag_of(content)) for name, content in files.items()}


def _kind(name: str) -> str:
    return {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}.get(
        name.rsplit(".", 1)[-1], mimetypes.guess_type(name)[0] or "application/octet-stream"
    )


__all__ = ["router"]
