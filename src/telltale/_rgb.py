"""From a decoded frame to RGB as a player shows it: colours, rotation, transparency, interlacing.

Only the frames that were sampled come here.
"""

from __future__ import annotations

import math
import struct
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from telltale.types import Code, RgbImage

_BACKGROUND = 255
"""Transparent parts become white, as on a web page."""
_BT709, _BT601, _SMPTE240M, _BT2020 = 1, 5, 7, 9
_MATRIX_OF_COLORSPACE = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}
_PQ, _HLG = 16, 18


class Converter:
    """Turns frames of one stream into RGB; `codes` says what had to be done to them."""

    def __init__(self, *, max_side_px: int | None = None, n_threads: int = 0) -> None:
        self.codes: set[Code] = set()
        self._max_side_px = max_side_px
        self._n_threads = n_threads
        self._reformatter = VideoReformatter()

    def to_rgb(self, frame: VideoFrame) -> RgbImage:
        """uint8 (H, W, 3), as displayed. Sample aspect ratio is not applied: pixels stay as they were coded."""
        width, height = self._size(frame.width, frame.height)
        if frame.color_trc in (_PQ, _HLG):
            self.codes.add(Code.HDR_NOT_TONE_MAPPED)
        if frame.interlaced_frame:
            self.codes.add(Code.INTERLACED)
        has_alpha = any(component.is_alpha for component in frame.format.components)
        converted = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgba" if has_alpha else "rgb24",
            src_colorspace=_matrix(frame),
            interpolation=Interpolation.AREA if width < frame.width else Interpolation.BILINEAR,
            threads=self._n_threads,
        )
        rgb = cast(RgbImage, converted.to_ndarray())
        if has_alpha:
            self.codes.add(Code.ALPHA_COMPOSITED)
            rgb = composite(rgb)
        return turn(rgb, *turn_of(frame))

    def _size(self, width: int, height: int) -> tuple[int, int]:
        longer = max(width, height)
        if self._max_side_px is None or longer <= self._max_side_px:
            return width, height
        scale = self._max_side_px / longer
        return max(1, round(width * scale)), max(1, round(height * scale))


def composite(rgba: RgbImage) -> RgbImage:
    """RGBA uint8 (H, W, 4) over white, uint8 (H, W, 3)."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + _BACKGROUND * (255 - alpha) + 127) // 255).astype(np.uint8)


def _matrix(frame: VideoFrame) -> int | None:
    """What turns this frame's YUV into RGB. Untagged: by size, as players do (BT.709 for HD)."""
    if frame.format.is_rgb or frame.colorspace in (0, 8, 14):
        return None
    by_size = _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601
    return _MATRIX_OF_COLORSPACE.get(frame.colorspace, by_size)


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
        rgb = rgb[:, ::-1]
    if clockwise_deg:
        rgb = np.rot90(rgb, -clockwise_deg // 90)
    return np.ascontiguousarray(rgb)


__all__ = ["Converter", "composite", "turn", "turn_of"]
