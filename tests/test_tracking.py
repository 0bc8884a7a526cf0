"""One track a person: moving, crossing, hidden, gone and back; dense and sparse sampling; every scene."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from make_videos import background, paste_portrait
from telltale._assign import cheapest_pairs
from telltale.tracking import Linked, Tracker
from telltale.types import Face, RgbImage, Track

Path = Callable[[float], tuple[float, float] | None]
"""Seconds -> centre of a face, or None where it is hidden."""

FPS = pytest.mark.parametrize("fps", [2.0, 5.0, 30.0])


def _face(frame: int, pts_s: float, x: float, y: float, size: float = 60.0) -> Face:
    box = np.array([x - size / 2, y - 0.6 * size, x + size / 2, y + 0.6 * size], np.float32)
    return Face(frame, pts_s, box, 0.99, np.tile(np.array([x, y], np.float32), (5, 1)))


def _tracks(fps: float, seconds: float, *people: Path, size: float = 60.0) -> list[Track]:
    tracker = Tracker()
    for i in range(round(fps * seconds) + 1):
        places = [person(i / fps) for person in people]
        tracker.update(i, i / fps, [_face(i, i / fps, *place, size=size) for place in places if place is not None])
    return tracker.finish()


def _belongs(track: Track, person: Path) -> bool:
    """Whether every detected face of the track is that person's."""
    for face in track.faces:
        place = person(face.pts_s)
        middle = (face.box_xyxy[:2] + face.box_xyxy[2:]) / 2
        if face.source == "detected" and (place is None or np.abs(middle - place).max() > 0.5):
            return False
    return True


@FPS
def test_a_talking_head_is_one_track(fps: float) -> None:
    (track,) = _tracks(fps, 10, lambda t: (200 + 25 * np.sin(2.5 * t), 150 + 12 * np.cos(4 * t)))
    assert track.id == 0
    assert [face.source for face in track.faces] == ["detected"] * (round(10 * fps) + 1)


@FPS
def test_a_walker_is_one_track_though_boxes_never_overlap(fps: float) -> None:
    assert len(_tracks(fps, 6, lambda t: (80 + 130 * t, 150))) == 1


@FPS
def test_two_faces_crossing_keep_their_identity(fps: float) -> None:
    def right(t: float) -> tuple[float, float]:
        return 100 + 70 * t, 150

    def left(t: float) -> tuple[float, float]:
        return 590 - 70 * t, 160

    tracks = _tracks(fps, 7, right, left)
    assert len(tracks) == 2
    assert [_belongs(tracks[0], right), _belongs(tracks[1], left)] == [True, True]


@pytest.mark.parametrize("fps", [5.0, 30.0])
def test_a_face_hidden_behind_a_crossing_one_comes_back_as_itself(fps: float) -> None:
    def front(t: float) -> tuple[float, float]:
        return 100 + 70 * t, 150

    def behind(t: float) -> tuple[float, float] | None:
        place = 590 - 70 * t, 150.0
        return None if abs(place[0] - front(t)[0]) < 40 else place

    tracks = _tracks(fps, 7, front, behind)
    assert len(tracks) == 2
    assert [_belongs(tracks[0], front), _belongs(tracks[1], behind)] == [True, True]
    assert any(face.source == "interpolated" for face in tracks[1].faces)


