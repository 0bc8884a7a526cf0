"""A list of files: CSV, JSON lines or Parquet with `path` and `label`. The way in for everything that has no reader.

    path,label,method,group_id,person_id,split
    clips/a.mp4,real,,a,,train
    clips/a_swapped.mp4,fake,wav2lip,a,,train

Paths are absolute or start at the list's folder; Windows separators are understood. Labels are real and fake, or 0 and
1 (1 = fake), or what `labels` says. `group_id` and `person_id` are taken as they are, so that the same name in
another list is the same group; without a `group_id` it is the file's name without suffix, and `a_fake` goes with a real
`a`. Other columns are not read, and reported. A `manifest.csv` in a folder is read instead of what the folder's names
say (`telltale export` writes one); what lies there and is not in it is reported.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from telltale._text import encodable
from telltale.datasets import folder
from telltale.datasets._contract import NUMBERS, Found, Options, Record
from telltale.datasets._files import is_media, nfc, slashes, walk
from telltale.errors import DataError
from telltale.types import VideoRecord

LAYOUT = "manifest.csv, .jsonl or .parquet with path,label"
NAMES = ("manifest.csv", "manifest.jsonl", "manifest.parquet")
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
COLUMNS = ("path", "label", "method", "group_id", "person_id", "split")
_MEANT = {
    **dict.fromkeys(("original", "source", "video", "videoname"), "group_id"),
    **dict.fromkeys(("actor", "identity", "speaker", "subject"), "person_id"),
    **dict.fromkeys(("fold", "partition", "set", "side", "subset"), "split"),
}
"""What columns of other names may be meant to be."""

Row = Mapping[str, Any]


def _lists(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix.lower() in SUFFIXES else []
    return [root / name for name in NAMES if (root / name).is_file()]


def recognise(root: Path) -> bool:
    return bool(_lists(root))


def _rows(path: Path) -> list[tuple[int, Row]]:
    """Each row, and the line that it is on (of Parquet, its number)."""
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            rows: list[tuple[int, Any]] = list(
                enumerate(parquet.read_table(path, page_checksum_verification=True).to_pylist(), start=1)
            )
        else:
            text = path.read_text(encoding="utf-8-sig")
            if path.suffix.lower() == ".csv":
                head = text.partition("\n")[0]
                delimiter = ";" if ";" in head and "," not in head else ","
                rows = list(_csv_rows(path, text, delimiter))
            else:
                rows = [
                    (number, _json(line, number)) for number, line in enumerate(text.split("\n"), 1) if line.strip()
                ]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error}): save it as UTF-8 (in Excel, CSV UTF-8)") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix} ({error}): write it anew") from error
    if not all(isinstance(row, dict) for _, row in rows):
        raise DataError(f"{path} must hold one object a line with path and label")
    return [(number, {str(key).strip().casefold(): value for key, value in row.items() if key}) for number, row in rows]


def _json(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:  # which counts lines in what it was given
        raise ValueError(f"line {number}, column {error.colno}: {error.msg}") from error


def _csv_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, Row]]:
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    n_read = 0
    try:
        n_read = 1 if table.fieldnames else 0
        for row in table:
            n_read = table.line_num
            if any("".join(value or "").strip() for value in row.values()):  # Excel ends lists with ",,,"
                yield n_read, row
    except csv.Error as error:  # raised far behind the quote, perhaps at the end of the list
        raise DataError(
            f"{path.name} line {n_read + 1}: a quote is not closed ({error}): close it, or write it twice where it "
            "belongs to a name"
        ) from error


def _text(row: Row, column: str) -> str | None:
    value = row.get(column)
    if value is None or value != value:
        return None
    return str(value).strip() or None


def read(root: Path, options: Options) -> Found:
    lists = _lists(root)
    if len(lists) != 1:
        shown = " and ".join(path.name for path in lists) or "none of " + ", ".join(NAMES)
        raise DataError(f"{root} must hold one list, there is {shown}: give the list itself")
    rows = _rows(lists[0])
    found = _read(lists[0], rows, options)
    _report_unused(found, lists[0].name, [row for _, row in rows])
    if root.is_dir():
        _report_unlisted(found, root, lists[0].name)
    return found


def _report_unused(found: Found, name: str, rows: Sequence[Row]) -> None:
    """A group under another heading would be lost without a word."""
    columns = dict.fromkeys(column for row in rows for column in row)
    free = [column for column in COLUMNS if column not in columns]
    for column in columns:
        if column not in COLUMNS:
            alike = [meant] if (meant := _MEANT.get(column)) in free else get_close_matches(column, free, 1, 0.5)
            found.problem("unused", name, f"{column} (did you mean {alike[0]}?)" if alike else column)


def _report_unlisted(found: Found, root: Path, name: str) -> None:
    said = {nfc(encodable(record.name)) for record in found.records} | {nfc(problem.path) for problem in found.problems}
    left = [other for other in walk(root, Found()) if is_media(other) and nfc(encodable(other)) not in said]
    listed = {os.path.realpath(record.path) for record in found.records} if left else set()
    for other in left:
        if os.path.realpath(root / other) not in listed:  # the list may name it by a link
            found.problem("unlabelled", other, f"not in {name}")


def _read(path: Path, rows: Sequence[tuple[int, Row]], options: Options) -> Found:
    found = Found()
    given: list[Record] = []
    root = path.parent
    dataset = root.resolve().name or "manifest"
    seen: dict[str, int] = {}
    what = "row" if path.suffix.lower() == ".parquet" else "line"
    for number, row in rows:
        where = f"{path.name} {what} {number}"
        written = _text(row, "path")
        if written is None or "label" not in row:
            raise DataError(f"{where}: there must be a path and a label, got {sorted(row)}")
        name = _inside(root, written)
        if not _is_file(root / name):
            found.problem("missing", name, where)
            continue
        if _text(row, "label") is None:
            found.problem("unlabelled", name, where)
            continue
        label = options.label(_text(row, "label"), where=f"{name} ({where})", known=NUMBERS)
        if name in seen:
            if seen[name] != label:
                raise DataError(f"{where}: {name} was listed before with the other label: remove one")
            found.problem("duplicate", name, f"{where}: listed before")
            continue
        seen[name] = label
        side = _text(row, "split")
        if side is not None and side.casefold() not in folder.SIDES:
            raise DataError(f"{where}: split must be train, val or test, got {side!r}")
        group_id = _text(row, "group_id")
        record = VideoRecord(
            dataset=dataset,
            video_id=name,
            path=str(root / name),
            name=name,
            label=label,
            group_id=group_id or folder.group_of(name, options, dataset),
            method=_text(row, "method"),
            person_id=_text(row, "person_id"),
            official_split=folder.SIDES[side.casefold()] if side else None,
        )
        (found.records if group_id is None else given).append(folder.by_kind(record))
    if options.groups is None:
        found.records = folder.paired(found.records)
    found.records += given
    folder.say_originals(found)
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have, such as a very long one
        return False


def _inside(root: Path, written: str) -> str:
    """`written` as a path inside `root` where it is one, in one spelling: without `./` and `//`. A backslash is a
    separator unless such a file exists."""
    name = written if _is_file(root / written) else slashes(written)
    path = Path(name)
    if path.is_absolute():
        try:
            return path.relative_to(root.resolve()).as_posix()
        except ValueError:
            return path.as_posix()
    return path.as_posix()
