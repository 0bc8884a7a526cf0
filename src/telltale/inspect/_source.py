"""What is inspected: a data set as it lies on disk, or a store. Both look the same from here on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from telltale import datasets
from telltale._suffixes import PICTURE_SUFFIXES
from telltale._text import encodable
from telltale.datasets import Problem, Record, twin_of
from telltale.split import SIDES
from telltale.store import Manifest, Store, is_store, open_store
from telltale.types import FaceRecord

Kind = Literal["data set", "store"]


@dataclass(frozen=True, slots=True)
class Source:
    """Records, what is wrong with the files, and the splits there are."""

    path: str
    kind: Kind
    layout: str
    """The reader that read it, or the data sets that a store was made from."""
    unit: Literal["videos", "pictures"]
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]
    splits: Mapping[str, Mapping[str, Sequence[Record]]] = field(default_factory=dict)
    """Name -> side -> records."""
    store: Store | None = None

    @property
    def manifest(self) -> Manifest | None:
        return None if self.store is None else self.store.manifest


def open_source(
    path: str | Path, *, format: str = "auto", labels: Mapping[str, int] | None = None, groups: str | None = None
) -> Source:
    """The store or data set at `path`. Raises what `open_store` and `datasets.read` raise."""
    root = Path(path)
    if is_store(root):
        return _from_store(open_store(root))
    data = datasets.read(root, format=format, labels=labels, groups=groups)
    official: dict[str, list[Record]] = {side: [r for r in data.records if r.official_split == side] for side in SIDES}
    return Source(
        path=encodable(root),
        kind="data set",
        layout=data.name,
        unit="pictures" if data.records and isinstance(data.records[0], FaceRecord) else "videos",
        records=data.records,
        problems=data.problems,
        splits={"official": official} if any(official.values()) else {},
    )


def _from_store(store: Store) -> Source:
    manifest = store.manifest
    records = tuple(store.records())
    return Source(
        path=encodable(store.path),
        kind="store",
        layout=", ".join(manifest.datasets),
        unit="pictures" if records and all(map(_is_picture, records)) else "videos",
        records=records,
        problems=_of_store(manifest.problems, {record.name for record in records}),
        splits={name: store.side_records(name) for name in store.splits()},
        store=store,
    )


def _is_picture(record: Record) -> bool:
    return PurePosixPath(record.name).suffix.lower() in PICTURE_SUFFIXES


def _of_store(problems: Iterable[Problem], names: Set[str]) -> tuple[Problem, ...]:
    """`problems` of the data set without copies that are not both in the store."""
    return tuple(
        problem
        for problem in problems
        if problem.kind not in ("duplicate", "contradictory")
        or (problem.path in names and twin_of(problem.detail) in names)
    )
