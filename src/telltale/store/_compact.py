"""From staged files to shards: in the order of the data set, in bounded memory, visible all at once or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from telltale._files import write_files
from telltale._text import file_size, visible
from telltale.datasets import Problem
from telltale.errors import DataError, OutputError
from telltale.store._format import (
    MANIFEST,
    NO_FACE,
    SHARD_NAME,
    SHARDS,
    STAGING,
    UNFINISHED,
    VIDEOS_SCHEMA,
    ClassCount,
    FailedVideo,
    Manifest,
    Part,
)
from telltale.store._rows import as_said, faces_as_said
from telltale.store._shards import ShardWriter
from telltale.store._stage import StoreWriter, Task
from telltale.store._there import Named, There

_PART_FILES = ".telltale-*.part"
_OURS = re.compile(
    rf"{SHARDS}/{SHARD_NAME.pattern}|index-[0-9a-f]{{12}}\.npy|videos-[0-9a-f]{{12}}\.parquet"
    rf"|{STAGING}/[0-9a-f]{{2}}/([0-9a-f]{{32}}\.parquet|\.telltale-[^/]+\.part)"
)
"""Names that we give: whatever else lies in the folder is somebody's."""
_CARD = """---
configs:
- config_name: default
  data_files: shards/*.parquet
---
A store of faces made by `telltale prepare`: one row a face, 1 = fake. `manifest.json` says how it was made; the terms
of the data sets it was made from apply.
"""


def compact(
    writer: StoreWriter,
    all_tasks: Sequence[Task],
    *,
    problems: Sequence[Problem],
    on_records: Callable[[int], None] | None = None,
) -> Manifest:
    """See `StoreWriter.compact`."""
    if not all_tasks:
        raise DataError("there is nothing to store: the data set has no usable file")
    tasks = {writer.task_name(task): task for task in all_tasks}
    there = There(writer, tasks)
    missing = [task for name, task in tasks.items() if name not in there.held and name not in there.staged]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(tasks)} tasks are not done, such as {missing[0][0].name}: run the same "
            "command again"
        )
    if writer.manifest is not None and not there.staged:
        said = [row for name, task in tasks.items() for row in as_said(name, there.held[name].rows, task)]
        if said == there.held_rows:
            return _told_anew(writer.out, writer.manifest, problems)
    with contextlib.closing(there):
        return _build(writer, there, tasks, problems, on_records)


def _told_anew(out: Path, manifest: Manifest, problems: Sequence[Problem]) -> Manifest:
    """The store as it is; the problems of the data set may be others than when it was made."""
    if tuple(problems) != manifest.problems:
        manifest = manifest.model_copy(update={"problems": tuple(problems)})
        _write_manifest(out, manifest)
    _clean(out, manifest)
    return manifest


def _build(
    writer: StoreWriter,
    there: There,
    tasks: Mapping[str, Task],
    problems: Sequence[Problem],
    on_records: Callable[[int], None] | None,
) -> Manifest:
    out = writer.out
    try:
        (out / SHARDS).mkdir(parents=True, exist_ok=True)
        _sweep(out)
        _check_room(out, there.size_bytes(list(tasks.items())))
        with contextlib.ExitStack() as stack:
            shards = ShardWriter(out / SHARDS, stack)
            videos: list[dict[str, Any]] = []
            for said in _filled(shards, there, list(tasks.items())):
                videos += said
                if on_records is not None:
                    on_records(len(videos))
            shards.close()
            index = shards.index()
            buffer = io.BytesIO()
            np.save(buffer, index)
            index_part = _publish(out, "index", ".npy", buffer.getvalue(), len(index))
            buffer = io.BytesIO()
            parquet.write_table(
                pa.Table.from_pylist(videos, VIDEOS_SCHEMA), buffer, compression="zstd", write_page_checksum=True
            )
            videos_part = _publish(out, "videos", ".parquet", buffer.getvalue(), len(videos))
            manifest = _manifest(writer, videos, problems, shards.parts, index_part, videos_part)
            _write_card(out)
            shards.publish()
        _write_manifest(out, manifest)
        _clean(out, manifest)
    except OSError as error:
        raise OutputError(
            f"{visible(str(out))}: {error.strerror or error}; free some space or make it writable and run the same "
            "command again: what was prepared is kept"
        ) from error
    return manifest


