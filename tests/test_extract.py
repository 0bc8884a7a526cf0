"""Reading, detecting, linking and cropping in one go."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import make_videos
from sandbox_jobs import JOBS
from telltale import _request
from telltale import extract as extracting
from telltale._file_reader import FileReader
from telltale._request import (
    HASH_NOT_KNOWN,
    ExtractRequest,
    allowed_s,
    default_deadline_s,
    face_from_json,
    run_extract,
)
from telltale._source import FileHash
from telltale.crops import CropSpec
from telltale.errors import DeadlineExceeded, NoVideoStream
from telltale.extract import extract_job
from telltale.faces import DetectorConfig
from telltale.sampling import SamplePlan
from telltale.sandbox import Message, Worker
from telltale.types import Code, Frame


def extract(path: Path, **request: Any) -> dict[str, list[Message]]:
    """The job's messages by kind, run in this process."""
    by_kind: dict[str, list[Message]] = {}
    for message in extract_job(ExtractRequest(path=str(path), **request).to_json()):
        by_kind.setdefault(message.kind, []).append(message)
    return by_kind


def test_a_request_survives_the_wire() -> None:
    request = ExtractRequest(
        path="x.mp4",
        plan=SamplePlan("uniform", 7),
        detector_config=DetectorConfig(min_face_px=55),
        crop=CropSpec(size_px=64, margin_frac=0.3),
    )
    assert ExtractRequest.from_json(request.to_json()) == request


def test_every_sampled_frame_gives_its_faces_and_their_crops(face_clip: Path) -> None:
    messages = extract(face_clip, plan=SamplePlan("fps", 4), crop=CropSpec(size_px=96))
    (done,) = messages["done"]
    assert done.data["analysed"] == len(messages["faces"]) == 8
    for message in messages["faces"]:
        (row,) = message.data["faces"]
        assert (row["track_id"], row["source"]) == (0, "detected")
        assert message.arrays["crops"].shape == (1, 96, 96, 3)
        assert face_from_json(row).box_xyxy.dtype == np.float32


def test_two_people_are_two_tracks(two_face_clip: Path) -> None:
    messages = extract(two_face_clip)
    assert {row["track_id"] for message in messages["faces"] for row in message.data["faces"]} == {0, 1}


def test_one_speaker_in_two_shots_is_two_tracks_of_one_person(tmp_path: Path) -> None:
    shot = list(make_videos.face_frames(50))
    cutaway = [np.full_like(shot[0], (20, 60, 160))] * 25
    path = make_videos.write_video(tmp_path / "cut.mp4", [*shot, *cutaway, *shot], fps=25)
    messages = extract(path)
    assert {row["track_id"] for message in messages["faces"] for row in message.data["faces"]} == {0, 1}
    assert messages["done"][0].data["persons"] == [0, 0]


def test_two_people_are_two_persons(two_face_clip: Path) -> None:
    assert extract(two_face_clip)["done"][0].data["persons"] == [0, 1]


def test_a_gap_is_bridged_once_the_face_is_back(tmp_path: Path) -> None:
    visible = [i for i in range(50) if not 20 <= i < 30]
    path = make_videos.write_video(tmp_path / "gap.mp4", make_videos.face_frames(50, with_face=visible), fps=25)
    rows = [
        row
        for m in extract(path, plan=SamplePlan("fps", 5))["faces"]
        for row in m.data["faces"]
        if row["track_id"] == 0
    ]
    assert [row["source"] for row in rows] == ["detected"] * 4 + ["interpolated"] * 2 + ["detected"] * 4
    assert [row["pts_s"] for row in rows] == sorted(row["pts_s"] for row in rows)


def test_a_face_that_never_comes_back_is_not_continued(tmp_path: Path) -> None:
    path = make_videos.write_video(tmp_path / "gone.mp4", make_videos.face_frames(50, with_face=range(25)), fps=25)
    rows = [row for m in extract(path, plan=SamplePlan("fps", 5))["faces"] for row in m.data["faces"]]
    assert {row["source"] for row in rows} == {"detected"}
    assert max(row["pts_s"] for row in rows) < 1.0


def test_a_video_without_faces_has_none(empty_clip: Path) -> None:
    assert all(not message.data["faces"] for message in extract(empty_clip)["faces"])


def test_thumbnails_come_when_asked_for(face_clip: Path) -> None:
    assert "thumbnail" not in extract(face_clip)
    thumbnails = extract(face_clip, thumbnails=True)["thumbnail"]
    assert len(thumbnails) == 4
    assert thumbnails[0].arrays["jpeg"][:2].tobytes() == b"\xff\xd8"


