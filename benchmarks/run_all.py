"""Run the benchmarks and write their figures, each beside its limit or peer, into benchmarks/results.md: `make bench`.

    python benchmarks/run_all.py [--only scan_speed,cold_start] [--shared ../shared]

A script that is not run this time keeps what it had in the file, with the day it was measured. Clips are those of
`--shared`; without it the examples stand in, and what needs real footage is left out, saying so. Those that take
an hour or need stores of faces (pixels, explain_faithfulness, web_soak, default_model, store_speed, prepare_kill,
isolation_cost) are run by hand. Exits 1 where a script ends
with 1: a figure is beyond its limit.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_OF_RAY = re.compile(r"\braylet\b|\[state-dump\]")
"""Written to the same stream when Ray finds a worker dead."""
HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
EXAMPLE = HERE.parent / "examples" / "astronaut.mp4"
HEAD = """# Benchmarks

Written by `make bench` (`benchmarks/run_all.py`); every figure stands beside its limit, or beside a peer measured in
the same run. Each script says at its top what it measures and how.
"""


@dataclass(frozen=True)
class Benchmark:
    """A script with the arguments it is run with."""

    title: str
    script: str
    arguments: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return " ".join((self.script, *(Path(argument).name for argument in self.arguments)))


def benchmarks(shared: Path | None) -> list[Benchmark]:
    found = [
        Benchmark("Cold start", "cold_start", (str(EXAMPLE),)),
        Benchmark("Heat maps' cost", "explain_speed", (str(EXAMPLE),)),
        Benchmark("Training: what loading costs", "train_speed"),
        Benchmark("A thousand workers, simulated", "scale_simulation"),
    ]
    if shared is None:
        return [*found, Benchmark("Scan over decode", "scan_speed", (str(EXAMPLE), "--limit", "1.6"))]
    labelled, talkers = shared / "videos" / "labelled", sorted(map(str, (shared / "videos" / "talkers").glob("*.mpg")))
    hd = [str(path) for path in sorted(labelled.glob("dfdc_*.mp4"))]
    sd = [str(path) for path in sorted(labelled.glob("ffpp_*.mp4"))]
    return [
        Benchmark("Scan over decode, 1080p", "scan_speed", (*hd, "--limit", "1.3")),
        Benchmark("Scan over decode, 720p", "scan_speed", (*sd, "--limit", "1.6")),
        Benchmark("Scan against the reference chain, 1080p", "reference_chain", (hd[-1],)),
        Benchmark("What a second of video costs", "cost_model", (hd[-1], sd[0], talkers[0])),
        Benchmark("Face detector", "detect_speed", (hd[-1],)),
        Benchmark(
            "Two jobs, and Ray", "prepare_speed", (hd[-1], sd[0], "--copies", "12", "--runs", "3", "--flat", "60")
        ),
        Benchmark("Many clips, and a long one", "growth", (*talkers, "--long", str(EXAMPLE))),
        Benchmark("A Ray cluster in trouble", "ray_faults", (*talkers, "--kill-every-s", "4")),
        *found,
    ]


def run(benchmark: Benchmark) -> tuple[bool, str]:
    """(whether its limits held, its section)."""
    command = [sys.executable, str(HERE / f"{benchmark.script}.py"), *benchmark.arguments]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took_s = time.perf_counter() - start
    holds = {0: "every limit held", 1: "**a limit did not hold**"}.get(done.returncode, "**ended with an error**")
    said = "\n".join(line for line in done.stdout.splitlines() if line.strip() and not _OF_RAY.search(line))
    shown = said.rstrip() if done.returncode in (0, 1) and done.stdout else done.stderr.strip()[-2000:]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    about = f"{datetime.date.today().isoformat()}, {machine()}, {took_s:.0f} s, load {load:.1f}"
    return done.returncode == 0, (
        f"## {benchmark.title}\n\n<!-- {benchmark.key} -->\n`benchmarks/{benchmark.script}.py`: {holds} ({about}).\n\n"
        f"```text\n{shown}\n```\n"
    )


def machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def sections() -> dict[str, str]:
    """What the file holds already: key -> section."""
    if not RESULTS.exists():
        return {}
    parts = re.split(r"(?m)^(?=## )", RESULTS.read_text())[1:]
    return {match.group(1): part for part in parts if (match := re.search(r"<!-- (.*) -->", part))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of scripts, with commas between")
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared")
    args = parser.parse_args()
    only = {name for name in args.only.split(",") if name}
    shared = args.shared if args.shared.is_dir() else None
    if shared is None:
        print("no labelled footage beside the project: the examples stand in", flush=True)
    known, all_hold = sections(), True
    for benchmark in benchmarks(shared):
        if only and benchmark.script not in only:
            continue
        print(f"{benchmark.title} ...", end=" ", flush=True)
        holds, known[benchmark.key] = run(benchmark)
        all_hold &= holds
        print("holds" if holds else "DOES NOT HOLD", flush=True)
        RESULTS.write_text("\n".join([HEAD, *(part.rstrip() + "\n" for part in known.values())]))
    print(json.dumps({"all_hold": all_hold, "written": RESULTS.name}))
    return int(not all_hold)


if __name__ == "__main__":
    sys.exit(main())
