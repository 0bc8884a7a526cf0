"""Is every clip done exactly once when workers and a node of a Ray cluster die?

    python benchmarks/ray_faults.py CLIP... [--clips 300] [--kill-every-s 10] [--seconds 1]

A cluster of three nodes on this machine, of one processor each (`ray.cluster_utils.Cluster`). The clips are taken
`--clips` times under other names. `scan` into a table and `prepare` into a store, each once in peace and once with a
worker killed (SIGKILL, its decoding child with it) every `--kill-every-s` and one node once. Checks that every clip has
one row or outcome, that the rows say the same, that the store's hashes are equal; prints the slowdown. Then a driver is
killed half-way and started again, and the clips it did twice are counted. Exits 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import ray
from pyarrow import parquet
from ray.cluster_utils import Cluster

from telltale.engine import Engine
from telltale.many import listed, scan_into
from telltale.prepare import PrepareSettings, prepare
from telltale.sampling import SamplePlan
from telltale.scan import ScanSettings

MOST_SLOWDOWN = 2.0
DRIVER = """
import sys
from telltale.engine import Engine
from telltale.many import listed, scan_into
from telltale.sampling import SamplePlan
from telltale.scan import ScanSettings
root, out, seconds = sys.argv[1:]
paths = sorted(__import__("pathlib").Path(root).rglob("*.*"))
settings = ScanSettings(plan=SamplePlan("fps", 2, seconds=float(seconds)))
scan_into(out, listed(paths), settings=settings, engine=Engine(jobs=2))
"""


def as_data_set(clips: list[Path], n: int, root: Path) -> list[Path]:
    made = []
    for i in range(n):
        clip = clips[i % len(clips)].resolve()
        folder = root / ("real", "fake")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / f"{i:04d}_{clip.stem}{clip.suffix}"
        link.symlink_to(clip)
        made.append(link)
    return made


class Trouble:
    """Kills one of the cluster's busy workers again and again, and one node once."""

    def __init__(self, cluster: Cluster, every_s: float) -> None:
        self.n_workers = self.n_nodes = 0
        self._cluster, self._every_s = cluster, every_s
        self._over = threading.Event()
        self._rng = random.Random(0)
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    def _make(self) -> None:
        while not self._over.wait(self._every_s):
            if self.n_workers == 1 and not self.n_nodes:
                node = self._cluster.worker_nodes.copy().pop()
                self._cluster.remove_node(node, allow_graceful=False)
                self.n_nodes += 1
                continue
            found = [p for p in psutil.process_iter(["cmdline"]) if "ray::_Runner" in " ".join(p.info["cmdline"] or [])]
            if found:
                self._rng.choice(found).send_signal(signal.SIGKILL)
                self.n_workers += 1

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def rows(out: Path) -> list[dict[str, Any]]:
    names = ["key", "sha256", "label", "p_fake", "error"]
    found: list[dict[str, Any]] = parquet.read_table(out / "table", columns=names).sort_by("key").to_pylist()
    return found


def store_hashes(out: Path) -> list[str]:
    manifest = json.loads((out / "manifest.json").read_text())
    return [part["sha256"] for part in (*manifest["shards"], manifest["index"], manifest["videos"])]


def with_and_without_trouble(
    cluster: Cluster, every_s: float, run: Callable[[Path], object], root: Path
) -> tuple[float, Trouble]:
    quiet_s = timed(lambda: run(root / "quiet"))
    trouble = Trouble(cluster, every_s)
    try:
        troubled_s = timed(lambda: run(root / "troubled"))
    finally:
        trouble.end()
    return troubled_s / quiet_s, trouble


def driver_killed(data: Path, out: Path, seconds: float, n: int) -> tuple[int, int]:
    """(clips done before the kill, clips of those done again)."""
    command = [sys.executable, "-c", DRIVER, str(data), str(out), str(seconds)]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as driver:
        while len(list(out.glob("staged/*.parquet"))) < n // 2 and driver.poll() is None:
            time.sleep(0.05)
        driver.kill()
    before = [path.read_bytes() for path in out.glob("staged/*.parquet")]
    subprocess.run(command, check=True)
    again = {row["key"]: row["report"] for row in parquet.read_table(out / "table").to_pylist()}
    n_again = 0
    for staged in before:
        (row,) = parquet.read_table(io.BytesIO(staged)).to_pylist()
        n_again += again[row["key"]] != row["report"]  # a report holds its own timings: done again, it differs
    return len(before), n_again


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--clips", type=int, default=300, dest="n")
    parser.add_argument("--kill-every-s", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    plan = SamplePlan("fps", 2, seconds=args.seconds)
    problems = []
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = as_data_set(args.clips, args.n, root / "data")
        items = listed(paths)

        def scan(out: Path) -> None:
            scan_into(out.with_suffix(".scan"), items, settings=ScanSettings(plan=plan), engine=Engine("ray", jobs=3))

        def store(out: Path) -> None:
            settings = PrepareSettings(plan=plan, n_threads=1)
            prepare(root / "data", out.with_suffix(".store"), settings=settings, engine=Engine("ray", jobs=3))

        for name, run in (("scan", scan), ("prepare", store)):
            while len(cluster.worker_nodes) < 2:  # Ray starts nodes in the main thread only
                cluster.add_node(num_cpus=1)
            slowdown, trouble = with_and_without_trouble(cluster, args.kill_every_s, run, root)
            killed = f"{trouble.n_workers} workers and {trouble.n_nodes} node killed"
            print(f"{name:8} slowdown {slowdown:.2f} x (limit {MOST_SLOWDOWN:g}), {killed}", flush=True)
            if slowdown > MOST_SLOWDOWN or trouble.n_workers < 1 or trouble.n_nodes != 1:
                problems.append(f"{name}: slowdown")
        quiet, troubled = rows(root / "quiet.scan"), rows(root / "troubled.scan")
        counts = collections.Counter(row["key"] for row in troubled)
        n_once = sum(counts[item.key] == 1 for item in items)
        print(f"scan     {n_once} of {len(items)} clips have exactly one record (limit all); {len(troubled)} records")
        print(f"scan     records equal to those of the quiet run: {quiet == troubled} (limit True)")
        same = store_hashes(root / "quiet.store") == store_hashes(root / "troubled.store")
        print(f"prepare  the store's hashes equal the quiet run's: {same} (limit True)", flush=True)
        if n_once != len(items) or quiet != troubled or len(troubled) != len(items) or not same:
            problems.append("records")
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]
        n_before, n_again = driver_killed(root / "data", root / "killed", args.seconds, args.n)
        print(f"driver   killed after {n_before} clips, started again: {n_again} of them done again (limit 0)")
        if n_again:
            problems.append("driver")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