@FPS
def test_thirty_people_are_thirty_tracks(fps: float) -> None:
    def person(i: int) -> Path:
        return lambda t: (80 + 110 * (i % 6) + 12 * np.sin(1.7 * t + i), 70 + 110 * (i // 6) + 8 * np.cos(2.3 * t + i))

    people = [person(i) for i in range(30)]
    tracks = _tracks(fps, 4, *people)
    assert len(tracks) == 30
    assert all(_belongs(track, people[track.id]) for track in tracks)


def test_sparse_sampling_still_gives_one_track_a_person_and_invents_no_face_in_between() -> None:
    """`--frames 32` of a long interview: seconds between frames."""
    tracker = Tracker()
    for i in range(20):
        faces = [_face(i, 18.0 * i, 200 + 15 * (i % 3), 150)] if i % 5 != 4 else []
        assert [link.provisional for link in tracker.update(i, 18.0 * i, faces)] == [False] * len(faces)
    (track,) = tracker.finish()
    assert [face.source for face in track.faces] == ["detected"] * 16


def test_a_missed_face_is_provisional_until_the_track_is_hit_again() -> None:
    tracker = Tracker()
    for i in range(4):
        tracker.update(i, i / 2, [_face(i, i / 2, 100 + 10 * i, 100)])
    ((missed),) = tracker.update(4, 2.0, [])
    assert missed.provisional
    assert missed.face.source == "interpolated"
    assert missed.face.confidence == 0.0
    assert 130 <= (missed.face.box_xyxy[0] + missed.face.box_xyxy[2]) / 2 <= 145
    assert missed.face.points is not None
    assert tracker.confirmed() == tracker.dropped() == set()
    tracker.update(5, 2.5, [_face(5, 2.5, 150, 100)])
    assert tracker.confirmed() == {(0, 4)}
    assert tracker.confirmed() == set()
    (track,) = tracker.finish()
    assert [face.frame_index for face in track.faces] == [0, 1, 2, 3, 4, 5]
    assert [face.frame_index for face in track.faces if face.source == "interpolated"] == [4]


def test_a_face_that_leaves_is_not_bridged() -> None:
    tracker = Tracker()
    handed_out = 0
    for i in range(20):
        linked = tracker.update(i, i / 2, [_face(i, i / 2, 100, 100)] if i < 4 else [])
        handed_out += sum(link.provisional for link in linked)
    (track,) = tracker.finish()
    assert [face.frame_index for face in track.faces] == [0, 1, 2, 3]
    assert tracker.dropped() == {(0, 4), (0, 5)}
    assert handed_out == 2


def test_a_face_that_comes_back_later_is_the_same_track_without_a_bridge() -> None:
    tracker = Tracker()
    for i in range(20):
        tracker.update(i, i / 5, [_face(i, i / 5, 100, 100)] if i < 5 or i >= 17 else [])
    (track,) = tracker.finish()
    assert [face.source for face in track.faces] == ["detected"] * 8
    assert tracker.dropped() == {(0, i) for i in range(5, 10)}


def test_a_face_elsewhere_after_a_gap_is_someone_else() -> None:
    tracker = Tracker()
    for i in range(10):
        tracker.update(i, i / 5, [_face(i, i / 5, 100, 100)] if i < 5 else [])
    tracker.update(10, 2.0, [_face(10, 2.0, 400, 100)])
    assert len(tracker.finish()) == 2


def test_a_face_of_another_size_is_someone_else() -> None:
    tracker = Tracker()
    tracker.update(0, 0.0, [_face(0, 0.0, 100, 100, size=60)])
    tracker.update(1, 0.04, [_face(1, 0.04, 100, 100, size=130)])
    assert len(tracker.finish()) == 2


def _shown(x: int, shade: tuple[int, int, int]) -> tuple[RgbImage, Face]:
    """A frame with one face over a jacket of that colour, and the face."""
    picture = background((480, 360))
    paste_portrait(picture, x - 110, 20, 256)
    picture[140:, max(0, x - 80) : x + 80] = shade
    return picture, _face(0, 0.0, x, 105, size=52)


def test_colours_tell_people_apart_whose_places_do_not() -> None:
    tracker = Tracker()
    red, green = (180, 30, 30), (30, 150, 40)
    for i, shade in enumerate([red, red, red]):
        picture, face = _shown(150, shade)
        tracker.update(i, i / 2, [Face(i, i / 2, face.box_xyxy, 0.99)], rgb=picture)
    tracker.update(3, 1.5, [], rgb=background((480, 360)))
    tracker.update(4, 2.0, [], rgb=background((480, 360)))
    picture, face = _shown(170, green)
    ((someone,),) = (tracker.update(5, 2.5, [Face(5, 2.5, face.box_xyxy, 0.99)], rgb=picture),)
    assert someone.track_id == 1


def test_a_picture_of_another_scene_is_a_cut() -> None:
    tracker = Tracker()
    frame, face = _shown(150, (180, 30, 30))
    other = np.full_like(frame, (20, 60, 160))
    tracker.update(0, 0.0, [Face(0, 0.0, face.box_xyxy, 0.99)], rgb=frame)
    tracker.update(1, 0.5, [Face(1, 0.5, face.box_xyxy, 0.99)], rgb=frame)
    tracker.update(2, 1.0, [Face(2, 1.0, face.box_xyxy, 0.99)], rgb=other)
    assert [len(track.faces) for track in tracker.finish()] == [2, 1]


def test_the_other_person_of_an_interview_does_not_inherit_the_track() -> None:
    """Shot and reverse shot in one studio: half the colours stay, the face is in the same place."""
    tracker = Tracker()
    for i, shade in enumerate([(180, 30, 30), (180, 30, 30), (30, 150, 40), (30, 150, 40)]):
        picture, face = _shown(150, shade)
        if i >= 2:
            picture[:, 260:] = (30, 60, 30)
        tracker.update(i, i / 2, [Face(i, i / 2, face.box_xyxy, 0.99)], rgb=picture)
    assert [len(track.faces) for track in tracker.finish()] == [2, 2]


def _interview(*shots: tuple[RgbImage, list[Face]], n: int = 4) -> list[Track]:
    """The tracks of shots of two seconds each, with a white frame between any two: a cut however alike they are."""
    tracker = Tracker()
    for shot, (picture, faces) in enumerate(shots):
        for i in range(n + 1):
            at = shot * (n + 1) + i
            seen = [Face(at, at / 2, face.box_xyxy, 0.99) for face in faces if i]
            tracker.update(at, at / 2, seen, rgb=picture if i else np.full_like(picture, 255))
    return tracker.finish()


RED, GREEN = _shown(150, (180, 30, 30)), _shown(150, (30, 150, 40))


def test_who_is_seen_again_after_a_cutaway_has_a_track_of_their_own_and_is_the_same_person() -> None:
    cutaway: tuple[RgbImage, list[Face]] = (np.full_like(RED[0], 90), [])
    tracks = _interview((RED[0], [RED[1]]), cutaway, (RED[0], [RED[1]]), cutaway, (RED[0], [RED[1]]))
    assert [(track.id, track.person) for track in tracks] == [(0, 0), (1, 0), (2, 0)]


def test_shot_and_reverse_shot_are_two_people() -> None:
    tracks = _interview(*[(picture, [face]) for picture, face in (RED, GREEN, RED, GREEN)])
    assert [track.person for track in tracks] == [0, 1, 0, 1]


def test_the_same_colours_do_not_make_another_face_the_same_person() -> None:
    """In a picture without colours everybody's are alike."""
    grey, face = _shown(150, (60, 60, 60))
    grey[...] = grey.mean(axis=2, keepdims=True).astype(np.uint8)
    x0, y0, x1, y1 = face.box_xyxy.astype(int)
    other = grey.copy()
    other[y0:y1, x0:x1] = other[y0:y1, x0:x1][::-1]
    tracks = _interview((grey, [face]), (other, [face]), (grey, [face]))
    assert [track.person for track in tracks] == [0, 1, 0]


def test_who_is_seen_at_the_same_time_is_not_the_same_person_however_alike() -> None:
    picture, left = RED
    picture = np.concatenate([picture, picture], axis=1)
    right = Face(0, 0.0, left.box_xyxy + np.array([480, 0, 480, 0], np.float32), 0.99)
    tracks = _interview((picture, [left, right]), (picture, [left]))
    assert [track.person for track in tracks] == [0, 1, 0]


def test_who_was_hardly_seen_is_nobody_else() -> None:
    tracks = _interview((RED[0], [RED[1]]), (RED[0], [RED[1]]), n=2)
    assert [track.person for track in tracks] == [0, 1]


def test_without_pictures_nobody_is_compared() -> None:
    (track,) = _tracks(2, 3, lambda t: (100 + t, 100))
    assert track.person is None


def test_another_person_before_the_same_backdrop_does_not_inherit_the_track() -> None:
    """A cut that leaves nine of ten colours where they were, to a face of other light and shade over another jacket."""
    frame, face = _shown(150, (180, 30, 30))
    recast = frame.copy()
    x0, y0, x1, y1 = face.box_xyxy.astype(int)
    recast[y0:y1, x0:x1] = recast[y0:y1, x0:x1][::-1]
    recast[y1:260, :175] = (30, 150, 40)

    def tracks_to(after: RgbImage) -> list[int]:
        tracker = Tracker()
        for i, picture in enumerate([frame, frame, after, after]):
            tracker.update(i, i / 2, [Face(i, i / 2, face.box_xyxy, 0.99)], rgb=picture)
        return [len(track.faces) for track in tracker.finish()]

    assert tracks_to(recast) == [2, 2]
    turned, lit = frame.copy(), frame.copy()
    turned[y0:y1, x0:x1] = recast[y0:y1, x0:x1]
    lit[y1:260, :175] = recast[y1:260, :175]
    assert tracks_to(turned) == tracks_to(lit) == [4], "a head turns, a jacket is taken off"


def test_another_frame_size_is_a_cut() -> None:
    tracker = Tracker()
    tracker.update(0, 0.0, [_face(0, 0.0, 100, 100)], rgb=background((480, 360)))
    tracker.update(1, 0.5, [_face(1, 0.5, 100, 100)], rgb=background((640, 480)))
    assert len(tracker.finish()) == 2


def test_time_does_not_run_backward() -> None:
    tracker = Tracker()
    tracker.update(0, 1.0, [])
    with pytest.raises(ValueError, match="time order"):
        tracker.update(1, 0.5, [])


def test_a_finished_tracker_begins_again() -> None:
    tracker = Tracker()
    for _ in range(2):
        tracker.update(0, 0.0, [_face(0, 0.0, 100, 100)])
        assert [track.id for track in tracker.finish()] == [0]
    assert tracker.finish() == []


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_assignment_is_optimal(rows: int, columns: int, seed: int) -> None:
    cost = np.random.default_rng(seed).uniform(0, 1.5, (rows, columns))
    pairs = cheapest_pairs(cost, 1.0)
    assert len(pairs) == len({i for i, _ in pairs}) == len({j for _, j in pairs})
    assert all(cost[i, j] < 1.0 for i, j in pairs)
    padded = np.ones((rows, columns + rows))  # a place to be left alone for every row
    padded[:, :columns] = np.minimum(cost, 1.0)
    best = min(sum(padded[i, j] for i, j in enumerate(chosen)) for chosen in permutations(range(columns + rows), rows))
    assert sum(cost[i, j] for i, j in pairs) + (rows - len(pairs)) == pytest.approx(best)


Scene = list[tuple[float, list[tuple[float, float, float]]]]
"""Seconds since the frame before, and x, y and size of its faces."""

scenes = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.033, 0.5, 1.0, 7.0]),
        st.lists(st.tuples(st.floats(-50, 700), st.floats(-50, 500), st.floats(8, 200)), max_size=5),
    ),
    max_size=15,
)


