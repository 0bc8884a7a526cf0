"""Random forest, SVM and logistic regression at the size of the paper: 13,984 faces of 320 x 320 px, 307,200 features.

    python benchmarks/pixels.py                        # all three on two threads, then the comparison with plain SVC
    python benchmarks/pixels.py --only svm --size 64 --faces 2000

Each runs in a process of its own, so that its memory is its own. Faces are the crops of the deepfake-faces set,
enlarged (`--data`), or smooth noise where that is absent: figures of noise mean nothing, times do. What is timed is
learning four fifths and deciding the last fifth, split by image as the paper did; reading is stated beside.

The paper (scikit-learn, float64): SVM 43,579 s and 63 GB, logistic regression 82,117 s and 83 GB, forest 576 s and
17 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale import datasets, metrics
from telltale.crops import CropSpec, centre_square
from telltale.models._svm import Svm
from telltale.models.pixels import create, matrix
from telltale.types import FaceRecord, RgbImage

LIMITS = {"random-forest": (300, 17.0), "svm": (360, 10.0), "logistic": (600, 20.0)}
"""Seconds on two cores, GB."""
PAPER_S = {"random-forest": 576, "svm": 43_579, "logistic": 82_117}
AGREEMENT = 0.999
DATA = Path(__file__).parents[2] / "shared" / "data" / "dfdc_faces"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--faces", type=int, default=13_984)
    arguments.add_argument("--size", type=int, default=320)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--trees", type=int, default=100)
    arguments.add_argument("--only", choices=[*LIMITS, "agreement"], action="append")
    arguments.add_argument("--child", choices=[*LIMITS, "agreement"], help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        print(json.dumps(_agreement(given) if given.child == "agreement" else _measure(given)))
        return 0
    missed = False
    for what in given.only or [*LIMITS, "agreement"]:
        found = _in_a_process(what)
        if what == "agreement":
            missed |= _tell_agreement(found)
        else:
            missed |= _tell(what, found)
    return int(missed)


def _in_a_process(what: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--child", what]
    # libsvm takes one inner product at a time: threads for each would only wait for each other
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"} if what == "agreement" else None
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _tell(what: str, found: dict[str, Any]) -> bool:
    limit_s, limit_gb = LIMITS[what]
    print(
        f"{what}: {found['faces']:,} faces of {found['size']} px, read in {found['read_s']:.0f} s; learned and "
        f"decided in {found['wall_s']:.0f} s = {found['wall_s'] / limit_s:.2f} of {limit_s} s "
        f"({found['cpu_s']:.0f} s of processor time; the paper {PAPER_S[what]:,} s), peak {found['peak_gb']:.2f} GB = "
        f"{found['peak_gb'] / limit_gb:.2f} of "
        f"{limit_gb:g} GB; accuracy {found['accuracy']:.3f}, AUC {found['auc']:.3f}; {found['parts']}",
        flush=True,
    )
    return bool(found["wall_s"] > limit_s or found["peak_gb"] > limit_gb)


def _tell_agreement(found: dict[str, Any]) -> bool:
    for one in found["checks"]:
        print(
            f"svm and scikit-learn's SVC: {one['same']:.2%} of {one['n']:,} decisions the same at {one['size']} px, "
            f"{one['learned']:,} learned (at least {AGREEMENT:.1%}); largest difference {one['largest']:.1e}",
            flush=True,
        )
    return any(one["same"] < AGREEMENT for one in found["checks"])


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    kind = given.child
    began = time.perf_counter()
    pixels, label = _faces(given.data, given.faces, given.size)
    read_s = time.perf_counter() - began
    train, test = _split(len(label))
    options = {"n_trees": given.trees} if kind == "random-forest" else {}
    model = create(kind=kind, size_px=given.size, **options)
    began, began_cpu = time.perf_counter(), time.process_time()
    parts: dict[str, float] = {}

    def on_share(share: float) -> None:
        if share >= 1.0:
            parts["trees or products"] = round(time.perf_counter() - began, 1)

    model.fit(pixels, label, train, n_threads=given.threads, on_share=on_share)
    parts["fit"] = round(time.perf_counter() - began, 1)
    logit = model.logit(pixels, test, n_threads=given.threads)
    return {
        "faces": len(label),
        "size": given.size,
        "read_s": read_s,
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - began_cpu,
        "peak_gb": _peak_gb(),
        "accuracy": float(((logit > 0) == label[test]).mean()),
        "auc": metrics.auc(label[test], logit),
        "parts": ", ".join(f"{name} {value} s" for name, value in parts.items())
        + (f"; {len(model.machine.support):,} support vectors" if isinstance(model.machine, Svm) else ""),
    }


def _agreement(given: argparse.Namespace) -> dict[str, Any]:
    """Plain SVC on standardised float64 pixels: few faces at full size, more at 64 px."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    checks = []
    for size, n_train, n_test in ((given.size, 300, 200), (min(64, given.size), 1000, 1000)):
        n = min(n_train + n_test, given.faces)
        n_train = n * n_train // (n_train + n_test)
        pixels, label = _faces(given.data, n, size)
        train, test = np.arange(n_train), np.arange(n_train, n)
        model = create(kind="svm", size_px=size)
        model.fit(pixels, label, train, n_threads=given.threads)
        ours = model.logit(pixels, test, n_threads=given.threads)
        x = pixels.T.astype(np.float64)
        scaler = StandardScaler(copy=False).fit(x[train])
        plain = SVC().fit(scaler.transform(x[train]), label[train])
        theirs = plain.decision_function(scaler.transform(x[test]))
        checks.append(
            {
                "size": size,
                "learned": n_train,
                "n": n - n_train,
                "same": float(((ours > 0) == (theirs > 0)).mean()),
                "largest": float(np.abs(ours - theirs).max()),
            }
        )
    return {"checks": checks}


