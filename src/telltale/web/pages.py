"""The pages for people. A report's page is the one on disk (`telltale/templates/report.html.j2`) in a frame of ours:
the frame's style and scripts come from /static, so the policy needs no exception.
"""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from collections.abc import Mapping
from importlib import resources
from typing import Annotated

import jinja2
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from telltale import __version__
from telltale._card_words import card_facts, summarise_card
from telltale._html import asset
from telltale._report_chart import PLOT_HEIGHT_PX, PLOT_TOP_PX, y_px
from telltale._report_page import build_page
from telltale._report_words import LABELS
from telltale._text import file_size, percent, visible
from telltale.types import Report
from telltale.web._docs import operations
from telltale.web.asked import service_of
from telltale.web.guard import COOKIE, digest
from telltale.web.problems import ProblemError, problem
from telltale.web.schema import ScanId
from telltale.web.service import Caller

_SHARED_ASSETS = ("page.css", "report.js")
_KEY_KEPT_S = 30 * 86_400


def pages_router() -> APIRouter:
    """HTML for people; no part of the API."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/")
    async def home(request: Request) -> Response:
        service = service_of(request)
        if await _caller(request) is None:
            return _page(request, "login.html.j2", is_wrong=False, status=401)
        words = {label: {"name": one.name, "headline": one.headline} for label, one in LABELS.items()}
        return _page(
            request,
            "home.html.j2",
            scripts=("home.js",),
            models=[(name, name in service.explained) for name in service.scorers],
            max_bytes=service.settings.max_upload_bytes,
            max_size=file_size(service.settings.max_upload_bytes),
            kept=_days(service.settings.keep_s),
            words=words,
        )

    @router.get("/scans/{scan_id}")
    async def scan(request: Request, scan_id: ScanId) -> Response:
        service = service_of(request)
        caller = await _caller(request)
        if caller is None:
            return _page(request, "login.html.j2", is_wrong=False, status=401)
        row = await service.row(scan_id, caller)
        if row is None:
            return _page(request, "lost.html.j2", status=404)
        entry = await service.db(service.jobs.entry, row)
        if entry.state not in ("done", "failed"):
            return _page(request, "waiting.html.j2", scripts=("scan.js",), entry=entry)
        is_image = row.media_type.startswith("image/")
        media = "" if not entry.has_media else "image" if is_image else "video"
        has_key = COOKIE in request.cookies

        def make(report: Report) -> bytes:
            page = _render(
                "report.html.j2",
                scripts=("scan.js", "report.js"),  # the first needs links that the second takes out
                entry=entry,
                media=media,
                has_key=has_key,
                page=build_page(report),
                plot_top=PLOT_TOP_PX,
                plot_height=PLOT_HEIGHT_PX,
                y_px=y_px,
            )
            return page.encode("utf-8")

        file = await service.made(row, "page", make, key=f"{has_key} {media}")
        if file is None:
            return _page(request, "lost.html.j2", status=404)
        return FileResponse(file, media_type="text/html", stat_result=file.stat())

    @router.get("/models/{name}")
    async def model(request: Request, name: str) -> Response:
        service = service_of(request)
        if await _caller(request) is None:
            return _page(request, "login.html.j2", is_wrong=False, status=401)
        if name not in service.scorers:
            return _page(request, "lost.html.j2", status=404)
        bundle = service.scorers[name].bundle
        return _page(
            request,
            "model.html.j2",
            bundle=bundle,
            card=bundle.card,
            facts=card_facts(summarise_card(bundle.card)),
            name=name,
        )

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        return _page(
            request,
            "docs.html.j2",
            groups=operations(request.app.openapi()),
            address=str(request.base_url),
            needs_key=service_of(request).settings.require_key,
        )

    @router.post("/login")
    async def login(request: Request, key: Annotated[str, Form(max_length=200)] = "") -> Response:
        service = service_of(request)
        if await service.db(service.store.key_owner, digest(key.strip())) is None:
            return _page(request, "login.html.j2", is_wrong=True, status=401)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(
            COOKIE,
            key.strip(),
            max_age=_KEY_KEPT_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/logout")
    async def logout() -> Response:
        answer = RedirectResponse("/", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    @router.get("/static/{name}")
    async def static(request: Request, name: str) -> Response:
        if name not in _statics():
            raise problem("not_found", "there is no such file")
        content, kind, etag = _statics()[name]
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return router


async def _caller(request: Request) -> Caller | None:
    """Who asks; None where a key is needed first."""
    try:
        return await service_of(request).caller(request)
    except ProblemError as error:
        if error.code != "key_required":
            raise
        return None


def _page(
    request: Request, template: str, *, scripts: tuple[str, ...] = (), status: int = 200, **values: object
) -> HTMLResponse:
    page = _render(template, scripts=scripts, has_key=COOKIE in request.cookies, **values)
    return HTMLResponse(page, status_code=status)


def _render(template: str, *, scripts: tuple[str, ...], has_key: bool, **values: object) -> str:
    base: dict[str, object] = {"media": "", "entry": None, "version": __version__}
    return _environment().get_template(template).render(base | values, scripts=scripts, has_key=has_key)


@functools.cache
def _environment() -> jinja2.Environment:
    own = resources.files("telltale.web") / "templates"

    def find(name: str) -> str:
        # Ours first: `_frame.html.j2` is what a report's page is put into.
        file = own / name
        return file.read_text(encoding="utf-8") if file.is_file() else asset(name)

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(find),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "percent": percent,
        "file_size": file_size,
        "visible_lines": _visible_lines,
    }
    return environment


@functools.cache
def _statics() -> Mapping[str, tuple[bytes, str, str]]:
    """name -> (content, media type, ETag): a closed list, read once, so that no path is ever made from a request."""
    files = {entry.name: entry.read_bytes() for entry in (resources.files("telltale.web") / "static").iterdir()}
    files |= {name: asset(name).encode("utf-8") for name in _SHARED_ASSETS}
    return {name: (content, _kind(name), _etag(content)) for name, content in files.items()}


def _visible_lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.splitlines())


def _kind(name: str) -> str:
    return {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}.get(
        name.rsplit(".", 1)[-1], mimetypes.guess_type(name)[0] or "application/octet-stream"
    )


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def _days(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 48:
        return f"{hours:.0f} hours" if hours >= 1.5 else "an hour"
    return f"{hours / 24:.0f} days"


__all__ = ["pages_router"]
