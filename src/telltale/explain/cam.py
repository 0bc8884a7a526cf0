"""Class activation map: which places of the face the last layer read as fake. Free, and without torch.

    create().explain(scorer, clip).heat

Fits models that end in global average pooling and one linear layer, as the shipped one does; another model is
refused. The map has one number for every 32 x 32 pixels or so: it points at a region, never at an outline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from telltale import _cam, _heat
from telltale.bundle import Bundle
from telltale.explain import Explanation, Target, untold
from telltale.runtime import Scorer
from telltale.types import Clip


@dataclass(frozen=True, slots=True)
class Settings:
    target: Target = "fake"


class ClassActivation:
    """See the module."""

    name = "cam"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heads: dict[str, _cam.Head] = {}

    def check(self, bundle: Bundle) -> None:
        self._head(bundle)

    def explain(self, scorer: Scorer, clip: Clip, *, on_progress: Callable[[float], None] = untold) -> Explanation:
        """Heat in logits beyond the average of the face; see `_heat.contrasted`."""
        head = self._head(scorer.bundle)
        scores, features = scorer.score_with_features([clip])
        places = _cam.place_logits(features, head)[0]
        heat, start = _heat.contrasted(_cam.to_crop(places, clip.rgb.shape[1]))
        sign = 1 if self._settings.target == "fake" else -1
        on_progress(1.0)
        return Explanation(
            method=self.name,
            target=self._settings.target,
            heat=np.float32(sign) * heat,
            logit=float(scores.logit[0]),
            settings=asdict(self._settings) | {"places": list(places.shape), "start_logit": start},
        )

    def _head(self, bundle: Bundle) -> _cam.Head:
        if bundle.sha256 not in self._heads:
            self._heads[bundle.sha256] = _cam.find_head(bundle)
        return self._heads[bundle.sha256]


def create(**settings: Target) -> ClassActivation:
    return ClassActivation(Settings(**settings))


__all__ = ["ClassActivation", "Settings", "create"]
