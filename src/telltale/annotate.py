"""A clip with what was found drawn into it, to be looked at and handed on.

    attachments = annotate(report, "clip.mp4", Path("out"))

Writes `annotated.mp4` (H.264, the clip's own size, times and sound), `telling.gif` (the seconds that tell most) and
`contact_sheet.png`; for a still picture `annotated.png`. Boxes have the colour and the shape of each person's verdict,
and glide between the frames that were looked at, never over a cut. The clip is decoded, drawn on and encoded in a
worker process.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from telltale._annotate_plan import Plan, make_plan
from telltale._files import file_sha256, write_files
from telltale._report_words import headline, people_seen
from telltale._reported import ATTACHMENT_NAMES
from telltale._request import ENCODING_BYTES, encoding_deadline_s
from telltale._said import understood
from telltale._text import percent, plural, visible
from telltale.errors import InputError, OutputError
from telltale.sandbox import Message, Powers, Worker, WorkerLimits
from telltale.types import Attachment, Report

if TYPE_CHECKING:
    import numpy.typing as npt

    from telltale.types import RgbImage
    from telltale.video import VideoReader

VIDEO_NAME, GIF_NAME, SHEET_NAME, PICTURE_NAME = ATTACHMENT_NAMES
_GIF_SIDE_PX, _GIF_STEP_S = 480, 0.125
_TILE_PX, _TILE_COLUMNS = 320, 4
_TOLD_EVERY_S = 0.5
Kind = Literal["video", "gif", "contact_sheet", "picture"]
_FILES: Mapping[str, tuple[Kind, str, str]] = {
    VIDEO_NAME: ("video", "video/mp4", "The clip with what was found drawn into it."),
    GIF_NAME: ("gif", "image/gif", "The seconds that tell most."),
    SHEET_NAME: ("contact_sheet", "image/png", "Frames of the clip at a glance."),
    PICTURE_NAME: ("picture", "image/png", "The picture with what was found drawn into it."),
}


def annotate(
    report: Report,
    path: str | os.PathLike[str],
    folder: Path,
    *,
    deadline_s: float | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> tuple[Attachment, ...]:
    """Write the annotated clip of `report`, a scan of `path`, into `folder`; all of its files or none.

    `deadline_s`: None gives four times what reading may take. `on_progress` gets seconds of the clip. Nothing is
    written for a failed report. Raises `InputError` where the clip has changed since or FFmpeg refuses to write it,
    `WorkerError` at the deadline, `OutputError` where the folder cannot be written.
    """
    if report.verdict.label == "failed":
        return ()
    plan = make_plan(report, headline=_headline(report), caption=_caption(report))
    duration_s = report.video.duration_s if report.video else None
    allowed_s = deadline_s or encoding_deadline_s(duration_s, report.input.size_bytes)
    film = _reserve(folder)
    try:
        made, sha256 = _run(plan, path, film, allowed_s=allowed_s, stop=stop, on_progress=on_progress)
        if report.input.sha256 not in (sha256, ""):  # empty where the scan had no time for it
            raise InputError(f"{visible(os.fsdecode(path))} has changed since it was scanned; scan it again")
        sizes = {name: (width, height) for name, (_, width, height) in made.items()}
        files = {name: data for name, (data, *_) in made.items() if data is not None}
        write_files(folder, files)
        if VIDEO_NAME in made:
            film.chmod(0o644)
            film.replace(folder / VIDEO_NAME)
    finally:
        film.unlink(missing_ok=True)
    return tuple(_attachment(folder / name, *sizes[name]) for name in _FILES if name in made)


Made = dict[str, tuple[bytes | None, int, int]]
"""Name -> content (None: in the file the worker wrote), width and height."""


def _run(
    plan: Plan,
    path: str | os.PathLike[str],
    film: Path,
    *,
    allowed_s: float,
    stop: threading.Event | None,
    on_progress: Callable[[float], None] | None,
) -> tuple[Made, str]:
    """What was made, and the SHA-256 of what it was made from."""
    made: Made = {}
    sha256 = ""
    args = {"path": os.fspath(path), "film": str(film), "plan": plan.to_json()}
    with (
        Worker(WorkerLimits(ENCODING_BYTES, Powers(may_write=(str(film),)))) as worker,
        closing(worker.run("annotate", args, deadline_s=allowed_s, stop=stop)) as messages,
    ):
        for message in messages:
            pts_s = None
            with understood():
                if message.kind == "progress":
                    pts_s = float(message.data["pts_s"])
                elif message.kind == "read":
                    sha256 = str(message.data["sha256"])
                elif message.kind == "file" and (name := message.data["name"]) in _FILES:
                    data = None if name == VIDEO_NAME else message.arrays["data"].tobytes()
                    made[name] = data, int(message.data["width_px"]), int(message.data["height_px"])
            if pts_s is not None and on_progress is not None:
                on_progress(pts_s)
    return made, sha256


def _reserve(folder: Path) -> Path:
    """An empty file for the worker to write into, in the folder where it will stay."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".telltale-", suffix=".part", dir=folder)
    except OSError as error:
        shown = visible(str(folder))
        raise OutputError(f"{shown}: {error.strerror or error}; free some space or choose another folder") from error
    os.close(handle)
    return Path(name).absolute()


