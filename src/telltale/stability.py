"""How firm is a verdict? The clip is recompressed and rescaled as platforms do it, and judged again each time.

    stability = measure_stability(report, "clip.mp4", judge=scanner.scan)
    stability.n_same, len(stability.rows)       # how often the label stays

Real encoders (H.264, HEVC, VP9; JPEG for pictures), in a worker process; then the whole scan again, with the same
settings. A verdict that falls with the first mild recompression rests on traces that few copies of the clip still have.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telltale._annotate_plan import telling_seconds
from telltale._report_words import LABELS
from telltale._request import ENCODING_BYTES, encoding_deadline_s
from telltale._text import encodable, percent, plural
from telltale._wire import Message
from telltale.errors import DeadlineExceeded, InputError, OutputError, WorkerError
from telltale.sandbox import Powers, Worker, WorkerLimits
from telltale.types import Code, Report, Stability, StabilityRow

if TYPE_CHECKING:
    from telltale.types import RgbImage
    from telltale.video import VideoReader

MAX_STRETCH_S = 20.0
"""Longer clips are treated over so many seconds, around those that tell most."""
_SUFFIX = {"h264": ".mp4", "hevc": ".mp4", "vp9": ".mp4", "jpeg": ".jpg"}


@dataclass(frozen=True, slots=True)
class Pass:
    """One encoding. `codec`: h264, hevc, vp9 or jpeg; `quality`: CRF, or JPEG's quality."""

    codec: str
    quality: int
    side_px: int | None = None
    """The longer side is made no longer than this."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to the clip: one or several passes."""

    name: str
    told: str
    passes: tuple[Pass, ...]

    @property
    def side_px(self) -> int | None:
        sides = [one.side_px for one in self.passes if one.side_px is not None]
        return min(sides) if sides else None


_COPY = Treatment("as_it_came", "the stretch that was treated, almost lossless", (Pass("h264", 10),))
CLIP_TREATMENTS = (
    Treatment("h264_crf23", "H.264, mildly compressed (CRF 23)", (Pass("h264", 23),)),
    Treatment("h264_crf33", "H.264, strongly compressed (CRF 33)", (Pass("h264", 33),)),
    Treatment("h264_crf40", "H.264, crushed (CRF 40)", (Pass("h264", 40),)),
    Treatment("hevc_crf32", "HEVC, compressed (CRF 32)", (Pass("hevc", 32),)),
    Treatment("vp9_crf41", "VP9, strongly compressed (CRF 41)", (Pass("vp9", 41),)),
    Treatment("side_720", "made smaller to 720 pixels (H.264, CRF 23)", (Pass("h264", 23, 720),)),
    Treatment("side_480", "made smaller to 480 pixels (H.264, CRF 23)", (Pass("h264", 23, 480),)),
    Treatment(
        "shared_twice",
        "shared twice: 720 pixels, then 540, each time compressed",
        (Pass("h264", 28, 720), Pass("h264", 33, 540)),
    ),
)
PICTURE_TREATMENTS = (
    Treatment("jpeg_75", "JPEG, quality 75", (Pass("jpeg", 75),)),
    Treatment("jpeg_50", "JPEG, quality 50", (Pass("jpeg", 50),)),
    Treatment("jpeg_30", "JPEG, quality 30", (Pass("jpeg", 30),)),
    Treatment("side_640", "made smaller to 640 pixels (JPEG, quality 85)", (Pass("jpeg", 85, 640),)),
    Treatment("side_320", "made smaller to 320 pixels (JPEG, quality 85)", (Pass("jpeg", 85, 320),)),
    Treatment(
        "shared_twice", "shared twice: JPEG 60, then 640 pixels at JPEG 50", (Pass("jpeg", 60), Pass("jpeg", 50, 640))
    ),
)
"""After the delivery part of common robustness suites; sizes that the clip does not have are left out."""

Judge = Callable[[Path], Report]
"""Scans one file with the settings of the report, and returns its report."""


