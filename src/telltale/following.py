"""The faces of a video frame by frame: the whole picture is searched now and then, in between only where people are.

A search takes ten times as long as looking again where a face was. So who was there in the last two frames is expected
in the next, and if everybody is found again that was all of it. The whole picture is searched

- when `search_every_s` have passed since the last search: by then whoever came in while others stayed is found;
- when somebody expected is not found, or was missed in the last frame;
- when nobody was there, somebody new was, or more than `MOST_FOLLOWED`;
- when frames lie more than `WITHIN_S` apart, or the picture has changed as at a cut.

    finder = FaceFinder(create("mtcnn"), tracker, search_every_s=2.0)
    for frame in frames:
        tracker.update(frame.index, frame.pts_s, finder.find(frame), rgb=frame.rgb)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from telltale.faces import FaceDetector, FaceFollower
from telltale.tracking import Tracker
from telltale.types import Face, Frame

MOST_FOLLOWED = 6
"""Faces; more are searched for, which then takes as long."""
WITHIN_S = 0.6
"""Longest time between two frames in which a head is followed: two frames a second are."""
LEAST_OVERLAP = 0.2
"""Intersection over union of where a face was expected and where it is; below, it may be another."""

_EPSILON_S = 1e-6


class FaceFinder:
    """See the module. For the frames of one video in turn; `tracker` is told of each frame's faces before the next."""

    def __init__(self, detector: FaceDetector, tracker: Tracker, *, search_every_s: float) -> None:
        self._follower = detector if isinstance(detector, FaceFollower) else None
        self.detector = detector
        self._tracker = tracker
        self._search_every_s = search_every_s
        self._searched_s = -np.inf
        self._last_s = -np.inf

    def find(self, frame: Frame) -> list[Face]:
        """The frame's faces, most certain first."""
        found = self._followed(frame)
        if found is None:
            (found,) = self.detector.detect([frame])
            self._searched_s = frame.pts_s
        self._last_s = frame.pts_s
        return found

    def _followed(self, frame: Frame) -> list[Face] | None:
        """The faces expected, all of them found again; None where the picture must be searched."""
        if self._follower is None or frame.pts_s - self._searched_s > self._search_every_s - _EPSILON_S:
            return None
        if frame.pts_s - self._last_s > WITHIN_S:
            return None
        expected = self._tracker.expected(frame.index, frame.pts_s, rgb=frame.rgb)
        if not 0 < len(expected) <= MOST_FOLLOWED:
            return None
        found = self._follower.follow(frame, expected)
        return found if _are_all_there(expected, found) else None


def _are_all_there(expected: Sequence[Face], found: Sequence[Face]) -> bool:
    """Whether each of those expected is a face of its own among those found, near its place."""
    if len(found) < len(expected):
        return False
    overlap = np.array([[_overlap(a, b) for b in found] for a in expected])
    nearest = overlap.argmax(axis=1)
    return len(set(nearest.tolist())) == len(expected) and bool((overlap.max(axis=1) >= LEAST_OVERLAP).all())


def _overlap(a: Face, b: Face) -> float:
    """Intersection over union of the boxes."""
    low, high = np.maximum(a.box_xyxy[:2], b.box_xyxy[:2]), np.minimum(a.box_xyxy[2:], b.box_xyxy[2:])
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    return shared / (a.width_px * a.height_px + b.width_px * b.height_px - shared)


__all__ = ["FaceFinder"]
