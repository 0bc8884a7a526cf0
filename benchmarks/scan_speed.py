"""How much longer is a scan than merely decoding the clip, and how much memory does it take?

    python benchmarks/scan_speed.py CLIP... [--fps 2] [--runs 5] [--limit 1.3] [--memory-limit-mb 600]

Decodes each clip with plain PyAV (all frames, FFmpeg's own threads, in a process of its own) and scans it with a warm
scanner, in turns; prints the best and the median of both, the ratio of the best, the ratio of processor time, and the
peak memory of scanner and worker together. A busy machine delays both by chance: the best of some runs is what the work
takes, and the ratio of processor time is hardly touched by it. Exits 1 above a limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import av
import psutil

from telltale import SamplePlan, Scanner, ScanSettings


@dataclass
class Taken:
    """Seconds of some runs."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def add(self, taken: tuple[float, float]) -> None:
        self.wall_s.append(taken[0])
        self.cpu_s.append(taken[1])


def decode(path: Path) -> tuple[float, float]:
    """(wall, processor) seconds that plain PyAV takes for all frames."""
    start, cpu = time.perf_counter(), time.process_time()
    with av.open(f"file:{path.resolve()}") as container:
        container.streams.video[0].thread_type = "AUTO"
        for _ in container.decode(video=0):
            pass
    return time.perf_counter() - start, time.process_time() - cpu


def family() -> list[psutil.Process]:
    """This process and its worker, not the one that decodes for comparison."""
    mine = psutil.Process()
    return [mine, *(child for child in mine.children() if "_child" in " ".join(child.cmdline()))]


def cpu_s() -> float:
    return sum(sum(process.cpu_times()[:2]) for process in family())


def peak_memory_mb() -> float:
    """Highest resident memory so far of this process and its worker, added up (Linux: VmHWM)."""
    total_kb = 0
    for process in family():
        status = Path(f"/proc/{process.pid}/status").read_text()
        total_kb += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return total_kb / 1024


def scan(scanner: Scanner, path: Path) -> tuple[float, float]:
    start, cpu = time.perf_counter(), cpu_s()
    scanner.scan(path)
    return time.perf_counter() - start, cpu_s() - cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--model", default="default")
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.3)
    parser.add_argument("--memory-limit-mb", type=float, default=600.0)
    args = parser.parse_args()
    is_over = False
    settings = ScanSettings(plan=SamplePlan("fps", args.fps))
    with ProcessPoolExecutor(1) as elsewhere, Scanner(args.model, settings=settings) as scanner:
        for clip in args.clips:
            scanner.scan(clip)  # warms worker, detector and model
            elsewhere.submit(decode, clip).result()
            decoding, scanning = Taken(), Taken()
            for _ in range(args.runs):
                decoding.add(elsewhere.submit(decode, clip).result())
                scanning.add(scan(scanner, clip))
            report = scanner.scan(clip)
            ratio = min(scanning.wall_s) / min(decoding.wall_s)
            cpu_ratio = min(scanning.cpu_s) / min(decoding.cpu_s)
            frames = report.frames
            print(f"{clip.name}: {frames.decoded} frames decoded, {frames.analysed} analysed at {args.fps:g} fps")
            for name, taken in (("decode", decoding), ("scan", scanning)):
                middle = statistics.median(taken.wall_s)
                print(f"{name:7} {min(taken.wall_s):7.3f} s best, {middle:.3f} median, {min(taken.cpu_s):.2f} cpu")
            print(f"stages  {report.timings_s}")
            print(f"ratio   {ratio:7.2f}    scan over decode (limit {args.limit:g})")
            print(f"cpu     {cpu_ratio:7.2f}    processor time, scan over decode")
            is_over |= ratio > args.limit
        memory_mb = peak_memory_mb()
    print(f"memory  {memory_mb:7.0f} MB scanner and worker (limit {args.memory_limit_mb:g})")
    return int(is_over or memory_mb > args.memory_limit_mb)


if __name__ == "__main__":
    sys.exit(main())
