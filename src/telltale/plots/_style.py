"""The one style of every figure: colours, type, axes. Nothing of it outlives the drawing of a figure.

matplotlib's settings are global; they are put in place while a figure is drawn or saved, from its defaults and not
from whatever the user's own file says, and put back after. No pyplot, so no window, no backend, no figure kept alive.
"""

from __future__ import annotations

import functools
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from telltale._text import visible
from telltale.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Class = Literal["real", "fake"]
Dashes = Literal["-", "--", "-.", ":"] | tuple[float, tuple[float, ...]]

# Okabe & Ito, "Color Universal Design" (2008): told apart with every kind of colour vision.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, SOFT, LINE = "#191713", "#5f5a50", "#dcd7cb"
CLASS_COLOUR: dict[Class, str] = {"real": BLUE, "fake": VERMILLION}
CLASS_GLYPH: dict[Class, str] = {"real": "●", "fake": "▲"}
SERIES: tuple[tuple[str, Dashes], ...] = (
    (INK, "-"), (GREEN, "--"), (PURPLE, "-."), (ORANGE, ":"), (SKY, (0, (5, 1, 1, 1, 1, 1))), (SOFT, (0, (8, 2))),
)  # fmt: skip
"""(colour, dashes) of the first line, the second ...: a printed page without colours still tells them apart. Blue and
vermillion are for real and fake alone."""

WIDTH_IN = 5.4
_EDGE_IN = 0.06
DPI = 200
TITLE: dict[str, Any] = {"color": INK, "fontweight": "bold"}
NOTE: dict[str, Any] = {"color": SOFT, "fontsize": 8.5}
_LINE_PT = 11.5
"""From one line of a title or of its note to the next."""
_TITLE_PAD_PT = 8.0
_GAP_PX = 0.1 * DPI
NOTE_CHARS = 160
_SETTINGS: dict[str, Any] = {
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "figure.facecolor": "white",
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.titlesize": 9.5,
    "axes.titlepad": _TITLE_PAD_PT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.4,
    "svg.hashsalt": "telltale",
}

_P = ParamSpec("_P")
_LOCK = threading.RLock()


