"""An upload, received piece by piece: the file goes to disk as it comes, and is hashed on the way.

Nothing of a form is held in memory but the values of its few fields; the parts are counted, a part's head and every
field are bounded, and the body's size and speed are (`receipt`).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from telltale._text import encodable
from telltale.web.problems import ProblemError, problem
from telltale.web.room import Arriving
from telltale.web.schema import FILE_FIELD, MAX_NAME_CHARS

MAX_PARTS = 32
MAX_FIELD_BYTES = 4096
MAX_HEAD_BYTES = 8192
"""Of a part. Counted here too: python-multipart 0.0.27 is the first that counts."""
_WRITE_BYTES = 256 << 10
_ESCAPE = re.compile(b"%(22|0D|0A)")
"""All that browsers escape in a file's name (WHATWG, multipart/form-data); any other % is one of the name's."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived in full."""

    id: str
    """128 random bits."""
    path: Path
    name: str
    """As sent, without folders; any other character may be in it."""
    size_bytes: int
    sha256: str
    fields: dict[str, str]


@dataclass(slots=True)
class _Part:
    name: str = ""
    file_name: str | None = None
    value: bytearray = field(default_factory=bytearray)


class _Form:
    """Takes a form apart. File bytes wait in `waiting` until they are written."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise problem(
                "unsupported_media_type",
                f"send multipart/form-data with a boundary and the file in the field {FILE_FIELD!r}",
            )
        self.waiting = bytearray()
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.is_complete = False
        self._n_parts = 0
        self._n_head_bytes = 0
        self._part = _Part()
        self._header = bytearray()
        self._value = bytearray()
        callbacks: dict[str, Callable[..., Any]] = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._take_head(self._header, data[start:end]),
            "on_header_value": lambda data, start, end: self._take_head(self._value, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._take,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)  # type: ignore[arg-type]
        except FormParserError as error:
            raise problem("bad_form", f"the form's boundary cannot be used: {error}") from error

    def write(self, data: bytes) -> None:
        if self.is_complete:
            return
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise problem("bad_form", f"this is no multipart form: {error}") from error

    def _begin(self) -> None:
        self._n_parts += 1
        if self._n_parts > MAX_PARTS:
            raise problem("bad_form", f"a form may have {MAX_PARTS} parts")
        self._part = _Part()
        self._n_head_bytes = 0

    def _take_head(self, into: bytearray, data: bytes) -> None:
        self._n_head_bytes += len(data)
        if self._n_head_bytes > MAX_HEAD_BYTES:
            raise problem("bad_form", f"a part's head may have {MAX_HEAD_BYTES} bytes")
        into.extend(data)

    def _end_header(self) -> None:
        name, value = bytes(self._header).lower(), bytes(self._value)
        self._header.clear()
        self._value.clear()
        if name == b"content-disposition":
            _, options = parse_options_header(value.decode("latin-1"))
            self._part.name = _decoded(options.get(b"name", b""))
            if b"filename" in options:
                file_name = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), options[b"filename"])
                self._part.file_name = file_name.decode("utf-8", "surrogateescape")

    def _end_headers(self) -> None:
        name = self._part.name
        if name == FILE_FIELD and self.file_name is not None:
            raise problem("bad_form", "one file a request")
        if name == FILE_FIELD:
            self.file_name = _plain_name(self._part.file_name or "")
        elif self._part.file_name is not None:
            raise problem("bad_form", f"the file goes into the field {FILE_FIELD!r}, not {name[:40]!r}")
        elif name in self.fields:
            raise problem("bad_form", f"the field {name[:40]!r} is there twice")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == FILE_FIELD:
            self.waiting += data[start:end]
            return
        self._part.value += data[start:end]
        if len(self._part.value) > MAX_FIELD_BYTES:
            raise problem("bad_form", f"a field may have {MAX_FIELD_BYTES} bytes")

    def _end_part(self) -> None:
        if self._part.name != FILE_FIELD:
            self.fields[self._part.name] = _decoded(bytes(self._part.value))

    def _end(self) -> None:
        self.is_complete = True


class Receiver:
    """Writes uploads into a folder, in threads that nothing else waits for."""

    def __init__(
        self,
        folder: Path,
        executor: Executor,
        *,
        max_bytes: int,
        has_room: Callable[[int], bool],
        check_share: Callable[[Arriving, int], Awaitable[None]],
        on_bytes: Callable[[int], None],
    ) -> None:
        """`has_room`: whether so many bytes more may be written. `check_share`: raises a problem where so many more
        than were expected are not the client's to write."""
        self._folder, self._executor, self._max_bytes, self._on_bytes = folder, executor, max_bytes, on_bytes
        self._has_room, self._check_share = has_room, check_share
        self.n_receiving = 0

    async def receive(self, content_type: str, body: AsyncIterator[bytes], arriving: Arriving) -> Upload:
        """The upload in this body. Raises a `ProblemError`, and then leaves nothing behind; so for a lost client."""
        form = _Form(content_type)
        upload_id = secrets.token_hex(16)
        path = self._folder / upload_id
        self.n_receiving += 1
        try:
            return await self._receive(form, body, upload_id, path, arriving)
        except BaseException as error:
            await self._run(path.unlink, True)
            if isinstance(error, ClientDisconnect):
                raise problem("bad_form", "the upload was broken off") from None
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_space() from error
            raise
        finally:
            self.n_receiving -= 1

    async def _receive(
        self, form: _Form, body: AsyncIterator[bytes], upload_id: str, path: Path, arriving: Arriving
    ) -> Upload:
        sink = _Sink(path)
        try:
            async for chunk in body:
                form.write(chunk)
                if sink.n_bytes + len(form.waiting) > self._max_bytes:
                    raise too_large(self._max_bytes)
                if len(form.waiting) >= _WRITE_BYTES:
                    await self._write(sink, form.waiting, arriving)
            if not form.is_complete:
                raise problem("bad_form", "the form breaks off before its end")
            if form.file_name is None:
                raise problem("bad_form", f"there is no file in the field {FILE_FIELD!r}")
            await self._write(sink, form.waiting, arriving)
            await self._run(sink.sync)
        finally:
            sink.close()
        self._on_bytes(sink.n_bytes)
        return Upload(upload_id, path, form.file_name, sink.n_bytes, sink.sha256.hexdigest(), form.fields)

    async def _write(self, sink: _Sink, waiting: bytearray, arriving: Arriving) -> None:
        """Room is looked at before each write: others arrive meanwhile, and not every upload says how large it is."""
        if not self._has_room(len(waiting)):
            raise _no_space()
        come_bytes = arriving.come_bytes + len(waiting)
        if come_bytes > arriving.expected_bytes:
            # Some more at once: the look into the database takes longer the more the client has.
            expected_bytes = come_bytes + max(_WRITE_BYTES, come_bytes // 4)
            await self._check_share(arriving, expected_bytes - arriving.come_bytes)
            arriving.expected_bytes = expected_bytes
        await self._run(sink.write, waiting)
        arriving.come_bytes = sink.n_bytes

    async def _run(self, function: Callable[..., Any], *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)


class _Sink:
    """The file and its hash. It is opened at the first write: who sends a byte a second costs no descriptor."""

    def __init__(self, path: Path) -> None:
        self.n_bytes = 0
        self.sha256 = hashlib.sha256()
        self._path = path
        self._file: IO[bytes] | None = None

    def write(self, waiting: bytearray) -> None:
        data = bytes(waiting)
        waiting.clear()
        if self._file is None:
            self._file = self._path.open("xb", buffering=0)
        self.sha256.update(data)
        self.n_bytes += len(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def too_large(max_bytes: int) -> ProblemError:
    return problem("too_large", f"an upload may have {max_bytes:,} bytes")


def _no_space() -> ProblemError:
    return problem("no_space", "there is no room left for this upload; try later")


def _decoded(value: bytes) -> str:
    return encodable(value.decode("utf-8", "surrogateescape"))


def _plain_name(name: str) -> str:
    """The name without folders, as it is shown; never used for a file of ours. Folders go first: a byte that is no
    text is shown with a backslash."""
    name = encodable(re.split(r"[/\\]", name)[-1].replace("\0", ""))
    return name[-MAX_NAME_CHARS:] or "unnamed"


__all__ = ["Receiver", "Upload", "too_large"]
