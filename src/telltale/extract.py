"""From a path to faces and crops, in the worker process: read, detect, link, crop, drop the frame.

`scan` and `prepare` both start here, so that a model is trained on what it will later be shown. A job yields

    info        what the file says about itself
    faces       one a frame analysed: its faces, detected or bridged, and their crops (K, S, S, 3)
    thumbnail   a small JPEG of the frame, if asked for; of a still picture also `still`, a larger one
    done        what was decoded, analysed and lost, which tracks are taken for one person, how long each stage took,
                and the file's SHA-256

Frames never leave the process they are decoded in: a crop is a twentieth of a 1080p frame.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from telltale import faces
from telltale._request import (
    HASH_NOT_KNOWN,
    PLANNED,
    SKIPS,
    ExtractRequest,
    allowed_s,
    face_from_json,
    face_to_json,
    stopped_words,
)
from telltale.crops import centre_square, crop_face
from telltale.errors import DeadlineExceeded
from telltale.following import FaceFinder
from telltale.sampling import Moments
from telltale.sandbox import Message
from telltale.tracking import Tracker
from telltale.types import Code, Face, Float64Array, Frame, RgbImage
from telltale.video import VideoReader, open_video

THUMBNAIL_HEIGHT_PX = 180
STILL_SIDE_PX = 900
"""Longer side of a still picture on its page: the only one there, in which the faces are marked."""
_FRAMES_AHEAD = 4
_STOPS_AT_FRAC, _HASHED_BY_FRAC = 0.9, 0.95
"""Of what a file may take: until then it is read, and its SHA-256 waited for."""
_SAME_MOMENT_S = 0.05
"""Frames of a fake and of its original belong together up to here: more than one frame's rounding, less than two."""


@dataclass(slots=True)
class _Stages:
    """Seconds each stage took. Decoding runs beside the rest: its share is the time the rest waited for it."""

    decode_wait: float = 0.0
    detect: float = 0.0
    link: float = 0.0
    crop: float = 0.0

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - start)

    def as_dict(self) -> dict[str, float]:
        return {f.name: round(getattr(self, f.name), 4) for f in fields(self)}


def extract_job(args: dict[str, Any]) -> Iterator[Message]:
    """The worker's side. Raises `InputError`s by name; see `video.open_video`."""
    yield from _extract(ExtractRequest.from_json(args), asked_at_s=args["asked_at_s"])


def _extract(request: ExtractRequest, *, asked_at_s: float) -> Iterator[Message]:
    stages = _Stages()
    reader = open_video(request.path, request.plan, n_threads=request.n_decode_threads)
    with _Decoder(reader, stages, n_ahead=0 if request.n_decode_threads == 1 else _FRAMES_AHEAD) as decoder:
        info = reader.info
        yield Message("info", asdict(info))
        may_take_s = allowed_s(request, info.duration_s, info.size_bytes)
        started_at, stop_after_s = asked_at_s, _STOPS_AT_FRAC * may_take_s
        if request.boxes_from:
            linker: _Linker | _Borrower = _Borrower(request, stages, reader.sampled_s)
        else:
            linker = _Linker(request, stages)
        n_analysed, last_s = 0, 0.0
        codes: list[Code] = []
        warnings: list[str] = []
        for frame in decoder.frames(stop_at_s=started_at + stop_after_s):
            n_analysed, last_s = n_analysed + 1, frame.pts_s
            yield linker.link(frame, is_still=info.is_still)
            if request.thumbnails:
                height, width = frame.rgb.shape[:2]
                small = _jpeg(frame.rgb, THUMBNAIL_HEIGHT_PX / height)
                yield Message("thumbnail", {"pts_s": frame.pts_s}, {"jpeg": small})
                if info.is_still:
                    yield Message("still", {}, {"jpeg": _jpeg(frame.rgb, STILL_SIDE_PX / max(height, width))})
        if decoder.is_out_of_time:
            codes.append(Code.PARTIAL)
            warnings.append(stopped_words(stop_after_s, last_s))
        found = [one for one in reader.findings() if not (decoder.is_out_of_time and one[0] in PLANNED)]
        codes += [code for code, _ in found] + linker.codes
        warnings += [told for _, told in found]
        # Each warning has its code at the same place; the linker's codes, which come last, have none.
        partial = [warning for code, warning in zip(codes, warnings, strict=False) if code in SKIPS]
        info = reader.info_within(started_at + _HASHED_BY_FRAC * may_take_s - time.monotonic())
        if not info.sha256:
            warnings.append(HASH_NOT_KNOWN)
        yield Message(
            "done",
            {
                "info": asdict(info),
                "decoded": reader.n_decoded,
                "lost": reader.n_lost,
                "analysed": n_analysed,
                "codes": list(dict.fromkeys(str(code) for code in codes)),
                "warnings": warnings,
                "partial": partial,
                "is_out_of_time": decoder.is_out_of_time,
                "persons": linker.persons(),
                "timings_s": stages.as_dict(),
            },
        )


