"""Stores of videos that are only marks, with the faces that a detector might have found in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import make_datasets
from make_datasets import tiny_picture
from telltale import store
from telltale.store import Outcome, Store, StoredFace, StoreWriter, open_store, tasks
from telltale.types import Face, VideoRecord

FACE = {"size_px": 32, "margin_frac": 0.25}


def video(root: Path, number: int, *, label: int | None = None) -> VideoRecord:
    name = f"clips/{number:03d}.mp4"
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(make_datasets.mark(number))
    return VideoRecord(
        dataset="made",
        video_id=f"v/{number:03d}",
        path=str(path),
        name=name,
        label=number % 2 if label is None else label,
        method="swap" if number % 2 else None,
        group_id=f"made:{number // 2}",
        person_id=None if number % 3 else f"made:{number}",
    )


def outcome(record: VideoRecord, n_faces: int = 5) -> Outcome:
    """What a detector might have found in it; the same for the same record."""
    seed = int(record.video_id.rpartition("/")[2])
    faces = [
        StoredFace(
            tiny_picture(1000 * seed + k),
            Face(
                frame_index=10 * k,
                pts_s=k / 2,
                box_xyxy=np.array([k, 1, 20 + k, 30.5], np.float32),
                confidence=0.9 + k / 100,
                points=None if k == 1 else np.arange(10, dtype=np.float32).reshape(5, 2),
                source="interpolated" if k == 1 else "detected",
            ),
            track_id=k % 2,
        )
        for k in range(n_faces)
    ]
    return Outcome(record, store.content_sha256(record), faces, n_frames_sampled=6, n_frames_with_face=n_faces)


def make(out: Path, records: Sequence[VideoRecord]) -> Store:
    writer = StoreWriter(out, settings=FACE)
    for task in tasks(records):
        if not writer.done(task):
            (record,) = task
            assert isinstance(record, VideoRecord)
            writer.stage([outcome(record)])
    writer.compact(records)
    return open_store(out)


def hashes(out: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file below `out`."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


__all__ = ["FACE", "hashes", "make", "outcome", "video"]
