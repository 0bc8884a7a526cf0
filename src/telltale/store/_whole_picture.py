"""Whether a picture that is stored as it came is there to its end, from its bytes: nothing is decoded.

Decoding each in the worker would tell all that is broken, and take some ten times as long as storing a crop does.
"""

from __future__ import annotations

import re
import struct

from telltale import _jpeg_file
from telltale.errors import CorruptFile, InputError

_GIF_BLOCK = re.compile(rb"[!,;]")
"""How an extension, an image and the trailer begin; decoders pass over anything else."""
_BMP_ROWS, _BMP_RUNS = (0, 3, 6), (1, 2)
"""Compression (BITMAPINFOHEADER): rows of pixels as they are; run lengths. The rest is read by nobody."""


def expect_whole_picture(name: str, data: bytes) -> None:
    """Raises `InputError` where the bytes are no picture, or stop before its end."""
    if data.startswith(b"\xff\xd8\xff"):
        is_whole = b"\xff\xd9" in data[_jpeg_file.scan_at(data) :]  # nothing in a scan looks like the end of the image
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        is_whole = data.rfind(b"IEND") > data.rfind(b"IDAT") > 0
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        is_whole = len(data) >= 8 + int.from_bytes(data[4:8], "little")
    elif data.startswith(b"GIF8"):
        is_whole = _is_whole_gif(data)
    elif data.startswith(b"BM"):
        is_whole = _is_whole_bmp(data)
    else:
        raise InputError(f"{name} is no picture by its first bytes")
    if not is_whole:
        raise CorruptFile(f"{name} stops before the picture's end; copy it again from where it came")


def _is_whole_gif(data: bytes) -> bool:
    """Whether the first image, which is what a store shows, ends. No trailer is asked for: some writers have none."""
    at = 13 + _gif_colours(data[10:11])
    while (block := _GIF_BLOCK.search(data, at)) is not None:
        at = block.start()
        if block[0] == b"!":
            at = _past_parts(data, at + 2)
        elif block[0] == b",":
            at += 11 + _gif_colours(data[at + 9 : at + 10])
            return _past_parts(data, at) <= len(data)
        else:
            return False
    return False


def _gif_colours(flags: bytes) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 * (2 << (flags[0] & 7)) if flags and flags[0] & 0x80 else 0


def _past_parts(data: bytes, at: int) -> int:
    """Behind the empty part that ends a row of parts, each with its length first; beyond `data` if there is none."""
    while at < len(data):
        length = data[at]
        at += 1 + length
        if not length:
            return at
    return len(data) + 1


def _is_whole_bmp(data: bytes) -> bool:
    """As decoders read it: the last row may lack its padding."""
    try:
        begin, header_bytes = struct.unpack_from("<II", data, 10)
        compression = n_bytes = 0
        if header_bytes == 12:  # OS/2
            width, height, _, bits = struct.unpack_from("<4H", data, 18)
        else:
            width, height, _, bits, compression, n_bytes = struct.unpack_from("<iiHHII", data, 18)
    except struct.error:
        return False
    if compression in _BMP_ROWS:
        row_bits = abs(width) * bits
        n_bytes = (row_bits + 31) // 32 * 4 * max(0, abs(height) - 1) + (row_bits + 7) // 8
    elif compression not in _BMP_RUNS:
        return True
    return len(data) >= int(begin + n_bytes)
