"""`telltale inspect`: what is in a data set or a store, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli._choices import folder
from telltale.cli._errors import say, told

if TYPE_CHECKING:
    from telltale.inspect import Inspection

_SIDES_ABREAST = 4
"""Columns of numbers that leave room for a method's name in 80 characters."""


@told
def inspect(
    source: Annotated[Path, typer.Argument(metavar="SOURCE|STORE", help="A data set's folder, or a store.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", parser=folder, help="Also look at pictures: write inspect.html, .json, PNGs, GIFs."
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="The data set's layout; auto looks for marker files.")
    ] = "auto",
    labels: Annotated[str, typer.Option(metavar="NAME=real,...", help="What the data set's own words mean.")] = "",
    groups: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Of own folders and lists: its first bracket finds the group in a path."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Show what its augmentation makes of faces.")
    ] = None,
    detector: Annotated[str, typer.Option(metavar="NAME", help="mtcnn or haar.")] = "mtcnn",
    n: Annotated[
        int | None,
        typer.Option(
            "--n", metavar="N", min=2, help="Look at N, drawn at random.", show_default="40 videos, 300 pictures"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the draw.")] = 0,
) -> None:
    """Show counts, classes, shared originals, leaks, faulty files; with --out also pictures and a page."""
    from dataclasses import replace

    from telltale import datasets
    from telltale.cli._bar import bar
    from telltale.inspect import HTML_NAME, InspectSettings, inspect_data

    settings = InspectSettings(
        format=format, labels=datasets.parse_labels(labels), groups=groups, recipe=recipe, detector=detector, seed=seed
    )
    if n is not None:
        settings = replace(settings, n_videos=n, n_pictures=n)
    with bar("looking", "count", "left") as show:

        def told(n_done: int, n_total: int, name: str) -> None:
            show(n_done, n_total, doing=name.rsplit("/", 1)[-1])

        facts = inspect_data(source, out_dir=out, settings=settings, on_file=told)
    _print(facts)
    if out is not None:
        say(f"Page: {out / HTML_NAME}")


def _print(facts: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from telltale._text import plural, visible

    console = Console()
    n_faces = "" if facts.n_faces is None else f", {plural(facts.n_faces, 'face')}"
    unit = facts.unit.removesuffix("s")
    n = plural(facts.n_real + facts.n_fake, unit)
    console.print(Text(f"{visible(facts.layout)}: {n} from {plural(facts.n_originals, facts.originals_are)}{n_faces}"))
    for sides in _abreast(facts):
        table = Table(box=None)
        table.add_column(overflow="fold")
        for side in sides:
            table.add_column(Text(visible(side)), justify="right", overflow="fold")
        for name in facts.counts:
            table.add_row(Text(visible(name)), *(f"{counts.get(name, 0):,}" for counts in sides.values()))
        console.print(table)
    styles = {"bad": ("!!", "bold red"), "warn": (" !", "yellow"), "good": ("ok", "dim")}
    for finding in facts.findings:
        mark, style = styles[finding.level]
        console.print(Text(f"{mark} ", style).append(visible(finding.text), "dim" if finding.level == "good" else ""))


def _abreast(facts: Inspection) -> list[dict[str, dict[str, int]]]:
    """Side -> counts, as many sides as fit beside each other; those of one split together."""
    found = [{"all": facts.counts}]
    for name, split in facts.splits.items():
        sides = {f"{name} {side}": counts for side, counts in split.counts.items()}
        if len(found[-1]) + len(sides) > _SIDES_ABREAST:
            found.append({})
        found[-1].update(sides)
    return found


__all__ = ["inspect"]
