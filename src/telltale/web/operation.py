"""The routes for operators: whether the server lives, whether it works, and its figures."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from telltale.web.asked import Asked, service_of
from telltale.web.problems import documented, problem
from telltale.web.schema import Health


def operators_router() -> APIRouter:
    """Whether it lives, whether it works, and its figures."""
    router = APIRouter(tags=["operation"], responses=documented("unknown_host"))

    @router.get("/healthz", summary="Whether the server answers")
    async def healthz() -> Health:
        return Health()

    @router.get("/readyz", summary="Whether it can take and analyse uploads", responses=documented("not_ready"))
    async def readyz(request: Request) -> Health:
        service = service_of(request)
        await service.db(service.store.count, "queued")
        if not service.jobs.is_alive:
            raise problem("not_ready", "a worker has ended; restart the server")
        if not service.has_room():
            raise problem("not_ready", "the disk is full")
        return Health()

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=PlainTextResponse,
        responses=documented("key_required"),
    )
    async def metrics(request: Request, caller: Asked) -> PlainTextResponse:  # noqa: ARG001 - asks for the key
        service = service_of(request)
        text = await service.db(service.metrics.text)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return router


__all__ = ["operators_router"]
