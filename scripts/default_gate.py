"""Would a gate for faces unlike those of the training help? Measured for any bundle that gives its feature map.

    python scripts/default_gate.py ../shared RUN/faces                               tables from default_faces.py
    python scripts/default_gate.py ../shared RUN/faces --model BUNDLE --docs docs/default-model.md

A gate takes back `fake` where a signal is beyond what 95 % of the clean DFDC validation faces stay under. Signals:
distance of the pooled features to those of training faces (`telltale.gate`), with and without portraits and
self-blended fakes among the known (an export takes the first, of more faces: `train/_gate.py`); blur (variance of
the Laplacian), blockiness (edges on the 8-pixel grid), size of the face; beside them, a `fake` line that is simply
higher. Stated on validation and test faces: what it costs on clean DFDC faces, false alarms on reals of other sources
and on degraded reals, and what is left of the calls on fakes made of portraits, which no gate sees when it is fitted
to reals alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from default_faces import position

from telltale import faces, gate, perturb
from telltale.aggregate import Thresholds, calibrate
from telltale.bundle import load_bundle
from telltale.crops import CropSpec, crop_face
from telltale.runtime import BATCH_SIZE, Scorer
from telltale.sampling import SamplePlan
from telltale.train import FaceTable
from telltale.train._clips import cut_clips
from telltale.train._validation import _blend
from telltale.types import BoolArray, Clip, RgbImage
from telltale.video import read_frames

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Cut = tuple[RgbImage, float]
"""A crop, and the longer side of the face in px before it was cut."""
Signal = Callable[["Measured"], Array]
Outside = Callable[["Measured"], BoolArray]

ALARM = 0.05
N_BLENDS, EVERY = 60, 10
CELLS = (("defocus", 4), ("motion", 3), ("pad", 3), ("blur", 4), ("brightness", 4), ("hevc", 4))
SMALL_PX = (64.0, 44.0)
BEGIN, END = "<!-- gate: begin -->", "<!-- gate: end -->"


@dataclass(frozen=True)
class Measured:
    """Scores and signals of some faces, a row each."""

    p: Array
    features: Array
    blur: Array
    blocks: Array
    size: Array

    def __len__(self) -> int:
        return len(self.p)


def measured(scorer: Scorer, cuts: Sequence[Cut]) -> Measured:
    crops = [crop for crop, _ in cuts]
    logits, features = [], []
    for start in range(0, len(crops), BATCH_SIZE):
        clips = [Clip(0, np.zeros(1), crop[None], np.ones(1, bool)) for crop in crops[start : start + BATCH_SIZE]]
        scores, maps = scorer.score_with_features(clips)
        logits.append(scores.logit)
        features.append(maps.mean(axis=(2, 3)))
    return Measured(
        p=calibrate(np.concatenate(logits), scorer.bundle.card.calibration),
        features=np.concatenate(features).astype(np.float64),
        blur=np.array([cv2.Laplacian(_grey(crop), cv2.CV_64F).var() for crop in crops]),
        blocks=np.array([_blockiness(crop) for crop in crops]),
        size=np.array([size for _, size in cuts]),
    )


def _grey(crop: RgbImage) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)


def _blockiness(crop: RgbImage) -> float:
    """Steps across the 8-pixel grid over steps elsewhere; about 1 without compression."""
    steps = np.abs(np.diff(_grey(crop).astype(np.float64), axis=1)).mean(axis=0)
    phases = np.array([steps[phase::8].mean() for phase in range(8)])
    return float(phases.max() / max(float(np.median(phases)), 1e-6))


def distance_to(known: Array) -> Signal:
    unlimited = gate.fit(known, known, fitted_on="")
    return lambda of: unlimited.distance(of.features)


def pick(table: FaceTable, side: str, n: int, *, label: int) -> Rows:
    rows = np.flatnonzero((table.side == side) & (table.label == label))
    return rows[np.argsort([position(str(table.image_id[row])) for row in rows])][:n]


def as_they_are(table: FaceTable, rows: Rows, spec: CropSpec) -> Iterator[Cut]:
    for row in rows.tolist():
        yield _cut(table.decode(row), table.box_xyxy[row], spec)


def _cut(rgb: RgbImage, box: npt.NDArray[np.float32], spec: CropSpec) -> Cut:
    return crop_face(rgb, box, None, spec), float(max(box[2] - box[0], box[3] - box[1]))


def degraded(table: FaceTable, rows: Rows, spec: CropSpec) -> Iterator[Cut]:
    """Every cell of `CELLS`, and faces shrunk to `SMALL_PX`."""
    for row in rows.tolist():
        rgb, box, name = table.decode(row), table.box_xyxy[row], str(table.image_id[row])
        for cell in CELLS:
            done = perturb.degrade(rgb, *cell, rng=perturb.rng_of(name, *cell))
            yield _cut(done, (box * (done.shape[1] / rgb.shape[1])).astype(np.float32), spec)
        for px in SMALL_PX:
            scale = min(1.0, px / float(max(box[2] - box[0], box[3] - box[1])))
            size = max(2, round(rgb.shape[1] * scale)), max(2, round(rgb.shape[0] * scale))
            small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            yield _cut(small, (box * scale).astype(np.float32), spec)


def blends(table: FaceTable, rows: Rows, spec: CropSpec) -> Iterator[Cut]:
    """Self-blended fakes, as validation makes them."""
    reals = table.take(rows)
    clips = cut_clips(reals, 1)
    for place in range(len(rows)):
        box = reals.box_xyxy[place]
        yield _blend(reals, clips, place, place, spec)[0], float(max(box[2] - box[0], box[3] - box[1]))


def street(shared: Path, scorer: Scorer) -> Iterator[Cut]:
    """Every face that a scan would judge in every tenth frame."""
    card = scorer.bundle.card
    detector = faces.create(card.detector.name, config=faces.DetectorConfig(side_px=card.detector.side_px))
    for path in sorted((shared / "videos/crowd").glob("*.mp4")):
        for frame in read_frames(path, SamplePlan("every", EVERY)):
            for face in detector.detect([frame])[0]:
                if max(face.width_px, face.height_px) >= card.minimum.face_px:
                    yield _cut(frame.rgb, face.box_xyxy, card.crop)


@dataclass(frozen=True)
class Side:
    """What a gate is chosen on (validation) or stated for (test)."""

    real: Measured
    fake: Measured
    foreign: dict[str, Measured]
    """Reals of other sources, and degraded ones."""
    made: Measured
    """Fakes made of portraits."""


def side_of(name: str, tables: dict[str, FaceTable], scorer: Scorer, n: int, shared: Path) -> Side:
    spec, few = scorer.bundle.card.crop, max(5, n // 8)
    dfdc, portraits, talkers = (tables[table] for table in ("dfdc", "portraits", "talkers"))
    foreign = {
        "talkers": as_they_are(talkers, pick(talkers, name, n, label=0), spec),
        "portraits": as_they_are(portraits, pick(portraits, name, n, label=0), spec),
        "portraits, degraded": degraded(portraits, pick(portraits, name, few, label=0), spec),
        "DFDC, degraded": degraded(dfdc, pick(dfdc, name, few, label=0), spec),
    }
    if name == "test":
        foreign["street"] = street(shared, scorer)
    found = Side(
        real=measured(scorer, list(as_they_are(dfdc, pick(dfdc, name, n, label=0), spec))),
        fake=measured(scorer, list(as_they_are(dfdc, pick(dfdc, name, n, label=1), spec))),
        foreign={source: measured(scorer, list(cuts)) for source, cuts in foreign.items()},
        made=measured(scorer, list(blends(portraits, pick(portraits, name, N_BLENDS, label=0), spec))),
    )
    print(f"{name} measured", flush=True)
    return found


def gates(tables: dict[str, FaceTable], scorer: Scorer, n: int) -> dict[str, Signal]:
    """Name -> signal, fitted to training faces."""
    spec, dfdc, portraits = scorer.bundle.card.crop, tables["dfdc"], tables["portraits"]
    rows = [pick(dfdc, "train", n, label=label) for label in (0, 1)]
    people = pick(portraits, "train", n // 2, label=0)
    of_dfdc = measured(scorer, list(as_they_are(dfdc, np.concatenate(rows), spec))).features
    of_people = measured(scorer, list(as_they_are(portraits, people, spec))).features
    made = [*blends(portraits, people[:N_BLENDS], spec), *blends(dfdc, rows[0][:N_BLENDS], spec)]
    of_made = measured(scorer, made).features
    print("training faces measured", flush=True)
    return {
        "distance to DFDC": distance_to(of_dfdc),
        "distance to DFDC and portraits": distance_to(np.concatenate([of_dfdc, of_people])),
        "distance to these and blends": distance_to(np.concatenate([of_dfdc, of_people, of_made])),
        "blur": lambda of: -of.blur,
        "blockiness": lambda of: of.blocks,
        "size": lambda of: -of.size,
    }


def above(signal: Signal, limit: float) -> Outside:
    return lambda of: np.asarray(signal(of) > limit)


def table_of(side: Side, out: dict[str, Outside], thresholds: Thresholds, bar: float) -> list[str]:
    """A row a gate: `out` says of which faces it takes `fake` back."""
    sources, fake = list(side.foreign), thresholds.fake_above
    lines = [
        f"| gate | DFDC: more uncertain | fakes called | {' | '.join(sources)} | portraits' fakes | decided, wrong |",
        "|---" * (5 + len(sources)) + "|",
    ]
    everybody = [(side.real, 0), (side.fake, 1), *((of, 0) for of in side.foreign.values()), (side.made, 1)]
    for name, is_out in {"none": lambda of: np.zeros(len(of), bool), **out}.items():

        def called(of: Measured, line: float, is_out: Outside = is_out) -> float:
            return float(((of.p >= line) & ~is_out(of)).mean())

        lost = [float(((of.p >= fake) & is_out(of)).mean()) for of in (side.real, side.fake)]
        cells = [f"{np.mean(lost):.1%}", f"{called(side.fake, fake):.0%}"]
        cells += [f"{called(of, fake):.0%} ({called(of, bar):.0%})" for of in (*side.foreign.values(), side.made)]
        said_fake = np.concatenate([(of.p >= fake) & ~is_out(of) for of, _ in everybody])
        said_real = np.concatenate([of.p < thresholds.real_below for of, _ in everybody])
        label = np.concatenate([np.full(len(of), label) for of, label in everybody])
        decided, wrong = said_fake | said_real, np.where(label == 1, said_real, said_fake)
        cells.append(f"{decided.mean():.0%}, {wrong.sum() / max(decided.sum(), 1):.1%}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def section(model: str, sha256: str, val: Side, test: Side, signals: dict[str, Signal], thresholds: Thresholds) -> str:
    bar, fake = float(np.quantile(val.real.p, 1 - ALARM)), thresholds.fake_above
    clean = [val.real, val.fake]
    limits = {
        name: float(np.quantile(np.concatenate([f(of) for of in clean]), 1 - gate.ABSTAIN))
        for name, f in signals.items()
    }
    out = {name: above(signal, limits[name]) for name, signal in signals.items()}
    p = np.concatenate([of.p for of in clean])
    for share in (0.04, 0.08):
        line = float(np.quantile(p, 1 - max(float((p >= fake).mean()) - share, 0.0)))
        out[f"`fake` line at {line:.3f}"] = above(lambda of: -of.p, -line)
    counts = ", ".join(f"{name} {len(of)}" for name, of in test.foreign.items())
    said = (
        f"Model `{model}`, SHA-256 `{sha256[:16]}…`; {len(test.real)} real and {len(test.fake)} fake clean DFDC faces "
        f"a side; test reals: {counts}; {len(test.made)} fakes of portraits. Shares called fake at the `fake` line of "
        f"{fake:.3f}, in brackets at {bar:.3f}, the score that 5 % of DFDC's validation reals exceed. "
        "Last: how many of all these faces are decided, and how many of those wrongly."
    )
    tables = [
        "Validation:",
        "",
        *table_of(val, out, thresholds, bar),
        "",
        "Test:",
        "",
        *table_of(test, out, thresholds, bar),
    ]
    return "\n".join([BEGIN, said, "", *tables, END])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--faces", type=int, default=200, dest="n", help="of each class and set; an eighth is degraded")
    parser.add_argument("--docs", type=Path, help="the page whose section is written anew")
    given = parser.parse_args()
    scorer = Scorer(load_bundle(given.model), n_threads=2)
    tables = {name: FaceTable.read(given.tables / f"{name}.parquet") for name in ("dfdc", "portraits", "talkers")}
    signals = gates(tables, scorer, given.n)
    val, test = (side_of(name, tables, scorer, given.n, given.shared) for name in ("val", "test"))
    card = scorer.bundle.card
    text = section(card.name, scorer.bundle.sha256, val, test, signals, card.thresholds)
    print(text)
    if given.docs is not None:
        page = given.docs.read_text("utf-8")
        given.docs.write_text(page[: page.index(BEGIN)] + text + page[page.index(END) + len(END) :], "utf-8")


if __name__ == "__main__":
    main()
