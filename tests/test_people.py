"""Detection and tracking together: rendered scenes, and the real clips of ../shared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from make_videos import background, paste_portrait
from telltale.faces import DetectorConfig, create
from telltale.sampling import SamplePlan
from telltale.tracking import Tracker
from telltale.types import Frame, Track
from telltale.video import read_frames


def _people(frames: Iterable[Frame], config: DetectorConfig | None = None) -> tuple[list[Track], int]:
    """Tracks, and the number of frames."""
    detector, tracker = create("mtcnn", config=config), Tracker()
    n_frames = 0
    for frame in frames:
        (found,) = detector.detect([frame])
        tracker.update(frame.index, frame.pts_s, found, rgb=frame.rgb)
        n_frames += 1
    return tracker.finish(), n_frames


def _n_detected(track: Track) -> int:
    return sum(face.source == "detected" for face in track.faces)


def _crossing(fps: int, seconds: int = 4) -> Iterator[Frame]:
    """The portrait walks to the right, in front of its own mirror image that walks to the left."""
    n = fps * seconds
    for i in range(n + 1):
        picture = background((960, 300), i)
        for to_the_right in (False, True):
            x = 30 + 600 * i // n if to_the_right else 660 - 600 * i // n
            paste_portrait(picture, x, 20 if to_the_right else 35, 270, mirrored=not to_the_right)
        yield Frame(i, i / fps, picture)


@pytest.mark.parametrize("fps", [2, 6])
def test_two_faces_crossing_keep_their_identity(fps: int) -> None:
    tracks, _ = _people(_crossing(fps))
    long = [track for track in tracks if len(track.faces) > 2]
    assert len(long) == 2
    for track in long:
        middles = [float(face.box_xyxy[0] + face.box_xyxy[2]) / 2 for face in track.faces]
        steps = np.sign(np.diff(middles))
        assert (steps == steps[0]).all(), middles
        assert abs(middles[-1] - middles[0]) > 400


def test_a_face_that_comes_and_goes_is_one_person() -> None:
    def frames() -> Iterator[Frame]:
        for i in range(24):
            picture = background((480, 360), i)
            if i not in (5, 6, 12, 18, 19, 20):
                paste_portrait(picture, 60 + 3 * i, 20, 340)
            yield Frame(i, i / 4, picture)

    (track,), n_frames = _people(frames())
    assert len(track.faces) == n_frames
    assert [face.frame_index for face in track.faces if face.source == "interpolated"] == [5, 6, 12, 18, 19, 20]


def test_a_scene_without_people_has_no_track() -> None:
    assert _people(Frame(i, i / 2, background(shift=i)) for i in range(4)) == ([], 4)


@pytest.mark.parametrize("clip", ["bbaf2n", "brbk7n", "lbax4n", "lbbc2a", "lrwp9a", "lwbsza"])
def test_each_talker_is_one_person_seen_in_every_frame(shared: Path, clip: str) -> None:
    tracks, n_frames = _people(read_frames(shared / "videos" / "talkers" / f"grid_{clip}.mpg", SamplePlan("fps", 4)))
    assert [_n_detected(track) for track in tracks] == [n_frames]


@pytest.mark.parametrize(
    "clip", ["dfdc_brtujopkby_fake", "dfdc_lynaeydofd_real", "ffpp_634_660_faceswap_fake", "ffpp_634_real"]
)
def test_labelled_clips_show_a_face_on_most_frames(shared: Path, clip: str) -> None:
    plan = SamplePlan("fps", 2, seconds=8)
    tracks, n_frames = _people(read_frames(shared / "videos" / "labelled" / f"{clip}.mp4", plan))
    assert max(_n_detected(track) for track in tracks) >= 0.9 * n_frames
    assert sum(_n_detected(track) > 1 for track in tracks) == 1


def test_a_street_has_several_people_at_once(shared: Path) -> None:
    clip = shared / "videos" / "crowd" / "street_crowd.mp4"
    tracks, _ = _people(read_frames(clip, SamplePlan("fps", 2)), DetectorConfig(min_face_px=60))
    in_a_frame: dict[int, int] = {}
    for track in tracks:
        for face in track.faces:
            in_a_frame[face.frame_index] = in_a_frame.get(face.frame_index, 0) + 1
    assert max(in_a_frame.values()) >= 4
    assert sum(_n_detected(track) >= 3 for track in tracks) >= 4
