"""One video, or a batch of pictures, to a staged file: what each worker of the engine does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from telltale._request import ExtractRequest, check_detector, face_from_json, run_extract
from telltale._text import visible
from telltale.datasets import Record, fetched_to
from telltale.errors import (
    DeadlineExceeded,
    InputError,
    OutOfMemory,
    OutputError,
    Stopped,
    TelltaleError,
    WorkerCrashed,
    WorkerNotStarted,
)
from telltale.faces import files_read
from telltale.prepare._fetching import Fetching, NotFetched
from telltale.prepare._settings import PrepareSettings
from telltale.sandbox import Powers, Worker, WorkerLimits
from telltale.store import Outcome, StoredFace, StoreWriter, Task, as_given, content_sha256, encode_crop
from telltale.types import ErrorInfo, Face, FaceRecord

_ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class Done:
    n_records: int
    n_failed: int = 0
    n_faces: int = 0
    was_done: bool = False


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """What each worker of the engine is given; see `engine.Task`."""

    out: str
    identity: dict[str, Any]
    settings: PrepareSettings
    originals: dict[str, Record] = field(default_factory=dict)
    """Id of a fake -> its original."""
    retry_failed: bool = False

    @contextmanager
    def start(self) -> Iterator[Callable[[Task], Done]]:
        writer = StoreWriter(self.out, settings=self.identity, originals=self.originals)
        detector, config = self.settings.detector, self.settings.detector_config
        powers = Powers(may_read=files_read(detector, config=config))
        fetching, is_over = Fetching(), threading.Event()

        def do(task: Task) -> Done:
            if writer.done(task, retry_failed=self.retry_failed):
                return Done(len(task), was_done=True)
            outcomes, is_news = [], not writer.was_not_fetched(task)
            for record in task:
                outcomes.append(self._outcome(record, worker, fetching, Path(scratch), is_news=is_news))
                if is_over.is_set():  # the copies it was reading may be gone: nothing is said of the files
                    raise Stopped("the run was broken off")
                fetching.expect_answers(Path(scratch))
            return self._keep(outcomes, writer)

        with (
            Worker(WorkerLimits(powers=powers)) as worker,
            # A thread may still be fetching into it when a run is broken off; it clears away what it has.
            TemporaryDirectory(prefix="telltale-", ignore_cleanup_errors=True) as scratch,
        ):
            if powers.may_read:
                check_detector(worker, detector, config)
            try:
                yield do
            finally:
                is_over.set()

    @staticmethod
    def _keep(outcomes: list[Outcome], writer: StoreWriter) -> Done:
        if not writer.knows(outcomes):
            writer.stage(outcomes)
        return Done(
            len(outcomes),
            n_failed=sum(outcome.failure is not None for outcome in outcomes),
            n_faces=sum(len(outcome.faces) for outcome in outcomes),
        )

    def _outcome(self, record: Record, worker: Worker, fetching: Fetching, scratch: Path, *, is_news: bool) -> Outcome:
        try:
            with fetching.opened(record, scratch, is_news=is_news) as here:
                if self.settings.detect:
                    outcome = self._look(here, record, worker, fetching, scratch)
                else:
                    outcome = as_given(here)
        except NotFetched as said:
            return Outcome(record, "", failure=ErrorInfo.of(said.error))
        except InputError as error:
            return Outcome(record, "", failure=ErrorInfo.of(error))
        if outcome.failure is None or record.version is None:
            return replace(outcome, record=record)
        # What is said of the copies is meant of the objects.
        message = outcome.failure.message.replace(visible(here.path), visible(record.path))
        original = self.originals.get(record.video_id)
        if original is not None:
            message = message.replace(visible(str(fetched_to(scratch / _ORIGINAL))), visible(original.path))
        return replace(outcome, record=record, failure=ErrorInfo(code=outcome.failure.code, message=message))

    def _look(self, here: Record, record: Record, worker: Worker, fetching: Fetching, scratch: Path) -> Outcome:
        sha256, original = content_sha256(here), self.originals.get(record.video_id)
        original_sha256 = None if original is None else content_sha256(original)
        try:
            with self._original(record, fetching, scratch) as boxes_from:
                found = self._extract_twice(as_file(here, scratch), boxes_from, worker)
        except (WorkerNotStarted, Stopped, OutputError):  # says nothing about the file
            raise
        except TelltaleError as error:
            return Outcome(here, sha256, failure=ErrorInfo.of(error), original_sha256=original_sha256)
        if self.settings.faces == "largest":
            found.keep_largest()
        return Outcome(
            here,
            sha256,
            faces=[
                StoredFace(image, face, track_id)
                for track_id, face, image in sorted(found.faces, key=lambda row: (row[1].frame_index, row[0]))
            ],
            n_frames_sampled=found.n_frames,
            n_frames_with_face=len({face.frame_index for _, face, _ in found.faces if face.source == "detected"}),
            original_sha256=original_sha256,
        )

    @contextmanager
    def _original(self, record: Record, fetching: Fetching, scratch: Path) -> Iterator[str | None]:
        """A path to where the faces of `record` are looked for instead, if anywhere."""
        original = self.originals.get(record.video_id)
        if original is None:
            yield None
            return
        folder = scratch / _ORIGINAL
        folder.mkdir(exist_ok=True)
        with fetching.opened(original, folder) as here:
            yield as_file(here, folder)

    def _extract_twice(self, path: str, original: str | None, worker: Worker) -> _Found:
        """As `_extract`. A worker may have been ended for want of memory that others took: a fresh one tells."""
        with suppress(OutOfMemory, WorkerCrashed):
            return self._extract(path, original, worker)
        return self._extract(path, original, worker)

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
        for message in run_extract(worker, request):
            if message.kind == "faces":
                found.n_frames += 1
                for row, crop in zip(message.data["faces"], message.arrays["crops"], strict=True):
                    # Now: the pixels of a long clip of several people are gigabytes.
                    image = encode_crop(crop, format=settings.image_format)
                    found.faces.append((row["track_id"], face_from_json(row), image))
            elif message.kind == "done" and message.data["is_out_of_time"]:
                # how far it came depends on the machine, and a store must not
                raise DeadlineExceeded("it could not be read to its end in the time allowed; see --deadline")
        return found


@dataclass(slots=True)
class _Found:
    faces: list[tuple[int, Face, bytes]] = field(default_factory=list)
    """(Track, face, its picture encoded)."""
    n_frames: int = 0

    def keep_largest(self) -> None:
        """Only the track that covers most: the sum of its faces' areas, so that one close passer-by does not win."""
        area: dict[int, float] = {}
        for track_id, face, _ in self.faces:
            area[track_id] = area.get(track_id, 0.0) + face.width_px * face.height_px
        if area:
            largest = max(sorted(area), key=area.__getitem__)
            self.faces = [row for row in self.faces if row[0] == largest]


def as_file(record: Record, scratch: Path) -> str:
    """A path the worker can open: a picture inside a zip file is unpacked first."""
    if not isinstance(record, FaceRecord) or record.member is None:
        return record.path
    path = scratch / "picture"
    path.write_bytes(record.read_bytes())
    return str(path)


def set_aside(writer: StoreWriter, task: Task, error: WorkerCrashed) -> Done:
    failure = ErrorInfo.of(error)
    writer.stage(
        [
            Outcome(record, content_sha256(record), failure=failure, original_sha256=writer.original_sha256(record))
            for record in task
        ]
    )
    return Done(len(task), n_failed=len(task))
