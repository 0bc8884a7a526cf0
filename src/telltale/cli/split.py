"""`telltale split`: sides beside the shards, never in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli._errors import say, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telltale.datasets import Record
    from telltale.split import Split
    from telltale.store import Store


@told
def split(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store made by `telltale prepare`.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="What the split is called; folds get -0, -1, ... added.")],
    by: Annotated[
        str,
        typer.Option(
            metavar="group|official|random",
            help="group: no original on two sides. official: the data set's own. random: picture by picture, as many "
            "papers did; says how many groups it tears apart.",
        ),
    ] = "group",
    ratio: Annotated[
        str, typer.Option(metavar="A/B[/C]", help="train/val/test, or train/test; 80/10/10 if not said.")
    ] = "",
    per_class: Annotated[int | None, typer.Option(metavar="N", min=1, help="Draw N real and N fake first.")] = None,
    folds: Annotated[int | None, typer.Option(metavar="K", min=2, help="K-fold instead of one split.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the draw and of the sides.")] = 0,
) -> None:
    """Deal a store's videos out to train, val and test, so that no original is on two sides."""
    from telltale.cli._choices import choose
    from telltale.errors import UsageError
    from telltale.split import By, k_fold, make_split
    from telltale.store import open_store

    kind: By = choose("--by", by, "group", "official", "random")
    if folds is not None and kind != "group":
        raise UsageError(f"--folds deals by group, not by {kind}: leave out --by or --folds")
    if folds is not None and ratio:
        raise UsageError(f"--folds deals {folds} equal parts: leave out --ratio")
    ratio = ratio or "80/10/10"
    opened = open_store(store)
    if kind == "random":
        faces = opened.face_records()
        made = make_split(faces, by=kind, ratio=ratio, seed=seed, per_class=per_class)
        opened.write_split(name, made, unit="face")
        _tell(name, made, faces, "pictures")
        return
    records = opened.records()
    if folds is not None:
        for fold, made in enumerate(k_fold(records, k=folds, seed=seed, per_class=per_class)):
            opened.write_split(f"{name}-{fold}", made)
            _tell(f"{name}-{fold}", made, records, "videos")
        _remove_older_folds(opened, name, n_folds=folds)
        return
    made = make_split(records, by=kind, ratio=ratio, seed=seed, per_class=per_class)
    opened.write_split(name, made)
    _tell(name, made, records, "videos")


def _remove_older_folds(store: Store, name: str, *, n_folds: int) -> None:
    """Those of a deal into more parts: beside the new ones they would pass for more of them."""
    for other in store.splits():
        number = other.removeprefix(f"{name}-")
        if number == other or not number.isdecimal() or int(number) < n_folds:
            continue
        if str(store.split_notes(other).get("by")).startswith("fold "):  # else a split that is only called like one
            store.remove_split(other)
            say(f"{other}: removed, a fold of an older deal")


def _tell(name: str, made: Split, records: Sequence[Record], unit: str) -> None:
    sides = ", ".join(f"{side} {real:,} real + {fake:,} fake" for side, (real, fake) in made.counts(records).items())
    say(f"{name}: {unit} {sides}")
    for note in made.notes:
        say(f"  {note}")


__all__ = ["split"]
