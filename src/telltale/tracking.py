"""Link the faces of sampled frames into tracks, one a person, while the video is being read.

`Tracker.update` is called once for each analysed frame, in time order, and says at once which track every detected
face belongs to, so that the caller can crop and drop the frame. Where a track was missed in a frame, a face at the
track's recent average is handed out as *provisional*: crop it too, and keep the crop only if a later call of
`confirmed()` names it (the track was hit again in time); `dropped()` names those that came to nothing.

>>> tracker = Tracker()
>>> def seen(i): return [Face(i, i / 2, np.array([10 + i, 10, 60 + i, 70], np.float32), 0.99)]
>>> tracker.update(0, 0.0, seen(0))
[Linked(track 0, Face(frame 0 @ 0.000 s, box [10 10 60 70], confidence 0.990, detected))]
>>> tracker.update(1, 0.5, seen(1))[0].track_id
0
>>> tracker.update(2, 1.0, [])
[Linked(track 0, Face(frame 2 @ 1.000 s, box [12 10 62 70], confidence 0.000, interpolated), provisional)]
>>> tracker.update(3, 1.5, seen(3))[0].track_id, tracker.confirmed()
(0, {(0, 2)})
>>> [[face.source for face in track.faces] for track in tracker.finish()]
[['detected', 'detected', 'interpolated', 'detected']]

Give `update` the frame's picture too where there is one: colours then tell people apart whose paths cross, and a cut
to another shot ends every track.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from telltale._appearance import look_of, scene_of
from telltale.types import Face, Float32Array, Float64Array, RgbImage, Track

AVERAGED = 5
"""Boxes of a track that are averaged where it was missed."""

FADING_S = 0.4
"""How long a missed face goes on moving."""

_UNLINKED = 1.0
"""Cost of leaving a track without a face. A link that costs more is never made."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A face and the track it belongs to. `provisional` faces were not seen, only expected."""

    track_id: int
    face: Face
    provisional: bool = False

    def __repr__(self) -> str:
        return f"Linked(track {self.track_id}, {self.face}{', provisional' if self.provisional else ''})"


@dataclass(slots=True)
class _Path:
    """A track in the making."""

    id: int
    faces: list[Face]
    """Detected and confirmed, in time order."""
    hits: list[Face]
    """The last few detected ones."""
    look: Float32Array | None = None
    awaiting: list[Face] = field(default_factory=list)
    """Provisional faces since the last hit."""

    def expected(self, pts_s: float, *, fading: bool = False) -> tuple[Float64Array, float]:
        """Centre (2,) px and size px at a time: the recent faces' straight line, followed for a second at most.

        `fading`: as motion dies down that was not seen to go on.
        """
        last = self.hits[-1]
        size = float(np.mean([_size(face) for face in self.hits]))
        usable = [face for face in self.hits if last.pts_s - face.pts_s <= 1.1]
        if usable[-1].pts_s <= usable[0].pts_s:
            return _centre(last), size
        times = np.array([face.pts_s for face in usable])
        times -= times.mean()
        velocity = times @ np.array([_centre(face) for face in usable]) / (times @ times)
        ahead_s = min(pts_s - last.pts_s, 1.0)
        if fading:
            ahead_s = FADING_S * (1.0 - math.exp(-ahead_s / FADING_S))
        return _centre(last) + velocity * ahead_s, size

    def average(self, frame_index: int, pts_s: float) -> Face:
        """The face to expect where none was found: recent boxes' mean shape, carried to where the track leads."""
        recent = self.hits
        centre, _ = self.expected(pts_s, fading=True)
        centres = np.array([_centre(face) for face in recent])
        moved_box = np.mean([face.box_xyxy - np.tile(c, 2) for face, c in zip(recent, centres, strict=True)], axis=0)
        points = None
        if all(face.points is not None for face in recent):
            moved = [face.points - c for face, c in zip(recent, centres, strict=True) if face.points is not None]
            points = (np.mean(moved, axis=0) + centre).astype(np.float32)
        box = (moved_box + np.tile(centre, 2)).astype(np.float32)
        return Face(frame_index, pts_s, box, 0.0, points, source="interpolated")


