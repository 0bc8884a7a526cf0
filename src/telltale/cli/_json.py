"""What `--json` prints: one object on one line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel


def print_json(value: BaseModel | Mapping[str, Any]) -> None:
    """`value` on standard output, in ASCII: what the terminal's encoding lacks would be escaped as Python does it, and
    no reader of JSON takes that."""
    fields = value if isinstance(value, Mapping) else value.model_dump(mode="json")
    typer.echo(json.dumps(_plain(fields), allow_nan=False))


def _plain(value: Any) -> Any:
    """As Pydantic writes it, without NaN; and without lone surrogates, which strict readers refuse."""
    from telltale._text import encodable

    match value:
        case str():
            return encodable(value)
        case Mapping():
            return {encodable(str(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value
