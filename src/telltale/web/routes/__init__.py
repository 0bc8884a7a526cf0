"""The routes, one idea a file: functions that say in their parameters what they need (`asked`)."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer

from telltale.web.guard import API
from telltale.web.problems import documented, only_known_parameters
from telltale.web.routes import login, models, operation, pages, results, scans, statics, streams, uploads


def add_routes(app: FastAPI, *, require_key: bool) -> None:
    """All of them. `require_key` only documents the key here: each route of the API asks for its caller."""
    bearer = HTTPBearer(auto_error=False, description="An API key.")
    asks_for_key = [Depends(bearer)] if require_key else []
    refuses = documented("key_required") if require_key else {}
    api = APIRouter(
        prefix=API,
        responses=documented("bad_form", "unknown_host", "invalid") | refuses,
        dependencies=[*asks_for_key, Depends(only_known_parameters)],
    )
    for part in (uploads, scans, streams, results, models):
        api.include_router(part.router)
    app.include_router(api)
    app.include_router(operation.figures, responses=refuses, dependencies=asks_for_key)
    for page in (operation, pages, login, statics):
        app.include_router(page.router)


__all__ = ["add_routes"]
