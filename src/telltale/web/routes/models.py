"""The route that lists the models."""

from __future__ import annotations

from fastapi import APIRouter

from telltale.web.asked import Asked, Serving
from telltale.web.schema import ModelEntry

router = APIRouter(tags=["models"])


@router.get("/models", summary="The models, with their cards")
async def models(service: Serving, caller: Asked) -> list[ModelEntry]:  # noqa: ARG001 - asks for the key
    return [
        ModelEntry(
            name=name,
            sha256=scorer.bundle.sha256,
            is_default=name == service.default_model(),
            card=scorer.bundle.card,
        )
        for name, scorer in service.scorers.items()
    ]


__all__ = ["router"]
