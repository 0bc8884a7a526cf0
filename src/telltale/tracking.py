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

Give `update` the frame's picture too where there is one: colours then tell people apart whose paths cross, a cut to
another shot ends every track, and `finish` says which tracks look like the same person's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from telltale._appearance import Appearance, Look, blend, look_of, resemblance, same_person, scene_of, strangeness
from telltale._assign import cheapest_pairs
from telltale.types import Face, Float32Array, Float64Array, RgbImage, Track

MAX_GAP_S = 1.2
"""Longest time between two hits of a track that is filled with interpolated faces. Sparse sampling does not stretch it:
where somebody was, many seconds from where they were seen, is not known."""

MAX_LOST_S = 4.0
"""How long a lost person may be taken up again under the same id, without filling the gap; at least 2.1 sampling
intervals, so that sparse sampling still gives one track a person."""

AVERAGED = 5
"""Boxes of a track that are averaged where it was missed."""

FADING_S = 0.4
"""How long a missed face goes on moving."""

CUT_BELOW = 0.35
"""Every track ends where less than this share of a frame's colours is kept."""

SAME_SHOT_FROM = 0.8
"""The share kept within a shot was never below."""

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
    faces: list[Face] = field(default_factory=list)
    """Detected and confirmed, in time order."""
    hits: list[Face] = field(default_factory=list)
    """The last few detected ones."""
    awaiting: list[Face] = field(default_factory=list)
    """Provisional faces since the last hit."""
    look: Look | None = None
    appearance: Appearance | None = None
    """Every look so far; None where no picture was given."""
    centre: Float64Array = field(default_factory=lambda: np.zeros(2))
    """Of the last hit, (2,) px."""
    velocity: Float64Array = field(default_factory=lambda: np.zeros(2))
    """Of the last hits' straight line, (2,) px/s."""
    size_px: float = 0.0
    """Mean of the last hits."""

    def hit(self, face: Face, look: Look | None) -> None:
        self.faces.append(face)
        if look is not None:
            self.look = look if self.look is None else blend(self.look, look)
            if self.appearance is None:
                self.appearance = Appearance(self.faces[0].pts_s, face.pts_s)
            self.appearance.add(look, face.pts_s)
        self.hits = [*self.hits, face][-AVERAGED:]
        self.centre = _centre(face)
        self.size_px = float(np.mean([_size(hit) for hit in self.hits]))
        usable = [hit for hit in self.hits if face.pts_s - hit.pts_s <= 1.1]
        self.velocity = np.zeros(2)
        if face.pts_s > usable[0].pts_s:
            times = np.array([hit.pts_s for hit in usable])
            times -= times.mean()
            self.velocity = times @ np.array([_centre(hit) for hit in usable]) / (times @ times)

    def average(self, frame_index: int, pts_s: float) -> Face:
        """The face to expect where none was found: recent boxes' mean shape, carried on as motion dies down."""
        ahead_s = FADING_S * (1.0 - math.exp(-(pts_s - self.hits[-1].pts_s) / FADING_S))
        centre = self.centre + self.velocity * ahead_s
        centres = [_centre(hit) for hit in self.hits]
        box = np.mean([hit.box_xyxy - np.tile(c, 2) for hit, c in zip(self.hits, centres, strict=True)], axis=0)
        points = [hit.points - c for hit, c in zip(self.hits, centres, strict=True) if hit.points is not None]
        return Face(
            frame_index,
            pts_s,
            (box + np.tile(centre, 2)).astype(np.float32),
            0.0,
            (np.mean(points, axis=0) + centre).astype(np.float32) if len(points) == len(centres) else None,
            source="interpolated",
        )


