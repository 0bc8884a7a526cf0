"""Which groups a model learned from, as its card says it: short hashes, so that a card names nobody.

>>> card = hash_groups(["dfdc:abc", "ffpp:000+003"])
>>> known_groups(card, ["ffpp:003", "dfdc:xyz"])
['ffpp:003']
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from telltale.split import group_pieces

_HEX_DIGITS = 10
"""40 bits: one chance in a hundred thousand that 3,000 groups tested against 4,000 known ones match by accident."""


def _hash(piece: str) -> str:
    return hashlib.sha256(piece.encode()).hexdigest()[:_HEX_DIGITS]


def hash_groups(group_ids: Iterable[str]) -> str:
    """Sorted hashes of the originals that the groups stand for, one after the other."""
    return "".join(sorted({_hash(piece) for group in group_ids for piece in group_pieces(group)}))


def known_groups(hashes: str, group_ids: Iterable[str]) -> list[str]:
    """Those of `group_ids` that share an original with a group in `hashes`, sorted."""
    known = {hashes[at : at + _HEX_DIGITS] for at in range(0, len(hashes), _HEX_DIGITS)}
    return sorted(group for group in set(group_ids) if any(_hash(piece) in known for piece in group_pieces(group)))


__all__ = ["hash_groups", "known_groups"]
