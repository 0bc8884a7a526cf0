"""From a decoded frame to RGB as a player shows it: colours, HDR, transparency, interlacing, pixel shape, rotation.

Only frames that were sampled come here.

>>> composite(np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)).tolist()
[[[10, 20, 30], [255, 255, 255]]]
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter

from telltale._hdr import HLG, PQ, STRIP_ROWS, tone_map
from telltale.types import Code, Int32Array, RgbImage

_BACKGROUND = 255
"""Transparent parts become white, as on a web page."""
_BT709, _FCC, _BT601, _SMPTE240M, _BT2020 = 1, 4, 5, 7, 9
_SWS_MATRIX = {1: _BT709, 4: _FCC, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}
"""AVColorSpace (H.273) to swscale's own numbers."""
_NO_MATRIX = (0, 8, 14)
"""RGB, YCgCo and ICtCp: swscale knows by itself, or refuses."""
_FULL_CHROMA = ("yuv444p", "yuvj444p")
"""Planes of RGB, joined after, are the same to the bit in half the time: swscale has no vector code for rgb24 here."""
_COMBED_FRAC = 0.002
"""Share of pixels that must show the teeth of a comb, beyond twice those that any texture shows."""
_COMB_STEP = 400
"""Product of two opposite steps between lines, in grey levels squared, that counts as a tooth (20 x 20)."""


_SQUARE_WITHIN = Fraction(2, 100)
"""Pixels this close to square are taken as they are: nobody sees the difference, and resampling costs sharpness."""
_MOST_OBLONG = 4
"""Beyond it the header is wrong; broadcast and disc formats reach 3."""


class Converter:
    """Turns frames of one stream into RGB; `codes` says what had to be done to them."""

    def __init__(
        self, *, max_side_px: int | None = None, pixel_aspect: Fraction | None = None, max_pixels: int | None = None
    ) -> None:
        """`pixel_aspect`: width of a pixel by its height, None where it is not said. A picture that would have more
        than `max_pixels` with square ones stays as it is coded."""
        self.codes: set[Code] = set()
        self._max_side_px = max_side_px
        self._pixel_aspect, self._max_pixels = _plausible(pixel_aspect), max_pixels
        self._reformatter = VideoReformatter()
        self._turns: dict[int, tuple[int, bool]] = {}

    def to_rgb(self, frame: VideoFrame) -> RgbImage:
        """uint8 (H, W, 3), as displayed."""
        is_woven = frame.interlaced_frame  # then resized only after its lines were looked at
        shown = self._limited(*self.square(frame.width, frame.height))
        size = (frame.width, frame.height) if is_woven else shown
        rgb = self._tone_mapped(frame, *size) if frame.color_trc in (PQ, HLG) else self._converted(frame, *size)
        if is_woven:
            rgb = _resized(self._progressive(rgb), *shown)
        return turn(rgb, *self.turn_of(frame))

    def square(self, width: int, height: int) -> tuple[int, int]:
        """Width and height in square pixels of a picture that is coded in so many: the side that was sampled more
        thinly grows, so that nothing is lost."""
        aspect = self._pixel_aspect
        size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        return size if self._max_pixels is None or size[0] * size[1] <= self._max_pixels else (width, height)

    def turn_of(self, frame: VideoFrame) -> tuple[int, bool]:
        """See `turn_of`. Looked up once for each rotation: a frame whose side data was asked for holds itself, and
        its picture, in memory until the next garbage collection."""
        rotation = frame.rotation
        if rotation not in self._turns:
            self._turns[rotation] = turn_of(frame)
        return self._turns[rotation]

    def _converted(self, frame: VideoFrame, width: int, height: int) -> RgbImage:
        has_alpha = any(component.is_alpha for component in frame.format.components)
        in_planes = frame.format.name in _FULL_CHROMA
        converted = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgba" if has_alpha else "gbrp" if in_planes else "rgb24",
            src_colorspace=_matrix(frame),
            interpolation=_scaling(frame, width),
            threads=1,
        )
        if in_planes:
            green, blue, red = (_plane(plane) for plane in converted.planes)
            return cast(RgbImage, cv2.merge([red, green, blue]))
        pixels = cast(RgbImage, converted.to_ndarray())
        if not has_alpha:
            return pixels
        if is_opaque(pixels):
            return np.ascontiguousarray(pixels[..., :3])
        self.codes.add(Code.ALPHA_COMPOSITED)
        return composite(pixels)

    def _tone_mapped(self, frame: VideoFrame, width: int, height: int) -> RgbImage:
        self.codes.add(Code.HDR_TONE_MAPPED)
        matrix = None if frame.format.is_rgb else _BT2020
        deep = self._reformatter.reformat(
            frame, width, height, "rgb48le", src_colorspace=matrix, interpolation=_scaling(frame, width), threads=1
        )
        return tone_map(cast(npt.NDArray[np.uint16], deep.to_ndarray()), frame.color_trc)

    def _progressive(self, rgb: RgbImage) -> RgbImage:
        self.codes.add(Code.INTERLACED)
        return one_field(rgb) if is_combed(rgb) else rgb

    def _limited(self, width: int, height: int) -> tuple[int, int]:
        longer = max(width, height)
        if self._max_side_px is None or longer <= self._max_side_px:
            return width, height
        scale = self._max_side_px / longer
        return max(1, round(width * scale)), max(1, round(height * scale))

    def shrunk(self, rgb: RgbImage) -> RgbImage:
        """The picture, made smaller where its longer side is above the limit."""
        height, width = rgb.shape[:2]
        return _resized(rgb, *self._limited(width, height))


