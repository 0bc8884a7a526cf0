"""YuNet (Wu, Peng & Yu, 2023) through OpenCV's `FaceDetectorYN`: fast, and good at small faces.

    faces, = create(DetectorConfig(model_path="face_detection_yunet_2023mar.onnx")).detect([frame])

No weights are shipped. `DetectorConfig.model_path` names an ONNX file; without one the official file is downloaded
once, and refused unless its SHA-256 is the one pinned here. Frames are letterboxed to 640 x 640, the input that every
published file of the network takes; `side_px` and `min_face_px` do not enlarge it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from telltale.errors import DetectorWeights
from telltale.faces import DetectorConfig
from telltale.types import Face, Float32Array, Frame, RgbImage

INPUT_PX = 640
NMS_OVERLAP = 0.3
MOST_FACES = 500

URL = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SIZE_BYTES = 232_589
DOWNLOAD_TIMEOUT_S = 20.0


class Yunet:
    """See the module. Not shared between threads."""

    name = "yunet"

    def __init__(self, config: DetectorConfig) -> None:
        import cv2

        self._config = config
        path = weights(config)
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(path), "", (INPUT_PX, INPUT_PX), config.min_confidence, NMS_OVERLAP, MOST_FACES
            )
        except cv2.error as error:
            raise DetectorWeights(
                f"OpenCV cannot use {path} as YuNet ({' '.join(str(error).split())}); {_HOW}"
            ) from error

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """Faces with five points each; boxes may reach outside the frame."""
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: Frame) -> list[Face]:
        boxed, stretch_xy = _letterboxed(frame.rgb)
        _, rows = self._net.detect(boxed)
        if rows is None:
            return []
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        faces = []
        least_px = self._config.min_face_px or 0.0
        for row in rows:
            xy_wh = row[:4].reshape(2, 2) * stretch_xy
            box = np.concatenate([xy_wh[0], xy_wh[0] + xy_wh[1]]).astype(np.float32)
            if xy_wh[1].min() > 0.0 and xy_wh[1].max() >= least_px:
                # YuNet's order is ours: right eye, left eye, nose, right and left mouth corner.
                points = (row[4:14].reshape(5, 2) * stretch_xy).astype(np.float32)
                faces.append(Face(frame.index, frame.pts_s, box, min(1.0, float(row[14])), points))
        return faces


def create(config: DetectorConfig) -> Yunet:
    return Yunet(config)


def weights(config: DetectorConfig) -> Path:
    """The ONNX file to use, downloaded where none is named and none was downloaded before.

    Raises DetectorWeights.
    """
    if config.model_path is not None:
        path = Path(config.model_path)
        if not path.is_file():
            raise DetectorWeights(f"there is no file {path}; {_HOW}")
        return path
    path = _cache() / f"yunet-{SHA256[:16]}.onnx"
    if not path.is_file():
        _download(path)
    elif _sha256(path.read_bytes()) != SHA256:
        raise DetectorWeights(f"{path} is not the file whose SHA-256 is {SHA256}; delete it and try again")
    return path


_HOW = f"get {URL} (SHA-256 {SHA256}) and name it with --detector-model FILE"


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "telltale"


def _download(path: Path) -> None:
    try:
        with urllib.request.urlopen(URL, timeout=DOWNLOAD_TIMEOUT_S) as answer:
            data: bytes = answer.read(SIZE_BYTES + 1)
    except (OSError, urllib.error.URLError) as error:
        raise DetectorWeights(f"YuNet's weights could not be downloaded ({error}); {_HOW}") from error
    if _sha256(data) != SHA256:
        raise DetectorWeights(f"{URL} did not give the file whose SHA-256 is {SHA256}; {_HOW}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as staging:
            staged = Path(staging) / path.name
            staged.write_bytes(data)
            staged.replace(path)
    except OSError as error:
        raise DetectorWeights(f"YuNet's weights could not be kept in {path.parent} ({error}); {_HOW}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _letterboxed(rgb: RgbImage) -> tuple[RgbImage, Float32Array]:
    """BGR (640, 640, 3) with the frame in the top left corner, and frame pixels per pixel of it, x and y."""
    import cv2

    height, width = rgb.shape[:2]
    scale = INPUT_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    boxed = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
    boxed[: size[1], : size[0]] = cv2.resize(rgb, size, interpolation=how)[..., ::-1]
    return boxed, np.array([width / size[0], height / size[1]], np.float32)
