"""`telltale split`: sides beside the shards, never in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale._text import visible
from telltale.cli._choices import choose
from telltale.cli._errors import say, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telltale.split import Dealt
    from telltale.store import Store


@told
def split(
    stores: Annotated[
        list[Path],
        typer.Argument(
            metavar="STORE...", help="Stores made by `telltale prepare`. Several are dealt together, as one set."
        ),
    ],
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
    """Deal the videos of stores out to train, val and test; by group, no original is on two sides in any of them."""
    from telltale.errors import UsageError
    from telltale.split import By, split_stores
    from telltale.store import open_store

    kind: By = choose("--by", by, "group", "official", "random")
    if folds is not None and ratio:
        raise UsageError(f"--folds deals {folds} equal parts: leave out --ratio")
    opened = [open_store(store) for store in stores]
    found = split_stores(
        opened, name=name, by=kind, ratio=ratio or "80/10/10", seed=seed, per_class=per_class, folds=folds
    )
    of_all = [note for note in found[0].notes if len(found) > 1 and all(note in dealt.notes for dealt in found)]
    for dealt in found:
        _tell(dealt, opened, "pictures" if kind == "random" else "videos", leave_out=of_all)
    for note in of_all:
        say(f"all folds: {note}")
    if folds is not None:
        for store in opened:
            _remove_older_folds(store, name, n_folds=folds, where=_where(store, opened))


def _where(store: Store, stores: Sequence[Store]) -> str:
    return f" of {visible(str(store.path))}" if len(stores) > 1 else ""


def _remove_older_folds(store: Store, name: str, *, n_folds: int, where: str) -> None:
    """Those of a deal into more parts: beside the new ones they would pass for more of them."""
    for other in store.splits():
        number = other.removeprefix(f"{name}-")
        if number == other or not number.isdecimal() or int(number) < n_folds:
            continue
        if str(store.split_notes(other).get("by")).startswith("fold "):  # else a split that is only called like one
            store.remove_split(other)
            say(f"{other}{where}: removed, a fold of an older deal")


def _tell(dealt: Dealt, stores: Sequence[Store], unit: str, *, leave_out: Sequence[str]) -> None:
    for store, counts in zip(stores, dealt.counts, strict=True):
        sides = ", ".join(f"{side} {real:,} real + {fake:,} fake" for side, (real, fake) in counts.items())
        say(f"{dealt.name}{_where(store, stores)}: {unit} {sides or 'on no side'}")
    for note in dealt.notes:
        if note not in leave_out:
            say(f"  {note}")


__all__ = ["split"]
