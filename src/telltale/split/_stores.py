"""Splits of stores: dealt all at once, then written beside each, all of them or none.

    split_stores([open_store("ff.store"), open_store("deeper.store")], name="main", seed=1)

Who is dealt with whom decides on which side a group comes, so one seed is not enough for stores that share originals.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from telltale._files import write_files
from telltale._text import visible
from telltale.errors import OutputError, UsageError
from telltale.split._groups import Record
from telltale.split._make import By, Ratio, Split, k_fold, make_split
from telltale.split._together import together

if TYPE_CHECKING:
    from telltale.store import Store

Counts = dict[str, tuple[int, int]]
"""Side -> (how many real, how many fake)."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """One split, as it lies beside every store."""

    name: str
    splits: tuple[Split, ...]
    """One a store, in their order. Leaks, persons and notes are of all stores together."""
    counts: tuple[Counts, ...]
    """Of each store."""
    notes: tuple[str, ...]
    """What the user should be told, in sentences."""


def split_stores(
    stores: Sequence[Store],
    *,
    name: str,
    by: By = "group",
    ratio: Ratio = (80, 10, 10),
    seed: int = 0,
    per_class: int | None = None,
    folds: int | None = None,
) -> list[Dealt]:
    """Deal the videos of all `stores` out as one set and keep a split called `name` in each; with `folds`, which
    leaves `by` and `ratio` out, as many, called `name-0`, `name-1`, ...

    With `by="group"` a group is on one side in all of them. Shares and `per_class` are of all together: a store alone
    may have others. One store is dealt as `make_split` and `k_fold` do. Raises `UsageError`, and `OutputError`, with no
    split written.
    """
    from telltale.store import check_distinct  # which knows this package

    if folds is not None and by != "group":
        raise UsageError(f"--folds deals by group, not by {by}: leave out --by or --folds")
    check_distinct(stores, or_copies=False)
    sets: list[Sequence[Record]] = [one.face_records() if by == "random" else one.records() for one in stores]
    if len(stores) == 1:
        records, names = list(sets[0]), [{one.video_id: one.video_id for one in sets[0]}]
    else:
        _check_each(stores, sets, by)
        records, names = together(sets, [one.file_sha256s() for one in stores])
    if folds is not None:
        splits = k_fold(records, k=folds, seed=seed, per_class=per_class)
        called = [f"{name}-{fold}" for fold in range(folds)]
    else:
        splits, called = [make_split(records, by=by, ratio=ratio, seed=seed, per_class=per_class)], [name]
    dealt = [_apart(split, one, stores, sets, names) for split, one in zip(splits, called, strict=True)]
    _write_all(stores, dealt, is_of_faces=by == "random")
    return dealt


def _check_each(stores: Sequence[Store], sets: Sequence[Sequence[Record]], by: By) -> None:
    for store, records in zip(stores, sets, strict=True):
        if not records:
            raise UsageError(f"{visible(str(store.path))} has no video with a face: leave it out")
        if by == "official" and not any(one.official_split for one in records):
            raise UsageError(f"{visible(str(store.path))} names no official split: use --by group, or leave it out")


def _apart(
    split: Split, name: str, stores: Sequence[Store], sets: Sequence[Sequence[Record]], names: Sequence[dict[str, str]]
) -> Dealt:
    """`split` of all stores together as one of each."""
    splits = []
    for number, called in enumerate(names):
        others = ", ".join(visible(other.path.resolve().name) for other in (*stores[:number], *stores[number + 1 :]))
        notes = (*split.notes, f"dealt together with {others}") if others else split.notes
        sides = {video_id: split.sides[one] for video_id, one in called.items() if one in split.sides}
        splits.append(replace(split, sides=sides, notes=notes))
    counts = tuple(one.counts(records) for one, records in zip(splits, sets, strict=True))
    return Dealt(name, tuple(splits), counts, split.notes)


def _write_all(stores: Sequence[Store], dealt: Sequence[Dealt], *, is_of_faces: bool) -> None:
    with contextlib.ExitStack() as undo:
        for deal in dealt:
            for store, split in zip(stores, deal.splits, strict=True):
                undo.enter_context(_as_before(store.path / "splits" / f"{deal.name}.parquet"))
                store.write_split(deal.name, split, unit="face" if is_of_faces else "video")


@contextlib.contextmanager
def _as_before(path: Path) -> Iterator[None]:
    """Put back what `path` was, should what follows fail: splits of two deals leak between their stores."""
    try:
        earlier = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise OutputError(f"{visible(str(path))} cannot be written: {error.strerror}; nothing was written") from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, OutputError, ValueError):  # what failed is raised
            if earlier is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != earlier:
                write_files(path.parent, {path.name: earlier})
        raise
