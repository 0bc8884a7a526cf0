"""The route that takes uploads. The form is read as it comes (`upload`), and not before there is room for it."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from telltale.web.asked import Asked, Serving
from telltale.web.problems import ProblemError, documented, invalid, problem
from telltale.web.room import over_share
from telltale.web.scan_db import ClientBusy, OverShare, QueueFull
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
        "not_ready",
        "no_space",
    )
    | {202: {"headers": {"Location": {"description": "Where the scan is.", "schema": {"type": "string"}}}}},
)
async def create_scan(request: Request, response: Response, service: Serving, caller: Asked) -> ScanEntry:
    """Answers as soon as the upload has arrived. Equal bytes with equal settings are analysed once for each key."""
    announced_bytes = int(request.headers.get("content-length", "0") or 0)
    await _check_room(service, caller, announced_bytes)
    with service.room.arriving(caller.client, announced_bytes) as arriving:
        content_type = request.headers.get("content-type", "")
        upload = await service.receiver.receive(content_type, request.stream(), arriving)
        try:
            model, options = _asked_for(service, upload.fields)
            row = await service.db(
                service.jobs.submit, upload, options=options, model=model, owner=caller.owner, client=caller.client
            )
        except QueueFull:
            raise _queue_full(service) from None
        except ClientBusy:
            raise _client_busy(service, caller) from None
        except OverShare:
            raise over_share() from None
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
    settings, client = service.settings, caller.client
    n_active, n_queued, held_bytes = await service.db(
        lambda: (service.scan_db.active_of(client), service.scan_db.count("queued"), service.jobs.held_by(client))
    )
    if n_active + service.room.n_arriving(client) >= settings.per_client:
        raise _client_busy(service, caller)
    if n_queued >= settings.queue_length:
        raise _queue_full(service)
    # Nothing is awaited from here to the count: of uploads that begin together each sees those before it.
    service.room.check(client, n_bytes, held_bytes=held_bytes)


def _queue_full(service: Service) -> ProblemError:
    detail = f"{service.settings.queue_length} analyses are waiting; come back at the time given"
    return problem("queue_full", detail, retry_after_s=service.jobs.retry_after_s())


def _client_busy(service: Service, caller: Caller) -> ProblemError:
    most = service.settings.per_client
    detail = f"{most} of your scans are on their way, waiting or running; come back at the time given"
    return problem("client_busy", detail, retry_after_s=service.jobs.own_retry_after_s(caller.client))


__all__ = ["UPLOAD_PATH", "router"]
