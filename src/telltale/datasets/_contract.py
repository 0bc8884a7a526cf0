"""What a reader of a data set is given and what it gives back. Users import it from `telltale.datasets`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from telltale._text import encodable
from telltale.errors import UnknownLabel
from telltale.types import FaceRecord, Side, VideoRecord

Record = VideoRecord | FaceRecord
ProblemKind = Literal["missing", "unlabelled", "contradictory", "duplicate", "unknown", "unused"]
"""`contradictory` is a file that is there twice, once real and once fake; `unused` is a column of a list."""
WORDS = {"real": 0, "fake": 1}
NUMBERS = {**WORDS, "0": 0, "1": 1, "0.0": 0, "1.0": 1}
SIDES: dict[str, Side] = {"train": "train", "val": "val", "test": "test"}
SIDE_WORDS: dict[str, Side] = {**SIDES, "validation": "val"}
SAME_BYTES = "same bytes as "
"""In the detail of a duplicate or a contradiction, before the name of the other one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the table of what is wrong with a data set."""

    kind: ProblemKind
    path: str
    """Inside the data set, forward slashes."""
    detail: str = ""
    """Why; of a column that is not read, its name."""


def subject(kind: str, path: str, detail: str) -> str:
    """What a problem is about, for a line that names several: a file (and its twin of the other label), or a column."""
    if kind == "unused":
        return detail
    return f"{path} ({detail})" if kind == "contradictory" else path


def twin_of(detail: str) -> str | None:
    """The file that a duplicate has the bytes of; None where it is none of a file."""
    return detail.removeprefix(SAME_BYTES) if detail.startswith(SAME_BYTES) else None


@dataclass(frozen=True, slots=True)
class Options:
    """How to read. `labels` maps a set's own words (folded to lower case) to 0 or 1; `groups` see `read`."""

    labels: Mapping[str, int] = field(default_factory=dict)
    groups: str | None = None

    def label(self, word: object, *, where: str, known: Mapping[str, int] = WORDS) -> int:
        """0 or 1 for a set's own `word`; `UnknownLabel` naming `where` otherwise. Beside `labels` only real and
        fake are known: of `1=real` nobody should learn that 0 is real too."""
        key = str(word).strip().casefold()
        table = {**WORDS, **self.labels} if self.labels else known
        if key in table:
            return table[key]
        raise UnknownLabel(
            f"{where} is labelled {str(word)!r}, which is none of {', '.join(sorted(table))}: "
            f"say what it means with --labels {str(word).strip() or 'NAME'}=fake (or =real)"
        )


@dataclass(slots=True)
class Found:
    """What a reader fills while it walks."""

    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: ProblemKind, path: str, detail: str = "") -> None:
        """Add one; bytes of a name that are no text become \\xNN."""
        self.problems.append(Problem(kind, encodable(path), encodable(detail)))


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set as read: `records` sorted by name, `problems` by kind and path."""

    name: str
    """The format that read it."""
    root: str
    records: tuple[Record, ...]
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def counts(self) -> Counter[tuple[int, str | None]]:
        """How many records of each (label, method)."""
        return Counter((record.label, record.method) for record in self.records)

    def __repr__(self) -> str:
        fakes = sum(record.label for record in self.records)
        return f"Dataset({self.name}, {len(self.records) - fakes} real, {fakes} fake, {len(self.problems)} problems)"


class Reader(Protocol):
    """A file in `telltale/datasets/`. Its name is the format's name, underscores for dashes."""

    LAYOUT: str
    """Where its files lie, for messages."""

    def recognise(self, root: Path) -> bool:
        """True where the marker files of this layout are there. Cheap: looks, does not walk."""
        ...

    def read(self, root: Path, options: Options) -> Found:
        """Every record and every problem; raises only `UnknownLabel` and `DataError`."""
        ...
