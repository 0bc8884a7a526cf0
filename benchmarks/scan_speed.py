"""How much longer is a scan than merely decoding the clip?

    python benchmarks/scan_speed.py CLIP [--model default] [--fps 2] [--runs 5] [--limit 2.0] [--memory-limit-mb 800]

Decodes the clip with plain PyAV (all frames, FFmpeg's own threads) and scans it with a warm scanner, in turns, in one
process; prints both medians, their ratio and the peak memory of scanner and worker together. Exits 1 above a limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import psutil

from telltale import SamplePlan, Scanner, ScanSettings


def decode(path: Path) -> int:
    """Number of frames that plain PyAV decodes."""
    with av.open(f"file:{path.resolve()}") as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_memory_mb() -> float:
    """Highest resident memory so far of this process and its children, added up (Linux: VmHWM)."""
    total_kb = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        status = Path(f"/proc/{process.pid}/status").read_text()
        total_kb += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return total_kb / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=float, default=2.0)
    parser.add_argument("--memory-limit-mb", type=float, default=800.0)
    args = parser.parse_args()

    decode_s, scan_s = [], []
    with Scanner(args.model, settings=ScanSettings(plan=SamplePlan("fps", args.fps))) as scanner:
        report = scanner.scan(args.clip)  # warms worker, detector and model
        n_frames = decode(args.clip)
        for _ in range(args.runs):
            decode_s.append(seconds(lambda: decode(args.clip)))
            scan_s.append(seconds(lambda: scanner.scan(args.clip)))
        memory_mb = peak_memory_mb()
        report = scanner.scan(args.clip)

    ratio = statistics.median(scan_s) / statistics.median(decode_s)
    print(f"{args.clip.name}: {n_frames} frames, {report.frames.analysed} analysed at {args.fps:g} fps")
    print(f"decode  {statistics.median(decode_s):7.3f} s  (PyAV alone, median of {args.runs})")
    print(f"scan    {statistics.median(scan_s):7.3f} s  {report.timings_s}")
    print(f"ratio   {ratio:7.2f}    (limit {args.limit:g})")
    print(f"memory  {memory_mb:7.0f} MB (limit {args.memory_limit_mb:g})")
    return int(ratio > args.limit or memory_mb > args.memory_limit_mb)


if __name__ == "__main__":
    sys.exit(main())
