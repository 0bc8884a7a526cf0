"""MTCNN (Zhang et al., 2016, arXiv:1604.02878): three small networks, each looking closer at what the last let through.

The networks are those of the PyPI package `mtcnn` 1.0 (MIT), converted by scripts/convert_mtcnn.py, and so are the
steps between them: its boxes, points and confidences come out at the same minimum face (tests/golden/mtcnn.json).

    faces, = create(DetectorConfig(min_face_px=60)).detect([frame])

P-Net proposes in every level of a pyramid of shrunk pictures, R-Net and O-Net look at the proposals of all frames
of a batch together. Where faces are expected, `follow` proposes their places, and P-Net is not asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale.faces import DetectorConfig
from telltale.faces._picture import MOST_SIDE_PX, Shrunk, shrink
from telltale.faces._pyramid import levels_of
from telltale.types import Face, Float32Array, Frame, RgbImage

PYRAMID_FACTOR = 0.709
PNET_FACE_PX = 12
PNET_STRIDE_PX = 2
PNET_LEAST, RNET_LEAST, ONET_LEAST = 0.6, 0.7, 0.8
"""Confidences below are dropped after each network."""
MOST_PER_LEVEL = 2000
"""Proposals kept per level: a bound for pictures of noise; real frames stay under 300."""
RNET_BATCH, ONET_BATCH = 32, 16
FOLLOWED_SIZE = 0.8
"""Side of the square in which an expected face is looked for, in sides of its box: with it boxes come nearest to those
of a search; with several squares, or moved ones, no nearer (docs/decisions.md)."""

Boxes = Float32Array
"""float32 (N, 5): x0, y0, x1, y1 in pixels of the shrunk picture, and the logit of the confidence. Logits keep their
order where confidences in float32 are all 1.0, as P-Net's are on a large face."""


class Mtcnn:
    """See the module. Holds three ONNX Runtime sessions; not shared between threads."""

    name = "mtcnn"

    def __init__(self, config: DetectorConfig) -> None:
        self._config = config
        self._pnet, self._rnet, self._onet = (_session(net, config.n_threads) for net in ("pnet", "rnet", "onet"))

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """Faces with five points each; boxes may reach outside the frame."""
        pictures = [shrink(frame.rgb, self._config) for frame in frames]
        proposed = [self._propose(picture) for picture in pictures]
        refined = self._refine(pictures, proposed)
        located = self._locate(pictures, refined)
        return [
            [self._face(frame, picture, box, points) for box, points in zip(boxes, all_points, strict=True)]
            for frame, picture, (boxes, all_points) in zip(frames, pictures, located, strict=True)
        ]

    def follow(self, frame: Frame, expected: Sequence[Face]) -> list[Face]:
        """See `faces.FaceFollower`. A tenth of the time of `detect`."""
        picture = shrink(frame.rgb, self._config)
        ((boxes, all_points),) = self._locate([picture], self._refine([picture], [_about(expected, picture)]))
        return [self._face(frame, picture, box, points) for box, points in zip(boxes, all_points, strict=True)]

    @staticmethod
    def _face(frame: Frame, picture: Shrunk, box: Float32Array, points: Float32Array) -> Face:
        confidence = 1.0 / (1.0 + math.exp(-float(box[4])))
        return Face(frame.index, frame.pts_s, picture.to_frame(box[:4]), confidence, picture.to_frame(points))

    def _propose(self, picture: Shrunk) -> Boxes:
        """P-Net over the pyramid: square boxes that may hold a face."""
        height, width = picture.rgb.shape[:2]
        scales = list(_scales(picture))
        levels = levels_of(picture.rgb, [(int(width * scale), int(height * scale)) for scale in scales])
        found = [self._propose_in(level, scale) for level, scale in zip(levels, scales, strict=True)]
        boxes = np.concatenate([np.empty((0, 5), np.float32), *found])
        return _squared(_suppressed(boxes, 0.7))

    def _propose_in(self, level: Float32Array, scale: float) -> Boxes:
        (maps,) = self._pnet.run(None, {"pixels": level[None]})
        logits, offsets = maps[0, 0], maps[0, 1:]
        rows, columns = np.nonzero(logits > _logit(PNET_LEAST))
        if not len(rows):
            return np.empty((0, 5), np.float32)
        if len(rows) > MOST_PER_LEVEL:
            best = np.argsort(-logits[rows, columns], kind="stable")[:MOST_PER_LEVEL]
            rows, columns = rows[best], columns[best]
        corner = np.stack([columns, rows, columns, rows], axis=1) * PNET_STRIDE_PX
        corner = corner + np.array([1, 1, PNET_FACE_PX, PNET_FACE_PX])
        xyxy = (corner + offsets[:, rows, columns].T * (PNET_FACE_PX - 1)) / scale
        return _suppressed(_boxes(xyxy, logits[rows, columns]), 0.5)

    def _refine(self, pictures: Sequence[Shrunk], boxes: Sequence[Boxes]) -> list[Boxes]:
        """R-Net: fewer, better boxes, square again."""
        refined = []
        for before, out in zip(boxes, _look(self._rnet, 24, RNET_BATCH, pictures, boxes), strict=True):
            after = _boxes(_adjusted(before, out[:, 1:5]), out[:, 0])
            refined.append(_squared(_suppressed(after[after[:, 4] > _logit(RNET_LEAST)], 0.7)))
        return refined

    def _locate(self, pictures: Sequence[Shrunk], boxes: Sequence[Boxes]) -> list[tuple[Boxes, Float32Array]]:
        """O-Net: the faces (N, 5) and their points (N, 5, 2), best first."""
        located = []
        wanted = self._config.min_confidence
        for before, out in zip(boxes, _look(self._onet, 48, ONET_BATCH, pictures, boxes), strict=True):
            sides = before[:, 2:4] - before[:, 0:2] + 1.0
            # The network gives five x, then five y, as fractions of the box.
            points = out[:, 5:15].reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None] + before[:, None, 0:2] - 1.0
            after = _boxes(_adjusted(before, out[:, 1:5]), out[:, 0])
            likely = np.flatnonzero(after[:, 4] > _logit(min(ONET_LEAST, wanted)))
            best = likely[_kept(after[likely], 0.7, of_smaller=True)]
            best = best[(after[best, 4] >= _logit(wanted)) & np.all(after[best, 2:4] > after[best, 0:2], axis=1)]
            located.append((after[best], points[best].astype(np.float32)))
        return located


