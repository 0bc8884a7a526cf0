"""Who trains, who validates, who tests: grouped, stratified by label and method, and the same again from the same seed.

A group (the original video and every fake of it, the persons in it where that leaves more than one group) is never
on two sides. Where a record says who is in it, everybody they share a video with goes along, as long as the sides
still come out at the sizes asked for; where they would not (in Celeb-DF everybody is connected with everybody), the
group is kept together and the persons left on two sides are counted in the result.

>>> from telltale.types import VideoRecord
>>> def video(name, label, group):
...     return VideoRecord(dataset="d", video_id=name, path=name, name=name, label=label, group_id=group)
>>> records = [video(f"{kind}{i}", kind == "fake", f"d:{i}") for i in range(10) for kind in ("real", "fake")]
>>> split = make_split(records, ratio="80/10/10", seed=1)
>>> split.counts(records)
{'train': (8, 8), 'val': (1, 1), 'test': (1, 1)}
>>> split.side("real3") == split.side("fake3")
True
>>> make_split(records, by="random", seed=1).leaked_groups != ()
True
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from telltale._components import Components
from telltale.errors import LeakFound, UsageError
from telltale.types import FaceRecord, Side, VideoRecord

Record = VideoRecord | FaceRecord
By = Literal["group", "official", "random"]
Ratio = str | Sequence[float]

SIDES: tuple[Side, ...] = ("train", "val", "test")

_OF_SEVERAL = "ffpp:"
"""Where groups name several sources. Not `dfdc:`: other groups would then be unseen by the shipped model."""
TOLERANCE_FRAC = 0.05
"""Persons are kept together while every side is within this of the share asked for."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """What lies on more than one side: groups (a leak) and persons (reported; some sets leave no choice)."""

    groups: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Split:
    """video_id -> side. A video that was not drawn (`per_class`, no official side) is in none."""

    sides: Mapping[str, Side]
    by: str
    seed: int
    ratio: tuple[float, ...]
    kept_together: Literal["group", "person", "nothing"]
    """What was asked to stay on one side, as far as it could be had."""
    leaked_groups: tuple[str, ...] = ()
    """Groups on more than one side: none unless `by` is random, or the official split has them."""
    shared_persons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user should be told, in sentences."""

    def side(self, video_id: str) -> Side | None:
        return self.sides.get(video_id)

    def select(self, records: Iterable[Record], side: Side) -> list[Record]:
        return [record for record in records if self.sides.get(record.video_id) == side]

    def counts(self, records: Iterable[Record]) -> dict[str, tuple[int, int]]:
        """Side -> (how many real, how many fake)."""
        found = Counter((self.sides.get(record.video_id), record.label) for record in records)
        return {side: (found[side, 0], found[side, 1]) for side in SIDES if found[side, 0] or found[side, 1]}


def parse_ratio(ratio: Ratio) -> tuple[float, float, float]:
    """`80/10/10` = train/val/test, `80/20` = train/test, as shares that add up to 1."""
    try:
        parts = [float(part) for part in (ratio.split("/") if isinstance(ratio, str) else ratio)]
    except ValueError:
        parts = []
    if len(parts) == 2:
        parts.insert(1, 0.0)
    if len(parts) != 3 or not all(np.isfinite(parts)) or min(parts) < 0 or parts[0] == 0 or parts[0] == sum(parts):
        raise UsageError(f"--ratio wants TRAIN/VAL/TEST or TRAIN/TEST, such as 80/10/10 or 80/20, got {ratio!r}")
    total = sum(parts)
    return parts[0] / total, parts[1] / total, parts[2] / total


def _pieces(value: str) -> list[str]:
    """`NS:a+b` -> `NS:a`, `NS:b`."""
    namespace, _, members = value.partition(":")
    return [f"{namespace}:{member}" for member in members.split("+")] if members else [value]


