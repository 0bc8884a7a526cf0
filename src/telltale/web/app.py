"""The application: routes, bounds, errors.

app = create_app(ServeSettings(data=Path("telltale-data")))
telltale.web.server.serve(app, ...)          # adds the deadlines that only a connection can keep
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from telltale import __version__
from telltale.web.api import scans_router
from telltale.web.guard import Guard
from telltale.web.operation import operators_router
from telltale.web.pages import pages_router
from telltale.web.problems import on_bug, on_http_error, on_invalid
from telltale.web.receipt import BoundedReceipt
from telltale.web.schema import Problem
from telltale.web.service import Service
from telltale.web.settings import ServeSettings

_UPLOAD_PATH = "/api/v1/scans"


def create_app(settings: ServeSettings) -> FastAPI:
    """The ASGI application. Opens data folder and models; they are closed when the application has run.

    Raises `UsageError`, `ModelError` and `OutputError`.
    """
    service = Service(settings)
    metrics = service.metrics

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    app = FastAPI(
        title="Telltale",
        version=__version__,
        summary="Tells real faces from deepfakes in video.",
        description="Every error is a problem document (RFC 9457) with a stable `code`. A score is no proof.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: on_http_error, RequestValidationError: on_invalid, Exception: on_bug},
    )
    app.state.service = service
    app.include_router(scans_router(require_key=settings.require_key, model_names=list(service.scorers)))
    app.include_router(operators_router())
    app.include_router(pages_router())
    app.add_middleware(
        BoundedReceipt, limits=settings.receipt, max_bytes=lambda scope: _max_bytes(scope, settings), metrics=metrics
    )
    app.add_middleware(Guard, allowed_hosts=settings.allowed_hosts, metrics=metrics)
    _describe(app)
    return app


def _max_bytes(scope: Scope, settings: ServeSettings) -> int:
    is_upload = scope["path"] == _UPLOAD_PATH and scope["method"] == "POST"
    return settings.receipt.form_overhead_bytes + (settings.max_upload_bytes if is_upload else 0)


def _describe(app: FastAPI) -> None:
    """Put our problem in the place of the framework's own error schema."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for operation in _operations(document):
                answer = operation["responses"].get("422", {}).get("content", {})
                if "application/json" in answer:
                    del operation["responses"]["422"]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


__all__ = ["create_app"]
