"""The pictures of tests/golden/mtcnn.json: made here, or read from ../shared, so that none is stored.

>>> sorted(made())[:2]
['close', 'crowd']
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from make_videos import background, paste_portrait
from telltale.types import RgbImage

LONG_SIDE_PX = 720

_MADE: dict[str, tuple[tuple[int, int], list[tuple[int, int, int, bool]]]] = {
    # name: (width, height), [(x, y, side, mirrored) of each portrait]
    "whole": ((512, 512), [(0, 0, 512, False)]),
    "close": ((300, 300), [(-180, -40, 700, False)]),
    "wide": ((720, 405), [(100, 60, 345, False)]),
    "two": ((720, 405), [(20, 45, 360, False), (350, 45, 360, True)]),
    "sizes": ((720, 540), [(0, 20, 520, False), (430, 240, 300, True), (560, 20, 160, False)]),
    "crowd": ((720, 480), [(10 + 175 * (i % 4), 5 + 160 * (i // 4), 150, i % 2 == 1) for i in range(12)]),
    "upright": ((360, 640), [(-60, 180, 460, False)]),
    "at the edge": ((480, 360), [(270, 30, 330, False)]),
    "nobody": ((640, 360), []),
}
_PORTRAITS = 12
_FRAMES = (5, 35)


def made() -> dict[str, RgbImage]:
    """Portraits of the astronaut pasted on a background, by name."""
    pictures = {}
    for name, (size, places) in _MADE.items():
        picture = background(size)
        for x, y, side, mirrored in places:
            paste_portrait(picture, x, y, side, mirrored=mirrored)
        pictures[name] = picture
    return pictures


def read(shared: Path) -> Iterator[tuple[str, RgbImage]]:
    """Frames of real clips and official portraits, by name; long side at most 720 px."""
    for clip in sorted(
        path for folder in ("crowd", "labelled", "talkers") for path in (shared / "videos" / folder).iterdir()
    ):
        if clip.suffix in (".mp4", ".mpg"):
            with av.open(str(clip)) as container:
                for i, frame in enumerate(container.decode(video=0)):
                    if i in _FRAMES:
                        yield f"{clip.name} frame {i}", _bounded(frame.to_ndarray(format="rgb24").astype(np.uint8))
                    if i == max(_FRAMES):
                        break
    with zipfile.ZipFile(shared / "data" / "portraits" / "us_congress.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:_PORTRAITS]:
            yield name, _bounded(np.array(Image.open(io.BytesIO(archive.read(name))).convert("RGB")))


def _bounded(rgb: RgbImage) -> RgbImage:
    scale = LONG_SIDE_PX / max(rgb.shape[:2])
    if scale >= 1.0:
        return rgb
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
