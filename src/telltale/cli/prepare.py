"""`telltale prepare`: a data set in, a face store out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from telltale.cli import _sampling as sampling
from telltale.cli._choices import choose, folder
from telltale.cli._errors import say, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telltale.crops import CropSpec
    from telltale.datasets import Dataset, Problem
    from telltale.prepare import Progress, Rate
    from telltale.sampling import SamplePlan
    from telltale.split import Draw
    from telltale.store import Manifest


@told
def prepare(
    out: Annotated[
        Path, typer.Option(metavar="STORE", parser=folder, help="Where the store is made; run again to go on.")
    ],
    source: Annotated[
        Path | None, typer.Argument(metavar="SOURCE", help="The data set's folder, or a CSV with path,label.")
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Instead of SOURCE: the folder or CSV at s3://NAME/.. or gs://NAME/.."),
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="The data set's layout; auto looks for marker files.")
    ] = "auto",
    labels: Annotated[str, typer.Option(metavar="NAME=real,...", help="What the data set's own words mean.")] = "",
    groups: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Of own folders and lists: its first bracket finds the group in a path."),
    ] = None,
    fps: sampling.Fps = None,
    every: sampling.Every = None,
    frames: sampling.Frames = None,
    first: sampling.First = None,
    all_frames: sampling.AllFrames = False,
    max_frames: sampling.MaxFrames = None,
    seconds: sampling.Seconds = None,
    max_side: sampling.MaxSide = None,
    detector: Annotated[str, typer.Option(metavar="NAME", help="mtcnn, haar or yunet.")] = "mtcnn",
    detector_model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights of yunet; without it they are fetched once.")
    ] = None,
    min_confidence: Annotated[float, typer.Option(metavar="P", min=0, max=1, help="Surer faces only.")] = 0.9,
    min_face: Annotated[float | None, typer.Option(metavar="PX", min=12, help="Find faces from this size on.")] = None,
    search_every: sampling.SearchEvery = None,
    size: Annotated[int, typer.Option(metavar="PX", min=8, max=1024, help="Side of the stored crops.")] = 224,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="FRAC",
            min=-0.25,
            max=3,
            help="Added around the face on each side. With --no-detect: what is there.",
        ),
    ] = None,
    align: Annotated[bool, typer.Option("--align", help="Turn faces until the eyes are level.")] = False,
    crop: Annotated[
        str, typer.Option(metavar="face|centre_square", help="Faces, or the middle of the frame.")
    ] = "face",
    faces: Annotated[str, typer.Option(metavar="all|largest", help="Everybody, or the largest person only.")] = "all",
    detect: Annotated[
        bool, typer.Option("--detect/--no-detect", help="Find faces, or keep pictures as they are.")
    ] = True,
    boxes_from_original: Annotated[
        bool, typer.Option("--boxes-from-original", help="Cut fakes where their original's faces are.")
    ] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="N videos, drawn at random.")] = None,
    balance: Annotated[bool, typer.Option("--balance", help="With --limit: half real, half fake.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the draw.")] = 0,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=1,
            help="Give up on a video after S seconds.",
            show_default="60, 3 times its length, or a second for 20 MB: the longest",
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try videos again that failed before.")] = False,
    drop_missing: Annotated[
        bool,
        typer.Option(
            "--drop-missing", help="Take out of the store what the data set, or --limit, does not hold any more."
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Videos at a time.")] = 1,
    engine: Annotated[str, typer.Option(metavar="local|ray", help="Where the work is done.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="A", help="Of the Ray cluster, or auto; RAY_ADDRESS if not given, else one on this machine."
        ),
    ] = None,
) -> None:
    """Turn a data set into a store of faces. Killed and run again, it goes on where it was."""
    from telltale.cli._bar import bar
    from telltale.engine import Engine
    from telltale.errors import UsageError
    from telltale.faces import SEARCH_EVERY_S, DetectorConfig
    from telltale.prepare import PrepareSettings, Rate
    from telltale.prepare import prepare as make
    from telltale.sampling import SamplePlan, Wanted
    from telltale.split import Draw

    if balance and limit is None:
        raise UsageError("--balance halves what --limit draws: give --limit too")
    wanted = Wanted(
        fps=fps, every=every, frames=frames, first=first, all_frames=all_frames,
        max_frames=max_frames, seconds=seconds, max_side_px=max_side,
    )  # fmt: skip
    settings = PrepareSettings(
        plan=sampling.plan(wanted, SamplePlan()),
        detector=detector,
        detector_config=DetectorConfig(
            min_face_px=min_face,
            min_confidence=min_confidence,
            search_every_s=SEARCH_EVERY_S if search_every is None else search_every,
            model_path=None if detector_model is None else str(detector_model),
        ),
        crop=_crop(crop, size_px=size, margin_frac=margin if detect else None, align=align),
        faces=choose("--faces", faces, "all", "largest"),
        detect=detect,
        margin_frac=None if detect else margin,
        boxes_from_original=boxes_from_original,
        deadline_s=deadline,
    )
    dataset = _read(source, bucket, format=format, labels=labels, groups=groups)
    say(f"{dataset!r}")
    draw = None if limit is None else Draw(limit, balance=balance, seed=seed)
    _say_fewer(draw, dataset)
    rate = Rate()
    with bar("preparing", "count", "detail") as show:
        manifest = make(
            dataset,
            out,
            settings=settings,
            draw=draw,
            engine=Engine(choose("--engine", engine, "local", "ray"), jobs=jobs, address=address),
            retry_failed=retry_failed,
            drop_missing=drop_missing,
            on_progress=lambda progress: show(
                progress.n_done if progress.n_stored is None else progress.n_stored,
                progress.n_total,
                detail=_speed(progress, rate) if progress.n_stored is None else "writing the shards",
            ),
        )
    _conclude(manifest, out, is_whole_frame=settings.crop.kind == "centre_square")
    if not manifest.n_faces:
        say(
            "No face was found in any video: look at one of them with `telltale scan`; smaller faces are found with "
            "--min-face, less certain ones with --min-confidence, into another --out."
        )
    _say_thinned(out, settings.plan)
    _say_sparse(out)


def _crop(kind: str, *, size_px: int, margin_frac: float | None, align: bool) -> CropSpec:
    from telltale.crops import CropSpec

    spec = CropSpec(kind=choose("--crop", kind, "face", "centre_square"), size_px=size_px, align=align)
    return spec if margin_frac is None else replace(spec, margin_frac=margin_frac)


def _read(source: Path | None, bucket: str | None, *, format: str, labels: str, groups: str | None) -> Dataset:
    from telltale import datasets
    from telltale.errors import UsageError

    meanings = datasets.parse_labels(labels)
    if source is not None and bucket is None:
        return datasets.read(source, format=format, labels=meanings, groups=groups)
    if bucket is not None and source is None:
        return datasets.read_bucket(bucket, format=format, labels=meanings, groups=groups)
    raise UsageError("give the data set's folder or --bucket, one of them")


def _say_fewer(draw: Draw | None, dataset: Dataset) -> None:
    """Halves may be fewer than `draw` would take."""
    n_most = 0 if draw is None else min(draw.limit, len(dataset))
    if draw is not None and draw.balance and (n := len(draw.of(dataset.records))) < n_most:
        say(f"--balance draws as many real as fake: {n:,}, where --limit is {draw.limit:,}")


def _speed(progress: Progress, rate: Rate) -> str:
    from telltale._text import clock

    a_second, left_s = rate.of(progress)
    left = "" if left_s is None else f", {clock(left_s, tenths=False)} left"
    return f"{a_second:.1f} a second{left}; {progress.n_faces:,} faces, {progress.n_failed} failed"


def _conclude(manifest: Manifest, out: Path, *, is_whole_frame: bool = False) -> None:
    """Capture rate by label and method, failures by code, videos without a face, size."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from telltale._text import file_size, first_few, plural, visible

    console = Console()
    kept, captured_as = ("frames", "frames kept") if is_whole_frame else ("faces", "frames with a face")
    table = Table("data set", "label", "method", "videos", "failed", f"no {kept[:-1]}", kept, captured_as, box=None)
    for column in table.columns[:3]:
        column.overflow = "fold"  # methods of one family differ at their ends
    for column in table.columns[3:]:
        column.justify, column.no_wrap = "right", True
    for count in manifest.counts:
        rate = count.capture_rate
        captured = "" if rate is None else f"{count.n_frames_with_face:,} of {count.n_frames_sampled:,} ({rate:.1%})"
        videos = (f"{n:,}" for n in (count.n_videos, count.n_failed, count.n_no_face, count.n_faces))
        numbers = (*videos, captured)
        names = (count.dataset, "fake" if count.label else "real", count.method or "")
        table.add_row(*(Text(visible(name)) for name in names), *numbers)
    console.print(table)
    for code, n in sorted(manifest.failures.items()):
        failed = [video.path for video in manifest.failed if video.code == code]
        console.print(Text(f"{n:,} failed with {code}{first_few(failed, n)}"))
    if manifest.no_face:
        console.print(Text(f"{len(manifest.no_face):,} without a {kept[:-1]}{first_few(manifest.no_face)}"))
    if manifest.problems:
        console.print(f"{plural(len(manifest.problems), 'problem')} in the data set itself:")
        for line in _by_kind(manifest.problems):
            console.print(Text(f"  {line}"))
    size = file_size(sum(part.size_bytes for part in manifest.parts()))
    say(f"Store: {out} ({manifest.n_faces:,} {kept} of {manifest.n_videos:,} videos, {size})")
    if is_whole_frame:
        say("Of every frame the middle was kept: no face was looked for.")


