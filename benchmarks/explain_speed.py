"""What do heat maps cost? `scan --explain` against `scan`, pictures and page included in both.

    python benchmarks/explain_speed.py CLIP... [--model default] [--runs 7] [--limit 1.2]

Scans each clip with both scanners in turns, warm, in one process, and prints the shortest times and their
ratio (other work on the machine only ever adds). Exit code 1 above the limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from telltale import Scanner, ScanSettings
from telltale.report import to_html
from telltale.scan import load_scorer


def measure(clips: Sequence[Path], model: str, runs: int) -> float:
    """The largest ratio of the shortest times."""
    scorer = load_scorer(model)
    plain, explained = ScanSettings(pictures=True), ScanSettings(pictures=True, explain=True)
    worst = 0.0
    with Scanner(scorer, settings=plain) as without, Scanner(scorer, settings=explained) as with_heat:
        for clip in clips:
            spent: dict[Scanner, list[tuple[float, float]]] = {without: [], with_heat: []}
            for scanner in (without, with_heat):
                scanner.scan(clip)
            for run in range(runs):
                for scanner in (without, with_heat) if run % 2 else (with_heat, without):
                    start, cpu = time.perf_counter(), time.process_time()
                    to_html(scanner.scan(clip))
                    spent[scanner].append((time.perf_counter() - start, time.process_time() - cpu))
            wall, cpu_s = ([min(row[i] for row in rows) for rows in spent.values()] for i in (0, 1))
            worst = max(worst, wall[1] / wall[0])
            print(
                f"{clip.name}: {wall[0]:.2f} s without, {wall[1]:.2f} s with, ratio {wall[1] / wall[0]:.3f} "
                f"(processor time of this process {cpu_s[0]:.2f} and {cpu_s[1]:.2f} s)"
            )
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--model", default="default")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--limit", type=float, default=1.2)
    options = parser.parse_args()
    return int(measure(options.clips, options.model, options.runs) > options.limit)


if __name__ == "__main__":
    sys.exit(main())
