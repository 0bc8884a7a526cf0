"""What must stay on one side of a split, and what lies on several: groups (a leak) and persons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from telltale.errors import LeakFound
from telltale.types import FaceRecord, VideoRecord

Record = VideoRecord | FaceRecord

_OF_SEVERAL = "ffpp:"
"""Where groups name several sources. Not `dfdc:`: other groups would then be unseen by the shipped model."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """What lies on more than one side: groups (a leak) and persons (reported; some sets leave no choice)."""

    groups: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()


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
            f"{len(leaks.groups)} group(s) are on more than one side ({shown}): the figures would say nothing about "
            "people that the model never saw. Split with --by group, or accept it with --allow-leaks"
        )
    return leaks


__all__ = ["Leaks", "Record", "check_leaks", "find_leaks", "group_pieces", "joined_group", "persons"]
