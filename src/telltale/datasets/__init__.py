"""Reads data sets as they lie on disk. One file here is one layout; its name is the format's name.

    dataset = read("/data/FaceForensics++")          # recognised by its marker files
    dataset.records[0].label                         # 1 = fake, whatever the set's own files say
    for problem in dataset.problems: ...             # missing, unlabelled, contradictory, duplicate, ..

A reader never guesses a label: a file without one is a problem in the table, and a label it does not know stops the
reading with the file's name. Files that are there twice stay, are reported, and share one group, so that no split
puts the copy on the other side.

>>> from telltale.datasets import names, parse_labels
>>> "deepfake_faces" in names()
True
>>> parse_labels("0=real,1=FAKE")
{'0': 0, '1': 1}
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from telltale._components import Components
from telltale._text import encodable
from telltale.datasets._bucket import fetched_to, opened, stand_in
from telltale.datasets._contract import (
    SAME_BYTES,
    Dataset,
    Found,
    Options,
    Problem,
    ProblemKind,
    Reader,
    Record,
    subject,
    twin_of,
)
from telltale.datasets._files import folders, nfc, same_bytes
from telltale.datasets._levels import where_instead
from telltale.errors import CorruptFile, DataError, FileMissing, TelltaleError, UnknownName, UsageError, nearest
from telltale.split import joined_group


def names() -> list[str]:
    """Every format there is a reader for, sorted."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))


def _reader(name: str) -> Reader:
    return cast(Reader, importlib.import_module(f"{__name__}.{name}"))


def parse_labels(text: str) -> dict[str, int]:
    """`--labels 0=real,1=fake` as a mapping; `UsageError` where it is something else."""
    labels: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, _, meaning = part.rpartition("=")
        if not word or meaning.strip().casefold() not in ("real", "fake"):
            raise UsageError(f"--labels wants NAME=real,NAME=fake, got {part!r}")
        labels[word.strip()] = int(meaning.strip().casefold() == "fake")
    return labels


def recognise(path: str | Path) -> list[str]:
    """The formats whose marker files are at `path`: one, where all is well."""
    root = Path(path)
    return [name for name in names() if _reader(name).recognise(root)]


def layout(name: str) -> str:
    """Where the files of the format `name` lie, in a line."""
    return _reader(name).LAYOUT


def _choose(root: Path, format: str, labels: Mapping[str, int], *, upwards: bool) -> str:
    if format != "auto":
        name = format.replace("-", "_").casefold()
        if name in names():
            return name
        hint = nearest(name, names()) or f": one of auto, {', '.join(names())}"
        raise UnknownName(f"there is no data set format {format!r}{hint}")
    found = recognise(root)
    if not found and folders(root).keys() & labels.keys():
        return "folder"
    if len(found) == 1:
        return found[0]
    if not found:
        if instead := where_instead(root, recognise, upwards=upwards):
            raise DataError(f"{root} looks like no data set, but {instead}")
        raise DataError(
            f"{root} looks like none of {', '.join(names())}: name one with --format, or list the files in a "
            "CSV with the columns path,label and give that"
        )
    raise DataError(f"{root} looks like {' and '.join(found)}: choose one with --format")


def _share_groups(found: Found, doubles: Iterable[list[Record]]) -> None:
    """Report files that are there twice, and give them one group."""
    joined = Components()
    for same in doubles:
        first, *others = sorted(same, key=lambda record: record.name)
        kind: ProblemKind = "duplicate" if len({record.label for record in same}) == 1 else "contradictory"
        for other in others:
            found.problem(kind, other.name, f"{SAME_BYTES}{first.name}")
        joined.join(record.group_id for record in same)
    names_by_group = {member: joined_group(members) for members in joined.all().values() for member in members}
    found.records = [
        replace(record, group_id=names_by_group[record.group_id])
        if names_by_group.get(record.group_id, record.group_id) != record.group_id
        else record
        for record in found.records
    ]


_COMPARED = ("group_id", "person_id", "original_id")


