"""How long a file says that it is, in bytes, and whether its last packet is all there: what a cut copy gives away.

>>> promised_bytes(b"RIFF" + (1000).to_bytes(4, "little") + b"AVI ")
1008
>>> promised_bytes(b"no container that says so")
"""

from __future__ import annotations

from typing import IO

_LIVE = (b"\0\0\0\0", b"\xff\xff\xff\xff")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF_HEADER, _ASF_HEADER_BYTES = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), 30
_ASF_FILE, _ASF_FILE_BYTES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), 92
_ASF_IS_LIVE = 1
_PACK, _END, _FIRST_SYSTEM = 0xBA, 0xB9, 0xBB
_TAIL_BYTES = 512 << 10
"""Several packets of a program stream: each is at most 64 KiB long."""
_SURE_AFTER = 3
"""Packets that must follow each other before a start code is believed to be one."""


def promised_bytes(head: bytes) -> int | None:
    """The length that the first bytes of an AVI, Matroska or Windows Media file give it.

    None where they do not, as in a live recording.
    """
    if head.startswith(b"RIFF"):
        return None if head[4:8] in _LIVE else int.from_bytes(head[4:8], "little") + 8
    if head.startswith(_EBML):
        return _matroska(head)
    return _asf(head) if head.startswith(_ASF_HEADER) else None


def _matroska(head: bytes) -> int | None:
    """The end of the Segment, which holds all but a header (RFC 8794, RFC 9559)."""
    size, at = _ebml_size(head, len(_EBML))
    if size is None or head[at + size : at + size + 4] != _SEGMENT:
        return None
    size, at = _ebml_size(head, at + size + 4)
    return None if size is None else at + size


def _ebml_size(head: bytes, at: int) -> tuple[int | None, int]:
    """A number of variable length, None if it stands for "unknown", and where it ends."""
    if at >= len(head) or not head[at]:
        return None, at
    n_bytes = 9 - head[at].bit_length()
    bits = 7 * n_bytes
    size = int.from_bytes(head[at : at + n_bytes], "big") & ((1 << bits) - 1)
    return (None if size == (1 << bits) - 1 else size), at + n_bytes


def _asf(head: bytes) -> int | None:
    """From the File Properties (Advanced Systems Format, section 3.2)."""
    at = _ASF_HEADER_BYTES
    while at + _ASF_FILE_BYTES <= len(head):
        size = int.from_bytes(head[at + 16 : at + 24], "little")
        if head[at : at + 16] == _ASF_FILE:
            is_live = head[at + 88] & _ASF_IS_LIVE
            return None if is_live else int.from_bytes(head[at + 40 : at + 48], "little") or None
        at += max(size, 24)
    return None


def ends_inside_a_packet(file: IO[bytes], size_bytes: int) -> bool:
    """Whether the last packet of an MPEG program stream (ISO 13818-1) goes on beyond the file's end."""
    file.seek(max(0, size_bytes - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    at = tail.find(b"\0\0\1\xba")
    while at >= 0:
        n_packets, end = _walk(tail, at)
        if n_packets >= _SURE_AFTER:
            return end > len(tail)
        at = tail.find(b"\0\0\1\xba", at + 4)
    return False


def _walk(data: bytes, at: int) -> tuple[int, int]:
    """How many packets follow each other from `at` on, and where the last one ends."""
    n_packets = 0
    while at < len(data) and data[at : at + 3] == b"\0\0\1"[: len(data) - at]:
        code = data[at + 3] if at + 3 < len(data) else _PACK
        if code == _PACK:
            at += _pack_bytes(data, at)
        elif code == _END:
            at += 4
        elif code >= _FIRST_SYSTEM:
            at += 6 + int.from_bytes(data[at + 4 : at + 6], "big") if at + 6 <= len(data) else 6
        else:  # not to be walked through again from the next one on: that would take a hostile file's time squared
            break
        n_packets += 1
    return n_packets, at


def _pack_bytes(data: bytes, at: int) -> int:
    is_mpeg1 = at + 4 < len(data) and data[at + 4] >> 4 == 0b0010
    stuffing = 0 if is_mpeg1 or at + 13 >= len(data) else data[at + 13] & 7
    return 12 if is_mpeg1 else 14 + stuffing
