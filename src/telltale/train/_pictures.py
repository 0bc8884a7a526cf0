"""The pictures that a run leaves beside its bundle, unasked: learning curves, and what validation says of the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from telltale import plots
from telltale._files import write_files
from telltale.aggregate import Calibration, calibrate
from telltale.metrics import AT_HALF, auc, confusion
from telltale.train._history import read_history
from telltale.train._validation import ValidationSet, falls
from telltale.types import Float64Array


def learning_curves(run: Path, *, monitor: str = "val_auc") -> Path | None:
    """OUT/learning_curves.png from the metrics of every stage; None where no epoch was finished."""
    stages = [read_history(path) for path in _by_number(run.glob("stage-*/metrics.csv"))]
    rows = [row for stage in stages for row in stage]
    if not rows:
        return None
    curves: dict[str, dict[str, list[float]]] = {
        "loss": {"train": _column(rows, "loss"), "val": _column(rows, "val_loss")},
        "accuracy": {"train": _column(rows, "accuracy"), "val": _column(rows, "val_accuracy")},
        "AUC": {"val": _column(rows, "val_auc")},
        "learning rate": {"train": _column(rows, "lr")},
    }
    last = np.array(_column(stages[-1], monitor))
    best = int(np.nanargmin(last) if falls(monitor) else np.nanargmax(last)) if np.isfinite(last).any() else 0
    figure = plots.learning_curves(
        curves, stages=[len(stage) for stage in stages], best_epoch=len(rows) - len(stages[-1]) + best + 1
    )
    return plots.save(figure, run / "learning_curves.png")


def _by_number(paths: Iterable[Path]) -> list[Path]:
    """Files of stages in the order of the run: by name, stage 10 would come before stage 2."""
    numbered = {path.parent.name.removeprefix("stage-"): path for path in paths}
    return [numbered[number] for number in sorted((n for n in numbered if n.isdecimal()), key=int)]


def _column(rows: list[dict[str, Any]], name: str) -> list[float]:
    return [float(row.get(name) or "nan") for row in rows]


def validation_pictures(of: ValidationSet, logit: Float64Array, calibration: Calibration, folder: Path) -> None:
    """ROC, confusion and reliability of the validation faces, as PNG. Nothing where a class is missing."""
    judged = of.judged
    label, p = of.label[judged], calibrate(logit[judged], calibration)
    if len(np.unique(label)) < 2:
        return
    unit = "faces" if of.clips.shape[1] == 1 else "clips"
    scored = plots.Scored(label, p, name=f"validation {unit}", note=f"AUC {auc(label, p):.3f}")
    write_files(
        folder,
        {
            "roc.png": plots.to_png(plots.roc([scored])),
            "confusion.png": plots.to_png(plots.confusion(confusion(label, p), unit=unit, note=AT_HALF)),
            "reliability.png": plots.to_png(plots.reliability(scored)),
        },
    )
