"""Which pictures are looked at, and what is seen on them. Decoding is the worker's: see `telltale._inspect_job`."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from telltale.datasets import Record
from telltale.errors import InputError, WorkerError
from telltale.faces import files_read
from telltale.inspect._facts import Unread, class_name
from telltale.sampling import SamplePlan
from telltale.sandbox import Message, Powers, Worker, WorkerLimits
from telltale.types import FaceRecord, Float32Array, RgbImage

FIRST_SECONDS = SamplePlan("fps", 1.0, max_frames=5)
"""The first frame and one a second after it: what is measured, without reading a video to its end."""
FIRST_FRAME = SamplePlan("first", 1)
MOTION = SamplePlan("fps", 4.0, max_frames=24)
_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class SeenFace:
    size_px: float
    """Longer side of its box, in pixels of the video; NaN where nobody knows."""
    brightness: float
    """Mean luma inside the box, 0-255."""
    rgb: RgbImage
    """The face with what is around it."""
    box_xyxy: Float32Array
    """(4,) px of `rgb`."""


@dataclass(frozen=True, slots=True)
class SeenFrame:
    pts_s: float
    rgb: RgbImage
    """Made small."""
    boxes_xyxy: Float32Array
    """(n, 4) px of `rgb`."""
    face: SeenFace | None
    """The largest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One video or picture, as far as it was looked at."""

    record: Record
    frames: tuple[SeenFrame, ...]
    """Those that are kept to be shown; none where only numbers are wanted."""
    face_px: float
    """Median over the frames, of the largest face of each; NaN where none has one, or nobody knows."""
    brightness: float
    """The same of the face's mean luma, 0-255."""
    side_px: float
    """Shorter side of the video; NaN where nobody knows."""
    duration_s: float | None = None
    size_bytes: int | None = None

    @property
    def face(self) -> SeenFace | None:
        """That of the first frame with one."""
        return next((frame.face for frame in self.frames if frame.face is not None), None)


def draw(records: Sequence[Record], n: int, rng: np.random.Generator) -> list[Record]:
    """`n` at random, half real, half fake and those evenly over the methods: real, fake, real ..."""
    pools: dict[str, list[Record]] = {}
    for position in rng.permutation(len(records)):
        pools.setdefault(class_name(records[position]), []).append(records[position])
    real = pools.pop("real", [])
    fake = _in_turns([pool for _, pool in sorted(pools.items())])
    n_fake = min(len(fake), max(n // 2, n - len(real)))
    return _in_turns([real[: n - n_fake], fake[:n_fake]])


def _in_turns(pools: Sequence[Sequence[Record]]) -> list[Record]:
    longest = max((len(pool) for pool in pools), default=0)
    return [pool[turn] for turn in range(longest) for pool in pools if turn < len(pool)]


class Looker:
    """Decodes and detects in one worker, file after file; what cannot be read is noted in `unread`."""

    def __init__(self, detector: str, *, on_file: Callable[[str], None]) -> None:
        self._detector = detector
        self._on_file = on_file
        self._worker = Worker(
            WorkerLimits(powers=Powers(may_read=files_read(detector))), jobs={"look": "telltale._inspect_job:look_job"}
        )
        self.unread: list[Unread] = []

    def close(self) -> None:
        self._worker.close()

    def look(
        self, records: Iterable[Record], plan: SamplePlan, *, detects: bool = True, n_shown: int | None = None
    ) -> list[Seen]:
        """Those of `records` that could be read; of the first `n_shown` the pictures are kept too."""
        found: list[Seen] = []
        for record in records:
            self._on_file(record.name)
            try:
                with _on_disk(record) as path:
                    seen = self._run(record, path, plan, detects=detects)
                found.append(seen if n_shown is None or len(found) < n_shown else replace(seen, frames=()))
            except (InputError, WorkerError) as error:
                self._note(record.name, error)
        return found

    def decode(self, record: Record, data: bytes) -> RgbImage | None:
        """An encoded picture of `record`; None, and a note, where it cannot be read."""
        self._on_file(record.name)
        try:
            with _written(data, record.name) as path:
                return self._run(record, path, FIRST_FRAME, detects=False).frames[0].rgb
        except (InputError, WorkerError) as error:
            self._note(record.name, error)
            return None

    def _note(self, name: str, error: InputError | WorkerError) -> None:
        if name not in {unread.name for unread in self.unread}:
            self.unread.append(Unread(name=name, code=error.code, message=error.message))

    def _run(self, record: Record, path: str, plan: SamplePlan, *, detects: bool) -> Seen:
        args = {"path": path, "plan": asdict(plan), "detector": self._detector if detects else None}
        frames = []
        info: dict[str, Any] = {}
        for message in self._worker.run("look", args, deadline_s=_DEADLINE_S):
            if message.kind == "frame":
                frames.append(_frame(message))
            else:
                info = dict(message.data)
        faces = [frame.face for frame in frames if frame.face is not None]
        return Seen(
            record=record,
            frames=tuple(frames),
            face_px=median(face.size_px for face in faces),
            brightness=median(face.brightness for face in faces),
            side_px=float(min(info["width_px"], info["height_px"])),
            duration_s=None if info["is_image"] else info["duration_s"],
            size_bytes=int(info["size_bytes"]),
        )


@contextmanager
def _on_disk(record: Record) -> Iterator[str]:
    """A path to the file itself; a picture inside a zip is copied out first, as bytes."""
    if not isinstance(record, FaceRecord) or record.member is None:
        yield record.path
        return
    with _written(record.read_bytes(), record.name) as path:
        yield path


@contextmanager
def _written(data: bytes, name: str) -> Iterator[str]:
    """The bytes as a file; in an error's message it has its own name."""
    with tempfile.TemporaryDirectory(prefix="telltale-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            yield str(path)
        except (InputError, WorkerError) as error:
            raise type(error)(error.message.replace(str(path), name)) from error


def _frame(message: Message) -> SeenFrame:
    data, arrays = message.data, message.arrays
    face = None
    if "face" in arrays:
        face = SeenFace(float(data["size_px"]), float(data["brightness"]), arrays["face"], arrays["inside"])
    return SeenFrame(float(data["pts_s"]), arrays["rgb"], arrays["boxes"], face)


def median(values: Iterable[float]) -> float:
    """NaN of nothing."""
    found = list(values)
    return statistics.median(found) if found else math.nan
