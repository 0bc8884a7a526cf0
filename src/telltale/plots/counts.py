"""How many there are of each class: on each side of a split, by method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from telltale.plots import _style
from telltale.plots._style import CLASS_COLOUR, INK, class_of, count, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_IN = 0.27


@_style.drawn
def class_counts(counts: Mapping[str, Mapping[str, int]], *, unit: str = "videos", title: str = "") -> Figure:
    """Bars of how many there are: `{"train": {"real": 720, "Deepfakes": 720}, "test": ...}`.

    Sides beside each other in the order given, real first, then the fakes by number. `unit` is a plural.
    """
    totals: dict[str, int] = {}
    for side in counts.values():
        for name, n in side.items():
            totals[name] = totals.get(name, 0) + n
    if not totals:
        raise ValueError("counts must name at least one class, got none")
    names = sorted(totals, key=lambda name: (name != "real", -totals[name], name))
    largest = max(n for side in counts.values() for n in side.values()) or 1
    figure = _style.new_figure(0.85 + _ROW_IN * max(len(names), 2))
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    colours = [CLASS_COLOUR[class_of(name)] for name in names]
    for axes, (name_of_side, found) in zip(panels, counts.items(), strict=True):
        values = [found.get(name, 0) for name in names]
        axes.barh(range(len(names)), values, color=colours, height=0.68)
        for row, value in enumerate(values):
            axes.annotate(
                f"{value:,}", (value, row), (3, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK
            )
        _style.head(axes, title if len(counts) == 1 and title else name_of_side)
        axes.set_xlabel(f"n = {sum(values):,}", loc="left")
        axes.set_xlim(0, largest * (1.12 + 0.13 * len(counts)))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    panels[0].set_yticks(range(len(names)), [f"{_style.CLASS_GLYPH[class_of(n)]} {shown(n, 22)}" for n in names])
    for tick, colour in zip(panels[0].get_yticklabels(), colours, strict=True):
        tick.set_color(colour)
    n = sum(totals.values())
    fakes = n - totals.get("real", 0)
    named = f"{shown(title)}: " if title and len(counts) > 1 else ""
    figure.supxlabel(
        f"{named}{count(n, unit)}, of them {fakes:,} fake ({fakes / n if n else 0:.0%})",
        fontsize=8.5,
        x=0.99,
        ha="right",
    )
    return figure
