"""Do heat maps say what the model reacts to? Each method against chance, with intervals.

    python benchmarks/explain_faithfulness.py faces/dfdc.parquet faces/portraits.parquet --write

FACES are data sets of face crops, or tables of faces; those of their test side are used (validation side where a table
has no such). Measured:

    restored    self-blended fakes are turned back into their originals, the hottest places first: how fast does the
                probability of "fake" fall? The only test without a foreign body in the picture
    early       the hottest fifth of the picture is blurred: how far does it fall?
    deletion    the same until all is blurred (Petsiuk et al., 2018), although no such picture was ever learned from
    insertion   places come back into a blurred face, the hottest first: how fast does it rise?
    inside      how much denser is the heat inside the blended region, where that is known?
    unblended   the same ratio on the same faces without the blend: what a map owes to faces looking like faces

The first four are means over the curve (`early`: over its first fifth), and stated as gains over chance on the same
faces: above 0 is better. Chance is a random map as coarse as the class activation map; a bump in the middle shows what
a map gains by simply pointing at the face. Intervals are 95 %, bootstrapped over faces. Methods that ask the model
hundreds of times a face are measured on the first `--n-slow`. `--write` puts the figures where the
documentation and the command's help take them from. A method beats chance where it does by `restored`, with the whole
interval. Exit code 1 unless cam does, and its heat is 1.5 times as dense inside.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale.aggregate import calibrate
from telltale.bundle import load_bundle
from telltale.crops import crop_face
from telltale.errors import TelltaleError
from telltale.explain import create, names
from telltale.explain._hiding import blurred
from telltale.runtime import Scorer
from telltale.selfblend import self_blend
from telltale.train._faces import FaceTable, read_faces
from telltale.types import Clip, Float32Array, Float64Array, RgbImage

CELLS = 20
"""A map is read off in so many by so many places."""
STEPS = 10
CURVES = ("restored", "early", "deletion", "insertion")
CONTROLS = ("random", "middle")
MIN_INSIDE = 1.5
SLOW = ("lime", "occlusion")
ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "src" / "telltale" / "explain" / "measured.json"
DOCS = ROOT / "docs" / "explain.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->"
_SETTINGS: dict[str, dict[str, Any]] = {"lime": {"n_samples": 200}}


@dataclass(frozen=True)
class Sample:
    """One fake, and where it was changed if that is known."""

    rgb: RgbImage
    mask: Float32Array | None = None
    original: RgbImage | None = None


@dataclass
class Curves:
    """Figures of one method, one entry a face."""

    restored: list[float] = field(default_factory=list)
    early: list[float] = field(default_factory=list)
    deletion: list[float] = field(default_factory=list)
    insertion: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    inside_unblended: list[float] = field(default_factory=list)
    outside_unblended: list[float] = field(default_factory=list)
    seconds: float = 0.0


def main() -> int:
    options = _options()
    scorer = Scorer(load_bundle(options.model), n_threads=options.threads)
    rng = np.random.default_rng(options.seed)
    methods = _usable(options.methods, scorer)
    samples = list(_samples([read_faces(path) for path in options.faces], scorer, options.n, rng))
    known, unknown = ([s for s in samples if (s.mask is not None) is is_known] for is_known in (True, False))
    print(f"{len(samples)} faces the model calls fake: {len(unknown)} of a data set, {len(known)} self-blended")
    # Both kinds in turn, so that what is measured on the first few is measured on both.
    samples = [sample for pair in zip_longest(known, unknown) for sample in pair if sample is not None]
    measured = {name: Curves() for name in (*CONTROLS, *methods)}
    for i, sample in enumerate(samples):
        for name, curves in measured.items():
            if name not in SLOW or i < options.n_slow:
                _measure(curves, name, sample, scorer, rng)
    figures = {name: _figures(curves, measured["random"], rng) for name, curves in measured.items()}
    _print(figures)
    about = {"model": scorer.bundle.sha256, "n": len(samples), "n_self_blended": len(known), "methods": figures}
    if options.write:
        FIGURES.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        head, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
        DOCS.write_text(head + BEGIN + _table(about) + END + rest.partition(END)[2], encoding="utf-8")
    cam = figures.get("cam")
    if cam is None:
        return 0
    return int(not (cam["beats_chance"] and cam["inside"][0] >= MIN_INSIDE))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faces", nargs="+", type=Path, metavar="FACES")
    parser.add_argument("--model", default="default")
    parser.add_argument("--methods", nargs="+", default=names(), choices=names())
    parser.add_argument("--n", type=int, default=200, help="faces")
    parser.add_argument("--n-slow", type=int, default=60, help=f"of them, for {' and '.join(SLOW)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"into {DOCS.name} and {FIGURES.name}")
    return parser.parse_args()


def _usable(methods: Sequence[str], scorer: Scorer) -> list[str]:
    """Those that fit the model; the others are told."""
    blank = _clip(np.zeros((scorer.bundle.card.size_px,) * 2 + (3,), np.uint8))
    usable = []
    for name in methods:
        quick = {"n_samples": 2} if name == "lime" else {}
        try:
            create(name, **quick).explain(scorer, blank)
        except TelltaleError as error:
            print(f"{name} is left out: {error}")
        else:
            usable.append(name)
    return usable


def _samples(tables: Sequence[FaceTable], scorer: Scorer, n: int, rng: np.random.Generator) -> Iterator[Sample]:
    """Half fakes of the data sets, half self-blended from reals with landmarks; only what the model calls fake."""
    left = {"fake": n // 2, "blend": n - n // 2}
    for kind in left:
        streams = [stream for table in tables if (stream := _of_kind(table, kind, scorer, rng)) is not None]
        while left[kind] and streams:
            for stream in list(streams):
                sample = next(stream, None)
                if sample is None:
                    streams.remove(stream)
                elif left[kind]:
                    left[kind] -= 1
                    yield sample


def _of_kind(table: FaceTable, kind: str, scorer: Scorer, rng: np.random.Generator) -> Iterator[Sample] | None:
    held_out = table.on("test")
    if not len(held_out):
        held_out = table.on("val")
    known = np.isfinite(held_out.points).all(axis=(1, 2))
    rows = np.flatnonzero(held_out.label == 1 if kind == "fake" else (held_out.label == 0) & known)
    if not len(rows):
        return None
    return _called_fake(held_out, rng.permutation(rows), kind, scorer, rng)


def _called_fake(
    table: FaceTable, rows: npt.NDArray[np.int64], kind: str, scorer: Scorer, rng: np.random.Generator
) -> Iterator[Sample]:
    card = scorer.bundle.card
    for row in rows:
        rgb, box = table.decode(int(row)), table.box_xyxy[row]
        if kind == "fake":
            sample = Sample(crop_face(rgb, box, None, card.crop))
        else:
            blend = self_blend(rgb, rng=rng, box_xyxy=box, points=table.points[row])
            mask = np.repeat(np.rint(255 * blend.mask)[..., None], 3, axis=2).astype(np.uint8)
            sample = Sample(
                crop_face(blend.rgb, box, None, card.crop),
                crop_face(mask, box, None, card.crop)[..., 0].astype(np.float32) / np.float32(255),
                crop_face(rgb, box, None, card.crop),
            )
        if float(calibrate(scorer.score([_clip(sample.rgb)]).logit, card.calibration)[0]) >= 0.5:
            yield sample


def _measure(curves: Curves, name: str, sample: Sample, scorer: Scorer, rng: np.random.Generator) -> None:
    started = time.perf_counter()
    heat = _heat(name, sample.rgb, scorer, rng)
    curves.seconds += time.perf_counter() - started
    order = _hottest_first(heat, rng)
    hidden = blurred(sample.rgb[None])[0]
    ways = [(sample.rgb, hidden), (hidden, sample.rgb)]
    if sample.original is not None:
        ways.append((sample.rgb, sample.original))
    falling, rising, *restored = _curves(ways, order, scorer)
    curves.deletion.append(_area(falling))
    curves.early.append(_area(falling[: STEPS // 5 + 1]))
    curves.insertion.append(_area(rising))
    curves.restored += [_area(curve) for curve in restored]
    if sample.mask is None or sample.original is None:
        return
    inside = sample.mask >= 0.5 * sample.mask.max()
    for into_in, into_out, of in (
        (curves.inside, curves.outside, heat),
        (curves.inside_unblended, curves.outside_unblended, None),
    ):
        shown = _heat(name, sample.original, scorer, rng) if of is None else of
        warm = np.maximum(shown, 0)
        share = warm / max(float(warm.mean()), 1e-9)
        into_in.append(float(share[inside].mean()))
        into_out.append(float(share[~inside].mean()))


def _heat(name: str, rgb: RgbImage, scorer: Scorer, rng: np.random.Generator) -> Float32Array:
    import cv2

    size = rgb.shape[0]
    if name == "random":
        coarse = rng.random((max(2, size // 32),) * 2, np.float32)
        return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    if name == "middle":
        axis = (np.arange(size) - (size - 1) / 2) / (0.25 * size)
        return np.asarray(np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / 2), np.float32)
    return create(name, **_SETTINGS.get(name, {})).explain(scorer, _clip(rgb)).heat


def _hottest_first(heat: Float32Array, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(S, S): in which of `STEPS` each pixel's cell comes, hottest in step 0; ties by chance."""
    import cv2

    size = heat.shape[0]
    cells = cv2.resize(heat, (CELLS, CELLS), interpolation=cv2.INTER_AREA).ravel()
    order = np.lexsort((rng.random(cells.size), -cells))
    step = np.empty(cells.size, np.int64)
    step[order] = np.arange(cells.size) * STEPS // cells.size
    index = np.arange(size) * CELLS // size
    return np.asarray(step.reshape(CELLS, CELLS)[index[:, None], index[None]])


