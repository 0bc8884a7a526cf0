"""What a decoder owes for a packet: those of these formats drop what they cannot read without a word.

>>> promise = Promise("h264", b"")
>>> promise.of(bytes.fromhex("00000001 65 88"))  # a slice of a key frame
<Owed.REFERENCE: 2>
>>> promise.of(bytes.fromhex("00000001 01 88"))  # of a frame that none is built from
<Owed.FRAME: 1>
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

CODECS = ("h264", "hevc", "mpeg1video", "mpeg2video", "av1")
"""Others raise an error or mark the frame. VP8 and MPEG-4 have packets that are meant to give none."""
_H264_SLICES, _H264_IDR = range(1, 6), 5
_HEVC_SLICES, _HEVC_NOT_BUILT_ON = range(32), range(0, 16, 2)
_HEVC_SKIPPED = (8, 9)
"""RASL: by design not shown where what they are built from was cut off."""
_MPEG_PICTURE, _MPEG_EXTENSION = b"\0\0\1\0", b"\0\0\1\xb5"
_MPEG_B, _MPEG_CODING, _MPEG_WHOLE_FRAME = 3, 8, 3


class Owed(IntEnum):
    """What must come out of the decoder."""

    NOTHING = 0
    FRAME = 1
    """Unless it was told to skip what no frame is built from."""
    REFERENCE = 2
    """A frame that others may be built from. A packet that cannot be understood owes one, as it is damaged."""


class Promise:
    """What the packets of one stream promise."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._codec = codec
        self._length_bytes = 0
        """Of the length before each unit; 0 where start codes part them."""
        if extradata[:1] == b"\1":  # avcC, hvcC
            at = 4 if codec == "h264" else 21
            self._length_bytes = (extradata[at] & 3) + 1 if len(extradata) > at else 4

    def of(self, data: bytes) -> Owed:
        """What is owed for a packet."""
        if self._codec == "h264":
            return self._of_h264(data)
        if self._codec == "hevc":
            return self._of_hevc(data)
        return Owed.REFERENCE if self._codec == "av1" else _of_mpeg(data)

    def begins_anew(self, data: bytes) -> bool:
        """Of a key frame: whether the decoder shows all from here on. H.264's may wait where it is no IDR frame."""
        if self._codec != "h264":
            return True
        kinds = (data[at] & 31 for at in self._units(data) if at < len(data))
        return next((kind for kind in kinds if kind in _H264_SLICES), 0) == _H264_IDR

    def _of_h264(self, data: bytes) -> Owed:
        is_empty = True
        for at in self._units(data):
            is_empty = False
            if at >= len(data) or data[at] & 0x80 or data[at] & 31 == 0:
                return Owed.REFERENCE
            if data[at] & 31 in _H264_SLICES:
                return Owed.REFERENCE if data[at] & 0x60 else Owed.FRAME
        return Owed.REFERENCE if is_empty else Owed.NOTHING

    def _of_hevc(self, data: bytes) -> Owed:
        is_empty = True
        for at in self._units(data):
            is_empty = False
            if at + 1 >= len(data) or data[at] & 0x80 or data[at + 1] & 7 == 0:
                return Owed.REFERENCE
            kind, layer = data[at] >> 1, (data[at] & 1) << 5 | data[at + 1] >> 3
            if kind in _HEVC_SLICES and layer == 0:
                if kind in _HEVC_SKIPPED:
                    return Owed.NOTHING
                return Owed.FRAME if kind in _HEVC_NOT_BUILT_ON else Owed.REFERENCE
        return Owed.REFERENCE if is_empty else Owed.NOTHING

    def _units(self, data: bytes) -> Iterator[int]:
        """Where each unit begins; `len(data)` where that cannot be."""
        at, n = 0, self._length_bytes
        while n and at < len(data):
            size = int.from_bytes(data[at : at + n])
            end = at + n + size
            yield at + n if size and end <= len(data) else len(data)
            at = end
        while not n and (at := data.find(b"\0\0\1", at)) >= 0:
            at += 3
            yield at


def _of_mpeg(data: bytes) -> Owed:
    at = data.find(_MPEG_PICTURE)
    if at < 0 or at + 5 >= len(data):
        return Owed.REFERENCE
    kind = data[at + 5] >> 3 & 7
    at = data.find(_MPEG_EXTENSION, at)
    is_coding = 0 <= at < len(data) - 6 and data[at + 4] >> 4 == _MPEG_CODING
    if is_coding and data[at + 6] & 3 != _MPEG_WHOLE_FRAME:
        return Owed.NOTHING  # half of one, which may share its frame with the next
    return Owed.FRAME if kind == _MPEG_B else Owed.REFERENCE


__all__ = ["CODECS", "Owed", "Promise"]
