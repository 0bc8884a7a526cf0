"""A page to drop a clip on, and an API: `telltale serve`. Needs `pip install 'telltale[web]'`.

    from telltale.web import Client
    with Client("http://127.0.0.1:8000") as client:
        print(client.scan("clip.mp4").verdict)

Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from telltale.errors import require

if TYPE_CHECKING:
    from telltale.web.app import create_app
    from telltale.web.client import ApiError, Client, ServerUnreachable
    from telltale.web.schema import ScanOptions
    from telltale.web.server import serve
    from telltale.web.settings import ReceiptLimits, ServeSettings

_HOME = {
    "ApiError": ("client", "httpx2"),
    "Client": ("client", "httpx2"),
    "ReceiptLimits": ("settings", ""),
    "ScanOptions": ("schema", ""),
    "ServeSettings": ("settings", ""),
    "ServerUnreachable": ("client", "httpx2"),
    "create_app": ("app", "fastapi"),
    "serve": ("server", "uvicorn"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'telltale.web' has no attribute {name!r}")
    module, needed = _HOME[name]
    if needed:
        require(needed, "web")
    return getattr(importlib.import_module(f"telltale.web.{module}"), name)


__all__ = [
    "ApiError",
    "Client",
    "ReceiptLimits",
    "ScanOptions",
    "ServeSettings",
    "ServerUnreachable",
    "create_app",
    "serve",
]
