"""The table that is staged for a task: a row a face, and in its metadata a row a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from telltale._text import plural
from telltale.datasets import Record
from telltale.errors import StoreInvalid
from telltale.store._format import NO_FACE, SCHEMA, VIDEOS_SCHEMA, canonical_json
from telltale.store._outcome import Outcome, StoredFace

_TASK_KEY = b"telltale.task"
SAID = ("label", "method", "group_id", "person_id", "official_split")
"""What the data set says about a record."""


def staged_table(task: str, outcomes: Sequence[Outcome]) -> pa.Table:
    """What became of the records of the task called so, in their order."""
    videos = [_video_row(task, outcome) for outcome in outcomes]
    metadata = {**(SCHEMA.metadata or {}), _TASK_KEY: canonical_json(videos).encode()}
    return _rows(outcomes).replace_schema_metadata(metadata)


def _video_row(task: str, outcome: Outcome) -> dict[str, Any]:
    record, failure = outcome.record, outcome.failure
    return {
        "task": task,
        "dataset": record.dataset,
        "video_id": record.video_id,
        "path": record.name,
        "label": record.label,
        "method": record.method,
        "group_id": record.group_id,
        "person_id": record.person_id,
        "official_split": record.official_split,
        "sha256": outcome.sha256,
        "original_sha256": outcome.original_sha256,
        "n_frames_sampled": outcome.n_frames_sampled,
        "n_frames_with_face": outcome.n_frames_with_face,
        "n_faces": len(outcome.faces),
        "code": failure.code if failure else None,
        "message": failure.message if failure else None,
    }


def _rows(outcomes: Sequence[Outcome]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for outcome in outcomes:
        record = outcome.record
        for stored in outcome.faces:
            face = stored.face
            values = (
                record.dataset,
                record.video_id,
                record.name,
                record.label,
                record.method,
                record.group_id,
                record.person_id,
                record.official_split,
                stored.track_id,
                face.frame_index if face else 0,
                face.pts_s if face else 0.0,
                face.box_xyxy.astype(np.float32).tolist() if face else None,
                face.points.astype(np.float32).tolist() if face and face.points is not None else None,
                face.confidence if face else None,
                face.source if face else None,
                {"bytes": stored.image, "path": _picture_name(record, stored)},
            )
            for name, value in zip(SCHEMA.names, values, strict=True):
                columns[name].append(value)
    return pa.table(columns, schema=SCHEMA)


def _picture_name(record: Record, stored: StoredFace) -> str:
    if stored.face is None:
        return record.name
    suffix = "png" if stored.image.startswith(b"\x89PNG") else "jpg"
    return f"{record.video_id}/{stored.track_id:03d}_{stored.face.frame_index:06d}.{suffix}"


def read_videos(schema: pa.Schema) -> list[dict[str, Any]]:
    """The rows of the table of videos that a staged file carries."""
    try:
        rows = json.loads((schema.metadata or {})[_TASK_KEY])
    except (KeyError, ValueError) as error:
        raise StoreInvalid("a staged file does not say what it is: delete it") from error
    return [{name: row[name] for name in VIDEOS_SCHEMA.names} for row in rows]


def as_said(task: str, rows: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> list[dict[str, Any]]:
    """The rows of videos of a task, with what the data set says today about its `records`. One without a face that did
    not fail has the code `NO_FACE`."""
    return [
        {**row, "task": task, **{name: getattr(record, name) for name in SAID}, **_nobody(row)}
        for row, record in zip(rows, records, strict=True)
    ]


def _nobody(row: Mapping[str, Any]) -> dict[str, str]:
    if row["n_faces"] or row["code"] is not None:
        return {}
    looked_at = plural(row["n_frames_sampled"], "frame")
    return {"code": NO_FACE, "message": f"no face was found in the {looked_at} looked at"}


def faces_as_said(table: pa.Table, rows: Sequence[Mapping[str, Any]], said: Sequence[Mapping[str, Any]]) -> pa.Table:
    """`table`, the faces of the videos `rows`, with what is `said` of these."""
    for name in SAID:
        if any(row[name] != other[name] for row, other in zip(rows, said, strict=True)):
            field = SCHEMA.field(name)
            values = [row[name] for row in said for _ in range(row["n_faces"])]
            table = table.set_column(SCHEMA.get_field_index(name), field, pa.array(values, field.type))
    return table
