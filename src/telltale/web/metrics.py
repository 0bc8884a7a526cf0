"""What happens, counted, in the text format of Prometheus.

>>> metrics = Metrics()
>>> metrics.reused.add()
>>> [line for line in metrics.text().splitlines() if line.startswith("telltale_scans_reused")]
['telltale_scans_reused_total 1']
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_lock = threading.Lock()


class Counter:
    """A number that only rises, for each combination of its labels."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.help_text, self._labels = name, help_text, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def add(self, *labels: str, by: float = 1.0) -> None:
        with _lock:
            self._values[labels] = self._values.get(labels, 0.0) + by

    def samples(self) -> Iterator[str]:
        with _lock:
            values = sorted(self._values.items())
        for labels, value in values:
            yield f"{self.name}{_labelled(self._labels, labels)} {_digits(value)}"


class Gauge:
    """A number that is asked for when somebody looks."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        self.name, self.help_text, self._read = name, help_text, read

    def samples(self) -> Iterator[str]:
        yield f"{self.name} {_digits(self._read())}"


class Histogram:
    """How long something took."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str) -> None:
        self.name, self.help_text = name, help_text
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        with _lock:
            self._counts[bisect_left(_SECONDS, seconds)] += 1
            self._sum += seconds

    def samples(self) -> Iterator[str]:
        with _lock:
            counts, total = list(self._counts), self._sum
        n = 0
        for bound, count in zip((*_SECONDS, float("inf")), counts, strict=True):
            n += count
            yield f'{self.name}_bucket{{le="{"+Inf" if bound == float("inf") else f"{bound:g}"}"}} {n}'
        yield f"{self.name}_sum {_digits(total)}"
        yield f"{self.name}_count {n}"


class Metrics:
    """All of them."""

    def __init__(self) -> None:
        self.requests = Counter("telltale_http_requests_total", "Requests answered.", ("method", "route", "status"))
        self.request_s = Histogram("telltale_http_request_seconds", "Time to the end of an answer, streams left out.")
        self.received = Counter("telltale_upload_bytes_total", "Bytes of uploads received.")
        self.scans = Counter("telltale_scans_total", "Analyses ended.", ("label", "error"))
        self.reused = Counter("telltale_scans_reused_total", "Uploads answered with an analysis that existed.")
        self.scan_s = Histogram("telltale_scan_seconds", "Time an analysis took.")
        self.cut_off = Counter("telltale_connections_cut_off_total", "Connections ended by the server.", ("why",))
        self._gauges: list[Gauge] = []

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Add a gauge."""
        self._gauges.append(Gauge(f"telltale_{name}", help_text, read))

    def ended(self, label: str, error: str, took_s: float | None) -> None:
        self.scans.add(label, error)
        if took_s is not None:
            self.scan_s.add(took_s)

    def text(self) -> str:
        """The exposition format, version 0.0.4."""
        lines = []
        counted = (self.requests, self.received, self.scans, self.reused, self.cut_off)
        metrics: tuple[Counter | Gauge | Histogram, ...] = (*counted, self.request_s, self.scan_s, *self._gauges)
        for metric in metrics:
            lines += [f"# HELP {metric.name} {metric.help_text}", f"# TYPE {metric.name} {metric.kind}"]
            lines += metric.samples()
        return "\n".join(lines) + "\n"


def _digits(value: float) -> str:
    """All of them: a rate is a small difference of large numbers."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _labelled(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


__all__ = ["Counter", "Gauge", "Histogram", "Metrics"]
