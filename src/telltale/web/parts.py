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


def file_in_parts(request: Request, path: Path, kind: str, headers: Mapping[str, str]) -> Response:
    """The file, the part of it in the request's Range, or 304. Raises the 416 problem, and `FileNotFoundError`."""
    stat = path.stat()
    file = FileResponse(path, media_type=kind, headers=headers, stat_result=stat)
    if is_known(request, file.headers["etag"]):
        return Response(status_code=304, headers={**headers, "ETag": file.headers["etag"]})
    _simplify_range(request, stat.st_size)
    return file


def whole(request: Request, content: bytes, kind: str, headers: Mapping[str, str]) -> Response:
    """The content, or 304."""
    headers = {**headers, "ETag": etag_of(content)}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def etag_of(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def is_known(request: Request, etag: str) -> bool:
    """Whether the browser has what the tag stands for. A proxy that compresses makes tags weak ones: `W/".."`."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in tags or tags == ["*"]


def _simplify_range(request: Request, size_bytes: int) -> None:
    """One plain range is answered, nonsense ignored (RFC 9110, 14.2), what lies outside refused."""
    wanted = request.headers.get("range")
    if wanted is None:
        return
    found = _RANGE.fullmatch(wanted)
    if found is None or not any(found.groups()) or (all(found.groups()) and int(found[1]) > int(found[2])):
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
    elif (found[1] and int(found[1]) >= size_bytes) or (not found[1] and int(found[2]) == 0):
        raise problem(
            "bad_range", f"the file has {size_bytes} bytes", headers={"Content-Range": f"bytes */{size_bytes}"}
        )


__all__ = ["etag_of", "file_in_parts", "is_known", "whole"]
