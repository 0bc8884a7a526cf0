"""What `compare --out` writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from telltale import plots
from telltale._csv import to_csv
from telltale._files import drop_earlier, write_files
from telltale.evaluate._files import noted
from telltale.evaluate._measure import leak_words, or_dash
from telltale.metrics import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from telltale.evaluate import Measures, Scored
    from telltale.evaluate._grid import RobustnessDifference
    from telltale.evaluate.comparison import Comparison

_SHOWN = ("auc", "ap", "accuracy", "balanced_accuracy", "tpr_at_1pct_fpr", "tpr_at_5pct_fpr")
_JSON_NAME = "comparison.json"
_NOT_ALWAYS = re.compile(r"(roc|precision_recall|robustness_\d+)\.png")
"""Files that some comparisons write and others do not."""


def write(comparison: Comparison, scored: Sequence[Scored], out: Path) -> None:
    """JSON, two tables and pictures into `out`, all or nothing; what an earlier comparison alone wrote goes.

    Raises `OutputError`.
    """
    files = {
        _JSON_NAME: (comparison.model_dump_json(indent=1) + "\n").encode(),
        "figures.csv": _figures_csv(comparison),
        "differences.csv": _differences_csv(comparison),
    }
    figures = {"figures": _table(comparison)}
    curves = _curves(comparison, scored)
    if curves:
        figures["roc"] = plots.roc([noted(curve, of, "auc", interval=False) for curve, of in curves])
        figures["precision_recall"] = plots.precision_recall(
            [noted(curve, of, "ap", interval=False) for curve, of in curves]
        )
    for number, grid in enumerate(comparison.robustness, start=1):
        figures[f"robustness_{number}"] = _difference_table(grid)
    warning = " ".join(
        leak_words(said.leaked_groups, of=f" ({name})")
        for name, said in zip(comparison.names, comparison.evaluations, strict=True)
        if said.leaked_groups
    )
    files |= {f"{name}.png": plots.to_png(figure, warning=warning) for name, figure in figures.items()}
    is_again = (out / _JSON_NAME).exists()
    write_files(out, files)
    if is_again:
        there = {path.name for path in out.iterdir() if _NOT_ALWAYS.fullmatch(path.name)}
        drop_earlier(out, there - files.keys())


def _curves(comparison: Comparison, scored: Sequence[Scored]) -> list[tuple[plots.Scored, Measures]]:
    """Video level, each model on what it judged."""
    found = []
    for name, one, said in zip(comparison.names, scored, comparison.evaluations, strict=True):
        known = np.isfinite(one.p_video)
        label = one.faces.label[one.first][known]
        if said.video.auc is not None:
            found.append((plots.Scored(label, one.p_video[known], name=name), said.video))
    return found


def _table(comparison: Comparison) -> Figure:
    return plots.heat_table(
        plots.Cells(
            [[getattr(said.video, name) for name in _SHOWN] for said in comparison.evaluations],
            rows=comparison.names,
            columns=[name.replace("_", " ") for name in _SHOWN],
        ),
        quantity="each figure",
        limits=(0.0, 1.0),
        title="Models side by side",
        note="videos",
    )


def _difference_table(grid: RobustnessDifference) -> Figure:
    return plots.heat_table(
        plots.Cells(
            grid.auc,
            rows=[kind.replace("_", " ") for kind in grid.kinds],
            columns=list(map(str, grid.levels)),
        ),
        quantity="difference of AUC",
        limits=(-0.2, 0.2),
        number="+.2f",
        signed=True,
        title=f"{grid.second} less {grid.first}",
        note=f"mean {or_dash(grid.mean, '+.3f')}",
    )


def _figures_csv(comparison: Comparison) -> bytes:
    rows = []
    for name, said in zip(comparison.names, comparison.evaluations, strict=True):
        for level, measures in (("face", said.frame), ("video", said.video)):
            for figure in (*HIGHER_IS_BETTER, "ece_by_chance"):
                low, high = measures.ci95.get(figure, (None, None))
                rows.append([name, level, measures.n, said.abstained, figure, getattr(measures, figure), low, high])
    return to_csv(["model", "level", "n", "abstained", "figure", "value", "low", "high"], rows)


def _differences_csv(comparison: Comparison) -> bytes:
    rows = [
        [pair.first, pair.second, level, n, figure, found.value, *found.ci95, "yes" if found.clear else "no"]
        for pair in comparison.differences
        for level, n, differences in (("face", pair.n_faces, pair.frame), ("video", pair.n_videos, pair.video))
        for figure, found in differences.items()
    ]
    return to_csv(["first", "second", "level", "n", "figure", "second_less_first", "low", "high", "clear"], rows)
