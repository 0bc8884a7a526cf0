"""What the HTML report shows, as plain values: the template only places them.

    page = build_page(report)
    page.headline           # 'Likely a deepfake'
    page.people[0].chart # ready-made coordinates

Every string that may come from a file passes `visible`; the template escapes all of them once more.
"""

from __future__ import annotations

from dataclasses import dataclass

from telltale import _report_words as _words
from telltale._card_words import card_facts
from telltale._measured import remark
from telltale._report_chart import ZoneScale, ticks, x_percent
from telltale._report_evidence import Evidence, build_evidence
from telltale._report_people import Person, StillBox, build_people, jpeg_uri, span_words, still_boxes
from telltale._report_player import Player
from telltale._report_quality import Quality, build_quality
from telltale._text import clock, file_size, percent, visible
from telltale.types import Code, Label, Pictures, Report, count_people

MAX_STRIP = 10
_HELD_BACK = " This one is not called fake: the face is unlike those that the model learned from."
_LEAST_UNREAD = 0.02
"""A smaller share of the time line is not marked as unread."""
TOLD_BY_REASONS = frozenset(
    {Code.NO_FACE, Code.BETWEEN_THRESHOLDS, Code.TOO_SMALL, Code.TOO_FEW_FACES, Code.NOT_ALL_JUDGED}
)
"""Codes of which a reason says more."""
TOLD_BY_WARNINGS = frozenset(
    {
        Code.PARTIAL,
        Code.BEGINNING_ONLY,
        Code.CAPPED,
        Code.FRAMES_LOST,
        Code.TIMESTAMPS_SYNTHETIC,
        Code.TIMESTAMPS_REPAIRED,
        Code.GEOMETRY_CHANGED,
        Code.SEVERAL_VIDEO_STREAMS,
        Code.HDR_TONE_MAPPED,
        Code.ALPHA_COMPOSITED,
        Code.INTERLACED,
    }
)
"""Codes that the reader gives together with a warning: the same, with the figures of this file."""
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Gauge:
    """The number on a scale with the thresholds."""

    x: str
    interval: tuple[str, str] | None
    bands: list[tuple[str, str, str, str]]
    """(zone, x, width, middle)"""
    marks: list[tuple[str, str, str]]
    """(x, text, text-anchor)"""
    alt: str


@dataclass(frozen=True, slots=True)
class Tile:
    image: str
    """Empty where nothing could be read."""
    time: str


@dataclass(frozen=True, slots=True)
class Unread:
    """The end of a time line, which was not looked at."""

    x: str
    width: str
    told: str


@dataclass(frozen=True, slots=True)
class Page:
    name: str
    what: str
    subtitle: list[str]
    label: Label
    headline: str
    lede: str
    number: str
    interval: str
    meaning: str
    bars: str
    gauge: Gauge | None
    reasons: list[str]
    error: tuple[str, str] | None
    strip: list[Tile]
    frames: list[Tile]
    """All that are kept, in time order: what a click on a time line shows."""
    boxes: list[StillBox]
    """The faces in a still picture."""
    heat_told: str
    """How to read the heat maps; empty where there are none."""
    heat_doubt: str
    """What must stand beside each of them; empty where nothing must."""
    quality: Quality | None
    evidence: Evidence
    card_about: str
    card: Pairs
    card_limits: list[str]
    player: Player | None
    is_still: bool
    is_whole_frame: bool
    """No face was looked for: the middle of each frame was judged."""
    ticks: list[tuple[str, str, str]]
    unread: Unread | None
    bands: list[tuple[str, float, float]]
    band_edges: list[tuple[float, str]]
    people: list[Person]
    marks: set[str]
    """What is drawn on their time lines beside filled marks: `hollow`, `none`."""
    unjudged: list[Person]
    notes: list[str]
    looked_at: Pairs
    record: list[tuple[str, Pairs]]