def _filled(shards: ShardWriter, there: There, tasks: Sequence[Named]) -> Iterator[list[dict[str, Any]]]:
    """Write the tasks in their order, or keep whole shards of the store before; gives the rows of videos of each."""
    at = 0
    while at < len(tasks):
        whole = there.whole_shard(tasks, at) if shards.is_between else None
        if whole is not None:
            shards.keep(there.out / whole.part.name, whole.part, whole.entries)
            yield from ([row] for row in whole.rows)
            at += len(whole.tasks)
            continue
        name, task = tasks[at]
        rows, table = there.read(name)
        said = as_said(name, rows, task)
        shards.add(name, faces_as_said(table, rows, said))
        yield said
        at += 1


def _check_room(out: Path, needed_bytes: int) -> None:
    """Raises `OutputError`, before hours of writing, where the shards will not fit beside what is there."""
    usage = shutil.disk_usage(out)
    free_bytes = usage.free
    if usage.total and free_bytes < needed_bytes:  # a mounted bucket may say 0 of both
        raise OutputError(
            f"{visible(str(out))}: its shards take {file_size(needed_bytes)}, and {file_size(free_bytes)} are free; "
            "free some space and run the same command again: what was prepared is kept"
        )


def _write_manifest(out: Path, manifest: Manifest) -> None:
    write_files(out, {MANIFEST: (manifest.model_dump_json(indent=1) + "\n").encode()})


def _publish(out: Path, stem: str, suffix: str, data: bytes, n_rows: int) -> Part:
    """Write a file that is named after its contents, so that it can lie beside the one it will replace."""
    digest = hashlib.sha256(data).hexdigest()
    name = f"{stem}-{digest[:12]}{suffix}"
    write_files(out, {name: data})
    return Part(name=name, size_bytes=len(data), sha256=digest, n_rows=n_rows)


def _manifest(
    writer: StoreWriter,
    videos: Sequence[dict[str, Any]],
    problems: Sequence[Problem],
    shards: Sequence[Part],
    index: Part,
    table: Part,
) -> Manifest:
    totals: dict[tuple[str, int, str | None], Counter[str]] = {}
    for row in videos:
        total = totals.setdefault((row["dataset"], row["label"], row["method"]), Counter())
        total["n_videos"] += 1
        total["n_failed"] += row["code"] not in (None, NO_FACE)
        total["n_no_face"] += row["code"] == NO_FACE
        for name in ("n_faces", "n_frames_sampled", "n_frames_with_face"):
            total[name] += row[name]
    failed = [row for row in videos if row["code"] not in (None, NO_FACE)]
    names = ("n_videos", "n_failed", "n_no_face", "n_faces", "n_frames_sampled", "n_frames_with_face")
    return Manifest(
        datasets=tuple(sorted({row["dataset"] for row in videos})),
        settings=writer.settings,
        settings_sha256=writer.settings_sha256,
        n_videos=sum(row["n_faces"] > 0 for row in videos),
        n_faces=sum(row["n_faces"] for row in videos),
        counts=tuple(
            ClassCount(dataset=key[0], label=key[1], method=key[2], **{name: total[name] for name in names})
            for key, total in sorted(totals.items(), key=lambda item: (*item[0][:2], item[0][2] or ""))
        ),
        failures=dict(sorted(Counter(row["code"] for row in failed).items())),
        failed=tuple(
            FailedVideo(video_id=row["video_id"], path=row["path"], code=row["code"], message=row["message"] or "")
            for row in failed
        ),
        no_face=tuple(row["path"] for row in videos if row["code"] == NO_FACE),
        problems=tuple(problems),
        shards=tuple(shards),
        index=index,
        videos=table,
    )


def _sweep(out: Path) -> None:
    """Remove what a killed run left half-written."""
    for folder in (out, out / SHARDS):
        for path in folder.glob(_PART_FILES):
            path.unlink(missing_ok=True)


def _clean(out: Path, manifest: Manifest) -> None:
    """Remove what the manifest does not name: the store that was there before, and what was staged."""
    named = {part.name for part in manifest.parts()}
    for path in [*out.glob("*"), *out.glob(f"{SHARDS}/*"), *out.glob(f"{STAGING}/*/*")]:
        name = path.relative_to(out).as_posix()
        if name not in named and _OURS.fullmatch(name):
            path.unlink(missing_ok=True)
    _sweep(out)
    for folder in (*out.glob(f"{STAGING}/*"), out / STAGING):
        with contextlib.suppress(OSError):  # not empty, or no folder: not ours
            folder.rmdir()
    (out / UNFINISHED).unlink(missing_ok=True)


def _write_card(out: Path) -> None:
    path = out / "README.md"
    if not path.exists() or b"made by `telltale prepare`" in path.read_bytes():
        write_files(out, {path.name: _CARD.encode()})
