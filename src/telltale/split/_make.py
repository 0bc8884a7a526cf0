"""Sides for records: by group, official or random; and folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from telltale._text import plural
from telltale.errors import UsageError
from telltale.split._deal import by_group, one_by_one
from telltale.split._draw import check_seed, sample
from telltale.split._groups import (
    Record,
    fakes_alone,
    find_leaks,
    group_pieces,
    whole_groups,
)
from telltale.types import Side

By = Literal["group", "official", "random"]
Ratio = str | Sequence[float]

SIDES: tuple[Side, ...] = ("train", "val", "test")
FEW = 10
"""Below so many videos of a class a side says little about it."""


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


def _told(split: Split, records: Sequence[Record], *, every: Sequence[Record]) -> Split:
    """`split` of `records`, drawn from `every`, with its leaks and what the user should be told of them."""
    leaks = find_leaks({side: split.select(records, side) for side in SIDES})
    notes = list(split.notes)
    dealt = [record for record in records if record.video_id in split.sides]
    torn = whole_groups(leaks.groups, dealt)
    if torn:
        n_groups = len({record.group_id for record in dealt})
        notes.append(
            f"LEAK: {len(torn)} of {plural(n_groups, 'group is', 'groups are')} on more than one side: figures "
            "on this split say nothing about people that the model never saw"
        )
    if leaks.persons:
        why = ": with everybody together who shares a video, the sides would miss their shares"
        was_tried = split.by not in ("official", "random")
        told = plural(len(leaks.persons), "person is", "persons are")
        notes.append(f"{told} on more than one side{why if was_tried else ''}")
    if split.by != "random" and (n_alone := fakes_alone(records, among=every)):
        n_fakes = sum(record.label for record in records)
        notes.append(
            f"{n_alone} of {plural(n_fakes, 'fake')} {'shares' if n_alone == 1 else 'share'} no group with any real, "
            "which may not have been drawn (`prepare --limit`); where the originals are here under other names, a fake "
            "and its original may be on two sides: name them alike, or give both one group_id in a list"
        )
    notes += thin_sides(split.counts(records))
    return replace(split, leaked_groups=torn, shared_persons=leaks.persons, notes=tuple(notes))


def thin_sides(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """Sentences about sides without a class, or with few of one. `counts`: side -> (how many real, how many fake)."""
    found = [
        f"{side} has no {'fake' if n_real else 'real'} video"
        for side, (n_real, n_fake) in counts.items()
        if not n_real or not n_fake
    ]
    few = {
        side: [f"{n} {word}" for n, word in zip(both, ("real", "fake"), strict=True) if 0 < n < FEW]
        for side, both in counts.items()
    }
    if any(few.values()):
        shown = ", ".join(f"{side} {' + '.join(words)}" for side, words in few.items() if words)
        found.append(f"few of a class on a side: {shown}; below {FEW} little can be learned or measured")
    return found


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
    check_seed(seed)
    found = sorted(records, key=lambda record: (record.dataset, record.video_id))
    _check(found)
    shares = parse_ratio(ratio)
    every = found
    if per_class is not None:
        found = sample(every, per_class, seed)
    if by == "official":
        return _told(_official(found, shares, seed), found, every=every)
    used = [(side, share) for side, share in zip(SIDES, shares, strict=True) if share > 0]
    wanted = np.array([share for _, share in used])
    kept: Literal["group", "person", "nothing"] = "nothing"
    if by == "random":
        dealt = one_by_one(found, wanted, seed)
    elif by == "group":
        dealt, kept = by_group(found, wanted, seed)
    else:
        raise UsageError(f"--by wants group, official or random, got {by!r}")
    sides = {record.video_id: used[i][0] for record, i in zip(found, dealt, strict=True)}
    return _told(Split(sides, by, seed, shares, kept), found, every=every)


def _check(records: Sequence[Record]) -> None:
    if not records:
        raise UsageError("there is nothing to split: the data set has no usable video")
    ids = Counter(record.video_id for record in records)
    video_id, n = ids.most_common(1)[0]
    if n > 1:
        raise UsageError(f"{video_id} is there {n} times: leave one out, or deal whole stores with split_stores")


def _official(records: Sequence[Record], shares: tuple[float, float, float], seed: int) -> Split:
    sides: dict[str, Side] = {r.video_id: r.official_split for r in records if r.official_split is not None}
    if not sides:
        raise UsageError("this data set names no official split: use --by group")
    notes = []
    if len(sides) < len(records):
        n_left = len(records) - len(sides)
        notes.append(f"{plural(n_left, 'video is', 'videos are')} on no official side and left out")
    kept: Literal["group", "person", "nothing"] = "nothing"
    if "val" not in sides.values() and shares[1] > 0:
        held = {group for r in records if sides.get(r.video_id) == "test" for group in group_pieces(r.group_id)}
        train = [r for r in records if sides.get(r.video_id) == "train" and held.isdisjoint(group_pieces(r.group_id))]
        if train:
            wanted = np.array([shares[0], shares[1]]) / (shares[0] + shares[1])
            dealt, kept = by_group(train, wanted, seed)
            sides |= {r.video_id: SIDES[i] for r, i in zip(train, dealt, strict=True)}
            notes.append("the official split has no validation side: one was taken from its training side by group")
    return Split(sides, "official", seed, shares, kept, notes=tuple(notes))


def k_fold(records: Iterable[Record], *, k: int, seed: int = 0, per_class: int | None = None) -> list[Split]:
    """`k` splits into train and val; every record validates exactly once. Grouped and stratified like `make_split`."""
    if k < 2:
        raise UsageError(f"--folds wants 2 or more, got {k}")
    check_seed(seed)
    found = sorted(records, key=lambda record: (record.dataset, record.video_id))
    _check(found)
    every = found
    if per_class is not None:
        found = sample(every, per_class, seed)
    dealt, kept = by_group(found, np.full(k, 1 / k), seed, called="folds with --folds")
    ratio = ((k - 1) / k, 1 / k, 0.0)
    splits = []
    for fold in range(k):
        sides: dict[str, Side] = {
            record.video_id: "val" if i == fold else "train" for record, i in zip(found, dealt, strict=True)
        }
        splits.append(_told(Split(sides, f"fold {fold + 1} of {k}", seed, ratio, kept), found, every=every))
    return splits
