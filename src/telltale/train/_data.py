"""Batches mixed by source, drawn so that a sample depends on (seed, stage, step, place in the batch) and nothing else:
not on the number of workers, nor on where a run was resumed.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from telltale.augment import augment_clip, augment_marked
from telltale.crops import CropSpec, crop_face, square_of
from telltale.errors import DataError, UsageError
from telltale.recipe import Recipe
from telltale.selfblend import self_blend_clip
from telltale.train._clips import cut_clips
from telltale.train._faces import FaceTable
from telltale.train._mix import ALONE, Draw, Mix, Shard
from telltale.train._pairs import Marks, changed, graft, is_unchanged
from telltale.types import BoolArray, Float32Array, RgbImage

if TYPE_CHECKING:
    from telltale.train._teacher import Teacher

Batch = dict[str, Tensor]
CloseUp = tuple[RgbImage, Float32Array, Float32Array]
"""Picture, box and points."""
Features = Float32Array
"""(N, F): what a frozen backbone says of each face of the table."""
_CONTEXT_FRAC = 0.38


def close_up(table: FaceTable, row: int, *, face_px: float) -> CloseUp:
    """Picture, box and points of a row: cut to the face's surroundings, and not larger than of use."""
    import cv2

    rgb = table.decode(row)
    box = table.box_xyxy[row].astype(np.float64)
    longer = max(box[2] - box[0], box[3] - box[1])
    half = longer * (0.5 + _CONTEXT_FRAC)
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x0, y0 = max(0, int(cx - half)), max(0, int(cy - half))
    x1, y1 = min(rgb.shape[1], int(cx + half) + 1), min(rgb.shape[0], int(cy + half) + 1)
    rgb = rgb[y0:y1, x0:x1]
    scale = min(1.0, face_px / longer)
    if scale < 0.7:
        new = (max(8, round(rgb.shape[1] * scale)), max(8, round(rgb.shape[0] * scale)))
        rgb = cv2.resize(rgb, new, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    else:
        scale = 1.0
    corner = np.array([x0, y0], np.float32)
    return (
        np.ascontiguousarray(rgb),
        ((box - np.tile(corner, 2)) * scale).astype(np.float32),
        ((table.points[row] - corner) * scale).astype(np.float32),
    )


class MixedBatches(Dataset[Batch]):
    """Item i is the batch of step i, or the part of it that is one process's."""

    def __init__(
        self,
        table: FaceTable,
        recipe: Recipe,
        *,
        stage: int,
        shard: Shard = ALONE,
        features: Features | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        """With `features`, batches hold those of the faces in the place of their pixels. Raises DataError."""
        recipe = recipe.in_stage(stage)
        self.table, self.recipe, self.stage, self.shard = table, recipe, stage, shard
        self.features, self.teacher = features, teacher
        self.size_px = recipe.stages[stage].size_px
        self.cut = cut_clips(table, recipe.n_frames)
        self.heads = self.cut.heads(table)
        self.mix = Mix(self.heads, recipe)
        self.crop = recipe.crop(self.size_px)
        self._augmentation = {source: recipe.augmentation_for(source) for source in self.mix.sources}
        self.learns_places = recipe.stages[stage].place_weight > 0
        grafts = any(recipe.mix_for(source).graft for source in self.mix.sources)
        if (self.learns_places or grafts) and (recipe.n_frames > 1 or not recipe.augment):
            raise UsageError(
                f"stage {stage}: place_weight and graft are for models of single faces, with augment on; set both to 0"
            )
        n = len(self.mix.draws(stage, 0))
        if n < shard.world:
            raise UsageError(f"a batch of {n} cannot be shared by {shard.world} processes: enlarge the recipe's mix")

    def __getitem__(self, step: int) -> Batch:
        draws = self.mix.draws(self.stage, step)
        weight = self._weights(np.array([draw.is_fake(self.heads) for draw in draws]))
        mine = list(self.shard.of(len(draws)))
        drawn = [draws[place] for place in mine]
        rows = [draw.row for draw in drawn]
        label = np.array([draw.is_fake(self.heads) for draw in drawn], np.float32)
        smooth = np.array([self._smoothing(draw) for draw in drawn], np.float32)
        batch = {
            "mask": torch.from_numpy(self.cut.mask[rows]),
            "label": torch.from_numpy(label),
            "target": torch.from_numpy(label * (1 - 2 * smooth) + smooth),
            "weight": torch.from_numpy(weight[mine]),
        }
        if self.features is not None:
            return batch | {"features": torch.from_numpy(self.features[self.cut.rows[rows]])}
        each = [self._clip(draws[place], step, place) for place in mine]
        clips, marked = np.stack([clip for clip, _, _ in each]), [marks for _, _, marks in each]
        if self.learns_places:
            batch["where"] = torch.from_numpy(np.stack([_on_grid(marks, self.size_px) for marks in marked]))
            nothing = np.array([marks is not None and is_unchanged(marks) for marks in marked])
            batch["weight"][torch.from_numpy(nothing & (label == 1))] = 0.0
        if self.teacher is not None:
            shown = np.stack([clip for _, clip, _ in each])
            batch["teacher"] = torch.from_numpy(self.teacher.logits(shown, self.cut.mask[rows]))
        return batch | {"clips": torch.from_numpy(clips)}

    def _weights(self, fake: BoolArray) -> Float32Array:
        """What each face of the whole batch counts in the loss; they sum to 1, times the number of processes."""
        weight = np.full(len(fake), 1 / len(fake))
        if self.recipe.separate_classes:
            counts = [max(int((fake == label).sum()), 1) for label in (False, True)]
            weight = np.where(fake, 1 / counts[1], 1 / counts[0]) / len(np.unique(fake))
        return (weight * self.shard.world).astype(np.float32)

    def _smoothing(self, draw: Draw) -> float:
        own = self.recipe.fake_smoothing
        given = not draw.blend and bool(self.heads.label[draw.row])
        return own if given and own is not None else self.recipe.label_smoothing

    def _clip(self, draw: Draw, step: int, place: int) -> tuple[RgbImage, RgbImage, Marks | None]:
        """uint8 (T, S, S, 3), the same as the teacher sees it, and where it was forged (S, S), where that is asked for
        and known."""
        seed = self.recipe.seed, self.stage, step
        rng = np.random.default_rng([*seed, place if draw.twin is None else draw.twin, 3])
        rows = self.cut.rows[draw.row][self.cut.mask[draw.row]]
        if not self.recipe.augment and not draw.blend:
            clip = shown = np.stack([crop_of(self.table, row, self.crop) for row in rows.tolist()])
            marks = None
        else:
            face_px = 1.4 * self.size_px
            frames = [close_up(self.table, row, face_px=face_px) for row in rows.tolist()]
            rgb, box, _ = frames[0]
            if any(picture.shape != rgb.shape or not np.allclose(at, box) for picture, at, _ in frames):
                raise DataError(
                    f"the faces of {self.heads.track[draw.row]} are framed in several ways: sequences are learned from "
                    "stores that `telltale prepare` cut"
                )
            pictures = np.stack([picture for picture, _, _ in frames])
            if draw.blend:
                donor = None if draw.donor is None else int(self.cut.rows[draw.donor, 0])
                pictures = blend(self.table, frames, rng, donor=donor, face_px=face_px)
            pictures, marks = self._marked(draw, pictures, rgb, np.random.default_rng([*seed, place, 4]))
            spec = self._augmentation[str(self.heads.dataset[draw.row])]
            centre, side_px = square_of(box, self.crop)
            sees_clean = self.teacher is not None and self.recipe.teacher.sees == "clean"
            same = copy.deepcopy(rng) if sees_clean else rng
            clip, marks = augment_marked(
                pictures, marks, centre_xy=centre, side_px=side_px, size_px=self.size_px, rng=rng, spec=spec
            )
            shown = clip
            if sees_clean:
                shown = augment_clip(
                    pictures, centre_xy=centre, side_px=side_px, size_px=self.size_px, rng=same, spec=spec.framing()
                )
        filled = self._filled(clip)
        return filled, filled if shown is clip else self._filled(shown), marks

    def _filled(self, clip: RgbImage) -> RgbImage:
        return np.concatenate([clip, np.repeat(clip[-1:], self.recipe.n_frames - len(clip), axis=0)])

    def _marked(
        self, draw: Draw, pictures: RgbImage, real: RgbImage, rng: np.random.Generator
    ) -> tuple[RgbImage, Marks | None]:
        """The clip, grafted if drawn so, and where its face was changed; `real` is what a blend was made of."""
        if not (self.learns_places or draw.graft):
            return pictures, None
        if draw.blend:
            return pictures, changed(pictures[0], real)
        if not self.heads.label[draw.row]:
            return pictures, np.zeros(pictures.shape[1:3], np.uint8)
        if draw.original is None:
            return pictures, None
        row = int(self.cut.rows[draw.original, 0])
        original, _, _ = close_up(self.table, row, face_px=1.4 * self.size_px)
        marks = changed(pictures[0], original)
        if marks is None or not draw.graft:
            return pictures, marks
        mixed, marks = graft(pictures[0], original, marks, rng)
        return mixed[None], marks


def _on_grid(marks: Marks | None, size_px: int) -> Float32Array:
    """(size_px / 8, size_px / 8), 0-1: how much of each place was changed; NaN where that is not known."""
    import cv2

    side = size_px // 8
    if marks is None:
        return np.full((side, side), np.nan, np.float32)
    small = cv2.resize(marks, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small / np.float32(255), np.float32)


def crop_of(table: FaceTable, row: int, spec: CropSpec) -> RgbImage:
    """The face of a row as a scan cuts it, uint8 (S, S, 3)."""
    return crop_face(table.decode(row), table.box_xyxy[row], None, spec)


def blend(
    table: FaceTable,
    frames: Sequence[CloseUp],
    rng: np.random.Generator,
    *,
    donor: int | None = None,
    face_px: float,
) -> RgbImage:
    """The self-blended version of a real clip, uint8 (T, H, W, 3), or one with the face of the row `donor`."""
    pictures, boxes, points = (np.stack(values) for values in zip(*frames, strict=True))
    face, theirs = None, None
    if donor is not None:
        face, _, theirs = close_up(table, donor, face_px=face_px)
    return self_blend_clip(pictures, rng=rng, boxes_xyxy=boxes, points=points, donor=face, donor_points=theirs)


class Steps(Sampler[int]):
    """The steps of one epoch."""

    def __init__(self, epoch: int, steps_per_epoch: int) -> None:
        self.first, self.n = epoch * steps_per_epoch, steps_per_epoch

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.first + self.n))

    def __len__(self) -> int:
        return self.n


def _in_the_gaps(_worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(19)  # in the gaps between a step's kernels: 1.20 of a step without loading became 1.10, on two cores


def epoch_loader(batches: MixedBatches, *, epoch: int, steps_per_epoch: int, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=Steps(epoch, steps_per_epoch),
        num_workers=workers,
        worker_init_fn=_in_the_gaps,
        prefetch_factor=4 if workers else None,
    )
