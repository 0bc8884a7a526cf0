"""Looking at one file, in the worker process: frames made small, faces with what is around them, as raw pixels.

Nothing that a hostile file could have shaped is parsed by whoever asked: `inspect` gets arrays and numbers. Beside that
package, not in it: the worker needs none of what importing it loads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from telltale.crops import CropSpec, crop_face
from telltale.faces import DetectorConfig, FaceDetector, create, detect_still
from telltale.sampling import SamplePlan
from telltale.sandbox import Message
from telltale.types import Float32Array, RgbImage

FRAME_SIDE_PX = 480
FACE_SIDE_PX = 320
_AROUND = CropSpec(size_px=FACE_SIDE_PX, margin_frac=0.5, down_frac=0.0)
_CROP_FROM_FRAC = 0.5
"""A face that takes this part of the picture's shorter side is shown with the whole picture around it."""


def look_job(args: dict[str, Any]) -> Iterator[Message]:
    """One file: `frame` messages, then `info`. Raises `InputError`s by name."""
    from telltale.video import open_video  # only the worker decodes

    with open_video(args["path"], SamplePlan(**args["plan"]), n_threads=1) as reader:
        for frame in reader:
            boxes = np.empty((0, 4), np.float32)
            if args["detector"] is not None:
                detector = _detector(args["detector"])
                found = detect_still(detector, frame)[0] if reader.info.is_still else detector.detect([frame])[0]
                found = sorted(found, key=lambda face: -max(face.width_px, face.height_px))
                height, width = frame.rgb.shape[:2]
                boxes = np.array([face.box_xyxy for face in found], np.float32).reshape(-1, 4)
                boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
            yield _looked(frame.pts_s, frame.rgb, boxes)
        info = reader.info
    yield Message("info", asdict(info))


@functools.cache
def _detector(name: str) -> FaceDetector:
    return create(name, config=DetectorConfig())


def _looked(pts_s: float, rgb: RgbImage, boxes: Float32Array) -> Message:
    """The frame made small, and of its largest face, the first of `boxes` (n, 4), size, brightness and picture."""
    small, scale = _small(rgb, FRAME_SIDE_PX)
    sizes = np.max(boxes[:, 2:] - boxes[:, :2], axis=1)
    arrays: dict[str, Any] = {"rgb": small, "boxes": boxes * np.float32(scale)}
    data: dict[str, Any] = {"pts_s": pts_s}
    if len(boxes):
        box, size = boxes[0], float(sizes[0])
        data |= {"size_px": size, "brightness": _brightness(rgb, box)}
        if size >= _CROP_FROM_FRAC * min(rgb.shape[:2]):
            arrays["face"], shrunk = _small(rgb, FACE_SIDE_PX)
            arrays["inside"] = box * np.float32(shrunk)
        else:
            arrays["face"] = crop_face(rgb, box, None, _AROUND)
            half = (box[2:] - box[:2]) / size * FACE_SIDE_PX / (1 + 2 * _AROUND.margin_frac) / 2
            arrays["inside"] = np.concatenate([FACE_SIDE_PX / 2 - half, FACE_SIDE_PX / 2 + half]).astype(np.float32)
    return Message("frame", data, arrays)


def _small(rgb: RgbImage, side_px: int) -> tuple[RgbImage, float]:
    """The picture, its longer side at most `side_px`, and by how much it shrank."""
    import cv2

    scale = side_px / max(rgb.shape[:2])
    if scale >= 1:
        return rgb, 1.0
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), scale


def _brightness(rgb: RgbImage, box: Float32Array) -> float:
    height, width = rgb.shape[:2]
    x0, y0 = np.clip(np.floor(box[:2]), 0, (width - 1, height - 1)).astype(int)
    x1, y1 = np.maximum(np.clip(np.ceil(box[2:]), 0, (width, height)).astype(int), (x0 + 1, y0 + 1))
    return brightness(rgb[y0:y1, x0:x1])


def brightness(rgb: RgbImage) -> float:
    """Mean luma (BT.601), 0-255."""
    return float(rgb.reshape(-1, 3).mean(axis=0) @ np.array([0.299, 0.587, 0.114]))
