"""What of the disk is whose, uploads on their way in included: one client leaves room for the others, however many
uploads it begins at once.

room.check("ann", 3_000_000, held_bytes=...)         # raises the 507 problem
with room.arriving("ann", 3_000_000) as arriving:    # counts from now on; nothing is awaited in between
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from telltale.web.problems import ProblemError, problem

RESULT_BYTES = 1_000_000
"""Reckoned for a result that is not there yet (docs/deploy.md has what was measured)."""


@dataclass(slots=True, eq=False)
class Arriving:
    """One upload on its way in."""

    client: str
    expected_bytes: int
    """As the request's head says; where it does not, a little more than has come."""
    come_bytes: int = 0
    """On the disk."""

    @property
    def takes_bytes(self) -> int:
        return max(self.expected_bytes, self.come_bytes)

    @property
    def lacking_bytes(self) -> int:
        """What will be written and is no room any more."""
        return self.takes_bytes - self.come_bytes


class Room:
    """For the event loop's thread only."""

    def __init__(self, room_bytes: Callable[[], int]) -> None:
        """`room_bytes` is what may still be written on the disk."""
        self._room_bytes = room_bytes
        self._arriving: set[Arriving] = set()

    @contextmanager
    def arriving(self, client: str, expected_bytes: int) -> Iterator[Arriving]:
        """Count an upload until it is a scan, or nothing."""
        upload = Arriving(client, expected_bytes)
        self._arriving.add(upload)
        try:
            yield upload
        finally:
            self._arriving.discard(upload)

    def n_arriving(self, client: str) -> int:
        return sum(1 for one in self._arriving if one.client == client)

    def check(self, client: str, n_bytes: int, *, held_bytes: int, of: Arriving | None = None) -> None:
        """Whether this client, whose scans take `held_bytes`, may write so many bytes more, of an upload that is
        counted already if it is given. Raises the 507 problem."""
        others = self._arriving - {of}
        left_bytes = self._room_bytes() - n_bytes - sum(one.lacking_bytes for one in others)
        if left_bytes < 0:
            raise problem("no_space", "there is no room left for uploads; try later")
        own_bytes = sum(one.takes_bytes + RESULT_BYTES for one in others if one.client == client)
        if held_bytes + own_bytes > left_bytes:
            raise over_share()


def over_share() -> ProblemError:
    return problem("no_space", "your scans take more of the disk than is left; delete some of them")


__all__ = ["RESULT_BYTES", "Arriving", "Room", "over_share"]
