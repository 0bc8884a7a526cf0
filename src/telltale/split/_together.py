"""Records of several stores as one set, so that what belongs together in different stores gets one side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from telltale._components import Components
from telltale.split._groups import Record, joined_group
from telltale.types import FaceRecord

Names = dict[str, str]
"""video_id -> what the video is called where all sets are one."""


def together(
    sets: Sequence[Sequence[Record]], sha256s: Sequence[Mapping[str, str]]
) -> tuple[list[Record], list[Names]]:
    """All of `sets` as one, and how each set's videos are called in it.

    A video that is in several (the same data set, cut in two ways) is there once, and what is one file in several has
    one group. `sha256s`: video_id -> SHA-256 for each set, as far as known. Depends on no order.
    """
    groups = _joined(sets, sha256s)
    tied = [[replace(one, group_id=groups.get(one.group_id, one.group_id)) for one in records] for records in sets]
    found = {_said(one): one for records in tied for one in records}
    names = {said: f"{number:09d}" for number, said in enumerate(sorted(found))}
    return (
        [_called(names[said], one) for said, one in sorted(found.items())],
        [{one.video_id: names[_said(one)] for one in records} for records in tied],
    )


def _joined(sets: Sequence[Sequence[Record]], sha256s: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Group -> the name of those that it is one with: by a video, or a file, that is in several sets. Within a set,
    the reader of the data set has said what belongs together."""
    seen: dict[tuple[str, str], dict[int, set[str]]] = {}
    for number, (records, digests) in enumerate(zip(sets, sha256s, strict=True)):
        for one in records:
            for key in ((one.dataset, one.video_id), ("", digests.get(one.video_id, ""))):
                seen.setdefault(key, {}).setdefault(number, set()).add(one.group_id)
    seen.pop(("", ""), None)
    parts = Components()
    for by_set in seen.values():
        if len(by_set) > 1:
            parts.join(sorted(set.union(*by_set.values())))
    return {group: joined_group(members) for members in parts.all().values() for group in members}


def _said(record: Record) -> tuple[str, ...]:
    """All that a deal looks at; first what `make_split` sorts by, so that one set alone is dealt as ever."""
    return (
        record.dataset,
        record.video_id,
        str(record.label),
        record.method or "",
        record.group_id,
        record.person_id or "",
        record.official_split or "",
    )


def _called(name: str, record: Record) -> Record:
    return replace(record, image_id=name) if isinstance(record, FaceRecord) else replace(record, video_id=name)
