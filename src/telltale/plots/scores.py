"""What a model said: confusion matrix, scores of each class, scores over the time of a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from telltale._text import clock, plural
from telltale.plots import _style
from telltale.plots._style import (
    BLUE,
    CLASS_COLOUR,
    CLASS_GLYPH,
    DARK_FROM,
    INK,
    LINE,
    ORANGE,
    SOFT,
    VERMILLION,
    shades,
    shown,
)
from telltale.plots.curves import Scored
from telltale.types import count_people

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from telltale.types import TrackReport

MAX_TRACKS = 8
_NEAR_EDGE = 0.25
"""Nearer to it, the words at a threshold stand on its other side."""
_PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
"""Behind words that a threshold's line may cross."""


@_style.drawn
def confusion(
    matrix: npt.ArrayLike, *, unit: str = "videos", title: str = "Confusion", n_abstained: int = 0, note: str = ""
) -> Figure:
    """`[[tn, fp], [fn, tp]]`: rows are what it is, columns what was said; shares are of the row.

    `n_abstained`, which no cell counts, is written beside n; `note`, such as where the line was drawn, below.
    """
    cells = np.asarray(matrix)
    if cells.shape != (2, 2) or (cells < 0).any():
        raise ValueError(f"matrix must be (2, 2) counts, got {cells.tolist()}")
    figure = _style.new_figure(3.5, 4.2)
    axes = figure.subplots()
    aside = f", {n_abstained:,} abstained" if n_abstained else ""
    _style.head(axes, title, f"n = {int(cells.sum()):,} {unit}{aside}")
    shade = shades()
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    for (row, column), share in np.ndenumerate(shares):
        axes.fill_between([column - 0.49, column + 0.49], row - 0.49, row + 0.49, color=shade(share), linewidth=0)
        ink = "white" if share > DARK_FROM else INK
        axes.text(column, row - 0.06, f"{share:.0%}", ha="center", fontsize=19, color=ink)
        axes.text(column, row + 0.22, f"{int(cells[row, column]):,}", ha="center", fontsize=9, color=ink)
    sums = cells.sum(axis=1)
    axes.set_xticks([0, 1], ["said real", "said fake"])
    axes.set_xlabel(note, fontsize=8)
    axes.set_yticks(
        [0, 1], [f"{CLASS_GLYPH['real']} real\nn = {sums[0]:,}", f"{CLASS_GLYPH['fake']} fake\nn = {sums[1]:,}"]
    )
    axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@_style.drawn
def score_histogram(scored: Scored, *, thresholds: tuple[float, float] | None = None, title: str = "Scores") -> Figure:
    """Scores of real above the line, of fake below it, each as a share of its class; thresholds as dashed lines."""
    figure = _style.new_figure(3.1)
    axes = figure.subplots()
    _style.head(axes, title, scored.n_note)
    edges = np.linspace(0, 1, 41)
    highest = 0.0
    for label in CLASS_COLOUR:
        up = label == "real"
        values = scored.p_fake[scored.is_fake == (not up)]
        share = np.histogram(values, edges)[0] / max(len(values), 1)
        highest = max(highest, float(share.max()))
        axes.stairs(share if up else -share, edges, fill=True, color=CLASS_COLOUR[label])
        axes.annotate(
            f"{CLASS_GLYPH[label]} {label}, n = {len(values):,}", (0.5, 1 if up else 0), (0, -4 if up else 4),
            xycoords="axes fraction", textcoords="offset points", ha="center", va="top" if up else "bottom",
            color=CLASS_COLOUR[label], fontsize=8.5, bbox=_PAPER,
        )  # fmt: skip
    for threshold, words in zip(thresholds or (), ("real below", "fake above"), strict=False):
        up = words == "real below"  # each in its own half, so that two lines near each other keep their words apart
        on_left = threshold > _NEAR_EDGE if up else threshold > 1 - _NEAR_EDGE
        axes.axvline(threshold, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(
            f"{words} {threshold:.2f}", (threshold, 1 if up else 0), (-4 if on_left else 4, -18 if up else 18),
            xycoords=("data", "axes fraction"), textcoords="offset points", ha="right" if on_left else "left",
            va="top" if up else "bottom", fontsize=7.5, color=INK, bbox=_PAPER,
        )  # fmt: skip
    axes.axhline(0, color=SOFT, linewidth=0.7)
    axes.spines["bottom"].set_visible(False)
    limit = 1.4 * (highest or 1)  # the words stand over the bars
    axes.set(xlim=(0, 1), ylim=(-limit, limit), xlabel="p(fake)", ylabel="share of its class")
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value) * 100:.3g}%")
    return figure


