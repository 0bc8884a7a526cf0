"""How the default model stands up to the suites of robustness; writes a section of docs/default-model.md.

    python scripts/default_robustness.py ../shared OUT                      OUT/robustness.json and pictures
    python scripts/default_robustness.py ../shared OUT --docs docs/default-model.md
    python scripts/default_robustness.py ../shared OUT --model BUNDLE --against OUT/robustness.json

DFDC faces of the test groups: only crops exist, so the crops are degraded. Portraits of people that no model saw: the
whole picture is degraded, then the face is looked for and cut. As many faces as --minutes allow, drawn by the hash of
their names; the number is stated. The AUC is over DFDC faces; false alarms also over portraits.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from default_faces import position, side_of

from telltale import faces, metrics, perturb, plots
from telltale.aggregate import calibrate
from telltale.bundle import load_bundle
from telltale.crops import CropSpec, centre_square, crop_face
from telltale.evaluate._files import false_alarm_table, robustness_table
from telltale.evaluate._grid import Robustness
from telltale.evaluate._robustness import clean_bar, differences, share_above
from telltale.runtime import BATCH_SIZE, Scorer
from telltale.types import Clip, Frame, RgbImage

BEGIN, END = "<!-- robustness: begin -->", "<!-- robustness: end -->"
FEWEST, MOST = 40, 400
SHARE_OF_PORTRAITS = 0.25
CELLS = [(kind, level) for kind in perturb.KINDS for level in perturb.LEVELS if kind != "flip" or level == 1]
Picture = tuple[str, int, RgbImage]
"""Name, label, pixels."""


def decoded(data: bytes) -> RgbImage:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("a picture does not decode")
    return np.asarray(bgr[..., ::-1], np.uint8)


def dfdc(shared: Path, n: int) -> list[Picture]:
    """`n` reals and `n` fakes of the test groups."""
    folder = shared / "data/dfdc_faces"
    with (folder / "metadata.csv").open(newline="") as file:
        meta = {row["videoname"].removesuffix(".mp4"): row for row in csv.DictReader(file)}
    names: dict[int, list[tuple[float, str]]] = {0: [], 1: []}
    for video, row in meta.items():
        group = row["original"].removesuffix(".mp4") or video
        if side_of(group, train=0.8, val=0.1) == "test":
            names[row["label"] == "FAKE"].append((position(video), video))
    wanted = {video: label for label, found in names.items() for _, video in sorted(found)[:n]}
    pictures: list[Picture] = []
    for path in sorted(folder.glob("faces-*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".jpg") and Path(name).stem in wanted:
                    pictures.append((Path(name).stem, wanted[Path(name).stem], decoded(archive.read(name))))
    return pictures


def portraits(shared: Path, n: int) -> list[Picture]:
    """Whole pictures of `n` people of the test side."""
    found: list[tuple[float, Path, str]] = []
    for path in sorted((shared / "data/portraits").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            people = [name for name in archive.namelist() if name.endswith(".jpg")]
        found += [
            (position(Path(m).stem), path, m) for m in people if side_of(Path(m).stem, train=0.72, val=0.08) == "test"
        ]
    pictures = []
    for _, path, name in sorted(found)[:n]:
        with zipfile.ZipFile(path) as archive:
            pictures.append((Path(name).stem, 0, decoded(archive.read(name))))
    return pictures


class Judge:
    """A model, and the detector that its card names."""

    def __init__(self, model: str) -> None:
        self.scorer = Scorer(load_bundle(model), n_threads=2)
        self.card = self.scorer.bundle.card
        config = faces.DetectorConfig(side_px=self.card.detector.side_px, n_threads=2)
        self.detector = faces.create(self.card.detector.name, config=config)

    def crops(self, pictures: list[Picture], cell: tuple[str, int] | None, *, whole: bool) -> list[RgbImage | None]:
        """What the model is shown of each picture after the cell's change; None where no face is found."""
        return [self._crop(name, rgb, cell, whole) for name, _, rgb in pictures]

    def _crop(self, name: str, rgb: RgbImage, cell: tuple[str, int] | None, whole: bool) -> RgbImage | None:
        if cell is not None:
            rgb = perturb.degrade(rgb, *cell, rng=perturb.rng_of(name, *cell))
        if not whole:
            return centre_square(rgb, CropSpec(kind="centre_square", size_px=self.card.size_px))
        found, _ = faces.detect_still(self.detector, Frame(0, 0.0, rgb))
        if not found:
            return None
        largest = max(found, key=lambda face: face.width_px * face.height_px)
        return crop_face(rgb, largest.box_xyxy, largest.points, self.card.crop)

    def p_fake(self, crops: list[RgbImage | None]) -> npt.NDArray[np.float64]:
        """NaN where there is no crop."""
        n_frames = self.card.n_frames
        shown = {i: crop for i, crop in enumerate(crops) if crop is not None}
        at = list(shown)
        found = np.full(len(crops), np.nan)
        for start in range(0, len(at), BATCH_SIZE):
            some = at[start : start + BATCH_SIZE]
            clips = [
                Clip(0, np.arange(n_frames, dtype=float), np.stack([shown[i]] * n_frames), np.ones(n_frames, bool))
                for i in some
            ]
            found[some] = calibrate(self.scorer.score(clips).logit, self.card.calibration)
        return found


