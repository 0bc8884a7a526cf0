"""Still and animated pictures, read with Pillow as the frames of a video: JPEG, PNG, WebP, GIF and BMP.

    with open_picture(source, plan, limits) as reader: ...    # see telltale.video.open_video

Orientation from EXIF is applied; transparent parts become white; the number of pixels is checked before
any is decoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from telltale._source import Source, printable
from telltale.errors import CorruptFile, TooManyPixels
from telltale.types import Code, RgbImage

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_DEFAULT_FRAME_S = 0.1
"""What browsers show a GIF frame for when it asks for 0 or 10 ms."""


class Picture:
    """One picture file. `width_px` and `height_px` are as displayed."""

    def __init__(self, source: Source, *, max_pixels: int) -> None:
        from PIL import Image, UnidentifiedImageError

        self._name = printable(source.path)
        self._file = open(source.readable, "rb")  # noqa: SIM115, PTH123 - closed in close()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._image = Image.open(self._file, formats=FORMATS)
        except Image.DecompressionBombError:
            self._file.close()
            raise TooManyPixels(f"{self._name} has far more than {max_pixels / 1e6:.0f} million pixels") from None
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, IndexError, KeyError) as error:
            self._file.close()
            raise CorruptFile(f"{self._name} begins like a {source.kind} but is damaged ({error})") from None
        width, height = self._image.size
        if width * height > max_pixels:
            self.close()
            raise TooManyPixels(
                f"{self._name} is {width}x{height}, more than {max_pixels / 1e6:.0f} million pixels; make it smaller"
            )
        self.format = self._image.format or "unknown"
        is_turned = self._image.getexif().get(0x0112, 1) >= 5
        self.width_px, self.height_px = (height, width) if is_turned else (width, height)
        n_frames = getattr(self._image, "n_frames", 1)
        self.n_frames = 1 if self.format == "MPO" else int(n_frames)
        self.codes: set[Code] = set()

    def times_s(self) -> Iterator[float]:
        """When each frame is shown."""
        time_s = 0.0
        for index in range(self.n_frames):
            self._image.seek(index)
            yield time_s
            shown_s = self._image.info.get("duration", 0) / 1000
            time_s += shown_s if shown_s > 0.01 else _DEFAULT_FRAME_S

    def rgb(self, index: int) -> RgbImage:
        """uint8 (H, W, 3)."""
        from PIL import ImageOps

        try:
            self._image.seek(index)
            image = ImageOps.exif_transpose(self._image)
            return self._to_rgb(image)
        except (OSError, ValueError, SyntaxError, IndexError, KeyError, EOFError) as error:
            raise CorruptFile(
                f"{self._name} is damaged or cut off ({error}); copy it again from where it came"
            ) from None

    def _to_rgb(self, image: PilImage) -> RgbImage:
        if image.mode.startswith("I;16") or image.mode == "I":
            grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        if image.has_transparency_data:
            self.codes.add(Code.ALPHA_COMPOSITED)
            from telltale._rgb import composite

            return composite(np.asarray(image.convert("RGBA")))
        return np.array(image.convert("RGB"))

    def close(self) -> None:
        self._image.close()
        self._file.close()


__all__ = ["FORMATS", "Picture"]
