"""Every figure is labelled, the same each time, and safe from what a data set is called."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from make_figures import FIGURES, HOSTILE, picture
from telltale import plots
from telltale.errors import MissingExtra, OutputError, UsageError
from telltale.metrics import AT_HALF
from telltale.plots import Scored, SearchPoint, Tile

pytest.importorskip("matplotlib", reason="figures need telltale[analyze]")
if TYPE_CHECKING:
    from matplotlib.figure import Figure


def texts(figure: Figure) -> str:
    """Everything that is written in a figure."""
    from matplotlib.text import Text

    plots.to_png(figure)
    found = figure.findobj(Text)
    return "\n".join(text.get_text() for text in found if isinstance(text, Text))


def test_there_is_a_figure_here_for_every_public_one() -> None:
    not_figures = {"Cells", "Class", "Scored", "SearchPoint", "Tile", "save", "to_png"}
    assert set(FIGURES) == set(plots.__all__) - not_figures


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_each_time_whatever_the_users_own_style(name: str) -> None:
    import matplotlib

    first = plots.to_png(FIGURES[name]("Deepfakes"))
    assert Image.open(io.BytesIO(first)).info.keys() <= {"dpi"}
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9, "image.cmap": "hot"}):
        assert plots.to_png(FIGURES[name]("Deepfakes")) == first  # nothing of theirs, and nothing of the date


@pytest.mark.parametrize("name", FIGURES)
def test_drawing_leaves_the_users_settings_alone(name: str) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.to_png(FIGURES[name]("Deepfakes"))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", FIGURES)
def test_a_hostile_name_is_shown_as_text(name: str) -> None:
    found = texts(FIGURES[name](HOSTILE))
    assert "\u202e" not in found
    assert "中" not in found
    if name not in ("before_after", "picture_grid", "heat_table"):
        assert "a\\u202eb" in found


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"search_results", "timeline", "picture_grid", "before_after"}))
def test_a_figure_says_over_how_many(name: str) -> None:
    assert "n = " in texts(FIGURES[name]("Deepfakes"))


def test_the_names_of_a_long_legend_and_their_values_are_there() -> None:
    found = texts(plots.class_counts({"train": {"real": 720, "FaceSwap": 1719}, "test": {"real": 140}}))
    for expected in ("train", "test", "1,719", "● real", "▲ FaceSwap", "2,579 videos, of them 1,719 fake (67%)"):
        assert expected in found


def test_a_rate_of_less_than_one_real_is_called_no_false_alarm() -> None:
    few, many = ((np.arange(2 * n) >= n, np.linspace(0, 1, 2 * n)) for n in (60, 100))
    assert "100% at no false alarm\n100% at 5%" in texts(plots.roc([Scored(*few)]))
    assert "100% at 1%\n100% at 5%" in texts(plots.roc([Scored(*many)]))


def test_a_confusion_says_where_the_line_was_drawn() -> None:
    assert "at a score of .5" in texts(plots.confusion([[9, 1], [1, 9]], note=AT_HALF))


def test_a_warning_stands_over_the_figure_and_changes_nothing_in_it() -> None:
    plain, warned = (
        np.asarray(Image.open(io.BytesIO(plots.to_png(FIGURES["picture_grid"]("a"), warning=text))).convert("RGB"))
        for text in ("", "LEAK: 3 groups of this side were learned from.")
    )
    height = len(warned) - len(plain)
    assert height > 0
    assert (warned[height:] == plain).all()
    assert (warned[:height] < 200).any()


def test_boxes_that_reach_outside_a_picture_are_cut_at_its_edge() -> None:
    boxes = np.array([[-50, -50, 500, 500]], np.float32)
    outside = plots.to_png(plots.picture_grid([Tile(picture(), "fake", boxes_xyxy=boxes)] * 2, n_columns=2))
    without = plots.to_png(plots.picture_grid([Tile(picture(), "fake")] * 2, n_columns=2))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(outside))), np.asarray(Image.open(io.BytesIO(without))))


def test_a_reliability_interval_stays_between_0_and_1() -> None:
    certain = Scored(np.array([0] * 5 + [1] * 5), np.array([0.0] * 5 + [1.0] * 5))
    figure = plots.reliability(certain)
    bars = [bar for axes in figure.axes for container in axes.containers for bar in getattr(container, "lines", ())]
    assert bars
    plots.to_png(figure)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Scored(np.array([0, 2]), np.array([0.1, 0.2])), "is_fake must be 0 or 1"),
        (lambda: Scored(np.array([0, 1]), np.array([0.1, 1.2])), "p_fake must be 0-1"),
        (lambda: Scored(np.array([0, 1]), np.array([0.1, np.nan])), "p_fake must be 0-1"),
        (lambda: Scored(np.array([0]), np.array([0.1, 0.2])), r"got \(1,\) and \(2,\)"),
        (lambda: Tile(np.zeros((4, 4), np.uint8)), r"rgb must be uint8 \(H, W, 3\)"),
        (lambda: Tile(picture(), boxes_xyxy=np.zeros(4, np.float32)), r"boxes_xyxy must be \(n, 4\)"),
        (lambda: SearchPoint({"a": 1}, ()), "folds"),
        (lambda: plots.roc([Scored(np.array([1, 1]), np.array([0.1, 0.2]), "m")]), "needs real and fake.* in m"),
        (lambda: plots.roc([]), "at least one set"),
        (lambda: plots.confusion([[1, 2]]), r"\(2, 2\)"),
        (lambda: plots.class_counts({}), "at least one class"),
        (lambda: plots.picture_grid([]), "at least one picture"),
        (lambda: plots.before_after([picture()], []), "got 1 and 0"),
        (lambda: plots.learning_curves({}), "at least one series"),
        (lambda: plots.timeline([]), "at least one person"),
        (lambda: plots.Cells([[1]], rows=["a", "b"], columns=["c"]), r"\(2, 1\), got \(1, 1\)"),
        (
            lambda: plots.heat_table(
                plots.Cells([[1]], rows=["a"], columns=["c"]), quantity="d", limits=(0, 1), signed=True
            ),
            "as far below 0 as above it",
        ),
        (lambda: plots.search_results([]), "at least one setting"),
        (lambda: plots.distribution({"real": [np.nan]}, quantity="size", unit="px"), "at least one number"),
        (lambda: plots.distribution({"real": [0, 1]}, quantity="s", unit="px", logarithmic=True), "above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wrong()


@pytest.mark.parametrize("values", [[5.0], [3.0, 3.0, 3.0], [0.001, 9000.0]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_distribution_of_few_or_equal_values_is_drawn(values: list[float], logarithmic: bool) -> None:
    plots.to_png(plots.distribution({"real": values}, quantity="size", unit="px", logarithmic=logarithmic))


def test_saving_is_atomic_and_makes_its_folder(tmp_path: Path) -> None:
    path = plots.save(plots.confusion([[1, 2], [3, 4]]), tmp_path / "new" / "confusion.png")
    assert path.read_bytes()[1:4] == b"PNG"
    assert [entry.name for entry in path.parent.iterdir()] == ["confusion.png"]


def test_a_figure_is_png_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"name it a\.png"):
        plots.save(plots.confusion([[1, 2], [3, 4]]), tmp_path / "a.pdf")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        plots.save(plots.confusion([[1, 2], [3, 4]]), tmp_path / "file" / "a.png")


def test_pyplot_is_never_imported() -> None:
    code = (
        "import sys; from telltale import plots; assert 'matplotlib' not in sys.modules;"
        "plots.to_png(plots.confusion([[1, 2], [3, 4]])); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'telltale\[analyze\]'"):
        plots.confusion([[1, 2], [3, 4]])