def group_pieces(group_id: str) -> list[str]:
    """The sources a group stands for. FaceForensics++ groups name both videos of a pair, and DeeperForensics, made
    from the same videos, only one of them."""
    return _pieces(group_id) if group_id.startswith(_OF_SEVERAL) else [group_id]


def joined_group(group_ids: Sequence[str]) -> str:
    """One name for groups that must stay together: all their sources, where `group_pieces` tells them apart again, so
    that each is still found in other stores; else the smallest."""
    pieces = sorted({piece for group_id in group_ids for piece in group_pieces(group_id)})
    if not all(piece.startswith(_OF_SEVERAL) for piece in pieces):
        return min(group_ids)
    return _OF_SEVERAL + "+".join(piece.removeprefix(_OF_SEVERAL) for piece in pieces)


def persons(record: Record) -> list[str]:
    """Everybody in it, target first; empty where the set does not say."""
    return _pieces(record.person_id) if record.person_id else []


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


def _deal(
    units: Sequence[str],
    strata: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """A side for every record, none cutting a unit.

    Big units first, each to the side that is then nearest to its share of every stratum (chi-square distance);
    equal ones in a drawn order. Depends on the set of records, not on their order.
    """
    names, unit_of = np.unique(np.array(units, dtype=object).astype(str), return_inverse=True)
    n_strata = int(strata.max()) + 1
    counts = np.zeros((len(names), n_strata))
    np.add.at(counts, (unit_of, strata), 1)
    totals = counts.sum(axis=0)
    want = shares[:, None] * totals
    have = np.zeros_like(want)
    weight = 1 / (shares[:, None] * totals)
    drawn = rng.permutation(len(names))
    order = drawn[np.argsort(-counts.sum(axis=1)[drawn], kind="stable")]
    side_of = np.empty(len(names), np.int64)
    for unit in order:
        n = counts[unit]
        cost = (weight * n * (2 * (have - want) + n)).sum(axis=1)
        side_of[unit] = int(np.argmin(np.round(cost, 9)))
        have[side_of[unit]] += n
    by_label = np.zeros((len(names), 2), np.int64)
    np.add.at(by_label, (unit_of, labels), 1)
    _fill(side_of, by_label, len(shares))
    return side_of[unit_of]


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


def _off_by(dealt: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> float:
    got = np.bincount(dealt, minlength=len(shares)) / len(dealt)
    return float(np.abs(got - shares).max())


def _sample(records: Sequence[Record], per_class: int, seed: int) -> list[Record]:
    """`per_class` reals and as many fakes, drawn evenly."""
    rng = np.random.default_rng([seed, 1])
    chosen: list[Record] = []
    for label, word in ((0, "real"), (1, "fake")):
        pool = [record for record in records if record.label == label]
        if len(pool) < per_class:
            raise UsageError(f"--per-class {per_class}: there are only {len(pool)} {word}: ask for fewer")
        chosen += [pool[i] for i in np.sort(rng.choice(len(pool), per_class, replace=False))]
    return chosen


@dataclass(frozen=True, slots=True)
class Draw:
    """So many records, drawn evenly. Raises `UsageError` where that is none."""

    limit: int
    """How many; all, where there are no more."""
    balance: bool = False
    """Half real and half fake. Where there are fewer of one label, as many of the other."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise UsageError(f"--limit wants 1 or more, got {self.limit}")

    def of(self, records: Iterable[Record]) -> list[Record]:
        """Those of `records` that are drawn, in the order they came."""
        found = list(records)
        rng = np.random.default_rng([self.seed, 2])
        order = sorted(range(len(found)), key=lambda i: (found[i].dataset, found[i].video_id))
        drawn = [order[i] for i in rng.permutation(len(order))]
        if self.balance:
            by_label = [[i for i in drawn if found[i].label == label] for label in (0, 1)]
            n = min(self.limit // 2, *map(len, by_label))
            drawn = [i for half in by_label for i in half[:n]]
        return [found[i] for i in sorted(drawn[: self.limit])]


def _dealt(
    records: Sequence[Record], shares: npt.NDArray[np.float64], seed: int
) -> tuple[npt.NDArray[np.int64], Literal["group", "person"]]:
    """Sides for `records` that cut no group, and no acquaintance of persons where that can be had."""
    strata = _strata(records)
    labels = np.array([record.label for record in records], np.int64)
    groups = _units(records, with_persons=False)
    if len(set(groups)) < len(shares):
        raise UsageError(
            f"{len(records)} videos are only {len(set(groups))} group(s), too few for {len(shares)} sides: ask for "
            "fewer sides with --ratio, or add videos with other originals"
        )
    dealt = _deal(groups, strata, labels, shares, np.random.default_rng([seed, 0]))
    if any(record.person_id for record in records):
        circles = _units(records, with_persons=True)
        if len(set(circles)) >= len(shares):
            kept = _deal(circles, strata, labels, shares, np.random.default_rng([seed, 0]))
            if _off_by(kept, shares) <= max(TOLERANCE_FRAC, _off_by(dealt, shares)):
                return kept, "person"
    return dealt, "group"


def _finish(
    records: Sequence[Record], sides: dict[str, Side], *, kept: Literal["group", "person", "nothing"], by: str,
    seed: int, ratio: tuple[float, ...], notes: Sequence[str] = (),
) -> Split:  # fmt: skip
    leaks = find_leaks({side: [r for r in records if sides.get(r.video_id) == side] for side in SIDES})
    told = list(notes)
    if leaks.groups:
        n_groups = len({record.group_id for record in records if record.video_id in sides})
        told.append(f"{len(leaks.groups)} of {n_groups} groups are on more than one side: figures will flatter")
    if leaks.persons:
        told.append(
            f"{len(leaks.persons)} persons are on more than one side: keeping everybody together who shares a video "
            "would leave too few groups"
        )
    split = Split(sides, by, seed, ratio, kept, leaks.groups, leaks.persons)
    for side, (n_real, n_fake) in split.counts(records).items():
        if not n_real or not n_fake:
            told.append(f"{side} has no {'fake' if n_real else 'real'} video")
    return replace(split, notes=tuple(told))


def make_split(
    records: Iterable[Record],
    *,
    by: By = "group",
    ratio: Ratio = (80, 10, 10),
    seed: int = 0,
    per_class: int | None = None,
) -> Split:
    """Sides for `records`, the same for the same records and seed whatever their order.

    `by="official"` takes the set's own sides; where it names no validation side, one is taken from its training side
    by group, in the proportion of `ratio`. `by="random"` ignores groups, as many papers did, and says how many it
    tears apart. `per_class` first draws that many reals and fakes. Raises `UsageError`.
    """
    found = sorted(records, key=lambda record: (record.dataset, record.video_id))
    _check(found)
    shares = parse_ratio(ratio)
    if per_class is not None:
        found = _sample(found, per_class, seed)
    if by == "official":
        return _official(found, shares, seed)
    used = [(side, share) for side, share in zip(SIDES, shares, strict=True) if share > 0]
    wanted = np.array([share for _, share in used])
    kept: Literal["group", "person", "nothing"] = "nothing"
    if by == "random":
        labels = np.array([record.label for record in found], np.int64)
        units = [f"{position:09d}" for position in range(len(found))]
        dealt = _deal(units, _strata(found), labels, wanted, np.random.default_rng([seed, 0]))
    elif by == "group":
        dealt, kept = _dealt(found, wanted, seed)
    else:
        raise UsageError(f"--by wants group, official or random, got {by!r}")
    sides = {record.video_id: used[i][0] for record, i in zip(found, dealt, strict=True)}
    return _finish(found, sides, kept=kept, by=by, seed=seed, ratio=shares)


def _check(records: Sequence[Record]) -> None:
    if not records:
        raise UsageError("there is nothing to split: the data set has no usable video")
    ids = Counter(record.video_id for record in records)
    video_id, n = ids.most_common(1)[0]
    if n > 1:
        raise UsageError(f"{video_id} is there {n} times: split each store on its own")


def _official(records: Sequence[Record], shares: tuple[float, float, float], seed: int) -> Split:
    sides: dict[str, Side] = {r.video_id: r.official_split for r in records if r.official_split is not None}
    if not sides:
        raise UsageError("this data set names no official split: use --by group")
    notes = []
    if len(sides) < len(records):
        notes.append(f"{len(records) - len(sides)} videos are on no official side and are left out")
    kept: Literal["group", "person", "nothing"] = "nothing"
    if "val" not in sides.values() and shares[1] > 0:
        held = {group for r in records if sides.get(r.video_id) == "test" for group in group_pieces(r.group_id)}
        train = [r for r in records if sides.get(r.video_id) == "train" and held.isdisjoint(group_pieces(r.group_id))]
        if train:
            wanted = np.array([shares[0], shares[1]]) / (shares[0] + shares[1])
            dealt, kept = _dealt(train, wanted, seed)
            sides |= {r.video_id: SIDES[i] for r, i in zip(train, dealt, strict=True)}
            notes.append("the official split has no validation side: one was taken from its training side by group")
    return _finish(records, sides, kept=kept, by="official", seed=seed, ratio=shares, notes=notes)


def k_fold(records: Iterable[Record], *, k: int, seed: int = 0, per_class: int | None = None) -> list[Split]:
    """`k` splits into train and val; every record validates exactly once. Grouped and stratified like `make_split`."""
    if k < 2:
        raise UsageError(f"--folds wants 2 or more, got {k}")
    found = sorted(records, key=lambda record: (record.dataset, record.video_id))
    _check(found)
    if per_class is not None:
        found = _sample(found, per_class, seed)
    dealt, kept = _dealt(found, np.full(k, 1 / k), seed)
    return [
        _finish(
            found,
            {record.video_id: "val" if i == fold else "train" for record, i in zip(found, dealt, strict=True)},
            kept=kept,
            by=f"fold {fold + 1} of {k}",
            seed=seed,
            ratio=((k - 1) / k, 1 / k, 0.0),
        )
        for fold in range(k)
    ]


def find_leaks(*stores: Mapping[str, Iterable[Record]]) -> Leaks:
    """Groups and persons on more than one side, over all the stores given: side -> records for each."""
    groups: dict[str, set[str]] = {}
    people: dict[str, set[str]] = {}
    for side, records in (item for sides in stores for item in sides.items()):
        for record in records:
            for piece in group_pieces(record.group_id):
                groups.setdefault(piece, set()).add(side)
            for person in persons(record):
                people.setdefault(person, set()).add(side)
    return Leaks(
        tuple(sorted(name for name, on in groups.items() if len(on) > 1)),
        tuple(sorted(name for name, on in people.items() if len(on) > 1)),
    )


def check_leaks(*stores: Mapping[str, Iterable[Record]], allow_leaks: bool = False) -> Leaks:
    """`find_leaks`, but groups on two sides raise `LeakFound` unless `allow_leaks`."""
    leaks = find_leaks(*stores)
    if leaks.groups and not allow_leaks:
        shown = ", ".join(leaks.groups[:3]) + (", ..." if len(leaks.groups) > 3 else "")
        raise LeakFound(
            f"{len(leaks.groups)} group(s) are on more than one side ({shown}): the figures would flatter. Split with "
            "--by group, or accept it with --allow-leaks"
        )
    return leaks


__all__ = [
    "SIDES",
    "By",
    "Draw",
    "Leaks",
    "Split",
    "check_leaks",
    "find_leaks",
    "joined_group",
    "k_fold",
    "make_split",
    "parse_ratio",
    "persons",
]
