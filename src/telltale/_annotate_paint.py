"""Drawing on frames: boxes with their verdict, and a timeline that runs along.

painter = Painter(plan, width_px=1280, height_px=720)
rgb = painter.paint(rgb, time_s=3.2)        # draws into rgb, uint8 (720, 1280, 3); small ones come back higher

Colour never stands alone: each label has a shape too, the same as on the page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from telltale._annotate_ink import COLOURS, DARK, LEAST_TEXT_PX, SHIFT, glyph, text_mask, write
from telltale._annotate_plan import Box, Person, Plan
from telltale._annotate_strip import Strip
from telltale._text import percent
from telltale.types import RgbImage

_WIDEST_LABEL = 2.25
"""Of a box's width: a longer label would hide whoever is beside."""
_LEAST_WIDTH_PX = 100
"""Narrower frames have no timeline: there is no room for words."""


class Painter:
    """Draws one plan on frames of one size."""

    def __init__(self, plan: Plan, *, width_px: int, height_px: int, with_timeline: bool = True) -> None:
        self._plan = plan
        self._size = width_px, height_px
        self._line_px = max(2, round(min(width_px, height_px) / 300))
        self._text_px = int(np.clip(round(height_px / 26), LEAST_TEXT_PX, 44))
        has_strip = with_timeline and width_px >= _LEAST_WIDTH_PX
        self._strip = Strip(plan, width_px=width_px, height_px=height_px) if has_strip else None
        self._free = self._strip.leaves if self._strip else (0, height_px)
        """From where to where a label may stand."""
        self.height_px = max(height_px, self._strip.bottom) if self._strip else height_px
        """Of what `paint` gives back."""
        self._people = sorted(plan.people, key=lambda person: person.suspicion)

    def paint(self, rgb: RgbImage, time_s: float, *, shot_s: float = 0.0, scale: float = 1.0) -> RgbImage:
        """Draw into `rgb`, and give it back; a higher picture where the timeline lies below it. `shot_s`: when its shot
        began. `scale`: from the report's pixels to those of `rgb`."""
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
            rgb = np.pad(rgb, ((0, self.height_px - rgb.shape[0]), (0, 0), (0, 0))) if self._strip.is_below else rgb
            self._strip.paint(rgb, time_s)
        return rgb

    def _outline(self, rgb: RgbImage, person: Person, box: Box) -> None:
        corners = [(round(x * (1 << SHIFT)), round(y * (1 << SHIFT))) for x, y in (box[:2], box[2:])]
        for colour, width in ((DARK, self._line_px + 2), (COLOURS[_shape(person)], self._line_px)):
            cv2.rectangle(rgb, corners[0], corners[1], colour, width, cv2.LINE_AA, SHIFT)

    def _label(self, person: Person, box: Box, others: list[_Label]) -> _Label:
        """Above the box or below it, in full or in short: the first that covers no other label."""
        text_px = int(np.clip((box[2] - box[0]) / 6, LEAST_TEXT_PX, self._text_px))
        name, score = f"Person {person.id}", "" if person.p_fake is None else percent(person.p_fake)
        smaller_px = max(LEAST_TEXT_PX, round(0.75 * text_px))
        spelt_out = [(f"{name}  fake score {score}", size_px) for size_px in (text_px, smaller_px)] if score else []
        widest = self._size[0] if len(self._people) == 1 else _WIDEST_LABEL * (box[2] - box[0])
        short = [(f"{name}  {score}".strip(), text_px), (f"{person.id} {score}".strip(), text_px)]
        top, bottom = self._free
        options: list[_Label] = []
        for words, size_px in (*spelt_out, *short):
            label = _Label(_shape(person), text_mask(words, size_px), size_px)
            if (words, size_px) in spelt_out and label.width > widest:
                continue
            x = int(np.clip(round(box[0]), 0, max(0, self._size[0] - label.width)))
            above = round(box[1]) - label.height - self._line_px
            below = min(max(round(box[3]) + self._line_px, top), bottom - label.height)
            options += [replace(label, x=x, y=y) for y in (above, below) if y >= top or y == below]
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


def _shade(rgb: RgbImage, x: int, y: int, width: int, height: int) -> None:
    part = rgb[max(y, 0) : y + height, max(x, 0) : x + width]
    part[...] = (part.astype(np.uint16) * 60 // 255 + 12).astype(np.uint8)


def _scaled(box: Box, scale: float) -> Box:
    x0, y0, x1, y1 = (scale * value for value in box)
    return x0, y0, x1, y1
