"""What a server may be told, with its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from telltale._cores import usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLimits:
    """How long a request may take to arrive. A phone on a bad line is slow; one byte a second is an attack."""

    head_s: float = 10.0
    """From the first moment of a connection, or the end of the last request, to the end of the request's head."""
    grace_s: float = 30.0
    """A body may take this long whatever its size .."""
    min_bytes_per_s: float = 16_384.0
    """.. and then as long as this rate allows for what has arrived."""
    whole_s: float = 3600.0
    """No body takes longer than this."""
    stall_s: float = 60.0
    """An answer that the client does not read for so long is cut off."""
    form_overhead_bytes: int = 65_536
    """What a form may hold beside the file, and what any other request may hold at all."""

    def ends_at(self, started_at: float, n_bytes: int) -> float:
        """When a body must be complete that began at `started_at` and of which `n_bytes` have arrived.

        >>> limits = ReceiptLimits(grace_s=30, min_bytes_per_s=1000)
        >>> limits.ends_at(0, 0), limits.ends_at(0, 5000)
        (30.0, 35.0)
        """
        return started_at + min(self.grace_s + n_bytes / self.min_bytes_per_s, self.whole_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How a server behaves; the command line has an option for most of it."""

    data: Path
    """Database, uploads and results; made where absent, for one server at a time."""
    models: tuple[str | Path, ...] = ("default",)
    """Shipped names or bundle folders; the first is the default."""
    workers: int = field(default_factory=lambda: min(usable_cores(), 4))
    """Analyses at a time."""
    require_key: bool = False
    max_upload_bytes: int = 1_000_000_000
    queue_length: int = 256
    """Analyses that may wait; after that uploads are told when to come back."""
    per_client: int = 64
    """Scans of one client (API key, else address) that may be on their way, wait or run."""
    keep_s: float = 7 * 86_400.0
    """How long an upload and its result are kept after the end."""
    deadline_s: float = 600.0
    """The longest an analysis may take."""
    min_free_bytes: int = 256 << 20
    """Uploads are refused where less disk would be left."""
    streams_per_client: int = 32
    """Event streams that one client may hold open."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the server answers; none: any. Guards a local server against DNS rebinding."""
    receipt: ReceiptLimits = ReceiptLimits()

    @property
    def threads_per_analysis(self) -> int:
        return 1 if self.workers > 1 else 2


__all__ = ["ReceiptLimits", "ServeSettings"]
