"""Errors as problem details (RFC 9457): `application/problem+json`, with a code that programs can test.

>>> problem("queue_full", "200 scans are waiting", retry_after_s=4.2).headers
{'Retry-After': '5'}
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from telltale._text import encodable
from telltale.web.head import has_head
from telltale.web.schema import Problem

PROBLEMS: Mapping[str, tuple[int, str]] = {
    "bad_form": (400, "The form cannot be read"),
    "key_required": (401, "An API key is required"),
    "foreign_origin": (403, "Requests from other sites are refused"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "receipt_timeout": (408, "The request was not received in time"),
    "no_result": (409, "The scan has nothing of this kind"),
    "not_drawn": (409, "The annotated clip could not be drawn"),
    "too_large": (413, "The upload is too large"),
    "unsupported_media_type": (415, "The body is not of a kind that is read here"),
    "bad_range": (416, "No such part of the file"),
    "unknown_host": (421, "This server does not answer under that name"),
    "invalid": (422, "The request makes no sense"),
    "queue_full": (429, "Too much is waiting"),
    "client_busy": (429, "Too many scans of yours are waiting"),
    "internal": (500, "A fault in Telltale"),
    "not_ready": (503, "Not ready"),
    "no_space": (507, "The server's disk is full"),
}
"""code -> (status, title)"""


class ProblemError(HTTPException):
    """Ends a request with a problem."""

    def __init__(
        self, code: str, detail: str, *, errors: list[dict[str, Any]] | None = None, headers: dict[str, str]
    ) -> None:
        status, self.title = PROBLEMS[code]
        super().__init__(status, detail, headers)
        self.code = code
        self.errors = errors


def problem(
    code: str,
    detail: str,
    *,
    errors: list[dict[str, Any]] | None = None,
    retry_after_s: float | None = None,
    closes: bool = False,
    headers: Mapping[str, str] | None = None,
) -> ProblemError:
    """An exception for one of `PROBLEMS`; `closes` ends the connection after the answer."""
    headers = dict(headers or {})
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if closes:
        headers["Connection"] = "close"
    if code == "key_required":
        headers["WWW-Authenticate"] = "Bearer"
    return ProblemError(code, detail, errors=errors, headers=headers)


def problem_response(error: ProblemError) -> Response:
    body = Problem(
        type=f"urn:telltale:problem:{error.code}",
        title=error.title,
        status=error.status_code,
        detail=encodable(str(error.detail)),
        code=error.code,
        errors=error.errors,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=error.status_code,
        headers=error.headers,
        media_type="application/problem+json",
    )


async def on_http_error(request: Request, error: Exception) -> Response:
    """Our problems, and those that the framework raises by itself."""
    if isinstance(error, ProblemError):
        return problem_response(error)
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == PROBLEMS["method_not_allowed"][0]:
        allow = dict(error.headers or {}).get("Allow", "")
        error = HTTPException(error.status_code, error.detail, {"Allow": ", ".join(_methods_of(request, allow))})
    codes = {status: code for code, (status, _) in reversed(list(PROBLEMS.items()))}
    code = codes.get(error.status_code, "bad_form")
    title = HTTPStatus(error.status_code).phrase
    return problem_response(ProblemError(code, str(error.detail or title), headers=dict(error.headers or {})))


def _methods_of(request: Request, first_route: str) -> list[str]:
    """All methods of this path; the framework names those of the first route only."""
    methods = {method.strip() for method in first_route.split(",") if method.strip()}
    for template, operations in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), request.url.path):
            methods |= {method.upper() for method in operations}
    if "GET" in methods and has_head(request.url.path):
        methods.add("HEAD")
    return sorted(methods)


async def on_invalid(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return problem_response(invalid(error.errors()))


async def on_database_error(_: Request, error: Exception) -> Response:
    """A full disk, where a route had something to write down."""
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
        raise error
    return problem_response(problem("no_space", "there is no room left to write anything down; try later"))


def on_bug(error: Exception) -> Response:
    """What no one foresaw; the log has the rest."""
    return problem_response(problem("internal", f"{type(error).__name__}; the server's log says more"))


def invalid(found: Iterable[Mapping[str, Any]]) -> ProblemError:
    """422 from pydantic's errors, without the values that were sent."""
    errors = [{"where": list(one["loc"]), "what": one["msg"].removeprefix("Value error, ")} for one in found]
    first = "; ".join(
        f"{'.'.join(str(part) for part in one['where'] if part not in ('body', 'query', 'path')) or 'request'}: "
        f"{one['what']}"
        for one in errors[:3]
    )
    return problem("invalid", first, errors=json.loads(json.dumps(errors, default=str)))


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can end with these problems."""
    responses: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status, title = PROBLEMS[code]
        responses[status] = {
            "description": title,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status == 429:
            responses[status]["headers"] = {
                "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
            }
    return responses


async def only_known_parameters(request: Request) -> None:
    """For every route: a parameter that is misspelt, or of another version, is refused and not passed over."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    there_are = f"there are {', '.join(known)}" if known else "there is none"
    if unknown := sorted(request.query_params.keys() - set(known)):
        raise invalid([{"loc": ["query", name], "msg": f"no such parameter; {there_are}"} for name in unknown])


__all__ = [
    "PROBLEMS",
    "ProblemError",
    "documented",
    "invalid",
    "on_bug",
    "on_database_error",
    "on_http_error",
    "on_invalid",
    "only_known_parameters",
    "problem",
]
