"""Pictures in rows: labelled samples, before and after, worst mistakes, frames with boxes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from telltale.plots import _style
from telltale.plots._style import (
    CLASS_COLOUR,
    CLASS_GLYPH,
    DPI,
    INK,
    LINE,
    NOTE,
    NOTE_CHARS,
    SOFT,
    TITLE,
    Class,
    shown,
    wrap,
)
from telltale.types import RgbImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CAPTION_IN = 0.3
_GAP_IN = 0.1
_HEAD_IN, _LINE_IN = 0.26, 0.16
"""A head of one line, and each line more."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a grid."""

    rgb: RgbImage
    label: Class | None = None
    caption: str = ""
    """First line, behind the label."""
    note: str = ""
    """Second line."""
    boxes_xyxy: npt.NDArray[np.float32] | None = None
    """(n, 4), px of `rgb`: drawn dashed."""

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise ValueError(f"rgb must be uint8 (H, W, 3), got {self.rgb.dtype} {self.rgb.shape}")
        if self.boxes_xyxy is not None and (self.boxes_xyxy.ndim != 2 or self.boxes_xyxy.shape[1] != 4):
            raise ValueError(f"boxes_xyxy must be (n, 4), got {self.boxes_xyxy.shape}")


@_style.drawn
def picture_grid(
    tiles: Sequence[Tile], *, n_columns: int = 5, title: str = "", note: str = "", tile_in: float = 1.0
) -> Figure:
    """Labelled pictures, row by row. `tile_in` is a picture's width; captions stand below, boxes are dashed."""
    if not tiles:
        raise ValueError("tiles must hold at least one picture, got none")
    aspect = statistics.median(tile.rgb.shape[0] / tile.rgb.shape[1] for tile in tiles)
    lines = 0.5 * any(tile.caption or tile.label for tile in tiles) + 0.5 * any(tile.note for tile in tiles)
    sizes = _Sizes(n_columns, tile_in, aspect, caption_in=lines * _CAPTION_IN)
    return _grids([("", tiles)], sizes, title, note)


@_style.drawn
def before_after(before: Sequence[RgbImage], after: Sequence[RgbImage], *, title: str = "", note: str = "") -> Figure:
    """Two grids beside each other, the same faces at the same places."""
    if len(before) != len(after) or not before:
        raise ValueError(f"before and after must be equally many, got {len(before)} and {len(after)}")
    sets = [("before", [Tile(rgb) for rgb in before]), ("after", [Tile(rgb) for rgb in after])]
    return _grids(sets, _Sizes(n_columns=3, tile_in=0.9), title, note)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How large a grid is drawn."""

    n_columns: int
    """At most."""
    tile_in: float
    """A picture's width."""
    aspect: float = 1.0
    """Its height over its width."""
    caption_in: float = 0.0
    """Room below it."""


def _grids(sets: Sequence[tuple[str, Sequence[Tile]]], sizes: _Sizes, title: str, note: str) -> Figure:
    tile_in, height_in = sizes.tile_in, sizes.tile_in * sizes.aspect
    n_columns = min(sizes.n_columns, max(len(tiles) for _, tiles in sets))
    n_rows = max(math.ceil(len(tiles) / n_columns) for _, tiles in sets)
    step_x, step_y = tile_in + _GAP_IN, height_in + sizes.caption_in + _GAP_IN
    set_in = n_columns * step_x - _GAP_IN
    between_in, edge_in = 0.35, 0.12
    width = len(sets) * set_in + (len(sets) - 1) * between_in + 2 * edge_in
    figure = _style.new_figure(1.0, width)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    head_in = _head(axes, title, note, width, edge_in)
    top_in = head_in + (0.24 if any(name for name, _ in sets) else 0.0)
    height = n_rows * step_y - _GAP_IN + top_in + 2 * edge_in
    figure.set_figheight(height)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for i, (name, tiles) in enumerate(sets):
        left = edge_in + i * (set_in + between_in)
        axes.text(left, edge_in + top_in - 0.06, name, va="bottom", fontsize=8.5, color=SOFT)
        for j, tile in enumerate(tiles):
            row, column = divmod(j, n_columns)
            _tile(axes, tile, left + column * step_x, edge_in + top_in + row * step_y, tile_in, height_in)
    return figure


def _head(axes: Axes, title: str, note: str, width: float, edge_in: float) -> float:
    """The title and, at its right or below it, the note; the height of both."""
    if not (title or note):
        return 0.0
    over = axes.text(edge_in, edge_in, shown(title, 60), va="top", fontsize=9.5, **TITLE)
    beside = axes.text(width - edge_in, edge_in, shown(note, NOTE_CHARS), va="top", ha="right", **NOTE)
    room_px = (width - 2 * edge_in) * DPI
    if over.get_window_extent().width + _GAP_IN * DPI + beside.get_window_extent().width <= room_px:
        return _HEAD_IN
    n_over, n_beside = wrap(over, room_px) if title else 0, wrap(beside, room_px) if note else 0
    beside.set(x=edge_in, y=edge_in + n_over * _LINE_IN, ha="left")
    return _HEAD_IN + (n_over + n_beside - 1) * _LINE_IN


def _tile(axes: Axes, tile: Tile, x: float, y: float, width: float, height: float) -> None:
    """One picture, fitted into `width` x `height` inches at `x`, `y`, and what is written below it."""
    from matplotlib.patches import Rectangle

    rows, columns = tile.rgb.shape[:2]
    scale = min(width / columns, height / rows)
    w, h = columns * scale, rows * scale
    left, top = x + (width - w) / 2, y + (height - h) / 2
    extent = (left, left + w, top + h, top)
    axes.imshow(tile.rgb, extent=extent, interpolation="antialiased", aspect="auto", zorder=1)
    colour = CLASS_COLOUR[tile.label] if tile.label else LINE
    axes.add_patch(Rectangle((left, top), w, h, fill=False, edgecolor=colour, linewidth=1.6 if tile.label else 0.6))
    for x0, y0, x1, y1 in [] if tile.boxes_xyxy is None else tile.boxes_xyxy.tolist():
        corner, size = (left + x0 * scale, top + y0 * scale), ((x1 - x0) * scale, (y1 - y0) * scale)
        for edge, dashes, line in (("white", "-", 1.8), (INK, (0, (3, 2)), 1.0)):
            box = Rectangle(corner, *size, fill=False, edgecolor=edge, linestyle=dashes, linewidth=line, zorder=3)
            axes.add_patch(box)
            box.set_clip_path(Rectangle((left, top), w, h, transform=axes.transData))
    max_chars = max(6, round(width * 14.5))
    words = [tile.label or "", tile.caption]
    first = " ".join(word for word in words if word)
    if first:
        glyph = f"{CLASS_GLYPH[tile.label]} " if tile.label else ""
        text = glyph + shown(first, max_chars)
        axes.text(x, y + height + 0.05, text, va="top", fontsize=7, color=colour if tile.label else INK)
    if tile.note:
        below = 0.13 if first else 0.0
        axes.text(x, y + height + 0.05 + below, shown(tile.note, max_chars + 1), va="top", fontsize=6.5, color=SOFT)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
