"""The route that takes uploads. The form is read as it comes (`upload`), and not before there is room for it."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from telltale.web.asked import Asked, Serving
from telltale.web.problems import ProblemError, documented, invalid, problem
from telltale.web.scan_db import ClientBusy, QueueFull
from telltale.web.schema import ScanEntry, ScanOptions
from telltale.web.service import Caller, Service

UPLOAD_PATH = "/api/v1/scans"
router = APIRouter(tags=["scans"])


@router.post(
    "/scans",
    status_code=202,
    summary="Upload a video or picture to have it analysed",
    responses=documented(
        "foreign_origin",
        "receipt_timeout",
        "too_large",
        "unsupported_media_type",
        "invalid",
        "queue_full",
        "no_space",
    )
    | {202: {"headers": {"Location": {"description": "Where the scan is.", "schema": {"type": "string"}}}}},
)
async def create_scan(request: Request, response: Response, service: Serving, caller: Asked) -> ScanEntry:
    """Answers as soon as the upload has arrived. Equal bytes with equal settings are analysed once for each key."""
    await _check_room(service, caller, int(request.headers.get("content-length", "0") or 0))
    upload = await service.receiver.receive(request.headers.get("content-type", ""), request.stream())
    try:
        model, options = _asked_for(service, upload.fields)
        row = await service.db(
            service.jobs.submit, upload, options=options, model=model, owner=caller.owner, client=caller.client
        )
    except QueueFull:
        raise _queue_full(service) from None
    except ClientBusy:
        raise _client_busy(service, caller) from None
    finally:
        upload.path.unlink(missing_ok=True)
    response.headers["Location"] = f"{UPLOAD_PATH}/{row.id}"
    return await service.db(service.jobs.entry, row)


def _asked_for(service: Service, fields: Mapping[str, str]) -> tuple[str, ScanOptions]:
    """The model and the settings that a form asks for. Raises the 422 problem."""
    settings = dict(fields)
    model = settings.pop("model", service.default_model())
    if model not in service.scorers:
        known = ", ".join(service.scorers)
        raise invalid([{"loc": ["model"], "msg": f"no model is called {model!r}; there are {known}"}])
    try:
        options = ScanOptions.model_validate_strings(settings)
    except ValidationError as error:
        raise invalid(error.errors()) from error
    if options.explain and model not in service.explained:
        raise invalid([{"loc": ["explain"], "msg": f"model {model!r} gives no heat maps"}])
    return model, options


async def _check_room(service: Service, caller: Caller, n_bytes: int) -> None:
    """Turn an upload away before it is received, where it would be afterwards."""
    settings = service.settings
    if await service.db(service.scan_db.active_of, caller.client) >= settings.per_client:
        raise _client_busy(service, caller)
    if await service.db(service.scan_db.count, "queued") >= settings.queue_length:
        raise _queue_full(service)
    left_bytes = service.folder.room_bytes() - n_bytes
    if left_bytes < 0:
        raise problem("no_space", "there is no room left for uploads; try later")
    if await service.db(service.scan_db.held_by, caller.client) > left_bytes:
        raise problem("no_space", "your scans take more of the disk than is left; delete some of them")


def _queue_full(service: Service) -> ProblemError:
    detail = f"{service.settings.queue_length} analyses are waiting; come back at the time given"
    return problem("queue_full", detail, retry_after_s=service.jobs.retry_after_s())


def _client_busy(service: Service, caller: Caller) -> ProblemError:
    detail = f"{service.settings.per_client} of your scans are waiting or running; come back at the time given"
    return problem("client_busy", detail, retry_after_s=service.jobs.own_retry_after_s(caller.client))


__all__ = ["UPLOAD_PATH", "router"]
