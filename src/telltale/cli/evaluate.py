"""`telltale evaluate`: what a model is worth on a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from telltale.cli._choices import choose, folder
from telltale.cli._errors import say, told

Split = Annotated[
    str | None, typer.Option(metavar="NAME", help="A split of the store.", show_default="the only one there is")
]
Side = Annotated[
    str,
    typer.Option(
        metavar="train|val|test|all|unseen",
        help="Which side to judge on; unseen: groups that the model was neither trained nor chosen on.",
    ),
]
Balanced = Annotated[
    bool, typer.Option("--balanced", help="As many real videos as fake ones: the larger class is thinned evenly.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of the resamples.")]
Resamples = Annotated[int, typer.Option(metavar="N", min=0, help="Bootstrap resamples of groups; 0 = no intervals.")]
AllowLeaks = Annotated[
    bool, typer.Option("--allow-leaks", help="Go on where a group was learned from, and say how many.")
]
Threads = Annotated[int, typer.Option(metavar="N", min=1, help="Threads that score.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", parser=folder, help="Write JSON, CSV and pictures.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")]


@told
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle's folder or a shipped model.")],
    stores: Annotated[list[Path], typer.Argument(metavar="STORE", help="One store or several, judged together.")],
    split: Split = None,
    side: Side = "test",
    perturb: Annotated[
        str | None,
        typer.Option(
            metavar="SUITE",
            help="Also degrade the faces: standard, compression, resolution, blur, noise, light; by kind and level: "
            "robustness, deeperforensics, imagenet_c, delivery.",
        ),
    ] = None,
    balanced: Balanced = False,
    out: Out = None,
    json: AsJson = False,
    allow_leaks: AllowLeaks = False,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    threads: Threads = 2,
) -> None:
    """Judge a model on labelled faces it was not trained on: figures with intervals, by face, video and method."""
    from telltale.cli._bar import share_progress
    from telltale.cli._figures import print_evaluation
    from telltale.cli._json import print_json
    from telltale.evaluate import EvaluateSettings
    from telltale.evaluate import evaluate as judge

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
    with share_progress("faces") as on_progress:
        said = judge(model, stores, settings=settings, out=out, on_progress=on_progress)
    if json:
        print_json(said)
    else:
        print_evaluation(said)
    if out is not None:
        say(f"Figures: {out}")


__all__ = ["evaluate"]
