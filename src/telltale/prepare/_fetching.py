"""Fetching what lies in a bucket: one object that does not arrive is a failure by name, many in a row are an outage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from telltale.datasets import Record, opened
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
        self._arrived: Record | None = None

    @contextmanager
    def opened(self, record: Record, scratch: Path, *, is_news: bool = True) -> Iterator[Record]:
        """As `datasets.opened`; raises `NotFetched` for `FileUnreadable`. `is_news`: no earlier run failed to
        fetch it, so that a failure tells something of today."""
        with ExitStack() as stack:
            try:
                here = stack.enter_context(opened(record, scratch))
            except FileUnreadable as error:
                if is_news:
                    self._in_a_row.append(error)
                raise NotFetched(error) from error
            except FileMissing:
                self._in_a_row.clear()
                raise
            if record.version is not None:
                self._in_a_row.clear()
                self._arrived = record
            yield here

    def expect_answers(self, scratch: Path) -> None:
        """Raises `FileUnreadable` where nothing arrives any more, not even what did before: on it would go through the
        whole set. Where that arrives, it is these objects that nobody can have."""
        if len(self._in_a_row) < MOST_IN_A_ROW:
            return
        failed = list(self._in_a_row)
        if self._arrived is not None:
            with suppress(NotFetched, FileMissing), self.opened(self._arrived, scratch):
                return
        raise FileUnreadable(
            f"{len(failed)} objects in a row did not arrive, last: {failed[-1].message}; check the network and your "
            "keys, leave out what you may not read, then run the same command again: what was done is kept"
        )
