"""`telltale train`: faces in, a bundle out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli._choices import folder
from telltale.cli._errors import say, to_be_resumed, told

if TYPE_CHECKING:
    from telltale.recipe import Recipe
    from telltale.train import TrainSettings

_NEEDED = (
    "torch", "torchvision", "timm", "lightning", "onnx", "yaml", "sklearn", "matplotlib", "safetensors", "tensorboardX",
)  # fmt: skip


@told
def train(
    faces: Annotated[
        list[str],
        typer.Argument(
            metavar="FACES",
            help="Stores of faces, folders of face crops with their labels, or tables of faces.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=folder, help="Checkpoints go here, and the model into DIR/bundle.")
    ],
    recipe: Annotated[str, typer.Option(metavar="NAME|FILE", help="The training protocol.")] = "mobilenetv2",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as in --set stages.0.lr=1e-4. Repeatable."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|BUNDLE|hub|none",
            help="Where the network begins: a file, another model, timm's weights, or nothing.",
            show_default="the recipe's, or hub",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A split of the stores.", show_default="the only one there is"),
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Go on where a group is on two sides of the split, and say how many.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR.")] = False,
    workers: Annotated[int, typer.Option(metavar="N", min=0, help="Processes that load and augment faces.")] = 1,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads that compute.", show_default="one a core")
    ] = None,
    devices: Annotated[
        int, typer.Option(metavar="N", min=1, help="GPUs, or processes without one, that share the work.")
    ] = 1,
    nodes: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Machines, each with this command and NODE_RANK, MASTER_ADDR, MASTER_PORT."
        ),
    ] = 1,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=folder,
            help="Features of frozen backbones, for other runs too.",
            show_default="in --out",
        ),
    ] = None,
) -> None:
    """Train a model on labelled faces. The figures that count are of people it never saw."""
    from telltale.errors import require

    for module in _NEEDED:
        require(module, "train")
    from telltale.cli._card import print_card
    from telltale.recipe import load_recipe

    chosen = load_recipe(recipe, overrides=set_ or ())
    from telltale.train import TrainSettings
    from telltale.train import train as fit

    settings = TrainSettings(
        weights=weights,
        split=split,
        allow_leaks=allow_leaks,
        resume=resume,
        workers=workers,
        n_threads=threads,
        cache=cache,
        devices=devices,
        nodes=nodes,
    )
    _say_sparse(faces)
    if chosen.model.name == "pixels":
        _train_pixels(faces, chosen, out=out, settings=settings)
        return
    if resume and not any((out / begun).exists() for begun in ("stage-0", "member-0")):
        say(f"{out} holds no run to go on with: a new one begins")
    with to_be_resumed():
        bundle = fit(faces, recipe=chosen, out=out, settings=settings)
    print_card(bundle)
    took = ", ".join(f"{name} {value:,}" for name, value in bundle.card.resources.items())
    curves = out / "member-N" if chosen.members else out
    say(f"Curves: {curves / 'learning_curves.png'}; ROC and confusion: {out / 'val'} ({took})")
    say(f"Model: {bundle.path}")


def _say_sparse(faces: list[str]) -> None:
    """Before hours of training, not after."""
    from telltale.store import is_store, open_store, sparse

    for sentence in sparse([open_store(one) for one in faces if is_store(one)]):
        say(sentence)


def _train_pixels(stores: list[str], recipe: Recipe, *, out: Path, settings: TrainSettings) -> None:
    """Where the model is too large for a bundle its figures are all there is."""
    from telltale.cli._bar import share_progress
    from telltale.cli._card import print_card
    from telltale.cli._figures import print_evaluation
    from telltale.train import train_pixels

    with share_progress("reading faces") as on_progress:
        run = train_pixels(stores, recipe, out=out, settings=settings, on_progress=on_progress)
    side = "test" if "test" in run.evaluations else "val"
    print_evaluation(run.evaluations[side])  # type: ignore[index]
    took = ", ".join(f"{name} {value:,}" for name, value in run.usage.items())
    say(f"Figures: {out / side} and beside it ({took})")
    if run.bundle is None:
        say("The model is too large for a bundle; a smaller --set model.options.size_px gives one.")
        return
    print_card(run.bundle)
    say(f"Model: {run.bundle.path}")


__all__ = ["train"]
