"""Run the application: one process, one event loop; the analyses are processes of their own.

serve(ServeSettings(data=Path("telltale-data")), port=8000)
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from telltale.errors import UsageError
from telltale.web.app import create_app
from telltale.web.protocol import MAX_HEAD_BYTES, bounded
from telltale.web.settings import ServeSettings

_BACKLOG = 4096
_LAST_ANSWERS_S = 5
_WANTED_FILES = 65_536
_FILES_FOR_OTHERS = 256
"""Descriptors that no connection may take: database, uploads, worker processes."""


class _Server(uvicorn.Server):
    """Ends event streams when it is told to stop; they would never end by themselves."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.service.hub.close()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def serve(
    settings: ServeSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    trusted_proxies: str = "",
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until told to stop (SIGINT, SIGTERM). `on_ready` gets the address before the first request is taken.

    Addresses in `X-Forwarded-For` are believed from `trusted_proxies` only (comma-separated).
    Raises `UsageError` where the port is taken, and what `create_app` raises.
    """
    with listen(host, port) as listener:
        server = make_server(create_app(settings), settings, trusted_proxies=trusted_proxies)
        if on_ready is not None:
            on_ready(_address(listener))
        server.run(sockets=[listener])


def make_server(app: FastAPI, settings: ServeSettings, *, trusted_proxies: str = "") -> uvicorn.Server:
    """uvicorn with our deadlines; `run(sockets=[listen(..)])` runs it, `should_exit = True` ends it."""
    config = uvicorn.Config(
        app,
        http=bounded(settings.receipt, app.state.service.metrics, max_connections=_most_connections()),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=trusted_proxies or None,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
    return _Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `UsageError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        option = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        why = str(error.strerror or error).partition(" (while")[0]  # Python appends the address
        raise UsageError(f"{host}:{port} cannot be listened on ({why}); choose another {option}") from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _most_connections() -> int:
    """As many as there are file descriptors for, after asking for more."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _WANTED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    # A connection whose upload is being written has a file beside its socket.
    return max(16, (max(soft, wanted) - _FILES_FOR_OTHERS) // 2)


__all__ = ["listen", "make_server", "serve"]
