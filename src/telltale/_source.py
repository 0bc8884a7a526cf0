"""Opening a file that may be hostile: what it is comes from its first bytes, and only that one file is ever read.

The file is opened once, found to be a regular file, and that descriptor is what everything else reads, so
a name can be neither an address (`http:..`) nor a pattern (`secret%03d.png`), nor become a pipe meanwhile.
In the worker process it was opened by the parent (`_grants`): the worker can open nothing.

>>> sniff(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(100))
'a PNG picture'
>>> sniff(b"#EXTM3U\\nhttp://example.org/")
Traceback (most recent call last):
telltale.errors.UnsupportedContainer: this is an HLS playlist, a list of other files; give the video itself
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from telltale import _grants, _jpeg_file
from telltale._stated_length import promised_bytes
from telltale._text import visible
from telltale.errors import (
    CorruptFile,
    FileEmpty,
    FileMissing,
    FileUnreadable,
    InputError,
    NotAFile,
    UnsupportedCodec,
    UnsupportedContainer,
    WorkerNotStarted,
)

_HEAD_BYTES = 4096
_BLOCK_BYTES = 1 << 20

_PICTURES = {
    "a JPEG picture": rb"\xff\xd8\xff",
    "a PNG picture": rb"\x89PNG\r\n\x1a\n",
    "a WebP picture": rb"RIFF....WEBP",
    "a GIF picture": rb"GIF8[79]a",
    "a BMP picture": rb"BM....\x00\x00\x00\x00....[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00",
    "an AVIF picture": rb"....ftyp(?:avif|(?:mif1|msf1).{4}(?:.{4}){0,8}?avif)",
}
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
"""The same in Pillow's words: a file is given to none of its other decoders."""
_VIDEOS = {
    "an MP4 video": rb"....(?:ftyp|moov|mdat|free|skip|wide|pnot)",
    "a Matroska video": rb"\x1a\x45\xdf\xa3",
    "an AVI video": rb"RIFF....AVI ",
    "an FLV video": rb"FLV\x01",
    "a Windows Media video": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "an Ogg video": rb"OggS",
    "an MPEG program stream": rb"\x00\x00\x01\xba",
    "an MPEG transport stream": rb"\x47.{187}\x47",
}
_STILL_HEIC = re.compile(rb"....ftyp(?:heic|heix|heim|heis|mif1)", re.DOTALL)
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
    "a program": rb"MZ.{58}|\x7fELF",
}
_PICTURE_RULES, _VIDEO_RULES = (
    {name: re.compile(rule, re.DOTALL) for name, rule in rules.items()} for rules in (_PICTURES, _VIDEOS)
)
_PLAYLIST_RULES, _OTHER_RULES = (
    {name: re.compile(rb"\s*(?:" + rule + rb")", re.IGNORECASE | re.DOTALL) for name, rule in rules.items()}
    for rules in (_PLAYLISTS, _OTHERS)
)
UNKNOWN = "unknown"
MJPEG = "an MJPEG film"


