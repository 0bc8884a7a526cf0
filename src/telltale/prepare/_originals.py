"""Which real video each fake was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from telltale.datasets import Record


def originals_of(records: Sequence[Record]) -> dict[str, Record]:
    """Id of each fake -> the real video that it was made from, where that is here.

    An original may be here several times, in FaceForensics++ at several compressions: the one that lies in folders of
    the same names as the fake. Where two do, nobody knows which, and the fake has none.
    """
    reals: dict[str, list[Record]] = {}
    for record in records:
        if record.label == 0 and record.original_id is not None:
            reals.setdefault(record.original_id, []).append(record)
    found: dict[str, Record] = {}
    for fake in records:
        if fake.label == 0 or fake.original_id not in reals:
            continue
        near = [len(_folders(real) & _folders(fake)) for real in reals[fake.original_id]]
        if near.count(max(near)) == 1:
            found[fake.video_id] = reals[fake.original_id][near.index(max(near))]
    return found


def _folders(record: Record) -> set[str]:
    return {*PurePosixPath(record.name.casefold()).parent.parts}
