"""Pages that are one file and load nothing: the templates, their style, and the policy that forbids the rest.

    render("report.html.j2", script=asset("report.js"), page=page)

Style and script are named by hash in a Content-Security-Policy, so nothing that slipped into a page could run; every
value is escaped by the template.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources

import jinja2


def render(
    template: str, *, styles: tuple[str, ...] = ("page.css",), script: str = "", media: str = "", **values: object
) -> str:
    """The page; `styles` are the style sheets' names, `script` is JavaScript, `media` a source of sound and video."""
    style = "\n".join(asset(name) for name in styles)
    policy = [
        "default-src 'none'",
        f"style-src {_csp_hash(style)}",
        f"script-src {_csp_hash(script)}" if script else "script-src 'none'",
        "img-src data:",
        *([f"media-src {media}"] if media else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    page = _environment().get_template(template)
    return page.render(style=style, script=script, policy="; ".join(policy), **values)


def asset(name: str) -> str:
    """A file of `templates/`, as text."""
    return (resources.files("telltale") / "templates" / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
