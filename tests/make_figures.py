"""One of every figure, made of little, and a name that a figure must not be hurt by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from telltale import plots
from telltale.plots import Scored, SearchPoint, Tile
from telltale.types import FaceReport, FaceSource, TrackReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOSTILE = "a\u202eb$\\frac{$<b>\n中.mp4"


def scored(n: int = 200, name: str = "default") -> Scored:
    rng = np.random.default_rng(0)
    is_fake = rng.integers(0, 2, n)
    return Scored(is_fake, np.clip(rng.normal(0.35 + 0.3 * is_fake, 0.2), 0, 1), name, "AUC .86")


def picture(shade: int = 90, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    rgb = np.full((*size, 3), shade, np.uint8)
    rgb[4:9, 4:9] = 200
    return rgb


def track(id: int = 0, p_fake: float | None = 0.8) -> TrackReport:
    sources: tuple[FaceSource, ...] = ("detected", "interpolated", "detected")
    faces = tuple(
        FaceReport(pts_s=i / 2, box_xyxy=(0, 0, 9, 9), p_fake=p_fake, source=source, confidence=1)
        for i, source in enumerate(sources)
    )
    return TrackReport(id=id, start_s=0, end_s=1, p_fake=p_fake, label="fake", suspicious_s=((0.0, 1.0),), faces=faces)


FIGURES: dict[str, Callable[[str], Figure]] = {
    "class_counts": lambda name: plots.class_counts({"train": {"real": 3, name: 5}, name: {"real": 2}}),
    "picture_grid": lambda name: plots.picture_grid([Tile(picture(), "real", name, name)] * 7, title=name),
    "before_after": lambda name: plots.before_after([picture()] * 9, [picture(40)] * 9, title=name),
    "learning_curves": lambda name: plots.learning_curves(
        {"loss": {"train": [1, 0.5], name: [1.1, np.nan]}}, stages=(1, 1), best_epoch=2, note="n = 9"
    ),
    "roc": lambda name: plots.roc([scored(), scored(150, name)]),
    "precision_recall": lambda name: plots.precision_recall([scored(200, name)]),
    "reliability": lambda name: plots.reliability(scored(), title=name),
    "risk_coverage": lambda name: plots.risk_coverage({name: ([0.1, 0.5, 1.0], [0.0, 0.05, 0.2])}, n=90),
    "confusion": lambda name: plots.confusion([[9, 1], [0, 0]], title=name, n_abstained=2),
    "score_histogram": lambda name: plots.score_histogram(scored(), thresholds=(0.2, 0.7), title=name),
    "timeline": lambda name: plots.timeline([track(), track(1, None)], thresholds=(0.2, 0.7), title=name),
    "heat_table": lambda name: plots.heat_table(
        plots.Cells([(0.5, None)], rows=[name], columns=["a", name]),
        quantity="AUC",
        note="n = 8",
    ),
    "search_results": lambda name: plots.search_results([SearchPoint({name: i}, (0.5, 0.6 + i)) for i in range(30)]),
    "distribution": lambda name: plots.distribution({"real": [1, 2, 3], name: [2.0, 8]}, quantity="size", unit="px"),
}
