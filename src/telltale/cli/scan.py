"""`telltale scan`: files in, verdicts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli import _sampling as sampling
from telltale.cli._errors import EXIT_INPUT_FAILED, say, told

if TYPE_CHECKING:
    from telltale._report_index import Summary
    from telltale.scan import ScanSettings
    from telltale.types import Report


@told
def scan(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Videos, pictures, folders, or @list.txt with one path a line. Names beginning with - come after --.",
        ),
    ],
    model: Annotated[str, typer.Option(metavar="NAME|DIR", help="A shipped model or a bundle's folder.")] = "default",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.json and report.html per input, and an index.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each input.")] = False,
    fps: sampling.Fps = None,
    every: sampling.Every = None,
    frames: sampling.Frames = None,
    first: sampling.First = None,
    all_frames: sampling.AllFrames = False,
    max_frames: sampling.MaxFrames = None,
    seconds: sampling.Seconds = None,
    max_side: sampling.MaxSide = None,
    detector: Annotated[
        str | None, typer.Option(metavar="NAME", help="mtcnn, haar or yunet.", show_default="from the model")
    ] = None,
    detector_model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights, for a detector that ships none.")
    ] = None,
    min_face: Annotated[float | None, typer.Option(metavar="PX", min=1, help="Find faces from this size on.")] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Give up on a file after S seconds.", show_default="60, or 3 times its length if longer"
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --out: heat maps of what spoke for and against a forgery.")
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="With --out: the clip with boxes and scores, a GIF, a contact sheet.")
    ] = False,
    stability: Annotated[
        bool, typer.Option("--stability", help="Recompress, rescale and scan again, eight times: is the verdict firm?")
    ] = False,
    embed_video: Annotated[
        bool,
        typer.Option("--embed-video", help="With --out: put the clip itself into the page, which then stands alone."),
    ] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Files at a time.")] = 1,
) -> None:
    """Say for each video or picture whether its faces are real, and why."""
    from telltale.bundle import load_bundle
    from telltale.cli._inputs import expand
    from telltale.scan import ScanSettings

    plan = sampling.plan(
        load_bundle(model).card.sample,
        fps=fps,
        every=every,
        frames=frames,
        first=first,
        all_frames=all_frames,
        max_frames=max_frames,
        seconds=seconds,
        max_side=max_side,
    )
    _above_zero("--deadline", deadline)
    settings = ScanSettings(
        plan=plan,
        detector=detector,
        detector_model=None if detector_model is None else str(detector_model),
        min_face_px=min_face,
        deadline_s=deadline,
        pictures=out is not None,
        explain=_with_out("--explain", explain, out) is not None,
        stability=stability,
        provenance=out is not None or json,
        annotate_into=_with_out("--annotate", annotate, out),
    )
    paths = expand(inputs)
    embed_video = _with_out("--embed-video", embed_video, out) is not None
    summaries = _scan_all(
        paths, model=model, settings=settings, jobs=jobs, out=out, prints_json=json, embed_video=embed_video
    )
    _conclude(summaries, out=out, prints_json=json)
    if any(summary.label == "failed" for summary in summaries):
        raise typer.Exit(EXIT_INPUT_FAILED)


def _with_out(option: str, wanted: bool, out: Path | None) -> Path | None:
    """`out` where the option was given; a `UsageError` where there is nowhere to put what it makes."""
    from telltale.errors import UsageError

    if wanted and out is None:
        raise UsageError(f"{option} needs --out DIR, a folder for what it makes")
    return out if wanted else None


def _above_zero(option: str, value: float | None) -> None:
    from telltale.errors import UsageError

    if value is not None and not 0 < value < float("inf"):
        raise UsageError(f"{option} must be a number above 0, got {value}")


def _scan_all(
    paths: Sequence[str],
    *,
    model: str,
    settings: ScanSettings,
    jobs: int,
    out: Path | None,
    prints_json: bool,
    embed_video: bool,
) -> list[Summary]:
    """Scan, print and write each report as it comes; what is kept is a line for each."""
    from telltale import scan_many
    from telltale.cli._progress import scan_progress
    from telltale.report import summarise, to_json, write_report, write_summaries

    summaries: list[Summary] = []
    with scan_progress(len(paths), n_jobs=jobs) as progress:

        def started() -> Iterator[str]:
            for path in paths:
                progress.start_file(path)
                yield path

        try:
            reports: Iterator[Report] = scan_many(
                started(), model=model, settings=settings, jobs=jobs, on_progress=progress.on_frames
            )
            for report in reports:
                if prints_json:
                    typer.echo(to_json(report))
                if out is not None:
                    write_report(report, out, embed_video=embed_video)
                summaries.append(summarise(report))
                progress.finish_file()
        except KeyboardInterrupt:
            if out is not None and summaries:
                write_summaries(summaries, out)
            raise
    return summaries


def _conclude(summaries: Sequence[Summary], *, out: Path | None, prints_json: bool) -> None:
    from rich.console import Console

    from telltale.cli._table import print_table
    from telltale.report import write_summaries

    if not prints_json:
        print_table(summaries, Console())
    if out is not None:
        index = write_summaries(summaries, out)
        say(f"Reports: {index}")


__all__ = ["scan"]
