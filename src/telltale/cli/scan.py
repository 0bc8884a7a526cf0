"""`telltale scan`: files in, verdicts out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli import _sampling as sampling
from telltale.cli._choices import choose, folder
from telltale.cli._errors import EXIT_INPUT_FAILED, say, told

if TYPE_CHECKING:
    from telltale._report_index import Summary
    from telltale.bundle import Bundle
    from telltale.scan import ScanSettings
    from telltale.types import Report

_READING_SHARE = {(False, False): 0.99, (False, True): 0.2, (True, False): 0.1, (True, True): 0.1}
"""Of a file's share of the bar, by whether it is then recompressed, and drawn on: both take longer than the scan."""


def begin(args: Sequence[str]) -> None:
    """Start the worker before anybody has looked at the options, which takes a quarter of a second and more: it imports
    what it needs meanwhile."""
    if not {"--help", "-h", "ray"} & set(args):
        from telltale.sandbox import start_early

        start_early("extract")


@told
def scan(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Videos, pictures, folders, or @list.txt with one path a line. Names beginning with - come after --.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME|DIR", help="A shipped model or a bundle's folder.")] = "default",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", parser=folder, help="Write report.json and report.html per input, and an index."),
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
        Path | None, typer.Option(metavar="FILE", help="Weights of yunet; without it they are fetched once.")
    ] = None,
    min_face: Annotated[float | None, typer.Option(metavar="PX", min=12, help="Find faces from this size on.")] = None,
    search_every: sampling.SearchEvery = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Stop reading a file within S seconds; what was seen by then is judged (partial).",
            show_default="60, 3 times its length, or a second for 20 MB: the longest",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --out: heat maps of what spoke for and against a forgery.")
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="With --out: the clip with boxes and scores, a GIF, a contact sheet.")
    ] = False,
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="With --out or --json: recompress, rescale and scan again, up to eight times: is the verdict firm?",
        ),
    ] = False,
    embed_video: Annotated[
        bool,
        typer.Option("--embed-video", help="With --out: put the clip itself into the page, which then stands alone."),
    ] = False,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda|auto", help="Where the model runs; auto: on CUDA where it is there.")
    ] = "auto",
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Files at a time.")] = 1,
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Where the work is done. ray: results as a table, see --table.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="A", help="Of the Ray cluster, or auto; RAY_ADDRESS if not given, else one on this machine."
        ),
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Scan what is under s3://NAME/.. or gs://NAME/..; implies --table."),
    ] = None,
    table: Annotated[
        bool,
        typer.Option("--table", help="With --out: a row a file, in Parquet; killed and run again, it goes on."),
    ] = False,
    out_bucket: Annotated[
        str | None, typer.Option(metavar="URL", help="The table goes to s3://NAME/.. or gs://NAME/.. instead of --out.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --table: try again what failed or ran out of time.")
    ] = False,
) -> None:
    """Say for each video or picture whether its faces are real, and why."""
    from telltale.bundle import load_bundle
    from telltale.cli._inputs import expand
    from telltale.engine import Engine
    from telltale.errors import UsageError
    from telltale.sampling import Wanted
    from telltale.scan import ScanSettings

    wanted = Wanted(
        fps=fps, every=every, frames=frames, first=first, all_frames=all_frames,
        max_frames=max_frames, seconds=seconds, max_side_px=max_side,
    )  # fmt: skip
    where = Engine(choose("--engine", engine, "local", "ray"), jobs=jobs, address=address)
    makes_table = table or bucket is not None or out_bucket is not None or where.name == "ray"
    if makes_table:
        _not_with_table(
            {"--json": json, "--explain": explain, "--annotate": annotate, "--stability": stability,
             "--embed-video": embed_video}
        )  # fmt: skip
    if stability and out is None and not json:
        raise UsageError("--stability needs --out DIR or --json")
    bundle = load_bundle(model)
    settings = ScanSettings(
        plan=sampling.plan(wanted, bundle.card.sample),
        detector=detector,
        detector_model=None if detector_model is None else str(detector_model),
        min_face_px=min_face,
        search_every_s=search_every,
        deadline_s=_deadline(deadline),
        pictures=out is not None,
        explain=_with_out("--explain", explain, out) is not None,
        stability=stability,
        provenance=out is not None or json,
        annotate_into=_with_out("--annotate", annotate, out),
        device=choose("--device", device, "cpu", "cuda", "auto"),
    )
    if makes_table:
        from telltale.cli._scan_table import from_and_to, scan_table

        items, place = from_and_to(inputs or [], bucket=bucket, out=out, out_bucket=out_bucket)
        scan_table(items, place, model=model, settings=settings, engine=where, retry_failed=retry_failed)
        return
    if retry_failed or address is not None:
        raise UsageError("--retry-failed needs --table, and --address needs --engine ray")
    paths = expand(inputs or [], out=out)
    reports = _Reports(out, prints_json=json, embed_video=_with_out("--embed-video", embed_video, out) is not None)
    summaries = _scan_all(paths, model=bundle, settings=settings, jobs=jobs, reports=reports)
    if any(summary.label == "failed" for summary in summaries):
        raise typer.Exit(EXIT_INPUT_FAILED)


