"""The people of a report as the page shows them: outcome, facts, chart, and the faces that can be looked at."""

from __future__ import annotations

import base64
import statistics
from dataclasses import dataclass

from telltale import _report_words as _words
from telltale._report_chart import Chart, ZoneScale, lay_out
from telltale._text import clock, percent, plural, visible
from telltale.types import Code, FaceReport, Label, Report, TrackReport

MAX_CROPS_SHOWN = 14
MAX_CROPS_PERSON = 120
CROPS_UNJUDGED = 4
_SAME_S = 1e-6
_MOST_HALF_S = 0.01
"""No frame is shorter than twice that, or the header says so."""
_HELD_BACK = "Scores as fake, but unlike the faces that the model learned from"
MAX_CROPS = 600
"""Over the whole page: 600 crops of 224 px are about 8 MB."""


@dataclass(frozen=True, slots=True)
class Crop:
    """One face that the page can show."""

    face: int
    image: str
    heat: str
    """A picture to be laid over the grey crop; empty without one."""
    frame: int | None
    """Which of the page's frames shows this moment, or the one nearest to it."""
    box: str
    """Where the face lies in that frame: x, y, width and height in per cent. Empty where it is another moment."""
    pts_s: float
    seek_s: float
    """Where a player shows the same frame: the middle of it, as at its very beginning many show the one before."""
    time: str
    score: str
    zone: str
    source: str
    is_first_shown: bool
    """The others appear on demand."""


@dataclass(frozen=True, slots=True)
class StillBox:
    """Where a person's face lies in a still picture, in per cent of it."""

    number: str
    """Of the person; empty where there is only one."""
    zone: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Person:
    id: int
    name: str
    label: Label
    word: str
    score: str
    interval: str
    facts: str
    reasons: list[str]
    portrait: Crop | None
    crops: list[Crop]
    n_faces: int
    chart: Chart | None
    suspicious: str
    """When; empty where never."""
    suspicious_name: str
    chart_alt: str


def build_people(report: Report, *, scale: ZoneScale, end_s: float) -> list[Person]:
    """Every person, the most suspicious first, those not judged last; `end_s` 0 where there is no time line."""
    return [
        _person(track, report, scale=scale, end_s=end_s, budget=budget)
        for track, budget in zip(_by_suspicion(report), _crop_budgets(report), strict=True)
    ]


def jpeg_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def png_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def span_words(low: float, high: float) -> str:
    """Nothing where both ends read the same: "99% to 99%" says no more than the number."""
    return f"{percent(low)} to {percent(high)}" if percent(low) != percent(high) else ""


def _by_suspicion(report: Report) -> list[TrackReport]:
    return sorted(report.tracks, key=lambda track: track.suspicion, reverse=True)


