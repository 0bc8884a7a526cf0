"""How fast is `prepare`, how well do two jobs help, and does memory stay flat?

    python benchmarks/prepare_speed.py VIDEO... [--copies 4] [--flat 200] [--runs 3]

Every video is taken `copies` times under other names. In turns: plain PyAV decoding in one process and in two (one
thread each), `prepare` and `scan` with one job and with two, and `prepare` on two Ray workers of a cluster that is up.
One process, or one job with all that belongs to it, is held to one core, and two have two: so what a second job gains
is held against what a second decoding process gains. A scan job that is not held to a core scores beside its worker and
keeps a part of the second core busy; what a second job gains then is printed too.

Prints videos a second, the ratio to decoding, the gains, and Ray's rate over the local one (the best of the runs
counts). Jobs start within the time, and decoding processes before it: what that takes (about a second) must be little
of a run, so give some dozens of videos. Then `flat` short clips through one worker: the memory at the end over that
after a tenth. Linux. Exits 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import av
import psutil
import ray

from telltale.engine import Engine
from telltale.prepare import PrepareSettings, Progress, prepare
from telltale.scan import ScanSettings, scan_many

LEAST_GAIN_SHARE = 0.95
LEAST_RAY_SHARE = 0.9
MOST_GROWTH = 1.05


def decode(path: Path) -> int:
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        return sum(1 for _ in container.decode(stream))


def keep_to(cores: set[int]) -> None:
    """This process, every thread of it, and what it starts from now on."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def one_core() -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    keep_to({min(cores)})
    try:
        yield
    finally:
        keep_to(cores)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def as_data_set(videos: Sequence[Path], copies: int, root: Path) -> list[Path]:
    """Links to the videos as a `folder` data set, half of them called fake."""
    made = []
    for i in range(copies):
        for j, video in enumerate(videos):
            label = ("real", "fake")[(i + j) % 2]
            (root / label).mkdir(parents=True, exist_ok=True)
            link = root / label / f"{i:04d}_{video.stem}{video.suffix}"
            link.symlink_to(video)
            made.append(link)
    return made


def scan_s(paths: Sequence[Path], jobs: int, n_threads: int = 2) -> float:
    return seconds(lambda: list(scan_many(paths, settings=ScanSettings(n_threads=n_threads), jobs=jobs)))


def prepare_s(
    root: Path, engine: Engine, n_threads: int = 2, on_progress: Callable[[Progress], None] | None = None
) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return seconds(
            lambda: prepare(
                root,
                Path(folder) / "s.store",
                settings=PrepareSettings(n_threads=n_threads),
                engine=engine,
                on_progress=on_progress,
            )
        )


def memory_growth(video: Path, n: int) -> float:
    """Resident memory of this process and its worker after `n` videos, over that after a tenth of them."""
    samples: list[float] = []

    def look(_: Progress) -> None:
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        samples.append(sum(process.memory_info().rss for process in processes))

    with tempfile.TemporaryDirectory() as folder:
        as_data_set([video], n, Path(folder))
        prepare_s(Path(folder), Engine(), on_progress=look)
    tenth = len(samples) // 10
    return statistics.median(samples[-tenth:]) / statistics.median(samples[tenth : 2 * tenth])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--flat", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    videos = [video.resolve() for video in args.videos]

    times: dict[str, list[float]] = defaultdict(list)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1) as one, ProcessPoolExecutor(2) as two:
        root, paths = Path(folder), as_data_set(videos, args.copies, Path(folder))
        list(two.map(decode, paths[:2]))
        list(one.map(decode, paths[:1]))
        for _ in range(args.runs):
            times["decode 1"].append(seconds(lambda: list(one.map(decode, paths))))
            times["decode 2"].append(seconds(lambda: list(two.map(decode, paths))))
            with one_core():
                times["prepare 1"].append(prepare_s(root, Engine(jobs=1), n_threads=1))
                times["scan 1"].append(scan_s(paths, 1, n_threads=1))
            times["prepare 2"].append(prepare_s(root, Engine(jobs=2)))
            times["scan 2"].append(scan_s(paths, 2))
            times["scan 1, free"].append(scan_s(paths, 1))
            times["ray 2"].append(prepare_s(root, Engine("ray", jobs=2)))
    ray.shutdown()
    best = {name: min(values) for name, values in times.items()}
    gain = {name: best[f"{name} 1"] / best[f"{name} 2"] for name in ("decode", "prepare", "scan")}
    share = {name: gain[name] / gain["decode"] for name in ("prepare", "scan")}
    ray_share = best["prepare 2"] / best["ray 2"]
    for name, value in best.items():
        print(f"{name:12} {value:7.2f} s  {len(paths) / value:6.2f} videos a second")
    print(f"ratio      {best['prepare 1'] / best['decode 1']:7.2f}    prepare over decode, a core each")
    for name, value in gain.items():
        print(f"gain       {value:7.2f} x  {name}, a second core and process")
    for name, value in share.items():
        print(f"share      {value:7.2f}    of what decoding gains, {name} (limit {LEAST_GAIN_SHARE})")
    print(
        f"free       {best['scan 1, free'] / best['scan 2']:7.2f} x  scan, a second job, the first not held to a core"
    )
    print(f"ray        {ray_share:7.2f}    of the local rate, two workers (limit {LEAST_RAY_SHARE})")
    growth = memory_growth(videos[0], args.flat)
    print(f"memory     {growth:7.3f} x  at the end of {args.flat} videos over the start (limit {MOST_GROWTH})")
    is_over = min(share.values()) < LEAST_GAIN_SHARE or ray_share < LEAST_RAY_SHARE or growth > MOST_GROWTH
    return int(is_over)


if __name__ == "__main__":
    sys.exit(main())
