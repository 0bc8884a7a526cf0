"""What annotated pictures are drawn with: colours, the shape of each label, and letters.

>>> drawable("Zoë")
'Zoe'
"""

from __future__ import annotations

import functools
import math
import unicodedata
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

COLOURS = {"fake": (255, 116, 56), "real": (96, 176, 255), "uncertain": (248, 204, 70), "no_face": (200, 200, 200)}
DARK = (16, 16, 18)
LEAST_TEXT_PX = 11
SHIFT = 4
"""Fractional bits of OpenCV's drawing: boxes glide instead of jumping from pixel to pixel."""
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "fake": [(0, -1), (1, 0.85), (-1, 0.85)],
    "uncertain": [(0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)],
}
_NO_GLYPH = "\ue123"
"""A code point for private use, which no font has: what a missing glyph looks like."""


def glyph(picture: npt.NDArray[np.uint8], label: str, centre: tuple[float, float], radius: float) -> None:
    """The shape of a label: triangle, diamond, disc, ring."""
    colour: Any = (*COLOURS.get(label, COLOURS["no_face"]), 255)[: picture.shape[2]]
    one = 1 << SHIFT

    def fixed(x: float, y: float) -> tuple[int, int]:
        return round((centre[0] + radius * x) * one), round((centre[1] + radius * y) * one)

    if label in _CORNERS:
        corners = np.array([fixed(x, y) for x, y in _CORNERS[label]])
        cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA, SHIFT)
    else:
        width = -1 if label == "real" else max(1, round(radius / 2.5))
        cv2.circle(picture, fixed(0, 0), round(0.9 * radius * one), colour, width, cv2.LINE_AA, SHIFT)


def write(picture: npt.NDArray[np.uint8], text: npt.NDArray[np.uint8], x: int, y: int) -> None:
    """Put a `text_mask` in white, its corner at x, y; what lies outside is cut."""
    height, width = picture.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + text.shape[1], width), min(y + text.shape[0], height)
    if x1 <= x0 or y1 <= y0:
        return
    alpha = text[y0 - y : y1 - y, x0 - x : x1 - x, None].astype(np.uint16)
    part = picture[y0:y1, x0:x1]
    part[...] = ((part * (255 - alpha) + 255 * alpha) // 255).astype(np.uint8)


@functools.lru_cache(maxsize=512)
def text_mask(words: str, size_px: int) -> npt.NDArray[np.uint8]:
    """uint8 (h, w): how much of each pixel is ink. All masks of one size are equally high."""
    from PIL import Image, ImageDraw

    font = _font(size_px)
    # Word by word: kerning swallows the spaces of small letters, and the font has no U+00A0.
    gap_px = max(2, round(0.28 * size_px))
    places, x = [], 0
    for word in words.split(" "):
        places.append((x, word))
        x += math.ceil(font.getlength(word)) + gap_px
    mask = Image.new("L", (max(1, x - gap_px), round(1.15 * size_px)))
    for x, word in places:
        ImageDraw.Draw(mask).text((x, 0.95 * size_px), word, fill=255, font=font, anchor="ls")
    return np.asarray(mask)


def drawable(text: str) -> str:
    """`text` in letters that the font has: without accents where it lacks them, other letters as escapes.

    >>> drawable("Zoë – Łódź")
    'Zoe - \\\\u0141odz'
    """
    return "".join(_drawable(char) for char in unicodedata.normalize("NFC", text))


@functools.lru_cache(maxsize=512)
def _drawable(char: str) -> str:
    if has_glyph(char):
        return char
    if unicodedata.category(char) == "Pd":  # dashes of all lengths
        return "-"
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return bare if bare and all(has_glyph(part) for part in bare) else ascii(char)[1:-1]


def has_glyph(char: str) -> bool:
    """Whether the font draws it as anything but the crossed box of what it lacks."""
    font = _font(32)
    return char.isprintable() and bytes(font.getmask(char)) != bytes(font.getmask(_NO_GLYPH))


@functools.cache
def _font(size_px: int) -> Any:
    """The font that comes with Pillow."""
    from PIL import ImageFont

    return ImageFont.load_default(size_px)
