"""A finished store that changes: what it holds is taken from its shards, and nothing of it is done or staged again."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from make_outcomes import FACE, hashes, make, outcome, video
from telltale.errors import OutputError, StoreInvalid
from telltale.store import Store, StoreWriter, _compact, open_store, tasks
from telltale.store._rows import SAID
from telltale.store._shards import ends_shard
from telltale.types import VideoRecord


def test_what_the_set_says_anew_is_filled_in_and_no_video_is_done_again(made: Store, videos: list[VideoRecord]) -> None:
    said = [
        replace(one, label=1 - one.label, method="other", group_id="made:all", person_id="made:p", official_split="val")
        for one in videos[1:]
    ]
    writer = StoreWriter(made.path, settings=FACE)
    assert all(writer.done(task) for task in tasks(said))
    writer.compact(said)
    assert hashes(made.path) == hashes(make(made.path.with_name("fresh.store"), said).path)
    assert open_store(made.path).records()[0].group_id == "made:all"


def test_a_store_whose_tasks_are_named_by_what_the_set_said_is_gone_on_with(
    made: Store, videos: list[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(made.path)
    names = ("dataset", "video_id", "name", *SAID)
    with monkeypatch.context() as older:
        older.setattr(
            StoreWriter,
            "task_name",
            lambda self, task: self._hashed([getattr(r, name) for name in names] for r in task),
        )
        make(made.path.with_name("older.store"), videos)
    assert hashes(made.path.with_name("older.store")) != before
    writer = StoreWriter(made.path.with_name("older.store"), settings=FACE)
    assert all(writer.done(task) for task in tasks(videos))
    writer.compact(videos)
    assert hashes(writer.out) == before


def test_one_video_more_is_the_only_one_that_is_staged_and_what_is_written_is_told(
    made: Store, videos: list[VideoRecord], tmp_path: Path
) -> None:
    writer = StoreWriter(made.path, settings=FACE)
    more = [*videos, video(tmp_path / "set", 12)]
    writer.stage([outcome(more[-1])])
    staged = list(made.path.glob("staging/*/*"))
    seen: list[int] = []

    def look(n_written: int) -> None:
        seen.append(n_written)
        assert list(made.path.glob("staging/*/*")) == staged

    writer.compact(more, on_records=look)
    assert seen == list(range(1, 14))
    assert hashes(made.path) == hashes(make(tmp_path / "fresh.store", more).path)


@pytest.fixture
def many(tmp_path: Path) -> list[VideoRecord]:
    return [video(tmp_path / "many", number) for number in range(60)]


def files(store: Store) -> dict[str, int]:
    """Of each shard its content, by SHA-256, and the file that has it."""
    return {part.sha256: (store.path / part.name).stat().st_ino for part in store.manifest.shards}


@pytest.mark.parametrize("place", [0, 23, 59])
def test_a_store_that_grows_keeps_the_shards_that_stay_the_same(
    place: int, many: list[VideoRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.store._shards.SHARD_BYTES", 40_000)  # some eight videos each
    made = make(tmp_path / "made.store", [*many[:place], *many[place + 1 :]])
    before = files(made)
    writer = StoreWriter(made.path, settings=FACE)
    writer.stage([outcome(many[place])])
    writer.compact(many)
    after = files(open_store(made.path))
    assert len(after) > 4
    assert 1 <= len(after.keys() - before.keys()) <= 2
    assert all(before[kept] == after[kept] for kept in before.keys() & after.keys())
    assert hashes(made.path) == hashes(make(tmp_path / "fresh.store", many).path)
    open_store(made.path).verify()


def test_what_is_said_anew_of_one_video_changes_its_shard_alone(many: list[VideoRecord], tmp_path: Path) -> None:
    made = make(tmp_path / "made.store", many)
    before = files(made)
    said = [replace(one, group_id="made:other") if number == 30 else one for number, one in enumerate(many)]
    StoreWriter(made.path, settings=FACE).compact(said)
    assert len(files(open_store(made.path)).keys() - before.keys()) == 1
    assert hashes(made.path) == hashes(make(tmp_path / "fresh.store", said).path)


def test_where_files_have_no_second_name_shards_are_copied(
    many: list[VideoRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "not here")

    made = make(tmp_path / "made.store", many[1:])
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    writer = StoreWriter(made.path, settings=FACE)
    writer.stage([outcome(many[0])])
    writer.compact(many)
    assert hashes(made.path) == hashes(make(tmp_path / "fresh.store", many).path)


def test_a_shard_that_was_cut_short_is_not_taken_over(many: list[VideoRecord], tmp_path: Path) -> None:
    made = make(tmp_path / "made.store", many[:-1])
    path = made.path / made.manifest.shards[1].name
    path.write_bytes(path.read_bytes()[:-1])
    writer = StoreWriter(made.path, settings=FACE)
    writer.stage([outcome(many[-1])])
    with pytest.raises(StoreInvalid, match=f"{path.name} is damaged"):
        writer.compact(many)


def test_shards_are_of_about_one_size_for_small_tasks_as_for_large_ones() -> None:
    for task_bytes in (60, 600, 3000):
        sizes, size = [], 0
        for number in range(400_000 // task_bytes):
            size += task_bytes
            if ends_shard(f"{number:032x}", task_bytes=task_bytes, shard_bytes=size):
                sizes.append(size)
                size = 0
        assert min(sizes) >= 5_000
        assert max(sizes) <= 20_000 + task_bytes
        assert 7_500 < sum(sizes) / len(sizes) < 12_500


def test_a_damaged_shard_does_not_go_into_a_store_that_grows(made: Store, videos: list[VideoRecord]) -> None:
    path = made.path / made.manifest.shards[1].name
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreInvalid, match=f"{path.name} is damaged"):
        StoreWriter(made.path, settings=FACE).compact(videos[1:])
    assert open_store(made.path).manifest == made.manifest


def test_a_disk_without_room_for_the_new_shards_is_told_with_both_numbers(
    made: Store, videos: list[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(made.path)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 900, 900))
    with pytest.raises(
        OutputError, match=r"shards take \d+(\.\d)? kB, and 900 bytes are free; free some space and run"
    ):
        StoreWriter(made.path, settings=FACE).compact(videos[1:])
    assert hashes(made.path) == before


def test_whoever_reads_all_shards_of_the_folder_finds_no_face_twice_while_they_are_written(
    made: Store, videos: list[VideoRecord]
) -> None:
    def look(_: int) -> None:
        assert parquet.read_table(made.path / "shards").num_rows == 60

    StoreWriter(made.path, settings=FACE).compact(videos[1:], on_records=look)
    assert parquet.read_table(made.path / "shards").num_rows == 55


def test_what_a_killed_run_left_is_called_so_and_goes_with_the_next(
    made: Store, videos: list[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as at_last:
        at_last.setattr(_compact, "_write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            StoreWriter(made.path, settings=FACE).compact(videos[1:])
    with pytest.raises(StoreInvalid, match=r"shards/0.*: left over from a run that was ended") as told:
        open_store(made.path).verify()
    assert "run the same `telltale prepare` again" in told.value.message
    assert "Restore" not in told.value.message
    StoreWriter(made.path, settings=FACE).compact(videos)
    open_store(made.path).verify()
