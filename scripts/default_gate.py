"""Would a gate for faces unlike those of the training help? Measured, for any bundle that gives its feature map.

    python scripts/default_gate.py RUN/faces                     tables from scripts/default_faces.py
    python scripts/default_gate.py RUN/faces --model BUNDLE --faces 300

Four signals of "outside what the model knows": distance of the pooled feature map to the training faces (Mahalanobis,
Lee et al., NeurIPS 2018, in the first 64 principal directions), blur (variance of the Laplacian), blockiness (edges on
the 8-pixel grid), size of the face. Each abstains from the worst 10 % of clean DFDC validation faces. Stated for each:
abstentions on DFDC test faces, and false alarms on reals of other sources before and after, at the score that 5 % of
the DFDC validation reals exceed. The gate is worth having where it halves these at 10 % more abstentions or less.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from default_faces import position

from telltale.aggregate import calibrate
from telltale.bundle import load_bundle
from telltale.crops import crop_face
from telltale.runtime import BATCH_SIZE, Scorer
from telltale.train import FaceTable
from telltale.types import Clip, RgbImage

Array = npt.NDArray[np.float64]
ABSTAIN, ALARM = 0.10, 0.05
N_DIRECTIONS = 64
SHRINK = 0.1
"""Of each variance towards their mean: few faces, many directions."""


class Measured:
    """Scores and signals of some faces."""

    def __init__(self, scorer: Scorer, table: FaceTable, rows: npt.NDArray[np.intp]) -> None:
        crops, sizes = [], []
        for row in rows:
            rgb = table.decode(int(row))
            box = table.box_xyxy[row]
            crops.append(crop_face(rgb, box, None, scorer.bundle.card.crop))
            sizes.append(float(max(box[2] - box[0], box[3] - box[1])))
        self.size, self.label = np.array(sizes), table.label[rows]
        self.blur = np.array([cv2.Laplacian(_grey(crop), cv2.CV_64F).var() for crop in crops])
        self.blocks = np.array([_blockiness(crop) for crop in crops])
        self.p, self.features = _scored(scorer, crops)


def _grey(crop: RgbImage) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)


def _blockiness(crop: RgbImage) -> float:
    """Steps across the 8-pixel grid over steps elsewhere; about 1 without compression."""
    steps = np.abs(np.diff(_grey(crop).astype(np.float64), axis=1)).mean(axis=0)
    phases = np.array([steps[phase::8].mean() for phase in range(8)])
    return float(phases.max() / max(float(np.median(phases)), 1e-6))


def _scored(scorer: Scorer, crops: list[RgbImage]) -> tuple[Array, Array]:
    logits, features = [], []
    for start in range(0, len(crops), BATCH_SIZE):
        clips = [Clip(0, np.zeros(1), crop[None], np.ones(1, bool)) for crop in crops[start : start + BATCH_SIZE]]
        scores, maps = scorer.score_with_features(clips)
        logits.append(scores.logit)
        features.append(maps.mean(axis=(2, 3)))
    p = calibrate(np.concatenate(logits), scorer.bundle.card.calibration)
    return p, np.concatenate(features).astype(np.float64)


def distance_to(known: Array) -> Callable[[Array], Array]:
    """Mahalanobis distance to `known` (n, features) in its first directions."""
    mean = known.mean(axis=0)
    _, spread, directions = np.linalg.svd(known - mean, full_matrices=False)
    n = min(N_DIRECTIONS, len(spread))
    variance = spread[:n] ** 2 / len(known)
    variance = (1 - SHRINK) * variance + SHRINK * variance.mean()
    return lambda features: np.sqrt((((features - mean) @ directions[:n].T) ** 2 / variance).sum(axis=1))


def pick(table: FaceTable, side: str, n: int, *, label: int | None = None) -> npt.NDArray[np.intp]:
    wanted = table.side == side if label is None else (table.side == side) & (table.label == label)
    rows = np.flatnonzero(wanted)
    return rows[np.argsort([position(str(table.image_id[row])) for row in rows])][:n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--faces", type=int, default=200, dest="n", help="of each set")
    given = parser.parse_args()
    scorer = Scorer(load_bundle(given.model), n_threads=2)
    tables = {name: FaceTable.read(given.tables / f"{name}.parquet") for name in ("dfdc", "portraits", "talkers")}
    known = Measured(scorer, tables["dfdc"], pick(tables["dfdc"], "train", 2 * given.n))
    val = Measured(scorer, tables["dfdc"], pick(tables["dfdc"], "val", 2 * given.n))
    test = Measured(scorer, tables["dfdc"], pick(tables["dfdc"], "test", 2 * given.n))
    foreign = {
        name: Measured(scorer, tables[name], pick(tables[name], "test", given.n)) for name in ("portraits", "talkers")
    }
    distance = distance_to(known.features)
    signals: dict[str, Callable[[Measured], Array]] = {
        "feature distance": lambda m: distance(m.features),
        "blur": lambda m: -m.blur,
        "blockiness": lambda m: m.blocks,
        "size": lambda m: -m.size,
    }
    bar = float(np.quantile(val.p[val.label == 0], 1 - ALARM))
    print(f"{given.model}: {2 * given.n} DFDC faces a side; bar {bar:.3f}")
    columns = " | ".join(f"{name}: abstains, false alarms before -> after" for name in foreign)
    print(f"| signal | abstains, DFDC test | {columns} |")
    print("|---" * (2 + len(foreign)) + "|")
    for name, signal in signals.items():
        limit = np.quantile(signal(val), 1 - ABSTAIN)
        cells = [f"{(signal(test) > limit).mean():.0%}"]
        for other in foreign.values():
            out, alarm = signal(other) > limit, other.p > bar
            cells.append(f"{out.mean():.0%}, {alarm.mean():.0%} -> {(alarm & ~out).mean():.0%}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
