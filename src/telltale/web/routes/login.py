"""Signing in and out of the pages: the key goes into a cookie that scripts cannot read."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from telltale.web.asked import Serving
from telltale.web.guard import COOKIE, digest
from telltale.web.render import login_page

_KEY_KEPT_S = 30 * 86_400
_PAGES = re.compile(r"/((scans|models)/[\w.~-]+)?", re.ASCII)
"""What a visitor may be sent on to: pages of this server, and no address that only looks like one."""
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.post("/login")
async def login(
    request: Request,
    service: Serving,
    key: Annotated[str, Form(max_length=200)] = "",
    wanted: Annotated[str, Form(max_length=200)] = "/",
) -> Response:
    page = wanted if _PAGES.fullmatch(wanted) else "/"
    if await service.db(service.keys.owner, digest(key.strip())) is None:
        return login_page(request, wanted=page, is_wrong=True)
    answer = RedirectResponse(page, status_code=303)
    answer.set_cookie(
        COOKIE,
        key.strip(),
        max_age=_KEY_KEPT_S,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
async def logout() -> Response:
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    answer.headers["Clear-Site-Data"] = '"cache"'  # pictures that the next one at this browser must not find
    return answer


__all__ = ["router"]
