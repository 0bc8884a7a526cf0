"""What the worker is asked to do with one file and in what time, and how faces travel back: JSON, without the arrays.

Apart from `extract`, which does it: whoever asks needs no decoder, and importing two of them would keep the worker
from starting for a fifth of a second.

>>> ExtractRequest.from_json(ExtractRequest("clip.mp4").to_json()) == ExtractRequest("clip.mp4")
True
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from telltale._wire import Message
from telltale.crops import CropSpec
from telltale.errors import DeadlineExceeded
from telltale.faces import DetectorConfig
from telltale.sampling import SamplePlan
from telltale.types import Code, Face

if TYPE_CHECKING:
    from telltale.sandbox import Worker

_BYTES_A_SECOND = 20_000_000
"""A slow disk's, divided by three: the file is read for its packets, for its pictures and for its hash."""
_MOST_S = 12 * 3600.0
ENCODING_BYTES = 2 << 30
"""Memory of whoever encodes what is read: decoder and encoder of a 4K clip together."""
PLANNED = frozenset({Code.BEGINNING_ONLY, Code.CAPPED})
"""Codes of what was to be left out; whether it came to that is another matter where time ran out."""
SKIPS = PLANNED | {Code.PARTIAL}
"""Codes whose warning says what of the file was not looked at."""
HASH_NOT_KNOWN = "Not all of the file was read in time, so its SHA-256 is not known; a longer deadline tells it."


@dataclass(frozen=True, slots=True)
class ExtractRequest:
    """What to do with one file; travels to the worker as JSON."""

    path: str
    plan: SamplePlan = SamplePlan()
    detector: str = "mtcnn"
    detector_config: DetectorConfig = DetectorConfig()
    crop: CropSpec = CropSpec()
    thumbnails: bool = False
    boxes_from: str | None = None
    """Another video: faces are looked for there, in the same moments, and cut from `path` at the same places."""
    deadline_s: float | None = None
    """None: `default_deadline_s`. After nine tenths of it reading stops, also in the middle of a frame, and what was
    seen is kept; the file's SHA-256 is waited for a little longer."""
    n_decode_threads: int | None = None
    """None: as FFmpeg likes. 1 where several workers share the machine."""

    def to_json(self) -> dict[str, Any]:
        """Its fields, and `asked_at_s`: the clock of whoever waits runs from now, and is the worker's too."""
        return asdict(self) | {"asked_at_s": time.monotonic()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ExtractRequest:
        parts = {"plan": SamplePlan, "detector_config": DetectorConfig, "crop": CropSpec}
        given = {field.name: data[field.name] for field in fields(cls)}
        return cls(**{key: parts[key](**value) if key in parts else value for key, value in given.items()})


def default_deadline_s(duration_s: float | None, size_bytes: int = 0) -> float:
    """60 s, or where that is more three times the video's length, or what a slow disk takes for so many bytes. A header
    may claim any length: 12 h at most."""
    return min(max(60.0, 3.0 * (duration_s or 0.0), size_bytes / _BYTES_A_SECOND), _MOST_S)


def encoding_deadline_s(duration_s: float | None, size_bytes: int) -> float:
    """For whoever encodes what is read: four times as long."""
    return 4 * default_deadline_s(duration_s, size_bytes)


def allowed_s(request: ExtractRequest, duration_s: float | None, size_bytes: int) -> float:
    """How long such a file may take. Where boxes are borrowed, two are read."""
    return request.deadline_s or default_deadline_s(duration_s, size_bytes) * (2 if request.boxes_from else 1)


def run_extract(
    worker: Worker, request: ExtractRequest, *, stop: threading.Event | None = None
) -> Generator[Message, None, None]:
    """Ask `worker` now, and give what it says, checked (`_said`); see `Worker.run`. Without a deadline in `request`
    there is as much time as the video is long: see `allowed_s`.
    """
    deadline_s = request.deadline_s or default_deadline_s(None)
    run = worker.run("extract", request.to_json(), deadline_s=deadline_s, stop=stop)
    if request.deadline_s is None:  # every packet is read before anything is known of a file
        worker.extend(allowed_s(request, None, _size_bytes(request.path)))
    return _extended(run, worker, request)


def check_detector(worker: Worker, name: str, config: DetectorConfig) -> None:
    """Have `worker` make a detector with weights of its own before it reads the first file, none of which is to blame
    for them. Raises `DetectorWeights`; of a worker that has read files that would not be believed."""
    for _ in worker.run("detector", {"name": name, "config": asdict(config)}, deadline_s=default_deadline_s(None)):
        pass


def _size_bytes(path: str) -> int:
    """0 where it cannot be told: whoever opens the file says why."""
    with suppress(OSError, ValueError):
        return Path(path).stat().st_size
    return 0


def _extended(
    run: Generator[Message, None, None], worker: Worker, request: ExtractRequest
) -> Generator[Message, None, None]:
    from telltale._said import checked  # with pydantic; the worker is at work meanwhile

    info: Mapping[str, Any] = {}
    n_frames, last_s = 0, 0.0
    with closing(run):
        try:
            for message in checked(run, side_px=request.crop.size_px):
                if message.kind == "info":
                    info = message.data
                    worker.extend(allowed_s(request, info["duration_s"], info["size_bytes"]))
                elif message.kind == "faces":
                    n_frames, last_s = n_frames + 1, message.data["pts_s"]
                yield message
                if message.kind == "done" and message.data["is_out_of_time"]:
                    return  # which ends the process: it may be in the middle of a frame that never ends
        except DeadlineExceeded:
            if not (info and n_frames):
                raise
            yield _cut_short(request, info, n_frames, last_s)


def _cut_short(request: ExtractRequest, info: Mapping[str, Any], n_frames: int, last_s: float) -> Message:
    """What a worker would have said last that did not stop by itself: held up by whoever scores, or stuck."""
    told = stopped_words(allowed_s(request, info["duration_s"], info["size_bytes"]), last_s)
    said = {"decoded": n_frames, "analysed": n_frames, "lost": 0, "persons": [], "timings_s": {}}
    codes = {"codes": [Code.PARTIAL], "warnings": [told, HASH_NOT_KNOWN], "partial": [told], "is_out_of_time": True}
    return Message("done", {"info": dict(info), **said, **codes})


def stopped_words(after_s: float, last_s: float) -> str:
    """The warning that reading stopped. `last_s`: where in the video."""
    after = f"{after_s:.1f}" if after_s < 9.95 else f"{after_s:.0f}"
    return f"Stopped after {after} s, {last_s:.1f} s into the video; a longer deadline reads more of it."


def face_to_json(track_id: int, face: Face) -> dict[str, Any]:
    """One row of a `faces` message."""
    return {
        "track_id": track_id,
        "frame_index": face.frame_index,
        "pts_s": face.pts_s,
        "box_xyxy": [float(v) for v in face.box_xyxy],
        "points": None if face.points is None else [[float(x), float(y)] for x, y in face.points],
        "confidence": float(face.confidence),
        "source": face.source,
    }


def face_from_json(row: dict[str, Any]) -> Face:
    """The `Face` of one row of a `faces` message."""
    return Face(
        frame_index=row["frame_index"],
        pts_s=row["pts_s"],
        box_xyxy=np.array(row["box_xyxy"], np.float32),
        points=None if row["points"] is None else np.array(row["points"], np.float32),
        confidence=row["confidence"],
        source=row["source"],
    )