def _not_with_table(given: Mapping[str, bool]) -> None:
    from telltale.errors import UsageError

    names = ", ".join(name for name, is_on in given.items() if is_on)
    if names:
        raise UsageError(f"{names}: not with a table of results; scan those files by themselves after")


def _with_out(option: str, wanted: bool, out: Path | None) -> Path | None:
    """`out` where the option was given; a `UsageError` where there is nowhere to put what it makes."""
    from telltale.errors import UsageError

    if wanted and out is None:
        raise UsageError(f"{option} needs --out DIR, a folder for what it makes")
    return out if wanted else None


def _deadline(deadline_s: float | None) -> float | None:
    from telltale.errors import UsageError

    if deadline_s is not None and not 0 < deadline_s < float("inf"):
        raise UsageError(f"--deadline must be a number above 0, got {deadline_s}")
    return deadline_s


@dataclass(frozen=True, slots=True)
class _Reports:
    """Where reports go: pages and an index into `out`, JSON to standard output or else a table to the terminal."""

    out: Path | None
    prints_json: bool
    embed_video: bool

    def check_place(self) -> None:
        """Before any work. Raises `OutputError`."""
        from telltale._files import check_writable

        if self.out is not None:
            check_writable(self.out)

    def take(self, report: Report) -> None:
        if not self.prints_json and self.out is None:
            return
        from telltale.report import JSON_NAME, to_json, write_report  # with Jinja, which a table does not need

        if self.out is None:
            typer.echo(to_json(report))
            return
        folder = write_report(report, self.out, embed_video=self.embed_video)
        if self.prints_json:  # as written: a warning may have joined it
            typer.echo((folder / JSON_NAME).read_text(encoding="ascii").rstrip("\n"))

    def conclude(self, summaries: Sequence[Summary]) -> None:
        from rich.console import Console

        from telltale.cli._table import print_table

        if not self.prints_json:
            print_table(summaries, Console())
        if self.out is not None:
            from telltale.report import write_summaries

            say(f"Reports: {write_summaries(summaries, self.out)}")


def _scan_all(
    paths: Sequence[str], *, model: Bundle, settings: ScanSettings, jobs: int, reports: _Reports
) -> list[Summary]:
    """Scan, print and write each report as it comes; what is kept is a line for each."""
    from telltale import scan_many
    from telltale._report_index import summarise
    from telltale.cli._bar import bar
    from telltale.errors import Stopped

    reports.check_place()
    summaries: list[Summary] = []
    with bar("starting", "detail", "count", "left") as show:
        show(0, len(paths))

        def started() -> Iterator[str]:
            for path in paths:
                show(doing=path.rsplit("/", 1)[-1] if jobs == 1 else "scanning")
                yield path

        reading = _READING_SHARE[settings.stability, settings.annotate_into is not None]

        def read(share: float | None, n_frames: int) -> None:
            show(len(summaries) + (share or 0.0) * reading, detail=f"{n_frames} frames")

        def make(share: float, doing: str) -> None:
            show(len(summaries) + reading + share * (0.99 - reading), detail=doing)

        # Several files at a time: nobody says of which file the frames are.
        on_progress, on_extra = (read, make) if jobs == 1 else (None, None)
        stop = threading.Event()
        scanned = scan_many(
            started(), model=model, settings=settings, jobs=jobs, on_progress=on_progress, on_extra=on_extra, stop=stop
        )

        def keep(report: Report) -> None:
            reports.take(report)
            summaries.append(summarise(report))
            show(len(summaries))

        try:
            for report in scanned:
                keep(report)
        except KeyboardInterrupt:
            stop.set()
            with suppress(Stopped):
                for report in scanned:  # with several jobs others may be done as well
                    keep(report)
            if summaries:
                reports.conclude(summaries)
            raise
    reports.conclude(summaries)
    return summaries


__all__ = ["scan"]
