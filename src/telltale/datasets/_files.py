"""Walking a data set's folders, reading its lists, and finding files that are there twice."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import unicodedata
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from telltale._source import fingerprint
from telltale._suffixes import PICTURE_SUFFIXES, VIDEO_SUFFIXES, is_own_output
from telltale.datasets._contract import Found, Record
from telltale.errors import CorruptFile, DataError, FileUnreadable, InputError
from telltale.types import FaceRecord, ZipMember


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - names, not paths: ten times faster on a million


def nfc(name: str) -> str:
    """`name` in the one form of Unicode in which names are compared: a Mac copies letters and accents apart."""
    return unicodedata.normalize("NFC", name)


def stem(name: str) -> str:
    """The name of a file without folders and suffix, as names are compared."""
    return nfc(name.rsplit("/", 1)[-1].rsplit(".", 1)[0])


def without_suffix(name: str) -> str:
    return name.rpartition(".")[0] or name


def is_video(name: str) -> bool:
    return suffix(name) in VIDEO_SUFFIXES


def is_media(name: str) -> bool:
    return suffix(name) in VIDEO_SUFFIXES or suffix(name) in PICTURE_SUFFIXES


def slashes(name: str) -> str:
    """A path from a list that may have been written on Windows."""
    return name.strip().replace("\\", "/").removeprefix("./")


def plain(name: str) -> str:
    """`Celeb-real/videos/A.mp4` -> `celeb-real/a.mp4`: copies of a set differ in case and in a `videos` level."""
    return "/".join(part for part in slashes(name).casefold().split("/") if part != "videos")


def walk(root: Path, found: Found) -> list[str]:
    """Every file below `root`, as sorted paths inside it with forward slashes. Hidden files are left out.

    Links to folders are followed (sets are often spread over disks), each folder once and under its own name where it
    has one inside `root`; a folder reached again is a problem in `found`. What Telltale wrote (`OWN_OUTPUT`) below
    `root` is left out.
    """
    names: list[str] = []
    seen: dict[str, str] = {}
    pending, links = [""], deque[str]()
    top = Path(os.path.realpath(root))
    while pending or links:
        folder = pending.pop() if pending else links.popleft()
        real = os.path.realpath(root / folder)
        if real in seen:
            found.problem("duplicate", folder, f"the same folder as {seen[real] or 'the data set itself'}")
            continue
        if folder and top.is_relative_to(real):
            found.problem("duplicate", folder, "a link back up, to a folder that holds the data set")
            continue
        seen[real] = folder
        try:
            with os.scandir(root / folder) as entries:
                inner = sorted(entries, key=lambda entry: entry.name)
                if folder and is_own_output(entry.name for entry in inner):
                    continue
                for entry in inner:
                    if entry.name.startswith(".") or entry.name in ("Thumbs.db", "desktop.ini", "__MACOSX"):
                        continue
                    inside = f"{folder}/{entry.name}" if folder else entry.name
                    try:
                        is_folder = entry.is_dir()
                    except OSError as error:  # a link to itself, or to a disk that does not answer
                        found.problem("missing", inside, error.strerror or str(error))
                        continue
                    if not is_folder:
                        names.append(inside)
                    elif entry.is_symlink():
                        links.append(inside)
                    else:
                        pending.append(inside)
        except OSError as error:
            raise DataError(f"{root / folder} cannot be listed: {error.strerror}") from error
    return sorted(names)


def folders(root: Path, under: str = "") -> dict[str, str]:
    """Folded name -> name as it is, for the folders directly below: copies of a set differ in case."""
    try:
        names = sorted(entry.name for entry in os.scandir(root / under) if _is_folder(entry))
    except OSError:
        return {}
    return {name.casefold(): name for name in reversed(names)}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no readable JSON ({error}): download it anew") from error


def read_lines(path: Path) -> list[str]:
    """Lines that say something; Windows line ends and a byte-order mark do no harm."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable text ({error}): download it anew") from error
    return [line.strip() for line in text.split("\n") if line.strip()]


def zip_members(path: Path) -> Iterator[tuple[str, ZipMember]]:
    """(name, where it lies) of every file in a zip, so that each can be read with one seek."""
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DataError(f"{path}: {info.filename} is encrypted or packed in an unusual way: unpack it")
                file.seek(info.header_offset)
                header = file.read(30)
                if len(header) < 30 or header[:4] != b"PK\x03\x04":
                    raise CorruptFile(f"{path} is damaged at byte {info.header_offset}: copy it anew")
                n_name, n_extra = struct.unpack_from("<HH", header, 26)
                yield (
                    slashes(info.filename),
                    ZipMember(
                        info.header_offset + 30 + n_name + n_extra,
                        info.compress_size,
                        info.file_size,
                        info.CRC,
                        info.compress_type == zipfile.ZIP_DEFLATED,
                    ),
                )
    except zipfile.BadZipFile as error:
        raise CorruptFile(f"{path} is no complete zip file: copy it anew") from error
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}") from error


def _size(record: Record) -> int:
    if isinstance(record, FaceRecord) and record.member is not None:
        return record.member.size_bytes
    try:
        return os.stat(record.path).st_size  # noqa: PTH116
    except OSError:
        return -1


def _sha256(record: Record) -> str:
    if isinstance(record, FaceRecord):
        return hashlib.sha256(record.read_bytes()).hexdigest()
    return fingerprint(record.path)[0]


def same_bytes(records: Sequence[Record]) -> Iterable[list[Record]]:
    """Records whose files are byte for byte the same, in lists of two or more. Only files of equal size are read.

    A file that cannot be read, or is empty, is nobody's double: whoever prepares it names the failure.
    """
    by_size: dict[int, list[Record]] = {}
    for record in records:
        by_size.setdefault(_size(record), []).append(record)
    for nothing in (-1, 0):  # files that were not copied to the end are alike and have nothing to do with each other
        by_size.pop(nothing, None)
    for alike in by_size.values():
        if len(alike) < 2:
            continue
        by_sha256: dict[str, list[Record]] = {}
        for record in alike:
            try:
                by_sha256.setdefault(_sha256(record), []).append(record)
            except InputError:
                continue
        yield from (same for same in by_sha256.values() if len(same) > 1)
