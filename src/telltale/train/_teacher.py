"""Another bundle's answers to the crops that are learned from: what distillation learns beside the labels."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from telltale.bundle import load_bundle
from telltale.errors import UsageError
from telltale.recipe import Recipe
from telltale.runtime import Scorer
from telltale.types import BoolArray, Clip, Float32Array, RgbImage


class Teacher:
    """Runs in the process that loads the faces: each has a session of its own, made when it is first asked."""

    def __init__(self, recipe: Recipe) -> None:
        """Raises UsageError where the teacher looks at faces in another way than the recipe's model will."""
        self.bundle = load_bundle(recipe.teacher.bundle or "")
        card, crop = self.bundle.card, recipe.crop(self.bundle.card.size_px)
        if card.n_frames != recipe.n_frames:
            raise UsageError(
                f"teacher {card.name} looks at {card.n_frames} frame(s) and the recipe at {recipe.n_frames}: "
                "both must be the same"
            )
        low, high = card.margins_tolerated
        wanted = replace(card.crop, size_px=crop.size_px)
        if low <= crop.margin_frac <= high:
            wanted = replace(wanted, margin_frac=crop.margin_frac)
        if card.input_kind != "pixels" and wanted != crop:
            raise UsageError(
                f"teacher {card.name} knows faces cut as {card.crop}, the recipe cuts them as {crop}: take its "
                f"crop_margin_frac, crop_down_frac, crop_kind and crop_align, or a store that was cut so"
            )
        self._scorer: Scorer | None = None
        self._process = -1

    def logits(self, clips: RgbImage, mask: BoolArray) -> Float32Array:
        """float32 (N,) of uint8 (N, T, S, S, 3), resized to the teacher's size."""
        if self._scorer is None or self._process != os.getpid():
            self._scorer, self._process = Scorer(self.bundle), os.getpid()
        size_px, pts_s = self.bundle.card.size_px, np.arange(clips.shape[1], dtype=np.float64)
        shown = [
            Clip(0, pts_s, np.stack([_resized(frame, size_px) for frame in clip]), there)
            for clip, there in zip(clips, mask, strict=True)
        ]
        return self._scorer.score(shown).logit

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_scorer": None, "_process": -1}


def teacher_of(recipe: Recipe) -> Teacher | None:
    return Teacher(recipe) if recipe.teacher.bundle else None


def _resized(frame: RgbImage, size_px: int) -> RgbImage:
    import cv2

    if frame.shape[0] == size_px:
        return frame
    how = cv2.INTER_AREA if frame.shape[0] > size_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, (size_px, size_px), interpolation=how), np.uint8)
