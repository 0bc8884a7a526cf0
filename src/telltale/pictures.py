"""Still and animated pictures, read with Pillow: JPEG, PNG, WebP, GIF, BMP, and AVIF where Pillow has its decoder.

Orientation from EXIF is applied, transparent parts become white, and the number of pixels is checked before
any is decoded. Colour profiles are not applied.

    with PictureReader(source, SamplePlan(), limits=DecodeLimits()) as reader:
        for frame in reader: ...
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from telltale._container import DecodeLimits
from telltale._reader import Finding, VideoReader, converted, left_out
from telltale._rgb import Converter, composite, is_opaque
from telltale._source import PICTURE_FORMATS, FileHash, Source
from telltale._stored_picture import size_upright, upright
from telltale.errors import CorruptFile, OutOfMemory, TooManyPixels, UnsupportedCodec
from telltale.sampling import SamplePlan, choose
from telltale.types import Code, Float64Array, Frame, RgbImage, VideoInfo

_FRAME_S = 0.1
"""What browsers show a GIF frame for when it asks for 10 ms or less."""
DAMAGE = (
    UnidentifiedImageError, OSError, ValueError, SyntaxError, IndexError, KeyError, EOFError, OverflowError,
    struct.error, RuntimeError, Image.DecompressionBombError,
)  # fmt: skip
"""What comes out of Pillow on damaged files: `RuntimeError` from AVIF, the last also from a later frame that is larger
than the first."""


class Picture:
    """One picture file, decoded frame by frame."""

    def __init__(self, source: Source, *, max_pixels: int) -> None:
        self._source = source
        self._most = f"{max_pixels / 1e6:g} million pixels"
        if source.kind == "an AVIF picture" and not features.check("avif"):
            raise UnsupportedCodec(f"{source.name} is an AVIF picture, which this Pillow cannot read; save it as JPEG")
        self._file = source.file()  # closed in close()
        try:
            self._image = self._open(max_pixels)
            self.n_frames = 1 if self.format == "mpo" else int(getattr(self._image, "n_frames", 1))
            self.width_px, self.height_px = size_upright(self._image)
        except DAMAGE as error:
            self._file.close()
            raise self._damaged(error) from None
        except BaseException:
            self._file.close()
            raise
        self.codes: set[Code] = set()

    def _open(self, max_pixels: int) -> Image.Image:
        too_many = f"has more than {self._most}; make it smaller"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of decompression bombs: the limit below is stricter
                image = Image.open(self._file, formats=PICTURE_FORMATS)
        except Image.DecompressionBombError:
            raise TooManyPixels(f"{self._source.name} {too_many}") from None
        if image.width * image.height > max_pixels:
            raise TooManyPixels(f"{self._source.name} is {image.width}x{image.height} and {too_many}")
        return image

    @property
    def format(self) -> str:
        """In small letters: jpeg, png .."""
        return (self._image.format or "unknown").lower()

    def times_s(self) -> Float64Array:
        """float64 (n_frames,): when each frame is shown."""
        shown_s = []
        try:
            for index in range(self.n_frames - 1):
                self._image.seek(index)
                if self.format not in ("gif", "png"):  # the others tell a frame's time when they have decoded it, and
                    self._image.load()  # a PNG of which a later frame was decoded does not go back to its first
                asked_s = float(self._image.info.get("duration", 0)) / 1000
                shown_s.append(asked_s if asked_s > 0.01 else _FRAME_S)
        except DAMAGE as error:
            raise self._damaged(error) from None
        return np.concatenate([[0.0], np.cumsum(shown_s)])

    def rgb(self, index: int) -> RgbImage:
        """uint8 (H, W, 3). Raises `CorruptFile` where the picture is damaged or cut off, `OutOfMemory`."""
        try:
            self._image.seek(index)
            return self._to_rgb(upright(self._image))
        except MemoryError:
            raise OutOfMemory(f"{self._source.name} asks for more memory than it may have; make it smaller") from None
        except DAMAGE as error:
            raise self._damaged(error) from None

    def _to_rgb(self, image: Image.Image) -> RgbImage:
        if image.mode.startswith("I"):  # 16 bits; Pillow would clip at 255
            grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        if image.has_transparency_data:
            rgba = np.asarray(image.convert("RGBA"))
            if not is_opaque(rgba):
                self.codes.add(Code.ALPHA_COMPOSITED)
                return composite(rgba)
        return np.array(image.convert("RGB"))

    def _damaged(self, error: Exception) -> CorruptFile | TooManyPixels:
        if isinstance(error, Image.DecompressionBombError):
            return TooManyPixels(f"{self._source.name} has more than {self._most}; make it smaller")
        reason = str(error).replace(repr(self._file), "the file")
        kind = self._source.kind
        return CorruptFile(f"{self._source.name} is {kind} that is damaged or cut off ({reason}); copy it again")

    def close(self) -> None:
        self._image.close()
        self._file.close()


class PictureReader(VideoReader):
    """A picture as a video of one frame, or of several when it is animated."""

    def __init__(self, source: Source, plan: SamplePlan, *, limits: DecodeLimits) -> None:
        self._picture = picture = Picture(source, max_pixels=limits.max_pixels)
        self._times_s = picture.times_s()
        self._plan, self._choice = plan, choose(self._times_s, plan)
        self._converter = Converter(max_side_px=plan.max_side_px)
        info = VideoInfo(
            path=source.path,
            sha256="",
            size_bytes=source.size_bytes,
            container=picture.format,
            codec=picture.format,
            width_px=picture.width_px,
            height_px=picture.height_px,
            rotation_deg=0,
            duration_s=None,
            fps_header=None,
            n_frames_header=picture.n_frames,
            stream_index=0,
            is_image=True,
        )
        super().__init__(source, info, FileHash(source.file()))

    @property
    def sampled_s(self) -> Float64Array:
        return self._times_s[self._choice.indices]

    def __iter__(self) -> Iterator[Frame]:
        for index in self._choice.indices.tolist():
            displayed = self._picture.rgb(index)
            rgb = self._converter.shrunk(displayed)
            self.n_decoded += 1
            yield Frame(index, float(self._times_s[index]), rgb, max(rgb.shape[:2]) / max(displayed.shape[:2]))
        self._is_finished = True

    def findings(self) -> list[Finding]:
        skipped = left_out(self._choice, self._plan, self._times_s, None)
        return skipped + converted(self._picture.codes)

    def close(self) -> None:
        self._picture.close()
        super().close()


__all__ = ["DAMAGE", "Picture", "PictureReader"]
