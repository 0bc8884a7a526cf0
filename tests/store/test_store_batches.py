"""Batches of pictures end by what is in them: a picture more is work for one batch or two, not for all behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import make_datasets
from telltale.prepare import PrepareSettings, Progress, prepare
from telltale.store import Manifest, Outcome, StoredFace, StoreWriter, Task, content_sha256, open_store, tasks
from telltale.types import FaceRecord

SETTINGS = {"size_px": 32, "crop": "as_given"}
GIVEN = PrepareSettings(detect=False, margin_frac=0.2)


def pictures(folder: Path, numbers: Sequence[int], *, written: bool = True) -> list[FaceRecord]:
    records = []
    for i in numbers:
        path = folder / f"{i:05d}.jpg"
        if written:
            path.write_bytes(make_datasets.mark(i))
        records.append(
            FaceRecord(dataset="d", image_id=f"{i:05d}", path=str(path), name=path.name, label=i % 2, group_id=f"d:{i}")
        )
    return records


def stage(writer: StoreWriter, task: Task) -> None:
    writer.stage([Outcome(one, content_sha256(one), [StoredFace(Path(one.path).read_bytes())]) for one in task])


def done(writer: StoreWriter, records: Sequence[FaceRecord]) -> list[int]:
    """How many pictures each batch has that need not be done again."""
    return [len(task) for task in writer.tasks(records) if writer.done(task)]


def as_once(records: Sequence[FaceRecord]) -> list[Task]:
    """The batches of stores that were made when their places alone ended them."""
    return [tuple(records[i : i + 256]) for i in range(0, len(records), 256)]


def store_as_once(out: Path, records: Sequence[FaceRecord]) -> Manifest:
    writer = StoreWriter(out, settings=SETTINGS)
    for task in as_once(records):
        stage(writer, task)
    return writer.compact(records)


def test_batches_hold_every_picture_once_in_order_and_not_too_many(tmp_path: Path) -> None:
    records = pictures(tmp_path, range(5000), written=False)
    cut = list(tasks(records))
    assert [one for task in cut for one in task] == records
    assert max(map(len, cut)) <= 256
    assert 60 < len(records) / len(cut) < 200


@pytest.mark.parametrize("place", [0, 1234, 2999])
def test_a_picture_more_or_less_is_work_for_two_batches_at_most(tmp_path: Path, place: int) -> None:
    every = pictures(tmp_path, range(3000), written=False)
    fewer = every[:place] + every[place + 1 :]
    writer = StoreWriter(tmp_path / "s.store", settings=SETTINGS)
    for one, other in ((every, fewer), (fewer, every)):
        held = {writer.task_name(task) for task in tasks(one)}
        assert sum(writer.task_name(task) not in held for task in tasks(other)) <= 2


def test_adding_a_picture_that_sorts_first_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "set" / "real").mkdir(parents=True)
    for i in range(1, 601):
        (tmp_path / "set" / "real" / f"{i:04d}.jpg").write_bytes(make_datasets.tiny_picture(i))
    prepare(tmp_path / "set", tmp_path / "s.store", settings=GIVEN)
    (tmp_path / "set" / "real" / "0000.jpg").write_bytes(make_datasets.tiny_picture(0))
    seen: list[Progress] = []
    made = prepare(tmp_path / "set", tmp_path / "s.store", settings=GIVEN, on_progress=seen.append)
    assert made.n_faces == 601
    assert seen[-1].n_skipped >= 601 - 2 * 256
    assert open_store(tmp_path / "s.store").image(0) == make_datasets.tiny_picture(0)


def test_a_store_made_before_is_taken_as_it_is(tmp_path: Path) -> None:
    records, out = pictures(tmp_path, range(1000)), tmp_path / "s.store"
    made = store_as_once(out, records)
    writer = StoreWriter(out, settings=SETTINGS)
    assert done(writer, records) == [256, 256, 256, 232]
    assert writer.compact(records) == made == open_store(out).manifest


def test_a_store_begun_before_is_gone_on_with(tmp_path: Path) -> None:
    records, out = pictures(tmp_path, range(1000)), tmp_path / "s.store"
    for task in as_once(records)[:2]:
        stage(StoreWriter(out, settings=SETTINGS), task)
    writer = StoreWriter(out, settings=SETTINGS)
    assert done(writer, records) == [256, 256]
    for task in writer.tasks(records):
        if not writer.done(task):
            stage(writer, task)
    assert writer.compact(records).n_faces == 1000


@pytest.mark.parametrize(("added", "kept"), [(999, 768), (300, 0), (0, 0)])
def test_a_store_made_before_grows_without_loss(tmp_path: Path, added: int, kept: int) -> None:
    """A picture that sorts last leaves its batches; where less than half would be left all are made anew, once."""
    records, out = pictures(tmp_path, range(1000)), tmp_path / "s.store"
    store_as_once(out, records[:added] + records[added + 1 :])
    writer = StoreWriter(out, settings=SETTINGS)
    assert sum(done(writer, records)) == kept
    for task in writer.tasks(records):
        if not writer.done(task):
            stage(writer, task)
    writer.compact(records)
    again = open_store(out)
    assert [again.image(i) for i in range(1000)] == [Path(one.path).read_bytes() for one in records]
    assert sum(done(StoreWriter(out, settings=SETTINGS), records)) == 1000
