"""Some of many records, drawn evenly: so many of a data set, or so many of each class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from telltale.errors import UsageError
from telltale.split._groups import Record


@dataclass(frozen=True, slots=True)
class Draw:
    """So many records, drawn evenly. Raises `UsageError` where that is none, or the seed is below 0."""

    limit: int
    """How many; all, where there are no more."""
    balance: bool = False
    """Half real and half fake. Where there are fewer of one label, as many of the other."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise UsageError(f"--limit wants 1 or more, got {self.limit}")
        if self.balance and self.limit < 2:
            raise UsageError(f"--balance draws pairs: --limit wants 2 or more with it, got {self.limit}")
        check_seed(self.seed)

    def of(self, records: Iterable[Record]) -> list[Record]:
        """Those of `records` that are drawn, in the order they came: what one more changes is at most one of them.
        Raises `UsageError` where halves are asked for of one label only."""
        found = list(records)
        drawn = sorted(range(len(found)), key=lambda i: self._lot(found[i]))
        if self.balance:
            by_label = [[i for i in drawn if found[i].label == label] for label in (0, 1)]
            if found and not all(by_label):
                only, missing = ("real", "fake") if by_label[0] else ("fake", "real")
                raise UsageError(
                    f"--balance draws as many real as fake, and all {len(found):,} are {only}: leave it out, or add "
                    f"{missing} ones"
                )
            n = min(self.limit // 2, *map(len, by_label))
            drawn = [i for half in by_label for i in half[:n]]
        return [found[i] for i in sorted(drawn[: self.limit])]

    def _lot(self, record: Record) -> bytes:
        """Of the record alone: were places drawn, a record that sorts first would change all others'."""
        return hashlib.sha256(f"{self.seed}/{record.dataset}/{record.video_id}".encode()).digest()


def check_seed(seed: int) -> None:
    """Raises `UsageError` for a number that NumPy's generators do not take."""
    if seed < 0:
        raise UsageError(f"--seed wants 0 or more, got {seed}")


def sample(records: Sequence[Record], per_class: int, seed: int) -> list[Record]:
    """`per_class` reals and as many fakes, drawn evenly."""
    rng = np.random.default_rng([seed, 1])
    chosen: list[Record] = []
    for label, word in ((0, "real"), (1, "fake")):
        pool = [record for record in records if record.label == label]
        if len(pool) < per_class:
            raise UsageError(f"--per-class {per_class}: there are only {len(pool)} {word}: ask for fewer")
        chosen += [pool[i] for i in np.sort(rng.choice(len(pool), per_class, replace=False))]
    return chosen
