"""What confining the decoder costs a clip: handing over its file, and every system call through the filter.

    python benchmarks/isolation_cost.py examples/astronaut.mp4

Two processes read the same clip again and again, one confined and one not; CPU time, medians. Then the parent opens the
file as for a job. Limit: 20 ms a clip.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from telltale import _grants

LIMIT_MS = 20.0
REPEATS = 6
CHILD = """
import json, sys, sysconfig, time
from telltale._confine import Powers, confine
from telltale.sampling import SamplePlan
from telltale.video import open_video
path, is_confined = sys.argv[1], sys.argv[2] == "confined"
started = time.process_time()
if is_confined:
    confine(Powers(may_read=(path,)), code_folders=[sys.prefix, sys.base_prefix, *[p for p in sys.path if p]])
start_ms = 1000 * (time.process_time() - started)
times = []
for _ in range(int(sys.argv[3])):
    started = time.process_time()
    with open_video(path, SamplePlan("fps", 2), n_threads=1) as reader:
        for frame in reader:
            pass
    times.append(1000 * (time.process_time() - started))
print(json.dumps([start_ms, times]))
"""


def reading_ms(path: Path, how: str) -> tuple[float, float]:
    """CPU time to give up powers, once, and to read the clip, each time."""
    command = [sys.executable, "-c", CHILD, str(path), how, str(REPEATS)]
    start_ms, times = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return start_ms, statistics.median(times[1:])


def handing_over_ms(path: Path) -> float:
    times = []
    for _ in range(200):
        started = time.process_time()
        _grants.close(_grants.opened([str(path)], timeout_s=60))
        times.append(1000 * (time.process_time() - started))
    return statistics.median(times)


def main() -> None:
    path = Path(sys.argv[1]).absolute()
    free = [reading_ms(path, "free") for _ in range(2)]
    held = [reading_ms(path, "confined") for _ in range(2)]
    handed_ms = handing_over_ms(path) if _grants.IS_USED else 0.0
    free_ms, held_ms = (statistics.median(ms for _, ms in runs) for runs in (free, held))
    cost_ms = held_ms - free_ms + handed_ms
    print(f"giving up powers: {statistics.median(ms for ms, _ in held):.1f} ms, once a process")
    print(f"reading: {free_ms:.1f} ms free, {held_ms:.1f} ms confined; handing over: {handed_ms:.2f} ms a clip")
    print(f"cost: {cost_ms:.1f} ms a clip, {cost_ms / LIMIT_MS:.2f} of the limit of {LIMIT_MS:g} ms")
    sys.exit(cost_ms > LIMIT_MS)


if __name__ == "__main__":
    main()
