"""Reading, detecting, linking and cropping in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import make_videos
from telltale._request import ExtractRequest, default_deadline_s, face_from_json
from telltale.crops import CropSpec
from telltale.errors import NoVideoStream
from telltale.extract import extract_job
from telltale.faces import DetectorConfig
from telltale.sampling import SamplePlan
from telltale.sandbox import Message
from telltale.types import Code


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


def test_the_deadline_grows_with_the_video_but_believes_no_header_for_ever() -> None:
    assert default_deadline_s(None) == 60
    assert default_deadline_s(100) == 300
    assert default_deadline_s(1e12) == 12 * 3600
