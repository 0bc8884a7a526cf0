"""Lists that somebody made to do harm are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from telltale import datasets
from telltale.errors import DataError


@pytest.mark.parametrize("name", ["dataset.json", "metadata.json", "manifest.jsonl"])
def test_a_list_nested_too_deep_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "faces_224").mkdir()
    (tmp_path / name).write_text("[" * 200_000)
    with pytest.raises(DataError, match=rf"{name} .*\(maximum recursion depth exceeded.*\): (download|write) it anew"):
        datasets.read(tmp_path)