def sniff(head: bytes) -> str:
    """What the first bytes of a file say it is: "a PNG picture", "an MP4 video" .., or `UNKNOWN`, which a demuxer
    may still make something of. Raises `InputError` for what is known to be neither video nor picture."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    for name in _matching(_PLAYLIST_RULES, text):
        raise UnsupportedContainer(f"this is {name}, a list of other files; give the video itself")
    for name in _matching(_PICTURE_RULES, head):
        return name
    if _STILL_HEIC.match(head):
        raise UnsupportedCodec("this is a HEIC still picture, which is not read here; save it as JPEG or PNG")
    for name in _matching(_VIDEO_RULES, head):
        return name
    for name in _matching(_OTHER_RULES, text):
        raise UnsupportedContainer(f"this is {name}; give a video (MP4, MKV, AVI ..) or a JPEG or PNG picture")
    return UNKNOWN


def _matching(rules: dict[str, re.Pattern[bytes]], head: bytes) -> list[str]:
    return [name for name, rule in rules.items() if rule.match(head)]


class Source:
    """A regular file, opened for reading by descriptor. Closed when left as a context manager."""

    def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
        self.path = os.fsdecode(path)
        self.name = visible(self.path)
        self._fd, self.size_bytes = open_regular(self.path)
        try:
            if self.size_bytes == 0:
                raise FileEmpty(f"{self.name} has 0 bytes; it was perhaps not copied to the end")
            self.kind, self.promised_bytes = self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> tuple[str, int | None]:
        """What kind of file it is, and how many bytes it says that it has, where it does."""
        try:
            head = os.read(self._fd, _HEAD_BYTES)
            if _is_zeros(head) and _is_zeros(head + os.read(self._fd, _BLOCK_BYTES)):
                raise CorruptFile("there is nothing but zero bytes in it; copy it again from where it came")
            kind = sniff(head)
            if kind == "a JPEG picture":
                with self.file() as file:
                    kind = MJPEG if _jpeg_file.is_film(file.read(_jpeg_file.MOST_BYTES)) else kind
            return kind, promised_bytes(head)
        except OSError as error:
            raise FileUnreadable(f"{self.name} cannot be read ({error.strerror}); check the disk") from None
        except InputError as error:
            raise type(error)(f"{self.name}: {error}") from None

    def descriptor(self) -> int:
        """Another descriptor of the same file, at its beginning, with a place of its own. The caller closes it."""
        return _another(self._fd, self.path)

    def file(self) -> IO[bytes]:
        """The same as a file object."""
        return os.fdopen(self.descriptor(), "rb")

    @contextmanager
    def for_ffmpeg(self) -> Iterator[tuple[str, dict[str, str]]]:
        """What FFmpeg opens, and the options that let it open nothing else. It keeps a duplicate of its own."""
        if os.name == "nt":  # descriptors belong to one C runtime there
            yield f"file:{Path(self.path).absolute()}", {"protocol_whitelist": "file"}
            return
        fd = self.descriptor()
        try:
            yield "fd:", {"fd": str(fd), "protocol_whitelist": "fd"}
        finally:
            os.close(fd)

    @property
    def is_picture(self) -> bool:
        return self.kind in _PICTURES

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FileHash:
    """A file's SHA-256, computed in a thread of its own; hashing lets other threads run."""

    def __init__(self, file: IO[bytes]) -> None:
        """Closes `file` in the end."""
        self._file = file
        self._digest = hashlib.sha256()
        self._error: OSError | None = None
        self._is_given_up = False
        self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._file:
                while not self._is_given_up and (block := self._file.read(_BLOCK_BYTES)):
                    self._digest.update(block)
        except OSError as error:
            self._error = error

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, *, within_s: float | None = None) -> str:
        """Waits for it. "" from then on where it took longer than `within_s`: it is given up. Raises `FileUnreadable`
        where the disk fails half-way."""
        if not self._is_given_up:
            self._thread.join(None if within_s is None else min(max(within_s, 0.0), threading.TIMEOUT_MAX))
            self._is_given_up = self._thread.is_alive()
        if self._is_given_up:
            return ""
        if self._error is not None:
            raise FileUnreadable(f"the file cannot be read to its end ({self._error.strerror}); check the disk")
        return self._digest.hexdigest()


def fingerprint(path: str | bytes | os.PathLike[str]) -> tuple[str, int]:
    """SHA-256 and size of a file whatever is in it. Raises `InputError` where nothing can be read."""
    name = os.fsdecode(path)
    fd, size_bytes = open_regular(name)
    return FileHash(os.fdopen(fd, "rb")).result(), size_bytes


def read_regular(path: str) -> bytes:
    """All of a file, whatever is in it. Raises `InputError`."""
    fd, _ = open_regular(path)
    try:
        with os.fdopen(fd, "rb") as file:
            return file.read()
    except OSError as error:
        raise FileUnreadable(f"{visible(path)} cannot be read ({error.strerror}); check the disk") from None


def _another(fd: int, path: str) -> int:
    found = _grants.granted(path)
    if found is not None:
        return found
    by_descriptor = f"/proc/self/fd/{fd}"
    again = by_descriptor if Path("/proc/self/fd").exists() else Path(path).absolute()
    return os.open(again, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def open_regular(path: str) -> tuple[int, int]:
    """Descriptor and size. Looks before opening: opening a pipe waits, opening a device may do something.

    Raises `InputError`, and `WorkerNotStarted` where this process has too many files open.
    """
    name = visible(path)
    fd = _grants.granted(path)
    if fd is not None:
        return fd, os.fstat(fd).st_size
    try:
        _expect_regular(name, Path(path).stat().st_mode)
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise FileMissing(_missing(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):  # says nothing about the file
            raise WorkerNotStarted(f"{reason}: ask for fewer files at a time, or raise ulimit -n") from None
        raise FileUnreadable(f"{name} cannot be opened ({reason}); check its name and permissions") from None
    found = os.fstat(fd)
    try:
        _expect_regular(name, found.st_mode)
    except NotAFile:
        os.close(fd)
        raise
    return fd, found.st_size


def _missing(path: str) -> str:
    name = visible(path)
    if path.startswith(("s3://", "gs://")):
        return f"{name} lies in a bucket and is no file here; telltale scan --bucket URL --out DIR scans what is there"
    if Path(path).is_symlink():
        to = visible(os.fsdecode(Path(path).readlink()))
        return f"{name} is a link to {to}, which does not exist; name the file itself, or bring back where it lay"
    return f"{name} does not exist; check the spelling and the folder"


def _expect_regular(name: str, mode: int) -> None:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    if not stat.S_ISREG(mode):
        kind = kinds.get(stat.S_IFMT(mode), "something else")
        raise NotAFile(f"{name} is {kind}, not a file; give a video or picture file")


def _is_zeros(data: bytes) -> bool:
    return data.count(0) == len(data)