_IN_TENTHS_S = 6.0
"""Of shorter clips the ticks are less than a second apart."""


@_style.drawn
def timeline(
    tracks: Sequence[TrackReport],
    *,
    thresholds: tuple[float, float] | None = None,
    end_s: float | None = None,
    title: str = "Scores over time",
) -> Figure:
    """Each person's score over the seconds of a video, the most suspicious first, at most `MAX_TRACKS` of them.

    Hollow points are faces filled in between two frames; bars above mark suspicious intervals.
    """
    if not tracks:
        raise ValueError("tracks must hold at least one person, got none")
    ranked = sorted(tracks, key=lambda track: -1.0 if track.p_fake is None else track.p_fake, reverse=True)
    chosen = ranked[:MAX_TRACKS]
    figure = _style.new_figure(0.75 + 1.15 * len(chosen), 7.0)
    panels = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    n_faces = sum(len(track.faces) for track in tracks)
    for axes, track in zip(panels, chosen, strict=True):
        _track(axes, track, thresholds)
    last_s = max((face.pts_s for track in tracks for face in track.faces), default=0.0)
    span_s = end_s or last_s or 1.0
    panels[-1].set_xlim(0, span_s)
    panels[-1].set_xlabel("time in the video (min:s)")
    panels[-1].xaxis.set_major_formatter(lambda value, _: clock(value, tenths=span_s < _IN_TENTHS_S))
    figure.supylabel("p(fake)", fontsize=9, color=SOFT)
    shown_of = f" (the {len(chosen)} most suspicious)" if len(chosen) < len(tracks) else ""
    figure.suptitle(shown(title, 60), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    people = plural(count_people(tracks), "person", "people")
    panels[0].set_title(f"{people}{shown_of}, {n_faces:,} faces", loc="right", color=SOFT, fontsize=8.5)
    return figure


def _track(axes: Axes, track: TrackReport, thresholds: tuple[float, float] | None) -> None:
    from matplotlib.transforms import ScaledTranslation

    low, high = thresholds or (0.0, 1.0)
    if thresholds:
        axes.axhspan(high, 1, color=VERMILLION, alpha=0.13, linewidth=0)
        axes.axhspan(low, high, color=ORANGE, alpha=0.1, linewidth=0)
        axes.axhspan(0, low, color=BLUE, alpha=0.1, linewidth=0)
    faces = () if track.p_fake is None else track.faces  # whoever must not be judged has no score at any time
    scored = [(face.pts_s, face.p_fake, face.source) for face in faces if face.p_fake is not None]
    axes.plot([t for t, *_ in scored], [p for _, p, _ in scored], color=INK, alpha=0.5, linewidth=0.9)
    for source, fill in (("detected", INK), ("interpolated", "white")):
        points = [(t, p) for t, p, kind in scored if kind == source]
        axes.plot(
            [t for t, _ in points], [p for _, p in points], "o", color=INK, markerfacecolor=fill, markersize=3.2,
            markeredgewidth=0.8, clip_on=False,
        )  # fmt: skip
    above = axes.get_xaxis_transform() + ScaledTranslation(0, 4 / 72, axes.figure.dpi_scale_trans)
    for start, end in track.suspicious_s:
        axes.plot([start, end], [1, 1], color=VERMILLION, linewidth=3, clip_on=False, transform=above)
    score = "" if track.p_fake is None else f" {track.p_fake:.2f}"
    axes.set_title(f"person {track.id}: {track.label}{score}", loc="left", fontsize=8.5, color=INK, pad=12)
    axes.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    axes.grid(axis="y", color=LINE)
