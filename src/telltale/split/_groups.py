"""What must stay on one side of a split, and what lies on several: groups (a leak) and persons."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from telltale._text import plural, visible
from telltale.errors import LeakFound
from telltale.types import FaceRecord, VideoRecord

Record = VideoRecord | FaceRecord

_OF_SEVERAL = "ffpp:"
"""Where groups name several sources. Not `dfdc:`: other groups would then be unseen by the shipped model."""


class Member(NamedTuple):
    """Of a group: a face without a record, as leaks are found by it."""

    group_id: str
    person_id: str | None = None


@dataclass(frozen=True, slots=True)
class Leaks:
    """What lies on more than one side: groups (a leak) and persons (reported; some sets leave no choice)."""

    groups: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()


def _pieces(value: str) -> list[str]:
    """`NS:a+b` -> `NS:a`, `NS:b`."""
    namespace, _, members = value.partition(":")
    return [f"{namespace}:{member}" for member in members.split("+")] if members else [value]


def names_videos(group_id: str) -> bool:
    """Whether a group is named after all the videos in it."""
    return group_id.startswith(_OF_SEVERAL)


def group_pieces(group_id: str) -> list[str]:
    """The sources a group stands for. FaceForensics++ groups name both videos of a pair, and DeeperForensics, made
    from the same videos, only one of them."""
    return _pieces(group_id) if names_videos(group_id) else [group_id]


def joined_group(group_ids: Sequence[str]) -> str:
    """One name for groups that must stay together: all their sources, where `group_pieces` tells them apart again, so
    that each is still found in other stores; else the smallest."""
    pieces = sorted({piece for group_id in group_ids for piece in group_pieces(group_id)})
    if not all(piece.startswith(_OF_SEVERAL) for piece in pieces):
        return min(group_ids)
    return _OF_SEVERAL + "+".join(piece.removeprefix(_OF_SEVERAL) for piece in pieces)


def persons(record: Record | Member) -> list[str]:
    """Everybody in it, target first; empty where the set does not say."""
    return _pieces(record.person_id) if record.person_id else []


def fakes_alone(records: Iterable[Record], *, among: Iterable[Record] | None = None) -> int:
    """How many fakes of `records` share no group with any real of `among` (of `records`, if not said); 0 where there is
    no real at all."""
    found = list(records)
    others = found if among is None else among
    real = {piece for record in others if not record.label for piece in group_pieces(record.group_id)}
    if not real:
        return 0
    return sum(record.label and real.isdisjoint(group_pieces(record.group_id)) for record in found)


def find_leaks(*stores: Mapping[str, Iterable[Record | Member]]) -> Leaks:
    """Groups and persons on more than one side, over all the stores given: side -> records for each."""
    found = [(record, side) for sides in stores for side, records in sides.items() for record in records]
    return Leaks(
        _torn((piece, side) for record, side in found for piece in group_pieces(record.group_id)),
        _torn((person, side) for record, side in found for person in persons(record)),
    )


def whole_groups(pieces: Iterable[str], records: Iterable[Record]) -> tuple[str, ...]:
    """The groups of `records` that hold one of `pieces`, as the records name them and a data set counts them."""
    wanted = set(pieces)
    return tuple(
        sorted(name for name in {one.group_id for one in records} if not wanted.isdisjoint(group_pieces(name)))
    )


def _torn(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Of (name, side), the names on more than one side."""
    sides: dict[str, set[str]] = {}
    for name, side in pairs:
        sides.setdefault(name, set()).add(side)
    return tuple(sorted(name for name, on in sides.items() if len(on) > 1))


def check_leaks(
    *sides: Mapping[str, Iterable[Record | Member]], allow_leaks: bool = False, stores: Sequence[str | Path] = ()
) -> Leaks:
    """`find_leaks`, but groups on two sides raise `LeakFound` unless `allow_leaks`. `stores`: where what is on the
    sides lies, for the command that the message names."""
    leaks = find_leaks(*sides)
    if leaks.groups and not allow_leaks:
        named = " ".join(shlex.quote(visible(str(path))) for path in stores) or "STORE STORE"
        shown = ", ".join(leaks.groups[:3]) + (", ..." if len(leaks.groups) > 3 else "")
        raise LeakFound(
            f"{plural(len(leaks.groups), 'group')} on more than one side ({shown}): the figures would say nothing "
            f"about people that the model never saw. Split again, all stores in one command (`telltale split {named} "
            "--name NAME`), or accept it with --allow-leaks"
        )
    return leaks
