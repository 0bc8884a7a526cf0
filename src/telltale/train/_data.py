"""Batches mixed by source, drawn so that a sample depends on (seed, stage, step, place in the batch) and nothing else:
not on the number of workers, nor on where a run was resumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from telltale.augment import augment_clip
from telltale.crops import square_of
from telltale.errors import DataError, UsageError
from telltale.recipe import Recipe
from telltale.selfblend import self_blend
from telltale.train._clips import cut_clips
from telltale.train._faces import FaceTable
from telltale.types import Float32Array, RgbImage

Batch = dict[str, Tensor]
_CONTEXT_FRAC = 0.38


@dataclass(frozen=True, slots=True)
class Draw:
    """One place in a batch."""

    row: int
    blend: bool = False
    donor: int | None = None

    def is_fake(self, table: FaceTable) -> bool:
        return self.blend or bool(table.label[self.row])


class Mix:
    """Which faces each step takes: every source's faces in a new random order each time round."""

    def __init__(self, table: FaceTable, recipe: Recipe) -> None:
        """Raises DataError where the recipe asks a source for faces that it does not have."""
        self.table, self.recipe = table, recipe
        self.sources = sorted(set(table.dataset.tolist()))
        self._real: dict[str, npt.NDArray[np.int64]] = {}
        self._fake: dict[str, npt.NDArray[np.int64]] = {}
        self._partners: dict[str, list[int]] = {}
        for source in self.sources:
            mine = table.dataset == source
            self._real[source] = np.flatnonzero(mine & (table.label == 0))
            self._fake[source] = np.flatnonzero(mine & (table.label == 1))
            mix = recipe.mix_for(source)
            for wanted, rows, kind in (
                (mix.real + mix.blend, self._real[source], "real"),
                (mix.fake, self._fake[source], "fake"),
            ):
                if wanted and not len(rows):
                    raise DataError(f"the recipe takes {kind} faces from {source}, which has none in training")
        for row in np.flatnonzero(table.label == 1):
            self._partners.setdefault(f"{table.dataset[row]}/{table.group_id[row]}", []).append(int(row))
        if not any(self._size(source) for source in self.sources):
            raise DataError(f"the recipe's mix names none of the sources {', '.join(self.sources) or '(none)'}")

    def _size(self, source: str) -> int:
        mix = self.recipe.mix_for(source)
        return mix.real + mix.fake + mix.blend

    def draws(self, stage: int, step: int) -> list[Draw]:
        """The faces of one step."""
        batch: list[Draw] = []
        for number, source in enumerate(self.sources):
            mix = self.recipe.mix_for(source)
            rng = np.random.default_rng([self.recipe.seed, stage, step, number, 1])
            n_real = max(mix.real, mix.blend)
            reals = self._cycle(self._real[source], n_real, stage, step, 2 * number)
            batch += [Draw(row) for row in reals[: mix.real]]
            batch += [Draw(row) for row in self._fakes(source, reals[: mix.real], mix.fake, stage, step, number, rng)]
            for row in reals[: mix.blend]:
                donor = int(rng.choice(self._real[source])) if rng.random() < mix.donor_p else None
                known = donor is not None and np.isfinite(self.table.points[[row, donor]]).all()
                batch.append(Draw(row, blend=True, donor=donor if known else None))
        return batch

    def _fakes(
        self, source: str, reals: list[int], n: int, stage: int, step: int, number: int, rng: np.random.Generator
    ) -> list[int]:
        """A fake of each real's group; where a group has none, the next fake in turn."""
        spare = iter(self._cycle(self._fake[source], n, stage, step, 2 * number + 1))
        rows = []
        for i in range(n):
            partners = self._partners.get(f"{source}/{self.table.group_id[reals[i]]}", []) if i < len(reals) else []
            rows.append(int(rng.choice(partners)) if partners else next(spare))
        return rows

    def _cycle(self, rows: npt.NDArray[np.int64], n: int, stage: int, step: int, stream: int) -> list[int]:
        """`n` rows from position step * n of an endless series of permutations."""
        found: list[int] = []
        position = step * n
        while len(found) < n:
            turn, at = divmod(position + len(found), len(rows))
            order = np.random.default_rng([self.recipe.seed, stage, turn, stream, 2]).permutation(rows)
            found += order[at : at + n - len(found)].tolist()
        return found


