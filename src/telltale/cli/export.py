"""`telltale export`: a store as plain files, for tools that want those."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from telltale.cli._choices import choose, folder
from telltale.cli._errors import say, told


@told
def export(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store made by `telltale prepare`.")],
    to: Annotated[str, typer.Option(metavar="folders|npy", help="SIDE/LABEL/*.jpg, or X and y as NumPy arrays.")],
    out: Annotated[Path, typer.Option(metavar="DIR", parser=folder, help="A new folder, or an empty one.")],
    split: Annotated[str | None, typer.Option(metavar="NAME", help="A split of the store; else all together.")] = None,
) -> None:
    """Write a store's faces as folders of pictures or as NumPy arrays."""
    from telltale.store import export as write
    from telltale.store import open_store

    n_faces = write(open_store(store), out, to=choose("--to", to, "folders", "npy"), split=split)
    say(f"{n_faces:,} faces: {out}")


__all__ = ["export"]