def _about(faces: Sequence[Face], picture: Shrunk) -> Boxes:
    """A square of `FOLLOWED_SIZE` about each face, in pixels of the shrunk picture."""
    boxes = np.array([face.box_xyxy for face in faces], np.float32) / np.tile(picture.stretch_xy, 2)
    centres, half = (boxes[:, 0:2] + boxes[:, 2:4]) / 2.0, (boxes[:, 2:4] - boxes[:, 0:2]) * (FOLLOWED_SIZE / 2.0)
    smaller = np.concatenate([centres - half, centres + half], axis=1)
    return _squared(_boxes(smaller, np.zeros(len(smaller), np.float32)))


def create(config: DetectorConfig) -> Mtcnn:
    return Mtcnn(config)


def _session(net: str, n_threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    # Level sizes differ from clip to clip: an arena and memory patterns would keep the largest of each for ever.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoder needs the cores
    model = (resources.files("telltale") / "weights" / "mtcnn" / f"{net}.onnx").read_bytes()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _scales(picture: Shrunk) -> Iterator[float]:
    """From the level in which the smallest face wanted is 12 px to the last that is at least 12 px high and wide.

    The package counts levels from the picture's size alone and so, from a minimum face of 28 px on, asks for levels
    below 12 px, fails on them and reports no face at all; up to 24 px its levels are these.
    """
    scale = PNET_FACE_PX / picture.min_face_px
    while min(picture.rgb.shape[:2]) * scale >= PNET_FACE_PX:
        yield scale
        scale *= PYRAMID_FACTOR


def _look(net: Any, size: int, batch: int, pictures: Sequence[Shrunk], boxes: Sequence[Boxes]) -> list[Float32Array]:
    """What a network says of every box, (N, 5 or 15) a picture, all pictures' boxes sharing batches."""
    patches = [_patches(p.rgb, found, size) for p, found in zip(pictures, boxes, strict=True) if len(found)]
    together = np.concatenate(patches) if patches else np.empty((0, size, size, 3), np.uint8)
    outs = [net.run(None, {"pixels": together[start : start + batch]})[0] for start in range(0, len(together), batch)]
    joined = np.concatenate(outs) if outs else np.empty((0, 15), np.float32)
    ends = np.cumsum([len(found) for found in boxes])
    return np.split(joined, ends)[:-1]


def _patches(rgb: RgbImage, boxes: Boxes, size: int) -> npt.NDArray[Any]:
    """The boxes as uint8 (N, size, size, 3), sampled bilinearly from corner to corner; grey outside the picture.

    As TensorFlow's crop_and_resize does when given fractions of the picture: fraction 1 is the last pixel's centre.
    """
    import cv2

    height, width = rgb.shape[:2]
    to_pixel = np.array([(width - 1) / width, (height - 1) / height, (width - 1) / width, (height - 1) / height])
    x0, y0, x1, y1 = (boxes[:, :4] * to_pixel).T[..., None]
    along = np.linspace(0.0, 1.0, size)
    shape = (len(boxes), size, size)
    x = np.broadcast_to((x0 + (x1 - x0) * along)[:, None, :], shape).reshape(-1, size).astype(np.float32)
    y = np.broadcast_to((y0 + (y1 - y0) * along)[:, :, None], shape).reshape(-1, size).astype(np.float32)
    rows_at_once = MOST_SIDE_PX // size * size
    patches = [
        cv2.remap(
            rgb,
            x[start : start + rows_at_once],
            y[start : start + rows_at_once],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(127.5, 127.5, 127.5),
        )
        for start in range(0, len(x), rows_at_once)
    ]
    return np.concatenate(patches).reshape(-1, size, size, 3)


def _boxes(xyxy: npt.NDArray[Any], logits: Float32Array) -> Boxes:
    return np.concatenate([xyxy, logits[:, None]], axis=1).astype(np.float32)


def _adjusted(boxes: Boxes, offsets: Float32Array) -> Float32Array:
    sides = boxes[:, 2:4] - boxes[:, 0:2] + np.float32(1.0)
    return boxes[:, :4] + offsets * np.tile(sides, 2)


def _squared(boxes: Boxes) -> Boxes:
    """Each box grown to a square about its centre."""
    centres = (boxes[:, 0:2] + boxes[:, 2:4]) / 2.0
    half = (boxes[:, 2:4] - boxes[:, 0:2]).max(axis=1, initial=0.0, keepdims=True) / 2.0
    return np.concatenate([centres - half, centres + half, boxes[:, 4:]], axis=1).astype(np.float32)


def _suppressed(boxes: Boxes, overlap: float) -> Boxes:
    return boxes[_kept(boxes, overlap)]


def _kept(boxes: Boxes, overlap: float, *, of_smaller: bool = False) -> npt.NDArray[np.int64]:
    """Indices of the boxes that no better box overlaps, best first.

    A better box counts even where it is itself suppressed: the package's rule, not the usual one.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")
    if len(order) < 2:
        return order
    x0, y0, x1, y1 = boxes[order, :4].T
    area = (x1 - x0) * (y1 - y0)
    alone = np.ones(len(order), bool)
    for start in range(0, len(order), 256):  # in blocks, so that memory stays linear
        stop = min(start + 256, len(order))
        one, better = slice(start, stop), slice(0, stop)
        across = np.minimum(x1[one, None], x1[better]) - np.maximum(x0[one, None], x0[better])
        down = np.minimum(y1[one, None], y1[better]) - np.maximum(y0[one, None], y0[better])
        shared = np.maximum(across, 0.0) * np.maximum(down, 0.0)
        whole = np.minimum(area[one, None], area[better]) if of_smaller else area[one, None] + area[better] - shared
        is_better = np.arange(stop) < np.arange(start, stop)[:, None]
        alone[one] = ~np.any((shared > overlap * whole) & is_better, axis=1)
    return order[alone]


def _logit(probability: float) -> float:
    if probability in (0.0, 1.0):
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1.0 - probability))
