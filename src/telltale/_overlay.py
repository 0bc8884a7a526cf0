"""What people lay over a video: captions, watermarks, stickers. Drawn at random for `augment`.

lay = overlay(224, np.random.default_rng(0))
lay(picture)                    # uint8 (224, 224, 3) -> the same
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Picture = npt.NDArray[np.uint8]

_LETTERS = tuple(string.ascii_letters + string.digits + "!?.,:'&%@#-")
_FONT_FRAC, _STICKER_FRAC = (0.045, 0.17), (0.08, 0.38)
"""Of the picture's side: height of the letters, a sticker's longer side."""


def overlay(size_px: int, rng: np.random.Generator) -> Callable[[Picture], Picture]:
    """Draws one layer for pictures of `size_px`: lines of text (three of four), one to three stickers, or both."""
    from PIL import Image, ImageDraw

    layer = Image.new("RGBA", (size_px, size_px))
    draw = ImageDraw.Draw(layer)
    has_text = rng.random() < 0.75
    if not has_text or rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 4))):
            _sticker(draw, size_px, rng)
    if has_text:
        _text(draw, size_px, rng)
    if rng.random() < 0.2:
        layer = layer.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BICUBIC)
    drawn = np.asarray(layer)
    share = drawn[..., 3:].astype(np.float32) / 255
    added = drawn[..., :3] * share

    def step(picture: Picture) -> Picture:
        return (picture * (1 - share) + added + 0.5).astype(np.uint8)

    return step


def _text(draw: ImageDraw, size_px: int, rng: np.random.Generator) -> None:
    from PIL import ImageFont

    font_px = max(6.0, float(np.exp(rng.uniform(*np.log(_FONT_FRAC)))) * size_px)
    font = ImageFont.load_default(font_px)
    text = "\n".join(_words(rng) for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))))
    box = draw.multiline_textbbox((0, 0), text, font=font)
    # centred or cut off by the face crop's edge, as captions wider than a face are
    at = (
        size_px * rng.uniform(0.1, 0.9) - (box[2] - box[0]) * rng.uniform(0.3, 0.7),
        size_px * rng.uniform(0.02, 0.98) - (box[3] - box[1]) / 2,
    )
    fill, behind, how = _ink(rng), _ink(rng), rng.random()
    if how < 0.3:
        pad = font_px * rng.uniform(0.1, 0.5)
        bar = (at[0] + box[0] - pad, at[1] + box[1] - pad, at[0] + box[2] + pad, at[1] + box[3] + pad)
        alpha = 255 if rng.random() < 0.5 else int(rng.integers(90, 255))
        draw.rectangle(bar, (*behind, alpha))
    stroke = max(1, round(font_px * rng.uniform(0.03, 0.12))) if how > 0.6 else 0
    alpha = 255 if rng.random() < 0.7 else int(rng.integers(90, 255))  # see-through: a watermark
    align = str(rng.choice(["left", "center"]))
    draw.multiline_text(at, text, (*fill, alpha), font, align=align, stroke_width=stroke, stroke_fill=(*behind, alpha))


def _words(rng: np.random.Generator) -> str:
    words = ["".join(rng.choice(_LETTERS, int(rng.integers(2, 10)))) for _ in range(int(rng.integers(1, 6)))]
    line = " ".join(words)
    return (line, line.upper(), line.lower())[int(rng.integers(3))]


def _ink(rng: np.random.Generator) -> tuple[int, int, int]:
    kind = rng.random()
    if kind < 0.4:
        return (255, 255, 255)
    if kind < 0.6:
        return (0, 0, 0)
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _sticker(draw: ImageDraw, size_px: int, rng: np.random.Generator) -> None:
    width = size_px * float(np.exp(rng.uniform(*np.log(_STICKER_FRAC))))
    height = width * float(np.exp(rng.uniform(-0.5, 0.0)))
    x, y = rng.uniform(-0.05, 0.95, 2) * size_px
    box = (x, y, x + width, y + height)
    alpha = 255 if rng.random() < 0.7 else int(rng.integers(100, 255))
    fill, line = (*_ink(rng), alpha), (*_ink(rng), alpha)
    line_px = int(rng.integers(0, max(2, round(size_px / 50))))
    match int(rng.integers(4)):
        case 0:
            draw.ellipse(box, fill, line, line_px)
        case 1:
            draw.rounded_rectangle(box, float(rng.uniform(0, 0.4)) * height, fill, line, line_px)
        case 2:
            corners = rng.uniform(0, 1, (int(rng.integers(3, 9)), 2)) * (width, height) + (x, y)
            draw.polygon([(float(a), float(b)) for a, b in corners], fill, line, line_px)
        case _:  # a smiling face
            draw.ellipse(box, fill, line, line_px)
            for eye in (0.3, 0.7):
                at, half = (x + eye * width, y + 0.38 * height), 0.07 * width
                draw.ellipse((at[0] - half, at[1] - half, at[0] + half, at[1] + half), line)
            mouth = (x + 0.25 * width, y + 0.35 * height, x + 0.75 * width, y + 0.8 * height)
            draw.arc(mouth, 15, 165, line, max(1, round(width / 15)))
