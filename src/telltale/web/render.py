"""Pages from templates: ours in `templates/`, the report's own from `telltale/templates`."""

from __future__ import annotations

import functools
from importlib import resources

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from telltale import __version__
from telltale._html import asset
from telltale._text import file_size, percent, visible
from telltale.web.guard import COOKIE


def page(
    request: Request, template: str, *, scripts: tuple[str, ...] = (), status: int = 200, **values: object
) -> HTMLResponse:
    """A page as an answer; `scripts` are names under /static."""
    return HTMLResponse(render(template, scripts=scripts, has_key=has_key(request), **values), status_code=status)


def render(template: str, *, scripts: tuple[str, ...], has_key: bool, **values: object) -> str:
    """A page as text. `has_key`: whether there is a key to sign out of."""
    base: dict[str, object] = {"media": "", "entry": None, "version": __version__}
    return _environment().get_template(template).render(base | values, scripts=scripts, has_key=has_key)


def login_page(request: Request, *, wanted: str | None = None, is_wrong: bool = False) -> HTMLResponse:
    """Asks for the key, in place of the page that was `wanted` (None: the one asked for); `is_wrong`: once more."""
    return page(request, "login.html.j2", wanted=wanted or request.url.path, is_wrong=is_wrong, status=401)


def has_key(request: Request) -> bool:
    return COOKIE in request.cookies


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


def _visible_lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.splitlines())


__all__ = ["has_key", "login_page", "page", "render"]
