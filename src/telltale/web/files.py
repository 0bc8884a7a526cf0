"""The data folder: uploads on their way in, uploads that are kept, results. Every name in it is made by the server.

DATA/telltale.db          jobs (`scan_db`)
DATA/uploads/ID           being received; emptied at every start
DATA/media/ID             what was uploaded, for an analysis
DATA/results/ID/          report.json, pictures.json, thumbnail.jpg, under no upload's name
DATA/results/ID/for-SCAN/ pages and clips made for one scan of it, under the name it was uploaded with
DATA/lock                 held by the server that uses the folder
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from telltale import __version__
from telltale._files import write_files
from telltale.errors import OutputError, UsageError
from telltale.report import to_json
from telltale.types import Pictures, Report
from telltale.web.database import database

REPORT_NAME = "report.json"
PICTURES_NAME = "pictures.json"
THUMBNAIL_NAME = "thumbnail.jpg"


class DataFolder:
    """Opens, locks and tidies the folder. Raises `UsageError` if another server uses it."""

    def __init__(self, root: Path, *, min_free_bytes: int = 0) -> None:
        """`min_free_bytes` of the disk are no room for anything that strangers can make grow."""
        self.root, self._min_free_bytes = root.resolve(), min_free_bytes
        self.uploads, self._media, self._results = (self.root / name for name in ("uploads", "media", "results"))
        self._sizes: dict[str, int] = {}
        self._sizes_lock = threading.Lock()
        try:
            for folder in (self.root, self.uploads, self._media, self._results):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(self.root / "lock")
            for leftover in self.uploads.iterdir():
                _remove(leftover)
        except OSError as error:
            where = error.filename or root
            raise OutputError(f"{where} cannot be used ({error.strerror}); choose another --data folder") from error

    @property
    def database(self) -> Path:
        return database(self.root)

    def media(self, analysis_id: str) -> Path:
        return self._media / analysis_id

    def thumbnail(self, analysis_id: str) -> Path:
        return self._results / analysis_id / THUMBNAIL_NAME

    def keep_upload(self, upload: Path, analysis_id: str) -> None:
        upload.replace(self.media(analysis_id))

    def keep_result(self, analysis_id: str, report: Report) -> None:
        """Write a result; replaces one that a crash left behind. The upload's name is no part of it."""
        thumbnails = report.pictures.thumbnails
        canonical = self.without_path(json.loads(to_json(report)), analysis_id)
        files = {
            REPORT_NAME: json.dumps(canonical).encode("ascii"),
            PICTURES_NAME: _pictures_json(report.pictures),
            **({THUMBNAIL_NAME: thumbnails[len(thumbnails) // 2][1]} if thumbnails else {}),
        }
        write_files(self._results / analysis_id, files)
        self.measure_anew(analysis_id)

    def result_bytes(self, analysis_id: str) -> int:
        """What a result takes, with the pages and clips made of it; measured once after each change."""
        with self._sizes_lock:
            if analysis_id not in self._sizes:
                self._sizes[analysis_id] = _bytes_in(self._results / analysis_id)
            return self._sizes[analysis_id]

    def measure_anew(self, analysis_id: str) -> None:
        """After every change of a result's folder."""
        with self._sizes_lock:
            self._sizes.pop(analysis_id, None)

    def report_data(self, analysis_id: str, *, name: str) -> dict[str, Any]:
        """The report as JSON values, under the name its upload has for whoever asks."""
        data = json.loads((self._results / analysis_id / REPORT_NAME).read_bytes())
        return self.with_name(data, analysis_id, name)

    def report(self, analysis_id: str, *, name: str) -> Report:
        """The report with its pictures."""
        pictures = _pictures((self._results / analysis_id / PICTURES_NAME).read_bytes())
        report = Report.model_validate(self.report_data(analysis_id, name=name))
        return report.model_copy(update={"pictures": pictures})

    def made_for(self, analysis_id: str, scan_id: str) -> Path:
        """Where what was made of a result under one scan's name is kept: it goes with that scan."""
        return self._results / analysis_id / f"for-{scan_id}"

    def made(self, analysis_id: str, scan_id: str, kind: str, key: str, make: Callable[[], bytes]) -> Path | bytes:
        """A file of what `make` gives, made once for each scan, kind and key: answers are streamed from disk, so that
        readers who take their time hold no memory. What `make` gave where there is no room to keep it.

        Raises `FileNotFoundError` where there is no result.
        """
        path = self.made_path(analysis_id, scan_id, kind, key)
        if not path.is_file():
            content = make()
            if not self.has_room(len(content)):
                return content
            try:
                write_files(path.parent, {path.name: content})
            except OutputError:
                return content
            self.measure_anew(analysis_id)
        return path

    def made_path(self, analysis_id: str, scan_id: str, kind: str, key: str) -> Path:
        """Where `made` keeps its file, which need not be there."""
        name = f"{kind}-{hashlib.sha256(f'{__version__}{key}'.encode()).hexdigest()[:24]}"
        return self.made_for(analysis_id, scan_id) / name

    def drop_made(self, analysis_id: str, scan_id: str) -> None:
        """Remove what was made for one scan of an analysis that others keep."""
        shutil.rmtree(self.made_for(analysis_id, scan_id), ignore_errors=True)
        self.measure_anew(analysis_id)

    def without_path(self, data: dict[str, Any], analysis_id: str) -> dict[str, Any]:
        """JSON values without the path of this upload: it is nobody's business, and each scan has its own name."""
        return _replaced(data, str(self.media(analysis_id)), _token(analysis_id))

    def with_name(self, data: dict[str, Any], analysis_id: str, name: str) -> dict[str, Any]:
        """What `without_path` kept, with the name the upload has for whoever asks."""
        return _replaced(data, _token(analysis_id), name)

    def drop_media(self, analysis_id: str) -> None:
        _remove(self.media(analysis_id))

    def drop(self, analysis_ids: Iterable[str]) -> None:
        """Remove all files of these analyses."""
        for analysis_id in analysis_ids:
            self.drop_media(analysis_id)
            shutil.rmtree(self._results / analysis_id, ignore_errors=True)
            self.measure_anew(analysis_id)

    def drop_strays(self, known: set[str]) -> None:
        """Remove what a crash left behind: files of no analysis."""
        self.drop({entry.name for folder in (self._media, self._results) for entry in folder.iterdir()} - known)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def room_bytes(self) -> int:
        """What may still be written; below zero where the disk's owner has less left than is theirs."""
        return self.free_bytes() - self._min_free_bytes

    def has_room(self, n_bytes: int = 0) -> bool:
        return self.room_bytes() >= n_bytes

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _locked(path: Path) -> IO[bytes]:
    file = path.open("wb")
    try:
        import fcntl
    except ImportError:  # Windows has no flock; a second server is then the operator's own doing
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(f"another server uses {path.parent}; stop it or choose another --data folder") from None
    with contextlib.suppress(OSError):
        os.set_inheritable(file.fileno(), False)
    return file


def _remove(path: Path) -> None:
    """A file. A folder is none of ours, and neither is what lies in it: it is left."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)


def _bytes_in(folder: Path) -> int:
    n_bytes = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # removed just now
                n_bytes += (Path(where) / name).stat().st_size
    return n_bytes


def _token(analysis_id: str) -> str:
    return f"upload-{analysis_id}"


def _replaced(data: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {key: _replaced_in(value, old, new) for key, value in data.items()}


def _replaced_in(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [_replaced_in(item, old, new) for item in value]
    return _replaced(value, old, new) if isinstance(value, dict) else value


def _pictures_json(pictures: Pictures) -> bytes:
    data = {
        "thumbnails": [[pts_s, _base64(jpeg)] for pts_s, jpeg in pictures.thumbnails],
        "crops": [[track, face, _base64(jpeg)] for (track, face), jpeg in pictures.crops.items()],
        "heat": [[track, face, _base64(png)] for (track, face), png in pictures.heat.items()],
        "still": None if pictures.still is None else _base64(pictures.still),
    }
    return json.dumps(data).encode("ascii")


def _pictures(data: bytes) -> Pictures:
    held = json.loads(data)
    return Pictures(
        thumbnails=tuple((pts_s, base64.b64decode(jpeg)) for pts_s, jpeg in held["thumbnails"]),
        crops={(track, face): base64.b64decode(jpeg) for track, face, jpeg in held["crops"]},
        heat={(track, face): base64.b64decode(png) for track, face, png in held["heat"]},
        still=base64.b64decode(still) if (still := held.get("still")) else None,  # older results have none
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


__all__ = ["DataFolder"]
