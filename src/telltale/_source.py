"""Opening a file that may be hostile: what it is comes from its first bytes, and only that one file is ever read.

The file is opened once, found to be a regular file, and that descriptor is what everything else reads, so
a name can be neither an address (`http:..`), a pattern (`secret%03d.png`) nor exchanged for a pipe meanwhile.

>>> sniff(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(100))
'PNG picture'
>>> sniff(b"#EXTM3U\\nhttp://example.org/")
Traceback (most recent call last):
telltale.errors.UnsupportedContainer: this is an HLS playlist (a list of other files), not a video; ...
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from telltale.errors import (
    CorruptFile,
    FileEmpty,
    FileMissing,
    FileUnreadable,
    InputError,
    NotAFile,
    UnsupportedCodec,
    UnsupportedContainer,
)

_HEAD_BYTES = 4096

_PICTURES = {
    "JPEG picture": rb"\xff\xd8\xff",
    "PNG picture": rb"\x89PNG\r\n\x1a\n",
    "WebP picture": rb"RIFF....WEBP",
    "GIF picture": rb"GIF8[79]a",
    "BMP picture": rb"BM....\x00\x00\x00\x00....[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00",
}
_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
_PLAYLISTS = {
    "an HLS playlist": rb"#EXTM3U",
    "an FFmpeg concat list": rb"ffconcat\s",
    "a session description (SDP)": rb"v=0\r?\no=",
    "an ASX playlist": rb"<asx[\s>]",
    "a SMIL playlist": rb"<smil[\s>]",
    "a DASH manifest": rb"(<\?xml[^>]*>\s*)?<MPD[\s>]",
    "an XSPF playlist": rb"(<\?xml[^>]*>\s*)?<playlist[\s>]",
    "a PLS playlist": rb"\[playlist\]",
    "an ASF reference": rb"\[Reference\]",
}
_OTHERS = {
    "a web page": rb"<(!doctype html|html|head|body|script)[\s>]",
    "an XML document": rb"<\?xml|<svg[\s>]",
    "a PDF document": rb"%PDF-",
    "a ZIP archive": rb"PK\x03\x04",
    "a gzip archive": rb"\x1f\x8b",
    "a RAR archive": rb"Rar!\x1a\x07",
    "a 7z archive": rb"7z\xbc\xaf\x27\x1c",
    "a TIFF picture": rb"II\*\x00|MM\x00\*",
    "a Photoshop picture": rb"8BPS",
    "a JPEG XL picture": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "a JPEG 2000 picture": rb"\x00\x00\x00\x0cjP  ",
    "an icon": rb"\x00\x00\x01\x00[\x01-\x20]\x00",
    "a program": rb"MZ.{58}|\x7fELF",
}
_PICTURE_RULES = {name: re.compile(rule, re.DOTALL) for name, rule in _PICTURES.items()}
_TEXT_RULES = {name: re.compile(rb"\s*(?:" + rule + rb")", re.I) for name, rule in _PLAYLISTS.items()}
_OTHER_RULES = {name: re.compile(rb"\s*(?:" + rule + rb")", re.I | re.DOTALL) for name, rule in _OTHERS.items()}


def sniff(head: bytes) -> str:
    """What the first bytes of a file say it is: "PNG picture" and so on, or "video" for everything that a
    demuxer should look at. Raises the `InputError` for what is known to be neither."""
    for name, rule in _PICTURE_RULES.items():
        if rule.match(head):
            return name
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        kind = "AVIF" if head[8:12] == b"avif" else "HEIC"
        raise UnsupportedCodec(
            f"this is a still picture in {kind} format, which is not read here; save it as JPEG or PNG"
        )
    text = head.removeprefix(b"\xef\xbb\xbf")
    for name, rule in _TEXT_RULES.items():
        if rule.match(text):
            raise UnsupportedContainer(f"this is {name} (a list of other files), not a video; give the video itself")
    for name, rule in _OTHER_RULES.items():
        if rule.match(text):
            raise UnsupportedContainer(
                f"this is {name}, not a video; give a video (MP4, MKV, AVI ..) or a JPEG or PNG picture"
            )
    return "video"


class Source:
    """A regular file, opened for reading by descriptor. Closed when left as a context manager."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.fd = -1
        self.fd, self.size_bytes = _open_regular(self.path)
        try:
            if self.size_bytes == 0:
                raise FileEmpty(f"{printable(self.path)} has 0 bytes; it was perhaps not copied to the end")
            self.head = _read_at_start(self.fd, self.path)
            self.kind = self._kind()
        except BaseException:
            self.close()
            raise

    def _kind(self) -> str:
        if not any(self.head) and _only_zeros(self.readable):
            raise CorruptFile(f"{printable(self.path)} holds nothing but zero bytes; copy it again from where it came")
        try:
            return sniff(self.head)
        except InputError as error:
            raise type(error)(f"{printable(self.path)}: {error}") from None

    @property
    def readable(self) -> str:
        """A path to open: the descriptor's, where the system names descriptors, else the absolute one."""
        by_descriptor = f"/proc/self/fd/{self.fd}"
        return by_descriptor if Path("/proc/self/fd").exists() else str(Path(self.path).absolute())

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def printable(path: str) -> str:
    """A path as it can be written anywhere: bytes that are not UTF-8 as \\xNN, control characters escaped.

    >>> printable(os.fsdecode(b"a\\xff.mp4"))
    'a\\\\xff.mp4'
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _open_regular(path: str) -> tuple[int, int]:
    name = printable(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            raise NotAFile(f"{name} is {_kind_of(mode)}, not a file; give a video or picture file")
        fd = os.open(path, flags)
    except FileNotFoundError:
        raise FileMissing(f"{name} does not exist; check the spelling and the folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileUnreadable(f"{name} cannot be opened ({reason}); check its permissions") from None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise NotAFile(f"{name} is {_kind_of(found.st_mode)}, not a file; give a video or picture file")
    return fd, found.st_size


def _kind_of(mode: int) -> str:
    for test, kind in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return kind
    return "something else"


def _read_at_start(fd: int, path: str) -> bytes:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, _HEAD_BYTES)
    except OSError as error:
        raise FileUnreadable(f"{printable(path)} cannot be read ({error.strerror}); check the disk") from None


def _only_zeros(path: str) -> bool:
    with Path(path).open("rb") as file:
        start = file.read(1 << 20)
    return start.count(0) == len(start)


__all__ = ["Source", "printable", "sniff"]