def grid_of(judge: Judge, crops: list[Picture], people: list[Picture]) -> tuple[Robustness, dict[str, Any]]:
    label = np.array([picture[1] for picture in crops])
    nobody = np.zeros(len(people), np.int64)
    clean = judge.p_fake(judge.crops(crops, None, whole=False))
    bar = clean_bar(label, clean)
    clean_people = judge.p_fake(judge.crops(people, None, whole=True))
    auc: dict[tuple[str, int], float] = {}
    fpr: dict[tuple[str, int], float | None] = {}
    far: dict[tuple[str, int], float | None] = {}
    missed: dict[tuple[str, int], float] = {}
    for number, cell in enumerate(CELLS, start=1):
        p = judge.p_fake(judge.crops(crops, cell, whole=False))
        auc[cell], fpr[cell] = metrics.auc(label, p), share_above(label, p, bar)
        q = judge.p_fake(judge.crops(people, cell, whole=True))
        far[cell], missed[cell] = share_above(nobody, q, bar), float(np.isnan(q).mean())
        print(f"{number}/{len(CELLS)} {cell[0]} {cell[1]}: AUC {auc[cell]:.3f}", flush=True)

    def table(cells: Any) -> tuple[tuple[float | None, ...], ...]:
        return tuple(tuple(cells.get((kind, level)) for level in perturb.LEVELS) for kind in perturb.KINDS)

    found = Robustness(
        kinds=tuple(perturb.KINDS), levels=perturb.LEVELS, auc=table(auc), fpr=table(fpr),
        clean_auc=metrics.auc(label, clean), clean_bar=bar,
    )  # fmt: skip
    more = {
        "portraits_fpr": table(far), "portraits_no_face": table(missed),
        "portraits_clean_fpr": share_above(nobody, clean_people, bar),
        "n_real": int((label == 0).sum()), "n_fake": int(label.sum()), "n_portraits": len(people),
        "model": {"name": judge.card.name, "sha256": judge.scorer.bundle.sha256},
    }  # fmt: skip
    return found, more


def affordable(judge: Judge, shared: Path, minutes: float) -> int:
    """Faces of each class that all cells can be done for in that time, measured on a few."""
    some, people = dfdc(shared, 8), portraits(shared, 4)
    judge.p_fake(judge.crops(some, None, whole=False))
    started = time.perf_counter()
    for cell in (("blur", 3), ("two_passes", 3), ("noise", 3)):
        judge.p_fake(judge.crops(some, cell, whole=False))
        judge.p_fake(judge.crops(people, cell, whole=True))
    of_eight_s = (time.perf_counter() - started) / 3
    n = int(8 * minutes * 60 / (of_eight_s * len(CELLS)))
    return max(FEWEST, min(MOST, n))


