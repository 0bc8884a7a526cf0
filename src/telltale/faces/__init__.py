"""Finding faces. One file here is one detector; its file name is its registration. Detectors are part of the package:
they run in a process that reads no other code.

>>> names()
['haar', 'mtcnn', 'yunet']

A detector is made once and used for many frames, several at a time:

    detector = create("mtcnn", config=DetectorConfig(n_threads=2))
    for frame, faces in zip(frames, detector.detect(frames)):
        print(frame.pts_s, faces)
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

import numpy as np

from telltale.errors import UnknownName, UsageError, nearest
from telltale.types import Face, Frame, RgbImage

PAD_FRAC = 0.25
"""What `detect_still` adds on each side, as a fraction of the picture's shorter side."""

FILLS_FRAC = 0.75
"""A picture of which one face takes this part of the shorter side is a face crop."""

SEARCH_EVERY_S = 2.0
_FOLDER = Path(__file__).parent
"""Not `__path__`: the process that looks for faces would not find what somebody adds to that."""


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """How to look for faces; the same fields for every detector."""

    min_face_px: float | None = None
    """Smallest face to look for, in pixels of the picture given. None: 1/18 of the picture's long side where that is
    larger than `side_px` (40 px at 720), 40 px in smaller ones."""
    side_px: int = 720
    """The picture is shrunk until its long side is at most this, before anything is looked for."""
    min_confidence: float = 0.9
    """Faces below are not returned."""
    model_path: str | None = None
    """The weights, for detectors that ship none."""
    n_threads: int = 1
    search_every_s: float = SEARCH_EVERY_S
    """Of a video, the whole picture is searched at least so often; between, detectors that can follow faces look where
    they were (`telltale.following`). 0: every frame analysed is searched."""

    def __post_init__(self) -> None:
        if self.min_face_px is not None and self.min_face_px < 12:
            raise ValueError(f"min_face_px must be at least 12, got {self.min_face_px}")
        if self.side_px < 64:
            raise ValueError(f"side_px must be at least 64, got {self.side_px}")
        if not 0.0 <= self.min_confidence <= 1.0:
            raise ValueError(f"min_confidence must be 0-1, got {self.min_confidence}")
        if self.n_threads < 1:
            raise ValueError(f"n_threads must be at least 1, got {self.n_threads}")
        if not 0.0 <= self.search_every_s < math.inf:
            raise ValueError(f"search_every_s must be 0 or more, got {self.search_every_s}")


@runtime_checkable
class FaceDetector(Protocol):
    """What every file in this package makes with its `create(config)`."""

    name: str

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """The faces of each frame, most certain first, in that frame's pixels. Frames may differ in size."""
        ...


@runtime_checkable
class FaceFollower(FaceDetector, Protocol):
    """A detector that finds faces again at less cost than by searching the whole picture."""

    def follow(self, frame: Frame, expected: Sequence[Face]) -> list[Face]:
        """The faces found at and about the places of those `expected`, as `detect` gives them; maybe not all."""
        ...


def names() -> list[str]:
    """Every detector there is, without importing any."""
    return sorted(m.name for m in pkgutil.iter_modules([str(_FOLDER)]) if not m.name.startswith("_"))


def create(name: str, *, config: DetectorConfig | None = None) -> FaceDetector:
    """The detector called `name`. Raises UnknownName, or DetectorWeights where its weights are missing or wrong."""
    detector: FaceDetector = _module(name).create(config or DetectorConfig())
    return detector


def fetched(name: str, *, config: DetectorConfig | None = None) -> DetectorConfig:
    """The configuration with `model_path` set, after a download where the detector needs one and has not got it.

    For callers that then create the detector in a process without network. Raises as `create`
    does, and UsageError for weights that the detector would not read.
    """
    module, config = _module(name), config or DetectorConfig()
    if config.model_path is not None and not hasattr(module, "weights"):
        raise UsageError(f"detector {name} brings its own weights: leave out --detector-model")
    return replace(config, model_path=str(module.weights(config))) if hasattr(module, "weights") else config


def files_read(name: str, *, config: DetectorConfig | None = None) -> tuple[str, ...]:
    """Files outside the package that the detector reads, which a confined worker must be let; raises as `fetched`."""
    path = fetched(name, config=config).model_path
    return () if path is None else (path,)


def check_name(name: object) -> None:
    """Raises `UsageError` for what is no name: detectors are chosen, not handed over."""
    if not isinstance(name, str):
        raise UsageError(
            f"a detector is chosen by its name ({', '.join(names())}), got {type(name).__name__}: a new one is a file "
            "in telltale/faces (CONTRIBUTING.md)"
        )


def _module(name: str) -> ModuleType:
    check_name(name)
    if name not in names():
        raise UnknownName(
            f"there is no face detector {name!r} (there are {', '.join(names())}){nearest(name, names())}"
        )
    return importlib.import_module(f"{__name__}.{name}")


def detect_still(detector: FaceDetector, frame: Frame) -> tuple[list[Face], bool]:
    """The faces of a still picture, and whether the picture is itself the crop of one face.

    A crop so tight that the face touches its edges is often missed, so a picture without a face is looked at again
    with a border of repeated edge pixels. Boxes are in the pixels of `frame` and may reach outside it.
    """
    height, width = frame.rgb.shape[:2]
    (faces,) = detector.detect([frame])
    if faces:
        largest = max(max(face.width_px, face.height_px) for face in faces)
        return faces, largest >= FILLS_FRAC * min(height, width)
    pad = max(1, round(PAD_FRAC * min(height, width)))
    (found,) = detector.detect([replace(frame, rgb=_padded(frame.rgb, pad))])
    return [_moved(face, -pad) for face in found], bool(found)


def _padded(rgb: RgbImage, pad: int) -> RgbImage:
    return np.pad(rgb, ((pad, pad), (pad, pad), (0, 0)), mode="edge")


def _moved(face: Face, by_px: int) -> Face:
    points = None if face.points is None else face.points + np.float32(by_px)
    return replace(face, box_xyxy=face.box_xyxy + np.float32(by_px), points=points)


__all__ = [
    "SEARCH_EVERY_S",
    "DetectorConfig",
    "FaceDetector",
    "FaceFollower",
    "check_name",
    "create",
    "detect_still",
    "fetched",
    "files_read",
    "names",
]
