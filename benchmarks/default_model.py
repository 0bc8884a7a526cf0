"""What the default model says about faces and clips it never saw, each figure beside its limit.

    python benchmarks/default_model.py ../shared [--model default] [--store DFDC_STORE] [--labelled]

  dfdc       the groups of dfdc_faces that the card does not know, balanced: AUC, accuracy, log loss, ECE, abstentions
  foreign    held-out portraits, frames of held-out talkers and of the street, scanned one by one as pictures
  stability  clips scanned with every box moved by 10 % of its side, and with yunet instead of mtcnn
  labelled   the four labelled clips; only where asked for, since they are to be looked at once

Exits 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from default_faces import TALKERS_TEST, position

from telltale import SamplePlan, Scanner, ScanSettings, extract, faces, read_frames
from telltale.datasets import read
from telltale.evaluate import EvaluateSettings, evaluate
from telltale.extract import extract_job
from telltale.prepare import PrepareSettings, prepare
from telltale.sandbox import Message
from telltale.types import Face, Frame, Report

SHIFT_FRAC = 0.10
PORTRAITS_TEST_FROM = 0.8
"""scripts/default_faces.py: the last fifth of the people by hash."""


class Check:
    """Prints figures and remembers whether one missed its limit."""

    def __init__(self) -> None:
        self.missed = 0

    def __call__(self, name: str, value: float, limit: float | None, *, at_least: bool = False) -> None:
        held = limit is None or (value >= limit if at_least else value <= limit)
        self.missed += not held
        bound = "" if limit is None else f"   limit {'>=' if at_least else '<='} {limit:g}{'' if held else '   MISSED'}"
        print(f"{name:<58}{value:8.4f}{bound}", flush=True)


def dfdc(check: Check, model: str, store: Path, perturb: str | None) -> None:
    said = evaluate(
        model, store, settings=EvaluateSettings(side="unseen", balanced=True, repeats=1000, perturb=perturb)
    )
    figures = said.frame
    print(f"dfdc: {figures.n} faces of {figures.n_groups} groups; 95 % intervals: {figures.ci95}")
    check("dfdc AUC", figures.auc or 0.0, 0.97, at_least=True)
    check("dfdc accuracy", figures.accuracy or 0.0, 0.90, at_least=True)
    check("dfdc log loss", figures.log_loss or 9.0, 0.25)
    check("dfdc ECE", figures.ece or 1.0, 0.03)
    total = sum(sum(called.values()) for called in said.verdicts.values())
    right = sum(said.verdicts[label].get(label, 0) for label in ("real", "fake"))
    wrong = said.verdicts["real"].get("fake", 0) + said.verdicts["fake"].get("real", 0)
    check("dfdc uncertain", 1 - (right + wrong) / total, 0.25)
    check("dfdc right of those decided", right / max(1, right + wrong), 0.95, at_least=True)
    print("dfdc called:", {label: dict(called) for label, called in said.verdicts.items()})
    for degraded in said.perturbed:
        check(f"dfdc AUC, {degraded.name}", degraded.frame.auc or 0.0, None)


def portraits(shared: Path, folder: Path) -> Iterator[Path]:
    for archive_path in sorted((shared / "data/portraits").glob("*.zip")):
        with zipfile.ZipFile(archive_path) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(".jpg")):
                if position(Path(name).stem) >= PORTRAITS_TEST_FROM:
                    path = folder / f"{Path(name).stem}.jpg"
                    path.write_bytes(archive.read(name))
                    yield path


def stills(clips: Sequence[Path], folder: Path, every: int) -> Iterator[Path]:
    for clip in clips:
        for number, frame in enumerate(read_frames(clip, SamplePlan("every", every))):
            path = folder / f"{clip.stem}-{number:03d}.png"
            Image.fromarray(frame.rgb).save(path)
            yield path


def foreign(check: Check, model: str, shared: Path) -> None:
    talkers = [path for path in sorted((shared / "videos/talkers").glob("*.mpg")) if path.stem in TALKERS_TEST]
    crowd = sorted((shared / "videos/crowd").glob("*.mp4"))
    sources: dict[str, Callable[[Path], Iterator[Path]]] = {
        "portraits": lambda folder: portraits(shared, folder),
        "talkers": lambda folder: stills(talkers, folder, 3),
        "crowd": lambda folder: stills(crowd, folder, 10),
    }
    everyone: Counter[str] = Counter()
    with Scanner(model) as scanner:
        for name, pictures in sources.items():
            called: Counter[str] = Counter()
            with tempfile.TemporaryDirectory() as folder:
                for path in pictures(Path(folder)):
                    report = scanner.scan(path)
                    called.update(track.label for track in report.tracks if track.p_fake is not None)
            n = sum(called.values())
            print(f"{name}: {n} faces judged: {dict(called)}")
            check(f"{name} called fake", called["fake"] / max(n, 1), 0.02)
            check(f"{name} called real", called["real"] / max(n, 1), 0.60, at_least=True)
            everyone.update(called)
    n = sum(everyone.values())
    check("all foreign reals called fake", everyone["fake"] / n, 0.02)
    check("all foreign reals called real", everyone["real"] / n, 0.60, at_least=True)


class Shifted:
    """A detector whose boxes are moved by a fixed share of their sides."""

    def __init__(self, detector: faces.FaceDetector, dx: float, dy: float) -> None:
        self.name, self._detector, self._by = detector.name, detector, np.array([dx, dy, dx, dy], np.float32)

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        def moved(face: Face) -> Face:
            box = np.asarray(face.box_xyxy, np.float32)
            sides = np.tile(box[2:] - box[:2], 2)
            return replace(face, box_xyxy=(box + sides * self._by).astype(np.float32))

        return [[moved(face) for face in found] for found in self._detector.detect(frames)]


class InProcess:
    """Runs the worker's job here, where a detector can be replaced."""

    def run(self, _job: str, args: dict[str, Any], **_: Any) -> Iterator[Message]:
        return extract_job(args)

    def extend(self, _deadline_s: float) -> None: ...

    def close(self) -> None: ...


