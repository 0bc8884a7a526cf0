"""What the user named, as a flat list of files: folders opened, lists read, order kept.

>>> expand(["a.mp4", "--", "b.mov"][:1])
['a.mp4']
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from telltale._suffixes import MEDIA_SUFFIXES, is_own_output
from telltale._text import first_few, plural, visible
from telltale.cli._errors import say
from telltale.errors import FileUnreadable, UsageError

_NOT_TOLD = ("Thumbs.db", "desktop.ini", "index.html", "summary.csv")
"""Of systems, and ours."""


def expand(inputs: Iterable[str], *, out: Path | None = None) -> list[str]:
    """Paths to scan, in the order given: files as they are, folders recursively and sorted, `@list.txt` line by line.
    Links to folders are followed, after what lies there itself, each folder once, but not back up; one that cannot be
    read is left out, saying so. Of a folder all that lies in `out` and in what Telltale wrote before is left out; how
    many files are of other kinds is said.

    A missing file stays in the list: its report says so. Raises `UsageError` if nothing is left,
    `FileUnreadable` if a list or folder cannot be read.
    """
    named = list(inputs)
    if not named:
        raise UsageError("name a video, a picture, a folder or @list.txt; telltale scan --help lists the options")
    others: list[str] = []
    own = None if out is None else os.path.realpath(out)
    paths = [path for name in named for path in _expand_one(name, own, others)]
    if not paths:
        shown = ", ".join(visible(name) for name in named)
        raise UsageError(f"{shown}: no videos or pictures there; name the files themselves to scan them anyway")
    if others:
        say(f"telltale: {plural(len(others), 'file')} of other kinds left out{first_few(others)}")
    return paths


def _expand_one(name: str, own: str | None, others: list[str]) -> Iterator[str]:
    if name.startswith("@"):
        for line in _read_list(name[1:]):
            yield from _files(line, own, others)
    else:
        yield from _files(name, own, others)


def _files(name: str, own: str | None, others: list[str]) -> Iterator[str]:
    """Also notes the names of `others`. `own` is a folder to be left out, where it is not the one that is named."""
    if not name:
        raise UsageError("an input is empty; name a file, a folder or @list.txt")
    if not _is_folder(name):
        yield name
        return
    top = Path(os.path.realpath(name))
    seen: set[str] = set()
    waiting = deque([(name, _refuse)])
    while waiting:
        start, on_error = waiting.popleft()
        for folder, subfolders, files in os.walk(start, onerror=on_error):
            real = os.path.realpath(folder)
            is_ours = real != str(top) and (real == own or is_own_output([*subfolders, *files]))
            if real in seen or is_ours:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders.sort(key=os.fsencode)
            for subfolder in subfolders:
                path = os.path.join(folder, subfolder)  # noqa: PTH118 - as below
                # A link back up leads to everything that was not asked for.
                if os.path.islink(path) and not top.is_relative_to(os.path.realpath(path)):  # noqa: PTH114
                    waiting.append((path, _leave_out))
            for file in sorted(files, key=os.fsencode):
                if file.startswith("._"):  # what a Mac leaves beside each file on a foreign disk
                    continue
                if Path(file).suffix.lower() in MEDIA_SUFFIXES:
                    yield os.path.join(folder, file)  # noqa: PTH118 - a Path would drop a leading ./
                elif not file.startswith(".") and file not in _NOT_TOLD:
                    others.append(file)


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # too long, or a NUL: not a folder, and the scan says what it is
        return False


def _read_list(name: str) -> list[str]:
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise FileUnreadable(
            f"@{name}: the list cannot be read ({error.strerror or error}); for a file whose own name begins with @, "
            f"write ./@{name}"
        ) from error
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]


def _refuse(error: OSError) -> None:
    shown = visible(str(error.filename))
    raise FileUnreadable(f"{shown}: the folder cannot be read ({error.strerror}); check its permissions") from error


def _leave_out(error: OSError) -> None:
    say(f"telltale: {error.filename}: the link is left out: its folder cannot be read ({error.strerror})")