@contextmanager
def applied() -> Iterator[None]:
    """The style, for the time of a `with`. One thread at a time. Raises `MissingExtra` without matplotlib."""
    matplotlib = require("matplotlib", "analyze")
    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def drawn(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Let `draw` work in the style, and give the heads of its axes the room they need."""

    @functools.wraps(draw)
    def styled(*args: _P.args, **options: _P.kwargs) -> Figure:
        with applied():
            figure = draw(*args, **options)
            _fit_heads(figure)
            return figure

    return styled


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure that lays itself out."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    x, y = _EDGE_IN / width_in, _EDGE_IN / height_in
    layout = ConstrainedLayoutEngine(rect=(x, y, 1 - 2 * x, 1 - 2 * y))
    return Figure(figsize=(width_in, height_in), layout=layout)


def head(axes: Axes, title: str, note: str = "") -> None:
    """What an axes shows, at its left, and over how many, at its right; below it where one line has no room for both.

    Either may hold the name of a model or of a file.
    """
    axes.set_title(shown(title, 60), loc="left", gid="title", **TITLE)
    axes.set_title(shown(note, NOTE_CHARS), loc="right", gid="note", **NOTE)


def _fit_heads(figure: Figure) -> None:
    """Only a figure that is laid out says how much room its heads have."""
    found = [(axes, _written(axes, "title"), _written(axes, "note")) for axes in figure.axes]
    heads = [(axes, title, note) for axes, title, note in found if title is not None and note is not None]
    said = [(title.get_text(), note.get_text()) for _, title, note in heads]
    if not heads:
        return
    for _, title, note in heads:  # long ones would move the axes, and broken into lines they will not
        title.set_text(title.get_text()[:1])
        note.set_text("")
    figure.draw_without_rendering()
    starts = [axes.get_window_extent().x0 for axes in figure.axes]
    n_more = 0
    for (axes, title, note), (over, beside) in zip(heads, said, strict=True):
        title.set_text(over)
        note.set_text(beside)
        own = axes.get_window_extent()
        page = figure.bbox.x1 - _EDGE_IN * DPI
        room_px = min((x0 - _GAP_PX for x0 in starts if x0 >= own.x1), default=page) - own.x0
        used_px = title.get_window_extent().width
        with_note_px = used_px + _GAP_PX + note.get_window_extent().width
        if used_px > room_px or (beside and with_note_px > own.width):
            n_more = max(n_more, _stack(axes, title, note, room_px=room_px) - 1)
    figure.set_figheight(figure.get_figheight() + n_more * _LINE_PT / 72)


def _written(axes: Axes, name: str) -> Text | None:
    from matplotlib.text import Text

    return next((text for text in axes.findobj() if text.get_gid() == name and isinstance(text, Text)), None)


def _stack(axes: Axes, title: Text, note: Text, *, room_px: float) -> int:
    """The note below the title; how many lines they take together."""
    below = axes.annotate(
        note.get_text(), (0, 1), (0, _TITLE_PAD_PT), xycoords="axes fraction", textcoords="offset points", **NOTE
    )
    below.set_in_layout(False)  # the title, which stands above, keeps the room
    note.set_text("")
    n_below = wrap(below, room_px) if below.get_text() else 0
    n_over = wrap(title, room_px)
    axes.set_title(title.get_text(), loc="left", pad=_TITLE_PAD_PT + n_below * _LINE_PT, **TITLE)
    return n_below + n_over


def wrap(text: Text, room_px: float) -> int:
    """Break what it says into lines that are no wider; how many there are then."""
    words, n_chars = text.get_text(), len(text.get_text())
    while text.get_window_extent().width > room_px and n_chars > 4:
        n_chars = min(n_chars - 1, int(0.95 * n_chars))
        text.set_text("\n".join(textwrap.wrap(words, n_chars)))
    return text.get_text().count("\n") + 1


def class_of(name: str) -> Class:
    """`real` is real; every other name of a class is a way to fake."""
    return "real" if name == "real" else "fake"


def count(n: int, unit: str = "") -> str:
    """
    >>> count(1234), count(1, "videos"), count(7, "videos")
    ('1,234', '1 video', '7 videos')
    """
    return f"{n:,} {unit.removesuffix('s') if n == 1 else unit}".strip()


def shown(text: str, max_chars: int = 28) -> str:
    """`text`, perhaps from a file name, as the font can write it: unsafe and unknown characters as escapes.

    >>> shown("a\\u202eb $x$"), shown("x" * 40, 10)
    ('a\\\\u202eb $x$', 'xxxxx…xxxx')
    """
    text = visible(text)
    text = "".join(c if ord(c) in _characters() else c.encode("unicode_escape").decode("ascii") for c in text)
    if len(text) <= max_chars:
        return text
    tail = (max_chars - 1) // 2
    return text[: max_chars - 1 - tail] + "…" + text[-tail:]


@functools.cache
def _characters() -> frozenset[int]:
    """What DejaVu Sans, the font that comes with matplotlib, can write."""
    require("matplotlib", "analyze")
    from matplotlib import font_manager, ft2font

    font = ft2font.FT2Font(font_manager.findfont("DejaVu Sans", fallback_to_default=False))
    return frozenset(font.get_charmap())


def shared_limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits that hold all `values`, with a little air."""
    low, high = min(values), max(values)
    pad = (high - low) * 0.04 or max(abs(high) * 0.04, 0.5)
    return low - pad, high + pad


DARK_FROM = 0.72
"""Of `shades`: from here on, what is written on it is white."""


def shades() -> LinearSegmentedColormap:
    """From nothing (0) to much (1), in a colour that stands for no class."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("telltale", ["#f3f6f4", "#9ed3c0", GREEN, "#00503a"])


def two_shades() -> LinearSegmentedColormap:
    """From a loss (0) over nothing (.5), which has no colour, to a gain (1); neither stands for a class."""
    from matplotlib.colors import LinearSegmentedColormap

    # as far from the middle as in `shades`, so that white ink begins at the same share
    steps = [(0, "#5a1846"), (1 / 6, PURPLE), (0.5, "#f5f5f3"), (5 / 6, GREEN), (1, "#00503a")]
    return LinearSegmentedColormap.from_list("telltale_signed", steps)