def _writable(record: Record) -> Record:
    """`record` with names that any file or page takes: Linux lets files be called by bytes that are no text. What other
    records are compared with is in one form of Unicode."""
    said: dict[str, Any] = {
        field.name: text
        for field in fields(record)
        if field.name != "path" and isinstance(value := getattr(record, field.name), str)
        if (text := nfc(encodable(value)) if field.name in _COMPARED else encodable(value)) != value
    }
    return replace(record, **said) if said else record


def _check_ids(found: Found, root: Path) -> None:
    seen: dict[str, Record] = {}
    for record in found.records:
        twin = seen.setdefault(record.video_id, record)
        if twin is not record:
            raise DataError(f"{root}: {twin.name} and {record.name} would both be {record.video_id}: rename one")


def read(
    path: str | Path,
    *,
    format: str = "auto",
    labels: Mapping[str, int] | None = None,
    groups: str | None = None,
    find_duplicates: bool = True,
) -> Dataset:
    """The data set at `path`, every record checked to be there.

    `labels` says what a set's own words mean (`{"0": 0, "1": 1}`, `parse_labels`) where they are not real and fake.
    `groups`, for `folder` and `manifest`, is a regular expression looked for in each path inside the set; what its
    first bracket matches is the group. `find_duplicates=False` saves reading the files of equal size.

    Raises `UnknownLabel` naming the file, `DataError` where the layout is not recognised or a list is unreadable,
    `FileMissing`, `UnknownName`, and `UsageError` for `groups` of another layout.
    """
    root = Path(path)
    if not root.exists():
        raise FileMissing(f"{root} does not exist")
    name, found = _look(root, format, labels, groups)
    if find_duplicates:
        _share_groups(found, same_bytes(found.records))
    return _dataset(name, str(root), found)


def read_bucket(
    url: str,
    *,
    format: str = "auto",
    labels: Mapping[str, int] | None = None,
    groups: str | None = None,
) -> Dataset:
    """The data set under `s3://NAME/FOLDER` or `gs://..`, or the list there; no video or picture is fetched.

    Every layout that `read` knows, but for zip files. A record's `path` is the address of its object, which `prepare`
    fetches when its turn comes. Files that are there twice are found by the checksums that the store keeps.

    Raises what `read` does, `UsageError` for another address, `FileUnreadable` and `MissingExtra`.
    """
    with stand_in(url) as there:
        try:
            name, found = _look(there.root, format, labels, groups, upwards=False)
        except CorruptFile as error:
            raise DataError(
                f"{there.url}: zip files in a bucket are not looked into: unpack them there, or prepare a copy"
            ) from error
        except TelltaleError as error:
            raise type(error)(there.said(error.message)) from error
        there.address(found)
        _share_groups(found, there.same_bytes(found.records))
    return _dataset(name, url, found)


def _look(
    root: Path, format: str, labels: Mapping[str, int] | None, groups: str | None, *, upwards: bool = True
) -> tuple[str, Found]:
    """(name of the layout, what its reader found). `upwards`: a message may name the folders above `root`."""
    options = Options({str(word).strip().casefold(): int(label) for word, label in (labels or {}).items()}, groups)
    name = _choose(root, format, options.labels, upwards=upwards)
    if groups is not None and name not in ("folder", "manifest"):
        raise UsageError(f"--groups is for folders and lists of your own; {name} says itself what belongs together")
    found = _reader(name).read(root, options)
    if not found.records and format != "auto" and not _reader(name).recognise(root):
        instead = where_instead(root, recognise, upwards=upwards)
        but = f"; {instead}" if instead else ": give the folder that holds these"
        raise DataError(f"{root} has no file where {name} has them ({layout(name)}){but}")
    found.records = [_writable(record) for record in found.records]
    _check_ids(found, root)
    return name, found


def _dataset(name: str, root: str, found: Found) -> Dataset:
    return Dataset(
        name=name,
        root=root,
        records=tuple(sorted(found.records, key=lambda record: record.name)),
        problems=tuple(sorted(found.problems, key=lambda p: (p.kind, p.path, p.detail))),
    )


__all__ = [
    "Dataset",
    "Problem",
    "Record",
    "fetched_to",
    "layout",
    "names",
    "opened",
    "parse_labels",
    "read",
    "read_bucket",
    "recognise",
    "subject",
    "twin_of",
]
