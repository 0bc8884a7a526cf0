"""What the user named, as a flat list of files: folders opened, lists read, order kept.

>>> expand(["a.mp4", "--", "b.mov"][:1])
['a.mp4']
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from telltale._suffixes import MEDIA_SUFFIXES
from telltale._text import visible
from telltale.cli._errors import say
from telltale.errors import FileUnreadable, UsageError


def expand(inputs: Iterable[str]) -> list[str]:
    """Paths to scan, in the order given: files as they are, folders recursively and sorted, `@list.txt` line by line.
    Links to folders are followed, after what lies there itself, each folder once, but not back up; one that cannot be
    read is left out, saying so.

    A missing file stays in the list: its report says so. Raises `UsageError` if nothing is left,
    `FileUnreadable` if a list or folder cannot be read.
    """
    named = list(inputs)
    if not named:
        raise UsageError("name a video, a picture, a folder or @list.txt; telltale scan --help lists the options")
    paths = [path for name in named for path in _expand_one(name)]
    if not paths:
        shown = ", ".join(visible(name) for name in named)
        raise UsageError(f"{shown}: no videos or pictures there; name the files themselves to scan them anyway")
    return paths


def _expand_one(name: str) -> Iterator[str]:
    if name.startswith("@"):
        for line in _read_list(name[1:]):
            yield from _files(line)
    else:
        yield from _files(name)


def _files(name: str) -> Iterator[str]:
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
            if real in seen:
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
                if Path(file).suffix.lower() in MEDIA_SUFFIXES:
                    yield os.path.join(folder, file)  # noqa: PTH118 - a Path would drop a leading ./


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
