"""The routes for operators: whether the server lives, whether it works, and its figures."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from telltale.web.asked import Asked, Serving
from telltale.web.problems import documented, problem
from telltale.web.schema import Health

router = APIRouter(tags=["operation"], responses=documented("unknown_host"))
figures = APIRouter(tags=["operation"], responses=documented("unknown_host"))
"""Asks for the key, where one is required."""


@router.get("/healthz", summary="Whether the server answers")
async def healthz() -> Health:
    return Health()


@router.get("/readyz", summary="Whether it can take and analyse uploads", responses=documented("not_ready"))
async def readyz(service: Serving) -> Health:
    await service.db(service.scan_db.count, "queued")
    if not service.jobs.is_alive:
        raise problem("not_ready", "a worker has ended or never started; restart the server")
    if service.jobs.is_held_up:
        raise problem("not_ready", "no process to analyse with can be started; free memory or allow more processes")
    if not service.folder.has_room():
        raise problem("not_ready", "the disk is full")
    return Health()


@figures.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
async def metrics(service: Serving, caller: Asked) -> PlainTextResponse:  # noqa: ARG001 - asks for the key
    text = await service.db(service.metrics.text)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


__all__ = ["figures", "router"]
