"""HEAD, answered as GET is but for the body. The framework would refuse it on every route.

>>> has_head("/healthz"), has_head("/api/v1/events")
(True, False)
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ENDLESS = re.compile(r"/api/v1(/scans/[^/]+)?/events")
"""Paths of streams (`routes.streams`): nothing but their body tells anything, and some never end."""
_UNREAD = "http.response.pathsend"
"""Who offers this is given the path of a file in place of its content (ASGI's path send extension)."""


def has_head(path: str) -> bool:
    """Whether HEAD is answered where GET is."""
    return _ENDLESS.fullmatch(path) is None


class HeadAsGet:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not has_head(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == _UNREAD:
                message = {"type": "http.response.body"}
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        asked = {
            **scope,
            "method": "GET",
            "headers": [pair for pair in scope["headers"] if pair[0] != b"range"],  # is GET's alone (RFC 9110, 14.2)
            "extensions": {**(scope.get("extensions") or {}), _UNREAD: {}},
        }
        try:
            await self._app(asked, receive, sending)
        finally:
            scope["route"] = asked.get("route")


__all__ = ["HeadAsGet", "has_head"]
