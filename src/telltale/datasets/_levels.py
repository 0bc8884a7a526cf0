"""Where a data set may begin that does not begin at the folder given: further down or up, or with a list in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from telltale._suffixes import is_own_output
from telltale.datasets._files import suffix
from telltale.datasets.folder import SIDES
from telltale.datasets.manifest import SUFFIXES
from telltale.errors import DataError

N_LEVELS = 2
"""So far up and down is looked."""
MOST_FOLDERS = 200
"""Looked into: a set of other files may have a million."""
_NAMED = 3

Recognise = Callable[[Path], list[str]]


def where_instead(root: Path, recognise: Recognise, *, upwards: bool = True) -> str:
    """The next step where nothing is recognised at `root`: what to give instead; empty where nothing is near."""
    found = [f"{path} looks like {name}" for path, name in islice(_below(root, recognise), _NAMED)]
    found = found or [f"{path} is a list" for path in islice(_lists(root), _NAMED)]
    if not found and upwards:
        found = [f"{path} looks like {name}" for path, name in islice(_above(root, recognise), 1)]
    if not found:
        return ""
    return f"{found[0]}: give that" if len(found) == 1 else f"{', '.join(found)}: give one of them"


def _one(path: Path, recognise: Recognise) -> str | None:
    try:
        (name,) = recognise(path)
    except (DataError, ValueError):  # a folder that cannot be listed, no layout, or two
        return None
    return name


def _below(root: Path, recognise: Recognise) -> Iterator[tuple[Path, str]]:
    level, n_left = [root], MOST_FOLDERS
    for _ in range(N_LEVELS):
        inner = [path for one in level for path in islice(_folders(one), n_left)][:n_left]
        n_left -= len(inner)
        level = []
        for path in inner:
            if name := _one(path, recognise):
                yield path, name
            else:
                level.append(path)


def _folders(path: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208 - names, not paths: there may be a million
    except OSError:
        return
    if not is_own_output(names):
        yield from (path / name for name in names if not name.startswith(".") and (path / name).is_dir())


def _lists(root: Path) -> Iterator[Path]:
    """Lists with a path and a label; what Parquet and JSON hold is not looked at."""
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208
    except OSError:
        return
    for name in names:
        if suffix(name) in SUFFIXES and (root / name).is_file() and _may_be_list(root / name):
            yield root / name


def _may_be_list(path: Path) -> bool:
    if suffix(path.name) != ".csv":
        return True
    try:
        with path.open("rb") as file:
            head = file.readline(10_000).lower()
    except OSError:
        return False
    return b"path" in head and b"label" in head


def _above(root: Path, recognise: Recognise) -> Iterator[tuple[Path, str]]:
    there = root.resolve()
    for path in there.parents[:N_LEVELS]:
        name = _one(path, recognise)
        is_part = name != "folder" or there.relative_to(path).parts[0].casefold() in {"real", "fake", *SIDES}
        if name is not None and is_part:
            yield path, name