def test_a_still_picture_is_kept_large_enough_to_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(make_videos.portrait()).resize((1200, 1600)).save(path)
    messages = extract(path, thumbnails=True)
    sizes = [Image.open(io.BytesIO(messages[kind][0].arrays["jpeg"].tobytes())).size for kind in ("still", "thumbnail")]
    assert sizes == [(675, 900), (135, 180)]
    assert "still" not in extract(path)


def test_of_a_clip_no_frame_is_kept_large(face_clip: Path) -> None:
    assert "still" not in extract(face_clip, thumbnails=True)


def test_whole_frames_are_one_track_and_need_no_detector(empty_clip: Path) -> None:
    messages = extract(empty_clip, crop=CropSpec(kind="centre_square", size_px=64))
    assert all(message.arrays["crops"].shape == (1, 64, 64, 3) for message in messages["faces"])


def test_a_tight_face_crop_is_found_and_named(tmp_path: Path) -> None:
    face = make_videos.portrait()[55:200, 155:300]
    messages = extract(make_videos.write_picture(tmp_path / "crop.png", face, format="PNG"))
    assert messages["faces"][0].data["faces"]
    assert Code.FACE_CROP_INPUT in messages["done"][0].data["codes"]


def test_what_cannot_be_read_is_raised_by_name(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStream):
        extract(make_videos.audio_only(tmp_path / "sound.m4a"))


def test_reading_stops_in_time_and_keeps_what_it_has(face_clip: Path) -> None:
    (done,) = extract(face_clip, plan=SamplePlan("all"), deadline_s=1e-6)["done"]
    assert done.data["codes"] == [Code.PARTIAL]
    assert done.data["analysed"] == 1
    assert "a longer deadline" in done.data["warnings"][0]


