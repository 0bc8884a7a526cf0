"""What a forked process must not share with the one it came from: threads, locks that somebody holds, workers.

class Worker:
    def __init__(self):
        renew_after_fork(self)
    def renew(self):            # called in the forked process, before anything else runs there
        self._lock = threading.Lock()
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    def renew(self) -> None:
        """Begin anew in this process, and take no lock on the way: nobody is left who would release it."""
        ...


_held: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(one: Renewable) -> None:
    """Have `one.renew()` called in every process that is forked from here on, as long as `one` lives."""
    _held.add(one)


def _renew_all() -> None:
    for one in list(_held):
        one.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
