"""Who may ask, under which name, and what every answer carries: keys, hosts, origins, security headers, counting."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telltale.errors import UsageError
from telltale.web.metrics import Metrics
from telltale.web.problems import ProblemError, on_bug, problem, problem_response

COOKIE = "telltale_key"
_log = logging.getLogger("telltale.web")
API = "/api/v1"
_BACK_AFTER_S = 5.0
"""A start takes some seconds."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with none, browsers send forms with `Origin: null`, and nobody could sign in
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware: refuses foreign hosts and origins, adds the security headers, counts."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str], metrics: Metrics) -> None:
        self._app, self._hosts, self._metrics = app, frozenset(allowed_hosts), metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope.get("root_path"):
            raise UsageError("Telltale answers at the root of a host name only; give it one of its own, not a path")
        started_at, status, is_stream = time.perf_counter(), 0, False

        async def sending(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                is_stream = headers.get("content-type", "").startswith("text/event-stream")
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, sending)
        except ProblemError as error:
            if status:
                raise
            await problem_response(error)(scope, receive, sending)
        except asyncio.CancelledError:  # the server is being stopped, and its last seconds are over
            if not status:
                again = problem("not_ready", "the server is being stopped; send it again", retry_after_s=_BACK_AFTER_S)
                await problem_response(again)(scope, receive, sending)
        except Exception as error:
            if status:
                raise
            _log.exception("a request failed")
            await on_bug(error)(scope, receive, sending)
        finally:
            route = _route_of(scope)
            # Any method may be sent; only known ones become a label.
            method = scope["method"] if scope["method"] in {*_SAFE_METHODS, "POST", "DELETE"} else "other"
            self._metrics.requests.add(method, route, str(status))
            if not is_stream:
                self._metrics.request_s.add(time.perf_counter() - started_at)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and _hostname(host) not in self._hosts:
            raise problem("unknown_host", "start the server with --allow-host NAME to have it answer under this name")
        if scope["method"] in _SAFE_METHODS:
            return
        origin = headers.get("origin")
        is_foreign = origin is not None and not _is_from(origin, host)
        if is_foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise problem("foreign_origin", "a page of another site may not do this")


def _route_of(scope: Scope) -> str:
    """The route's pattern, with what it was mounted under."""
    route = getattr(scope.get("route"), "path", None)
    if route is None:
        return "other"
    return f"{API}{route}" if scope["path"].startswith(f"{API}/") and not route.startswith(f"{API}/") else str(route)


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_from(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no address at all: `http://[`
        return False


def client_of(connection: HTTPConnection) -> str:
    """The address that counts for limits: an IPv6 customer has a /64, an IPv4 one is one however it is written."""
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.version == 4:
        return host
    return str(ipaddress.ip_network(f"{host}/64", strict=False).network_address)


def new_key() -> str:
    return "tt_" + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What is kept of a key: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def sent_key(connection: HTTPConnection) -> str:
    """The key in `Authorization: Bearer`, else in the page's cookie, else empty."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return connection.cookies.get(COOKIE, "")


async def owner_of(connection: HTTPConnection, find: Callable[[str], Awaitable[str | None]]) -> str:
    """Whose key was sent. Raises the 401 problem."""
    key = sent_key(connection)
    owner = await find(digest(key)) if key else None
    if owner is None:
        raise problem("key_required", "send your key as `Authorization: Bearer KEY`")
    return owner


__all__ = ["API", "COOKIE", "Guard", "client_of", "digest", "new_key", "owner_of", "sent_key"]
