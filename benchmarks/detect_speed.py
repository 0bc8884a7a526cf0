"""Milliseconds a frame that a face detector takes on a clip, and where MTCNN spends them.

    python benchmarks/detect_speed.py CLIP [--detector mtcnn] [--threads 1] [--batch 4] [--limit-ms 15]

Prints one line for the whole and, for MTCNN, one for each stage; the last column is the ratio against the limit.
Decoding is not counted. Exits 1 above the limit.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from telltale.faces import DetectorConfig, create, fetched, mtcnn
from telltale.sampling import SamplePlan
from telltale.video import read_frames

STAGES = {"shrink": mtcnn, "_propose": mtcnn.Mtcnn, "_refine": mtcnn.Mtcnn, "_locate": mtcnn.Mtcnn}


def timed(spent: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - start

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--detector", default="mtcnn")
    parser.add_argument("--detector-model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit-ms", type=float, default=15.0)
    args = parser.parse_args()

    spent: dict[str, float] = defaultdict(float)
    if args.detector == "mtcnn":
        for name, owner in STAGES.items():
            setattr(owner, name, timed(spent, name, getattr(owner, name)))
    frames = list(read_frames(args.clip, SamplePlan("uniform", args.frames)))
    config = DetectorConfig(n_threads=args.threads, model_path=args.detector_model)
    detector = create(args.detector, config=fetched(args.detector, config=config))
    detector.detect(frames[:1])
    spent.clear()
    rounds, n_faces = [], 0
    cpu_start = time.process_time()
    for _ in range(args.repeats):
        start = time.perf_counter()
        for first in range(0, len(frames), args.batch):
            n_faces += sum(len(faces) for faces in detector.detect(frames[first : first + args.batch]))
        rounds.append(1e3 * (time.perf_counter() - start) / len(frames))
    cpu_ms = 1e3 * (time.process_time() - cpu_start) / args.repeats / len(frames)
    height, width = frames[0].rgb.shape[:2]
    best = min(rounds)
    print(
        f"{args.detector} on {args.clip.name} ({width} x {height}), {args.threads} thread(s), "
        f"{n_faces / args.repeats / len(frames):.1f} faces a frame"
    )
    print(f"{'a frame, best':>16} {best:6.1f} ms   {best / args.limit_ms:.2f} of {args.limit_ms:g} ms")
    print(f"{'a frame, median':>16} {statistics.median(rounds):6.1f} ms")
    print(f"{'processor time':>16} {cpu_ms:6.1f} ms   all threads together; what a busy machine does not distort much")
    for name, seconds in spent.items():
        print(f"{name.strip('_'):>16} {1e3 * seconds / args.repeats / len(frames):6.1f} ms")
    return int(best > args.limit_ms)


if __name__ == "__main__":
    sys.exit(main())