def close_up(table: FaceTable, row: int, *, face_px: float) -> tuple[RgbImage, Float32Array, Float32Array]:
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
    if scale < 0.9:
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
    """Item i is the whole batch of step i."""

    def __init__(self, table: FaceTable, recipe: Recipe, *, stage: int) -> None:
        self.table, self.recipe, self.stage = table, recipe, stage
        self.size_px = recipe.stages[stage].size_px
        self.cut = cut_clips(table, recipe.n_frames)
        self.heads = self.cut.heads(table)
        self.mix = Mix(self.heads, recipe)
        if recipe.n_frames > 1 and any(recipe.mix_for(source).blend for source in self.mix.sources):
            raise UsageError("self-blended fakes are single pictures: set mix.*.blend=0 for a model of sequences")
        self.crop = recipe.crop(self.size_px)
        self._augmentation = {source: recipe.augmentation_for(source) for source in self.mix.sources}

    def __getitem__(self, step: int) -> Batch:
        draws = self.mix.draws(self.stage, step)
        clips = np.stack([self._clip(draw, step, place) for place, draw in enumerate(draws)])
        label = np.array([draw.is_fake(self.heads) for draw in draws], np.float32)
        smooth = np.array([self._smoothing(draw) for draw in draws], np.float32)
        return {
            "clips": torch.from_numpy(clips),
            "mask": torch.from_numpy(self.cut.mask[[draw.row for draw in draws]]),
            "label": torch.from_numpy(label),
            "target": torch.from_numpy(label * (1 - 2 * smooth) + smooth),
        }

    def _smoothing(self, draw: Draw) -> float:
        own = self.recipe.fake_smoothing
        given = not draw.blend and bool(self.heads.label[draw.row])
        return own if given and own is not None else self.recipe.label_smoothing

    def _clip(self, draw: Draw, step: int, place: int) -> RgbImage:
        """uint8 (T, S, S, 3)."""
        rng = np.random.default_rng([self.recipe.seed, self.stage, step, place, 3])
        rows = self.cut.rows[draw.row][self.cut.mask[draw.row]]
        frames = [close_up(self.table, row, face_px=1.4 * self.size_px) for row in rows.tolist()]
        rgb, box, points = frames[0]
        if any(picture.shape != rgb.shape or not np.allclose(at, box) for picture, at, _ in frames):
            raise DataError(
                f"the faces of {self.heads.track[draw.row]} are framed in several ways: sequences are learned from "
                "stores that `telltale prepare` cut"
            )
        pictures = [picture for picture, _, _ in frames]
        if draw.blend:
            pictures = [blend_row(self.table, draw, (rgb, box, points), rng, face_px=1.4 * self.size_px)]
        spec = self._augmentation[str(self.heads.dataset[draw.row])]
        centre, side_px = square_of(box, self.crop)
        clip = augment_clip(
            np.stack(pictures), centre_xy=centre, side_px=side_px, size_px=self.size_px, rng=rng, spec=spec
        )
        return np.concatenate([clip, np.repeat(clip[-1:], self.recipe.n_frames - len(clip), axis=0)])


def blend_row(
    table: FaceTable,
    draw: Draw,
    target: tuple[RgbImage, Float32Array, Float32Array],
    rng: np.random.Generator,
    *,
    face_px: float,
) -> RgbImage:
    """The self-blended (or swapped) version of a real row."""
    rgb, box, points = target
    donor, theirs = None, None
    if draw.donor is not None:
        donor, _, theirs = close_up(table, draw.donor, face_px=face_px)
    return self_blend(rgb, rng=rng, box_xyxy=box, points=points, donor=donor, donor_points=theirs).rgb


class Steps(Sampler[int]):
    """The steps of one epoch."""

    def __init__(self, epoch: int, steps_per_epoch: int) -> None:
        self.first, self.n = epoch * steps_per_epoch, steps_per_epoch

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.first + self.n))

    def __len__(self) -> int:
        return self.n


def _one_thread(_worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def epoch_loader(batches: MixedBatches, *, epoch: int, steps_per_epoch: int, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=Steps(epoch, steps_per_epoch),
        num_workers=workers,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if workers else None,
    )
