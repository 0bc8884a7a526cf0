"""Many figures at a glance: a table as a heat map, the results of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from telltale.plots import _style
from telltale.plots._style import DARK_FROM, GREEN, INK, SOFT, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 25
Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cells:
    """A table of figures with the names of its rows and columns."""

    values: npt.ArrayLike | Sequence[Sequence[float | None]]
    """(rows, columns), NaN or None where there is none."""
    rows: Sequence[str]
    columns: Sequence[str]

    def __post_init__(self) -> None:
        shape = np.asarray(self.values, np.float64).shape
        if shape != (len(self.rows), len(self.columns)) or 0 in shape:
            raise ValueError(f"values must be ({len(self.rows)}, {len(self.columns)}), got {shape}")


@_style.drawn
def heat_table(
    cells: Cells,
    *,
    quantity: str,
    limits: Limits | Sequence[Limits] | None = None,
    number: str = ".2f",
    signed: bool = False,
    title: str = "",
    note: str = "",
) -> Figure:
    """A table whose cells are shaded by their value.

    `limits` are the values of the lightest and the darkest shade, a pair for each column where they measure different
    things; `number` is how values are written. `signed`: of a difference, limits as far below 0 as above it.
    """
    values = np.asarray(cells.values, np.float64)
    known = values[np.isfinite(values)]
    if limits is None:
        limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        most = max(map(abs, limits)) or 1.0
        limits = (-most, most) if signed else limits
    low, high = np.broadcast_to(np.asarray(limits, np.float64), (len(cells.columns), 2)).T
    share = np.clip((values - low) / np.where(high > low, high - low, 1.0), 0, 1)
    if signed and (low != -high).any():
        raise ValueError(f"limits of a difference must be as far below 0 as above it, got {limits}")
    number = number.replace(".", "z.", 1) if signed else number  # no -0.00
    shade = 2 * np.abs(share - 0.5) if signed else share
    turned = max(len(name) for name in cells.columns) > 9
    height_in = 0.95 + 0.29 * len(cells.rows) + 0.8 * turned
    figure = _style.new_figure(height_in, max(3.6, 1.7 + 0.62 * len(cells.columns)))
    axes = figure.subplots()
    _style.head(axes, title or quantity, note)
    axes.pcolormesh(
        np.where(np.isfinite(share), share, np.nan),
        cmap=_style.two_shades() if signed else _style.shades(),
        vmin=0,
        vmax=1,
        edgecolors="white",
        linewidth=1.5,
    )
    for (row, column), value in np.ndenumerate(values):
        dark = shade[row, column] > DARK_FROM
        text, colour = (format(value, number), "white" if dark else INK) if np.isfinite(value) else ("–", SOFT)
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8.5, color=colour)
    _name_cells(axes, cells, turned=turned)
    figure.supxlabel(_scale(cells, limits, quantity, number, signed=signed), fontsize=8, color=SOFT, x=0.99, ha="right")
    return figure


def _scale(cells: Cells, limits: Limits | Sequence[Limits], quantity: str, number: str, *, signed: bool) -> str:
    """What the shades say, a line a quantity."""
    words = "{}: {} purple, 0 white, {} green" if signed else "{}: {} light, {} dark"
    pairs = np.asarray(limits, np.float64).reshape(-1, 2).tolist()
    names = [quantity] if len(pairs) == 1 else cells.columns
    lines = [words.format(name, *(format(v, number) for v in pair)) for name, pair in zip(names, pairs, strict=True)]
    return "\n".join(lines)


def _name_cells(axes: Axes, cells: Cells, *, turned: bool) -> None:
    axes.set_xticks(np.arange(len(cells.columns)) + 0.5, [shown(name, 22) for name in cells.columns])
    axes.tick_params(axis="x", rotation=35 if turned else 0)
    if turned:
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(len(cells.rows)) + 0.5, [shown(name) for name in cells.rows])
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """One setting that was tried, and what each fold gave."""

    setting: Mapping[str, object]
    folds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.folds:
            raise ValueError(f"folds must hold at least one value, got none for {dict(self.setting)}")

    @property
    def mean(self) -> float:
        return float(np.mean(self.folds))


@_style.drawn
def search_results(points: Sequence[SearchPoint], *, quantity: str = "AUC", title: str = "Search") -> Figure:
    """Settings by their mean over the folds, best first; each fold a small point. Higher is better."""
    if not points:
        raise ValueError("points must hold at least one setting, got none")
    ranked = sorted(points, key=lambda point: -point.mean)
    chosen = ranked[:MAX_POINTS]
    figure = _style.new_figure(0.95 + 0.27 * max(len(chosen), 2), 6.2)
    axes = figure.subplots()
    n_folds = max(len(point.folds) for point in points)
    aside = (
        f"best {len(chosen)} of {len(points)} settings"
        if len(chosen) < len(points)
        else _style.count(len(points), "settings")
    )
    _style.head(axes, title, f"{aside}, {_style.count(n_folds, 'folds')} each")
    for row, point in enumerate(chosen):
        axes.plot(
            point.folds, [row] * len(point.folds), "o", color=GREEN, alpha=0.45, markersize=3.5, markeredgewidth=0
        )
        axes.plot(point.mean, row, "D", color=INK, markersize=4.5)
        axes.annotate(
            f"{point.mean:.3f}", (1, row), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", fontsize=8.5, fontweight="bold" if row == 0 else "normal",
        )  # fmt: skip
    varied = _varied(points)
    labels = [
        shown(", ".join(f"{key} {point.setting[key]}" for key in varied if key in point.setting), 46)
        for point in chosen
    ]
    axes.set_yticks(range(len(chosen)), labels)
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    axes.set_xlim(*_style.shared_limits([value for point in chosen for value in point.folds]))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel(f"{quantity} (◆ mean, ● one fold)")
    return figure


def _varied(points: Sequence[SearchPoint]) -> list[str]:
    """What differs between the settings; all of it, where nothing does."""
    keys = list(dict.fromkeys(key for point in points for key in point.setting))
    varied = [key for key in keys if len({str(point.setting.get(key)) for point in points}) > 1]
    return varied or keys
