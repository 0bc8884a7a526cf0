"""How long is `telltale scan` of a one-second clip, the whole process?

    python benchmarks/cold_start.py CLIP [--runs 7] [--limit-s 1.2]

Cuts the first second out of CLIP (packets copied, nothing encoded) and runs the command again and again. Prints the
best and the median; exits 1 where the best is above the limit.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av


def first_second(clip: Path, out: Path) -> None:
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is None or packet.time_base is None or float(packet.dts * packet.time_base) >= 1.0:
                break
            packet.stream = copy
            target.mux(packet)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--limit-s", type=float, default=1.2)
    args = parser.parse_args()
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "second.mp4"
        first_second(args.clip, clip)
        for _ in range(args.runs):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "telltale", "scan", str(clip)], check=True, capture_output=True)
            taken.append(time.perf_counter() - start)
    best = min(taken)
    print(f"cold    {best:7.2f} s  best of {args.runs}, median {statistics.median(taken):.2f} (limit {args.limit_s:g})")
    print(f"ratio   {best / args.limit_s:7.2f}    of the limit (limit 1)")
    return int(best > args.limit_s)


if __name__ == "__main__":
    sys.exit(main())