def _split(n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    order = np.random.default_rng(0).permutation(n)
    return np.sort(order[: n * 4 // 5]), np.sort(order[n * 4 // 5 :])


def _faces(data: Path, n: int, size_px: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Half real, half fake, in a drawn order: (features, faces) and labels."""
    rng = np.random.default_rng(1)
    if not data.is_dir():
        label = rng.permutation(np.arange(n) % 2)
        return matrix(_noise(label, size_px, rng), n_faces=n, size_px=size_px), label
    records = [r for r in datasets.read(data, find_duplicates=False).records if isinstance(r, FaceRecord)]
    sides = [rng.permutation([i for i, r in enumerate(records) if r.label == k])[: n // 2] for k in (0, 1)]
    chosen = rng.permutation(np.concatenate(sides))
    label = np.array([records[i].label for i in chosen], np.int64)
    return matrix((_decoded(records[i], size_px) for i in chosen), n_faces=len(chosen), size_px=size_px), label


def _decoded(record: FaceRecord, size_px: int) -> RgbImage:
    import cv2

    bgr = cv2.imdecode(np.frombuffer(record.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    rgb = np.asarray(bgr, np.uint8)[..., ::-1]
    return centre_square(np.ascontiguousarray(rgb), CropSpec(kind="centre_square", size_px=size_px))


def _noise(label: npt.NDArray[np.int64], size_px: int, rng: np.random.Generator) -> Iterator[RgbImage]:
    """Pictures as smooth as faces, the fakes a little brighter on one side."""
    import cv2

    ramp = np.linspace(-12, 12, size_px)[None, :, None]
    for k in label.tolist():
        coarse = rng.normal(128, 45, (12, 12, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 4, (size_px, size_px, 3))
        yield np.clip(smooth + grain + k * ramp, 0, 255).astype(np.uint8)


def _peak_gb() -> float:
    """The most this process ever held in RAM (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("the system does not tell the peak of memory")


if __name__ == "__main__":
    sys.exit(main())
