"""A data set to a face store, in one command that can be killed and run again.

    manifest = prepare("/data/FaceForensics++", "faces.store", settings=PrepareSettings(plan=SamplePlan("every", 30)))

One task a video (or a batch of pictures): read, detect, link and crop in the worker process, exactly as `scan` does,
then one staged file. A bad video is a failure by name in the manifest, never the end of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from telltale import datasets
from telltale._files import only_one
from telltale._request import ExtractRequest, default_deadline_s, face_from_json
from telltale._text import visible
from telltale.crops import CropSpec
from telltale.datasets import Dataset, Record
from telltale.datasets._bucket import fetched_to, opened
from telltale.engine import LOCAL, Engine, map_tasks
from telltale.errors import DataError, InputError, TelltaleError, WorkerCrashed, WorkerNotStarted
from telltale.faces import DetectorConfig, files_read
from telltale.sampling import SamplePlan
from telltale.sandbox import Powers, Worker, WorkerLimits
from telltale.split import Draw
from telltale.store import (
    Manifest,
    Outcome,
    StoredFace,
    StoreWriter,
    Task,
    as_given,
    content_sha256,
    encode_crop,
    kept_settings,
    tasks,
)
from telltale.types import ErrorInfo, Face, FaceRecord

MEASURED_PICTURES = 200
_FEWEST_MEASURED = 10
_ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """What is stored. Everything but `deadline_s` and `n_threads` is part of the store's identity."""

    plan: SamplePlan = SamplePlan()
    detector: str = "mtcnn"
    detector_config: DetectorConfig = DetectorConfig()
    crop: CropSpec = CropSpec()
    faces: Literal["all", "largest"] = "all"
    """`largest`: of each video only the track whose faces are largest together."""
    detect: bool = True
    """False: pictures are stored as they are, and the margin around their faces is measured unless `margin` says it."""
    margin_frac: float | None = None
    """For pictures stored as they are: the margin around their faces, if it is known."""
    boxes_from_original: bool = False
    """Fakes are cut where their original's faces are. A fake whose original is not there keeps its own."""
    image_format: Literal["jpeg", "png"] = "jpeg"
    deadline_s: float | None = None
    n_threads: int = 2

    def identity(self) -> dict[str, Any]:
        """The settings that change what is stored, as JSON."""
        said = asdict(self)
        for name in ("deadline_s", "n_threads", "margin_frac"):
            del said[name]
        for name in ("n_threads", "model_path"):
            del said["detector_config"][name]
        return said


@dataclass(frozen=True, slots=True)
class Progress:
    """How far `prepare` is; counted in videos, or in pictures where the data set has only those."""

    n_total: int
    n_done: int = 0
    n_skipped: int = 0
    """Of those done: done by an earlier run."""
    n_failed: int = 0
    n_faces: int = 0


@dataclass(frozen=True, slots=True)
class _Done:
    n_records: int
    n_failed: int = 0
    n_faces: int = 0
    was_done: bool = False


