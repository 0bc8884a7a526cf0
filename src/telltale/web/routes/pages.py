"""The pages for people; no part of the API. A report's page is the one on disk (`telltale/templates/report.html.j2`)
in a frame of ours: the frame's style and scripts come from /static, so the policy needs no exception.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, status
from fastapi.responses import HTMLResponse

from telltale._card_words import card_facts, summarise_card
from telltale._measured import remark
from telltale._report_chart import PLOT_HEIGHT_PX, PLOT_TOP_PX, y_px
from telltale._report_page import build_page
from telltale._report_words import LABELS
from telltale._text import file_size
from telltale.types import Report
from telltale.web._docs import operations
from telltale.web.asked import Serving, Visitor
from telltale.web.parts import page_in_full
from telltale.web.problems import ProblemError, on_http_error
from telltale.web.render import has_key, login_page, page, render
from telltale.web.schema import ScanEntry

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/")
async def home(request: Request, service: Serving, visitor: Visitor) -> Response:
    if visitor is None:
        return login_page(request)
    return page(
        request,
        "home.html.j2",
        scripts=("home.js",),
        models=[(name, name in service.explained) for name in service.scorers],
        max_bytes=service.settings.max_upload_bytes,
        max_size=file_size(service.settings.max_upload_bytes),
        heat_doubt=remark("cam"),
        kept=_days(service.settings.keep_s),
        words={label: {"name": one.name, "headline": one.headline} for label, one in LABELS.items()},
    )


@router.get("/scans/{scan_id}")
async def scan(request: Request, scan_id: str, service: Serving, visitor: Visitor) -> Response:
    if visitor is None:
        return login_page(request)
    row = await service.row(scan_id, visitor)
    if row is None:
        return _lost(request)
    entry = await service.db(service.jobs.entry, row)
    if not row.has_report:
        return page(request, "waiting.html.j2", scripts=("scan.js",), entry=entry)
    is_image = row.media_type.startswith("image/")
    media = "" if not entry.has_media else "image" if is_image else "video"
    is_known = has_key(request)
    file = await service.made(
        row,
        "page",
        lambda report: _report_page(report, entry=entry, media=media, is_known=is_known),
        key=f"{is_known} {media}",
    )
    if file is None:
        return _lost(request)
    if isinstance(file, bytes):
        return Response(file, media_type="text/html")
    try:
        return page_in_full(request, file)
    except FileNotFoundError:  # deleted just now
        return _lost(request)


def _report_page(report: Report, *, entry: ScanEntry, media: str, is_known: bool) -> bytes:
    text = render(
        "report.html.j2",
        scripts=("scan.js", "report.js"),  # the first needs links that the second takes out
        entry=entry,
        media=media,
        has_key=is_known,
        page=build_page(report),
        plot_top=PLOT_TOP_PX,
        plot_height=PLOT_HEIGHT_PX,
        y_px=y_px,
    )
    return text.encode("utf-8")


@router.get("/models/{name}")
async def model(request: Request, name: str, service: Serving, visitor: Visitor) -> Response:
    if visitor is None:
        return login_page(request)
    if name not in service.scorers:
        return _lost(request)
    bundle = service.scorers[name].bundle
    return page(
        request,
        "model.html.j2",
        bundle=bundle,
        card=bundle.card,
        facts=card_facts(summarise_card(bundle.card)),
        name=name,
    )


@router.get("/docs")
async def docs(request: Request, service: Serving) -> Response:
    return page(
        request,
        "docs.html.j2",
        groups=operations(request.app.openapi()),
        address=str(request.base_url),
        needs_key=service.settings.require_key,
    )


async def on_lost(request: Request, error: Exception) -> Response:
    """An address that leads nowhere: a page for people, a problem below /api."""
    is_unknown = not isinstance(error, ProblemError) and getattr(error, "status_code", 0) == status.HTTP_404_NOT_FOUND
    if is_unknown and not request.url.path.startswith("/api/"):
        return _lost(request)
    return await on_http_error(request, error)


def _lost(request: Request) -> Response:
    return page(request, "lost.html.j2", status=status.HTTP_404_NOT_FOUND)


def _days(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 48:
        return f"{hours:.0f} hours" if hours >= 1.5 else "an hour"
    return f"{hours / 24:.0f} days"


__all__ = ["on_lost", "router"]