def section(found: Robustness, more: dict[str, Any]) -> str:
    weak = ", ".join(f"{kind.replace('_', ' ')} {level} ({auc:.2f})" for kind, level, auc in found.weakest(8))
    lines = [
        BEGIN,
        f"Model `{more['model']['name']}`, SHA-256 `{more['model']['sha256'][:16]}…`; {more['n_real']} real and "
        f"{more['n_fake']} fake DFDC test faces (crops degraded), {more['n_portraits']} portraits of held-out people "
        "(whole pictures degraded, then the face found and cut). AUC by level; false alarms: share of reals above the "
        f"score that 5 % of the clean DFDC reals exceed ({found.clean_bar or 0:.2f}), mean over the levels.",
        "",
        "| kind | 1 | 2 | 3 | 4 | 5 | mean | false alarms, DFDC | portraits | no face found |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows = zip(found.kinds, found.auc, found.fpr, more["portraits_fpr"], more["portraits_no_face"], strict=True)
    for kind, auc, fpr, far, missed in rows:
        cells = " | ".join("" if value is None else f"{value:.2f}" for value in auc)
        rates = " | ".join(f"{np.mean([v for v in values if v is not None]):.0%}" for values in (fpr, far, missed))
        lines.append(f"| {kind.replace('_', ' ')} | {cells} | {found.kind_means[kind]:.3f} | {rates} |")
    lines += [
        "",
        f"As it is: AUC {found.clean_auc:.3f}, portraits {more['portraits_clean_fpr']:.0%} above the bar. Mean of all "
        f"kinds: **AUC {found.grand_mean:.3f}**, false alarms {found.fpr_mean:.0%} on DFDC. **Weakest cells**: {weak}.",
        END,
    ]
    return "\n".join(lines)


def put_into(path: Path, text: str) -> None:
    said = path.read_text("utf-8")
    if BEGIN not in said:
        said += (
            f"\n## Robustness\n\n`python scripts/default_robustness.py ../shared OUT --docs {path}`\n\n{BEGIN}\n{END}\n"
        )
    start, end = said.index(BEGIN), said.index(END) + len(END)
    path.write_text(said[:start] + text + said[end:], "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--minutes", type=float, default=4.5)
    parser.add_argument("--faces", type=int, help="of each class; instead of --minutes")
    parser.add_argument("--against", type=Path, help="another model's robustness.json: the difference is drawn too")
    parser.add_argument("--docs", type=Path, help="the page whose section is written anew")
    given = parser.parse_args()
    judge = Judge(given.model)
    n = given.faces or affordable(judge, given.shared, given.minutes)
    found, more = grid_of(judge, dfdc(given.shared, n), portraits(given.shared, max(10, round(n * SHARE_OF_PORTRAITS))))
    given.out.mkdir(parents=True, exist_ok=True)
    said = {"grid": found.model_dump(mode="json"), **more}
    (given.out / "robustness.json").write_text(json.dumps(said, indent=1) + "\n")
    (given.out / "robustness.png").write_bytes(plots.to_png(robustness_table(found, judge.card.name)))
    (given.out / "robustness_fpr.png").write_bytes(plots.to_png(false_alarm_table(found, judge.card.name)))
    if given.against is not None:
        other = Robustness.model_validate(json.loads(given.against.read_text())["grid"])
        print(f"mean AUC less that of {given.against}: {differences('other', other, 'this', found).mean:+.3f}")
    text = section(found, more)
    print(text)
    if given.docs is not None:
        put_into(given.docs, text)


if __name__ == "__main__":
    main()
