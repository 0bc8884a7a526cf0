"""Faces to logits to verdicts with the code that `scan` uses: the same clips, calibration and decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from telltale.aggregate import JudgedTrack, calibrate, decide
from telltale.bundle import ModelCard
from telltale.evaluate._faces import Faces
from telltale.perturb import rng_of
from telltale.runtime import BATCH_SIZE, ClipCutter, Scorer
from telltale.types import Clip, Code, Face, FaceSource, Float64Array, Label, RgbImage, Track

Change = Callable[[RgbImage, Callable[[], np.random.Generator]], RgbImage]
"""(crops of a track in the order of time, uint8 (T, S, S, 3), the generator of their video, new at each call) -> the
same, degraded."""

_AHEAD = 4 * BATCH_SIZE
"""Faces read before they are scored, and the longest clip that a `Change` is given."""


class FaceScores(NamedTuple):
    """What a model said of each face."""

    logit: Float64Array
    """(n,), NaN where it said nothing."""
    distance: Float64Array | None = None
    """(n,), see `gate`; NaN everywhere where the card has no gate, None where none was looked for."""


@dataclass(frozen=True, slots=True)
class JudgedVideo:
    """What a scan would have said."""

    first: int
    """Its first face's index."""
    label: Label
    p_fake: float | None
    codes: tuple[Code, ...]
    n_tracks: int


def score(
    scorer: Scorer,
    faces: Faces,
    *,
    change: Change | None = None,
    name: str = "",
    on_face: Callable[[int], None] | None = None,
) -> FaceScores:
    """Logits and distances, NaN for a face on which no clip of a sequence model is centred.

    `change`, called `name`, degrades the crops of each track before the model sees them, at random as the video's name
    says.
    `on_face` is called with the number of faces done.
    """
    found, far = np.full(len(faces), np.nan), np.full(len(faces), np.nan)
    waiting: list[tuple[Clip, dict[float, int]]] = []

    def run(n: int) -> None:
        scores = scorer.score([clip for clip, _ in waiting[:n]])
        at = [times[float(pts_s)] for (_, times), pts_s in zip(waiting[:n], scores.pts_s, strict=True)]
        found[at] = scores.logit
        if scores.distance is not None:
            far[at] = scores.distance
        del waiting[:n]

    for n_read, clips in _clips(scorer.bundle.card, faces, change, name):
        waiting += clips
        while len(waiting) >= BATCH_SIZE:
            run(BATCH_SIZE)
        if on_face is not None:
            on_face(n_read)
    if waiting:
        run(len(waiting))
    return FaceScores(found, far)


def _clips(
    card: ModelCard, faces: Faces, change: Change | None, name: str
) -> Iterator[tuple[int, list[tuple[Clip, dict[float, int]]]]]:
    """(faces read so far, clips complete), each clip with its track's presentation times -> face."""

    def read(rows: range) -> Sequence[RgbImage]:
        crops = [faces.crop(index, card.size_px) for index in rows]
        return crops if change is None else list(change(np.stack(crops), lambda: _rng(faces, rows[0], name)))

    is_filled = faces.is_filled
    cutter, video, track_at = ClipCutter(card.n_frames), -1, dict[int, dict[float, int]]()
    with ThreadPoolExecutor(1) as pool:
        for block in _blocks(_runs(faces)):
            for rows, crops in zip(block, pool.map(read, block), strict=True):
                for index, crop in zip(rows, crops, strict=True):
                    done: list[Clip] = []
                    finished = track_at
                    if faces.video[index] != video:
                        done, track_at, video = cutter.finish(), {}, int(faces.video[index])
                    at = [(clip, finished[clip.track_id]) for clip in done]
                    track_id = int(faces.columns["track_id"][index])
                    times = track_at.setdefault(track_id, {})
                    pts_s = float(faces.pts_s[index])
                    times[pts_s] = index
                    source: FaceSource = "interpolated" if is_filled[index] else "detected"
                    at += [(clip, times) for clip in cutter.add(track_id, pts_s, crop, source=source)]
                    yield index, at
    yield len(faces), [(clip, track_at[clip.track_id]) for clip in cutter.finish()]


def _runs(faces: Faces) -> Iterator[range]:
    """Rows of one track of one video, at most `_AHEAD`."""
    track = faces.columns["track_id"]
    is_new = (np.diff(faces.video, prepend=-1) != 0) | (np.diff(track, prepend=track[:1] - 1) != 0)
    starts = np.flatnonzero(is_new).tolist()
    for start, end in zip(starts, [*starts[1:], len(faces)], strict=True):
        for first in range(start, end, _AHEAD):
            yield range(first, min(first + _AHEAD, end))


def _blocks(runs: Iterator[range]) -> Iterator[list[range]]:
    """About `_AHEAD` rows each."""
    block: list[range] = []
    for rows in runs:
        block.append(rows)
        if sum(map(len, block)) >= _AHEAD:
            yield block
            block = []
    if block:
        yield block


def _rng(faces: Faces, index: int, name: str) -> np.random.Generator:
    """The same for every face of a video."""
    kind, _, level = name.rpartition("-")
    video = f"{faces.columns['dataset'][index]}/{faces.columns['video_id'][index]}"
    return rng_of(video, kind, int(level)) if level.isdecimal() else rng_of(video, name, 0)


def judge(faces: Faces, scores: FaceScores, card: ModelCard) -> list[JudgedVideo]:
    """Every video decided as `scan` decides it, in the order of the faces."""
    p_face = calibrate(scores.logit, card.calibration)
    starts = np.flatnonzero(np.diff(faces.video, prepend=-1))
    return [
        _decide(faces, p_face, range(int(start), int(end)), card, scores.distance)
        for start, end in zip(starts, [*starts[1:], len(faces)], strict=True)
    ]


def _decide(
    faces: Faces, p_face: Float64Array, rows: range, card: ModelCard, distance: Float64Array | None
) -> JudgedVideo:
    by_track: dict[int, list[int]] = {}
    for index in rows:
        by_track.setdefault(int(faces.columns["track_id"][index]), []).append(index)
    tracks = [
        JudgedTrack(
            Track(track_id, tuple(_face(faces, index) for index in members)),
            p_face[members],
            None if distance is None else distance[members],
        )
        for track_id, members in by_track.items()
    ]
    verdict, _ = decide(
        tracks,
        calibration=card.calibration,
        thresholds=card.thresholds,
        minimum=card.minimum,
        is_still=faces.is_still(rows),
        farthest=None if card.gate is None else card.gate.limit,
    )
    return JudgedVideo(rows[0], verdict.label, verdict.p_fake, verdict.codes, len(tracks))


def _face(faces: Faces, index: int) -> Face:
    box = faces.columns["box_xyxy"][index]
    if np.isnan(box).any():  # a picture that came as it was: the face fills it
        box = np.array([0, 0, *faces.size_px(index)], np.float32)
    return Face(
        frame_index=int(faces.columns["frame_index"][index]),
        pts_s=float(faces.pts_s[index]),
        box_xyxy=box,
        confidence=float(np.clip(faces.columns["confidence"][index], 0, 1)),
        source="interpolated" if faces.is_filled[index] else "detected",
    )
