"""Stores small enough to make in a test, of faces whose answer is known to `make_bundles.make_redness`.

A face is one colour: its logit is (red - green) / 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from telltale.crops import CropSpec
from telltale.split import Split, make_split
from telltale.store import Outcome, Store, StoredFace, StoreWriter, encode_crop, open_store, tasks
from telltale.types import ErrorInfo, Face, FaceRecord, RgbImage, VideoRecord

SIZE_PX = 32
PICTURE_PX = 48
"""A face in a smaller picture is too small for a verdict."""


def colour(logit: float, size_px: int = SIZE_PX) -> RgbImage:
    """A crop that `redness` gives this logit, in steps of 1/8 between -15 and 15."""
    red = 128 + round(8 * logit)
    return np.full((size_px, size_px, 3), (red, 256 - red, 0), np.uint8)


@dataclass(frozen=True)
class Clip:
    """One video of a store: the logits of its faces by track, half a second apart."""

    logits: Sequence[Sequence[float]]
    fake: bool
    group: str
    method: str | None = None
    face_px: float = 80.0
    filled: Sequence[int] = ()
    """Which faces of each track were expected there and not found."""


def store_of_clips(
    folder: Path,
    clips: Sequence[Clip],
    *,
    crop: CropSpec | None = None,
    dataset: str = "made",
    n_without: int = 0,
    **settings: Any,
) -> Store:
    """A store of videos; `n_without` more in which no face was found. `settings` are said to be how it was prepared."""
    crop = crop or CropSpec(size_px=SIZE_PX)
    writer = StoreWriter(folder, settings={"crop": asdict(crop), "detect": True, **settings})
    outcomes = [_outcome(folder, i, clip, dataset, crop.size_px) for i, clip in enumerate(clips)]
    for i in range(n_without):
        record = _record(folder, len(clips) + i, fake=False, group=f"none{i}", dataset=dataset)
        outcomes.append(Outcome(record, _digest(record), failure=ErrorInfo(code="no_face", message="nobody")))
    for outcome in outcomes:
        writer.stage([outcome])
    writer.compact([outcome.record for outcome in outcomes])
    return open_store(folder)


def _record(
    folder: Path, number: int, *, fake: bool, group: str, dataset: str, method: str | None = None
) -> VideoRecord:
    return VideoRecord(
        dataset=dataset,
        video_id=f"clip{number:03d}",
        path=str(folder / f"clip{number:03d}.mp4"),
        name=f"clip{number:03d}.mp4",
        label=int(fake),
        method=method,
        group_id=f"{dataset}:{group}" if ":" not in group else group,
    )


def _outcome(folder: Path, number: int, clip: Clip, dataset: str, size_px: int) -> Outcome:
    record = _record(folder, number, fake=clip.fake, group=clip.group, dataset=dataset, method=clip.method)
    faces = [
        StoredFace(
            encode_crop(colour(logit, size_px), format="png"),
            Face(
                frame_index=12 * i,
                pts_s=0.5 * i,
                box_xyxy=np.array([10, 10, 10 + clip.face_px, 10 + clip.face_px], np.float32),
                confidence=0.99,
                source="interpolated" if i in clip.filled else "detected",
            ),
            track_id=track,
        )
        for track, logits in enumerate(clip.logits)
        for i, logit in enumerate(logits)
    ]
    return Outcome(record, _digest(record), faces=faces, n_frames_sampled=20, n_frames_with_face=len(faces))


def _digest(record: VideoRecord) -> str:
    """As of a file of its own."""
    return hashlib.sha256(record.path.encode()).hexdigest()


def _counted(picture: RgbImage, number: int) -> RgbImage:
    picture[0, :2, 2] = divmod(number, 256)
    return picture


def store_of_pictures(
    folder: Path,
    logits: Sequence[float],
    fakes: Sequence[bool],
    *,
    groups: Sequence[str] | None = None,
    picture: Callable[[int], RgbImage] | None = None,
    margin_frac: float = 0.1,
    dataset: str = "stills",
) -> Store:
    """A store of pictures that were kept as they came, one a group unless `groups` says otherwise. Without `picture`
    no two are the same file: one corner's blue, which no answer depends on, counts them."""
    pictures = folder.with_name(folder.name + "-pictures")
    pictures.mkdir(parents=True)
    records = []
    for i, (logit, fake) in enumerate(zip(logits, fakes, strict=True)):
        path = pictures / f"face{i:04d}.png"
        shown = _counted(colour(logit, PICTURE_PX), i) if picture is None else picture(i)
        path.write_bytes(encode_crop(shown, format="png"))
        group = groups[i] if groups is not None else str(i)
        records.append(
            FaceRecord(
                dataset=dataset, image_id=f"face{i:04d}", path=str(path), name=path.name, label=int(fake),
                group_id=f"{dataset}:{group}",
            )
        )  # fmt: skip
    crop = CropSpec(kind="as_given", size_px=PICTURE_PX, margin_frac=margin_frac)
    writer = StoreWriter(folder, settings={"crop": asdict(crop), "detect": False})
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    return open_store(folder)


def split(store: Store, *, name: str = "main", seed: int = 0, ratio: str = "60/20/20") -> Split:
    """Deal the store out by group, and keep the split in it."""
    made = make_split(store.records(), ratio=ratio, seed=seed)
    store.write_split(name, made)
    return made
