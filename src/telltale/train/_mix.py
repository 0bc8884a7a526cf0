"""Which faces make each step's batch, drawn so that they depend on (seed, stage, step) and nothing else.

>>> list(Shard(rank=1, world=2).of(5))
[1, 3]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from telltale.errors import DataError, UsageError, nearest
from telltale.recipe import Recipe
from telltale.train._faces import FaceTable
from telltale.types import BoolArray


@dataclass(frozen=True, slots=True)
class Shard:
    """One process of `world`: its part of what all of them do together."""

    rank: int = 0
    world: int = 1

    def of(self, n: int) -> range:
        """Its places of `n`: every `world`-th, so that each process gets its share of every kind."""
        return range(self.rank, n, self.world)


ALONE = Shard()


@dataclass(frozen=True, slots=True)
class Draw:
    """One place in a batch."""

    row: int
    blend: bool = False
    donor: int | None = None
    original: int | None = None
    """The same frame before it was forged, of a fake."""
    graft: bool = False
    """Only a part of the forgery, put into the original."""
    twin: int | None = None
    """The place in the batch whose framing and degradation it shares."""

    def is_fake(self, table: FaceTable) -> bool:
        return self.blend or bool(table.label[self.row])


class Mix:
    """Which faces each step takes: every source's faces in a new random order each time round."""

    def __init__(self, table: FaceTable, recipe: Recipe) -> None:
        """Raises DataError where the recipe asks a source for faces that it does not have, UsageError where it names a
        source that is not there and leaves another unnamed, or takes faces of one class alone."""
        self.table, self.recipe = table, recipe
        self.sources = sorted(set(table.dataset.tolist()))
        self._real: dict[str, npt.NDArray[np.int64]] = {}
        self._fake: dict[str, npt.NDArray[np.int64]] = {}
        self._lone: dict[str, BoolArray] = {}
        """Of each of `_fake`: whether its group has no real, so that no real brings it along."""
        self._partners: dict[str, list[int]] = {}
        for source in self.sources:
            mine = table.dataset == source
            self._real[source] = np.flatnonzero(mine & (table.label == 0))
            self._fake[source] = np.flatnonzero(mine & (table.label == 1))
            of_reals = table.group_id[self._real[source]]
            self._lone[source] = ~np.isin(table.group_id[self._fake[source]], of_reals)
            mix = recipe.mix_for(source)
            for wanted, rows, kind in (
                (mix.real + mix.blend, self._real[source], "real"),
                (mix.fake + mix.graft, self._fake[source], "fake"),
            ):
                if wanted and not len(rows):
                    raise DataError(f"the recipe takes {kind} faces from {source}, which has none in training")
        for row in np.flatnonzero(table.label == 1):
            self._partners.setdefault(f"{table.dataset[row]}/{table.group_id[row]}", []).append(int(row))
        if not any(self._size(source) for source in self.sources):
            there = ", ".join(self.sources) or "(none)"
            raise DataError(
                f"the recipe's mix names none of the sources {there}: add them with --set 'mix.NAME={{real: 16, fake: "
                "16}}', or take a recipe that mixes any source, as mobilenetv2 does"
            )
        _check_names(recipe, self.sources)
        drawn = [recipe.mix_for(source) for source in self.sources]
        if not any(mix.real for mix in drawn) or not any(mix.fake + mix.blend + mix.graft for mix in drawn):
            raise UsageError("the recipe's mix takes faces of one class alone: give `real`, and `fake` or `blend`")

    @cached_property
    def _moments(self) -> list[tuple[str, str, float]]:
        """Of each row: its source, its group, and when."""
        of = self.table
        return list(zip(of.dataset.tolist(), of.group_id.tolist(), np.round(of.pts_s, 3).tolist(), strict=True))

    @cached_property
    def _reals(self) -> dict[tuple[str, str, float], int]:
        """Moment -> its real face. Not where several are seen: a group may be two people, as in FaceForensics++, and
        nothing says whom of them a fake shows."""
        rows = np.flatnonzero(self.table.label == 0).tolist()
        tracks: dict[tuple[str, str, float], set[str]] = {}
        for row in rows:
            tracks.setdefault(self._moments[row], set()).add(str(self.table.track[row]))
        return {self._moments[row]: row for row in reversed(rows) if len(tracks[self._moments[row]]) == 1}

    @cached_property
    def _originals(self) -> dict[int, int]:
        """Fake -> the real face of the same group at the same time, where there is one and no other."""
        rows = np.flatnonzero(self.table.label == 1).tolist()
        return {row: self._reals[self._moments[row]] for row in rows if self._moments[row] in self._reals}

    def _size(self, source: str) -> int:
        mix = self.recipe.mix_for(source)
        return mix.real + mix.fake + mix.blend + mix.graft

    def steps_once(self) -> int:
        """How many steps take the faces that are drawn from once, over all sources."""
        n_drawn = n_faces = 0
        for source in self.sources:
            mix = self.recipe.mix_for(source)
            n_drawn += max(mix.real, mix.blend) + mix.fake + mix.graft
            n_faces += len(self._real[source]) * bool(mix.real or mix.blend)
            n_faces += len(self._fake[source]) * bool(mix.fake or mix.graft)
        return max(1, round(n_faces / n_drawn))

    def draws(self, stage: int, step: int) -> list[Draw]:
        """The faces of one step."""
        batch: list[Draw] = []
        for number, source in enumerate(self.sources):
            mix = self.recipe.mix_for(source)
            rng = np.random.default_rng([self.recipe.seed, stage, step, number, 1])
            n_real = max(mix.real, mix.blend)
            reals = self._cycle(self._real[source], step * n_real, n_real, stage, 2 * number)
            first = len(batch)
            batch += [Draw(row) for row in reals[: mix.real]]
            if self.recipe.pairing == "none" or not mix.real:
                fakes = self._cycle(self._fake[source], step * mix.fake, mix.fake, stage, 2 * number + 1)
            else:
                fakes = self._paired(number, reals[: mix.real], mix.fake, stage, step, rng)
            for i, row in enumerate(fakes):
                alike = self.recipe.pairing == "alike" and i < mix.real and self._is_pair(row, reals[i])
                batch.append(Draw(row, original=self._originals.get(row), twin=first + i if alike else None))
            for row in self._cycle(self._fake[source], step * mix.graft, mix.graft, stage, 1000 + number):
                original = self._originals.get(row)
                batch.append(Draw(row, original=original, graft=original is not None))
            for row in reals[: mix.blend]:
                donor = int(rng.choice(self._real[source])) if rng.random() < mix.donor_p else None
                known = donor is not None and np.isfinite(self.table.points[[row, donor]]).all()
                batch.append(Draw(row, blend=True, donor=donor if known else None))
        return batch

    def _is_pair(self, fake: int, real: int) -> bool:
        """Whether the fake is of the real's group, and the real is the only one there."""
        return bool(self.table.group_id[fake] == self.table.group_id[real]) and self._moments[real] in self._reals

    def _paired(
        self, number: int, reals: Sequence[int], n: int, stage: int, step: int, rng: np.random.Generator
    ) -> list[int]:
        """`n` fakes, one of each real's group; where a group has none, the next of those that have a real.

        Fakes whose group has no real would never come: they take as large a share of the places as they are of the
        fakes, first those that no real claims.
        """
        source = self.sources[number]
        rows, lone = self._fake[source], self._lone[source]
        groups = [f"{source}/{group}" for group in self.table.group_id[list(reals[:n])].tolist()]
        partners = [self._partners.get(group, []) for group in groups] + [[]] * (n - len(groups))
        done, due = (n * at * int(lone.sum()) // len(rows) for at in (step, step + 1)) if n else (0, 0)
        theirs = sorted(range(n), key=lambda place: bool(partners[place]))[: due - done]
        alone = iter(self._cycle(rows[lone], done, due - done, stage, 2 * number + 1))
        spare = iter(self._cycle(rows[~lone], step * n, n if not lone.all() else 0, stage, 2 * number + 1))
        found = []
        for place, own in enumerate(partners):
            if place in theirs:
                found.append(next(alone))
            else:
                found.append(int(rng.choice(own)) if own else next(spare))
        return found

    def _cycle(self, rows: npt.NDArray[np.int64], first: int, n: int, stage: int, stream: int) -> list[int]:
        """`n` rows from position `first` of an endless series of permutations."""
        found: list[int] = []
        while len(found) < n:
            turn, at = divmod(first + len(found), len(rows))
            order = np.random.default_rng([self.recipe.seed, stage, turn, stream, 2]).permutation(rows)
            found += order[at : at + n - len(found)].tolist()
        return found


def _check_names(recipe: Recipe, sources: Sequence[str]) -> None:
    strange = [name for name in recipe.mix if name not in sources and name != "*"]
    unnamed = [source for source in sources if source not in recipe.mix]
    if strange and unnamed:
        there_are = f"(there are {', '.join(sources)}){nearest(strange[0], unnamed)}"
        raise UsageError(f"mix.{strange[0]}: no face is of that source {there_are}")
