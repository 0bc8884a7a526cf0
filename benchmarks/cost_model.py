"""What a second of video costs, in processor seconds of one core: decoding, finding faces, scoring, by resolution.

    python benchmarks/cost_model.py CLIP... [--fps 2] [--runs 3]

Each stage runs alone on one thread, as in a worker that shares its machine; the best of the runs counts. Prints one
line a clip.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from telltale._request import ExtractRequest
from telltale.bundle import load_bundle
from telltale.extract import extract_job
from telltale.faces import DetectorConfig
from telltale.runtime import BATCH_SIZE, Scorer
from telltale.sampling import SamplePlan
from telltale.types import Clip
from telltale.video import open_video


def best_cpu_s(run: Callable[[], object], runs: int) -> float:
    taken = []
    for _ in range(runs):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    plan = SamplePlan("fps", args.fps)
    bundle = load_bundle("default")
    scorer = Scorer(bundle)
    size = bundle.card.size_px
    rng = np.random.default_rng(0)
    batch = [
        Clip(0, np.zeros(1), rng.integers(0, 256, (1, size, size, 3)).astype(np.uint8), np.ones(1, bool))
    ] * BATCH_SIZE
    scorer.score(batch)
    face_s = best_cpu_s(lambda: scorer.score(batch), args.runs) / BATCH_SIZE
    print(f"score   {1e3 * face_s:6.1f} ms a face")
    print(
        "clip                            size       seconds  decode  detect   score   total   (core seconds a second)"
    )
    for clip in args.clips:
        request = ExtractRequest(
            str(clip),
            plan,
            detector_config=DetectorConfig(),
            crop=bundle.card.crop,
            deadline_s=3600,
            n_decode_threads=1,
        )
        messages = list(extract_job(request.to_json()))
        info = messages[-1].data["info"]
        n_faces = sum(len(message.data["faces"]) for message in messages if message.kind == "faces")

        def decode(path: Path = clip) -> None:
            with open_video(path, plan, n_threads=1) as reader:
                for _ in reader:
                    pass

        def extract(asked: ExtractRequest = request) -> None:
            for _ in extract_job(asked.to_json()):
                pass

        decode_s, extract_s = best_cpu_s(decode, args.runs), best_cpu_s(extract, args.runs)
        length_s = info["duration_s"]
        parts = [part / length_s for part in (decode_s, max(extract_s - decode_s, 0.0), n_faces * face_s)]
        shown = "  ".join(f"{part:6.4f}" for part in (*parts, sum(parts)))
        print(f"{clip.name[:30]:30}  {info['width_px']:4}x{info['height_px']:<4}  {length_s:7.1f}  {shown}")


if __name__ == "__main__":
    main()