def build_page(report: Report, *, player: Player | None = None) -> Page:
    """The values of the page for one report; `player` is the clip, embedded or linked."""
    verdict, video = report.verdict, report.video
    scale = ZoneScale(verdict.thresholds)
    seen_s, end_s = _seen_s(report), _end_s(report)
    unread = _unread(report, seen_s, end_s)
    is_still = video is not None and video.is_still
    card = report.model.card if report.error is None else None  # no model looked at a file that failed
    people = build_people(report, scale=scale, end_s=end_s)
    dots = [dot for person in people if person.chart for dot in person.chart.dots]
    return Page(
        name=visible(report.input.path.rsplit("/", 1)[-1]) or visible(report.input.path),
        what="file" if video is None else _words.kind(video),
        subtitle=_subtitle(report),
        label=verdict.label,
        headline=_words.headline(label=verdict.label, any_face=bool(report.tracks)),
        lede=visible(_words.lede(report)),
        number="" if verdict.p_fake is None else percent(verdict.p_fake),
        interval="" if verdict.interval is None else span_words(*verdict.interval),
        meaning=_words.meaning(report),
        bars=_words.bars(report) + (_HELD_BACK if Code.OUT_OF_DOMAIN in verdict.codes else ""),
        gauge=_gauge(report, scale),
        # Without a face the sentence above has said the first of them.
        reasons=[visible(reason) for reason in verdict.reasons[0 if report.tracks else 1 :]],
        error=_error(report),
        strip=_strip(report.pictures, seen_s if unread else end_s, end_s),
        frames=[] if is_still else [Tile(jpeg_uri(jpeg), clock(s)) for s, jpeg in report.pictures.thumbnails],
        boxes=still_boxes(report) if is_still else [],
        heat_told=visible(report.explanation.told) if report.explanation and report.pictures.heat else "",
        heat_doubt=remark(report.explanation.method) if report.explanation and report.pictures.heat else "",
        quality=build_quality(report),
        evidence=build_evidence(report, scale=scale),
        card_about="" if card is None else visible(card.description),
        card=[] if card is None else card_facts(card),
        card_limits=[] if card is None else [visible(limit) for limit in card.limits],
        player=player,
        is_still=is_still,
        is_whole_frame=_words.is_whole_frame(card),
        ticks=_ticks(end_s),
        unread=unread,
        bands=scale.bands() if verdict.thresholds else [],
        band_edges=[(scale.fraction(p), percent(p)) for p in scale.edges[1:-1]],
        people=[person for person in people if person.score],
        marks={"hollow" if dot.is_scored else "none" for dot in dots if dot.source != "detected" or not dot.is_scored},
        unjudged=[person for person in people if not person.score],
        notes=_notes(report),
        looked_at=_looked_at(report),
        record=_record(report),
    )


def _seen_s(report: Report) -> float:
    times = [face.pts_s for track in report.tracks for face in track.faces]
    times += [pts_s for pts_s, _ in report.pictures.thumbnails]
    return max(times, default=0.0)


def _end_s(report: Report) -> float:
    declared = report.video.duration_s if report.video else None
    seen = _seen_s(report)
    if declared is None or declared < seen:
        return seen
    # A header may claim hours; the axis then ends where frames were seen, or shows some of what could not be read.
    if _words.ENDS_EARLY & {*report.verdict.codes}:
        return min(declared, 2 * seen + 2)
    return declared if declared <= 1.5 * seen + 2 else seen


def _unread(report: Report, seen_s: float, end_s: float) -> Unread | None:
    codes = _words.ENDS_EARLY & {*report.verdict.codes}
    if not codes or end_s - seen_s <= _LEAST_UNREAD * end_s:
        return None
    declared = report.video.duration_s if report.video else None
    told = "not read" if Code.PARTIAL in codes else "not looked at"
    if declared is not None and declared > end_s:
        told += f", to {clock(declared, tenths=False)}"
    return Unread(x_percent(seen_s, end_s), x_percent(end_s - seen_s, end_s), told)


def _subtitle(report: Report) -> list[str]:
    video = report.video
    size = [file_size(report.input.size_bytes)] if report.input.size_bytes else []
    if video is None:
        return size
    length = [] if video.is_still or video.duration_s is None else [clock(video.duration_s) + " long"]
    return [*length, f"{video.width_px} × {video.height_px} pixels", _codec(video.codec), *size]


def _codec(name: str) -> str:
    known = {"h264": "H.264", "hevc": "HEVC", "av1": "AV1", "vp9": "VP9", "vp8": "VP8", "mjpeg": "JPEG"}
    return known.get(name, visible(name))


def _error(report: Report) -> tuple[str, str] | None:
    if report.error is None:
        return None
    return visible(report.error.code), _words.explain_code(report.error.code)


def _strip(pictures: Pictures, read_s: float, end_s: float) -> list[Tile]:
    """Tiles of equal width over the time line, empty ones from `read_s` on."""
    shown = pictures.thumbnails if pictures.still is None else ((0.0, pictures.still),)
    n = min(MAX_STRIP, len(shown))
    n_read = max(1, round(n * read_s / end_s)) if end_s > read_s else n
    middles = [(i + 0.5) * end_s / n for i in range(n_read)]
    nearest = [min(shown, key=lambda item: abs(item[0] - middle)) for middle in middles if shown]
    tiles = [Tile(jpeg_uri(jpeg), clock(pts_s)) for pts_s, jpeg in dict.fromkeys(nearest)]
    return [*tiles, *(Tile("", "") for _ in range(n - n_read))]


