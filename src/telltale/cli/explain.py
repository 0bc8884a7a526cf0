"""`telltale explain`: which parts of a face spoke for a forgery, by four methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from telltale.cli._choices import choose, folder
from telltale.cli._errors import say, told

_INSTEAD = {
    "path": "IMAGE|VIDEO",
    "model": "MODEL",
    "out": "--out",
    "method": "--method",
    "target": "--target",
    "n_faces": "--faces",
    "faces": "--faces",
    "on_progress": "a function, in Python",
}


def _methods() -> str:
    """One line a method, with what measuring it found out (docs/explain.md)."""
    from telltale._measured import remark

    told = {
        "cam": "free, coarse",
        "gradcam": "the same for models that cam does not fit; needs the bundle's weights",
        "occlusion": "hides windows, any model",
        "lime": "hides pieces, any model, slow",
    }
    return " ".join(f"{name}: {what}{f' ({remark(name)})' if remark(name) else ''}." for name, what in told.items())


@told
def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle's folder or a shipped model.")],
    input: Annotated[str, typer.Argument(metavar="IMAGE|VIDEO", help="One picture or video.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=folder, help="For pictures, heat maps and explanations.json.")
    ],
    method: Annotated[
        str,
        typer.Option(
            metavar="cam|lime|gradcam|occlusion",
            help=_methods(),
        ),
    ] = "cam",
    target: Annotated[str, typer.Option(metavar="fake|real", help="What warm colours speak for.")] = "fake",
    faces: Annotated[int, typer.Option(metavar="N", min=1, help="Of each person, the N faces that score highest.")] = 1,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the method, as in --set n_samples=2000."),
    ] = None,
) -> None:
    """Show which parts of the faces in a picture or video spoke for a forgery, and which against."""
    from telltale._text import plural, visible
    from telltale.cli._bar import bar
    from telltale.errors import UsageError
    from telltale.explain import explain as explain_file

    settings = dict(_setting(text) for text in set_ or ())
    for key in settings:
        if key in _INSTEAD:
            raise UsageError(f"--set {key}: give it as {_INSTEAD[key]}, it is no setting of a method")
    speaks_for = choose("--target", target, "fake", "real")
    with bar("starting", "share") as show:
        show(0.0, 1.0)
        found = explain_file(
            input, model=model, method=method, n_faces=faces, out=out, target=speaks_for,
            on_progress=lambda share, doing: show(share, doing=doing), **settings,
        )  # fmt: skip
    if not found:
        say(f"telltale: no_face: no face was found in {visible(input)}")
        return
    say(f"{plural(len(found), 'face')} explained: {out}")


def _setting(text: str) -> tuple[str, int | float | str]:
    from telltale.errors import UsageError

    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"--set takes KEY=VALUE, not {text!r}")
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


__all__ = ["explain"]
