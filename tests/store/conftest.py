"""Fixtures of the store's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from make_outcomes import make, video
from telltale.store import Store
from telltale.types import VideoRecord


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a few kilobytes, so that small stores have several."""
    monkeypatch.setattr("telltale.store._shards.SHARD_BYTES", 10_000)
    monkeypatch.setattr("telltale.store._shards.ROW_GROUP_ROWS", 8)


@pytest.fixture
def videos(tmp_path: Path) -> list[VideoRecord]:
    return [video(tmp_path / "set", number) for number in range(12)]


@pytest.fixture
def made(tmp_path: Path, videos: list[VideoRecord]) -> Store:
    return make(tmp_path / "made.store", videos)
