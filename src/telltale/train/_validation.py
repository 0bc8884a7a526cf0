"""The faces a run is judged on after each epoch: fixed pictures, made once a stage.

Sets: each source's reals and fakes as a scan would crop them, self-blended fakes of its reals, and sources with both
classes again under JPEG 30 and half size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from telltale.aggregate import sigmoid
from telltale.augment import half_size, jpeg
from telltale.crops import CropSpec, crop_face
from telltale.errors import DataError, UsageError, nearest
from telltale.metrics import accuracy, auc, log_loss
from telltale.recipe import Recipe
from telltale.train._clips import ClipRows, cut_clips
from telltale.train._data import Batch, Features, blend, close_up, crop_of
from telltale.train._faces import FaceTable
from telltale.train._mix import ALONE, Shard
from telltale.train._progress import waiting
from telltale.types import BoolArray, Float64Array, RgbImage, Side

_ROBUST_LIMIT = 300
_BLENDS = 200


@dataclass(frozen=True)
class ValidationSet:
    """Crops with where they come from."""

    clips: npt.NDArray[np.uint8]
    """(N, T, S, S, 3)"""
    mask: BoolArray
    """(N, T): False where a clip is padded."""
    kind: npt.NDArray[np.str_]
    """plain, blend, jpeg30, half."""
    source: npt.NDArray[np.str_]
    label: npt.NDArray[np.int64]
    group: npt.NDArray[np.str_]
    track: npt.NDArray[np.str_]
    pts_s: Float64Array
    """Of each clip's middle."""
    features: Features | None = None
    """(N, T, F): what a frozen backbone says of the clips, where it was asked."""

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: npt.NDArray[Any]) -> ValidationSet:
        """The rows of an index array or of a mask."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[rows] for name, value in values.items() if value is not None})

    @property
    def judged(self) -> BoolArray:
        """(N,): the plain faces of sources with both classes; where there is none, all plain faces, or reals and their
        blends where nothing else is fake."""
        plain = self.kind == "plain"
        both = [
            source
            for source in sorted(set(self.source.tolist()))
            if set(self.label[plain & (self.source == source)].tolist()) == {0, 1}
        ]
        if both:
            return np.asarray(plain & np.isin(self.source, both))
        if set(self.label[plain].tolist()) == {0, 1}:
            return np.asarray(plain)
        return np.asarray((plain & (self.label == 0)) | (self.kind == "blend"))

    def loader(self, *, shard: Shard = ALONE) -> DataLoader[Batch]:
        return DataLoader(_Rows(self, shard.of(len(self))), batch_size=64, shuffle=False)


class _Rows(Dataset[Batch]):
    def __init__(self, of: ValidationSet, rows: range) -> None:
        self.of, self.rows = of, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        row = self.rows[index]
        shown = self.of.clips if self.of.features is None else self.of.features
        return {
            "clips" if self.of.features is None else "features": torch.from_numpy(shown[row]),
            "mask": torch.from_numpy(self.of.mask[row]),
            "row": torch.tensor(row),
        }


def build(
    table: FaceTable,
    recipe: Recipe,
    *,
    size_px: int,
    limit: int | None = None,
    robust: bool = True,
    side: Side | None = None,
) -> ValidationSet:
    """Crops of the validation faces; at most `limit` a source and label, spread evenly. Of `table` only those of
    `side`, where it is given. Raises DataError where there is no face."""
    table = table if side is None else table.on(side)
    if not len(table):
        where = f"side {side}" if side else "the side that is to be measured"
        raise DataError(f"there is no face on {where}: split with --ratio 80/10/10, or leave the side out of `sides`")
    spec, cut = recipe.crop(size_px), cut_clips(table, recipe.n_frames)
    faces, table = table, cut.heads(table)
    clips: list[RgbImage] = []
    masks: list[BoolArray] = []
    kinds: list[str] = []
    sources: list[str] = []
    labels: list[int] = []
    heads: list[int] = []

    def add(rgb: RgbImage, kind: str, source: str, label: int, row: int) -> None:
        clips.append(rgb)
        masks.append(cut.mask[row])
        kinds.append(kind)
        sources.append(source)
        labels.append(label)
        heads.append(row)

    def add_all_of(source: str) -> None:
        both = len(set(table.label[table.dataset == source].tolist())) == 2
        for label in (0, 1):
            for place, row in enumerate(chosen[source, label].tolist()):
                rgb = np.stack([crop_of(faces, i, spec) for i in cut.rows[row].tolist()])
                add(rgb, "plain", source, label, row)
                if robust and both and place < _ROBUST_LIMIT:
                    add(np.stack([jpeg(frame, 30) for frame in rgb]), "jpeg30", source, label, row)
                    add(np.stack([half_size(frame) for frame in rgb]), "half", source, label, row)
                step()
        reals = np.flatnonzero((table.dataset == source) & (table.label == 0))
        if robust and recipe.mix_for(source).blend and len(reals):
            for place, row in enumerate(np.resize(spread(reals, _BLENDS), _BLENDS).tolist()):
                add(_blend(faces, cut, row, place, spec), "blend", source, 1, row)

    sources_here = sorted(set(table.dataset.tolist()))
    chosen = {
        (source, label): spread(np.flatnonzero((table.dataset == source) & (table.label == label)), limit)
        for source in sources_here
        for label in (0, 1)
    }
    with waiting("cutting faces to be judged", sum(len(rows) for rows in chosen.values())) as step:
        for source in sources_here:
            add_all_of(source)
    columns = np.array(kinds), np.array(sources), np.array(labels), table.group_id[heads], table.track[heads]
    return ValidationSet(np.stack(clips), np.stack(masks), *columns, pts_s=_middles(faces, cut)[heads])


def _middles(table: FaceTable, cut: ClipRows) -> Float64Array:
    """The time of each clip's middle face, as `runtime.middle_s` has it."""
    last = cut.mask.sum(axis=1) - 1
    return np.asarray(table.pts_s[cut.rows[np.arange(len(cut)), last // 2]])


def spread(rows: npt.NDArray[np.int64], limit: int | None) -> npt.NDArray[np.int64]:
    """At most `limit` of `rows`, evenly spaced."""
    if limit is None or len(rows) <= limit:
        return rows
    kept: npt.NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, limit).round().astype(int)]
    return kept


def _blend(table: FaceTable, cut: ClipRows, row: int, place: int, spec: CropSpec) -> RgbImage:
    """uint8 (T, S, S, 3)."""
    rng = np.random.default_rng([17, place])
    face_px = 1.4 * spec.size_px
    frames = [close_up(table, i, face_px=face_px) for i in cut.rows[row].tolist()]
    fakes = blend(table, frames, rng, face_px=face_px)
    quality = int(rng.integers(70, 96))
    pairs = zip(fakes, frames, strict=True)
    return np.stack([jpeg(crop_face(fake, box, None, spec), quality) for fake, (_, box, _) in pairs])


def falls(figure: str) -> bool:
    """Whether a figure of `figures` is better the lower it is."""
    return figure.endswith(("loss", "_fpr", "_real_median", "_real_p95"))


def check_monitor(of: ValidationSet, monitor: str) -> None:
    """Raises UsageError where no figure of an epoch has that name, DataError where faces of one class are judged."""
    judged = set(of.label[of.judged].tolist())
    if len(judged) < 2:
        raise DataError(
            "validation needs real and fake faces to judge an epoch by: split again, or give the mix a `blend`"
        )
    names = list(figures(of, np.zeros(len(of))))
    if monitor not in names:
        there_are = f"(there are {', '.join(names)}){nearest(monitor, names)}"
        raise UsageError(f"monitor: no epoch has a figure {monitor!r} {there_are}")


def figures(of: ValidationSet, logit: Float64Array) -> dict[str, float]:
    """What is logged after each epoch. `val_auc`, `val_loss` and `val_accuracy` (at a logit of 0) are over all plain
    faces, or over reals and their blends where nothing else is fake; the rest by source and kind.

    `SOURCE_fpr`: share of a source's reals above the logit that 1 % of the first two-class source's reals reach.
    """
    found: dict[str, float] = {}
    plain, real = of.kind == "plain", of.label == 0
    both = [
        source
        for source in sorted(set(of.source.tolist()))
        if set(of.label[plain & (of.source == source)].tolist()) == {0, 1}
    ]
    judged = of.judged
    found["val_auc"] = auc(of.label[judged], logit[judged])
    found["val_loss"] = log_loss(of.label[judged], sigmoid(logit[judged]))
    found["val_accuracy"] = accuracy(of.label[judged], sigmoid(logit[judged]))
    for source in sorted(set(of.source.tolist())):
        here = of.source == source
        for kind in ("plain", "jpeg30", "half"):
            rows = here & (of.kind == kind)
            if set(of.label[rows].tolist()) == {0, 1}:
                found[f"{source}_{kind}_auc"] = auc(of.label[rows], logit[rows])
        rows = here & ((of.kind == "blend") | (plain & real))
        if set(of.label[rows].tolist()) == {0, 1}:
            found[f"{source}_blend_auc"] = auc(of.label[rows], logit[rows])
    if both:
        limit = float(np.quantile(logit[plain & real & (of.source == both[0])], 0.99))
        found["fake_tpr_at_1"] = float((logit[plain & ~real & (of.source == both[0])] > limit).mean())
        for source in sorted(set(of.source.tolist()) - {both[0]}):
            rows = plain & real & (of.source == source)
            if rows.any():
                found[f"{source}_fpr"] = float((logit[rows] > limit).mean())
    for source in sorted(set(of.source.tolist())):
        rows = plain & real & (of.source == source)
        if rows.any():
            found[f"{source}_real_median"] = float(np.median(logit[rows]))
            found[f"{source}_real_p95"] = float(np.quantile(logit[rows], 0.95))
    return found