@contextmanager
def shifted_boxes(dx: float, dy: float) -> Iterator[None]:
    kept = extract._detector

    def moved(name: str, config: faces.DetectorConfig) -> Any:
        return Shifted(kept(name, config), dx, dy)

    extract._detector = moved  # type: ignore[assignment]
    try:
        yield
    finally:
        extract._detector = kept


def p_fake(report: Report) -> float | None:
    return report.verdict.p_fake


def stability(check: Check, model: str, shared: Path, clips: Sequence[Path]) -> None:
    yunet = str(shared / "weights/yunet_n_640_640.onnx")
    moved: dict[str, list[float]] = {"shifted boxes": [], "yunet": []}
    with Scanner(model) as plain, Scanner(model) as shifted:
        shifted._worker.close()
        shifted._worker = InProcess()  # type: ignore[assignment]
        with Scanner(model, settings=ScanSettings(detector="yunet", detector_model=yunet)) as other:
            for clip in clips:
                base = p_fake(plain.scan(clip))
                if base is None:
                    continue
                for dx, dy in ((SHIFT_FRAC, 0), (-SHIFT_FRAC, 0), (0, SHIFT_FRAC), (0, -SHIFT_FRAC)):
                    with shifted_boxes(dx, dy):
                        p = p_fake(shifted.scan(clip))
                    if p is not None:
                        moved["shifted boxes"].append(abs(p - base))
                p = p_fake(other.scan(clip))
                if p is not None:
                    moved["yunet"].append(abs(p - base))
    for name, by in moved.items():
        check(f"p_fake moved by {name}, mean of {len(by)}", float(np.mean(by)), 0.1)


def labelled(check: Check, model: str, clips: Sequence[Path]) -> None:
    decided = wrong = 0
    with Scanner(model) as scanner:
        for clip in clips:
            report = scanner.scan(clip)
            truth = "fake" if "fake" in clip.stem else "real"
            print(f"{clip.name}: {report.verdict.label}, p_fake {report.verdict.p_fake}")
            decided += report.verdict.label in ("real", "fake")
            wrong += report.verdict.label in ("real", "fake") and report.verdict.label != truth
    check("labelled clips decided", decided, 3, at_least=True)
    check("labelled clips wrong", wrong, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--store", type=Path, help="A store of dfdc_faces, prepared with --no-detect.")
    parser.add_argument("--parts", nargs="+", default=["dfdc", "foreign", "stability"])
    parser.add_argument("--perturb", help="A suite whose AUCs are stated beside.")
    parser.add_argument("--labelled", action="store_true")
    given = parser.parse_args()
    check = Check()
    if "dfdc" in given.parts:
        with tempfile.TemporaryDirectory() as folder:
            store = given.store or Path(folder) / "dfdc.store"
            if given.store is None:
                prepare(read(given.shared / "data/dfdc_faces"), store, settings=PrepareSettings(detect=False))
            dfdc(check, given.model, store, given.perturb)
    if "foreign" in given.parts:
        foreign(check, given.model, given.shared)
    if "stability" in given.parts:
        clips = [*(given.shared / "videos/talkers").glob("*.mpg"), *(given.shared / "videos/crowd").glob("*.mp4")]
        stability(check, given.model, given.shared, sorted(clips))
    if given.labelled:
        labelled(check, given.model, sorted((given.shared / "videos/labelled").glob("*.mp4")))
    return int(check.missed > 0)


if __name__ == "__main__":
    sys.exit(main())
