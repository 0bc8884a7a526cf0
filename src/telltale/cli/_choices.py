"""Options that take one of a few words."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T", bound=str)


def choose(option: str, value: str, *choices: T) -> T:
    """`value` as one of `choices`, or a `UsageError` that lists them."""
    from telltale.errors import UsageError

    for choice in choices:
        if choice == value:
            return choice
    raise UsageError(f"{option} is {' or '.join(choices)}, not {value!r}")


__all__ = ["choose"]
