"""Thousands of files, on this machine or on a cluster, into one table that can be killed and gone on with.

    done = scan_into("results", listed(paths), engine=Engine("ray", jobs=64, address="auto"))
    pyarrow.parquet.read_table("results/table")     # one row a file: label, p_fake, code, the whole report as JSON

Each file ends as one small Parquet file, named after what was scanned and written whole by whoever scanned it. So a
clip has one result however often it is tried, a driver that is started again does nothing twice, and a failure is a row
with its code. At the end the small files become a few large ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from pyarrow import parquet

from telltale._places import Bucket, Folder, Found, Place, fetched
from telltale._scan_settings import AnyPath, checked_settings, path_name
from telltale._suffixes import MEDIA_SUFFIXES
from telltale._table_files import ROWS_PER_FILE, TableFiles, parquet_bytes, staged_name
from telltale._text import encodable
from telltale._versions import versions
from telltale.bundle import load_bundle
from telltale.engine import LOCAL, Engine, map_tasks
from telltale.errors import (
    BundleInvalid,
    InputError,
    Stopped,
    TelltaleError,
    UsageError,
    WorkerCrashed,
    WorkerNotStarted,
)
from telltale.report import summarise, to_json
from telltale.scan import Scanner, ScanSettings, load_scorer
from telltale.types import ErrorInfo, InputInfo, ModelInfo, Report

RUN = "run.json"
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("path_sha256", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("p_fake", pa.float64()),
        pa.field("codes", pa.list_(pa.string())),
        pa.field("error", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("n_people", pa.int32()),
        pa.field("n_faces", pa.int32()),
        pa.field("took_s", pa.float64()),
        pa.field("is_out_of_time", pa.bool_()),
        pa.field("report", pa.string(), nullable=False),
    ]
)
"""One row a file; `report` is the JSON of docs/report.md.

