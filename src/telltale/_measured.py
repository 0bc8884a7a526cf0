"""What `benchmarks/explain_faithfulness.py` found out about explanations, with the model that is shipped.

Read without importing any of them: the command's help is made of it.

>>> remark("no such method")
''
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def figures() -> dict[str, dict[str, Any]]:
    """Method -> its figures, each `[value, low, high]`; empty where nothing was measured."""
    file = resources.files("telltale") / "explain" / "measured.json"
    if not file.is_file():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["methods"]
    return found


def remark(name: str) -> str:
    """What a person who chooses the method must know; empty for one that beats a random map."""
    row = figures().get(name)
    if row is None or row["beats_chance"]:
        return ""
    return "measured no better than a random map"
