"""Options that take one of a few words, or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import typer

T = TypeVar("T", bound=str)


def choose(option: str, value: str, *choices: T) -> T:
    """`value` as one of `choices`, or a `UsageError` that lists them."""
    from telltale.errors import UsageError

    for choice in choices:
        if choice == value:
            return choice
    raise UsageError(f"{option} is {' or '.join(choices)}, not {value!r}")


def folder(name: str) -> Path:
    """A folder to write to. An empty name is what an unset variable leaves, and would be the current folder."""
    if not name:
        raise typer.BadParameter("it is empty; name a folder, or . for the current one")
    return Path(name)
