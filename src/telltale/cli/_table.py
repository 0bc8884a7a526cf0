"""The verdict table on the terminal, readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from telltale._report_index import Summary, count_labels
from telltale._report_words import LABELS
from telltale._text import percent, plural, visible

_STYLES = {"fake": "bold red", "uncertain": "yellow", "real": "green", "no_face": "dim", "failed": "magenta"}
_WIDE_CHARS = 120


def print_table(summaries: Sequence[Summary], console: Console) -> None:
    """One row a file, then how often each verdict was given."""
    table = _wide(summaries) if console.width >= _WIDE_CHARS else _narrow(summaries)
    console.print(table)
    console.print(Text(_tally(summaries), style="dim"))


def _wide(summaries: Sequence[Summary]) -> Table:
    table = _table()
    table.add_column("File", overflow="fold", ratio=2)
    for name in ("People", "Faces", "Took"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Why", overflow="fold", ratio=3)
    for one in summaries:
        counts = (str(one.n_people), str(one.n_faces)) if one.n_analysed else ("", "")
        table.add_row(*_verdict(one), Text(visible(one.path)), *counts, _took(one), Text(_why(one), style="dim"))
    return table


def _narrow(summaries: Sequence[Summary]) -> Table:
    table = _table()
    table.add_column("File, what was found, why", overflow="fold", ratio=1)
    for one in summaries:
        counts = [plural(one.n_people, "person", "people"), plural(one.n_faces, "face")] if one.n_analysed else []
        took = [] if one.took_s is None else [f"took {_took(one)}"]  # else it reads like the clip's own length
        found = ", ".join([*counts, *took])
        table.add_row(*_verdict(one), Text.assemble(visible(one.path), (f"\n{found}\n{_why(one)}", "dim")))
    return table


def _table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Fake score", justify="right", no_wrap=True)
    return table


def _verdict(one: Summary) -> tuple[Text, str]:
    words = LABELS[one.label]
    score = "" if one.p_fake is None else percent(one.p_fake)
    return Text(f"{words.glyph} {words.name}", style=_STYLES[one.label]), score


def _took(one: Summary) -> str:
    return "" if one.took_s is None else f"{one.took_s:.1f} s"


def _why(one: Summary) -> str:
    return f"{one.error}: {one.reason}" if one.error else one.reason


def _tally(summaries: Sequence[Summary]) -> str:
    counts = ", ".join(f"{n} {LABELS[label].name}" for label, n in count_labels(summaries).items())
    return f"{plural(len(summaries), 'file')}: {counts}. A score is no proof."
