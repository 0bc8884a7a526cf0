"""Figures as PNG: the same bytes for the same figure, and never half a file."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from telltale._files import write_files
from telltale.errors import UsageError
from telltale.plots import _style
from telltale.plots._style import DPI, VERMILLION

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_LINE_IN = 0.17
_CHARS_AN_INCH = 12.5


def to_png(figure: Figure, *, warning: str = "") -> bytes:
    """The figure as PNG, without date or version in it; over it `warning`, so that it is never handed on without."""
    with _style.applied():
        picture = _png(figure)
        return _warned(picture, warning) if warning else picture


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _warned(png: bytes, warning: str) -> bytes:
    from PIL import Image

    below = Image.open(io.BytesIO(png)).convert("RGB")
    width_in = below.width / DPI
    lines = textwrap.wrap(_style.shown(warning, 400), int(_CHARS_AN_INCH * width_in))
    band = _style.new_figure(_LINE_IN * (len(lines) + 0.8), width_in)
    band.text(0.1 / width_in, 0.5, "\n".join(lines), va="center", fontsize=8, fontweight="bold", color=VERMILLION)
    above = Image.open(io.BytesIO(_png(band))).convert("RGB")
    whole = Image.new("RGB", (below.width, above.height + below.height), "white")
    whole.paste(above, (0, 0))
    whole.paste(below, (0, above.height))
    out = io.BytesIO()
    whole.save(out, "PNG", dpi=(DPI, DPI))
    return out.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG, under a temporary name first. Raises `UsageError`, `OutputError`."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"figures are written as PNG, got {path.name}: name it {path.stem}.png")
    write_files(path.parent, {path.name: to_png(figure)})
    return path