`path` is made printable, so two files may share one: a name with the byte FF, and one with the four characters `\\xff`.
`path_sha256` is of the name's own bytes: a new row takes the place of the one that has the same. Tables made before
there was such a column are read and gone on with; in their rows `path` decides. Nor do they have `is_out_of_time`:
whether the deadline ended the reading.
"""


@dataclass(frozen=True, slots=True)
class Item:
    """One file to scan. `key` stands for its name and contents; another key is another file."""

    path: str
    key: str
    in_bucket: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """How far a run is, or what it came to."""

    n_total: int
    n_done: int = 0
    n_skipped: int = 0
    """Of those done: done by an earlier run."""
    n_failed: int = 0
    n_fake: int = 0


def listed(paths: Iterable[AnyPath]) -> list[Item]:
    """Items for files that every machine sees under the same name; a file that changed since is another item."""
    items = []
    for path in paths:
        name = path_name(path)
        absolute = _absolute(name)
        try:
            about = os.stat(absolute)  # noqa: PTH116
            version = f"{about.st_size} {about.st_mtime_ns}"
        except (OSError, ValueError):
            version = "missing"
        items.append(Item(absolute, _key(absolute, version)))
    return items


def _absolute(name: str) -> str:
    """`name` from the root on. `..` leads to where the system goes: after a link, not back to where the link lies."""
    # Not with Path, which would drop what may be part of a strange name.
    head, climbs, rest = os.path.join(os.getcwd(), name).rpartition("/../")  # noqa: PTH109, PTH118
    if climbs:
        try:
            name = os.path.join(os.path.realpath(f"{head}/..", strict=True), rest)  # noqa: PTH118
        except (OSError, ValueError):
            return head + climbs + rest  # there is no such folder; collapsed, it might name a file that is there
    return os.path.abspath(name)  # noqa: PTH100


def in_bucket(url: str) -> list[Item]:
    """Items for every object at `s3://..` or `gs://..` that its name says to be a video or a picture."""
    items = [_found(found) for found in Bucket(url).find(MEDIA_SUFFIXES)]
    if not items:
        raise UsageError(f"{url}: there are no videos or pictures in it")
    return items


def _found(found: Found) -> Item:
    return Item(found.url, _key(found.url, f"{found.size_bytes} {found.version}"), in_bucket=True)


def _key(name: str, version: str) -> str:
    return _sha256(f"{name}\0{version}")[:32]


def _sha256(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def scan_into(
    out: str | os.PathLike[str] | Bucket,
    items: Sequence[Item],
    *,
    model: str | Path = "default",
    settings: ScanSettings | None = None,
    engine: Engine = LOCAL,
    retry_failed: bool = False,
    on_progress: Callable[[Totals], None] | None = None,
) -> Totals:
    """Scan `items` into the table at `out`, or go on doing it.

    `retry_failed`: also what failed before, or was cut short by its deadline.
    `out` is a folder that all machines of `engine` see, or a `Bucket`. A model that is a folder must lie on all
    machines under the same name.
    Raises `UsageError` where `out` holds another run, `OutputBusy` where one is writing there now, `ModelError`,
    `OutputError`; never for one file.
    """
    settings = checked_settings(settings)
    if engine.jobs > 1 or engine.name == "ray":
        settings = replace(settings, n_threads=1)
    bundle = load_bundle(model)
    is_shipped = not Path(model).is_dir()
    task = _ScanTask(
        place=out if isinstance(out, Bucket) else Folder(Path(out)),
        model=str(model) if is_shipped else str(Path(model).absolute()),
        model_sha256=bundle.sha256,
        settings=settings,
    )
    with task.place.held():
        _claim(task.place, settings, bundle.sha256)
        return _work(task, list(dict.fromkeys(items)), engine, retry_failed, on_progress or (lambda _: None))


def _work(
    task: _ScanTask,
    items: Sequence[Item],
    engine: Engine,
    retry_failed: bool,
    on_progress: Callable[[Totals], None],
) -> Totals:
    files = TableFiles(task.place)
    files.compact()
    before = files.labels()
    again = {key for key, label in before.items() if label == "failed"} | files.cut_short() if retry_failed else set()
    todo = [item for item in items if item.key not in before or item.key in again]
    kept = {item.key for item in items} - again
    labels = [label for key, label in before.items() if key in kept]
    totals = Totals(
        n_total=len(items),
        n_done=len(items) - len(todo),
        n_skipped=len(items) - len(todo),
        n_failed=labels.count("failed"),
        n_fake=labels.count("fake"),
    )
    on_progress(totals)
    for index, outcome in map_tasks(task, todo, engine=engine):
        label = task.set_aside(todo[index], outcome) if isinstance(outcome, WorkerCrashed) else outcome
        totals = replace(
            totals,
            n_done=totals.n_done + 1,
            n_failed=totals.n_failed + (label == "failed"),
            n_fake=totals.n_fake + (label == "fake"),
        )
        on_progress(totals)
        if (totals.n_done - totals.n_skipped) % ROWS_PER_FILE == 0:
            files.compact()
    files.compact()
    return totals


def _claim(place: Place, settings: ScanSettings, model_sha256: str) -> None:
    """Write down what this run is, or refuse to mix it with another."""
    said = asdict(settings)
    for name in ("n_threads", "deadline_s", "device", "annotate_into"):
        said.pop(name, None)
    identity = json.dumps({"schema_version": 1, "model": model_sha256, "settings": said}, indent=1, sort_keys=True)
    there = place.read(RUN)
    if there is None:
        place.write(RUN, (identity + "\n").encode())
    elif json.loads(there) != json.loads(identity):
        raise UsageError("the results there are of another model or of other settings: choose another --out")


@dataclass(frozen=True, slots=True)
class _ScanTask:
    """What each worker of the engine is given; see `engine.Task`."""

    place: Place
    model: str | Path
    model_sha256: str
    settings: ScanSettings

    @contextmanager
    def start(self) -> Iterator[Callable[[Item], str]]:
        place = copy(self.place)
        scorer = load_scorer(self.model, self.settings)
        if scorer.bundle.sha256 != self.model_sha256:
            raise BundleInvalid(f"model {self.model} is another one on this machine; copy the same to all of them")
        is_over = threading.Event()

        def do(item: Item) -> str:
            report = self._scan(item, scanner, Path(scratch))
            if is_over.is_set():  # the copy it was reading may be gone: nothing is said of the file
                raise Stopped("the run was broken off")
            return self._keep(item, place, report)

        with (
            Scanner(scorer, settings=self.settings) as scanner,
            # A thread may still be fetching into it when a run is broken off; it clears away what it has.
            TemporaryDirectory(prefix="telltale-", ignore_cleanup_errors=True) as scratch,
        ):
            try:
                yield do
            finally:
                is_over.set()

    def _keep(self, item: Item, place: Place, report: Report) -> str:
        if report.error is not None and report.error.code == WorkerNotStarted.code:  # says nothing about the file
            raise WorkerNotStarted(report.error.message)
        place.write(staged_name(item.key), _row(item, report))
        return report.verdict.label

    def _scan(self, item: Item, scanner: Scanner, scratch: Path) -> Report:
        if not item.in_bucket:
            return scanner.scan(item.path)
        path = scratch / "input"
        try:
            with fetched(item.path, path):
                report = scanner.scan(path)
        except InputError as error:  # all else is not about the file: no room for a copy, a model that does not run
            return self._failed(item, error)
        shown = encodable(item.path)
        said = json.loads(to_json(report).replace(json.dumps(str(path))[1:-1], json.dumps(shown)[1:-1]))
        return Report.model_validate({**said, "is_out_of_time": report.is_out_of_time})

    def set_aside(self, item: Item, error: WorkerCrashed) -> str:
        """The label of a file that no worker survived, unless the last one had it written before it died."""
        staged = self.place.read(staged_name(item.key))
        if staged is None:
            self.place.write(staged_name(item.key), _row(item, self._failed(item, error)))
            return "failed"
        label: str = parquet.read_table(io.BytesIO(staged), columns=["label"])["label"][0].as_py()
        return label

    def _failed(self, item: Item, error: TelltaleError) -> Report:
        return Report.failed(
            ErrorInfo.of(error),
            input=InputInfo(path=encodable(item.path), sha256="", size_bytes=0),
            model=ModelInfo(name=Path(self.model).name, sha256=self.model_sha256),
            versions=versions(),
        )


def _row(item: Item, report: Report) -> bytes:
    summary = summarise(report)
    row = {
        "key": item.key,
        "path": summary.path,
        "path_sha256": _sha256(item.path),
        "sha256": summary.sha256 or None,
        "label": summary.label,
        "p_fake": summary.p_fake,
        "codes": [str(code) for code in summary.codes],
        "error": summary.error or None,
        "reason": summary.reason,
        "n_people": summary.n_people,
        "n_faces": summary.n_faces,
        "took_s": summary.took_s,
        "is_out_of_time": report.is_out_of_time,
        "report": to_json(report),
    }
    return parquet_bytes(pa.Table.from_pylist([row], SCHEMA))


__all__ = ["SCHEMA", "Bucket", "Item", "Totals", "in_bucket", "listed", "scan_into"]
