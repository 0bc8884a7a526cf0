"""The face store: Parquet shards with checksums, one row a face, and splits beside them.

    STORE/manifest.json           what it was made from and how, counts, failures, the SHA-256 of each file below
    STORE/shards/*.parquet        for pandas, DuckDB, Hugging Face `datasets` (its Image column displays)
    STORE/splits/NAME.parquet     video_id -> side, empty if not drawn: a new split never rewrites a shard
    STORE/index-*.npy             where each picture lies, for random access
    STORE/videos-*.parquet        one row a video, failed ones and those without a face too
    STORE/unfinished.json         only until it is finished: the mark of a store that is begun, and its settings

A store is made by `StoreWriter` (task by task, resumable, all or nothing) and read through `open_store`. Page
checksums are on both ways, every picture has a CRC and the small files are compared with their SHA-256 when they are
read: a flipped bit is an error, never a wrong pixel or word.

>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> from telltale.types import FaceRecord
>>> folder = tempfile.TemporaryDirectory()
>>> picture = Path(folder.name) / "a.jpg"
>>> _ = picture.write_bytes(encode_crop(np.zeros((8, 8, 3), np.uint8)))
>>> record = FaceRecord(dataset="d", image_id="a", path=str(picture), name="a.jpg", label=1, group_id="d:a")
>>> writer = StoreWriter(Path(folder.name) / "faces.store", settings={"crop": "as_given"})
>>> for task in tasks([record]):
...     if not writer.done(task):
...         writer.stage_as_given(task)
>>> _ = writer.compact([record])
>>> store = open_store(writer.out)
>>> len(store), store.rgb(0).shape
(1, (8, 8, 3))
>>> store.verify()
>>> folder.cleanup()
"""

from __future__ import annotations

from telltale.store._export import export
from telltale.store._format import COLUMNS, NO_FACE, SCHEMA, ClassCount, FailedVideo, Manifest, Part
from telltale.store._outcome import Outcome, StoredFace, as_given, content_sha256, encode_crop
from telltale.store._read import Store, check_distinct, check_ours, is_store, open_store, undealt
from telltale.store._sparse import sparse
from telltale.store._stage import WITNESSES, StoreWriter, Task, kept_settings, tasks

__all__ = [
    "COLUMNS",
    "NO_FACE",
    "SCHEMA",
    "WITNESSES",
    "ClassCount",
    "FailedVideo",
    "Manifest",
    "Outcome",
    "Part",
    "Store",
    "StoreWriter",
    "StoredFace",
    "Task",
    "as_given",
    "check_distinct",
    "check_ours",
    "content_sha256",
    "encode_crop",
    "export",
    "is_store",
    "kept_settings",
    "open_store",
    "sparse",
    "tasks",
    "undealt",
]
