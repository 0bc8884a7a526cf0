"""What is wrong with a file or a setting, in one line."""

from __future__ import annotations

from pydantic import ValidationError


def first_fault(error: Exception) -> str:
    """What `error` says; of pydantic's many faults the first, as "where: what", without where if it is the whole.

    >>> from telltale.types import Written
    >>> class Card(Written):
    ...     size_px: int
    >>> try:
    ...     Card.model_validate({"size_px": "wide"})
    ... except ValidationError as error:
    ...     first_fault(error)
    'size_px: Input should be a valid integer, unable to parse string as an integer'
    """
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    what = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, first['loc']))}: {what}" if first["loc"] else what
