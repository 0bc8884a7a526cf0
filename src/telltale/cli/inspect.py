"""`telltale inspect`: what is in a data set or a store, and what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli._choices import folder
from telltale.cli._errors import say, told

if TYPE_CHECKING:
    from telltale.inspect import Inspection


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
    from telltale.inspect import HTML_NAME, InspectSettings, inspect_data

    settings = InspectSettings(
        format=format, labels=datasets.parse_labels(labels), recipe=recipe, detector=detector, seed=seed
    )
    if n is not None:
        settings = replace(settings, n_videos=n, n_pictures=n)
    with _progress() as on_file:
        facts = inspect_data(source, out_dir=out, settings=settings, on_file=on_file)
    _print(facts)
    if out is not None:
        say(f"Page: {out / HTML_NAME}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None] | None]:
    """A line on standard error; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from telltale._text import visible

    name_column = TextColumn("{task.description}", markup=False)
    columns = (name_column, BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking", total=None)

        def show(n_done: int, n_total: int, name: str) -> None:
            bar.update(task, completed=n_done, total=n_total, description=visible(name.rsplit("/", 1)[-1])[:28])

        yield show


def _print(facts: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from telltale._text import plural, visible

    console = Console()
    n_faces = "" if facts.n_faces is None else f", {plural(facts.n_faces, 'face')}"
    unit = facts.unit.removesuffix("s")
    n = plural(facts.n_real + facts.n_fake, unit)
    console.print(Text(f"{visible(facts.layout)}: {n} from {plural(facts.n_originals, 'original')}{n_faces}"))
    sides = {"all": facts.counts}
    sides |= {f"{name} {side}": counts for name, split in facts.splits.items() for side, counts in split.counts.items()}
    table = Table(box=None)
    table.add_column()
    for name in facts.counts:
        table.add_column(Text(visible(name)), justify="right")
    for side, counts in sides.items():
        table.add_row(Text(visible(side)), *(f"{counts.get(name, 0):,}" for name in facts.counts))
    console.print(table)
    styles = {"bad": ("!!", "bold red"), "warn": (" !", "yellow"), "good": ("ok", "dim")}
    for finding in facts.findings:
        mark, style = styles[finding.level]
        console.print(Text(f"{mark} ", style).append(visible(finding.text), "dim" if finding.level == "good" else ""))


__all__ = ["inspect"]
