"""Files from disk: whole, the part that a player asks for, or not at all where the browser has them already."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse

from telltale.web.problems import problem

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def file_in_parts(request: Request, path: Path, kind: str, headers: Mapping[str, str], *, etag: str) -> Response:
    """The file, the part of it in the request's Range, or 304. Raises the 416 problem, and `FileNotFoundError`.

    `etag` stands for the content. The file's own time is not told: somebody else may have sent the same bytes earlier.
    """
    stat = path.stat()
    headers = {**headers, "ETag": etag}
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    _simplify_range(request, stat.st_size, etag)
    file = FileResponse(path, media_type=kind, headers=headers, stat_result=stat)
    del file.headers["last-modified"]
    return file


def page_in_full(request: Request, path: Path, headers: Mapping[str, str] | None = None) -> Response:
    """A page from disk, whatever Range is asked for: nobody reads a part of one. Raises `FileNotFoundError`."""
    for name in (b"range", b"if-range"):
        _drop(request, name)
    page = FileResponse(path, media_type="text/html", headers=headers, stat_result=path.stat())
    del page.headers["accept-ranges"]
    return page


def whole(request: Request, content: bytes, kind: str, headers: Mapping[str, str]) -> Response:
    """The content, or 304."""
    headers = {**headers, "ETag": etag_of(content)}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def etag_of(content: bytes) -> str:
    return etag_from(hashlib.sha256(content).hexdigest())


def etag_from(sha256: str) -> str:
    return f'"{sha256[:20]}"'


def is_known(request: Request, etag: str) -> bool:
    """Whether the browser has what the tag stands for. A proxy that compresses makes tags weak ones: `W/".."`."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in tags or tags == ["*"]


def _simplify_range(request: Request, size_bytes: int, etag: str) -> None:
    """One plain range is answered, nonsense and parts of another content ignored (RFC 9110, 14.2 and 13.1.5), what lies
    outside refused."""
    wanted, of = request.headers.get("range"), request.headers.get("if-range", etag)
    _drop(request, b"if-range")
    if wanted is None:
        return
    found = _RANGE.fullmatch(wanted) if of == etag else None
    if found is None or not any(found.groups()) or (all(found.groups()) and int(found[1]) > int(found[2])):
        _drop(request, b"range")
    elif (found[1] and int(found[1]) >= size_bytes) or (not found[1] and int(found[2]) == 0):
        raise problem(
            "bad_range", f"the file has {size_bytes} bytes", headers={"Content-Range": f"bytes */{size_bytes}"}
        )


def _drop(request: Request, name: bytes) -> None:
    request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != name]


__all__ = ["etag_from", "etag_of", "file_in_parts", "is_known", "page_in_full", "whole"]
