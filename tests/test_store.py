"""The store: what is written comes back, whole or with the bad file's name, also from a run that was killed."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import make_datasets
from make_datasets import tiny_picture
from telltale import datasets, store
from telltale.errors import CorruptFile, DataError, OutputError, StoreInvalid, UsageError
from telltale.split import check_leaks, k_fold, make_split
from telltale.store import Outcome, Store, StoredFace, StoreWriter, open_store, tasks
from telltale.types import ErrorInfo, Face, FaceRecord, VideoRecord

SETTINGS = {"size_px": 32, "crop": "as_given"}
FACE = {"size_px": 32, "margin_frac": 0.25}


def video(root: Path, number: int, *, label: int | None = None) -> VideoRecord:
    name = f"clips/{number:03d}.mp4"
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(make_datasets.mark(number))
    return VideoRecord(
        dataset="made",
        video_id=f"v/{number:03d}",
        path=str(path),
        name=name,
        label=number % 2 if label is None else label,
        method="swap" if number % 2 else None,
        group_id=f"made:{number // 2}",
        person_id=None if number % 3 else f"made:{number}",
    )


def outcome(record: VideoRecord, n_faces: int = 5) -> Outcome:
    """What a detector might have found in it; the same for the same record."""
    seed = int(record.video_id.rpartition("/")[2])
    faces = [
        StoredFace(
            tiny_picture(1000 * seed + k),
            Face(
                frame_index=10 * k,
                pts_s=k / 2,
                box_xyxy=np.array([k, 1, 20 + k, 30.5], np.float32),
                confidence=0.9 + k / 100,
                points=None if k == 1 else np.arange(10, dtype=np.float32).reshape(5, 2),
                source="interpolated" if k == 1 else "detected",
            ),
            track_id=k % 2,
        )
        for k in range(n_faces)
    ]
    return Outcome(record, store.content_sha256(record), faces, n_frames_sampled=6, n_frames_with_face=n_faces)


def make(out: Path, records: Sequence[VideoRecord]) -> Store:
    writer = StoreWriter(out, settings=FACE)
    for task in tasks(records):
        if not writer.done(task):
            (record,) = task
            assert isinstance(record, VideoRecord)
            writer.stage([outcome(record)])
    writer.compact(records)
    return open_store(out)


def hashes(out: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file below `out`."""
    import hashlib

    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of a few kilobytes, so that small stores have several."""
    monkeypatch.setattr("telltale.store._compact.SHARD_BYTES", 10_000)
    monkeypatch.setattr("telltale.store._compact.ROW_GROUP_ROWS", 8)


@pytest.fixture
def videos(tmp_path: Path) -> list[VideoRecord]:
    return [video(tmp_path / "set", number) for number in range(12)]


@pytest.fixture
def made(tmp_path: Path, videos: list[VideoRecord]) -> Store:
    return make(tmp_path / "made.store", videos)


def test_what_was_written_comes_back(made: Store, videos: list[VideoRecord]) -> None:
    rows = made.table().to_pylist()
    assert len(rows) == len(made) == 60
    assert len(made.manifest.shards) > 2
    number = 0
    for record in videos:
        for stored in outcome(record).faces:
            row, face = rows[number], stored.face
            assert face is not None
            assert {key: row[key] for key in ("video_id", "path", "label", "method", "group_id", "person_id")} == {
                "video_id": record.video_id, "path": record.name, "label": record.label, "method": record.method,
                "group_id": record.group_id, "person_id": record.person_id,
            }  # fmt: skip
            assert (row["track_id"], row["frame_index"], row["pts_s"]) == (
                stored.track_id,
                face.frame_index,
                face.pts_s,
            )
            assert row["box_xyxy"] == face.box_xyxy.tolist()
            assert row["points"] == (None if face.points is None else face.points.tolist())
            assert (row["source"], row["confidence"]) == (face.source, pytest.approx(face.confidence))
            assert made.image(number) == stored.image
            number += 1
    assert made.rgb(7).shape == (32, 32, 3)


def test_the_columns_are_those_of_the_design(made: Store) -> None:
    schema = parquet.read_schema(made.path / made.manifest.shards[0].name)
    assert schema.names == [
        "dataset", "video_id", "path", "label", "method", "group_id", "person_id", "official_split", "track_id",
        "frame_index", "pts_s", "box_xyxy", "points", "confidence", "source", "image",
    ]  # fmt: skip
    assert schema.field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"]["names"] == ["real", "fake"]


def test_other_tools_read_the_shards_as_one_table(made: Store) -> None:
    table = parquet.read_table(made.path / "shards")
    assert table.num_rows == len(made)
    assert table.column("image")[3].as_py()["bytes"] == made.image(3)


def test_hugging_face_datasets_shows_the_pictures(made: Store, tmp_path: Path) -> None:
    hugging_face = pytest.importorskip("datasets", reason="needs Hugging Face datasets")
    loaded = hugging_face.load_dataset(
        "parquet", data_files=str(made.path / "shards/*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded[0]["image"].size == (32, 32)


def test_every_picture_is_found_whatever_the_order(made: Store) -> None:
    images = made.table(["image"]).column("image").to_pylist()
    for row in np.random.default_rng(0).permutation(len(made)):
        assert made.image(int(row)) == images[row]["bytes"]
    with pytest.raises(IndexError):
        made.image(len(made))


def test_a_store_travels_to_another_process(made: Store) -> None:
    made.image(0)
    again = pickle.loads(pickle.dumps(made))
    assert again.image(5) == made.image(5)


def test_two_runs_are_byte_identical_also_from_threads_in_any_order(made: Store, videos: list[VideoRecord]) -> None:
    out = made.path.with_name("again.store")
    writer = StoreWriter(out, settings=dict(reversed(FACE.items())))
    shuffled = videos.copy()
    random.Random(0).shuffle(shuffled)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda record: writer.stage([outcome(record)]), shuffled))
    writer.compact(videos)
    assert hashes(out) == hashes(made.path)


def test_nothing_but_the_store_is_left(made: Store) -> None:
    named = {part.name for part in made.manifest.parts()}
    assert set(hashes(made.path)) == {*named, "manifest.json", "README.md"}
    assert not (made.path / "staging").exists()


def test_a_finished_store_is_done_and_compacting_it_again_changes_nothing(
    made: Store, videos: list[VideoRecord]
) -> None:
    before = hashes(made.path)
    writer = StoreWriter(made.path, settings=FACE)
    assert all(writer.done(task) for task in tasks(videos))
    assert writer.compact(videos) == made.manifest
    assert hashes(made.path) == before


def test_a_video_that_changed_is_not_done(made: Store, videos: list[VideoRecord]) -> None:
    Path(videos[3].path).write_bytes(b"another cut")
    writer = StoreWriter(made.path, settings=FACE)
    assert [writer.done(task) for task in tasks(videos)] == [number != 3 for number in range(12)]


def test_a_store_grows_to_what_it_would_have_been_at_once(made: Store, videos: list[VideoRecord]) -> None:
    out = made.path.with_name("grown.store")
    make(out, videos[4:9])
    make(out, videos[:3] + videos[7:])
    make(out, videos)
    assert hashes(out) == hashes(made.path)
    open_store(out).verify()


def test_other_settings_are_another_store(made: Store) -> None:
    with pytest.raises(UsageError, match=r"another margin_frac: choose another --out"):
        StoreWriter(made.path, settings=FACE | {"margin_frac": 0.5})


def test_what_is_not_done_is_named(tmp_path: Path, videos: list[VideoRecord]) -> None:
    writer = StoreWriter(tmp_path / "s", settings=FACE)
    writer.stage([outcome(videos[0])])
    with pytest.raises(DataError, match=r"11 of 12 tasks are not done, such as clips/001\.mp4"):
        writer.compact(videos)
    with pytest.raises(StoreInvalid, match="is not finished"):
        open_store(tmp_path / "s")
    with pytest.raises(DataError, match="nothing to store"):
        writer.compact([])


def test_a_damaged_staged_file_is_named_and_done_again(tmp_path: Path, videos: list[VideoRecord]) -> None:
    writer = StoreWriter(tmp_path / "s", settings=FACE)
    for record in videos:
        writer.stage([outcome(record)])
    path = writer.staged_path(writer.task_name([videos[5]]))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(StoreInvalid, match=path.name):
        writer.compact(videos)
    assert not writer.done([videos[5]])
    writer.stage([outcome(videos[5])])
    writer.compact(videos)
    open_store(tmp_path / "s").verify()


def test_failures_are_named_counted_and_tried_again_on_request(tmp_path: Path, videos: list[VideoRecord]) -> None:
    writer = StoreWriter(tmp_path / "s", settings=FACE)
    for record in videos[:-2]:
        writer.stage([outcome(record)])
    writer.fail(videos[-2], CorruptFile("cut short at 50 %"))
    writer.stage([Outcome(videos[-1], "", n_frames_sampled=6, failure=ErrorInfo(code="no_face", message="nobody"))])
    assert writer.done([videos[-2]])
    assert not writer.done([videos[-2]], retry_failed=True)
    manifest = writer.compact(videos, problems=[datasets.Problem("missing", "clips/x.mp4")])
    assert manifest.failures == {"corrupt_file": 1, "no_face": 1}
    assert [(failed.video_id, failed.message) for failed in manifest.failed] == [
        ("v/010", "cut short at 50 %"),
        ("v/011", "nobody"),
    ]
    assert manifest.problems == (datasets.Problem("missing", "clips/x.mp4"),)
    real, fake = manifest.counts
    assert (real.n_videos, real.n_failed, real.n_faces, real.capture_rate) == (6, 1, 25, 25 / 30)
    assert (fake.method, fake.n_failed, fake.capture_rate) == ("swap", 1, 25 / 36)
    assert [(named.n_frames_sampled, named.n_frames_with_face) for named in (real, fake)] == [(30, 25), (36, 25)]
    found = open_store(tmp_path / "s")
    assert [record.video_id for record in found.records()] == [record.video_id for record in videos[:-2]]
    assert found.videos().num_rows == 12


def test_a_store_of_failures_only_opens_and_says_so(tmp_path: Path, videos: list[VideoRecord]) -> None:
    writer = StoreWriter(tmp_path / "s", settings=FACE)
    writer.fail(videos[0], CorruptFile("junk"))
    writer.compact(videos[:1])
    found = open_store(tmp_path / "s")
    assert (len(found), found.records()) == (0, [])
    with pytest.raises(StoreInvalid, match="holds no face"):
        found.table()


def test_pictures_are_stored_as_they_are(tmp_path: Path) -> None:
    make_datasets.deepfake_faces(tmp_path / "set", 6)
    (tmp_path / "set/faces_224/fake000002.jpg").write_bytes(b"<html>")
    found = datasets.read(tmp_path / "set")
    writer = StoreWriter(tmp_path / "s", settings=SETTINGS)
    for task in tasks(found.records):
        writer.stage_as_given(task)
        assert writer.done(task)
    manifest = writer.compact(found.records)
    assert (manifest.n_faces, manifest.n_videos, len(manifest.failed)) == (12, 12, 1)
    kept = open_store(tmp_path / "s")
    images = {r.video_id: r.read_bytes() for r in found.records if isinstance(r, FaceRecord)}
    for row, line in enumerate(kept.table().to_pylist()):
        assert kept.image(row) == images[line["video_id"]]
        assert line["box_xyxy"] is line["points"] is line["source"] is line["confidence"] is None


def test_tasks_are_videos_and_batches_of_pictures(tmp_path: Path, videos: list[VideoRecord]) -> None:
    picture = FaceRecord(dataset="d", image_id="i", path="p", name="n", label=0, group_id="g")
    cut = [len(task) for task in tasks([picture] * 300 + [videos[0]] + [picture] * 3)]
    assert cut == [256, 44, 1, 3]
    with pytest.raises(UsageError, match="is a video"):
        StoreWriter(tmp_path / "s", settings={}).stage_as_given([videos[0]])


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_a_crop_is_encoded_the_same_way_every_time(format: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = store.encode_crop(rgb, format=format)
    assert data == store.encode_crop(rgb, format=format)
    if format == "png":
        from PIL import Image

        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), rgb)
    with pytest.raises(UsageError, match="jpeg or png"):
        store.encode_crop(rgb, format="tiff")


# --- damage ---


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


# --- killed, full, read-only ---


class Killed(BaseException):
    """The process is gone: nothing after it happens either."""


@contextmanager
def killed_at(moment: int) -> Iterator[Callable[[], bool]]:
    """The `moment`-th change to the disk does not happen, nor any after it. Gives whether it came to that."""
    n_changes = 0

    def guard(change: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            nonlocal n_changes
            n_changes += 1
            if n_changes >= moment:
                raise Killed
            return change(*args, **kwargs)

        return guarded

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (os, "rmdir"), (os, "unlink")):
            patch.setattr(owner, name, guard(getattr(owner, name)))
        yield lambda: n_changes >= moment


def test_killed_at_any_change_to_the_disk_and_run_again_it_is_as_if_nothing_had_been(
    tmp_path: Path, videos: list[VideoRecord]
) -> None:
    records = videos[:3]
    expected = hashes(make(tmp_path / "quiet.store", records).path)
    out = tmp_path / "killed.store"
    moment, came = 0, True
    while came:
        moment += 1
        with killed_at(moment) as came_to_it:
            with suppress(Killed):
                make(out, records)
            came = came_to_it()
        if moment % 3 == 0:
            with killed_at(5 + moment % 7), suppress(Killed):  # and once more, while it recovers
                make(out, records)
        make(out, records)
        assert hashes(out) == expected, moment
        shutil.rmtree(out)
    assert moment > 20


def test_killed_while_it_grows_the_old_store_stays_or_the_new_one_is_there(
    tmp_path: Path, videos: list[VideoRecord]
) -> None:
    old, new = videos[:3], videos[1:5]
    expected = hashes(make(tmp_path / "quiet.store", new).path)
    out = tmp_path / "killed.store"
    moment, came = 0, True
    while came:
        moment += 3
        make(out, old)
        with killed_at(moment) as came_to_it:
            with suppress(Killed):
                make(out, new)
            came = came_to_it()
        assert len(open_store(out)) in (15, 20)
        open_store(out).table([*store.COLUMNS, "image"])
        make(out, new)
        assert hashes(out) == expected, moment
        shutil.rmtree(out)


_PREPARE = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_store import video, make
make(Path(sys.argv[1]) / "killed.store", [video(Path(sys.argv[1]) / "set", n) for n in range(20)])
"""


