"""`telltale models`: what models there are, what they are worth, and whether a folder is intact."""

from __future__ import annotations

from typing import Annotated

import typer

from telltale.cli._errors import told

app = typer.Typer(help="The models: list, show, verify.", no_args_is_help=True)
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
def show(name: _Name, json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False) -> None:
    """Print a model's card: what it wants, what it was trained on, what it is worth, where it ends."""
    from telltale.bundle import load_bundle
    from telltale.cli._card import print_card

    bundle = load_bundle(name)
    if json:
        typer.echo(bundle.card.model_dump_json())
    else:
        print_card(bundle)


@app.command()
@told
def verify(name: _Name) -> None:
    """Check every file of a model against its card, and run it once."""
    from telltale._text import visible
    from telltale.bundle import load_bundle
    from telltale.runtime import Scorer

    bundle = load_bundle(name)
    Scorer(bundle)
    typer.echo(f"{visible(name)}: intact, SHA-256 {bundle.sha256}")


__all__ = ["app"]
