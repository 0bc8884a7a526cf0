"""What a frozen backbone says of each picture, computed once and kept on disk.

A folder a backbone (its weights' SHA-256) and size; in it Parquet files of SHA-256 of a picture's pixels -> features. A
run that is stopped keeps what it had; another run with the same backbone begins from there.

cache = FeatureCache(net, folder, size_px=224)
features = cache.of(pictures)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from telltale.errors import OutputError
from telltale.recipe import Recipe
from telltale.train._data import Features, crop_of
from telltale.train._faces import FaceTable
from telltale.train._progress import waiting
from telltale.train._validation import ValidationSet
from telltale.types import Float32Array, RgbImage

_BATCH = 32
_FILE_ROWS = 1024


class FeatureCache:
    """Features of one network's frozen backbone: `net.frame` takes uint8 (N, S, S, 3) and gives (N, F)."""

    def __init__(self, net: nn.Module, folder: Path, *, size_px: int) -> None:
        self._frame: nn.Module = net.frame  # type: ignore[assignment]
        self.folder = folder / f"{_weights_hash(self._frame)[:16]}-{size_px}"
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._known: dict[bytes, Float32Array] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            table = pq.read_table(path, page_checksum_verification=True)
            rows = np.array(table.column("features").to_pylist(), np.float32)
            self._known |= dict(zip(table.column("sha256").to_pylist(), rows, strict=True))

    def of(self, pictures: Iterable[RgbImage]) -> Float32Array:
        """(N, F) of uint8 (S, S, 3) each."""
        keys: list[bytes] = []
        waiting: dict[bytes, RgbImage] = {}
        new: dict[bytes, Float32Array] = {}
        for picture in pictures:
            key = hashlib.sha256(picture.tobytes()).digest()
            keys.append(key)
            if key not in self._known and key not in new:
                waiting[key] = picture
            if len(waiting) == _BATCH:
                new |= self._compute(waiting)
                waiting = {}
            if len(new) >= _FILE_ROWS:
                self._keep(new)
                new = {}
        new |= self._compute(waiting)
        self._keep(new)
        self._frame.cpu()
        return np.stack([self._known[key] for key in keys])

    @torch.no_grad()
    def _compute(self, pictures: dict[bytes, RgbImage]) -> dict[bytes, Float32Array]:
        if not pictures:
            return {}
        given = torch.from_numpy(np.stack(list(pictures.values()))).to(self._device)
        found = self._frame.to(self._device).eval()(given).float().cpu().numpy()
        return dict(zip(pictures, found, strict=True))

    def _keep(self, new: dict[bytes, Float32Array]) -> None:
        if not new:
            return
        rows = np.stack(list(new.values()))
        features = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        table = pa.table({"sha256": pa.array(list(new), pa.binary(32)), "features": features})
        path = self.folder / f"{hashlib.sha256(b''.join(new)).hexdigest()[:16]}.parquet"
        staged = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, staged, compression="none", write_page_checksum=True)
            staged.replace(path)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}; free some space, or name another --cache") from error
        self._known |= new


def cacheable(net: nn.Module, recipe: Recipe) -> bool:
    """Whether the network has a frozen backbone and is shown the same pixels every time."""
    blended = any(mix.blend for mix in recipe.mix.values())
    return hasattr(net, "from_features") and not recipe.augment and not blended and recipe.teacher.bundle is None


def of_table(cache: FeatureCache, table: FaceTable, recipe: Recipe, *, size_px: int) -> Features:
    """(N, F) of every face of the table, as a scan cuts it."""
    spec = recipe.crop(size_px)
    return _of_all(cache, (crop_of(table, row, spec) for row in range(len(table))), len(table), "training")


def of_validation(cache: FeatureCache, of: ValidationSet) -> Features:
    """(N, T, F)."""
    n, t = of.clips.shape[:2]
    found = _of_all(cache, of.clips.reshape(n * t, *of.clips.shape[2:]), n * t, "validation")
    return found.reshape(n, t, -1)


def _of_all(cache: FeatureCache, pictures: Iterable[RgbImage], n: int, side: str) -> Float32Array:
    with waiting(f"what the backbone says of {side} faces", n) as step:

        def counted() -> Iterator[RgbImage]:
            for picture in pictures:
                yield picture
                step()

        return cache.of(counted())


def _weights_hash(net: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()
