"""A data set in a bucket, for readers that know folders: a folder of the same names, in which only the lists are real.

    with stand_in("s3://footage/dfdc") as there:
        found = dfdc.read(there.root, options)      # metadata.json was fetched; the videos are empty files
        there.address(found)                        # records say where in the bucket they lie

What a data set says is in its names and its lists, so every layout is read this way, and no video is fetched for it.
`opened` fetches one when its turn comes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from telltale._places import Bucket, fetched
from telltale._places import Found as Object
from telltale._text import visible
from telltale.datasets import celebdf, manifest
from telltale.datasets._contract import SIDES, Found, Problem, Record
from telltale.datasets._files import suffix
from telltale.errors import DataError, FileMissing, OutputError

LISTS = frozenset(
    {
        celebdf.LIST.casefold(),
        "dataset.json",  # dfdcp
        "metadata.csv",  # deepfake_faces
        *manifest.NAMES,
        *(f"lists/splits/{side}.txt" for side in SIDES),  # deeperforensics
        *(f"{folder}{side}.json" for folder in ("", "splits/") for side in SIDES),  # faceforensics
    }
)
"""What is fetched to be read: the lists of labels, splits and videos that the layouts know, where they have them.
Nothing else: a bucket may hold a store's shards beside the set, or a file of its own beside each clip."""
LISTS_ANYWHERE = frozenset({"metadata.json", "labels.csv"})
"""Those of DFDC: each of its parts has one."""
_MOST_TABLES = 16
"""Of other tables that lie on top: where no layout is recognised, one that could be a list is named (`_levels`)."""
_FETCHED_AT_ONCE = 16
_NO_NAME = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ}


@dataclass(slots=True)
class StandIn:
    """The folder for a reader, and what its names stand for."""

    url: str
    """What was asked for: a folder, or a list."""
    root: Path
    """The same here, for the reader."""
    folder: Path
    folder_url: str
    objects: dict[str, Object] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def address(self, found: Found) -> None:
        """Records get their object's address; what a list names outside the bucket is missing."""
        records = []
        for record in found.records:
            thing = self._object(record)
            if thing is None:
                found.problem("missing", record.name, "listed, but not in the bucket")
            else:
                records.append(replace(record, path=thing.url, version=f"{thing.size_bytes} {thing.version}"))
        found.records = records
        found.problems += self.problems

    def same_bytes(self, records: Iterable[Record]) -> Iterable[list[Record]]:
        """Records whose objects have one size, not 0, and one checksum, in lists of two or more."""
        urls = {thing.url: thing for thing in self.objects.values()}
        alike: dict[tuple[int, str], list[Record]] = {}
        for record in records:
            thing = urls[record.path]
            if thing.checksum is not None and thing.size_bytes > 0:
                alike.setdefault((thing.size_bytes, thing.checksum), []).append(record)
        return [same for same in alike.values() if len(same) > 1]

    def said(self, message: str) -> str:
        """A reader's message, about the bucket."""
        return message.replace(str(self.root), self.url).replace(str(self.folder), self.folder_url)

    def _object(self, record: Record) -> Object | None:
        return self.objects.get(Path(record.path).as_posix().removeprefix(f"{self.folder.as_posix()}/"))


@contextmanager
def stand_in(url: str) -> Iterator[StandIn]:
    """A folder for what lies under `url`, or beside the list that lies there.

    Raises `UsageError`, `FileMissing` where nothing lies there, `FileUnreadable`, `MissingExtra`.
    """
    bucket = Bucket(url)
    above, _, name = bucket.url.rpartition("/")
    listed = name if suffix(name) in manifest.SUFFIXES else None
    if listed is not None:
        bucket = Bucket(above)
        name = bucket.url.rpartition("/")[2]
    with TemporaryDirectory(prefix="telltale-") as scratch:
        folder = Path(scratch) / name
        try:
            _check(name)
            folder.mkdir()
        except (OSError, ValueError) as error:
            raise DataError(
                f"{visible(bucket.url)} ends in no name of a folder ({error}); copy the set to one"
            ) from error
        there = StandIn(visible(url), folder / listed if listed else folder, folder, visible(bucket.url))
        for thing in bucket.find():
            inside = thing.url.removeprefix(f"{bucket.url}/")
            if not inside.endswith("/"):  # some tools keep an empty object in the place of a folder
                _place(there, inside, thing)
        if not there.objects or not there.root.exists():
            raise FileMissing(f"{visible(url)} does not exist, or there is nothing in it")
        _fetch(there, bucket, _lists(there.objects) if listed is None else [listed])
        yield there


def _place(there: StandIn, name: str, thing: Object) -> None:
    try:
        _check(name)
        path = there.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_NAME:
            raise OutputError(f"{there.folder}: {error.strerror}; free some space or set TMPDIR") from error
        there.problems.append(Problem("unknown", visible(name), f"no file can be called that here ({_why(error)})"))
        return
    there.objects[name] = thing


def _lists(names: Iterable[str]) -> list[str]:
    """Those that a reader may open. In any case: there are systems on which it makes no difference."""
    found, tables = [], []
    for name in names:
        folded = name.casefold()
        if folded in LISTS or folded.rpartition("/")[2] in LISTS_ANYWHERE:
            found.append(name)
        elif "/" not in name and suffix(name) == ".csv":
            tables.append(name)
    return found + tables[:_MOST_TABLES]


def _fetch(there: StandIn, bucket: Bucket, names: Iterable[str]) -> None:
    """Put what lies in the bucket in the place of these empty files."""
    with ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="fetch") as pool:
        list(pool.map(lambda name: bucket.fetch(there.objects[name].url, there.folder / name), names))


def _check(name: str) -> None:
    """An object may be called `../../x`; a file may not."""
    if {"", ".", ".."} & {*name.split("/")}:
        raise ValueError("it is no path inside a folder")


def _why(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)


def fetched_to(scratch: Path) -> Path:
    """Where `opened` fetches to."""
    return scratch / "fetched"


@contextmanager
def opened(record: Record, scratch: Path) -> Iterator[Record]:
    """`record` with a `path` that opens here, for as long as it is needed: one in a bucket is fetched to `scratch`.

    Raises `FileMissing` or `FileUnreadable`.
    """
    if record.version is None:
        yield record
        return
    with fetched(record.path, fetched_to(scratch)) as path:
        yield replace(record, path=str(path), version=None)