def measure_stability(
    report: Report,
    path: str | os.PathLike[str],
    judge: Judge,
    *,
    treatments: Sequence[Treatment] | None = None,
    deadline_s: float | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Stability | None:
    """Treat `path`, of which `report` is a scan, and let `judge` scan every result.

    None where there was no verdict to be moved. `deadline_s` is for one treatment. One that fails is a row that says
    so. `on_progress(n_done, n_treatments)` is called before each. Raises `Stopped`.
    """
    if report.verdict.p_fake is None or report.video is None:
        return None
    is_still = report.video.is_still
    stretch = None if is_still else _stretch(report)
    chosen = _fitting(treatments or (PICTURE_TREATMENTS if is_still else CLIP_TREATMENTS), report)
    allowed_s = deadline_s or encoding_deadline_s(report.video.duration_s, report.input.size_bytes)
    with (
        tempfile.TemporaryDirectory(prefix="telltale-") as folder,
        Worker(WorkerLimits(ENCODING_BYTES, Powers(may_write=(folder,)))) as worker,
    ):
        treater = _Treater(worker, Path(folder), judge, allowed_s=allowed_s, stop=stop)
        rows = []
        todo = chosen if stretch is None else [_COPY, *chosen]
        for number, treatment in enumerate(todo):
            if on_progress is not None:
                on_progress(number, len(todo))
            rows.append(treater.treat(os.fspath(path), treatment, stretch))
        baseline = _as_it_came(report) if stretch is None else rows.pop(0)
    return _concluded(baseline, rows, stretch)


class _Treater:
    """Encodes in the worker, judges, and forgets the copy."""

    def __init__(
        self, worker: Worker, folder: Path, judge: Judge, *, allowed_s: float, stop: threading.Event | None
    ) -> None:
        self._worker = worker
        self._folder = folder
        self._judge = judge
        self._allowed_s = allowed_s
        self._stop = stop

    def treat(self, path: str, treatment: Treatment, stretch: tuple[float, float] | None) -> StabilityRow:
        about: dict[str, Any] = {
            "name": treatment.name,
            "told": treatment.told,
            "settings": {"passes": [asdict(one) for one in treatment.passes]},
        }
        copies: list[Path] = []
        try:
            for number, one in enumerate(treatment.passes):
                copies.append(self._folder / f"{treatment.name}-{number}{_SUFFIX[one.codec]}")
                self._encode(path, copies[-1], one, stretch if number == 0 else None)
                path = str(copies[-1])
            judged = self._judge(copies[-1])
            if judged.is_out_of_time:
                raise DeadlineExceeded("judging the copy took longer than allowed; give it a longer deadline")
            return _row(judged, about, copies[-1].stat().st_size)
        except (InputError, OutputError, WorkerError) as error:
            return StabilityRow(**about, label="failed", error=encodable(error.message))
        finally:
            for copy in copies:
                copy.unlink(missing_ok=True)

    def _encode(self, path: str, out: Path, one: Pass, stretch: tuple[float, float] | None) -> None:
        args = {"path": path, "out": str(out), "encoding": asdict(one), "stretch_s": stretch}
        with closing(self._worker.run("transcode", args, deadline_s=self._allowed_s, stop=self._stop)) as messages:
            for _ in messages:
                pass


def _row(report: Report, about: dict[str, Any], size_bytes: int) -> StabilityRow:
    return StabilityRow(
        **about,
        size_bytes=size_bytes,
        label=report.verdict.label,
        p_fake=report.verdict.p_fake,
        codes=report.verdict.codes,
        n_faces=sum(len(track.faces) for track in report.tracks),
        error=report.error.message if report.error else None,
    )


def _as_it_came(report: Report) -> StabilityRow:
    return _row(report, {"name": "as_it_came", "told": "as it came"}, report.input.size_bytes)


def _stretch(report: Report) -> tuple[float, float] | None:
    """`MAX_STRETCH_S` around the telling seconds of a long clip."""
    duration_s = report.video.duration_s if report.video else None
    telling = telling_seconds(report)
    if duration_s is None or duration_s <= 1.5 * MAX_STRETCH_S or telling is None:
        return None
    start_s = min(max(0.0, sum(telling) / 2 - MAX_STRETCH_S / 2), duration_s - MAX_STRETCH_S)
    return round(start_s, 3), round(start_s + MAX_STRETCH_S, 3)


def _fitting(treatments: Sequence[Treatment], report: Report) -> list[Treatment]:
    """Those that make the picture smaller only where it is larger."""
    longer = max(report.video.width_px, report.video.height_px) if report.video else 0
    return [one for one in treatments if one.side_px is None or one.side_px < longer]


def _concluded(baseline: StabilityRow, rows: list[StabilityRow], stretch: tuple[float, float] | None) -> Stability:
    """What failed to be made or scanned says nothing about the verdict: it is in `rows`, and in no figure."""
    done = [] if baseline.label == "failed" else [row for row in rows if row.label != "failed"]
    scores = [row.p_fake for row in (baseline, *done) if row.p_fake is not None]
    p_range = (min(scores), max(scores)) if done and scores else None
    n_same = sum(row.label == baseline.label for row in done)
    return Stability(
        baseline=baseline,
        rows=tuple(rows),
        stretch_s=stretch,
        n_same=n_same,
        p_range=p_range,
        told=_told(baseline, done, len(rows), n_same, p_range),
    )


def _told(
    baseline: StabilityRow, done: list[StabilityRow], n_asked: int, n_same: int, p_range: tuple[float, float] | None
) -> str:
    if not done:
        return "Nothing could be tried on this clip."
    word = LABELS[baseline.label].name
    span = f" The score moved between {percent(p_range[0])} and {percent(p_range[1])}." if p_range else ""
    left = f" {plural(n_asked - len(done), 'other')} could not be tried." if n_asked > len(done) else ""
    if n_same == len(done):
        every = "1 treatment" if len(done) == 1 else f"all {len(done)} treatments"
        return f"The verdict stayed “{word}” after {every}{_though(baseline, done)}.{span}{left}"
    others = sorted({row.label for row in done} - {baseline.label})
    became = " or ".join(f"“{LABELS[label].name}”" for label in others)
    fate = "It did not once stay" if n_same == 0 else f"It stayed “{word}” after {n_same} of {len(done)} treatments"
    return f"{fate}; otherwise it became {became}.{span}{left} A better copy of the clip would give a firmer verdict."


def _though(baseline: StabilityRow, done: list[StabilityRow]) -> str:
    """A score that crosses the line of “fake” moves no verdict where the faces are unlike those the model knows."""
    is_held_back = Code.OUT_OF_DOMAIN in baseline.codes
    n_crossed = sum((Code.OUT_OF_DOMAIN in row.codes) is not is_held_back for row in done)
    if not n_crossed:
        return ""
    how = "fell below" if is_held_back else "reached"
    why = "" if is_held_back else ", by faces unlike those that the model learned from"
    return f", though the score {how} the line of “fake” after {n_crossed} of them{why}"


def transcode_job(args: dict[str, Any]) -> Iterator[Message]:
    """The worker's side: one pass over one file, into `out`."""
    from telltale.sampling import EVERY_FRAME
    from telltale.video import open_video

    one, out = Pass(**args["encoding"]), Path(args["out"])
    start_s, end_s = args["stretch_s"] or (0.0, math.inf)
    plan = replace(EVERY_FRAME, max_side_px=one.side_px)
    with open_video(args["path"], plan) as reader:
        if one.codec == "jpeg":
            for frame in reader:
                _write_jpeg(frame.rgb, out, one.quality)
                break
        else:
            yield from _write_film(reader, out, one, start_s, end_s)
    yield Message("written", {})


def _write_film(reader: VideoReader, out: Path, one: Pass, start_s: float, end_s: float) -> Iterator[Message]:
    from telltale._film import Encoder, Film

    film: Film | None = None
    with ExitStack() as stack:  # the film is finished, or abandoned where something fails
        for frame in reader:
            if frame.pts_s < start_s:
                continue
            if frame.pts_s >= end_s:
                break
            if film is None:
                height, width = frame.rgb.shape[:2]
                encoder = Encoder(*_encoder(one))
                film = stack.enter_context(
                    Film(out, width_px=width, height_px=height, fps=1 / reader.interval_s, encoder=encoder)
                )
                first_s = frame.pts_s
            film.add(frame.rgb, frame.pts_s - (first_s if start_s else 0.0))
            yield Message("progress", {"pts_s": frame.pts_s})


def _encoder(one: Pass) -> tuple[str, tuple[tuple[str, str], ...]]:
    crf = ("crf", str(one.quality))
    match one.codec:
        case "h264":
            return "libx264", (("preset", "veryfast"), crf)
        case "hevc":
            return "libx265", (("preset", "ultrafast"), crf, ("x265-params", "log-level=none:pools=2"))
        case "vp9":
            fast = (("deadline", "realtime"), ("cpu-used", "8"), ("row-mt", "1"), ("b", "0"))
            return "libvpx-vp9", (*fast, crf)
    raise ValueError(f"codec must be h264, hevc, vp9 or jpeg, got {one.codec!r}")


def _write_jpeg(rgb: RgbImage, out: Path, quality: int) -> None:
    from PIL import Image

    try:
        Image.fromarray(rgb).save(out, "JPEG", quality=quality)
    except OSError as error:
        raise OutputError(f"{out.parent}: {error.strerror or error}; free some space") from error


__all__ = ["CLIP_TREATMENTS", "PICTURE_TREATMENTS", "Pass", "Treatment", "measure_stability", "transcode_job"]
