"""The part of `telltale train` that is for models on pixels: stores in, a bundle or figures alone out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from telltale.cli._errors import say

if TYPE_CHECKING:
    from telltale.recipe import Recipe
    from telltale.train import TrainSettings


def train_pixels(stores: Sequence[str], recipe: Recipe, *, out: Path, settings: TrainSettings) -> None:
    from telltale.cli._card import print_card
    from telltale.cli._figures import print_evaluation
    from telltale.cli._share import share_progress
    from telltale.evaluate import as_stores
    from telltale.train import _pixels

    with share_progress("reading faces") as on_progress:
        run = _pixels.train_pixels(as_stores(list(stores)), recipe, out=out, settings=settings, on_progress=on_progress)
    side = "test" if "test" in run.evaluations else "val"
    print_evaluation(run.evaluations[side])  # type: ignore[index]
    took = ", ".join(f"{name} {value:,}" for name, value in run.usage.items())
    say(f"Figures: {out / side} and beside it ({took})")
    if run.bundle is None:
        say("The model is too large for a bundle; a smaller --set model.options.size_px gives one.")
        return
    print_card(run.bundle)
    say(f"Model: {run.bundle.path}")


__all__ = ["train_pixels"]
