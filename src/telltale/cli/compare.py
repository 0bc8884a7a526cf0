"""`telltale compare`: models side by side on one store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from telltale.cli._choices import choose
from telltale.cli._errors import say, told
from telltale.cli.evaluate import AllowLeaks, AsJson, Balanced, Out, Seed, Split, Threads


@told
def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Bundles' folders or shipped models.")],
    on: Annotated[list[Path], typer.Option("--on", metavar="STORE", help="The faces; may be given several times.")],
    split: Split = None,
    side: Annotated[
        str,
        typer.Option(
            metavar="train|val|test|all|unseen",
            help="Which side to judge on; unseen: groups that none of them was trained or chosen on.",
        ),
    ] = "test",
    perturb: Annotated[
        str | None, typer.Option(metavar="SUITE", help="Also on degraded faces; as `evaluate --perturb`.")
    ] = None,
    balanced: Balanced = False,
    out: Out = None,
    json: AsJson = False,
    allow_leaks: AllowLeaks = False,
    resamples: Annotated[int, typer.Option(metavar="N", min=1, help="Bootstrap resamples of groups.")] = 1000,
    seed: Seed = 0,
    threads: Threads = 2,
) -> None:
    """Judge models on the same faces, and say which differences are more than chance."""
    from telltale.cli._bar import share_progress
    from telltale.cli._figures import print_comparison
    from telltale.cli._json import print_json
    from telltale.evaluate import EvaluateSettings
    from telltale.evaluate import compare as run

    settings = EvaluateSettings(
        split=split,
        side=choose("--side", side, "train", "val", "test", "all", "unseen"),
        balanced=balanced,
        repeats=resamples,
        seed=seed,
        perturb=perturb,
        allow_leaks=allow_leaks,
        n_threads=threads,
    )
    for number, model in enumerate(models):
        if Path(model).resolve() in {Path(other).resolve() for other in models[:number]}:
            say(f"{model} is given twice: that it differs by 0 from itself says nothing of it")
    with share_progress("faces") as on_progress:
        found = run(models, on=on, settings=settings, out=out, on_progress=on_progress)
    if json:
        print_json(found)
    else:
        print_comparison(found)
    if out is not None:
        say(f"Figures: {out}")


__all__ = ["compare"]
