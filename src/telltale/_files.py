"""Writing what a command makes: all of it, or nothing.

write_files(out_dir, {"page.html": page, "roc.png": png})
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from telltale._text import visible
from telltale.errors import OutputError


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
        shown = visible(str(folder))
        raise OutputError(f"{shown}: {error.strerror or error}; free some space or choose another folder") from error
    finally:
        for part, _ in staged:
            part.unlink(missing_ok=True)
        for empty in reversed(made):
            with contextlib.suppress(OSError):
                empty.rmdir()


def _make(folder: Path) -> list[Path]:
    """The folders that had to be made, outer ones first."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


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


__all__ = ["write_files"]
