"""What a route asks first: what it works with, whose request it is, and whether the scan is theirs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from telltale.web.problems import ProblemError, problem
from telltale.web.rows import ScanRow
from telltale.web.schema import ScanId
from telltale.web.service import Caller, Service


async def service_of(request: Request) -> Service:
    # A coroutine, because the framework gives every plain function a thread.
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(service_of)]


async def caller_of(request: Request, service: Serving) -> Caller:
    return await service.caller(request)


Asked = Annotated[Caller, Depends(caller_of)]
"""Who asks; ends the request with 401 where a key is required and missing."""


async def visitor_of(request: Request, service: Serving) -> Caller | None:
    try:
        return await service.caller(request)
    except ProblemError as error:
        if error.code != "key_required":
            raise
        return None


Visitor = Annotated[Caller | None, Depends(visitor_of)]
"""Who asks for a page; None where they have to sign in first."""


async def row_of(scan_id: ScanId, service: Serving, caller: Asked) -> ScanRow:
    row = await service.row(scan_id, caller)
    if row is None:
        raise problem("not_found", "there is no scan of that id; it may have been deleted or have expired")
    return row


Found = Annotated[ScanRow, Depends(row_of)]
"""The caller's scan; ends the request with 404 where it is not theirs or not there."""

__all__ = ["Asked", "Found", "Serving", "Visitor"]
