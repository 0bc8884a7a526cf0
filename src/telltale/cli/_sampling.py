"""The options that say which frames are looked at, the same for every command that reads video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from telltale.sampling import SamplePlan

Fps = Annotated[float | None, typer.Option(metavar="N", help="Sampling: N frames a second.", show_default=False)]
Every = Annotated[int | None, typer.Option(metavar="N", min=1, help="Sampling: every N-th frame.")]
Frames = Annotated[int | None, typer.Option(metavar="N", min=1, help="Sampling: N frames, spread evenly.")]
First = Annotated[int | None, typer.Option(metavar="N", min=1, help="Sampling: the first N frames.")]
AllFrames = Annotated[
    bool,
    typer.Option(
        "--all-frames", help="Sampling: every frame, thinned to 600 over the whole clip unless --max-frames is given."
    ),
]
MaxFrames = Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after N sampled frames.")]
Seconds = Annotated[float | None, typer.Option(metavar="N", help="Only the first N seconds.")]
SearchEvery = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        min=0,
        max=3600,
        help="Search the whole picture for faces at least every S seconds, and between only where they were; "
        "0: in every sampled frame.",
        show_default="2",
    ),
]
MaxSide = Annotated[int | None, typer.Option(metavar="PX", min=16, help="Make larger frames smaller.")]

_OPTIONS = {"fps": "--fps", "every": "--every", "uniform": "--frames", "first": "--first", "all": "--all-frames"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The options above as they were given; None and False: not at all."""

    fps: float | None
    every: int | None
    frames: int | None
    first: int | None
    all_frames: bool
    max_frames: int | None
    seconds: float | None
    max_side: int | None

    def plan(self, default: SamplePlan) -> SamplePlan:
        """The sampling that was asked for, `default` where nothing was; `UsageError` where two exclude each other."""
        from telltale.errors import UsageError
        from telltale.sampling import SamplePlan

        kinds = {
            "fps": self.fps,
            "every": self.every,
            "uniform": self.frames,
            "first": self.first,
            "all": 1.0 if self.all_frames else None,
        }
        chosen = {kind: value for kind, value in kinds.items() if value is not None}
        if len(chosen) > 1:
            raise UsageError(f"{' and '.join(_OPTIONS[kind] for kind in chosen)} exclude each other; choose one")
        limits = {"max_frames": self.max_frames, "seconds": self.seconds, "max_side_px": self.max_side}
        limits = {name: value for name, value in limits.items() if value is not None}
        try:
            for kind, value in chosen.items():
                default = SamplePlan(kind=kind, value=value)  # type: ignore[arg-type]
            return replace(default, **limits)  # type: ignore[arg-type]
        except ValueError as error:
            raise UsageError(f"the sampling options make no sense: {error}") from error


__all__ = ["AllFrames", "Every", "First", "Fps", "Frames", "MaxFrames", "MaxSide", "Sampling", "Seconds"]
