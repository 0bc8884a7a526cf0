"""Is a store the same, however often the run that made it was killed?

    python benchmarks/prepare_kill.py DATA [--kills 50] [--seed 0] [--jobs 2]

Makes the store once undisturbed, then again with `kill -9` at seeded moments, and compares every hash. Prints how many
videos were begun more than once. Exits 1 where a hash differs or a temporary file is left.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(data: Path, out: Path, jobs: int) -> list[str]:
    return [sys.executable, "-m", "telltale", "prepare", str(data), "--out", str(out), "--jobs", str(jobs)]


def hashes(out: Path) -> list[str]:
    manifest = json.loads((out / "manifest.json").read_text())
    return [part["sha256"] for part in (*manifest["shards"], manifest["index"], manifest["videos"])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        quiet, out = Path(folder) / "quiet.store", Path(folder) / "killed.store"
        start = time.perf_counter()
        subprocess.run(command(args.data, quiet, args.jobs), check=True, capture_output=True)
        whole_s = time.perf_counter() - start
        n_kills = n_finished = n_bad = 0
        while n_kills < args.kills:
            process = subprocess.Popen(
                command(args.data, out, args.jobs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                # From before the first file is written to a little after the last.
                process.wait(rng.uniform(0.2, 1.1 * whole_s))
                n_finished += 1
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                n_kills += 1
                if n_kills % 5:
                    continue
            # Now and then it ends in peace: compare, and begin anew so that later kills find work to interrupt.
            subprocess.run(command(args.data, out, args.jobs), check=True, capture_output=True)
            left = list(out.rglob("*.part"))
            n_bad += hashes(out) != hashes(quiet) or bool(left)
            shutil.rmtree(out)
    print(f"{n_kills} kills, {n_finished} runs ended before theirs; an undisturbed run takes {whole_s:.1f} s")
    print(f"{n_bad} stores differed from the undisturbed one (limit 0)")
    return int(n_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
