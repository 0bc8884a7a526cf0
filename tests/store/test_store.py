"""The store: what is written comes back, the same bytes whoever wrote it."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

import make_datasets
import make_videos
from make_outcomes import FACE, hashes, make, outcome
from telltale import datasets, store
from telltale._stored_picture import rgb_of
from telltale.errors import DataError, StoreInvalid, UsageError
from telltale.store import Outcome, Store, StoredFace, StoreWriter, content_sha256, open_store, tasks
from telltale.store._format import read_parquet
from telltale.types import ErrorInfo, FaceRecord, VideoRecord

SETTINGS = {"size_px": 32, "crop": "as_given"}


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
    hugging_face = pytest.importorskip("datasets.load", reason="needs Hugging Face datasets")
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


def test_other_problems_of_the_data_set_are_told_of_the_same_faces(made: Store, videos: list[VideoRecord]) -> None:
    before = hashes(made.path)
    problem = datasets.Problem("unlabelled", "README.md", "is neither real nor fake")
    manifest = StoreWriter(made.path, settings=FACE).compact(videos, problems=[problem])
    assert manifest == made.manifest.model_copy(update={"problems": (problem,)}) == open_store(made.path).manifest
    assert {name for name, digest in hashes(made.path).items() if digest != before[name]} == {"manifest.json"}


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


def test_more_pictures_than_arrow_counts_are_written_in_pieces(
    made: Store, videos: list[VideoRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 3 * max(len(made.image(row)) for row in range(len(made)))
    for module in ("_shards", "_stage"):
        monkeypatch.setattr(f"telltale.store.{module}.ARRAY_BYTES", most)
    monkeypatch.setattr("telltale.store._shards.ROW_GROUP_ROWS", 1000)
    again = make(tmp_path / "again.store", videos)
    again.verify()
    assert [again.image(row) for row in range(60)] == [made.image(row) for row in range(60)]
    assert again.table().equals(made.table())
    groups = [
        parquet.read_metadata(again.path / part.name).row_group(k)
        for part in again.manifest.shards
        for k in range(parquet.read_metadata(again.path / part.name).num_row_groups)
    ]
    assert max(group.num_rows for group in groups) <= 5
    assert len(make(tmp_path / "again.store", videos[:7])) == 35


def test_a_table_with_more_pictures_than_arrow_counts_is_read_in_pieces(
    tmp_path: Path, videos: list[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.store._stage.ARRAY_BYTES", 2000)
    writer = StoreWriter(tmp_path / "s", settings=FACE)
    writer.stage([outcome(videos[0], 10)])
    path = writer.staged_path(writer.task_name([videos[0]]))
    whole = read_parquet(path, shown="it")
    assert parquet.read_metadata(path).num_row_groups > 2

    def refused(*_: object, **__: object) -> pa.Table:
        raise pa.ArrowNotImplementedError("Nested data conversions not implemented for chunked array outputs")

    monkeypatch.setattr(parquet.ParquetFile, "read", refused)
    pieces = read_parquet(path, shown="it")
    assert pieces.equals(whole, check_metadata=True)


def test_other_settings_are_another_store(made: Store) -> None:
    with pytest.raises(UsageError, match=r"margin_frac 0\.25 in the store, 0\.5 asked: choose another --out"):
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


def failed(record: VideoRecord, message: str) -> Outcome:
    return Outcome(record, content_sha256(record), failure=ErrorInfo(code="corrupt_file", message=message))


def test_failures_are_named_counted_and_tried_again_on_request(tmp_path: Path, videos: list[VideoRecord]) -> None:
    writer = StoreWriter(tmp_path / "s", settings=FACE)
    for record in videos[:-2]:
        writer.stage([outcome(record)])
    writer.stage([failed(videos[-2], "cut short at 50 %")])
    writer.stage([Outcome(videos[-1], "", n_frames_sampled=6, failure=ErrorInfo(code="no_frames", message="none"))])
    assert writer.done([videos[-2]])
    assert not writer.done([videos[-2]], retry_failed=True)
    manifest = writer.compact(videos, problems=[datasets.Problem("missing", "clips/x.mp4")])
    assert manifest.failures == {"corrupt_file": 1, "no_frames": 1}
    assert [(failed.video_id, failed.message) for failed in manifest.failed] == [
        ("v/010", "cut short at 50 %"),
        ("v/011", "none"),
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
    writer.stage([failed(videos[0], "junk")])
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


def stored_as_given(folder: Path, pictures: Mapping[str, bytes]) -> Store:
    records = []
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
        records.append(
            FaceRecord(dataset="d", image_id=name, path=str(folder / name), name=name, label=0, group_id=f"d:{name}")
        )
    writer = StoreWriter(folder / "s", settings=SETTINGS)
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    return open_store(folder / "s")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_picture_that_stops_before_its_end_is_a_failure_by_name(tmp_path: Path, format: str) -> None:
    whole = make_videos.write_picture(tmp_path / "whole", format=format).read_bytes()
    kept = stored_as_given(tmp_path, {"whole": whole, "cut": whole[:-60], "padded": whole + bytes(9)})
    failed = {failed.path: failed.code for failed in kept.manifest.failed}
    assert failed == {"cut": "corrupt_file"}


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA"])
@pytest.mark.parametrize("format", ["GIF", "BMP"])
def test_what_does_not_decode_to_its_end_is_never_kept(tmp_path: Path, format: str, mode: str) -> None:
    """Cut by each of the last bytes and by more: what is kept has every pixel."""
    Image.fromarray(make_videos.portrait()[60:190, 170:275]).convert(mode).save(tmp_path / "whole", format=format)
    whole = (tmp_path / "whole").read_bytes()
    by = [*range(8), *range(8, len(whole), len(whole) // 25)]
    kept = stored_as_given(tmp_path, {f"{n:05}": whole[: len(whole) - n] for n in by})
    failed = {int(failed.path) for failed in kept.manifest.failed}
    assert set(range(8, len(whole), len(whole) // 25)) <= failed
    assert 0 not in failed
    expected = rgb_of(whole)
    for row in range(len(kept)):
        assert (kept.rgb(row) == expected).all()


def test_an_animation_is_whole_where_its_first_picture_is(tmp_path: Path) -> None:
    whole = make_videos.animated_gif(tmp_path / "whole", n=3).read_bytes()
    kept = stored_as_given(tmp_path, {"later": whole[:-60], "first": whole[: len(whole) // 5]})
    assert {failed.path for failed in kept.manifest.failed} == {"first"}
    assert kept.size_px(0) == (240, 180)


def test_bitmaps_of_other_kinds(tmp_path: Path) -> None:
    rows = b"".join(bytes([i] * 6 + [0, 0]) for i in range(3))
    os2 = b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + struct.pack("<I4H", 12, 2, 3, 1, 24) + rows
    runs = b"\4\1\0\0" * 4 + b"\0\1"
    rle = b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078)
    rle += struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 8, 1, len(runs), 0, 0, 0, 0) + bytes(1024) + runs
    top_down = os2[:10] + struct.pack("<IIiiHHIIiiII", 54, 40, 2, -3, 1, 24, 0, 0, 0, 0, 0, 0) + rows
    pictures = {"os2": os2, "rle": rle, "top_down": top_down}
    kept = stored_as_given(tmp_path, pictures | {f"cut_{name}": data[:-4] for name, data in pictures.items()})
    assert {failed.path for failed in kept.manifest.failed} == {f"cut_{name}" for name in pictures}
    assert {kept.size_px(row) for row in range(3)} == {(2, 3), (4, 4)}


def test_a_photograph_with_a_film_behind_it_is_whole(tmp_path: Path) -> None:
    whole = make_videos.write_picture(tmp_path / "whole", format="JPEG").read_bytes()
    film = b"\xff\xda" + random.Random(0).randbytes(4000).replace(b"\xff\xd9", b"")
    kept = stored_as_given(tmp_path, {"motion.jpg": whole + film, "cut.jpg": whole[: len(whole) // 2]})
    assert {failed.path for failed in kept.manifest.failed} == {"cut.jpg"}


def test_a_sound_file_is_no_picture(tmp_path: Path) -> None:
    kept = stored_as_given(tmp_path, {"song.webp": b"RIFF\x24\0\0\0WAVEfmt " + bytes(28)})
    assert [failed.code for failed in kept.manifest.failed] == ["input"]


def test_a_stored_picture_that_does_not_decode_is_named(tmp_path: Path) -> None:
    kept = stored_as_given(tmp_path, {"odd.png": b"\x89PNG\r\n\x1a\n" + bytes(40) + b"IDAT" + b"IEND"})
    with pytest.raises(StoreInvalid, match=r"the picture of odd\.png \(row 0\) does not decode"):
        kept.rgb(0)
    with pytest.raises(StoreInvalid, match=r"odd\.png"):
        kept.size_px(0)


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
