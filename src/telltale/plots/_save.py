"""Figures as PNG: the same bytes for the same figure, and never half a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from telltale._files import write_files
from telltale.errors import UsageError
from telltale.plots import _style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, without date or version in it."""
    out = io.BytesIO()
    with _style.applied():
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG, under a temporary name first. Raises `UsageError`, `OutputError`."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"figures are written as PNG, got {path.name}: name it {path.stem}.png")
    write_files(path.parent, {path.name: to_png(figure)})
    return path