class Tracker:
    """Online linking of faces. Deterministic: the same faces in the same order give the same tracks."""

    def __init__(self, *, max_gap_s: float = 1.2, max_lost_s: float = 4.0) -> None:
        """`max_gap_s`: longest time between two hits of a track that is filled with interpolated faces.
        `max_lost_s`: how long a lost person may be taken up again under the same id, without filling the gap.
        Both are stretched to at least 2.1 sampling intervals, so that sparse sampling still gives one track a person.
        """
        if not 0.0 <= max_gap_s <= max_lost_s:
            raise ValueError(f"expected 0 <= max_gap_s <= max_lost_s, got {max_gap_s} and {max_lost_s}")
        self._max_gap_s = max_gap_s
        self._max_lost_s = max_lost_s
        self._paths: list[_Path] = []
        self._done: list[_Path] = []
        self._times: list[float] = []
        self._scene: Float32Array | None = None
        self._frame_size: tuple[int, int] | None = None
        self._confirmed: set[tuple[int, int]] = set()
        self._dropped: set[tuple[int, int]] = set()

    def update(
        self,
        frame_index: int,
        pts_s: float,
        faces: Sequence[Face],
        *,
        rgb: RgbImage | None = None,
        cut: bool = False,
    ) -> list[Linked]:
        """Link the faces of the next analysed frame; detected ones first, in the order given.

        `rgb` is the frame they were found in; `cut` says that a new shot begins with it. Raises ValueError where
        time runs backward.
        """
        if self._times and pts_s < self._times[-1]:
            raise ValueError(f"frames must come in time order, got {pts_s} s after {self._times[-1]} s")
        if cut or self._is_cut(rgb):
            self._end(self._paths)
        self._times = [*self._times[-8:], pts_s]
        interval_s = float(median(np.diff(self._times))) if len(self._times) > 1 else 0.0
        gap_s, lost_s = max(self._max_gap_s, 2.1 * interval_s), max(self._max_lost_s, 2.1 * interval_s)
        self._end([path for path in self._paths if pts_s - path.hits[-1].pts_s > lost_s])

        looks = [None if rgb is None else look_of(rgb, face.box_xyxy) for face in faces]
        links = self._assign(pts_s, interval_s, faces, looks)
        linked = []
        for i, face in enumerate(faces):
            path = self._paths[links[i]] if i in links else self._begin(face)
            if i in links:
                self._hit(path, face, filled=pts_s - path.hits[-1].pts_s <= gap_s)
            path.look = _blend(path.look, looks[i])
            linked.append(Linked(path.id, face))
        hit = {link.track_id for link in linked}
        for path in self._paths:
            if path.id not in hit and pts_s - path.hits[-1].pts_s < gap_s:
                face = path.average(frame_index, pts_s)
                path.awaiting.append(face)
                linked.append(Linked(path.id, face, provisional=True))
        return linked

    def confirmed(self) -> set[tuple[int, int]]:
        """(track id, frame index) of provisional faces that turned out to lie between two hits, since the last call."""
        named, self._confirmed = self._confirmed, set()
        return named

    def dropped(self) -> set[tuple[int, int]]:
        """(track id, frame index) of provisional faces that will never be confirmed, since the last call."""
        named, self._dropped = self._dropped, set()
        return named

    def finish(self) -> list[Track]:
        """All tracks, in the order of their first face. The tracker can then begin another video, ids from 0."""
        self._end(self._paths)
        tracks = [Track(path.id, tuple(path.faces)) for path in sorted(self._done, key=lambda path: path.id)]
        self._done, self._times, self._scene, self._frame_size = [], [], None, None
        return tracks

    def _begin(self, face: Face) -> _Path:
        path = _Path(len(self._paths) + len(self._done), [face], [face])
        self._paths.append(path)
        return path

    def _hit(self, path: _Path, face: Face, *, filled: bool) -> None:
        named = {(path.id, expected.frame_index) for expected in path.awaiting}
        if filled:
            path.faces += path.awaiting
            self._confirmed |= named
        else:
            self._dropped |= named
        path.awaiting = []
        path.faces.append(face)
        path.hits = [*path.hits, face][-AVERAGED:]

    def _end(self, paths: Sequence[_Path]) -> None:
        for path in list(paths):
            self._dropped |= {(path.id, expected.frame_index) for expected in path.awaiting}
            path.awaiting = []
            self._done.append(path)
        ended = {path.id for path in paths}
        self._paths = [path for path in self._paths if path.id not in ended]

    def _is_cut(self, rgb: RgbImage | None) -> bool:
        if rgb is None:
            return False
        before, self._scene = self._scene, scene_of(rgb)
        size_before, self._frame_size = self._frame_size, (rgb.shape[0], rgb.shape[1])
        if before is None:
            return False
        return self._frame_size != size_before or bool(np.minimum(before, self._scene).sum() < 0.35)

    def _assign(
        self, pts_s: float, interval_s: float, faces: Sequence[Face], looks: Sequence[Float32Array | None]
    ) -> dict[int, int]:
        """Face -> path, of least total cost, where every path left alone costs `_UNLINKED`."""
        if not faces or not self._paths:
            return {}
        cost = np.array(
            [
                [_link_cost(path, pts_s, interval_s, face, look) for path in self._paths]
                for face, look in zip(faces, looks, strict=True)
            ]
        )
        pairs = _cheapest_pairs(np.minimum(cost, _UNLINKED))
        return {i: j for i, j in pairs if cost[i, j] < _UNLINKED}


