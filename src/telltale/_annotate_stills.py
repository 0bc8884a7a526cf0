"""The small pictures of an annotated clip, gathered in the same pass: a GIF of the telling seconds, a contact sheet."""

from __future__ import annotations

import bisect
import io
import itertools
import math

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from telltale._annotate_ink import LEAST_TEXT_PX, drawable, glyph, text_mask, write
from telltale._annotate_paint import Painter
from telltale._annotate_plan import Plan
from telltale._png import png
from telltale._report_chart import ZoneScale
from telltale._text import clock, percent
from telltale.types import RgbImage

Made = tuple[bytes, int, int]
"""Encoded, width, height."""
_PAPER = 24
_LATE_S = 0.001
_LEAST_BAND_PX = 420
"""A picture narrower than this gets a band wider than itself."""


class Gif:
    """Annotated frames of the telling seconds, small."""

    def __init__(self, plan: Plan, *, side_px: int, step_s: float) -> None:
        self._plan = plan
        self._side_px = side_px
        self._step_s = step_s
        self._frames: list[tuple[float, RgbImage]] = []
        self._painter: Painter | None = None
        self._shape: tuple[int, ...] | None = None

    def see(self, rgb: RgbImage, time_s: float, *, shot_s: float) -> None:
        """A frame before it is drawn on."""
        span = self._plan.telling_s
        due_s = self._frames[-1][0] + self._step_s - _LATE_S if self._frames else -math.inf
        if span is None or not span[0] - _LATE_S <= time_s <= span[1] or time_s < due_s:
            return
        small, factor = _shrunk(rgb, self._side_px)
        if self._shape not in (None, small.shape):
            return
        if self._painter is None:
            self._painter = Painter(self._plan, width_px=small.shape[1], height_px=small.shape[0])
            self._shape = small.shape
        self._frames.append((time_s, self._painter.paint(small, time_s, shot_s=shot_s, scale=factor)))

    def encoded(self) -> Made | None:
        """None where there are no such seconds."""
        if len(self._frames) < 2:
            return None
        times = [time_s for time_s, _ in self._frames]
        lasts_ms = [round(100 * (b - a)) * 10 for a, b in itertools.pairwise(times)]
        images = [Image.fromarray(rgb) for _, rgb in self._frames]
        palette = _palette(images)
        drawn = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        buffer = io.BytesIO()
        drawn[0].save(
            buffer, "GIF", save_all=True, append_images=drawn[1:], duration=[*lasts_ms, 600], loop=0, optimize=False
        )
        return buffer.getvalue(), images[0].width, images[0].height


