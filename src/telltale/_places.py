"""Where results are kept and files come from: a folder that all machines see, or a bucket (S3, Google Cloud Storage).

A place is named by its own option, never guessed from an input: a file may be called `s3:`.

    place = Bucket("s3://footage/results")
    place.write("parts/ab12.parquet", data)     # all of it or nothing
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from telltale._files import only_one, write_files
from telltale._text import visible
from telltale.errors import FileMissing, FileUnreadable, OutputError, UsageError, require

SCHEMES = {"s3": "s3fs", "gs": "gcsfs"}
"""What a bucket's address may begin with, and the package that knows it."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
_PATTERN = frozenset("*?[")
_REMOVED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Found:
    """A file in a bucket."""

    url: str
    size_bytes: int
    version: str
    """Changes with the contents: a checksum, the ETag, or the time of the last change."""
    checksum: str | None = None
    """The same for the same bytes, where the store keeps such a thing (the ETag of S3, the md5Hash of Google)."""


class Place(Protocol):
    """A flat store of named files. Pickled, it is found again from any machine; a copy of it shares nothing open."""

    def names(self, folder: str) -> list[str]:
        """Names under `folder`, sorted."""
        ...

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all. Raises `OutputError`."""
        ...

    def remove(self, names: list[str]) -> None: ...

    def held(self) -> AbstractContextManager[None]:
        """Keep others from writing there, where that can be had. Raises `OutputBusy` where one is writing."""
        ...


class Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[type[Folder], tuple[Path]]:
        return Folder, (self._path.absolute(),)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(f"{folder}/{entry.name}" for entry in os.scandir(self._path / folder) if entry.name[0] != ".")
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        write_files(self._path, {name: data})

    def remove(self, names: list[str]) -> None:
        for name in names:
            (self._path / name).unlink(missing_ok=True)

    def held(self) -> AbstractContextManager[None]:
        return only_one(self._path)


class Bucket:
    """Objects under an address. Keys and endpoint are those of s3fs or gcsfs: the usual environment variables."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        scheme, found, rest = self.url.partition("://")
        if not found or scheme not in SCHEMES or not rest:
            raise UsageError(f"a bucket's address is s3://NAME/FOLDER or gs://NAME/FOLDER, got {visible(url)}")
        require(SCHEMES[scheme], "bucket")
        self._scheme, self._root = scheme, rest
        self._fs: Any = require("fsspec", "bucket").filesystem(scheme)

    def __reduce__(self) -> tuple[type[Bucket], tuple[str]]:
        return Bucket, (self.url,)

    def __str__(self) -> str:
        return self.url

    def find(self, suffixes: frozenset[str] | None = None) -> Iterator[Found]:
        """Every object below, in the order of their names; or only those that hold something and whose name ends in one
        of `suffixes`."""
        try:
            self._fs.invalidate_cache()
            found = self._fs.find(self._root, detail=True)
        except Exception as error:  # what is raised differs from store to store
            raise FileUnreadable(
                f"{self.url} cannot be listed ({_said(error)}); check its name and your keys"
            ) from error
        for name in sorted(found):
            about = found[name]
            if suffixes is None or (Path(name).suffix.lower() in suffixes and about.get("size")):
                checksum = about.get("ETag") or about.get("md5Hash")
                version = checksum or about.get("etag") or about.get("mtime") or about.get("LastModified") or ""
                yield Found(f"{self._scheme}://{name}", int(about.get("size") or 0), str(version), checksum)

    def fetch(self, url: str, to: Path) -> None:
        """Copy an object to a file. Raises `FileMissing` or `FileUnreadable`, and `OutputError` where it cannot be kept
        here, which says nothing about the object."""
        try:
            to.touch()  # first, so that no folder is the object's fault; gcsfs would make one
        except OSError as error:
            raise _not_kept(to, error) from error
        try:
            self._fs.get_file(url.partition("://")[2], str(to))
        except FileNotFoundError:
            raise FileMissing(f"{visible(url)} is not there any more") from None
        except Exception as error:
            ours = _on_this_side(error)
            if ours is not None:
                raise _not_kept(to, ours) from error
            raise FileUnreadable(f"{visible(url)} cannot be fetched ({_said(error)})") from error

    def names(self, folder: str) -> list[str]:
        try:
            self._fs.invalidate_cache()
            found = self._fs.find(f"{self._root}/{folder}")
        except FileNotFoundError:
            return []
        except Exception as error:
            raise OutputError(f"{self.url}/{folder} cannot be listed ({_said(error)}); check your keys") from error
        # A console that "makes a folder" leaves an empty object of that name, with a slash at its end.
        inside = f"{self._root}/{folder}/"
        names = (name for name in found if name.startswith(inside) and not name.endswith("/"))
        return sorted(name.removeprefix(f"{self._root}/") for name in names)

    def read(self, name: str) -> bytes | None:
        try:
            data: bytes = self._fs.cat_file(f"{self._root}/{name}")
            return data
        except FileNotFoundError:
            return None
        except Exception as error:
            raise OutputError(f"{self.url}/{name} cannot be read ({_said(error)}); check your keys") from error

    def write(self, name: str, data: bytes) -> None:
        try:
            self._fs.pipe_file(f"{self._root}/{name}", data)  # an object appears when all of it has arrived
        except Exception as error:
            raise OutputError(f"{self.url}/{name} cannot be written ({_said(error)}); check your keys") from error

    def remove(self, names: list[str]) -> None:
        for start in range(0, len(names), 1000):
            try:
                self._rm([f"{self._root}/{name}" for name in names[start : start + 1000]])
            except Exception as error:
                raise OutputError(
                    f"{self.url} keeps what is to be removed ({_said(error)}); check your keys"
                ) from error

    def _rm(self, paths: list[str]) -> None:
        if _PATTERN.isdisjoint("".join(paths)):
            self._fs.rm(paths)
            return
        # `rm` takes names for patterns, and would remove what else they fit.
        with ThreadPoolExecutor(_REMOVED_AT_ONCE, thread_name_prefix="remove") as pool:
            list(pool.map(self._fs.rm_file, paths))

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()  # a bucket knows no locks


@contextmanager
def fetched(url: str, to: Path) -> Iterator[Path]:
    """A copy at `to` of the object at `url`, for as long as it is needed. Raises as `Bucket.fetch` does."""
    try:
        Bucket(url.rpartition("/")[0]).fetch(url, to)
        yield to
    finally:
        to.unlink(missing_ok=True)


def _on_this_side(error: BaseException) -> OSError | None:
    """What of `error` is about this machine: a full disk, or too many open files, which connections are too."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _not_kept(to: Path, error: OSError) -> OutputError:
    is_count = error.errno in (errno.EMFILE, errno.ENFILE)
    remedy = "ask for fewer --jobs or raise ulimit -n" if is_count else "free some space or set TMPDIR"
    return OutputError(f"{to.parent}: {error.strerror or error}; {remedy}")


def _said(error: Exception) -> str:
    return visible(f"{type(error).__name__}: {error}")[:200]
