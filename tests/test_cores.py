"""No more threads than cores that this process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TELL = "import os; os.sched_setaffinity(0, {%d}); from telltale._cores import usable_cores; print(usable_cores())"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux can hold a process to a core")
def test_a_process_that_is_held_to_one_core_counts_one() -> None:
    code = TELL % min(os.sched_getaffinity(0))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "1\n"
