"""Damaged stores: what is read is what was written, or the bad file is named."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from make_outcomes import FACE
from telltale import store
from telltale.errors import StoreInvalid
from telltale.store import Store, StoreWriter, open_store
from telltale.types import VideoRecord


def _same_or_named(name: str, read: Callable[..., Any], argument: object, expected: object) -> None:
    """What `read` gives is what was written, or it says that `name` is damaged."""
    try:
        assert read(argument) == expected
    except StoreInvalid as error:
        if name not in str(error):
            raise AssertionError(f"{name} is not in {error}") from error


def test_a_flipped_bit_is_caught_and_exactly_that_shard_is_named(made: Store) -> None:
    rng = random.Random(0)
    rows = made.table([*store.COLUMNS, "image"])
    images = [made.image(row) for row in range(len(made))]
    for _ in range(100):
        part = rng.choice(made.manifest.shards)
        path = made.path / part.name
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        opened = open_store(made.path)
        with pytest.raises(StoreInvalid) as caught:
            opened.verify()
        assert [shard.name for shard in made.manifest.shards if shard.name in str(caught.value)] == [part.name]
        _same_or_named(part.name, opened.table, [*store.COLUMNS, "image"], rows)
        for row, image in enumerate(images):
            _same_or_named(part.name, opened.image, row, image)
        path.write_bytes(whole)
    open_store(made.path).verify()


def test_a_flipped_bit_in_a_small_file_is_caught_where_it_is_read(made: Store, videos: list[VideoRecord]) -> None:
    rng = random.Random(0)
    for part, read in ((made.manifest.videos, Store.videos), (made.manifest.index, lambda store: store.image(0))):
        path = made.path / part.name
        whole = path.read_bytes()
        for _ in range(20):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(StoreInvalid, match=f"{part.name} is damaged"):
                read(open_store(made.path))
        if part == made.manifest.videos:
            with pytest.raises(StoreInvalid, match=f"{part.name} is damaged"):
                StoreWriter(made.path, settings=FACE).done([videos[0]])
        path.write_bytes(whole)
    open_store(made.path).verify()


def test_settings_that_were_edited_are_refused(made: Store) -> None:
    path = made.path / "manifest.json"
    path.write_text(path.read_text().replace('"margin_frac": 0.25', '"margin_frac": 0.3'))
    with pytest.raises(StoreInvalid, match=r"manifest\.json cannot be read \(the settings are not those whose"):
        open_store(made.path)


def test_a_truncated_or_missing_shard_is_named_on_opening(made: Store) -> None:
    first, second = made.manifest.shards[:2]
    (made.path / first.name).write_bytes((made.path / first.name).read_bytes()[:-7])
    (made.path / second.name).unlink()
    with pytest.raises(StoreInvalid) as caught:
        open_store(made.path)
    assert f"{first.name}: {first.size_bytes - 7} bytes, should be {first.size_bytes}" in str(caught.value)
    assert f"{second.name}: missing" in str(caught.value)
    with pytest.raises(StoreInvalid, match=second.name):
        made.verify()


def test_a_shard_that_does_not_belong_is_named(made: Store) -> None:
    shutil.copy(made.path / made.manifest.shards[0].name, made.path / "shards/extra.parquet")
    with pytest.raises(StoreInvalid, match=r"shards/extra\.parquet: not in the manifest"):
        made.verify()


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="make one with `telltale prepare`"):
        open_store(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema_version": 9}')
    with pytest.raises(StoreInvalid, match=r"manifest\.json cannot be read"):
        open_store(tmp_path)
    with pytest.raises(StoreInvalid, match="no manifest of a store"):
        StoreWriter(tmp_path, settings={})
