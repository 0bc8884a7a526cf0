"""Do memory, descriptors and time a clip stay the same over many clips, and over a long one?

    python benchmarks/growth.py SHORT_CLIP... [--long CLIP] [--clips 1000] [--minutes 10]

Scans the short clips in turn, `--clips` times in all, in one process; prints processor and wall time a clip over the
first 10, 100 and all, resident memory of scanner and worker late over early, and open descriptors. Then repeats the
packets of `--long` until they last `--minutes` (nothing is encoded) and scans that: memory late over early. Exits 1
where memory grows by more than 5 %, a descriptor is left open, or processor time a clip differs by more than 10 %.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import av
import psutil

from telltale import SamplePlan, Scanner, ScanSettings

MOST_GROWTH, MOST_OFF = 1.05, 0.10


def family() -> list[psutil.Process]:
    return [psutil.Process(), *psutil.Process().children()]


def resident_mb() -> float:
    return float(sum(process.memory_info().rss for process in family())) / 1e6


def n_descriptors() -> int:
    return int(sum(process.num_fds() for process in family()))


def cpu_s() -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in family()))


def repeated(clip: Path, minutes: float, out: Path) -> None:
    """The clip's packets again and again, later each time."""
    with av.open(str(out), "w") as target:
        copy, shift, last = None, 0, 0
        while True:
            with av.open(str(clip)) as source:
                stream = source.streams.video[0]
                copy = copy or target.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    last = max(last, packet.pts + (packet.duration or 1))
                    is_enough = float(packet.pts * packet.time_base) >= minutes * 60
                    packet.stream = copy
                    target.mux(packet)
                    if is_enough:
                        return
            shift = last


def late_over_early(samples: list[float]) -> float:
    tenth = max(1, len(samples) // 10)
    return statistics.median(samples[-tenth:]) / statistics.median(samples[tenth : 2 * tenth])


def many(scanner: Scanner, clips: list[Path], n: int) -> bool:
    for clip in clips:
        scanner.scan(clip)
    memory, descriptors, walls, cpus = [], [], [], []
    for clip in itertools.islice(itertools.cycle(clips), n):
        start, cpu = time.perf_counter(), cpu_s()
        scanner.scan(clip)
        walls.append(time.perf_counter() - start)
        cpus.append(cpu_s() - cpu)
        memory.append(resident_mb())
        descriptors.append(n_descriptors())
    growth = late_over_early(memory)
    is_off = False
    for k in (10, 100, n):
        off = statistics.mean(cpus[:k]) / statistics.mean(cpus) - 1
        print(
            f"clips   {k:5}: {1e3 * statistics.mean(cpus[:k]):6.0f} ms cpu a clip, {off:+.1%} against all (limit 10 %)"
        )
        is_off |= abs(off) > MOST_OFF
    print(f"wall    {1e3 * statistics.median(walls):6.0f} ms a clip, median of {n}")
    print(f"memory  {growth:6.3f} x late over early, {max(memory):.0f} MB at most (limit {MOST_GROWTH})")
    print(f"files   {descriptors[-1]} descriptors open at the end, {descriptors[0]} after the first clip")
    return growth > MOST_GROWTH or descriptors[-1] > descriptors[0] or is_off


def long(scanner: Scanner, clip: Path, minutes: float) -> bool:
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        repeated(clip, minutes, path)
        report = scanner.scan(path, on_progress=lambda _share, _n: memory.append(resident_mb()))
    growth = late_over_early(memory)
    length_s = report.video.duration_s if report.video else 0.0
    print(f"long    {length_s or 0:.0f} s of video, {report.frames.analysed} frames analysed, {report.verdict.label}")
    print(f"memory  {growth:6.3f} x late over early, {max(memory):.0f} MB at most (limit {MOST_GROWTH})")
    return growth > MOST_GROWTH


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="SHORT_CLIP")
    parser.add_argument("--long", type=Path)
    parser.add_argument("--clips", type=int, default=1000, dest="n")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each short clip")
    args = parser.parse_args()
    with Scanner(settings=ScanSettings(plan=SamplePlan("fps", 2, seconds=args.seconds))) as scanner:
        is_bad = many(scanner, args.clips, args.n)
    if args.long is not None:
        with Scanner() as scanner:
            is_bad |= long(scanner, args.long, args.minutes)
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