def _attachment(path: Path, width_px: int, height_px: int) -> Attachment:
    kind, media_type, told = _FILES[path.name]
    return Attachment(
        name=path.name,
        kind=kind,
        told=told,
        media_type=media_type,
        size_bytes=path.stat().st_size,
        sha256=file_sha256(path),
        width_px=width_px,
        height_px=height_px,
    )


def _headline(report: Report) -> str:
    return headline(label=report.verdict.label, any_face=bool(report.tracks))


def _caption(report: Report) -> list[str]:
    name = visible(report.input.path.replace("\\", "/").rsplit("/", 1)[-1])
    sha256 = f"SHA-256 {report.input.sha256[:16]}…" if report.input.sha256 else "SHA-256 not known"
    score = "" if report.verdict.p_fake is None else f", fake score {percent(report.verdict.p_fake)}"
    return [
        f"{_headline(report)}{score}",
        f"{name}  ·  {plural(people_seen(report), 'person', 'people')}  ·  {sha256}",
        f"Telltale {report.versions.get('telltale', '')}, model {report.model.name}. An estimate, not proof.",
    ]


def annotate_job(args: dict[str, Any]) -> Iterator[Message]:
    """The worker's side: one pass over the clip."""
    from telltale.sampling import EVERY_FRAME
    from telltale.video import open_video

    plan = Plan.from_json(args["plan"])
    with open_video(args["path"], EVERY_FRAME) as reader:
        if reader.info.is_still:
            yield from _still(reader, plan)
        else:
            yield from _moving(reader, args["path"], Path(args["film"]), plan)
        yield Message("read", {"sha256": reader.info.sha256})


def _still(reader: VideoReader, plan: Plan) -> Iterator[Message]:
    from telltale._annotate_paint import Painter
    from telltale._annotate_stills import with_caption
    from telltale._png import png

    for frame in reader:
        rgb = _drawable(frame.rgb)
        height, width = rgb.shape[:2]
        Painter(plan, width_px=width, height_px=height, with_timeline=False).paint(rgb, 0.0)
        page = with_caption(rgb, plan)
        yield _file(PICTURE_NAME, png(page), page.shape[1], page.shape[0])


def _moving(reader: VideoReader, path: str, film_path: Path, plan: Plan) -> Iterator[Message]:
    from telltale._annotate_paint import Painter
    from telltale._annotate_shots import Shots
    from telltale._annotate_stills import Gif, Sheet
    from telltale._film import Film, Sound
    from telltale._source import Source

    film: Film | None = None
    gif = Gif(plan, side_px=_GIF_SIDE_PX, step_s=_GIF_STEP_S)
    sheet = Sheet(plan, tile_px=_TILE_PX, n_columns=_TILE_COLUMNS)
    shots = Shots()
    first: Painter | None = None
    told_s = 0.0
    with Source(path) as source, ExitStack() as stack:  # the film is finished, or abandoned where something fails
        for frame in reader:
            rgb = _drawable(frame.rgb)
            height, width = rgb.shape[:2]
            shot_s = shots.begun_s(rgb, frame.pts_s)
            gif.see(rgb, frame.pts_s, shot_s=shot_s)
            sheet.see(rgb, frame.pts_s, shot_s=shot_s)
            if film is None or first is None:
                sound = None if source.is_picture else Sound(source, origin_s=reader.origin_s)
                first, size = Painter(plan, width_px=width, height_px=height), (width, height)
                film = stack.enter_context(
                    Film(film_path, width_px=width, height_px=first.height_px, fps=1 / reader.interval_s, sound=sound)
                )
            painter = first if (width, height) == size else Painter(plan, width_px=width, height_px=height)
            film.add(painter.paint(rgb, frame.pts_s, shot_s=shot_s), frame.pts_s)
            if frame.pts_s - told_s >= _TOLD_EVERY_S:
                told_s = frame.pts_s
                yield Message("progress", {"pts_s": told_s})
    if film is not None:
        yield _file(VIDEO_NAME, None, film.width_px, film.height_px)
    for name, made in ((GIF_NAME, gif.encoded()), (SHEET_NAME, sheet.encoded())):
        if made is not None:
            yield _file(name, *made)


def _drawable(rgb: RgbImage) -> RgbImage:
    import numpy as np

    return np.require(rgb, requirements=["C", "W"])


def _file(name: str, data: bytes | None, width_px: int, height_px: int) -> Message:
    import numpy as np

    arrays: dict[str, npt.NDArray[Any]] = {} if data is None else {"data": np.frombuffer(data, np.uint8)}
    return Message("file", {"name": name, "width_px": width_px, "height_px": height_px}, arrays)


__all__ = ["GIF_NAME", "PICTURE_NAME", "SHEET_NAME", "VIDEO_NAME", "annotate", "annotate_job"]
