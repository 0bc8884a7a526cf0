"""`telltale models`: what models there are, what they are worth, whether a folder is intact, and new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from telltale.cli._choices import folder
from telltale.cli._errors import say, told

app = typer.Typer(help="The models: list, show, verify, import.", no_args_is_help=True)
_Name = Annotated[str, typer.Argument(metavar="NAME|DIR", help="A shipped model or a bundle's folder.")]


@app.command("list")
@told
def list_models() -> None:
    """List the models that come with Telltale."""
    from telltale.bundle import load_bundle, shipped_names

    for name in shipped_names():
        card = load_bundle(name).card
        typer.echo(f"{name}\t{card.description}")


@app.command()
@told
def show(
    name: _Name,
    json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
    layers: Annotated[bool, typer.Option("--layers", help="List the layers, too.")] = False,
) -> None:
    """Print a model's card: what it wants, what it was trained on, what it is worth, where it ends."""
    from telltale.bundle import load_bundle
    from telltale.cli._card import print_card
    from telltale.cli._json import print_json
    from telltale.cli._layers import print_layers

    bundle = load_bundle(name)
    if json:
        print_json(bundle.card)
        return
    print_card(bundle)
    print_layers(bundle, one_by_one=layers)


@app.command()
@told
def verify(name: _Name) -> None:
    """Check every file of a model against its card, and run it once."""
    from telltale._text import visible
    from telltale.bundle import load_bundle
    from telltale.runtime import Scorer, try_out

    bundle = load_bundle(name)
    try_out(Scorer(bundle))
    typer.echo(f"{visible(name)}: intact, SHA-256 {bundle.sha256}")


@app.command("import")
@told
def import_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A graph exported by Keras, PyTorch or others.")],
    card: Annotated[Path, typer.Option(metavar="CARD.json", help="What it wants and what it is (docs/train.md).")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=folder, help="The new model's folder.", show_default="MODEL, without .onnx"),
    ] = None,
) -> None:
    """Make a model trained elsewhere one that scan takes: try it, and adapt what goes in and comes out."""
    from telltale.cli._card import print_card
    from telltale.import_onnx import import_onnx

    bundle = import_onnx(model, card=card, out=out or model.with_suffix(""))
    print_card(bundle)
    say(f"Model: {bundle.path}")


__all__ = ["app"]
