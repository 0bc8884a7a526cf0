"""Drawing on frames: boxes with their verdict, and a timeline that runs along.

painter = Painter(plan, width_px=1280, height_px=720)
painter.paint(rgb, time_s=3.2)              # draws into rgb, uint8 (720, 1280, 3)

Colour never stands alone: each label has a shape too, the same as on the page.
"""

from __future__ import annotations

import functools
import itertools
import math
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from telltale._annotate_plan import Box, Person, Plan
from telltale._report_chart import ZoneScale
from telltale._text import clock, percent
from telltale.types import RgbImage

COLOURS = {"fake": (255, 116, 56), "real": (96, 176, 255), "uncertain": (248, 204, 70), "no_face": (200, 200, 200)}
_DARK = (16, 16, 18)
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "fake": [(0, -1), (1, 0.85), (-1, 0.85)],
    "uncertain": [(0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)],
}
_MAX_CURVES = 4
_WIDEST_LABEL = 2.25
"""Of a box's width: a longer label would hide whoever is beside."""
_LEAST_HEIGHT_PX = 120
"""Frames lower than this have no room for a timeline."""
_NO_GLYPH = "\ue123"
"""A code point for private use, which no font has: what a missing glyph looks like."""
_SHIFT = 4
"""Fractional bits of OpenCV's drawing: boxes glide instead of jumping from pixel to pixel."""


class Painter:
    """Draws one plan on frames of one size."""

    def __init__(self, plan: Plan, *, width_px: int, height_px: int, with_timeline: bool = True) -> None:
        self._plan = plan
        self._size = width_px, height_px
        self._line_px = max(2, round(min(width_px, height_px) / 300))
        self._text_px = int(np.clip(round(height_px / 26), 11, 44))
        self._strip = _Strip(plan, width_px, height_px) if with_timeline and height_px >= _LEAST_HEIGHT_PX else None
        self._people = sorted(plan.people, key=lambda person: person.suspicion)

    def paint(self, rgb: RgbImage, time_s: float, *, shot_s: float = 0.0, scale: float = 1.0) -> None:
        """Draw into `rgb`. `shot_s`: when its shot began. `scale`: from the report's pixels to those of `rgb`."""
        apart_s = self._plan.most_apart_s
        there = [(person, person.box_at(time_s, most_apart_s=apart_s, shot_s=shot_s)) for person in self._people]
        shown = [(person, _scaled(box, scale)) for person, box in there if box is not None]
        for person, box in shown:  # the most suspicious last, on top
            self._outline(rgb, person, box)
        labels: list[_Label] = []
        for person, box in reversed(shown):  # ... and the first to choose a place for the label
            labels.append(self._label(person, box, labels))
        for label in reversed(labels):
            _shade(rgb, label.x, label.y, label.width, label.height)
            glyph(rgb, label.shape, (label.x + label.pad + label.text_px / 2, label.y + label.height / 2),
                  label.text_px * 0.42)  # fmt: skip
            write(rgb, label.text, label.x + 2 * label.pad + label.text_px, label.y + label.pad)
        if self._strip is not None:
            self._strip.paint(rgb, time_s)

    def _outline(self, rgb: RgbImage, person: Person, box: Box) -> None:
        corners = [(round(x * (1 << _SHIFT)), round(y * (1 << _SHIFT))) for x, y in (box[:2], box[2:])]
        for colour, width in ((_DARK, self._line_px + 2), (COLOURS[_shape(person)], self._line_px)):
            cv2.rectangle(rgb, corners[0], corners[1], colour, width, cv2.LINE_AA, _SHIFT)

    def _label(self, person: Person, box: Box, others: list[_Label]) -> _Label:
        """Above the box or below it, in full or in short: the first that covers no other label."""
        text_px = int(np.clip((box[2] - box[0]) / 6, 11, self._text_px))
        score = "" if person.p_fake is None else percent(person.p_fake)
        options: list[_Label] = []
        name = f"Person {person.id}"
        spelt_out = [f"{name}  fake score {score}"] if score else []
        for words in (*spelt_out, f"{name}  {score}".strip(), f"{person.id} {score}".strip()):
            label = _Label(_shape(person), text_mask(words, text_px), text_px)
            if words in spelt_out and label.width > _WIDEST_LABEL * (box[2] - box[0]):
                continue
            x = int(np.clip(round(box[0]), 0, max(0, self._size[0] - label.width)))
            above = round(box[1]) - label.height - self._line_px
            below = min(round(box[3]) + self._line_px, self._size[1] - label.height)
            options += [replace(label, x=x, y=y) for y in (above, below) if y >= 0 or y == below]
        return next((one for one in options if not any(one.covers(other) for other in others)), options[-1])


