"""LIME: hide random pieces of the face many times, and fit which pieces moved the score (Ribeiro et al., KDD 2016).

    create(n_samples=1000).explain(scorer, clip).pictures(clip)["for"]

Pieces are superpixels (SLIC, scikit-image), hiding means blurring, the fit is captum's. Works on every model, and
costs `n_samples` scores: half a minute on one core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from telltale.bundle import Bundle
from telltale.errors import UsageError, require
from telltale.explain import Explanation, Target, _hiding, middle_face, untold
from telltale.runtime import BATCH_SIZE, Scorer
from telltale.types import Clip, Int32Array, RgbImage

if TYPE_CHECKING:
    from torch import Tensor

_SEGMENTATION, _LINEAR = "skimage.segmentation", "captum._utils.models.linear_model"


@dataclass(frozen=True, slots=True)
class Settings:
    target: Target = "fake"
    n_samples: int = 600
    """Variants that are scored."""
    n_segments: int = 50
    """About so many pieces."""
    seed: int = 0
    kernel_width: float = 0.25
    """How fast variants count less, the more of them is hidden (the paper's and its code's choice)."""

    def __post_init__(self) -> None:
        for name in ("n_samples", "n_segments"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be from 0 to 2**63 - 1, got {self.seed}")
        if not 0 < self.kernel_width < math.inf:
            raise ValueError(f"kernel_width must be a number above 0, got {self.kernel_width}")


class Lime:
    """See the module."""

    name = "lime"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, _bundle: Bundle) -> None:
        _hiding.check_libraries(_SEGMENTATION, _LINEAR, "sklearn")

    def explain(self, scorer: Scorer, clip: Clip, *, on_progress: Callable[[float], None] = untold) -> Explanation:
        """Heat is each piece's weight in the linear fit, in logits."""
        settings = self._settings
        segments = superpixels(middle_face(clip), settings.n_segments)
        sign = 1 if settings.target == "fake" else -1
        weights = _fit(scorer, clip, segments, settings, sign, on_progress)
        on_progress(1.0)
        return Explanation(
            method=self.name,
            target=settings.target,
            heat=weights[segments],
            logit=float(scorer.score([clip]).logit[0]),
            settings=asdict(settings) | {"n_segments": int(segments.max()) + 1, "hidden": "blurred"},
            segments=segments,
        )


def superpixels(rgb: RgbImage, n_segments: int) -> Int32Array:
    """(S, S), numbered from 0."""
    segmentation = require(_SEGMENTATION, "explain")
    found = segmentation.slic(rgb, n_segments=n_segments, compactness=12, sigma=1, start_label=0, channel_axis=-1)
    return np.asarray(found, np.int32)


def _fit(
    scorer: Scorer,
    clip: Clip,
    segments: Int32Array,
    settings: Settings,
    sign: int,
    on_progress: Callable[[float], None],
) -> npt.NDArray[np.float32]:
    """(number of pieces,) weights."""
    torch = require("torch", "explain")
    attr = require("captum.attr", "explain")
    linear = require(_LINEAR, "explain")
    counts: list[bool] = []

    def similarity(_whole: Tensor, _variant: Tensor, shown: Tensor, **_: object) -> Tensor:
        # Cosine distance from "everything shown", in the space of pieces, as in the authors' code.
        distance = 1 - shown.float().mean(dim=1).sqrt()
        weight: Tensor = torch.exp(-((distance / settings.kernel_width) ** 2))
        counts.append(bool((weight > 0).any()))
        return weight

    lime = attr.Lime(
        _hiding.scorer_of_variants(scorer, clip, sign=sign, n_variants=settings.n_samples, on_progress=on_progress),
        interpretable_model=linear.SkLearnRidge(alpha=1.0),
        similarity_func=similarity,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        try:
            weights = lime.attribute(
                _hiding.as_tensor(clip.rgb),
                baselines=_hiding.as_tensor(_hiding.blurred(clip.rgb)),
                feature_mask=torch.from_numpy(segments.astype(np.int64))[None, None, :, :, None],
                n_samples=settings.n_samples,
                perturbations_per_eval=BATCH_SIZE,
                return_input_shape=False,
            )
        except ValueError as error:
            if any(counts):
                raise
            raise UsageError(
                f"lime: with kernel_width {settings.kernel_width} no variant counts; make it wider (0.25 is usual)"
            ) from error
    return np.asarray(weights.numpy(), np.float32).reshape(-1)


def create(**settings: object) -> Lime:
    return Lime(Settings(**settings))  # type: ignore[arg-type]


__all__ = ["Lime", "Settings", "create", "superpixels"]