@dataclass(slots=True)
class _Linker:
    """Detects, links and crops frame by frame; holds crops of faces that are only expected back until they are sure."""

    request: ExtractRequest
    stages: _Stages
    codes: list[Code] = field(default_factory=list)
    _tracker: Tracker = field(default_factory=Tracker)
    _held: dict[tuple[int, int], tuple[Face, RgbImage]] = field(default_factory=dict)
    _finder: FaceFinder | None = None

    def link(self, frame: Frame, *, is_still: bool) -> Message:
        if self.request.crop.kind == "centre_square":
            return self._whole_frame(frame)
        with self.stages.timed("detect"):
            found = self._detect(frame, is_still)
        with self.stages.timed("link"):
            linked = self._tracker.update(frame.index, frame.pts_s, found, rgb=frame.rgb)
            bridged = [(key[0], *self._held.pop(key)) for key in sorted(self._tracker.confirmed()) if key in self._held]
            for key in self._tracker.dropped():
                self._held.pop(key, None)
        with self.stages.timed("crop"):
            sure = bridged
            for link in linked:
                crop = crop_face(frame.rgb, link.face.box_xyxy, link.face.points, self.request.crop)
                if link.provisional:
                    self._held[link.track_id, frame.index] = (link.face, crop)
                else:
                    sure.append((link.track_id, link.face, crop))
        return _faces_message(frame, sure, self.request.crop.size_px)

    def persons(self) -> list[int | None]:
        """`Track.person` of each track, in the order of their ids. Ends them all."""
        return [track.person for track in self._tracker.finish()]

    def _detect(self, frame: Frame, is_still: bool) -> list[Face]:
        config = self.request.detector_config
        if self._finder is None:
            detector = _detector(self.request.detector, config)
            self._finder = FaceFinder(detector, self._tracker, search_every_s=config.search_every_s)
        if not is_still:
            return self._finder.find(frame)
        found, was_crop = faces.detect_still(self._finder.detector, frame)
        if was_crop:
            self.codes.append(Code.FACE_CROP_INPUT)
        return found

    def _whole_frame(self, frame: Frame) -> Message:
        """The frame's middle as one pseudo-track, for models that look at whole frames."""
        height, width = frame.rgb.shape[:2]
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = np.array([left, top, left + side, top + side], np.float32)
        face = Face(frame.index, frame.pts_s, box, confidence=1.0)
        with self.stages.timed("crop"):
            crop = centre_square(frame.rgb, self.request.crop)
        return _faces_message(frame, [(0, face, crop)], self.request.crop.size_px)


@functools.lru_cache(maxsize=1)
def _detector(name: str, config: faces.DetectorConfig) -> faces.FaceDetector:
    """Kept from file to file. Raises as `faces.create`."""
    return faces.create(name, config=config)


def detector_job(args: dict[str, Any]) -> Iterator[Message]:
    """Makes the detector, and says nothing. Raises as `faces.create`."""
    _detector(args["name"], faces.DetectorConfig(**args["config"]))
    yield from ()


def warm() -> None:
    """What most files need, before there is one."""
    _detector("mtcnn", faces.DetectorConfig())


