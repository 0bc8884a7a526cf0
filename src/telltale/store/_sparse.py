"""Whether the videos of stores give faces enough for a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from telltale._suffixes import PICTURE_SUFFIXES
from telltale._text import plural, visible
from telltale.aggregate import Minimum
from telltale.sampling import SamplePlan
from telltale.store._differences import said, sampling_option
from telltale.store._read import Store


def sparse(stores: Sequence[Store]) -> list[str]:
    """A sentence for each of `stores` whose typical video shows nobody in the faces that a card asks for."""
    found, needed = [], Minimum().n_faces
    for store in stores:
        n_faces = _faces_of_a_person(store)
        if len(n_faces) and (typical := float(np.median(n_faces))) < needed:
            found.append(
                f"The typical video of {visible(str(store.path))} shows a person in "
                f"{plural(int(typical), 'sampled frame')}, and below {needed} nothing is said about it: neither a "
                "model's figures nor a scan that samples alike will have it. Prepare it into another --out, sampled "
                f"more densely{_than(store.plan)}."
            )
    return found


def _faces_of_a_person(store: Store) -> list[int]:
    """Of each video with faces, not of pictures: how often whoever is seen most was found."""
    if not len(store):
        return []
    films = [
        row["video_id"]
        for row in store.videos().select(["video_id", "path"]).to_pylist()
        if PurePosixPath(row["path"]).suffix.lower() not in PICTURE_SUFFIXES
    ]
    table = store.table(["video_id", "track_id", "source"])
    table = table.filter(
        pc.and_(pc.equal(table["source"], "detected"), pc.is_in(table["video_id"], pa.array(films, pa.string())))
    )
    tracks = table.group_by(["video_id", "track_id"]).aggregate([([], "count_all")])
    videos = tracks.group_by("video_id").aggregate([("count_all", "max")])
    counts: list[int] = videos.column("count_all_max").to_pylist()
    return counts


def _than(plan: SamplePlan | None) -> str:
    if plan is None:
        return ""
    options = [sampling_option(plan.kind, plan.value)] if plan.kind != "all" else []
    options += [("--max-frames", plan.max_frames)] if plan.max_frames is not None else []
    options += [("--seconds", plan.seconds)] if plan.seconds is not None else []
    return f" than {' '.join(f'{name} {said(value)}' for name, value in options)}" if options else ""
