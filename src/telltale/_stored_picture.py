"""Pictures of a store, from their bytes: as they are shown, turned as their EXIF orientation says.

Crops that `prepare` cut have none; pictures kept as they came (`--no-detect`) may. Scanning turns them too
(`pictures`), and so does OpenCV, with which training decodes.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image, ImageOps

from telltale.types import RgbImage

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height. A file may hold anything there."""
DAMAGE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises where they do not decode."""


def rgb_of(data: bytes) -> RgbImage:
    """uint8 (H, W, 3). Raises `DAMAGE`."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header alone. Raises `DAMAGE`."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        width, height = picture.size
        is_turned = picture.getexif().get(ExifTags.Base.Orientation) in TURNED
    return (height, width) if is_turned else (width, height)


__all__ = ["DAMAGE", "TURNED", "rgb_of", "size_of"]
