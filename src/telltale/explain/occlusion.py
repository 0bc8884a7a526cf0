"""Occlusion: hide one window of the face after the other, and see how far the score falls (Zeiler & Fergus, ECCV 2014).

    create(window_frac=0.2).explain(scorer, clip).heat

Hiding means blurring; the sliding window is captum's. Works on every model, and costs one score a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from telltale.bundle import Bundle
from telltale.errors import require
from telltale.explain import Explanation, Target, _hiding, untold
from telltale.runtime import BATCH_SIZE, Scorer
from telltale.types import Clip


@dataclass(frozen=True, slots=True)
class Settings:
    target: Target = "fake"
    window_frac: float = 0.25
    """Side of the window, as a fraction of the crop's."""
    stride_frac: float = 0.09
    """From one window to the next."""

    def __post_init__(self) -> None:
        if not 0 < self.stride_frac <= self.window_frac <= 1:
            raise ValueError(
                f"0 < stride_frac <= window_frac <= 1 must hold, got {self.stride_frac} and {self.window_frac}"
            )


class Occlusion:
    """See the module."""

    name = "occlusion"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, _bundle: Bundle) -> None:
        _hiding.check_libraries()

    def explain(self, scorer: Scorer, clip: Clip, *, on_progress: Callable[[float], None] = untold) -> Explanation:
        """Heat is how many logits the score falls when the windows over this place are hidden, on average."""
        settings = self._settings
        attr = require("captum.attr", "explain")
        n_frames, size = clip.rgb.shape[:2]
        window, stride = (max(1, round(frac * size)) for frac in (settings.window_frac, settings.stride_frac))
        sign = 1 if settings.target == "fake" else -1
        n_windows = (math.ceil((size - window) / stride) + 1) ** 2
        said = _hiding.scorer_of_variants(scorer, clip, sign=sign, n_variants=1 + n_windows, on_progress=on_progress)
        found = attr.Occlusion(said).attribute(
            _hiding.as_tensor(clip.rgb),
            sliding_window_shapes=(n_frames, window, window, 3),
            strides=(n_frames, stride, stride, 3),
            baselines=_hiding.as_tensor(_hiding.blurred(clip.rgb)),
            perturbations_per_eval=BATCH_SIZE,
        )
        on_progress(1.0)
        return Explanation(
            method=self.name,
            target=settings.target,
            heat=np.ascontiguousarray(found[0, 0, :, :, 0].numpy(), np.float32),
            logit=float(scorer.score([clip]).logit[0]),
            settings=asdict(settings) | {"window_px": window, "stride_px": stride, "hidden": "blurred"},
        )


def create(**settings: object) -> Occlusion:
    return Occlusion(Settings(**settings))  # type: ignore[arg-type]


__all__ = ["Occlusion", "Settings", "create"]
