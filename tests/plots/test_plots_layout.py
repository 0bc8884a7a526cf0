"""What is written in a figure can be read: no words over others, none outside the picture, none from a hostile name."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from make_figures import FIGURES, HOSTILE, picture
from telltale import plots

pytest.importorskip("matplotlib", reason="figures need telltale[analyze]")
if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

LONG = "a-model-of-a-rather-long-name-of-efficientnet-v2 on half of the faces"


def written(figure: Figure) -> dict[str, Bbox]:
    """Every piece of writing that is drawn, and where. Turned words have corners where there is none of them."""
    from matplotlib.text import Text

    found: dict[int, tuple[str, Bbox]] = {}
    draw = Text.draw

    def noted(text: Text, renderer: RendererBase) -> None:
        if text.get_visible() and text.get_text() and text.get_rotation() % 90 == 0:
            found[id(text)] = text.get_text(), text.get_window_extent()  # drawn twice: once to lay the figure out
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        plots.to_png(figure)
    return {f"{words} #{number}": box for number, (words, box) in enumerate(found.values())}


def collisions(figure: Figure) -> list[str]:
    """Words over others, or that run out of the picture."""
    found = written(figure)
    page = figure.bbox
    inner = {name: box.padded(-1) for name, box in found.items()}
    return [
        *(f"{one} / {other}" for one, other in combinations(inner, 2) if inner[one].overlaps(inner[other])),
        *(name for name, box in inner.items() if box.x0 < 0 or box.y0 < 0 or box.x1 > page.x1 or box.y1 > page.y1),
    ]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("called", ["Deepfakes", LONG, HOSTILE])
def test_no_words_stand_over_others_or_outside_the_picture(name: str, called: str) -> None:
    assert collisions(FIGURES[name](called)) == []


@pytest.mark.parametrize("columns", [2, 6, 12])
@pytest.mark.parametrize("name", ["default", LONG, HOSTILE])
def test_a_note_too_long_for_the_titles_line_stands_below_it(name: str, columns: int) -> None:
    cells = plots.Cells([[0.5] * columns] * 2, rows=["saturation", "blur"], columns=list(map(str, range(columns))))
    note = f"{name}, as it is 0.987, mean of kinds 0.813"
    figure = plots.heat_table(cells, quantity="AUC", title="Degraded, by kind and level", note=note)
    assert collisions(figure) == []
    found = " ".join(" ".join(written(figure)).split())
    assert "mean of kinds" in found.replace(" #", "#")
    assert "\u202e" not in found
    assert "中" not in found


def test_a_note_that_fits_stays_on_the_line_of_the_title() -> None:
    cells = plots.Cells([[0.5] * 12] * 2, rows=["a", "b"], columns=list(map(str, range(12))))
    title, note = (
        next(box for name, box in written(figure).items() if name.startswith(word))
        for figure in [plots.heat_table(cells, quantity="AUC", title="Degraded", note="default")]
        for word in ("Degraded", "default")
    )
    assert title.y0 < note.y1
    assert note.y0 < title.y1


def test_a_title_too_long_for_its_figure_goes_on_below() -> None:
    cells = plots.Cells([[0.5] * 5], rows=["a"], columns=list("12345"))
    figure = plots.heat_table(cells, quantity="difference", title=f"{LONG} less default", note="mean +0.001")
    assert collisions(figure) == []


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pictures_have_a_title_and_a_note_apart(n: int) -> None:
    note = f"{HOSTILE}, p(fake) below each"
    figure = plots.picture_grid(
        [plots.Tile(picture(), "real", "0.40", "clip")] * n, title="No mistakes; the least sure", note=note
    )
    assert collisions(figure) == []
    assert "\u202e" not in " ".join(written(figure))
    assert "中" not in " ".join(written(figure))


@pytest.mark.parametrize(
    "thresholds", [(0.05, 0.91), (0.05, 0.1), (0.01, 0.99), (0.9, 0.95), (0.4, 0.6), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)]
)
def test_the_words_at_the_thresholds_of_a_histogram_stand_in_it_alone(thresholds: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    made = plots.Scored(rng.integers(0, 2, 2000), rng.uniform(0, 1, 2000))
    figure = plots.score_histogram(made, thresholds=thresholds)
    assert collisions(figure) == []
    (axes,) = figure.axes
    frame = axes.get_window_extent()
    for name, box in written(figure).items():
        if name.startswith(("real below", "fake above")):
            assert frame.x0 <= box.x0 < box.x1 <= frame.x1, name


def test_a_difference_of_nothing_has_no_colour_and_a_loss_another_than_a_gain() -> None:
    cells = plots.Cells([[-0.2, 0.0, 0.2, -0.001]], rows=["blur"], columns=list("1234"))
    figure = plots.heat_table(cells, quantity="difference of AUC", limits=(-0.2, 0.2), number="+.2f", signed=True)
    (mesh,) = figure.axes[0].collections
    plots.to_png(figure)
    loss, none, gain, _ = (colour[:3] for colour in mesh.get_facecolors())  # type: ignore[attr-defined]
    assert max(none) - min(none) < 0.05, "a colour for no difference"
    assert min(none) > 0.9
    assert loss[0] > loss[1] + 0.2, "a loss is purple"
    assert gain[1] > gain[0] + 0.2, "a gain is green"
    found = " ".join(written(figure))
    assert "-0.00" not in found
    assert "difference of AUC: -0.20 purple, 0 white, +0.20 green" in found


def test_columns_of_different_quantities_are_shaded_each_from_its_own_nothing() -> None:
    cells = plots.Cells([[0.5, 0.5], [0.5, 0.05]], rows=["swap", "reenact"], columns=["AUC", "found"])
    figure = plots.heat_table(cells, quantity="videos", limits=[(0.5, 1.0), (0.0, 1.0)], title="Methods")
    (mesh,) = figure.axes[0].collections
    plots.to_png(figure)
    shades = mesh.get_array()
    assert shades is not None
    np.testing.assert_allclose(np.asarray(shades).reshape(2, 2), [[0, 0.5], [0, 0.05]])
    found = " ".join(written(figure))
    assert "AUC: 0.50 light, 1.00 dark" in found
    assert "found: 0.00 light, 1.00 dark" in found


def test_a_difference_without_limits_has_its_middle_at_nothing() -> None:
    cells = plots.Cells([[-0.01, 0.05]], rows=["blur"], columns=["1", "2"])
    found = " ".join(written(plots.heat_table(cells, quantity="difference", number="+.2f", signed=True)))
    assert "difference: -0.05 purple, 0 white, +0.05 green" in found


def test_no_difference_is_the_middle_also_where_there_is_no_other() -> None:
    cells = plots.Cells([[0.0, 0.0]], rows=["blur"], columns=["1", "2"])
    (mesh,) = plots.heat_table(cells, quantity="difference", signed=True).axes[0].collections
    np.testing.assert_allclose(np.asarray(mesh.get_array()).ravel(), 0.5)
