"""How a measured quantity is spread over the real and the fake: face size, brightness, duration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from telltale.plots import _style
from telltale.plots._style import CLASS_COLOUR, CLASS_GLYPH, class_of, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILL = {"real": 0.30, "fake": 0.0}


@_style.drawn
def distribution(
    values: Mapping[str, npt.ArrayLike],
    *,
    quantity: str,
    unit: str,
    logarithmic: bool = False,
) -> Figure:
    """Values of each class, `{"real": (n,), "fake": (n,)}`, as shares of it; a tick at the top is its median."""
    found = {name: np.asarray(column, np.float64) for name, column in values.items()}
    found = {name: column[np.isfinite(column)] for name, column in found.items()}
    found = {name: column for name, column in found.items() if column.size}
    if not found:
        raise ValueError(f"values of {quantity} must hold at least one number, got none")
    figure = _style.new_figure(2.75)
    axes = figure.subplots()
    _style.head(axes, quantity)
    fewest = min(column.size for column in found.values())
    edges = _edges(np.concatenate(list(found.values())), int(np.clip(2 * fewest**0.5, 8, 30)), logarithmic)
    highest = 0.0
    for name, column in found.items():
        colour, label = CLASS_COLOUR[class_of(name)], class_of(name)
        share = np.histogram(column, edges)[0] / column.size
        highest = max(highest, float(share.max()))
        dashes = "-" if label == "real" else (0, (4, 1.5))
        axes.stairs(share, edges, fill=True, color=colour, alpha=_FILL[label])
        median = float(np.median(column))
        written = f"{median:,.0f}" if abs(median) >= 20 else f"{median:,.1f}"
        axes.stairs(
            share, edges, color=colour, linestyle=dashes, linewidth=1.5,
            label=f"{CLASS_GLYPH[label]} {shown(name)}, median {written} {unit}, n = {column.size:,}",
        )  # fmt: skip
        axes.plot([median, median], [1, 0.94], color=colour, linewidth=2, transform=axes.get_xaxis_transform())
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "235" else "")
    axes.set(
        xlim=(edges[0], edges[-1]), ylim=(0, highest * 1.12), xlabel=f"{quantity} ({unit})", ylabel="share of its class"
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:.3g}%")
    figure.legend(loc="outside lower left", ncols=1)
    return figure


def _edges(values: npt.NDArray[np.float64], n_bins: int, logarithmic: bool) -> npt.NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        if low <= 0:
            raise ValueError(f"a logarithmic axis needs values above 0, got {low}")
        if high / low < 1.02:
            low, high = low / 1.1, high * 1.1
        return np.geomspace(low, high, n_bins + 1)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, n_bins + 1)