class Tracker:
    """Online linking of faces. Deterministic: the same faces in the same order give the same tracks."""

    def __init__(self) -> None:
        self._paths: list[_Path] = []
        self._done: list[_Path] = []
        self._times: list[float] = []
        self._scene: Float32Array | None = None
        self._frame_size: tuple[int, int] | None = None
        self._kept: tuple[int, float] | None = None
        self._confirmed: set[tuple[int, int]] = set()
        self._dropped: set[tuple[int, int]] = set()

    def update(
        self,
        frame_index: int,
        pts_s: float,
        faces: Sequence[Face],
        *,
        rgb: RgbImage | None = None,
    ) -> list[Linked]:
        """Link the faces of the next analysed frame; detected ones first, in the order given.

        `rgb` is the frame they were found in. Raises ValueError where time runs backward.
        """
        if self._times and pts_s < self._times[-1]:
            raise ValueError(f"frames must come in time order, got {pts_s} s after {self._times[-1]} s")
        scene_kept = self._scene_kept(frame_index, rgb)
        if scene_kept < CUT_BELOW:
            self._end(self._paths)
        self._times = [*self._times[-8:], pts_s]
        interval_s = float(median(np.diff(self._times))) if len(self._times) > 1 else 0.0
        lost_s = max(MAX_LOST_S, 2.1 * interval_s)
        self._end([path for path in self._paths if pts_s - path.hits[-1].pts_s > lost_s])

        looks = [None if rgb is None else look_of(rgb, face.box_xyxy) for face in faces]
        cost = _link_costs(faces, looks, self._paths, pts_s, interval_s, scene_kept)
        links = dict(cheapest_pairs(cost, _UNLINKED))
        linked = []
        for i, face in enumerate(faces):
            path = self._paths[links[i]] if i in links else self._begin()
            if i in links:
                self._settle(path, filled=pts_s - path.hits[-1].pts_s <= MAX_GAP_S)
            path.hit(face, looks[i])
            linked.append(Linked(path.id, face))
        hit = {link.track_id for link in linked}
        for path in self._paths:
            if path.id not in hit and pts_s - path.hits[-1].pts_s < MAX_GAP_S:
                face = path.average(frame_index, pts_s)
                path.awaiting.append(face)
                linked.append(Linked(path.id, face, provisional=True))
        return linked

    def expected(self, frame_index: int, pts_s: float, *, rgb: RgbImage | None = None) -> list[Face]:
        """Everybody in sight, at their places in the frame that `update` will be told of next. Changes no track.

        Empty where that says too little: nobody is in sight, somebody came or was missed in the last frame, or the
        picture `rgb` is not what it was.
        """
        if len(self._times) < 2 or self._scene_kept(frame_index, rgb) < SAME_SHOT_FROM:
            return []
        before_s, last_s = self._times[-2:]
        recent = [path for path in self._paths if pts_s - path.hits[-1].pts_s < MAX_GAP_S]
        if not all([hit.pts_s for hit in path.hits[-2:]] == [before_s, last_s] for path in recent):
            return []
        return [path.average(frame_index, pts_s) for path in recent]

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
        paths = sorted(self._done, key=lambda path: path.id)
        seen = [path for path in paths if path.appearance is not None]
        first = same_person([path.appearance for path in seen if path.appearance is not None])
        person = {path.id: seen[i].id for path, i in zip(seen, first, strict=True)}
        tracks = [Track(path.id, tuple(path.faces), person.get(path.id)) for path in paths]
        self._done, self._times, self._scene, self._frame_size, self._kept = [], [], None, None, None
        return tracks

    def _begin(self) -> _Path:
        path = _Path(len(self._paths) + len(self._done))
        self._paths.append(path)
        return path

    def _settle(self, path: _Path, *, filled: bool) -> None:
        """What was expected of a track that is hit again: there, or nobody knows where."""
        named = {(path.id, expected.frame_index) for expected in path.awaiting}
        if filled:
            path.faces += path.awaiting
            self._confirmed |= named
        else:
            self._dropped |= named
        path.awaiting = []

    def _end(self, paths: Sequence[_Path]) -> None:
        for path in list(paths):
            self._dropped |= {(path.id, expected.frame_index) for expected in path.awaiting}
            path.awaiting = []
            self._done.append(path)
        ended = {path.id for path in paths}
        self._paths = [path for path in self._paths if path.id not in ended]

    def _scene_kept(self, frame_index: int, rgb: RgbImage | None) -> float:
        """How much of the last frame's colours is still in its place: 1 all, or not known; 0 none, or another size."""
        if rgb is None:
            return 1.0
        if self._kept is None or self._kept[0] != frame_index:
            self._kept = (frame_index, self._compared(rgb))
        return self._kept[1]

    def _compared(self, rgb: RgbImage) -> float:
        """`_scene_kept` of a frame not seen yet, which then is the last one."""
        before, self._scene = self._scene, scene_of(rgb)
        size_before, self._frame_size = self._frame_size, (rgb.shape[0], rgb.shape[1])
        if before is None:
            return 1.0
        return float(np.minimum(before, self._scene).sum()) if self._frame_size == size_before else 0.0


