"""Fetching what lies in a bucket: one object that does not arrive is a failure by name, many in a row are an outage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from telltale.datasets import Record
from telltale.datasets._bucket import opened
from telltale.errors import FileMissing, FileUnreadable

MOST_IN_A_ROW = 10
"""No chance: s3fs tries an object for ten seconds itself where nothing answers, so ten are two minutes of one job, and
a network that is back sooner stops no run. An object that is not there counts as an answer."""


class NotFetched(Exception):
    """Nothing is known of the file itself. No `TelltaleError`, which would be taken for what was found in it."""

    def __init__(self, error: FileUnreadable) -> None:
        super().__init__(error.message)
        self.error = error


class Fetching:
    """What one job fetches, one object at a time."""

    def __init__(self) -> None:
        self._in_a_row: list[FileUnreadable] = []

    @contextmanager
    def opened(self, record: Record, scratch: Path) -> Iterator[Record]:
        """As `datasets._bucket.opened`; raises `NotFetched` for `FileUnreadable`."""
        with ExitStack() as stack:
            try:
                here = stack.enter_context(opened(record, scratch))
            except FileUnreadable as error:
                self._in_a_row.append(error)
                raise NotFetched(error) from error
            except FileMissing:
                self._in_a_row.clear()
                raise
            if record.version is not None:
                self._in_a_row.clear()
            yield here

    def expect_answers(self) -> None:
        """Raises `FileUnreadable` where nothing arrives any more: on it would go through the whole set."""
        if len(self._in_a_row) >= MOST_IN_A_ROW:
            raise FileUnreadable(
                f"{len(self._in_a_row)} objects in a row did not arrive, last: {self._in_a_row[-1].message}; check the "
                "network and your keys, then run the same command again: what was done is kept"
            )