def _run(scene: Scene, *, finish: bool = True) -> tuple[list[Linked], Tracker, list[Track]]:
    tracker, linked, pts_s = Tracker(), [], 0.0
    for i, (step_s, faces) in enumerate(scene):
        pts_s += step_s
        linked += tracker.update(i, pts_s, [_face(i, pts_s, *face) for face in faces])
    return linked, tracker, tracker.finish() if finish else []


@settings(deadline=None, max_examples=150)
@given(scenes)
def test_every_face_is_in_exactly_one_track(scene: Scene) -> None:
    linked, _, tracks = _run(scene)
    detected = [id(face) for track in tracks for face in track.faces if face.source == "detected"]
    assert len(detected) == len(set(detected)) == sum(len(faces) for _, faces in scene)
    assert {id(link.face) for link in linked if not link.provisional} == set(detected)


@settings(deadline=None, max_examples=150)
@given(scenes)
def test_ids_count_up_and_faces_are_in_time_order_one_a_frame(scene: Scene) -> None:
    linked, _, tracks = _run(scene)
    assert [track.id for track in tracks] == list(range(len(tracks)))
    for track in tracks:
        frames = [face.frame_index for face in track.faces]
        assert frames == sorted(set(frames))
        assert track.faces[0].source == track.faces[-1].source == "detected"
    of_faces = {id(face): track.id for track in tracks for face in track.faces}
    assert all(of_faces[id(link.face)] == link.track_id for link in linked if not link.provisional)


@settings(deadline=None, max_examples=150)
@given(scenes)
def test_every_provisional_face_is_confirmed_or_dropped_and_only_confirmed_ones_stay(scene: Scene) -> None:
    linked, tracker, tracks = _run(scene)
    handed_out = [(link.track_id, link.face.frame_index) for link in linked if link.provisional]
    confirmed, dropped = tracker.confirmed(), tracker.dropped()
    assert sorted(handed_out) == sorted(confirmed | dropped)
    assert not confirmed & dropped
    kept = {(track.id, face.frame_index) for track in tracks for face in track.faces if face.source == "interpolated"}
    assert kept == confirmed


@settings(deadline=None, max_examples=60)
@given(scenes)
def test_the_same_faces_give_the_same_tracks(scene: Scene) -> None:
    def told(tracks: list[Track]) -> list[list[tuple[int, list[float]]]]:
        return [[(face.frame_index, face.box_xyxy.tolist()) for face in track.faces] for track in tracks]

    assert told(_run(scene)[2]) == told(_run(scene)[2])