def _link_costs(
    faces: Sequence[Face],
    looks: Sequence[Look | None],
    paths: Sequence[_Path],
    pts_s: float,
    interval_s: float,
    scene_kept: float,
) -> Float64Array:
    """(faces, paths): 0 where a face is just what was expected, `_UNLINKED` and more where it is someone else's.

    The figures were set on a street scene, at 25 and at 2 frames a second (docs/decisions.md).
    """
    if not faces or not paths:
        return np.empty((len(faces), len(paths)))
    centre, last = np.array([_centre(face) for face in faces])[:, None], np.array([path.centre for path in paths])
    new_size, size = np.array([_size(face) for face in faces])[:, None], np.array([path.size_px for path in paths])
    elapsed_s = pts_s - np.array([path.hits[-1].pts_s for path in paths])
    missed_s = np.maximum(0.0, elapsed_s - interval_s)
    going = np.array([path.velocity for path in paths]) * np.minimum(elapsed_s, 1.0)[:, None]

    growth = np.abs(np.log(new_size / size)) / np.log(1.5 + 0.5 * np.minimum(elapsed_s, 1.0))
    # People stop and turn: staying where one was is as good as going on, but for half the way one would have gone.
    stayed = _length(centre - last) + 0.5 * _length(going)
    distance = np.minimum(_length(centre - last - going), stayed) / np.minimum(size, new_size)
    freedom = 0.9 * np.minimum(elapsed_s, min(interval_s + 0.3, 1.0))  # face sizes one may have moved unexpectedly
    absence = 0.1 * np.minimum(missed_s / 0.2, 1.0)  # of two at the same place, the one seen just before

    strange = _pairwise(strangeness, looks, paths)
    # Who was out of sight must look the same when back, and so must whoever is there after what may be a cut.
    doubt = np.maximum(np.minimum(missed_s, 1.0), min(max((0.8 - scene_kept) / 0.2, 0.0), 1.0))
    tolerated = 0.25 - 0.17 * doubt
    alike = np.clip((0.1 - strange) / 0.05, 0.0, 1.0)
    reach = 0.5 + freedom * (1.0 + 6.0 * alike)
    by_look = 0.55 * distance / reach + 0.15 * growth + 0.3 * np.minimum(strange / tolerated, 1.5)
    by_place = 0.8 * distance / (0.5 + freedom) + 0.2 * growth
    # Light changes colours and a turning head changes the picture. Where both change and the frame has changed a little
    # too, a shot with somebody else before the same backdrop may have begun.
    other_face = np.clip((0.75 - _pairwise(resemblance, looks, paths)) / 0.1, 0.0, 1.0)
    cut = min(max((0.92 - scene_kept) / 0.04, 0.0), 1.0)
    recast = cut * other_face * np.clip((strange - 0.1) / 0.1, 0.0, 1.0)
    cost: Float64Array = np.where(np.isnan(strange), by_place, by_look + recast) + absence
    someone_else = (growth > 1.0) | ((doubt > 0.2) & (strange > tolerated))
    return np.where(someone_else, 2.0 * _UNLINKED, cost)


def _pairwise(how: Callable[[Look, Look], float], looks: Sequence[Look | None], paths: Sequence[_Path]) -> Float64Array:
    """(looks, paths): NaN where one of the two is not known."""
    return np.array(
        [[math.nan if look is None or path.look is None else how(look, path.look) for path in paths] for look in looks]
    )


def _length(vectors: Float64Array) -> Float64Array:
    lengths: Float64Array = np.hypot(vectors[..., 0], vectors[..., 1])
    return lengths


def _centre(face: Face) -> Float64Array:
    x0, y0, x1, y1 = face.box_xyxy.astype(np.float64)
    return np.array([(x0 + x1) / 2.0, (y0 + y1) / 2.0])


def _size(face: Face) -> float:
    return math.sqrt(face.width_px * face.height_px)


__all__ = ["Linked", "Tracker"]