def prepare(
    source: str | Path | Dataset,
    out: str | Path,
    *,
    settings: PrepareSettings = PrepareSettings(),
    draw: Draw | None = None,
    engine: Engine = LOCAL,
    retry_failed: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Manifest:
    """Make the store at `out` from the data set at `source`, or go on making it.

    `source` is a folder or list that `datasets.read` recognises, or what it or `datasets.read_bucket` gave; files in a
    bucket are fetched one at a time for each job, and removed. `draw` takes some of its videos. A cluster's machines
    share the file system. The bytes of the store do not depend on `engine` or on how often the run was killed. Raises
    `DataError`, `UsageError`, `OutputError`, `OutputBusy` where another run writes there now; never for one video.
    """
    dataset = source if isinstance(source, Dataset) else datasets.read(source)
    records = dataset.records if draw is None else draw.of(dataset.records)
    if not records:
        raise DataError(f"{dataset.root}: no usable video or picture was found; see the table of problems")
    if engine.jobs > 1:
        settings = replace(settings, n_threads=1)
    identity = settings.identity()
    with only_one(Path(out)):
        if not settings.detect:
            identity["crop"] = asdict(_kept_crop(Path(out), records, settings) or _crop_as_given(records, settings))
        return _prepare(dataset, records, out, identity, settings, engine, retry_failed, on_progress)


def _prepare(
    dataset: Dataset,
    records: Sequence[Record],
    out: str | Path,
    identity: dict[str, Any],
    settings: PrepareSettings,
    engine: Engine,
    retry_failed: bool,
    on_progress: Callable[[Progress], None] | None,
) -> Manifest:
    writer = StoreWriter(out, settings=identity)
    if not settings.detect:
        writer.keep_settings(records)
    job = _PrepareTask(
        out=str(Path(out).absolute()),
        identity=identity,
        settings=settings,
        originals=originals_of(dataset.records) if settings.boxes_from_original else {},
        retry_failed=retry_failed,
    )
    all_tasks = list(tasks(records))
    progress = Progress(n_total=len(records))
    for index, outcome in map_tasks(job, all_tasks, engine=engine):
        if isinstance(outcome, WorkerCrashed):
            outcome = _set_aside(writer, all_tasks[index], outcome)
        progress = Progress(
            n_total=progress.n_total,
            n_done=progress.n_done + outcome.n_records,
            n_skipped=progress.n_skipped + outcome.n_records * outcome.was_done,
            n_failed=progress.n_failed + outcome.n_failed,
            n_faces=progress.n_faces + outcome.n_faces,
        )
        if on_progress is not None:
            on_progress(progress)
    return writer.compact(records, problems=dataset.problems)


@dataclass(frozen=True, slots=True)
class _PrepareTask:
    """What each worker of the engine is given; see `engine.Task`."""

    out: str
    identity: dict[str, Any]
    settings: PrepareSettings
    originals: dict[str, Record] = field(default_factory=dict)
    """Id of a fake -> its original."""
    retry_failed: bool = False

    @contextmanager
    def start(self) -> Iterator[Callable[[Task], _Done]]:
        writer = StoreWriter(self.out, settings=self.identity)
        powers = Powers(may_read=files_read(self.settings.detector, config=self.settings.detector_config))
        with (
            Worker(WorkerLimits(powers=powers)) as worker,
            TemporaryDirectory(prefix="telltale-") as scratch,
        ):
            yield lambda task: self._do(task, writer, worker, Path(scratch))

    def _do(self, task: Task, writer: StoreWriter, worker: Worker, scratch: Path) -> _Done:
        if writer.done(task, retry_failed=self.retry_failed):
            return _Done(len(task), was_done=True)
        outcomes = [self._outcome(record, worker, scratch) for record in task]
        writer.stage(outcomes)
        return _Done(
            len(task),
            n_failed=sum(outcome.failure is not None for outcome in outcomes),
            n_faces=sum(len(outcome.faces) for outcome in outcomes),
        )

    def _outcome(self, record: Record, worker: Worker, scratch: Path) -> Outcome:
        try:
            with opened(record, scratch) as here:
                outcome = self._look(here, record, worker, scratch) if self.settings.detect else as_given(here)
        except InputError as error:
            return Outcome(record, "", failure=ErrorInfo(code=error.code, message=error.message))
        if outcome.failure is None or record.version is None:
            return replace(outcome, record=record)
        # What is said of the copies is meant of the objects.
        message = outcome.failure.message.replace(visible(here.path), visible(record.path))
        original = self.originals.get(record.video_id)
        if original is not None:
            message = message.replace(visible(str(fetched_to(scratch / _ORIGINAL))), visible(original.path))
        return replace(outcome, record=record, failure=ErrorInfo(code=outcome.failure.code, message=message))

    def _look(self, here: Record, record: Record, worker: Worker, scratch: Path) -> Outcome:
        sha256 = content_sha256(here)
        try:
            with self._original(record, scratch) as original:
                found = self._extract(_as_file(here, scratch), original, worker)
        except WorkerNotStarted:
            raise
        except TelltaleError as error:
            return Outcome(here, sha256, failure=ErrorInfo(code=error.code, message=error.message))
        if self.settings.faces == "largest":
            found.keep_largest()
        return Outcome(
            here,
            sha256,
            faces=[
                StoredFace(encode_crop(crop, format=self.settings.image_format), face, track_id)
                for track_id, face, crop in sorted(found.faces, key=lambda row: (row[1].frame_index, row[0]))
            ],
            n_frames_sampled=found.n_frames,
            n_frames_with_face=len({face.frame_index for _, face, _ in found.faces if face.source == "detected"}),
        )

    @contextmanager
    def _original(self, record: Record, scratch: Path) -> Iterator[str | None]:
        """A path to where the faces of `record` are looked for instead, if anywhere."""
        original = self.originals.get(record.video_id)
        if original is None:
            yield None
            return
        folder = scratch / _ORIGINAL
        folder.mkdir(exist_ok=True)
        with opened(original, folder) as here:
            yield _as_file(here, folder)

    def _extract(self, path: str, original: str | None, worker: Worker) -> _Found:
        settings = self.settings
        request = ExtractRequest(
            path=path,
            plan=settings.plan,
            detector=settings.detector,
            detector_config=settings.detector_config,
            crop=settings.crop,
            boxes_from=original,
            deadline_s=settings.deadline_s,
            n_decode_threads=1 if settings.n_threads == 1 else None,
        )
        found = _Found()
        for message in worker.run(
            "extract", request.to_json(), deadline_s=request.deadline_s or default_deadline_s(None)
        ):
            if message.kind == "info" and request.deadline_s is None:
                # With borrowed boxes two videos are read.
                worker.extend(default_deadline_s(message.data["duration_s"]) * (2 if request.boxes_from else 1))
            elif message.kind == "faces":
                found.n_frames += 1
                for row, crop in zip(message.data["faces"], message.arrays["crops"], strict=True):
                    found.faces.append((row["track_id"], face_from_json(row), crop))
        return found


@dataclass(slots=True)
class _Found:
    faces: list[tuple[int, Face, Any]] = field(default_factory=list)
    n_frames: int = 0

    def keep_largest(self) -> None:
        """Only the track that covers most: the sum of its faces' areas, so that one close passer-by does not win."""
        area: dict[int, float] = {}
        for track_id, face, _ in self.faces:
            area[track_id] = area.get(track_id, 0.0) + face.width_px * face.height_px
        if area:
            largest = max(sorted(area), key=area.__getitem__)
            self.faces = [row for row in self.faces if row[0] == largest]


def _as_file(record: Record, scratch: Path) -> str:
    """A path the worker can open: a picture inside a zip file is unpacked first."""
    if not isinstance(record, FaceRecord) or record.member is None:
        return record.path
    path = scratch / "picture"
    path.write_bytes(record.read_bytes())
    return str(path)


def _set_aside(writer: StoreWriter, task: Task, error: WorkerCrashed) -> _Done:
    failure = ErrorInfo(code=error.code, message=error.message)
    writer.stage([Outcome(record, content_sha256(record), failure=failure) for record in task])
    return _Done(len(task), n_failed=len(task))


def originals_of(records: Sequence[Record]) -> dict[str, Record]:
    """Id of each fake -> the real video that it was made from, where that is here.

    An original may be here several times, in FaceForensics++ at several compressions: the one that lies in folders of
    the same names as the fake. Where two do, nobody knows which, and the fake has none.
    """
    reals: dict[str, list[Record]] = {}
    for record in records:
        if record.label == 0 and record.original_id is not None:
            reals.setdefault(record.original_id, []).append(record)
    found: dict[str, Record] = {}
    for fake in records:
        if fake.label == 0 or fake.original_id not in reals:
            continue
        near = [len(_folders(real) & _folders(fake)) for real in reals[fake.original_id]]
        if near.count(max(near)) == 1:
            found[fake.video_id] = reals[fake.original_id][near.index(max(near))]
    return found


def _folders(record: Record) -> set[str]:
    return {*PurePosixPath(record.name.casefold()).parent.parts}


def _kept_crop(out: Path, records: Sequence[Record], settings: PrepareSettings) -> CropSpec | None:
    """The crop of the store at `out`, finished or begun, where it holds any of these pictures: what would be measured
    now, on a set that has grown, would make it another store."""
    kept = kept_settings(out)
    if kept is None or kept.settings.get("detect", True) or not kept.holds(records):
        return None
    crop = CropSpec(**kept.settings["crop"])
    return crop if settings.margin_frac is None else replace(crop, margin_frac=settings.margin_frac)


def _crop_as_given(records: Sequence[Record], settings: PrepareSettings) -> CropSpec:
    """The `as_given` CropSpec of pictures that are stored as they are: median size, and margin measured on a sample."""
    step = max(1, len(records) // MEASURED_PICTURES)
    sides, margins = [], []
    with Worker() as worker, TemporaryDirectory(prefix="telltale-") as scratch:
        for record in records[::step][:MEASURED_PICTURES]:
            try:
                with opened(record, Path(scratch)) as here:
                    request = ExtractRequest(_as_file(here, Path(scratch)), SamplePlan("first", 1))
                    messages = list(worker.run("extract", request.to_json(), deadline_s=60))
            except TelltaleError:
                continue  # it will be a failure by name when its turn comes
            info = messages[0].data
            side = min(info["width_px"], info["height_px"])
            sides.append(side)
            boxes = [
                row["box_xyxy"] for message in messages if message.kind == "faces" for row in message.data["faces"]
            ]
            if boxes:
                longest = max(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes)
                margins.append((side / longest - 1.0) / 2.0)
    margin_frac = settings.margin_frac
    if margin_frac is None:
        if len(margins) < min(_FEWEST_MEASURED, len(records)):
            raise DataError(
                f"faces were found in {len(margins)} of {len(sides)} pictures looked at, too few to measure the margin "
                "around them: state it with --margin"
            )
        margin_frac = round(float(np.median(margins)), 3)
    size_px = int(np.clip(np.median(sides) if sides else 224, 8, 1024))
    return CropSpec(kind="as_given", size_px=size_px, margin_frac=margin_frac)


class Rate:
    """Records a second and seconds left, from what this run did itself: what an earlier run did took no time now."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def of(self, progress: Progress) -> tuple[float, float | None]:
        """(records a second, seconds left or None as long as nothing was done)."""
        done = progress.n_done - progress.n_skipped
        rate = done / max(time.monotonic() - self._started, 1e-9)
        return rate, (progress.n_total - progress.n_done) / rate if rate > 0 else None


__all__ = ["PrepareSettings", "Progress", "Rate", "originals_of", "prepare"]