def _by_kind(problems: Iterable[Problem]) -> Iterator[str]:
    from telltale._text import first_few
    from telltale.datasets import subject

    found: dict[str, list[str]] = {}
    for one in problems:
        found.setdefault(one.kind, []).append(subject(one.kind, one.path, one.detail))
    words = {"contradictory": "there with both labels", "duplicate": "there twice", "unused": "columns not read"}
    for kind, names in found.items():
        yield f"{len(names):,} {words.get(kind, kind)}{first_few(names)}"


def _say_thinned(out: Path, plan: SamplePlan) -> None:
    """Nobody should learn from a part of a video without knowing."""
    from telltale._text import plural
    from telltale.store import open_store

    if plan.max_frames is not None or plan.kind not in ("fps", "every", "all"):
        return
    sampled = open_store(out).videos().column("n_frames_sampled").to_pylist()
    if n := sum(one >= plan.cap for one in sampled):
        say(
            f"{plural(n, 'video')} gave {plan.cap} frames, the most that are taken: longer ones are thinned to that "
            "over their whole length (--max-frames N takes the first N instead)"
        )


def _say_sparse(out: Path) -> None:
    """Before hours of training, not after."""
    from telltale.store import open_store, sparse

    for sentence in sparse([open_store(out)]):
        say(sentence)


__all__ = ["prepare"]