def _curves(
    ways: Sequence[tuple[RgbImage, RgbImage]], step: npt.NDArray[np.int64], scorer: Scorer
) -> list[Float64Array]:
    """For each way (STEPS + 1,) probabilities of fake while its first picture turns into its second, cell by cell."""
    stages = [np.where((step < k)[..., None], after, before) for before, after in ways for k in range(STEPS + 1)]
    logits = scorer.score([_clip(rgb) for rgb in stages]).logit
    return list(calibrate(logits, scorer.bundle.card.calibration).reshape(len(ways), STEPS + 1))


def _area(p: Float64Array) -> float:
    """Mean height of a curve."""
    return float(np.mean((p[1:] + p[:-1]) / 2))


def _clip(rgb: RgbImage) -> Clip:
    return Clip(0, np.zeros(1), rgb[None], np.ones(1, np.bool_))


def _figures(curves: Curves, chance: Curves, rng: np.random.Generator) -> dict[str, Any]:
    """Each figure as [value, low, high]."""
    found: dict[str, Any] = {"n": len(curves.deletion), "n_self_blended": len(curves.restored)}
    for name in CURVES:
        mine = np.array(getattr(curves, name))
        theirs = np.array(getattr(chance, name)[: len(mine)])  # the same faces
        found[name] = _mean(mine, rng)
        found[f"{name}_gain"] = _mean(mine - theirs if name == "insertion" else theirs - mine, rng)
    found["inside"] = _ratio(np.array(curves.inside), np.array(curves.outside), rng)
    found["unblended"] = _ratio(np.array(curves.inside_unblended), np.array(curves.outside_unblended), rng)
    # Blur is nothing the model has learned from; being restored is the one deletion without a foreign body.
    found["beats_chance"] = found["restored_gain"][1] > 0
    found["seconds_a_face"] = round(curves.seconds / max(1, len(curves.deletion)), 3)
    return found


