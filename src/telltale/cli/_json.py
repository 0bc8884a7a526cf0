"""What `--json` prints: one object on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel


def print_json(value: BaseModel | Mapping[str, Any]) -> None:
    """`value` on standard output, in ASCII: what the terminal's encoding lacks would be escaped as Python does it, and
    no reader of JSON takes that."""
    from telltale._text import for_json

    fields = value if isinstance(value, Mapping) else value.model_dump(mode="json")
    typer.echo(json.dumps(for_json(fields, nan_is_null=True), allow_nan=False))
