"""The application: routes, bounds, errors.

app = create_app(ServeSettings(data=Path("telltale-data")))
telltale.web.server.serve(app, ...)          # adds the deadlines that only a connection can keep
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from telltale import __version__
from telltale.web.guard import Guard
from telltale.web.head import HeadAsGet
from telltale.web.openapi import describe
from telltale.web.problems import on_database_error, on_invalid
from telltale.web.receipt import BoundedReceipt
from telltale.web.routes import add_routes
from telltale.web.routes.pages import on_lost
from telltale.web.routes.uploads import UPLOAD_PATH
from telltale.web.service import Service
from telltale.web.settings import ServeSettings


def create_app(settings: ServeSettings) -> FastAPI:
    """The ASGI application. Opens data folder and models; they are closed when the application has run.

    It wants a host name of its own: pages, scripts and links ask for paths from its root. Mounted below a path in
    another application it raises `UsageError` at the first request. Its lifespan starts the workers.

    Raises `UsageError`, `ModelError` and `OutputError`.
    """
    service = Service(settings)

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
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            HTTPException: on_lost,
            RequestValidationError: on_invalid,
            sqlite3.OperationalError: on_database_error,
        },
    )
    app.state.service = service
    add_routes(app, require_key=settings.require_key)
    describe(app, model_names=list(service.scorers))
    _bound(app, settings, service)
    return app


def _bound(app: FastAPI, settings: ServeSettings, service: Service) -> None:
    """Bounds around every route, so that none can forget them: the last one added is asked first."""

    def max_upload_bytes(scope: Scope) -> int:
        is_upload = scope["path"] == UPLOAD_PATH and scope["method"] == "POST"
        return settings.max_upload_bytes if is_upload else 0

    app.add_middleware(HeadAsGet)
    app.add_middleware(
        BoundedReceipt, limits=settings.receipt, max_upload_bytes=max_upload_bytes, metrics=service.metrics
    )
    app.add_middleware(Guard, allowed_hosts=settings.allowed_hosts, metrics=service.metrics)


__all__ = ["create_app"]