def _link_cost(path: _Path, pts_s: float, interval_s: float, face: Face, look: Float32Array | None) -> float:
    """0 where the face is just what was expected of the path, `_UNLINKED` and more where it is someone else's.

    The figures were set on the street clip, at 25 and at 2 frames a second (docs/decisions.md).
    """
    expected, size = path.expected(pts_s)
    last = path.hits[-1]
    elapsed_s = pts_s - last.pts_s
    missed_s = max(0.0, elapsed_s - interval_s)
    centre, new_size = _centre(face), _size(face)
    growth = abs(math.log(new_size / size)) / math.log(1.5 + 0.5 * min(elapsed_s, 1.0))
    if growth > 1.0:
        return 2.0 * _UNLINKED
    # People stop and turn: staying where one was is as good as going on, but for half the way one would have gone.
    gone = float(np.hypot(*(centre - expected)))
    stayed = float(np.hypot(*(centre - _centre(last)))) + 0.5 * float(np.hypot(*(expected - _centre(last))))
    distance = min(gone, stayed) / min(size, new_size)
    freedom = 0.9 * min(elapsed_s, interval_s + 0.3, 1.0)  # face sizes one may have moved unexpectedly
    if look is None or path.look is None:
        return 0.8 * distance / (0.5 + freedom) + 0.2 * growth
    strangeness = 1.0 - float(look @ path.look)
    tolerated = 0.25 - 0.17 * min(missed_s, 1.0)  # who was out of sight must look the same when back
    if missed_s > 0.2 and strangeness > tolerated:
        return 2.0 * _UNLINKED
    alike = min(max((0.1 - strangeness) / 0.05, 0.0), 1.0)
    reach = 0.5 + freedom * (1.0 + 6.0 * alike)
    return 0.55 * distance / reach + 0.15 * growth + 0.3 * min(strangeness / tolerated, 1.5)


def _cheapest_pairs(cost: Float64Array) -> list[tuple[int, int]]:
    """Optimal assignment of rows to columns (N, M), Hungarian method with potentials (Jonker & Volgenant, 1987)."""
    if cost.shape[0] > cost.shape[1]:
        return sorted((j, i) for i, j in _cheapest_pairs(cost.T))
    n, m = cost.shape
    row_price, column_price = np.zeros(n + 1), np.zeros(m + 1)
    owner = np.zeros(m + 1, np.int64)  # 1-based row that holds each column; column 0 is where a search starts
    for row in range(1, n + 1):
        owner[0], column = row, 0
        slack, came_from = np.full(m + 1, np.inf), np.zeros(m + 1, np.int64)
        used = np.zeros(m + 1, bool)
        while owner[column]:
            used[column] = True
            reduced = cost[owner[column] - 1] - row_price[owner[column]] - column_price[1:]
            better = ~used[1:] & (reduced < slack[1:])
            slack[1:][better], came_from[1:][better] = reduced[better], column
            nearest = 1 + int(np.argmin(np.where(used[1:], np.inf, slack[1:])))
            step = slack[nearest]
            row_price[owner[used]] += step
            column_price[used] -= step
            slack[~used] -= step
            column = nearest
        while column:
            owner[column] = owner[came_from[column]]
            column = int(came_from[column])
    return sorted((int(owner[j]) - 1, j - 1) for j in range(1, m + 1) if owner[j])


def _blend(before: Float32Array | None, now: Float32Array | None) -> Float32Array | None:
    if before is None or now is None:
        return now if before is None else before
    mixed = np.float32(0.7) * before + np.float32(0.3) * now
    length = np.sqrt(mixed @ mixed)
    blended: Float32Array = mixed / length
    return blended


def _centre(face: Face) -> Float64Array:
    x0, y0, x1, y1 = face.box_xyxy.astype(np.float64)
    return np.array([(x0 + x1) / 2.0, (y0 + y1) / 2.0])


def _size(face: Face) -> float:
    return math.sqrt(face.width_px * face.height_px)


__all__ = ["Linked", "Tracker"]