def _palette(images: list[Image.Image]) -> Image.Image:
    """One palette for all frames: colours that change from frame to frame flicker."""
    some = images[:: max(1, len(images) // 6)]
    width, height = some[0].size
    together = Image.new("RGB", (width, height * len(some)))
    for i, image in enumerate(some):
        together.paste(image, (0, i * height))
    return together.quantize(colors=256, method=Image.Quantize.MEDIANCUT)


class Sheet:
    """Frames of the clip in rows, each with its time and the highest score in it."""

    def __init__(self, plan: Plan, *, tile_px: int, n_columns: int) -> None:
        self._plan = plan
        self._tile_px = tile_px
        self._n_columns = n_columns
        self._due_s = sorted(plan.tiles_s)
        self._tiles: list[tuple[float, RgbImage]] = []

    def see(self, rgb: RgbImage, time_s: float, *, shot_s: float) -> None:
        """A frame before it is drawn on; the first at or after each due time is kept."""
        n_due = bisect.bisect_right(self._due_s, time_s + _LATE_S)
        if n_due <= len(self._tiles):
            return
        small, factor = _shrunk(rgb, self._tile_px)
        painter = Painter(self._plan, width_px=small.shape[1], height_px=small.shape[0], with_timeline=False)
        painter.paint(small, time_s, shot_s=shot_s, scale=factor)
        self._due_s = self._due_s[: len(self._tiles)] + self._due_s[n_due - 1 :]
        self._tiles.append((time_s, small))

    def encoded(self) -> Made | None:
        if not self._tiles:
            return None
        page = self._page()
        return png(page, optimize=True), page.shape[1], page.shape[0]

    def _page(self) -> RgbImage:
        gap, text_px, line_px = 12, 15, 24
        wide = self._tile_px
        high = max(rgb.shape[0] for _, rgb in self._tiles)
        n_columns = min(self._n_columns, max(len(self._tiles), 2))
        n_rows = math.ceil(len(self._tiles) / n_columns)
        width = n_columns * (wide + gap) + gap
        head = 2 * gap + 34 + line_px
        height = head + n_rows * (high + line_px + gap) + line_px + gap
        page = np.full((height, width, 3), _PAPER, np.uint8)
        first, *lines = self._plan.caption
        glyph(page, self._plan.label, (gap + 13, gap + 17), 12)
        write(page, _fitting(first, 26, width - 2 * gap - 34), gap + 34, gap + 4)
        write(page, _fitting(drawable(lines[0]), text_px, width - 2 * gap), gap, gap + 40)
        for i, (time_s, rgb) in enumerate(self._tiles):
            row, column = divmod(i, n_columns)
            x, y = gap + column * (wide + gap), head + row * (high + line_px + gap)
            page[y : y + rgb.shape[0], x + (wide - rgb.shape[1]) // 2 :][:, : rgb.shape[1]] = rgb
            self._caption(page, time_s, x, y + high + 4, text_px)
        write(page, _fitting(drawable(lines[-1]), text_px, width - 2 * gap), gap, height - gap - line_px + 4)
        return page

    def _caption(self, page: RgbImage, time_s: float, x: int, y: int, text_px: int) -> None:
        """The time, and the person whose face scores highest there."""
        write(page, text_mask(clock(time_s), text_px), x, y)
        found = [
            (score, person)
            for person in self._plan.people
            for at_s, score in zip(person.times, person.scores, strict=True)
            if score is not None and abs(at_s - time_s) <= self._plan.most_apart_s / 5
        ]
        if found:
            score, person = max(found, key=lambda one: one[0])
            text = text_mask(f"{percent(score)}", text_px)
            left = x + self._tile_px - text.shape[1]
            write(page, text, left, y)
            zone = ZoneScale(self._plan.thresholds).zone(score) if self._plan.thresholds else person.label
            glyph(page, zone, (left - text_px * 0.8, y + text_px * 0.6), text_px * 0.4)


def with_caption(rgb: RgbImage, plan: Plan) -> RgbImage:
    """A picture above a band that says what was found, in what, and that it is no proof."""
    height, width = rgb.shape[:2]
    wide = max(width, _LEAST_BAND_PX)
    text_px = int(np.clip(round(wide / 45), 12, 48))
    first, *lines = plan.caption
    head_px = round(1.7 * text_px)
    while text_mask(first, head_px).shape[1] > wide - round(3.5 * text_px) and head_px > LEAST_TEXT_PX:
        head_px -= 1
    line_px = round(1.5 * text_px)
    band = round(1.6 * head_px) + len(lines) * line_px + 2 * text_px
    page = np.full((height + band, wide, 3), _PAPER, np.uint8)
    page[:height, (wide - width) // 2 :][:, :width] = rgb
    y = height + text_px
    glyph(page, plan.label, (text_px + head_px / 2, y + head_px * 0.6), head_px * 0.42)
    write(page, text_mask(first, head_px), text_px + round(1.4 * head_px), y)
    for row, line in enumerate(lines):
        text = _fitting(drawable(line), text_px, wide - 2 * text_px)
        write(page, text, text_px, y + round(1.6 * head_px) + row * line_px)
    return page


def _shrunk(rgb: RgbImage, side_px: int) -> tuple[RgbImage, float]:
    """A copy whose longer side is at most `side_px`, and by how much it shrank."""
    height, width = rgb.shape[:2]
    factor = min(1.0, side_px / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = rgb.copy() if factor == 1.0 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), factor


def _fitting(text: str, size_px: int, room_px: int) -> npt.NDArray[np.uint8]:
    mask = text_mask(text, size_px)
    while mask.shape[1] > room_px and len(text) > 8:
        text = text[: len(text) // 2 - 2] + "…" + text[len(text) // 2 + 2 :]
        mask = text_mask(text, size_px)
    return mask
