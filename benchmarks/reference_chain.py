"""How many times faster is a scan than the chain that the published pipelines use?

    python benchmarks/reference_chain.py CLIP [--frames 6] [--python .venv-peers/bin/python] [--limit 10]

The chain: OpenCV reads every frame; on every frame that is looked at, the `mtcnn` package (TensorFlow) finds faces in
the full picture and a Keras network (MobileNetV2 at 224 px) predicts for each face by itself. It runs in an environment
of its own, made here with pip where it is missing. The chain looks at `--frames` frames spread over the clip and its
time for those is scaled to as many as the scan analyses; reading is not scaled. Both warm, in turns, in the same run.
Prints the ratio of wall time and of processor time; exits 1 below the limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import venv
from pathlib import Path

import psutil

from telltale import SamplePlan, Scanner, ScanSettings

PEERS = ("mtcnn==1.0.0", "tensorflow-cpu>=2.16", "opencv-python-headless")
CHAIN = """
import json, sys, time
import cv2, numpy as np, keras
from mtcnn import MTCNN
path, n_frames = sys.argv[1], int(sys.argv[2])
detector = MTCNN(device="CPU:0")
model = keras.applications.MobileNetV2(
    weights=None, classes=1, classifier_activation="sigmoid", input_shape=(224, 224, 3)
)

def chain(n_looked_at):
    reader = cv2.VideoCapture(path)
    n = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, n - 1, n_looked_at).astype(int).tolist())
    read, look, faces, at = [0.0, 0.0], [0.0, 0.0], 0, 0
    while True:
        start = time.perf_counter(), time.process_time()
        ok, bgr = reader.read()
        read[0] += time.perf_counter() - start[0]; read[1] += time.process_time() - start[1]
        if not ok:
            break
        if at in wanted:
            start = time.perf_counter(), time.process_time()
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            for found in detector.detect_faces(rgb):
                x, y, w, h = found["box"]
                crop = rgb[max(y, 0) : y + h, max(x, 0) : x + w]
                model.predict(cv2.resize(crop, (224, 224))[None].astype("float32") / 255, verbose=0)
                faces += 1
            look[0] += time.perf_counter() - start[0]; look[1] += time.process_time() - start[1]
        at += 1
    return {"read": read, "look": look, "faces": faces}

chain(1)
for line in sys.stdin:
    print("RESULT " + json.dumps(chain(n_frames)), flush=True)
"""


def peers(python: Path) -> Path:
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--python", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--limit", type=float, default=10.0)
    args = parser.parse_args()
    command = [str(peers(args.python)), "-c", CHAIN, str(args.clip), str(args.frames)]
    chain_s, scan_s, n_faces = [], [], 0
    with (
        Scanner(settings=ScanSettings(plan=SamplePlan("fps", args.fps))) as scanner,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as chain,
    ):
        assert chain.stdin is not None
        assert chain.stdout is not None
        n_frames = scanner.scan(args.clip).frames.analysed
        worker = next(p for p in psutil.Process().children() if "_child" in " ".join(p.cmdline()))
        for _ in range(args.runs):
            chain.stdin.write("go\n")
            chain.stdin.flush()
            line = next(line for line in chain.stdout if line.startswith("RESULT "))
            took = json.loads(line.removeprefix("RESULT "))
            n_faces = took["faces"]
            scale = n_frames / args.frames
            chain_s.append(tuple(took["read"][i] + took["look"][i] * scale for i in range(2)))
            start, cpu = time.perf_counter(), time.process_time() + sum(worker.cpu_times()[:2])
            scanner.scan(args.clip)
            cpu = time.process_time() + sum(worker.cpu_times()[:2]) - cpu
            scan_s.append((time.perf_counter() - start, cpu))
        chain.stdin.close()
    wall, cpu = (min(c[i] for c in chain_s) / min(s[i] for s in scan_s) for i in range(2))
    print(f"chain   {min(c[0] for c in chain_s):7.2f} s, {min(c[1] for c in chain_s):.2f} cpu, for {n_frames} frames")
    print(f"        ({n_faces} faces in the {args.frames} frames it looked at)")
    print(f"scan    {min(s[0] for s in scan_s):7.2f} s, {min(s[1] for s in scan_s):.2f} cpu")
    print(f"ratio   {wall:7.1f}    the chain's time over the scan's (limit {args.limit:g})")
    print(f"cpu     {cpu:7.1f}    processor time, the chain's over the scan's")
    return int(wall < args.limit)


if __name__ == "__main__":
    sys.exit(main())
