"""What the worker is asked to do with one file and in what time, and how faces travel back: JSON, without the arrays.

Apart from `extract`, which does it: whoever asks needs no decoder, and importing two of them would keep the worker
from starting for a fifth of a second.

>>> ExtractRequest.from_json(ExtractRequest("clip.mp4").to_json()) == ExtractRequest("clip.mp4")
True
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from telltale.crops import CropSpec
from telltale.faces import DetectorConfig
from telltale.sampling import SamplePlan
from telltale.types import Face

if TYPE_CHECKING:
    from telltale.sandbox import Message, Worker


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
    """Another video, of the same length: faces are looked for there, and cut from `path` at the same places."""
    deadline_s: float | None = None
    """None: `default_deadline_s`. After nine tenths of it, reading stops and what was seen is kept."""
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


def default_deadline_s(duration_s: float | None) -> float:
    """60 s, or three times the video's length where that is more. A header may claim any length: 12 h at most."""
    return min(max(60.0, 3.0 * (duration_s or 0.0)), 12 * 3600.0)


def run_extract(
    worker: Worker, request: ExtractRequest, *, stop: threading.Event | None = None
) -> Generator[Message, None, None]:
    """Ask `worker` now, and give what it says, checked (`_said`); see `Worker.run`. Without a deadline in `request`
    there is as much time as the video is long: see `default_deadline_s`. Where boxes are borrowed, two videos are read,
    in twice the time.
    """
    deadline_s = request.deadline_s or default_deadline_s(None)
    run = worker.run("extract", request.to_json(), deadline_s=deadline_s, stop=stop)
    return _extended(run, worker, request)


def _extended(
    run: Generator[Message, None, None], worker: Worker, request: ExtractRequest
) -> Generator[Message, None, None]:
    from telltale._said import checked  # with pydantic; the worker is at work meanwhile

    with closing(run):
        for message in checked(run, side_px=request.crop.size_px):
            if message.kind == "info" and request.deadline_s is None:
                worker.extend(default_deadline_s(message.data["duration_s"]) * (2 if request.boxes_from else 1))
            yield message


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