def _ticks(end_s: float) -> list[tuple[str, str, str]]:
    """(x, text, text-anchor); the first and last letters stay inside the drawing."""
    times = ticks(end_s)
    tenths = len(times) > 1 and times[1] < 1
    return [
        (
            x_percent(t, end_s),
            clock(t, tenths=tenths),
            "start" if t == 0 else "end" if t > 0.97 * end_s else "middle",
        )
        for t in times
    ]


def _gauge(report: Report, scale: ZoneScale) -> Gauge | None:
    verdict = report.verdict
    if verdict.p_fake is None or verdict.thresholds is None:
        return None
    ends = verdict.interval
    marks = [("0%", "0%", "start"), ("100%", "100%", "end")]
    marks += [(_x(scale.fraction(p)), percent(p), "middle") for p in scale.edges[1:-1]]
    return Gauge(
        x=_x(scale.fraction(verdict.p_fake)),
        interval=(_x(scale.fraction(ends[0])), _x(scale.fraction(ends[1]))) if ends else None,
        bands=[(zone, _x(low), _x(high - low), _x((low + high) / 2)) for zone, low, high in scale.bands()],
        marks=marks,
        alt=f"Fake score {percent(verdict.p_fake)} on a scale from 0 to 100%. {_words.bars(report)}",
    )


def _x(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"


def _notes(report: Report) -> list[str]:
    """What a reader must know about this analysis: codes and warnings, each said once, that no reason repeats."""
    codes = [_words.CODES[code] for code in report.verdict.codes if code not in TOLD_BY_REASONS | TOLD_BY_WARNINGS]
    warnings = [visible(warning) for warning in report.warnings if warning not in report.verdict.reasons]
    return list(dict.fromkeys([*codes, *warnings]))


def _looked_at(report: Report) -> Pairs:
    frames = report.frames
    if not frames.decoded:
        return []
    n_faces = sum(len(track.faces) for track in report.tracks)
    detected = sum(track.n_detected for track in report.tracks)
    rows: Pairs = [
        ("Frames decoded", f"{frames.decoded:,}"),
        ("Frames analysed", f"{frames.analysed:,}"),
        (f"Frames missing or damaged{_of_the_part(report)}", f"{frames.lost:,}"),
    ]
    if not _words.is_whole_frame(report.model.card):
        rows += [("People followed", _followed(report)), ("Faces found", f"{detected:,}")]
    if n_faces > detected:
        rows.append(("Faces filled in between", f"{n_faces - detected:,}"))
    total = report.timings_s.get("total")
    return [*rows, ("Time taken", f"{total:.1f} s")] if total is not None else rows


def _of_the_part(report: Report) -> str:
    return ", in the part that was read" if Code.PARTIAL in report.verdict.codes else ""


def _followed(report: Report) -> str:
    people, appearances = count_people(report.tracks), len(report.tracks)
    return f"{people:,}" + (f", in {appearances:,} appearances" if appearances > people else "")


def _record(report: Report) -> list[tuple[str, Pairs]]:
    """Everything needed to repeat the analysis."""
    video = report.video
    file: Pairs = [
        ("Path as given", visible(report.input.path)),
        ("SHA-256", report.input.sha256 or ("not known" if report.input.size_bytes else "nothing could be read")),
        ("Size", f"{report.input.size_bytes:,} bytes"),
    ]
    if video is not None:
        file += [
            ("Container", visible(video.container)),
            ("Codec", visible(video.codec)),
            ("Picture", f"{video.width_px} × {video.height_px} pixels, turned by {video.rotation_deg}°"),
            ("Times", video.timestamps),
        ]
        if video.fps_header is not None:
            file.append(("Frame rate in the header", f"{video.fps_header:.3f} per second"))
    model: Pairs = [("Model", visible(report.model.name)), ("SHA-256", report.model.sha256 or "-")]
    groups = [
        ("File", file),
        ("Model", model),
        ("Settings", _flat(report.settings)),
        ("Timings", [(visible(k).replace("_", " "), f"{v:.2f} s") for k, v in report.timings_s.items()]),
        ("Software", [(visible(k), visible(v)) for k, v in report.versions.items()]),
    ]
    codes = [*report.verdict.codes, *([report.error.code] if report.error else [])]
    if codes:
        groups.append(("Codes", [(visible(code), _words.explain_code(code)) for code in codes]))
    return [group for group in groups if group[1]]


def _flat(settings: dict[str, object], prefix: str = "") -> Pairs:
    rows: Pairs = []
    for key, value in settings.items():
        name = f"{prefix}{visible(str(key))}"
        if isinstance(value, dict):
            rows += _flat(value, prefix=f"{name} / ")
        else:
            rows.append((name.replace("_", " "), "-" if value is None else visible(str(value))))
    return rows
