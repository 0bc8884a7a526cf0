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


def print_table(summaries: Sequence[Summary], console: Console) -> None:
    """One row a file, then how often each verdict was given."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), expand=False, show_edge=False)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("File, and why", overflow="fold", ratio=1)
    table.add_column("Fake?", justify="right", no_wrap=True)
    table.add_column("People", justify="right", no_wrap=True)
    table.add_column("Faces", justify="right", no_wrap=True)
    table.add_column("Time", justify="right", no_wrap=True)
    for one in summaries:
        table.add_row(
            _verdict(one),
            _file(one),
            "" if one.p_fake is None else percent(one.p_fake),
            str(one.n_people) if one.n_analysed else "",
            str(one.n_faces) if one.n_analysed else "",
            "" if one.took_s is None else f"{one.took_s:.1f} s",
        )
    console.print(table)
    console.print(Text(_tally(summaries), style="dim"))


def _verdict(one: Summary) -> Text:
    words = LABELS[one.label]
    return Text(f"{words.glyph} {words.name}", style=_STYLES[one.label])


def _file(one: Summary) -> Text:
    reason = f"{one.error}: {one.reason}" if one.error else one.reason
    return Text.assemble(visible(one.path), ("\n" + reason if reason else "", "dim"))


def _tally(summaries: Sequence[Summary]) -> str:
    counts = ", ".join(f"{n} {LABELS[label].name}" for label, n in count_labels(summaries).items())
    return f"{plural(len(summaries), 'file')}: {counts}. A score is no proof."


__all__ = ["print_table"]
