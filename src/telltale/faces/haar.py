"""OpenCV's frontal-face cascade (Viola & Jones, 2001): no network, no points, frontal faces only.

    faces, = create(DetectorConfig(min_confidence=0.8)).detect([frame])

Two things are translated, so that what follows need not know which detector was used. Both were measured against MTCNN
on 388 faces that both found (portraits, people talking, a street):

- the cascade gives a weight, not a probability: its last stage's margin. The share of detections that were faces rises
  with it as a logistic curve, half of them at 3.6 and nine tenths at 5.8, and that curve is the confidence;
- its boxes are squares that cut off the chin and include the ears; they are reshaped to MTCNN's extent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from telltale.errors import DetectorWeights
from telltale.faces import DetectorConfig
from telltale.faces._picture import shrink
from telltale.types import Face, Float32Array, Frame

CASCADE = "haarcascade_frontalface_default.xml"
WEIGHT_AT_HALF, WEIGHT_STEEPNESS = 3.56, 1.0
WIDTH_FRAC, HEIGHT_FRAC, DOWN_FRAC = 0.783, 1.077, 0.008
"""MTCNN's box in units of the cascade's: width, height, and how far down its centre lies."""


class Haar:
    """See the module. Not shared between threads."""

    name = "haar"

    def __init__(self, config: DetectorConfig) -> None:
        import cv2

        self._config = config
        path = Path(cv2.__file__).parent / "data" / CASCADE
        if not path.is_file():
            raise DetectorWeights(
                f"this OpenCV ({cv2.__version__}) ships no {CASCADE}: pip install 'opencv-python-headless>=4.10,<5'"
            )
        self._cascade = cv2.CascadeClassifier(str(path))

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """Frontal faces, without points."""
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: Frame) -> list[Face]:
        import cv2

        picture = shrink(frame.rgb, self._config)
        least_px = round(picture.min_face_px)
        grey = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY)
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=3, minSize=(least_px, least_px), outputRejectLevels=True
        )
        faces = [
            Face(frame.index, frame.pts_s, picture.to_frame(_reshaped(*box)), _confidence(weight))
            for box, weight in zip(boxes, np.ravel(weights), strict=True)
        ]
        faces.sort(key=lambda face: -face.confidence)
        return [face for face in faces if face.confidence >= self._config.min_confidence]


def create(config: DetectorConfig) -> Haar:
    return Haar(config)


def _confidence(weight: float) -> float:
    return 1.0 / (1.0 + math.exp(-WEIGHT_STEEPNESS * (float(weight) - WEIGHT_AT_HALF)))


def _reshaped(x: float, y: float, width: float, height: float) -> Float32Array:
    middle_x, middle_y = x + width / 2.0, y + height * (0.5 + DOWN_FRAC)
    half_w, half_h = width * WIDTH_FRAC / 2.0, height * HEIGHT_FRAC / 2.0
    return np.array([middle_x - half_w, middle_y - half_h, middle_x + half_w, middle_y + half_h], np.float32)
