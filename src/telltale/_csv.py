"""Tables for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from telltale._text import csv_cell


def to_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table that a spreadsheet opens without running anything; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(
            [csv_cell(value) if isinstance(value, str) else "" if value is None else value for value in row]
        )
    return text.getvalue().encode()