def _crop_budgets(report: Report) -> list[int]:
    """How many crops each person may show, in the order of `_by_suspicion`: those judged share the page."""
    n_judged = sum(track.p_fake is not None for track in report.tracks)
    left = MAX_CROPS - CROPS_UNJUDGED * (len(report.tracks) - n_judged)
    share = min(MAX_CROPS_PERSON, max(CROPS_UNJUDGED, left // max(n_judged, 1)))
    return [CROPS_UNJUDGED if track.p_fake is None else share for track in _by_suspicion(report)]


def _person(track: TrackReport, report: Report, *, scale: ZoneScale, end_s: float, budget: int) -> Person:
    crops = _crops(track, report, scale, budget)
    telling = {crop.face: crop for crop in crops}
    scored = [i for i in telling if _score(track, i) is not None]
    best = max(scored or telling, key=lambda i: (_score(track, i) or 0.0, track.faces[i].confidence), default=None)
    suspicious = ", ".join(_interval_words(start, end) for start, end in track.suspicious_s)
    score = "" if track.p_fake is None else percent(track.p_fake)
    told = " ".join(report.verdict.reasons)
    is_still = report.video is not None and report.video.is_still
    has_chart = bool(not is_still and end_s > 0 and score and len(track.faces) > 1)
    is_whole = _words.is_whole_frame(report.model.card)
    name, shown = ("The middle of the frame", "frame") if is_whole else (f"Person {track.id}", "face")
    return Person(
        id=track.id,
        name=name if is_whole or len(report.tracks) > 1 else "One person",
        label=track.label,
        word=_words.LABELS[track.label].name if score else "not judged",
        score=score,
        interval="" if track.interval is None else span_words(*track.interval),
        facts=_facts(track, report),
        reasons=[visible(reason) for reason in track.reasons if reason not in told],
        portrait=None if best is None else telling[best],
        crops=crops,
        n_faces=len(track.faces),
        chart=lay_out(track, end_s=end_s, scale=scale) if has_chart else None,
        suspicious=suspicious,
        suspicious_name=_HELD_BACK if Code.OUT_OF_DOMAIN in track.codes else "Suspicious",
        chart_alt=f"Scores of {name[0].lower()}{name[1:]} over time, {plural(len(track.faces), shown)}. "
        + (f"Suspicious: {suspicious}." if suspicious else "No suspicious interval."),
    )


def _score(track: TrackReport, index: int) -> float | None:
    """Of one face; none where the person must not be judged, whatever the model said to it."""
    return None if track.p_fake is None else track.faces[index].p_fake


def _interval_words(start: float, end: float) -> str:
    return f"{clock(start)}–{clock(end)}" if end > start else clock(start)


def face_px(track: TrackReport) -> float:
    """The longer side of the face, in the middle of all frames."""
    return statistics.median(max(f.box_xyxy[2] - f.box_xyxy[0], f.box_xyxy[3] - f.box_xyxy[1]) for f in track.faces)


def shrunk_frac(report: Report) -> float:
    """How much smaller the frames were that were looked at (`--max-side`); 1 where they were not."""
    plan = report.settings.get("plan")
    side = plan.get("max_side_px") if isinstance(plan, dict) else None
    video = report.video
    return min(1.0, side / max(video.width_px, video.height_px, 1)) if side and video is not None else 1.0


def size_words(track: TrackReport, shrunk: float) -> str:
    """How large the face is, and was to whoever looked."""
    side = face_px(track)
    return f"{side:.0f} pixels large" + (f", looked at with {shrunk * side:.0f}" if shrunk < 1 else "")


def _facts(track: TrackReport, report: Report) -> str:
    is_still = report.video is not None and report.video.is_still
    if _words.is_whole_frame(report.model.card):
        span = "" if is_still else f"{clock(track.start_s)} to {clock(track.end_s)}, "
        return f"{span}{plural(len(track.faces), 'frame')}, no face was looked for"
    size = f"face {size_words(track, shrunk_frac(report))}" if track.faces else ""
    if is_still:
        return size
    filled = len(track.faces) - track.n_detected
    parts = [f"{clock(track.start_s)} to {clock(track.end_s)}", f"found in {plural(track.n_detected, 'frame')}"]
    if filled:
        parts.append(f"filled in for {filled} between")
    if track.person not in (None, track.id):
        parts.insert(0, f"looks like person {track.person}")
    return ", ".join([*parts, size])


def _crops(track: TrackReport, report: Report, scale: ZoneScale, budget: int) -> list[Crop]:
    """At most `budget` crops in time order, evenly spread, with the highest and the lowest score among them."""
    pictures = report.pictures
    times = [pts_s for pts_s, _ in pictures.thumbnails]
    have = [i for i in range(len(track.faces)) if (track.id, i) in pictures.crops]
    if len(have) > budget:
        scored = [i for i in have if _score(track, i) is not None]
        ends = {pick(scored, key=lambda i: _score(track, i) or 0.0) for pick in (min, max)} if scored else set()
        n = budget - len(ends)
        have = sorted(set(_spread(have, n)) | ends)
    shown = set(_spread(have, MAX_CROPS_SHOWN))
    video = report.video
    place = "picture" if video is not None and video.is_still else "frame"
    fps = video.fps_header if video else None
    half_s = min(_MOST_HALF_S, 0.5 / fps if fps else _MOST_HALF_S)
    crops = []
    for i in have:
        face, p_fake = track.faces[i], _score(track, i)
        frame = min(range(len(times)), key=lambda k: abs(times[k] - face.pts_s), default=None)
        heat = pictures.heat.get((track.id, i))
        crops.append(
            Crop(
                face=i,
                image=jpeg_uri(pictures.crops[track.id, i]),
                heat=png_uri(heat) if heat else "",
                frame=frame,
                box=_box_words(face, report) if frame is not None and abs(times[frame] - face.pts_s) < _SAME_S else "",
                pts_s=face.pts_s,
                seek_s=round(face.pts_s + half_s, 4),
                time=clock(face.pts_s),
                score="no score" if p_fake is None else percent(p_fake),
                zone="none" if p_fake is None else scale.zone(p_fake),
                source=f"the middle of this {place}"
                if _words.is_whole_frame(report.model.card)
                else f"found in this {place}"
                if face.source == "detected"
                else "filled in between two frames",
                is_first_shown=i in shown,
            )
        )
    return crops


def still_boxes(report: Report) -> list[StillBox]:
    """Each person's face in a still picture, with the number of the row that is about it where there are several."""
    boxes = []
    for track in report.tracks:
        place = _box(track.faces[0], report) if track.faces else None
        if place is not None:
            zone = "none" if track.p_fake is None else track.label
            boxes.append(StillBox(str(track.id) if len(report.tracks) > 1 else "", zone, *place))
    return boxes


def _box_words(face: FaceReport, report: Report) -> str:
    box = _box(face, report)
    return "" if box is None else " ".join(f"{side:.1f}" for side in box)


def _box(face: FaceReport, report: Report) -> tuple[float, float, float, float] | None:
    """x, y, width and height in per cent of the frame."""
    video = report.video
    # Where the size changes, only that of the first frame is known, not that of the face's.
    if video is None or Code.GEOMETRY_CHANGED in report.verdict.codes:
        return None
    size = (max(video.width_px, 1), max(video.height_px, 1))
    ends = [min(max(v / full, 0.0), 1.0) for v, full in zip(face.box_xyxy, size * 2, strict=True)]
    x0, y0, x1, y1 = (100 * end for end in ends)
    return x0, y0, x1 - x0, y1 - y0


def _spread(items: list[int], n: int) -> list[int]:
    """`n` of them at even distances, ends included."""
    if len(items) <= n:
        return items
    return [items[round(k * (len(items) - 1) / max(n - 1, 1))] for k in range(n)]
