"""Reading a clip to its end, and comparing pictures: for the tests of `telltale.video`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from telltale.sampling import SamplePlan
from telltale.types import Frame, RgbImage
from telltale.video import DecodeLimits, VideoReader, open_video

ALL = SamplePlan("all")


def read(path: Path | str, plan: SamplePlan = ALL, **kwargs: DecodeLimits) -> tuple[list[Frame], VideoReader]:
    with open_video(path, plan, **kwargs) as reader:  # type: ignore[arg-type]
        frames = list(reader)
    return frames, reader


def likeness(a: RgbImage, b: RgbImage) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


__all__ = ["ALL", "likeness", "read"]