def test_the_time_that_the_worker_took_to_start_counts(face_clip: Path) -> None:
    asked = ExtractRequest(path=str(face_clip), plan=SamplePlan("all"), deadline_s=100).to_json()
    *_, done = extract_job(asked | {"asked_at_s": asked["asked_at_s"] - 95})
    assert done.data["codes"] == [Code.PARTIAL]


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What a test holds up until it is over."""
    held = threading.Event()
    yield held
    held.set()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch, held: threading.Event) -> None:
    """The fourth frame of any file never comes."""

    class Stuck(FileReader):
        def __iter__(self) -> Iterator[Frame]:
            for n, frame in enumerate(super().__iter__()):
                if n == 3:
                    held.wait(60)
                yield frame

    monkeypatch.setattr("telltale.video.FileReader", Stuck)


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("n_decode_threads", [None, 1])
def test_a_frame_that_never_comes_takes_nothing_of_what_was_seen_with_it(
    face_clip: Path, n_decode_threads: int | None
) -> None:
    started = time.monotonic()
    messages = extract(face_clip, plan=SamplePlan("all"), deadline_s=2, n_decode_threads=n_decode_threads)
    assert 1.8 <= time.monotonic() - started < 20
    (done,) = messages["done"]
    assert done.data["analysed"] == len(messages["faces"]) == 3
    assert done.data["is_out_of_time"]
    assert done.data["partial"] == ["Stopped after 1.8 s, 0.1 s into the video; a longer deadline reads more of it."]


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("plan", [SamplePlan("all", cap=20), SamplePlan("all", seconds=1)], ids=str)
def test_what_was_to_be_left_out_is_not_told_where_time_ran_out_before(face_clip: Path, plan: SamplePlan) -> None:
    (done,) = extract(face_clip, plan=plan, deadline_s=1)["done"]
    assert done.data["codes"] == [Code.PARTIAL]
    assert len([told for told in done.data["warnings"] if told != HASH_NOT_KNOWN]) == 1


@pytest.mark.usefixtures("stuck")
def test_an_original_that_is_stuck_is_not_waited_for(face_clip: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="its original"):
        extract(face_clip, plan=SamplePlan("all"), deadline_s=2, boxes_from=str(face_clip))
    assert time.monotonic() - started < 20


def test_a_frame_is_decoded_when_it_is_asked_for_where_a_worker_keeps_to_one_core(
    face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_decoded: list[int] = []
    link = extracting._Linker.link

    class Counted(FileReader):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                n_decoded[-1] += 1
                yield frame

    def slowly(self: Any, frame: Frame, **how: Any) -> Message:
        time.sleep(0.1)
        ahead.append(n_decoded[-1] - len(ahead) - 1)
        return link(self, frame, **how)

    monkeypatch.setattr("telltale.video.FileReader", Counted)
    monkeypatch.setattr(extracting._Linker, "link", slowly)
    most = {}
    for n_threads in (1, None):
        ahead: list[int] = []
        n_decoded.append(0)
        extract(face_clip, plan=SamplePlan("first", 10), n_decode_threads=n_threads)
        most[n_threads] = max(ahead)
    assert most[1] == 0
    assert 0 < most[None] <= 4


def test_a_hash_that_takes_too_long_is_not_waited_for_and_the_frames_are_kept(
    face_clip: Path, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    hash_all: Callable[[FileHash], None] = FileHash._run

    def slow(self: FileHash) -> None:
        held.wait(60)
        hash_all(self)

    monkeypatch.setattr(FileHash, "_run", slow)
    messages = extract(face_clip, deadline_s=3)
    (done,) = messages["done"]
    assert len(messages["faces"]) == 4
    assert (done.data["info"]["sha256"], done.data["is_out_of_time"]) == ("", False)
    assert (done.data["warnings"], done.data["partial"]) == ([HASH_NOT_KNOWN], [])


def test_a_hash_that_was_given_up_is_not_that_of_half_the_file(face_clip: Path, held: threading.Event) -> None:
    class Slow:
        def __init__(self) -> None:
            self.file = face_clip.open("rb")

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def read(self, _: int) -> bytes:
            held.wait(60)
            return self.file.read(1000)

    file: Any = Slow()
    hashing = FileHash(file)
    assert hashing.result(within_s=0.01) == ""
    held.set()
    hashing._thread.join(60)
    assert hashing.is_done
    assert hashing.result() == ""
    assert file.file.closed


def test_what_a_stuck_worker_said_before_its_deadline_is_kept(face_clip: Path) -> None:
    request = ExtractRequest(str(face_clip), deadline_s=2)
    with Worker(jobs={**JOBS, "extract": "sandbox_jobs:see_and_hang"}) as worker:
        *_, done = run_extract(worker, request)
        with pytest.raises(DeadlineExceeded):
            list(run_extract(worker, ExtractRequest(str(face_clip), deadline_s=0.01)))
    assert done.data["is_out_of_time"]
    assert (done.data["analysed"], done.data["codes"]) == (3, [Code.PARTIAL])
    assert done.data["partial"] == ["Stopped after 2.0 s, 2.0 s into the video; a longer deadline reads more of it."]
    assert done.data["warnings"] == [*done.data["partial"], HASH_NOT_KNOWN]


def test_a_worker_that_ran_out_of_time_serves_no_other_file(face_clip: Path) -> None:
    with Worker(jobs={**JOBS, "extract": "telltale.extract:extract_job"}) as worker:
        (before,) = worker.run("pid", {}, deadline_s=60)
        list(run_extract(worker, ExtractRequest(str(face_clip))))
        (again,) = worker.run("pid", {}, deadline_s=60)
        request = ExtractRequest(str(face_clip), SamplePlan("all"), deadline_s=60)
        late = {**request.to_json(), "deadline_s": 1e-6}
        run = _request._extended(worker.run("extract", late, deadline_s=60), worker, request)
        *_, done = run
        (after,) = worker.run("pid", {}, deadline_s=60)
    assert done.data["is_out_of_time"]
    assert before.data["pid"] == again.data["pid"] != after.data["pid"]


def test_the_deadline_grows_with_the_video_but_believes_no_header_for_ever() -> None:
    assert default_deadline_s(None) == 60
    assert default_deadline_s(100) == 300
    assert default_deadline_s(1e12) == 12 * 3600


def test_the_deadline_grows_with_the_file_whose_every_packet_is_read_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_deadline_s(None, 10**9) == 60
    assert default_deadline_s(10.0, 27 * 10**9) == 1350
    assert allowed_s(ExtractRequest("a.mp4", boxes_from="b.mp4"), None, 0) == 120
    assert allowed_s(ExtractRequest("a.mp4", boxes_from="b.mp4", deadline_s=7), None, 10**12) == 7
    with (tmp_path / "large.mp4").open("wb") as file:
        file.truncate(4 * 10**9)
    given: list[float] = []
    monkeypatch.setattr(Worker, "extend", lambda _, deadline_s: given.append(deadline_s))
    with Worker() as worker:
        run_extract(worker, ExtractRequest(str(tmp_path / "large.mp4"))).close()
    assert given == [200]