class _Borrower:
    """Cuts faces at the places where they were found in another video: a fake's where its original's are. That is
    looked at in the moments at which the fake is: sampled by its own length, a longer one would have others."""

    def __init__(self, request: ExtractRequest, stages: _Stages, sampled_s: Float64Array) -> None:
        self.codes: list[Code] = []
        self._size_px = request.crop.size_px
        self._crop = request.crop
        self._stages = stages
        self._rows: list[dict[str, Any]] = []
        self._times: list[float] = []
        if not len(sampled_s):
            return
        plan = Moments(
            times_s=tuple(sampled_s.tolist()),
            seconds=float(sampled_s[-1]) + 1.0,
            max_side_px=request.plan.max_side_px,
        )
        original = replace(request, path=request.boxes_from or "", boxes_from=None, plan=plan)
        for message in _extract(original, asked_at_s=time.monotonic()):
            if message.kind == "faces":
                self._times.append(message.data["pts_s"])
                self._rows += message.data["faces"]
            elif message.kind == "done" and message.data["is_out_of_time"]:
                raise DeadlineExceeded("reading its original took longer than allowed; give it a longer deadline")

    def link(self, frame: Frame, *, is_still: bool) -> Message:  # noqa: ARG002 - same call as `_Linker.link`
        moment = min(self._times, key=lambda pts_s: abs(pts_s - frame.pts_s), default=frame.pts_s)
        sure = []
        with self._stages.timed("crop"):
            for row in self._rows:
                if row["pts_s"] == moment and abs(moment - frame.pts_s) < _SAME_MOMENT_S:
                    face = replace(face_from_json(row), frame_index=frame.index, pts_s=frame.pts_s)
                    sure.append((row["track_id"], face, crop_face(frame.rgb, face.box_xyxy, face.points, self._crop)))
        return _faces_message(frame, sure, self._size_px)

    def persons(self) -> list[int | None]:
        """Nobody was compared here."""
        return []


def _faces_message(frame: Frame, sure: list[tuple[int, Face, RgbImage]], size_px: int) -> Message:
    rows = [face_to_json(track_id, face) for track_id, face, _ in sure]
    crops = np.stack([crop for *_, crop in sure]) if sure else np.empty((0, size_px, size_px, 3), np.uint8)
    about = {"index": frame.index, "pts_s": frame.pts_s, "shrunk": frame.shrunk}
    return Message("faces", about | {"faces": rows}, {"crops": crops})


class _Decoder:
    """A reader's frames, decoded in a thread of their own, at most `n_ahead` before they are asked for: 0 where workers
    share the machine and each keeps to one core. The thread closes the reader, which nobody may do while it decodes.
    """

    def __init__(self, reader: VideoReader, stages: _Stages, *, n_ahead: int) -> None:
        self.is_out_of_time = False
        self._reader, self._stages, self._n_ahead = reader, stages, n_ahead
        self._wanted = threading.Semaphore(0)
        self._found: queue.SimpleQueue[Frame | BaseException | None] = queue.SimpleQueue()
        self._is_left = False
        self._thread = threading.Thread(target=self._decode, name="decode", daemon=True)
        self._thread.start()

    def frames(self, *, stop_at_s: float) -> Iterator[Frame]:
        """Until `time.monotonic()` is `stop_at_s`, also in the middle of a frame. The first is waited for in any case:
        where there is none, the deadline says so."""
        within_s: float | None = None
        self._wanted.release(self._n_ahead + 1)
        while True:
            try:
                with self._stages.timed("decode_wait"):
                    item = self._found.get(timeout=within_s)
            except queue.Empty:
                self.is_out_of_time = True
                return
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
            within_s = min(stop_at_s - time.monotonic(), threading.TIMEOUT_MAX)
            if within_s < 0.0:
                self.is_out_of_time = True
                return
            self._wanted.release()

    def _decode(self) -> None:
        try:
            frames = iter(self._reader)
            while self._wanted.acquire() and not self._is_left:
                frame = next(frames, None)
                self._found.put(frame)
                if frame is None:
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the frames are used
            self._found.put(error)
        finally:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        self._wanted.release()
        if not self.is_out_of_time:  # else whoever asked ends the process: see `run_extract`, and `sandbox` of errors
            self._thread.join()


def _jpeg(rgb: RgbImage, scale: float) -> RgbImage:
    """The bytes of a picture made smaller by `scale`, never larger."""
    import cv2

    height, width = rgb.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return np.asarray(jpeg, np.uint8).reshape(-1)


__all__ = ["extract_job"]
