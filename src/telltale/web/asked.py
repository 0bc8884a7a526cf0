"""What a route asks first: whose request it is, and whether the scan is theirs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from telltale.web.problems import problem
from telltale.web.rows import ScanRow
from telltale.web.schema import ScanId
from telltale.web.service import Caller, Service


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def caller_of(request: Request) -> Caller:
    return await service_of(request).caller(request)


Asked = Annotated[Caller, Depends(caller_of)]


async def row_of(scan_id: ScanId, request: Request, caller: Asked) -> ScanRow:
    row = await service_of(request).row(scan_id, caller)
    if row is None:
        raise problem("not_found", "there is no scan of that id; it may have been deleted or have expired")
    return row


Found = Annotated[ScanRow, Depends(row_of)]

__all__ = ["Asked", "Found", "service_of"]
