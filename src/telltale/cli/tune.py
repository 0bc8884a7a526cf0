"""`telltale tune`: which settings of a recipe are best, by grouped cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from telltale.cli._choices import choose, folder
from telltale.cli._errors import say, to_be_resumed, told

if TYPE_CHECKING:
    from telltale.tune import Tuning


@told
def tune(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="What to learn from, as for train.")],
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="The training protocol.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=folder, help="Table, picture, and the refitted model in DIR/best.")
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B,...", help="Values to try, instead of the recipe's grid. Repeatable."),
    ] = None,
    random: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Try N settings drawn from the grid.", show_default="all")
    ] = None,
    folds: Annotated[int, typer.Option(metavar="K", min=2, help="Folds, no group in two.")] = 5,
    metric: Annotated[
        str, typer.Option(metavar="auc|ap|accuracy|balanced_accuracy", help="What to search by.")
    ] = "auc",
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its test side is left alone.", show_default="the only one there is"),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe first. Repeatable.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|BUNDLE|hub|none",
            help="Where a network begins: a file, another model, timm's weights, or nothing.",
            show_default="the recipe's, or hub",
        ),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit/--no-refit", help="Train the best setting on the split.")] = True,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the folds and of the draw.")] = 0,
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Processes that load and augment faces.")] = 1,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads that compute.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in DIR.")] = False,
) -> None:
    """Search a recipe's settings with grouped cross-validation and refit the best."""
    from telltale.cli._bar import share_progress
    from telltale.tune import METRICS, TuneSettings
    from telltale.tune import tune as search

    settings = TuneSettings(
        split=split,
        folds=folds,
        n_random=random,
        metric=choose("--metric", metric, *METRICS),
        seed=seed,
        refit=refit,
        weights=weights,
        workers=workers,
        n_threads=threads,
        resume=resume,
    )
    if resume and not out.exists():
        say(f"{out} holds no search to go on with: a new one begins")
    with to_be_resumed(), share_progress("searching") as on_progress:
        tuning = search(
            stores,
            recipe=recipe,
            out=out,
            grid=_grid(grid or []),
            overrides=set_ or (),
            settings=settings,
            on_progress=on_progress,
        )
    _print(tuning)
    say(f"Search: {out}")
    if tuning.bundle is not None:
        say(f"Model: {tuning.bundle}")


def _grid(given: list[str]) -> dict[str, list[Any]] | None:
    """`KEY=A,B` as values; each is YAML, as in --set. A key that is given again gets more."""
    from telltale.errors import UsageError
    from telltale.recipe import as_number, parse_yaml

    found: dict[str, list[Any]] = {}
    for text in given:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise UsageError(f"--grid {text!r}: expected KEY=A,B,C, as in --grid stages.0.lr=1e-4,1e-3")
        # read together, so that a value may be a list itself: [16,8],[32,16]
        found.setdefault(key, []).extend(map(as_number, parse_yaml(f"[{values}]", f"--grid {text}")))
    return found or None


def _print(tuning: Tuning) -> None:
    from rich.console import Console
    from rich.table import Table

    keys = list(tuning.best)
    table = Table(*(key.rpartition(".")[2] for key in keys), tuning.metric.replace("_", " "), "folds", "s", box=None)
    for column in table.columns[len(keys) :]:
        column.justify = "right"
    for point in tuning.points:
        folds = " ".join(f"{value:.3f}" for value in point.folds)
        settings = (str(point.setting[key]) for key in keys)
        table.add_row(*settings, f"{point.mean:.3f} ± {point.std:.3f}", folds, f"{point.seconds:.1f}")
    console = Console()
    console.print(table)
    console.print(f"{tuning.n_folds} folds of {tuning.n_faces:,} faces in {tuning.n_groups:,} groups")


__all__ = ["tune"]
