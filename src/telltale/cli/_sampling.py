"""The options that say which frames are looked at, the same for every command that reads video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from telltale.sampling import SamplePlan, Wanted

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


def plan(wanted: Wanted, default: SamplePlan) -> SamplePlan:
    """`wanted` on top of `default`. Raises `UsageError`."""
    from telltale.errors import UsageError

    try:
        return wanted.plan(default)
    except ValueError as error:
        raise UsageError(f"the sampling options make no sense: {error}") from error
