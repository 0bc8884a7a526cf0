"""What follows the first picture in a file that begins like a JPEG.

A raw MJPEG film is nothing but pictures one after the other, and nothing at its beginning tells it from a photograph.
Photographs have things behind them too: previews and gain maps (which they announce), films, other makers' own data.

>>> shown = bytes.fromhex("ffd8 ffc0000b080010001001011100 ffda0002 55 ffd9")
>>> is_film(shown), is_film(shown + shown), is_film(shown + b"\\0\\0\\0\\x18ftypmp42")
(False, True, False)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_BYTES = 64 << 20
"""Looked at, at most: room for the three pictures of `_PICTURES`."""
_PICTURES = 3
"""Some phones keep the picture before they blurred its background behind it, equally large, and then data of theirs."""
_MOST_SEGMENTS = 10_000
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame's header: precision, height, width, components."""
_END = re.compile(rb"\xff(?:\xd9|(?=\xd8\xff))")
"""The end of an image, or the beginning of another where the end got lost. Neither looks like pixels."""


@dataclass(frozen=True)
class _Head:
    """A picture as far as its pixels."""

    frame: bytes = b""
    """Its size, and how many colours it has."""
    is_album: bool = False
    """It says itself that more pictures follow: multi-picture format (CIPA DC-007), or a gain map (Ultra HDR)."""
    scan_at: int | None = None
    """Where its pixels begin; None where they do not."""


def _head(data: bytes, at: int = 0) -> _Head:
    frame, is_album = b"", False
    at += 2
    for _ in range(_MOST_SEGMENTS):
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            break
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return _Head(frame, is_album, at + 2 + length)
        if marker == 0xFF:  # a marker may be filled up with more of the first byte
            at += 1
            continue
        content = data[at + 4 : at + 2 + length]
        if marker in _FRAMES:
            frame = content[:6]
        is_album |= marker == 0xE2 and content.startswith(b"MPF\0")
        is_album |= marker == 0xE1 and (b"hdrgm:" in content or b"Item:Semantic" in content)
        at += 2 + length
    return _Head(frame, is_album)


def scan_at(data: bytes) -> int:
    """Where the pixels begin; before, thumbnails have ends of their own. `len(data)` where they do not."""
    found = _head(data).scan_at
    return len(data) if found is None else found


def is_film(data: bytes) -> bool:
    """Whether the first pictures of `data`, the beginning of a file, are followed by more of the same size, or by
    the end of the file after the second; and by nothing else."""
    first, at = _head(data), 0
    if first.is_album or not first.frame:
        return False
    for n_before in range(_PICTURES):
        head = _head(data, at) if data.startswith(b"\xff\xd8\xff", at) else _Head()
        if head.frame != first.frame or head.scan_at is None:
            return False
        end = _END.search(data, head.scan_at)
        if end is None:
            return n_before > 0  # cut off in a later one
        at = end.end() if end[0] == b"\xff\xd9" else end.start()
        while data.startswith(b"\0", at):  # cameras fill up
            at += 1
        if at >= len(data):
            return n_before > 0
    return True


def ends_whole(data: bytes) -> bool:
    """Whether one picture of a film is there to its end; cameras fill up with zeros."""
    return data.rstrip(b"\0").endswith(b"\xff\xd9")