def _mean(values: Float64Array, rng: np.random.Generator) -> list[float]:
    if not len(values):
        return [float("nan")] * 3
    return _with_interval(values.mean, lambda rows: float(values[rows].mean()), len(values), rng)


def _ratio(inside: Float64Array, outside: Float64Array, rng: np.random.Generator) -> list[float]:
    if not len(inside):
        return [float("nan")] * 3
    return _with_interval(
        lambda: inside.mean() / max(outside.mean(), 1e-9),
        lambda rows: float(inside[rows].mean() / max(outside[rows].mean(), 1e-9)),
        len(inside),
        rng,
    )


def _with_interval(value: Any, again: Any, n: int, rng: np.random.Generator) -> list[float]:
    resampled = [again(rng.integers(0, n, n)) for _ in range(2000)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return [round(float(x), 4) for x in (value(), low, high)]


def _print(figures: dict[str, dict[str, Any]]) -> None:
    columns = (*(f"{name}_gain" for name in CURVES), "inside", "unblended")
    print(f"{'':10}" + "".join(f"{name:>24}" for name in columns) + f"{'s a face':>10}")
    for name, row in figures.items():
        cells = "".join(f"{f'{row[c][0]:.3f} [{row[c][1]:.3f}, {row[c][2]:.3f}]':>24}" for c in columns)
        print(f"{name:10}{cells}{row['seconds_a_face']:>10.2f}")


_NAMES = {"random": "chance: a random map", "middle": "chance: a bump in the middle"}


def _table(about: dict[str, Any]) -> str:
    """Markdown."""
    rows = [
        f"{about['n']} held-out faces that the default model (SHA-256 {about['model'][:12]}…) calls fake, "
        f"{about['n_self_blended']} of them self-blended:\n",
        "| map | faces | restored | early | deletion | insertion | heat inside | not blended | beats chance |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in about["methods"].items():
        gains = " | ".join("0" if name == "random" else _signed(row[f"{curve}_gain"]) for curve in CURVES)
        inside = " | ".join("{:.2f} ({:.2f} to {:.2f})".format(*row[name]) for name in ("inside", "unblended"))
        word = "–" if name in CONTROLS else "yes" if row["beats_chance"] else "**no**"
        rows.append(f"| {_NAMES.get(name, f'`{name}`')} | {row['n']} | {gains} | {inside} | {word} |")
    worse = {name: [c for c in CURVES if row[f"{c}_gain"][2] < 0] for name, row in about["methods"].items()}
    told = [f"`{name}` by *{'*, *'.join(curves)}*" for name, curves in worse.items() if curves and name not in CONTROLS]
    if told:
        rows += ["", f"Worse than chance, with the whole interval: {'; '.join(told)}."]
    return "\n".join(rows) + "\n"


def _signed(value: list[float]) -> str:
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*value)


if __name__ == "__main__":
    sys.exit(main())