def _plausible(pixel_aspect: Fraction | None) -> Fraction:
    if not pixel_aspect or not Fraction(1, _MOST_OBLONG) <= pixel_aspect <= _MOST_OBLONG:
        return Fraction(1)
    return Fraction(1) if abs(pixel_aspect - 1) < _SQUARE_WITHIN else pixel_aspect


def _resized(rgb: RgbImage, width: int, height: int) -> RgbImage:
    if rgb.shape[:2] == (height, width):
        return rgb
    is_smaller = width * height < rgb.shape[0] * rgb.shape[1]
    how = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    return cast(RgbImage, cv2.resize(rgb, (width, height), interpolation=how))


def _plane(plane: VideoPlane) -> npt.NDArray[np.uint8]:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def is_opaque(rgba: RgbImage) -> bool:
    """Whether nothing shines through."""
    return bool(rgba[..., 3].min(initial=255) == 255)


def composite(rgba: RgbImage) -> RgbImage:
    """RGBA uint8 (H, W, 4) over white: uint8 (H, W, 3)."""
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, len(rgba), STRIP_ROWS):  # a whole picture in 16 bits would take more memory than it may
        strip = rgba[top : top + STRIP_ROWS]
        alpha = strip[..., 3:].astype(np.uint16)
        rgb[top : top + STRIP_ROWS] = (strip[..., :3] * alpha + _BACKGROUND * (255 - alpha) + 127) // 255
    return rgb


def is_combed(rgb: RgbImage) -> bool:
    """Whether two moments are woven into the picture. Many files are marked interlaced and are not.

    A tooth is a pixel that differs from those above and below strongly and the same way. Texture shows as many
    between lines of the same parity, which belong to one moment; woven moments show them between neighbours.
    """
    green = rgb[..., 1].astype(np.int32)
    return len(green) > 4 and _teeth(green, 1) > 2 * _teeth(green, 2) + _COMBED_FRAC


def _teeth(green: Int32Array, step: int) -> float:
    above, here, below = green[: -2 * step], green[step:-step], green[2 * step :]
    return float(((here - above) * (here - below) > _COMB_STEP).mean())


def one_field(rgb: RgbImage) -> RgbImage:
    """The even lines, and between them their mean: one moment of an interlaced frame."""
    out = rgb.copy()
    above, below = rgb[0:-2:2].astype(np.uint16), rgb[2::2].astype(np.uint16)
    out[1 : 2 * len(below) : 2] = (above[: len(below)] + below + 1) // 2
    if len(rgb) % 2 == 0:
        out[-1] = rgb[-2]
    return out


def _scaling(frame: VideoFrame, width: int) -> Interpolation:
    return Interpolation.AREA if width < frame.width else Interpolation.BILINEAR


def _matrix(frame: VideoFrame) -> int | None:
    """What turns this frame's YUV into RGB. Where it is not said: by size, as players do (BT.709 for HD)."""
    if frame.format.is_rgb or frame.colorspace in _NO_MATRIX:
        return None
    by_size = _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601
    return _SWS_MATRIX.get(frame.colorspace, by_size)


def turn_of(frame: VideoFrame) -> tuple[int, bool]:
    """How the frame is to be shown: clockwise turn in degrees (0, 90, 180, 270), after mirroring left to right.

    From the display matrix (ISO 14496-12, 8.3.2): a point (p, q) is shown at (a p + c q, b p + d q).
    """
    side_data = cast(SideDataContainer, frame.side_data).get(SideDataType.DISPLAYMATRIX)
    if side_data is None:
        return 0, False
    a, b, _, c, d = struct.unpack("=5i", bytes(side_data)[:20])
    is_mirrored = a * d - b * c < 0
    if is_mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360, is_mirrored


def turn(rgb: RgbImage, clockwise_deg: int, is_mirrored: bool) -> RgbImage:
    """The picture mirrored left to right if asked, then turned."""
    if is_mirrored:
        rgb = cast(RgbImage, cv2.flip(rgb, 1))
    if not clockwise_deg:
        return rgb
    codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    return cast(RgbImage, cv2.rotate(rgb, codes[clockwise_deg]))
