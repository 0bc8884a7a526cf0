"""How long does it take to store a set of face crops as they are, and how fast are they read back at random?

    python benchmarks/store_speed.py FOLDER [--limit-s 60] [--rows-per-s 10000] [--memory-limit-mb 1000]

FOLDER is any data set of pictures (`deepfake_faces`: 36,180 crops of DFDC, in their zip files). Reads the layout,
stages and compacts, then reads every picture once in a drawn order; prints each time, the ratio to its limit and the
peak memory of storing. Exits 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from telltale import datasets
from telltale.store import StoreWriter, open_store, tasks


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit-s", type=float, default=60.0)
    parser.add_argument("--rows-per-s", type=float, default=10_000.0)
    parser.add_argument("--memory-limit-mb", type=float, default=1000.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        found = datasets.read(options.folder)
        read_s = time.perf_counter() - started
        writer = StoreWriter(Path(folder) / "faces.store", settings={"crop": "as_given"})
        for task in tasks(found.records):
            if not writer.done(task):
                writer.stage_as_given(task)
        staged_s = time.perf_counter() - started - read_s
        writer.compact(found.records, problems=found.problems)
        total_s = time.perf_counter() - started
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        store = open_store(writer.out)
        rows = np.random.default_rng(0).permutation(len(store))
        started = time.perf_counter()
        for row in rows:
            store.image(int(row))
        rows_per_s = len(rows) / (time.perf_counter() - started)
        started = time.perf_counter()
        store.verify()
        verify_s = time.perf_counter() - started
    print(f"{len(found.records)} pictures: read {read_s:.1f} s, stage {staged_s:.1f} s, in all {total_s:.1f} s")
    print(f"  {total_s / options.limit_s:.2f} of the limit of {options.limit_s:.0f} s; peak memory {peak_mb:.0f} MB")
    print(f"{rows_per_s:,.0f} pictures a second at random: {rows_per_s / options.rows_per_s:.1f} times the limit")
    print(f"verified in {verify_s:.1f} s")
    slow = total_s > options.limit_s or rows_per_s < options.rows_per_s
    return int(slow or peak_mb > options.memory_limit_mb)


if __name__ == "__main__":
    sys.exit(main())
