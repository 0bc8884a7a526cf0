"""Bounds on what a request may bring and how long it may take: outermost in the app, so that no route can forget it.

Every body is counted as it comes, whatever its Content-Length says, and has a deadline that moves with what has
arrived: a slow line is let through, a byte a second is not. (What comes before the body is `protocol`'s.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telltale.web.metrics import Metrics
from telltale.web.problems import ProblemError, problem, problem_response
from telltale.web.settings import ReceiptLimits
from telltale.web.upload import too_large


class BoundedReceipt:
    """ASGI middleware."""

    def __init__(
        self, app: ASGIApp, *, limits: ReceiptLimits, max_upload_bytes: Callable[[Scope], int], metrics: Metrics
    ) -> None:
        """`max_upload_bytes` gives the most a file in a request's body may have, 0 where none is taken."""
        self._app, self._limits, self._max_upload_bytes, self._metrics = app, limits, max_upload_bytes, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limits, self._max_upload_bytes(scope), self._metrics)
        is_started = False

        async def sending(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            body.check_announced(scope)
            await self._app(scope, body.receive, sending)
        except ProblemError as error:
            if is_started:
                raise
            await problem_response(error)(scope, receive, send)


class _Body:
    def __init__(self, receive: Receive, limits: ReceiptLimits, max_upload_bytes: int, metrics: Metrics) -> None:
        self._receive, self._limits, self._metrics = receive, limits, metrics
        self._max_upload_bytes = max_upload_bytes
        self._max_bytes = limits.form_overhead_bytes + max_upload_bytes
        self._started_at = asyncio.get_running_loop().time()
        self._n_bytes = 0
        self._is_complete = False

    def check_announced(self, scope: Scope) -> None:
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        if self._is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._limits.ends_at(self._started_at, self._n_bytes)):
                message = await self._receive()
        except TimeoutError:
            self._metrics.cut_off.add("slow body")
            raise problem(
                "receipt_timeout", f"{self._n_bytes:,} bytes came in the time allowed; try again", closes=True
            ) from None
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self._max_bytes:
            raise self._too_large()
        self._is_complete = not message.get("more_body", False)
        return message

    def _too_large(self) -> ProblemError:
        """Names the limit that whoever sends knows: the file's, not that of the form around it."""
        if self._max_upload_bytes:
            return too_large(self._max_upload_bytes)
        return problem("too_large", f"a request that brings no upload may have {self._max_bytes:,} bytes")


__all__ = ["BoundedReceipt"]