@dataclass(frozen=True, slots=True)
class _Label:
    """Shape and words on a dark ground, its corner at x, y."""

    shape: str
    text: npt.NDArray[np.uint8]
    text_px: int
    x: int = 0
    y: int = 0

    @property
    def pad(self) -> int:
        return max(2, self.text_px // 3)

    @property
    def width(self) -> int:
        return int(self.text.shape[1]) + self.text_px + 3 * self.pad

    @property
    def height(self) -> int:
        return int(self.text.shape[0]) + 2 * self.pad

    def covers(self, other: _Label) -> bool:
        across = self.x < other.x + other.width and other.x < self.x + self.width
        return across and self.y < other.y + other.height and other.y < self.y + self.height


def _shape(person: Person) -> str:
    return "no_face" if person.p_fake is None else person.label


class _Strip:
    """The timeline along the lower edge: scores of the most suspicious people, played part bright."""

    def __init__(self, plan: Plan, width_px: int, height_px: int) -> None:
        self._plan = plan
        self._height = int(np.clip(round(height_px * 0.15), 44, 150))
        self._top = height_px - self._height
        self._text_px = int(np.clip(round(self._height * 0.21), 11, 26))
        self._pad = max(4, self._text_px // 2)
        self._plot = (self._pad, self._text_px + 2 * self._pad, width_px - self._pad, self._height - self._pad)
        played, ahead = self._drawn(width_px, bright=1.0), self._drawn(width_px, bright=0.45)
        self._layers = [_premultiplied(layer) for layer in (played, ahead)]

    def paint(self, rgb: RgbImage, time_s: float) -> None:
        x = round(self._x(time_s))
        strip = rgb[self._top : self._top + self._height]
        for (colour, rest), columns in zip(self._layers, (slice(0, x), slice(x, None)), strict=True):
            part = np.ascontiguousarray(strip[:, columns])
            if part.size:
                faded = cv2.multiply(part, np.ascontiguousarray(rest[:, columns]), scale=1 / 255)
                strip[:, columns] = cv2.add(faded, np.ascontiguousarray(colour[:, columns]))
        top, bottom = self._plot[1] - self._pad // 2, self._plot[3] + self._pad // 2
        cv2.line(rgb, (x, self._top + top), (x, self._top + bottom), (255, 255, 255), max(1, self._text_px // 9))
        now = text_mask(f"{clock(time_s)} / {clock(self._plan.end_s)}", self._text_px)
        write(rgb, now, rgb.shape[1] - self._pad - now.shape[1], self._top + self._pad)

    def _drawn(self, width_px: int, *, bright: float) -> npt.NDArray[np.uint8]:
        """uint8 (h, w, 4)."""
        layer = np.zeros((self._height, width_px, 4), np.uint8)
        layer[...] = (*_DARK, 190)
        left, top, right, bottom = self._plot
        scale = ZoneScale(self._plan.thresholds)
        for zone, low, high in scale.bands() if self._plan.thresholds else []:
            y0, y1 = round(bottom - high * (bottom - top)), round(bottom - low * (bottom - top))
            tint = [0.26 * c + 0.74 * d for c, d in zip(COLOURS.get(zone, _DARK), _DARK, strict=True)]
            layer[y0:y1, left:right] = (*(round(c) for c in tint), 200)
        judged = [person for person in self._plan.people if person.p_fake is not None]
        for person in sorted(judged, key=lambda one: one.suspicion)[-_MAX_CURVES:]:
            self._curve(layer, person, scale, bright)
        at = (self._pad + self._text_px / 2, self._pad + self._text_px / 2)
        glyph(layer, self._plan.label, at, self._text_px * 0.42)
        score = "" if self._plan.p_fake is None else f", fake score {percent(self._plan.p_fake)}"
        room = width_px - 2 * self._pad - round(8.5 * self._text_px)  # for the time
        for words in (f"{self._plan.headline}{score}  ·  not proof", f"{self._plan.headline}{score}", score.strip()):
            text = text_mask(words, self._text_px)
            if words and text.shape[1] + 2 * self._text_px <= room:
                write(layer, text, round(1.6 * self._text_px) + self._pad, self._pad)
                break
        return layer

    def _curve(self, layer: npt.NDArray[np.uint8], person: Person, scale: ZoneScale, bright: float) -> None:
        colour = tuple(round(bright * c + (1 - bright) * d) for c, d in zip(COLOURS[person.label], _DARK, strict=True))
        _, top, _, bottom = self._plot
        points = [
            (time_s, (round(self._x(time_s)), round(bottom - scale.fraction(p) * (bottom - top))))
            for time_s, p in zip(person.times, person.scores, strict=True)
            if p is not None
        ]
        width = max(1, self._text_px // 8)
        for (before_s, a), (after_s, b) in itertools.pairwise(points):
            if after_s - before_s <= self._plan.most_apart_s:
                cv2.line(layer, a, b, (*colour, 255), width, cv2.LINE_AA)
        for _, point in points:
            cv2.circle(layer, point, max(1, round(0.8 * width)), (*colour, 255), -1, cv2.LINE_AA)

    def _x(self, time_s: float) -> float:
        left, _, right, _ = self._plot
        share = min(max(time_s / self._plan.end_s, 0.0), 1.0) if self._plan.end_s > 0 else 0.5
        return left + share * (right - left)


def glyph(picture: npt.NDArray[np.uint8], label: str, centre: tuple[float, float], radius: float) -> None:
    """The shape of a label: triangle, diamond, disc, ring."""
    colour: Any = (*COLOURS.get(label, COLOURS["no_face"]), 255)[: picture.shape[2]]
    one = 1 << _SHIFT

    def fixed(x: float, y: float) -> tuple[int, int]:
        return round((centre[0] + radius * x) * one), round((centre[1] + radius * y) * one)

    if label in _CORNERS:
        corners = np.array([fixed(x, y) for x, y in _CORNERS[label]])
        cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA, _SHIFT)
    else:
        width = -1 if label == "real" else max(1, round(radius / 2.5))
        cv2.circle(picture, fixed(0, 0), round(0.9 * radius * one), colour, width, cv2.LINE_AA, _SHIFT)


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


def _shade(rgb: RgbImage, x: int, y: int, width: int, height: int) -> None:
    part = rgb[max(y, 0) : y + height, max(x, 0) : x + width]
    part[...] = (part.astype(np.uint16) * 60 // 255 + 12).astype(np.uint8)


def _scaled(box: Box, scale: float) -> Box:
    x0, y0, x1, y1 = (scale * value for value in box)
    return x0, y0, x1, y1


def _premultiplied(layer: npt.NDArray[np.uint8]) -> tuple[RgbImage, RgbImage]:
    """What is added, and by how much of 255 what lies below is kept; both (h, w, 3)."""
    alpha = layer[..., 3:].astype(np.uint16)
    colour = (layer[..., :3] * alpha // 255).astype(np.uint8)
    return colour, np.repeat((255 - alpha).astype(np.uint8), 3, axis=2)
