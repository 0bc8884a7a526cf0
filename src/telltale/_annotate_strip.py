"""The timeline of an annotated clip: scores of the most suspicious people, played part bright, and the verdict.

strip = Strip(plan, width_px=1280, height_px=720)
strip.paint(rgb, time_s=3.2)

It lies along the edge that faces keep clear, on at most `STRIP_SHARE` of the picture; below the picture where so little
has no room for the words.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from telltale._annotate_ink import COLOURS, DARK, LEAST_TEXT_PX, glyph, text_mask, write
from telltale._annotate_plan import STRIP_SHARE, Person, Plan
from telltale._report_chart import ZoneScale
from telltale._text import clock, percent
from telltale.types import RgbImage

_MOST_PX, _LEAST_PX = 150, 36
_MOST_TEXT_PX = 26
_MAX_CURVES = 4


@dataclass(frozen=True, slots=True)
class _Head:
    """The verdict in rows, and the time at the end of the last of them."""

    rows: tuple[str, ...]
    text_px: int
    with_end: bool
    """Whether the time says how long the clip is."""

    @property
    def line_px(self) -> int:
        return round(1.3 * self.text_px)

    def time(self, time_s: float, end_s: float) -> npt.NDArray[np.uint8]:
        return text_mask(clock(time_s) + (f" / {clock(end_s)}" if self.with_end else ""), self.text_px)


class Strip:
    """The timeline of one plan on frames of one size."""

    def __init__(self, plan: Plan, *, width_px: int, height_px: int) -> None:
        self._plan = plan
        self._width = width_px
        height = min(int(STRIP_SHARE * height_px), _MOST_PX)
        head = self._in_a_row(height) if height >= _LEAST_PX else None
        self.is_below = head is None
        self._head = head or self._in_rows(min(width_px, height_px))
        text_px = self._head.text_px
        above = (len(self._head.rows) - 1) * self._head.line_px + text_px
        if self.is_below:
            height = above + 2 * text_px + 3 * (text_px // 2)
            height += height % 2
        self._pad = max(3, min(text_px // 2, (height - above - text_px) // 4))
        self._height = height
        self._top = height_px if self.is_below else 0 if plan.strip_on_top else height_px - height
        self.bottom = self._top + height
        self.leaves = (0, self._top) if self._top else (height, height_px)
        """From where to where it covers nothing of the picture."""
        self._plot = (self._pad, above + 2 * self._pad, width_px - self._pad, height - self._pad)
        played, ahead = self._drawn(bright=1.0), self._drawn(bright=0.45)
        self._layers = [_premultiplied(layer) for layer in (played, ahead)]

    def _in_a_row(self, height: int) -> _Head | None:
        """The largest letters with which all fits; the length of the clip and then the score are left out at last."""
        most_px = int(np.clip(round(height * 0.21), LEAST_TEXT_PX, _MOST_TEXT_PX))
        for words, with_end in itertools.product((self._words(), self._words(with_score=False)), (True, False)):
            for text_px in range(most_px, LEAST_TEXT_PX - 1, -1):
                head = _Head((words,), text_px, with_end)
                if self._is_room(head, words, with_time=True):
                    return head
        return None

    def _in_rows(self, side_px: int) -> _Head:
        """As many rows as the words take; none ends after the "fake" of "fake score"."""
        head = _Head((), int(np.clip(round(side_px / 15), LEAST_TEXT_PX, _MOST_TEXT_PX)), with_end=True)
        first, *words = self._words().replace("fake score ", "fake_score_").split(" ")
        rows = [first]
        for word in words:
            longer = f"{rows[-1]} {word}"
            if self._is_room(head, longer, with_time=False):
                rows[-1] = longer
            else:
                rows.append(word)
        if not self._is_room(head, rows[-1], with_time=True):
            rows.append("")
        return _Head(tuple(row.replace("_", " ") for row in rows), head.text_px, with_end=True)

    def _is_room(self, head: _Head, words: str, *, with_time: bool) -> bool:
        time_px = int(head.time(self._plan.end_s, self._plan.end_s).shape[1]) + head.text_px if with_time else 0
        around_px = round(2.6 * head.text_px)  # the glyph, and both sides
        return int(text_mask(words, head.text_px).shape[1]) + time_px + around_px <= self._width

    def _words(self, *, with_score: bool = True) -> str:
        p_fake = self._plan.p_fake if with_score else None
        score = "" if p_fake is None else f", fake score {percent(p_fake)}"
        return f"{self._plan.headline}{score}  ·  not proof"

    def paint(self, rgb: RgbImage, time_s: float) -> None:
        """Draw into `rgb`, which reaches down to `bottom`."""
        x = round(self._x(time_s))
        strip = rgb[self._top : self.bottom]
        for (colour, rest), columns in zip(self._layers, (slice(0, x), slice(x, None)), strict=True):
            part = np.ascontiguousarray(strip[:, columns])
            if part.size:
                faded = cv2.multiply(part, np.ascontiguousarray(rest[:, columns]), scale=1 / 255)
                strip[:, columns] = cv2.add(faded, np.ascontiguousarray(colour[:, columns]))
        text_px, (_, top, _, bottom) = self._head.text_px, self._plot
        high, low = (x, self._top + top - self._pad // 2), (x, self._top + bottom + self._pad // 2)
        cv2.line(rgb, high, low, (255, 255, 255), max(1, text_px // 9))
        now = self._head.time(time_s, self._plan.end_s)
        write(rgb, now, self._width - self._pad - now.shape[1], self._top + self._row_px(len(self._head.rows) - 1))

    def _row_px(self, row: int) -> int:
        return self._pad + row * self._head.line_px

    def _drawn(self, *, bright: float) -> npt.NDArray[np.uint8]:
        """uint8 (h, w, 4)."""
        layer = np.zeros((self._height, self._width, 4), np.uint8)
        layer[...] = (*DARK, 255 if self.is_below else 190)
        left, top, right, bottom = self._plot
        scale = ZoneScale(self._plan.thresholds)
        for zone, low, high in scale.bands() if self._plan.thresholds else []:
            y0, y1 = round(bottom - high * (bottom - top)), round(bottom - low * (bottom - top))
            tint = [0.26 * c + 0.74 * d for c, d in zip(COLOURS.get(zone, DARK), DARK, strict=True)]
            layer[y0:y1, left:right] = (*(round(c) for c in tint), 255 if self.is_below else 200)
        judged = [person for person in self._plan.people if person.p_fake is not None]
        for person in sorted(judged, key=lambda one: one.suspicion)[-_MAX_CURVES:]:
            self._curve(layer, person, scale, bright)
        text_px = self._head.text_px
        glyph(layer, self._plan.label, (self._pad + text_px / 2, self._pad + text_px / 2), text_px * 0.42)
        for row, words in enumerate(self._head.rows):
            write(layer, text_mask(words, text_px), self._pad + round(1.6 * text_px), self._row_px(row))
        return layer

    def _curve(self, layer: npt.NDArray[np.uint8], person: Person, scale: ZoneScale, bright: float) -> None:
        colour = tuple(round(bright * c + (1 - bright) * d) for c, d in zip(COLOURS[person.label], DARK, strict=True))
        _, top, _, bottom = self._plot
        points = [
            (time_s, (round(self._x(time_s)), round(bottom - scale.fraction(p) * (bottom - top))))
            for time_s, p in zip(person.times, person.scores, strict=True)
            if p is not None
        ]
        width = max(1, self._head.text_px // 8)
        for (before_s, a), (after_s, b) in itertools.pairwise(points):
            if after_s - before_s <= self._plan.most_apart_s:
                cv2.line(layer, a, b, (*colour, 255), width, cv2.LINE_AA)
        for _, point in points:
            cv2.circle(layer, point, max(1, round(0.8 * width)), (*colour, 255), -1, cv2.LINE_AA)

    def _x(self, time_s: float) -> float:
        left, _, right, _ = self._plot
        share = min(max(time_s / self._plan.end_s, 0.0), 1.0) if self._plan.end_s > 0 else 0.5
        return left + share * (right - left)


def _premultiplied(layer: npt.NDArray[np.uint8]) -> tuple[RgbImage, RgbImage]:
    """What is added, and by how much of 255 what lies below is kept; both (h, w, 3)."""
    alpha = layer[..., 3:].astype(np.uint16)
    colour = (layer[..., :3] * alpha // 255).astype(np.uint8)
    return colour, np.repeat((255 - alpha).astype(np.uint8), 3, axis=2)
