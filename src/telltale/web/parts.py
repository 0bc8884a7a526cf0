"""Files from disk, whole or the part that a player asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse

from telltale.web.problems import problem

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def file_in_parts(request: Request, path: Path, kind: str, headers: Mapping[str, str]) -> FileResponse:
    """The file, or the part of it in the request's Range. Raises the 416 problem, and `FileNotFoundError`."""
    stat = path.stat()
    _simplify_range(request, stat.st_size)
    return FileResponse(path, media_type=kind, headers=headers, stat_result=stat)


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


__all__ = ["file_in_parts"]
