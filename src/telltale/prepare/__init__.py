"""A data set to a face store, in one command that can be killed and run again.

    manifest = prepare("/data/FaceForensics++", "faces.store", settings=PrepareSettings(plan=SamplePlan("every", 30)))

One task a video (or a batch of pictures): read, detect, link and crop in the worker process, exactly as `scan` does,
then one staged file. A bad video is a failure by name in the manifest, never the end of the run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from telltale import datasets
from telltale._files import only_one
from telltale._text import plural, visible
from telltale.datasets import Dataset, Record
from telltale.engine import LOCAL, Engine, map_tasks
from telltale.errors import DataError, UsageError, WorkerCrashed
from telltale.prepare._as_given import crop_as_given
from telltale.prepare._originals import originals_of
from telltale.prepare._progress import Progress, Rate
from telltale.prepare._settings import PrepareSettings
from telltale.prepare._task import PrepareTask, set_aside
from telltale.split import Draw
from telltale.store import NO_FACE, WITNESSES, Manifest, Store, StoreWriter, Task, check_ours, content_sha256


def prepare(
    source: str | Path | Dataset,
    out: str | Path,
    *,
    settings: PrepareSettings | None = None,
    draw: Draw | None = None,
    engine: Engine = LOCAL,
    retry_failed: bool = False,
    drop_missing: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Manifest:
    """Make the store at `out` from the data set at `source`, or go on making it.

    `source` is a folder or list that `datasets.read` recognises, or what it or `datasets.read_bucket` gave; files in a
    bucket are fetched one at a time for each job, and removed. `draw` takes some of its videos. Of a finished store at
    `out`, videos that the data set does not hold, or `draw` does not take, are a `UsageError`, or with `drop_missing`
    taken out; so is a data set in which most files have the names that the store knows and other content. A cluster's
    machines share the file system. The bytes of the store do not depend on `engine` or on how often the run was killed.
    Raises `DataError`, `UsageError`, `OutputError`, `OutputBusy` where another run writes there now, `FileUnreadable`
    where nothing comes from a bucket any more; never for one video.
    """
    dataset = source if isinstance(source, Dataset) else datasets.read(source)
    records = dataset.records if draw is None else draw.of(dataset.records)
    if not records:
        raise DataError(
            f"{visible(dataset.root)}: no usable video or picture was found{_first_of_each(dataset)}; "
            f"{_wanted(dataset)}"
        )
    settings = settings or PrepareSettings()
    if engine.jobs > 1:
        settings = replace(settings, n_threads=1)
    identity = settings.identity()
    with only_one(Path(out)):
        check_ours(out)
        if not settings.detect:
            identity["crop"] = asdict(crop_as_given(Path(out), records, settings))
        originals = originals_of(dataset.records) if settings.boxes_from_original and settings.detect else {}
        writer = StoreWriter(out, settings=identity, originals=originals)
        _check_loses_none(writer, dataset, records, drop_missing=drop_missing)
        _check_same_files(writer, dataset)
        writer.keep_settings(() if settings.detect else records)
        job = PrepareTask(
            out=str(Path(out).absolute()),
            identity=identity,
            settings=settings,
            originals=originals,
            retry_failed=retry_failed,
        )
        progress = _work(job, writer.tasks(records), writer, engine=engine, on_progress=on_progress)

        def on_records(n_stored: int) -> None:
            if on_progress is not None:
                on_progress(replace(progress, n_stored=n_stored))

        return writer.compact(records, problems=dataset.problems, on_records=on_records)


def _wanted(dataset: Dataset) -> str:
    if dataset.name in {*datasets.names()} - {"folder"}:
        return f"{dataset.name} has its files at {datasets.layout(dataset.name)}"
    return "where the set has words of its own for real and fake, say what they mean with --labels NAME=real,NAME=fake"


def _first_of_each(dataset: Dataset) -> str:
    """The first problem of each kind, as the end of a clause."""
    said = []
    for kind, problems in itertools.groupby(dataset.problems, key=lambda problem: problem.kind):
        first, *more = problems
        why = f" ({visible(first.detail)})" if first.detail else ""
        said.append(f"{kind} {visible(first.path)}{why}{f' and {len(more):,} more' if more else ''}")
    return f": {', '.join(said)}" if said else ""


def _check_loses_none(writer: StoreWriter, dataset: Dataset, records: Sequence[Record], *, drop_missing: bool) -> None:
    """Raises UsageError where the finished store holds videos that are not among `records`, drawn from the set, unless
    they are to go: another set was given, a disk is not there, or the draw is another."""
    if writer.manifest is None or drop_missing:
        return
    held = Store(writer.out, writer.manifest).videos().select(["dataset", "video_id", "path"]).to_pylist()
    for found, what in (
        (dataset.records, f"not in {visible(dataset.root)}"),
        (records, "not among those that --limit and --seed draw now"),
    ):
        there = {(record.dataset, record.video_id) for record in found}
        gone = [row for row in held if (row["dataset"], row["video_id"]) not in there]
        if gone:
            raise UsageError(
                f"{visible(str(writer.out))} holds {len(held):,} videos, and "
                f"{plural(len(gone), 'of them is', 'of them are')} {what}, first {visible(gone[0]['path'])} of "
                f"{visible(gone[0]['dataset'])}: choose another --out, or take them out of the store with "
                "--drop-missing"
            )


def _check_same_files(writer: StoreWriter, dataset: Dataset) -> None:
    """Raises UsageError where most of the files that the finished store holds have other content in the set: it is
    another set with the same names, as two sites may use, and the store's splits were made for the one it holds.

    Some are looked at, spread over the set; none that had failed, which may have been put right, nor in a bucket.
    """
    if writer.manifest is None:
        return
    rows = Store(writer.out, writer.manifest).videos().select(["dataset", "video_id", "sha256", "code"]).to_pylist()
    held = {
        (row["dataset"], row["video_id"]): row["sha256"]
        for row in rows
        if row["sha256"] and row["code"] in (None, NO_FACE)
    }
    again = [one for one in dataset.records if one.version is None and (one.dataset, one.video_id) in held]
    witnesses = [again[i] for i in np.unique(np.linspace(0, len(again) - 1, min(len(again), WITNESSES)).astype(int))]
    other = [one for one in witnesses if content_sha256(one) != held[one.dataset, one.video_id]]
    if 2 * len(other) > len(witnesses):
        raise UsageError(
            f"{visible(str(writer.out))} holds other files than {visible(dataset.root)}: of {len(witnesses)} looked at "
            f"of the same name {len(other)} have other content, first {visible(other[0].name)}: choose another --out, "
            "or delete it first"
        )


def _work(
    job: PrepareTask,
    todo: Sequence[Task],
    writer: StoreWriter,
    *,
    engine: Engine,
    on_progress: Callable[[Progress], None] | None,
) -> Progress:
    """Stage every task that is not staged yet."""
    progress = Progress(n_total=sum(map(len, todo)))
    for index, outcome in map_tasks(job, todo, engine=engine):
        done = set_aside(writer, todo[index], outcome) if isinstance(outcome, WorkerCrashed) else outcome
        progress = replace(
            progress,
            n_done=progress.n_done + done.n_records,
            n_skipped=progress.n_skipped + done.n_records * done.was_done,
            n_failed=progress.n_failed + done.n_failed,
            n_faces=progress.n_faces + done.n_faces,
        )
        if on_progress is not None:
            on_progress(progress)
    return progress


__all__ = ["PrepareSettings", "Progress", "Rate", "originals_of", "prepare"]