@pytest.mark.slow
def test_kill_9_at_seeded_moments_and_resumed_the_hashes_are_the_same(tmp_path: Path) -> None:
    """Real processes: the clock decides where each dies, so only what must hold anywhere is asked."""
    command = [sys.executable, "-c", _PREPARE, str(tmp_path), str(Path(__file__).parent)]
    subprocess.run(command, check=True)
    out = tmp_path / "killed.store"
    expected = hashes(out)
    rng = random.Random(0)
    started = time.monotonic()
    shutil.rmtree(out)
    subprocess.run(command, check=True)
    whole_s = time.monotonic() - started
    for _ in range(4):
        shutil.rmtree(out)
        process = subprocess.Popen(command)
        time.sleep(whole_s * rng.uniform(0.5, 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run(command, check=True)
        assert hashes(out) == expected


@contextmanager
def disk_error_at(moment: int, code: int) -> Iterator[None]:
    """From the `moment`-th fsync on, the disk refuses."""
    n_calls, real = 0, os.fsync

    def refuse(fd: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls >= moment:
            raise OSError(code, os.strerror(code))
        real(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        yield


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("moment", [1, 4, 5, 6, 7, 8, 9])
def test_a_disk_that_refuses_is_a_clear_error_and_leaves_nothing_half_written(
    tmp_path: Path, videos: list[VideoRecord], moment: int, code: int
) -> None:
    out = tmp_path / "s"
    with disk_error_at(moment, code), pytest.raises(OutputError, match=f"{os.strerror(code)}.*free some space"):
        make(out, videos[:4])
    assert not list(tmp_path.rglob(".telltale-*"))
    make(out, videos[:4]).verify()
    assert hashes(out) == hashes(make(tmp_path / "quiet", videos[:4]).path)


def test_a_full_disk_is_told_and_the_run_goes_on_when_it_is_freed(tmp_path: Path, videos: list[VideoRecord]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.name != "posix"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True
        ).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(120_000))
        with pytest.raises(OutputError, match="No space left on device"):
            make(disk / "s", videos)
        assert not list(disk.rglob(".telltale-*"))
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert hashes(make(disk / "s", videos).path) == hashes(make(tmp_path / "quiet", videos).path)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OutputError, match="Read-only file system"):
            make(disk / "t", videos)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_output_that_is_a_file_is_told(tmp_path: Path, videos: list[VideoRecord]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"Not a directory.*choose another"):
        make(tmp_path / "file", videos)


# --- splits ---


def test_a_split_lies_beside_the_shards_and_changes_none(made: Store) -> None:
    before = hashes(made.path)
    split = make_split(made.records(), ratio="60/20/20", seed=3)
    made.write_split("default", split)
    assert made.splits() == ["default"]
    sides = made.sides("default")
    assert [str(side) for side in sides] == [split.sides[v] for v in made.table(["video_id"])["video_id"].to_pylist()]
    assert {side: len(found) for side, found in made.side_records("default").items()} == {
        side: sum(value == side for value in split.sides.values()) for side in ("train", "val", "test")
    }
    check_leaks(made.side_records("default"))
    assert made.split_notes("default")["by"] == "group"
    after = hashes(made.path)
    assert after.pop("splits/default.parquet")
    assert after == before
    made.verify()


def test_a_split_leaves_out_what_was_not_drawn(made: Store) -> None:
    made.write_split("few", make_split(made.records(), per_class=3, seed=1))
    assert sum(made.sides("few") == "") == 5 * (12 - 6)


def test_a_split_by_face_tears_videos_apart_and_the_leak_is_found(made: Store) -> None:
    split = make_split(made.face_records(), by="random", ratio="80/20", seed=42)
    assert split.leaked_groups
    made.write_split("by-image", split, unit="face")
    sides = made.sides("by-image")
    assert (sum(sides == "train"), sum(sides == "test")) == (48, 12)
    with pytest.raises(DataError, match="more than one side"):
        check_leaks(made.side_records("by-image"))


def test_folds_are_splits(made: Store) -> None:
    for number, fold in enumerate(k_fold(made.records(), k=3)):
        made.write_split(f"cv-{number}", fold)
    assert made.splits() == ["cv-0", "cv-1", "cv-2"]
    held_out = np.array([made.sides(name) == "val" for name in made.splits()])
    assert (held_out.sum(axis=0) == 1).all()


def test_a_split_that_is_not_there_says_how_to_make_it(made: Store) -> None:
    with pytest.raises(UsageError, match=r"telltale split .*--name nope"):
        made.sides("nope")
    with pytest.raises(UsageError, match="letters, digits"):
        made.write_split("../x", make_split(made.records()))
    with pytest.raises(UsageError, match="no column speed"):
        made.table(["speed"])


# --- export ---


def test_export_to_folders_keeps_the_bytes(made: Store, tmp_path: Path) -> None:
    made.write_split("default", make_split(made.records(), ratio="60/20/20"))
    assert store.export(made, tmp_path / "out", split="default") == 60
    lines = (tmp_path / "out/faces.csv").read_text().splitlines()
    assert len(lines) == 61
    sides, labels = made.sides("default"), made.table(["label"])["label"].to_pylist()
    for row, line in enumerate(lines[1:]):
        name = line.split(",")[0]
        assert (tmp_path / "out" / name).read_bytes() == made.image(row)
        assert name.startswith(f"{sides[row]}/{('real', 'fake')[labels[row]]}/")


def test_export_to_npy_is_pixels_and_labels(made: Store, tmp_path: Path) -> None:
    assert store.export(made, tmp_path / "out", to="npy") == 60
    x, y = np.load(tmp_path / "out/X.npy"), np.load(tmp_path / "out/y.npy")
    assert (x.dtype, x.shape, y.dtype) == (np.uint8, (60, 32, 32, 3), np.uint8)
    assert y.tolist() == made.table(["label"])["label"].to_pylist()
    assert np.array_equal(x[41], made.rgb(41))


def test_export_names_apart_what_would_fall_together(tmp_path: Path) -> None:
    make_datasets.folder(tmp_path / "set", 0)
    for name in ("real/a b.jpg", "real/a_b.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(tiny_picture(len(name)))
        (tmp_path / "set" / name).write_bytes(tiny_picture(ord(name[6])))
    records = datasets.read(tmp_path / "set", format="folder").records
    writer = StoreWriter(tmp_path / "s", settings={})
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    store.export(open_store(tmp_path / "s"), tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2


def test_export_that_cannot_be_finished_leaves_nothing(made: Store, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    with pytest.raises(OutputError, match="not empty"):
        store.export(made, tmp_path / "full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(OutputError, match="nothing was written"):
            store.export(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".telltale-*"))


def test_export_to_npy_refuses_crops_of_several_sizes(tmp_path: Path) -> None:
    for size in (32, 40):
        path = tmp_path / f"set/real/{size}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny_picture(size, size))
    records = datasets.read(tmp_path / "set", format="folder").records
    writer = StoreWriter(tmp_path / "s", settings={})
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    with pytest.raises(DataError, match="40x40 px and others are 32x32"):
        store.export(open_store(tmp_path / "s"), tmp_path / "out", to="npy")


@given(
    st.lists(
        st.tuples(
            st.lists(st.binary(min_size=1, max_size=40), max_size=5),
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda video: video[1],
    )
)
@settings(max_examples=25, deadline=None)
def test_any_bytes_under_any_names_come_back(clips: list[tuple[list[bytes], str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = StoreWriter(Path(folder) / "s", settings={"any": "thing"})
        records = [
            VideoRecord(dataset="d", video_id=name, path="", name=name, label=0, group_id=f"d:{name}")
            for _, name in clips
        ]
        for record, (images, _) in zip(records, clips, strict=True):
            writer.stage([Outcome(record, "", [StoredFace(image, track_id=k) for k, image in enumerate(images)])])
        writer.compact(records)
        opened = open_store(writer.out)
        opened.verify()
        wanted = [image for images, _ in clips for image in images]
        assert [opened.image(row) for row in range(len(opened))] == wanted
