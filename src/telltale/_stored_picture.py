"""Pictures of a store, from their bytes: as they are shown, turned as their EXIF orientation says.

Crops that `prepare` cut have none; pictures kept as they came (`--no-detect`) may. Scanning turns them too
(`pictures`), and so does OpenCV, with which training decodes.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import ExifTags, Image

from telltale.types import RgbImage

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DAMAGE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
"""What Pillow raises where they do not decode."""


def rgb_of(data: bytes) -> RgbImage:
    """uint8 (H, W, 3). Raises `DAMAGE`."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        return np.asarray(upright(picture).convert("RGB"))


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header alone. Raises `DAMAGE`."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        return size_upright(picture)


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its orientation says. `ImageOps.exif_transpose` also writes the EXIF anew, which fails where it holds
    odd things; a file may hold anything there."""
    turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def size_upright(picture: Image.Image) -> tuple[int, int]:
    """Width and height of `upright`."""
    width, height = picture.size
    return (height, width) if _orientation(picture) in (5, 6, 7, 8) else (width, height)


def _orientation(picture: Image.Image) -> int:
    """1 where there is none. A PNG is decoded to look for one behind its pixels, so only one before them counts."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    found = picture.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) else 1
