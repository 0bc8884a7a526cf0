"""Deals records out to sides in the shares asked for: stratified, cutting no group and, where it can be had, no circle
of persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from telltale._components import Components
from telltale.errors import UsageError
from telltale.split._groups import Record, group_pieces, persons

TOLERANCE_FRAC = 0.05
"""Persons are kept together while every side has each label within this of the share asked for."""
MAX_DEALS = 32
"""So often it is dealt where a side has a label further off than that, or not at all."""
_MAX_PLACED = 50_000
"""Units over all deals but the first: among very many the order says little, and each takes time."""


def _units(records: Sequence[Record], *, with_persons: bool) -> list[str]:
    """The name of what each record must stay together with."""
    joined = Components()
    for record in records:
        tied = [f"group {piece}" for piece in group_pieces(record.group_id)]
        if with_persons:
            tied += [f"person {person}" for person in persons(record)]
        joined.join(tied)
    return [joined.find(f"group {group_pieces(record.group_id)[0]}") for record in records]


def _strata(records: Sequence[Record]) -> npt.NDArray[np.int64]:
    keys = [(record.label, record.dataset, record.method or "") for record in records]
    index = {key: position for position, key in enumerate(sorted(set(keys)))}
    return np.array([index[key] for key in keys], np.int64)


@dataclass(frozen=True, slots=True, order=True)
class _Missed:
    """How far a deal is from what was asked for; the least is best."""

    n_empty: int
    """Sides without a label, counted for each."""
    off_by_frac: float
    """Of a label's records, on the side that has furthest from its share of them."""


def _missed(dealt: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> _Missed:
    counts = np.stack([np.bincount(dealt[labels == label], minlength=len(shares)) for label in np.unique(labels)])
    got = counts / counts.sum(axis=1, keepdims=True)
    return _Missed(int((counts == 0).sum()), float(np.abs(got - shares).max()))


def _deal(
    units: Sequence[str],
    strata: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
    seed: int,
) -> tuple[npt.NDArray[np.int64], _Missed]:
    """A side for every record, none cutting a unit, and what that misses: the best of up to `MAX_DEALS` where the
    first, which takes big units first, misses something. Depends on the set of records, not on their order."""
    names, unit_of = np.unique(np.array(units, dtype=object).astype(str), return_inverse=True)
    counts = np.zeros((len(names), int(strata.max()) + 1))
    np.add.at(counts, (unit_of, strata), 1)
    by_label = np.zeros((len(names), 2), np.int64)
    np.add.at(by_label, (unit_of, labels), 1)
    # Fewer units than sides have a label: then as many sides must do without.
    at_best = sum(max(0, len(shares) - int(n)) for n in (by_label > 0).sum(axis=0) if n)
    found: list[tuple[npt.NDArray[np.int64], _Missed]] = []
    for number in range(min(MAX_DEALS, 1 + _MAX_PLACED // len(names))):
        drawn = np.random.default_rng([seed, 0, number] if number else [seed, 0]).permutation(len(names))
        order = drawn if number else drawn[np.argsort(-counts.sum(axis=1)[drawn], kind="stable")]
        side_of = _place(order, counts, shares)
        _fill(side_of, by_label, len(shares))
        dealt = side_of[unit_of]
        found.append((dealt, missed := _missed(dealt, labels, shares)))
        if missed <= _Missed(at_best, TOLERANCE_FRAC):
            break
    return min(found, key=lambda one: one[1])


def _place(
    order: npt.NDArray[np.int64], counts: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """A side for each unit of `counts` (units, strata): in `order`, each to the side that is then nearest to its share
    of every stratum (chi-square distance)."""
    want = shares[:, None] * counts.sum(axis=0)
    have = np.zeros_like(want)
    weight = 1 / want
    side_of = np.empty(len(counts), np.int64)
    for unit in order:
        n = counts[unit]
        cost = (weight * n * (2 * (have - want) + n)).sum(axis=1)
        side_of[unit] = int(np.argmin(np.round(cost, 9)))
        have[side_of[unit]] += n
    return side_of


def _fill(side_of: npt.NDArray[np.int64], by_label: npt.NDArray[np.int64], n_sides: int) -> None:
    """Give a side that has none of a label the smallest unit with that label whose side keeps others like it."""
    has = by_label > 0
    for side in range(n_sides):
        for label in (0, 1):
            held = np.stack([np.bincount(side_of[has[:, k]], minlength=n_sides) for k in (0, 1)], axis=1)
            if held[side, label]:
                continue
            spare = has[:, label] & ~np.any(has & (held[side_of] < 2), axis=1)
            if spare.any():
                candidates = np.flatnonzero(spare)
                side_of[candidates[np.argmin(by_label[candidates].sum(axis=1))]] = side


def by_group(
    records: Sequence[Record], shares: npt.NDArray[np.float64], seed: int, *, called: str = "sides with --ratio"
) -> tuple[npt.NDArray[np.int64], Literal["group", "person"]]:
    """A side's number for each of `records` (n,), cutting no group and, where that can be had, no circle of persons,
    and which of the two it is. Raises `UsageError` where there are fewer groups than sides, and says to ask for fewer
    of what they are `called`."""
    strata = _strata(records)
    labels = np.array([record.label for record in records], np.int64)
    groups = _units(records, with_persons=False)
    if len(set(groups)) < len(shares):
        raise UsageError(
            f"{len(records)} videos are only {len(set(groups))} group(s), too few for {len(shares)} "
            f"{called.partition(' ')[0]}: ask for fewer {called}, or add videos with other originals"
        )
    dealt, missed = _deal(groups, strata, labels, shares, seed)
    if any(record.person_id for record in records):
        circles = _units(records, with_persons=True)
        if len(set(circles)) >= len(shares):
            kept, missed_too = _deal(circles, strata, labels, shares, seed)
            if missed_too <= _Missed(missed.n_empty, max(TOLERANCE_FRAC, missed.off_by_frac)):
                return kept, "person"
    return dealt, "group"


def one_by_one(records: Sequence[Record], shares: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    """A side's number for each of `records` (n,), whatever its group."""
    labels = np.array([record.label for record in records], np.int64)
    units = [f"{position:09d}" for position in range(len(records))]
    return _deal(units, _strata(records), labels, shares, seed)[0]
