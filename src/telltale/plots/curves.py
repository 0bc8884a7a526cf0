"""Curves: learning, ROC, precision and recall, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from telltale.errors import require
from telltale.plots import _style
from telltale.plots._style import CLASS_COLOUR, INK, LINE, NOTE_CHARS, SERIES, SOFT, Dashes, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.floating]
_AT_FPR = (0.01, 0.05)
_N_BINS = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """What one model said about one set. 1 = fake."""

    is_fake: npt.NDArray[np.integer] | npt.NDArray[np.bool_]
    """(n,) 0 or 1"""
    p_fake: FloatArray
    """(n,) 0-1"""
    name: str = ""
    note: str = ""
    """Written behind the name, such as `AUC .91 (.89 to .93)`."""

    def __post_init__(self) -> None:
        if self.is_fake.ndim != 1 or self.p_fake.shape != self.is_fake.shape:
            raise ValueError(f"is_fake and p_fake must be (n,), got {self.is_fake.shape} and {self.p_fake.shape}")
        if not np.isin(self.is_fake, (0, 1)).all():
            raise ValueError(f"is_fake must be 0 or 1, got {np.unique(self.is_fake)}")
        if not ((self.p_fake >= 0) & (self.p_fake <= 1)).all():
            raise ValueError("p_fake must be 0-1 everywhere")

    @property
    def n_note(self) -> str:
        return f"n = {len(self.is_fake):,}, {int(self.is_fake.sum()):,} fake"


@_style.drawn
def learning_curves(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    stages: Sequence[int] = (),
    best_epoch: int | None = None,
    note: str = "",
) -> Figure:
    """`{"loss": {"train": [...], "val": [...]}, "accuracy": ...}`: one value an epoch, NaN where there is none.

    `stages` are the numbers of epochs of each stage; `best_epoch`, from 1, is the one that was kept.
    """
    if not curves or not all(curves.values()):
        raise ValueError("curves must hold at least one series for each quantity")
    n_columns = min(2, len(curves))
    n_rows = -(-len(curves) // n_columns)
    figure = _style.new_figure(2.5 * n_rows)
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    names = list(dict.fromkeys(name for lines in curves.values() for name in lines))
    n_epochs = max(len(values) for lines in curves.values() for values in lines.values())
    for axes, (quantity, lines) in zip(panels.flat, curves.items(), strict=False):
        _style.head(axes, quantity, note if quantity == next(iter(curves)) and n_columns == 1 else "")
        for name, values in lines.items():
            colour, dashes = SERIES[names.index(name) % len(SERIES)]
            epochs = np.arange(1, len(values) + 1)
            axes.plot(epochs, values, color=colour, linestyle=dashes, marker="o" if n_epochs < 40 else "", markersize=3)
        _mark_epochs(axes, lines, stages, best_epoch)
        axes.grid(axis="y")
        axes.set_xlim(0.6, n_epochs + 0.4)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.set_xlabel("epoch")
    for axes in panels.flat[len(curves) :]:
        axes.axis("off")
    from matplotlib.lines import Line2D

    styles = [SERIES[i % len(SERIES)] for i in range(len(names))]
    handles = [Line2D([], [], color=colour, linestyle=dashes) for colour, dashes in styles]
    labels = [shown(name) for name in names]
    if best_epoch is not None:
        handles.append(Line2D([], [], color=INK, marker="D", linestyle="", markersize=5, markerfacecolor="white"))
        labels.append(f"kept: epoch {best_epoch}")
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    if note and n_columns > 1:
        figure.suptitle(shown(note, NOTE_CHARS), x=0.99, ha="right", fontsize=8.5, color=SOFT)
    return figure


def _mark_epochs(axes: Axes, lines: Mapping[str, Sequence[float]], stages: Sequence[int], best: int | None) -> None:
    for i, end in enumerate(np.cumsum(stages)[:-1], start=2):
        axes.axvline(end + 0.5, color=LINE, linewidth=1)
        axes.annotate(
            f"stage {i}", (end + 0.5, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            va="top", fontsize=7.5, color=SOFT,
        )  # fmt: skip
    kept = next((name for name in ("val", "validation") if name in lines), None)
    if best is not None and kept is not None and 1 <= best <= len(lines[kept]):
        axes.plot(best, lines[kept][best - 1], marker="D", color=INK, markerfacecolor="white", markersize=5, zorder=5)


@_style.drawn
def risk_coverage(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, n: int) -> Figure:
    """Share of wrong calls among the videos kept, the surest first: name -> (coverages, risks).

    `n` videos are those of which a coverage is a share, and with them those about which nothing was said.
    """
    if not curves:
        raise ValueError("there must be at least one curve")
    figure = _style.new_figure(3.4, 4.6)
    axes = figure.subplots()
    _style.head(axes, "Risk and coverage", f"the surest videos first, n = {n:,}")
    for i, (name, (coverage, risk)) in enumerate(curves.items()):
        colour, dashes = SERIES[i % len(SERIES)]
        axes.plot(coverage, risk, color=colour, linestyle=dashes, label=shown(name))
    axes.set(xlim=(0, 1.01), xlabel="coverage: share of videos kept", ylabel="risk: share of wrong calls")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    figure.legend(loc="outside lower left", ncols=3)
    return figure


@_style.drawn
def roc(sets: Sequence[Scored], *, title: str = "ROC") -> Figure:
    """Fakes found against false alarms; the open points are at false-positive rates of 1 and 5 %.

    Where that is less than one real, a point is at no false alarm.
    """
    figure, axes = _square(sets, title)
    for scored, (colour, dashes) in zip(sets, _styles(len(sets)), strict=True):
        fpr, tpr, _ = require("sklearn.metrics", "analyze").roc_curve(
            scored.is_fake, scored.p_fake, drop_intermediate=False
        )
        # from corner to corner: scores that several faces share, as a forest's, are a slope and no step
        axes.plot(fpr, tpr, color=colour, linestyle=dashes, label=_named(scored, sets))
        n_real = int((scored.is_fake == 0).sum())
        rates = [rate if rate * n_real >= 1 else 0.0 for rate in _AT_FPR]
        reached = [(rate, float(tpr[fpr <= rate].max())) for rate in dict.fromkeys(rates)]
        axes.plot(*zip(*reached, strict=True), "o", color=colour, markerfacecolor="white", markersize=4.5,
                  clip_on=False, zorder=4)  # fmt: skip
        if len(sets) == 1:
            for at, text in _apart(reached):
                low = at[1] < 0.06  # below it are the numbers of the axis
                axes.annotate(
                    text, at, (8, 5 if low else -3), textcoords="offset points", va="bottom" if low else "top",
                    fontsize=8, color=INK, linespacing=1.4,
                )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    axes.set(xlabel="real called fake (false-positive rate)", ylabel="fake found (true-positive rate)")
    _legend(axes, sets, "lower right")
    return figure


def _apart(reached: Sequence[tuple[float, float]]) -> list[tuple[tuple[float, float], str]]:
    """Where each label goes: points too near each other for two have one of two lines, at the last of them."""
    found: list[tuple[tuple[float, float], str]] = []
    for rate, share in reached:
        text = f"{share:.0%} at {rate:.0%}" if rate else f"{share:.0%} at no false alarm"
        if found and abs(share - found[-1][0][1]) < 0.06:
            text = f"{found.pop()[1]}\n{text}"
        found.append(((rate, share), text))
    return found


@_style.drawn
def precision_recall(sets: Sequence[Scored], *, title: str = "Precision and recall") -> Figure:
    """Of those called fake, how many are; the dotted line is what guessing gives."""
    figure, axes = _square(sets, title)
    for scored, (colour, dashes) in zip(sets, _styles(len(sets)), strict=True):
        metrics = require("sklearn.metrics", "analyze")
        precision, recall, _ = metrics.precision_recall_curve(scored.is_fake, scored.p_fake)
        axes.plot(recall, precision, color=colour, linestyle=dashes, drawstyle="steps-post", label=_named(scored, sets))
        axes.axhline(float(scored.is_fake.mean()), color=SOFT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    axes.set(xlabel="fakes found (recall)", ylabel="of those called fake, truly fake (precision)")
    _legend(axes, sets, "lower left")
    return figure


@_style.drawn
def reliability(scored: Scored, *, title: str = "Reliability") -> Figure:
    """How often it is fake where the model says p: points with 95 % intervals (Wilson), and how many each rests on."""
    figure = _style.new_figure(4.4)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _style.head(axes, title, scored.n_note + (f", {scored.note}" if scored.note else ""))
    edges = np.linspace(0, 1, _N_BINS + 1)
    which = np.clip(np.digitize(scored.p_fake, edges) - 1, 0, _N_BINS - 1)
    n = np.bincount(which, minlength=_N_BINS)
    fakes = np.bincount(which, weights=scored.is_fake, minlength=_N_BINS)
    used = n > 0
    mean_p = np.bincount(which, weights=scored.p_fake, minlength=_N_BINS)[used] / n[used]
    share = fakes[used] / n[used]
    low, high = _wilson(fakes[used], n[used])
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.errorbar(
        mean_p, share, [np.maximum(share - low, 0), np.maximum(high - share, 0)], color=INK, linewidth=1.4, marker="o",
        markersize=5, elinewidth=1.2, clip_on=False,
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="truly fake")
    axes.annotate("too sure it is real", (0.03, 0.97), fontsize=8, color=SOFT, va="top")
    axes.annotate("too sure it is fake", (0.97, 0.03), fontsize=8, color=SOFT, ha="right")
    axes.grid()
    real = n - fakes
    centres = (edges[:-1] + edges[1:]) / 2
    width = 0.9 / _N_BINS
    below.bar(centres, real, width, color=CLASS_COLOUR["real"], label="real")
    fake_style = {"color": CLASS_COLOUR["fake"], "hatch": "///", "edgecolor": "white", "linewidth": 0}
    below.bar(centres, fakes, width, bottom=real, label="fake", **fake_style)
    below.set(xlabel="p(fake) the model gave", ylabel="number")
    below.legend(loc="upper center", ncols=2)
    below.set_ylim(0, max(1, n.max()) * 1.75)
    figure.align_ylabels()
    return figure


def _wilson(k: npt.NDArray[Any], n: npt.NDArray[np.integer]) -> tuple[FloatArray, FloatArray]:
    """95 % interval of a share (Wilson 1927): sensible for few and for none, unlike the normal one."""
    z = 1.959964
    middle = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    return middle - half, middle + half


def _square(sets: Sequence[Scored], title: str) -> tuple[Figure, Axes]:
    """Axes from 0 to 1 both ways. Refuses sets in which a class is missing: there is no curve then."""
    for scored in sets:
        if len(np.unique(scored.is_fake)) < 2:
            raise ValueError(f"{title} needs real and fake, got only one of them in {scored.name or 'the set'}")
    if not sets:
        raise ValueError(f"{title} needs at least one set, got none")
    figure = _style.new_figure(4.5, 4.5)
    axes = figure.subplots()
    same = len({scored.n_note for scored in sets}) == 1
    _style.head(axes, title, sets[0].n_note if same else "")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid()
    return figure, axes


def _styles(n: int) -> list[tuple[str, Dashes]]:
    return [SERIES[i % len(SERIES)] for i in range(n)]


def _named(scored: Scored, sets: Sequence[Scored]) -> str:
    n = scored.n_note if len({other.n_note for other in sets}) > 1 else ""
    return " ".join(part for part in (shown(scored.name), scored.note, n) if part)


def _legend(axes: Axes, sets: Sequence[Scored], loc: Literal["lower left", "lower right"]) -> None:
    if any(_named(scored, sets) for scored in sets):
        axes.legend(loc=loc)
