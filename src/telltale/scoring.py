"""What comes back from the worker about one file, scored while the worker is still decoding.

findings = Findings(scorer.bundle.card, lambda: scorer, executor)
for message in worker.run("extract", ...):
    findings.take(message)
judged = findings.finish()          # one JudgedTrack a person
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Generic, TypeVar

import numpy as np

from telltale import _cam, _heat
from telltale._request import SKIPS, face_from_json
from telltale.aggregate import JudgedTrack, calibrate
from telltale.bundle import ModelCard
from telltale.runtime import BATCH_SIZE, ClipCutter, Scorer
from telltale.sandbox import Message
from telltale.types import (
    Clip,
    Code,
    Face,
    FaceReport,
    Float32Array,
    FrameCounts,
    Heat,
    Pictures,
    RgbImage,
    Scores,
    Track,
    TrackReport,
    VideoInfo,
)

MAX_THUMBNAILS = 96
MAX_CROPS_A_TRACK = 60
_MAX_BATCHES_WAITING = 4
_TAKE_OUT = (
    "Take each of the others out (ffmpeg -i FILE -map 0:v:1 -c copy other.mkv takes the second), and scan it too."
)
T = TypeVar("T")
_Scored = tuple[Scores, Float32Array | None, float]
"""Scores, what each place of each crop says (N, h, w) if that was asked for, and the seconds it took."""

Progress = Callable[[float | None, int], None]
"""Called with the share of the video read (None where its length is unknown) and the number of frames analysed."""


class Findings:
    """Collects faces and scores of one file. Memory stays flat: crops are dropped as soon as they are scored."""

    def __init__(
        self,
        card: ModelCard,
        scorer: Callable[[], Scorer],
        executor: Executor,
        *,
        pictures: bool = False,
        head: _cam.Head | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """`scorer` is asked in the executor: it may still be in the making there. `head`: also keep, for every
        crop that is kept, which places of it spoke for which side."""
        self.video: VideoInfo | None = None
        self.frames = FrameCounts()
        self.codes: tuple[Code, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.partial: tuple[str, ...] = ()
        """Those of the warnings that say what of the file was not looked at."""
        self.is_out_of_time = False
        self.timings_s: dict[str, float] = {}
        self.explanation: Heat | None = None
        """Final once `pictures` was called."""
        self._card, self._scorer = card, scorer
        self._executor = executor
        self._keep_pictures = pictures or head is not None
        self._head = head
        self._places: dict[tuple[int, float], Float32Array] = {}
        self._on_progress = on_progress
        self._cutter = ClipCutter(card.n_frames)
        self._faces: dict[int, list[Face]] = {}
        self._person: dict[int, int] = {}
        self._shrunk: dict[float, float] = {}
        self._clips: list[Clip] = []
        self._scoring: deque[Future[_Scored]] = deque()
        self._logit: dict[tuple[int, float], float] = {}
        self._distance: dict[tuple[int, float], float] = {}
        self._score_s = 0.0
        self._n_analysed = 0
        self._thumbnails: _Thinned[tuple[float, bytes]] = _Thinned(MAX_THUMBNAILS)
        self._still: bytes | None = None
        self._crops: dict[int, _Thinned[tuple[float, bytes]]] = {}

    @property
    def is_still(self) -> bool:
        """`VideoInfo.is_still`, once the file is known."""
        return self.video is not None and self.video.is_still

    def take(self, message: Message) -> None:
        """One message of an `extract` job. Raises what scoring raised."""
        match message.kind:
            case "info":
                self.video = VideoInfo(**message.data)
            case "faces":
                self._take_faces(message)
            case "thumbnail":
                if self._thumbnails.wants_next():
                    self._thumbnails.add((message.data["pts_s"], message.arrays["jpeg"].tobytes()))
            case "still":
                self._still = message.arrays["jpeg"].tobytes()
            case "done":
                self._take_done(message.data)
            case other:
                raise ValueError(f"expected info, faces, thumbnail, still or done, got {other}")

    def finish(self) -> list[JudgedTrack]:
        """Every person with calibrated probabilities, in the order they first appear."""
        self._clips += self._cutter.finish()
        self._submit(self._clips)
        while self._scoring:
            self._collect()
        self.timings_s["score"] = round(self._score_s, 4)
        calibration = self._card.calibration
        judged = []
        for track_id, faces in sorted(self._faces.items()):
            logits = np.array([self._logit.get((track_id, face.pts_s), np.nan) for face in faces])
            far = np.array([self._distance.get((track_id, face.pts_s), np.nan) for face in faces])
            track = Track(track_id, tuple(faces), self._person.get(track_id))
            judged.append(JudgedTrack(track, calibrate(logits, calibration), far))
        return judged

    def as_displayed(self, tracks: Sequence[TrackReport]) -> tuple[TrackReport, ...]:
        """The same with boxes in pixels of the picture as displayed, where smaller frames were looked at."""
        if not self._shrunk:
            return tuple(tracks)
        return tuple(
            track.model_copy(update={"faces": tuple(self._enlarged(face) for face in track.faces)}) for track in tracks
        )

    def _enlarged(self, face: FaceReport) -> FaceReport:
        x0, y0, x1, y1 = (round(v / self._shrunk.get(face.pts_s, 1.0), 2) for v in face.box_xyxy)
        return face.model_copy(update={"box_xyxy": (x0, y0, x1, y1)})

    def pictures(self) -> Pictures:
        """The thumbnails and crops that were kept, evenly thinned on long videos."""
        index = {(track_id, face.pts_s): i for track_id, faces in self._faces.items() for i, face in enumerate(faces)}
        crops = {
            (track_id, index[track_id, pts_s]): jpeg
            for track_id, kept in self._crops.items()
            for pts_s, jpeg in kept.items
        }
        kept = {
            (track_id, index[track_id, pts_s]): self._places[track_id, pts_s]
            for track_id, thinned in self._crops.items()
            for pts_s, _ in thinned.items
            if (track_id, pts_s) in self._places
        }
        heat, self.explanation = _heat.cam_layers(kept) if self._head else ({}, None)
        return Pictures(thumbnails=tuple(self._thumbnails.items), crops=crops, heat=heat, still=self._still)

    def _take_faces(self, message: Message) -> None:
        self._n_analysed += 1
        if message.data["shrunk"] < 1:
            self._shrunk[message.data["pts_s"]] = message.data["shrunk"]
        for row, crop in zip(message.data["faces"], message.arrays["crops"], strict=True):
            face, track_id = face_from_json(row), row["track_id"] + 1  # people count from 1
            self._faces.setdefault(track_id, []).append(face)
            self._clips += self._cutter.add(track_id, face.pts_s, crop, source=face.source)
            if self._keep_pictures:
                kept = self._crops.setdefault(track_id, _Thinned(MAX_CROPS_A_TRACK))
                if kept.wants_next():
                    kept.add((face.pts_s, _jpeg(crop)))
        while len(self._clips) >= BATCH_SIZE:
            batch, self._clips = self._clips[:BATCH_SIZE], self._clips[BATCH_SIZE:]
            self._submit(batch)
        if self._on_progress is not None:
            duration_s = self.video.duration_s if self.video else None
            share = min(message.data["pts_s"] / duration_s, 1.0) if duration_s else None
            self._on_progress(share, self._n_analysed)

    def _take_done(self, data: Mapping[str, Any]) -> None:
        self.video = VideoInfo(**data["info"])
        self.frames = FrameCounts(decoded=data["decoded"], analysed=data["analysed"], lost=data["lost"])
        self.codes = tuple(Code(code) for code in data["codes"])
        self._take_warnings(data["warnings"], data["partial"])
        self.is_out_of_time = data["is_out_of_time"]
        self._person = {i + 1: person + 1 for i, person in enumerate(data["persons"]) if person is not None}
        self.timings_s |= data["timings_s"]

    def _take_warnings(self, warnings: Sequence[str], partial: Sequence[str]) -> None:
        """Each code has its warning at the same place; two may say why it is a part, and the last codes have none."""
        codes = [code for code in self.codes if code not in SKIPS]
        others = zip(codes, (warning for warning in warnings if warning not in partial), strict=False)
        several = [warning for code, warning in others if code is Code.SEVERAL_VIDEO_STREAMS]
        told = {warning: f"{warning} {_TAKE_OUT}" for warning in several}
        self.warnings = tuple(told.get(warning, warning) for warning in warnings)
        self.partial = (*partial, *told.values())

    def _submit(self, clips: list[Clip]) -> None:
        if not clips:
            return
        while len(self._scoring) >= _MAX_BATCHES_WAITING:
            self._collect()
        self._scoring.append(self._executor.submit(_timed_score, self._scorer, clips, self._head))

    def _collect(self) -> None:
        scores, places, spent_s = self._scoring.popleft().result()
        self._score_s += spent_s
        for i, key in enumerate(zip(scores.track_id.tolist(), scores.pts_s.tolist(), strict=True)):
            self._logit[key] = float(scores.logit[i])
            if scores.distance is not None:
                self._distance[key] = float(scores.distance[i])
            if places is not None and any(pts_s == key[1] for pts_s, _ in self._crops[key[0]].items):
                self._places[key] = places[i]


class _Thinned(Generic[T]):
    """At most `limit` items of a stream, evenly spread: when full, every second one goes."""

    def __init__(self, limit: int) -> None:
        self.items: list[T] = []
        self._limit = limit
        self._stride = 1
        self._n_seen = 0

    def wants_next(self) -> bool:
        """Whether the next item will be kept; one that will not is counted as seen."""
        kept = self._n_seen % self._stride == 0
        self._n_seen += not kept
        return kept

    def add(self, item: T) -> None:
        """Take an item that `wants_next` asked for."""
        if len(self.items) == self._limit:
            self.items = self.items[::2]
            self._stride *= 2
        self.items.append(item)
        self._n_seen += 1


def _timed_score(made: Callable[[], Scorer], clips: list[Clip], head: _cam.Head | None) -> _Scored:
    scorer, start = made(), time.perf_counter()
    if head is None:
        scores, places = scorer.score(clips), None
    else:
        scores, features = scorer.score_with_features(clips)
        places = _cam.place_logits(features, head)
    return scores, places, time.perf_counter() - start


def _jpeg(rgb: RgbImage) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return bytes(data)


__all__ = ["Findings", "Progress"]
