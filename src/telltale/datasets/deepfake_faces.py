"""deepfake-faces: one face crop of each DFDC video, 224 px, tight.

    metadata.csv     videoname, original_width, original_height, label (REAL, FAKE), original
    faces_224/NAME.jpg                or the same inside faces-*.zip, read where they lie

`original` is empty for reals and may name a video that is not part of the set. Group = the original, with DFDC's
name before it, so that a leak between these crops and DFDC's own videos is found.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from telltale._suffixes import PICTURE_SUFFIXES
from telltale.datasets._contract import Found, Options
from telltale.datasets._files import slashes, stem, suffix, walk, zip_members
from telltale.errors import DataError
from telltale.types import FaceRecord, ZipMember

LAYOUT = "metadata.csv, faces_224/NAME.jpg or faces-*.zip"
_FOLDER = "faces_224"
_COLUMNS = ("videoname", "label", "original")
"""Without originals every fake would be a group of its own."""
_Place = tuple[Path, str, ZipMember | None]


def _zips(root: Path) -> list[Path]:
    return sorted(root.glob("faces*.zip"))


def recognise(root: Path) -> bool:
    return (root / "metadata.csv").is_file() and ((root / _FOLDER).is_dir() or bool(_zips(root)))


def _pictures(root: Path, found: Found) -> dict[str, _Place]:
    """Name of the video -> where its crop lies."""
    places: dict[str, _Place] = {}

    def add(name: str, path: Path, member: ZipMember | None) -> None:
        if suffix(name) not in PICTURE_SUFFIXES or _FOLDER not in name.split("/")[:-1]:
            found.problem("unknown", name)
        elif stem(name) in places:
            found.problem("duplicate", name, "the same name lies at a second place; the first was taken")
        else:
            places[stem(name)] = (path, f"{_FOLDER}/{name.rsplit('/', 1)[-1]}", member)

    for name in walk(root, found):
        if name != "metadata.csv" and root / name not in _zips(root):
            add(name, root / name, None)
    for archive in _zips(root):
        for name, member in zip_members(archive):
            add(name, archive, member)
    return places


def _rows(path: Path) -> list[Mapping[str, str | None]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable CSV ({error}): download it anew") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path} has no column {' and '.join(missing)}: it has {reader.fieldnames}")
    return list(reader)


def _original(row: Mapping[str, str | None]) -> str | None:
    value = (row.get("original") or "").strip()
    return None if value.casefold() in ("", "nan", "none", "null") else stem(slashes(value))


def read(root: Path, options: Options) -> Found:
    found = Found()
    places = _pictures(root, found)
    listed: set[str] = set()
    for row in _rows(root / "metadata.csv"):
        name = stem(slashes(row["videoname"] or ""))
        label = options.label(row["label"], where=f"{row['videoname']} in {root / 'metadata.csv'}")
        if name in listed:
            found.problem("duplicate", "metadata.csv", f"{row['videoname']} is listed twice; the first line counts")
            continue
        listed.add(name)
        if name not in places:
            found.problem("missing", f"{_FOLDER}/{name}.jpg", "in metadata.csv, but not there")
            continue
        path, inside, member = places[name]
        original = _original(row)
        group = f"dfdc:{original or name}"
        found.records.append(
            FaceRecord(
                dataset="deepfake_faces",
                image_id=name,
                path=str(path),
                name=inside,
                label=label,
                group_id=group,
                original_id=group if original or not label else None,
                member=member,
            )
        )
    for name in sorted(places.keys() - listed):
        found.problem("unlabelled", places[name][1], "not in metadata.csv")
    return found
