"""Processes that are forked while a scanner lives: both go on, and neither waits for the other's threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "astronaut.mp4"
BEGIN = f"""
import os, signal, sys
for at_once in (signal.alarm, lambda s: os.register_at_fork(after_in_child=lambda: signal.alarm(s))):
    at_once(60)
from telltale import Scanner
from telltale.sandbox import Worker
clip = {str(EXAMPLE)!r}
def wait_for(pid):
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def said(script: str) -> list[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", BEGIN + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_scanner_that_was_used_before_a_fork_is_used_on_both_sides_of_it() -> None:
    lines = said("""
scanner = Scanner()
scanner.scan(clip)
pid = os.fork()
if not pid:
    print("child", scanner.scan(clip).verdict.p_fake, flush=True)
    sys.exit(0)
print("parent", scanner.scan(clip).verdict.p_fake, flush=True)
wait_for(pid)
print("again", scanner.scan(clip).verdict.p_fake)
""")
    scores = dict(line.split() for line in lines if not line.startswith("ended"))
    assert scores.keys() == {"child", "parent", "again"}
    assert len(set(scores.values())) == 1
    assert "ended with 0" in lines


def test_a_forked_process_that_uses_no_scanner_ends() -> None:
    lines = said("""
scanner, worker = Scanner(), Worker()
scanner.scan(clip)
list(worker.run("confined", {}, deadline_s=60))
pid = os.fork()
if not pid:
    sys.exit(0)
wait_for(pid)
print("parent", scanner.scan(clip).verdict.label)
""")
    assert lines == ["ended with 0", "parent real"]


def test_a_worker_that_was_still_starting_at_the_fork_is_started_anew() -> None:
    lines = said("""
worker = Worker()
pid = os.fork()
if not pid:
    print(len(list(worker.run("confined", {}, deadline_s=60))), flush=True)
    worker.close()
    sys.exit(0)
wait_for(pid)
print(len(list(worker.run("confined", {}, deadline_s=60))))
""")
    assert lines == ["1", "ended with 0", "1"]


def test_a_fork_in_the_middle_of_a_scan_leaves_the_scan_to_its_own_process() -> None:
    lines = said("""
pids = []
def fork_once(share, n_frames):
    if not pids:
        pids.append(os.fork())
with Scanner() as scanner:
    report = scanner.scan(clip, on_progress=fork_once)
    if not pids[0]:
        print("child", report.error.code, scanner.scan(clip).verdict.label, flush=True)
        scanner.close()
        sys.exit(0)
    print("parent", report.verdict.label, flush=True)
wait_for(pids[0])
""")
    assert sorted(lines) == ["child worker_crashed real", "ended with 0", "parent real"]
