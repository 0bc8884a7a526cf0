"""What a run took: wall time, processor time, peak and mean memory.

>>> with Usage() as usage:
...     squares = sum(i * i for i in range(1000))
>>> sorted(usage.as_dict())
['cpu_s', 'mean_memory_mb', 'peak_memory_mb', 'wall_s']
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

_EVERY_S = 0.2
_STATM = Path("/proc/self/statm")


class Usage:
    """A `with` around the work. Memory is what the process holds in RAM, looked at five times a second.

    Files that are mapped count where they are in RAM. Memory is left out where the system does not tell (it is Linux
    that does).
    """

    def __enter__(self) -> Usage:
        self._began_s, self._began_cpu_s = time.monotonic(), _cpu_s()
        self._samples: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="usage", daemon=True)
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        self._take_time()

    def _take_time(self) -> None:
        self.wall_s, self.cpu_s = time.monotonic() - self._began_s, _cpu_s() - self._began_cpu_s

    def as_dict(self) -> dict[str, float]:
        """As a model's card states it: seconds and megabytes (10^6 bytes); while the work goes on, so far."""
        if not self._stop.is_set():
            self._take_time()
        found = {"wall_s": round(self.wall_s, 2), "cpu_s": round(self.cpu_s, 2)}
        if self._samples:
            found["peak_memory_mb"] = round(max(self._samples) / 1e6, 1)
            found["mean_memory_mb"] = round(sum(self._samples) / len(self._samples) / 1e6, 1)
        return found

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        try:
            pages = int(_STATM.read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return
        self._samples.append(pages * os.sysconf("SC_PAGE_SIZE"))


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
