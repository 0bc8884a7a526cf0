"""Which groups and files a model learned from, as its card says it: short hashes, so that a card names nobody.

>>> card = hash_groups(["dfdc:abc", "ffpp:000+003"])
>>> known_groups(card, ["ffpp:003", "dfdc:xyz"])
['ffpp:003']
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telltale._text import plural
from telltale.split import group_pieces

if TYPE_CHECKING:
    from telltale.bundle import ModelCard

_HEX_DIGITS = 10
"""40 bits: one chance in a hundred thousand that 3,000 groups tested against 4,000 known ones match by accident."""
_FILE_HEX_DIGITS = 12
"""48 bits: one chance in twenty thousand that one of 119,000 files (all of DFDC) matches one of as many by accident."""
MOST_FILES = 200_000
"""That are listed of one source: 2.4 MB. Of more, those with the smallest hashes: a copied set is still known."""


def _hash(piece: str) -> str:
    return hashlib.sha256(piece.encode()).hexdigest()[:_HEX_DIGITS]


def hash_groups(group_ids: Iterable[str]) -> str:
    """Sorted hashes of the originals that the groups stand for, one after the other."""
    return "".join(sorted({_hash(piece) for group in group_ids for piece in group_pieces(group)}))


def known_groups(hashes: str, group_ids: Iterable[str]) -> list[str]:
    """Those of `group_ids` that share an original with a group in `hashes`, sorted."""
    known = set(_cut(hashes, _HEX_DIGITS))
    return sorted(group for group in set(group_ids) if any(_hash(piece) in known for piece in group_pieces(group)))


def file_hash(sha256: str) -> str:
    """Of the SHA-256 of a file, hexadecimal. Empty stays empty: nothing is known of it."""
    return sha256[:_FILE_HEX_DIGITS]


def content_hash(data: bytes) -> str:
    """The `file_hash` of a file's bytes."""
    return file_hash(hashlib.sha256(data).hexdigest())


def hash_files(sha256s: Iterable[str]) -> str:
    """Sorted hashes of files, one after the other, from their SHA-256 or their `file_hash`."""
    return "".join(sorted({file_hash(sha256) for sha256 in sha256s if sha256})[:MOST_FILES])


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model has seen of some faces."""

    groups: frozenset[str]
    """That share an original with a group, or hold a file, that it has seen, whatever that file is called now."""
    n_files: int
    """Files known by their content."""

    @property
    def examples(self) -> str:
        """Some of the groups, and how many files, as words in brackets."""
        shown = ", ".join(sorted(self.groups)[:3]) + (", ..." if len(self.groups) > 3 else "")
        by_content = f"; {plural(self.n_files, 'file')} known by content" if self.n_files else ""
        return f"({shown}{by_content})"


def seen_by(
    card: ModelCard, group_ids: Sequence[str], file_hashes: Sequence[str], *, or_chosen_on: bool = False
) -> Seen:
    """What the model of `card` learned from, or with `or_chosen_on` was chosen on, of faces of these groups and files,
    both in the order of the faces."""
    groups = [source.group_hashes for source in card.training]
    files = [source.file_hashes for source in card.training]
    if or_chosen_on:
        groups += [source.validation_hashes for source in card.training]
        files += [source.validation_file_hashes for source in card.training]
    known = {one for hashes in files for one in _cut(hashes, _FILE_HEX_DIGITS)}
    held = {(group, file) for group, file in zip(group_ids, file_hashes, strict=True) if file in known}
    groups.append(hash_groups(group for group, _ in held))
    there = set(group_ids)
    found = frozenset(group for hashes in groups for group in known_groups(hashes, there))
    return Seen(found, len({file for _, file in held}))


def _cut(hashes: str, n_digits: int) -> list[str]:
    return [hashes[at : at + n_digits] for at in range(0, len(hashes), n_digits)]
