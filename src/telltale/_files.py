"""Writing what a command makes: all of it, or nothing.

write_files(out_dir, {"page.html": page, "roc.png": png})
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from telltale._text import visible
from telltale.errors import OutputBusy, OutputError


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write every file under a temporary name, then rename them all: a full disk leaves nothing behind.

    Names may go into sub-folders (`faces/grid.png`). Raises `OutputError`.
    """
    staged: list[tuple[Path, Path]] = []
    made: list[Path] = []
    try:
        for name, data in files.items():
            final = folder / name
            made += _make(final.parent)
            staged.append((_stage(final.parent, data), final))
        for part, final in staged:
            part.replace(final)
        made.clear()
    except OSError as error:
        raise _not_written(folder, error) from error
    finally:
        for part, _ in staged:
            part.unlink(missing_ok=True)
        _remove_empty(made)


def drop_earlier(folder: Path, names: Iterable[str]) -> None:
    """Remove what an earlier run left in `folder` under `names`: it would contradict what lies beside it now.

    A name that is not there, or is not a file, is passed over. Raises `OutputError`.
    """
    for path in (folder / name for name in names):
        if path.is_dir() and not path.is_symlink():
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{visible(str(path))} is of an earlier run and cannot be removed: {error.strerror or error}; "
                "remove it, or choose another folder"
            ) from error


def check_writable(folder: Path) -> None:
    """See, before any work, that files can be written in `folder`; one that is not there is made, and removed again.

    Raises `OutputError`.
    """
    made: list[Path] = []
    try:
        made = _make(folder)
        with tempfile.TemporaryFile(dir=folder) as file:  # on Linux without a name: killed here, it leaves nothing
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _not_written(folder, error) from error
    finally:
        _remove_empty(made)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, against a second command that would write there.

    The system lets go when the process ends, however it ends. Raises `OutputBusy`. Where the system (Windows) or the
    file system knows no such locks, nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        shown = visible(str(folder))
        raise OutputError(f"{shown}: {error.strerror or error}; choose another folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputBusy(
                f"{visible(str(folder))} is being written by another command; wait for it, or choose another folder"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EBADF):
                raise
        yield
    finally:
        os.close(handle)


def _not_written(folder: Path, error: OSError) -> OutputError:
    shown = visible(str(folder))
    return OutputError(f"{shown}: {error.strerror or error}; free some space or choose another folder")


def file_sha256(path: Path) -> str:
    """Of a file of ours, hexadecimal; strangers' files are hashed as they are read (`_source`)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(folder: Path) -> list[Path]:
    """The folders that had to be made, outer ones first."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _remove_empty(made: Sequence[Path]) -> None:
    for empty in reversed(made):
        with contextlib.suppress(OSError):
            empty.rmdir()


def _stage(folder: Path, data: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=".telltale-", suffix=".part", dir=folder)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return part
