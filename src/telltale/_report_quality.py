"""How good is the clip for judging faces, and what does that do to the verdict? Sentences for the report's page.

    quality = build_quality(report)
    quality.told            # "The face is small ..."
    quality.rows[0].name    # "Face"

Nothing here alters a score; it says how far one should be trusted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from telltale._report_people import face_px, shrunk_frac, size_words
from telltale._report_words import is_whole_frame, to_see_more
from telltale._text import bit_rate, plural, visible
from telltale.types import Code, Label, Report, TrackReport

_COARSE_BITS = {"h264": 0.03, "mpeg4": 0.05, "mpeg2video": 0.1, "mpeg1video": 0.1, "hevc": 0.018, "vp9": 0.018,
                "av1": 0.014}  # fmt: skip
"""Bits a pixel and frame under which an encoder smooths skin: a rule of thumb, codec by codec."""
_LEAST_BITS = 0.001
"""Fewer bits a pixel are not told apart."""
_PLENTY = 4
"""Times that: little is lost."""
_MUCH_ENLARGED = 1.5
_FEW_FACES = 8
_UNREAD, _UNFAMILIAR = "unread part", "unfamiliar face"
_POOR: dict[Label, str] = {
    "fake": "Poor material can make a real face score higher, too: look for a better copy first.",
    "real": "Poor material can wash out what forgeries leave: a forged face, too, can score low here.",
}
_SOFTWARE = re.compile(r"lavf|x26[45]|handbrake|ffmpeg|gstreamer|google|premiere|davinci|capcut|vimeo", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QualityRow:
    name: str
    value: str
    told: str
    concern: str = ""
    """What makes the score less reliable, in two or three words; empty where nothing does."""

    @property
    def is_concern(self) -> bool:
        return bool(self.concern)


@dataclass(frozen=True, slots=True)
class Quality:
    told: str
    """What all of it does to the verdict."""
    rows: list[QualityRow]


def build_quality(report: Report) -> Quality | None:
    """None where nothing could be read."""
    video = report.video
    if video is None:
        return None
    found = [_size(report), _face(report), _likeness(report), _compression(report), _history(report)]
    found.append(_part(report))
    if not video.is_still:
        found += [_frames(report), _count(report)]
    rows = [row for row in found if row is not None]
    return Quality(_told(report, [row for row in rows if row.is_concern]), rows)


def _size(report: Report) -> QualityRow | None:
    video = report.video
    if video is None:
        return None
    shorter = min(video.width_px, video.height_px)
    value = f"{video.width_px} × {video.height_px} pixels"
    if shorter < 360:
        return QualityRow("Resolution", value, "Low: fine traces are hardly there.", "low resolution")
    return QualityRow("Resolution", value, "Enough; what counts is how large the face in it is.")


def _likeness(report: Report) -> QualityRow | None:
    if Code.OUT_OF_DOMAIN not in report.verdict.codes:
        return None
    told = "Among such faces the model takes real ones for fake too often."
    return QualityRow("Likeness", "unlike the faces the model learned from", told, _UNFAMILIAR)


def _face(report: Report) -> QualityRow | None:
    track = _deciding(report)
    if track is None:
        return None
    shrunk, card = shrunk_frac(report), report.model.card
    if is_whole_frame(card):
        return QualityRow("Face", "not looked for", "The model judges the middle of the whole frame.")
    value, side = size_words(track, shrunk), shrunk * face_px(track)
    if card is None:
        return QualityRow("Face", value, "The longer side of its box, in the middle of all frames.")
    if side < card.min_face_px:
        told = f"Faces under {card.min_face_px:.0f} pixels are not judged: the model would be guessing."
        return QualityRow("Face", value, told, "small face")
    seen = side * (1 + 2 * max(-0.4, _margin(report)))
    times = card.size_px / seen
    if times > _MUCH_ENLARGED:
        told = f"Must be enlarged {times:.1f} times for the model, which sees a blurred face."
        return QualityRow("Face", value, told, "small face")
    return QualityRow("Face", value, f"The model looks at {card.size_px} pixels: large enough.")


def _compression(report: Report) -> QualityRow | None:
    container = report.provenance.container if report.provenance else None
    video = report.video
    if container is None or container.bits_per_pixel is None or video is None or video.is_image:
        return None
    streams = container.streams[video.stream_index : video.stream_index + 1]
    rate = "".join(f"{bit_rate(one.bit_rate)}, " for one in streams if one.bit_rate)
    bits = f"{container.bits_per_pixel:.3f}" if container.bits_per_pixel >= _LEAST_BITS else f"under {_LEAST_BITS}"
    value = f"{rate}{bits} bits a pixel"
    coarse = _COARSE_BITS.get(video.codec)
    if coarse is None:
        return QualityRow("Compression", value, "How much this codec loses at that rate is not known here.")
    if container.bits_per_pixel < coarse:
        told = "Strong: fine traces of a forgery are mostly gone, and its blocks can look like traces."
        return QualityRow("Compression", value, told, "strong compression")
    usual = "Mild: little is lost." if container.bits_per_pixel > _PLENTY * coarse else "As usual for shared clips."
    return QualityRow("Compression", value, usual)


def _history(report: Report) -> QualityRow | None:
    container = report.provenance.container if report.provenance else None
    if container is None:
        return None
    texts = [*container.metadata.items(), *(pair for one in container.streams for pair in one.metadata.items())]
    writers = [value for key, value in texts if key.lower() in ("encoder", "software", "writing_application")]
    named = next((value for value in writers if _SOFTWARE.search(value)), None)
    if named is None and any("encoder settings" in key for key, _ in texts):
        named = "x264 or x265"
    spacing = container.key_frame_every_s
    every = f", a key frame every {spacing:.1f} s" if spacing else ""
    if named is None:
        return QualityRow("Recompression", f"no trace{every}", "The file does not say how often it was compressed.")
    told = "Written by software, not by a camera: most likely compressed again since it was recorded."
    return QualityRow("Recompression", f"by {visible(named)[:60]}{every}", told)


def _part(report: Report) -> QualityRow | None:
    if Code.PARTIAL not in report.verdict.codes:
        return None
    return QualityRow("Completeness", "only a part could be read", "What the rest shows is not known.", _UNREAD)


def _frames(report: Report) -> QualityRow:
    frames = report.frames
    if frames.lost:
        # Not "of" the decoded: some of those were damaged, and what no other frame is built from was skipped.
        n_header = report.video.n_frames_header if report.video else None
        counted = f"; the header counts {n_header:,}" if n_header is not None and n_header >= frames.lost else ""
        value = f"{plural(frames.lost, 'frame')} lost{counted}"
        return QualityRow("Frames", value, "Missing or damaged; what they showed is not known.", "missing frames")
    is_part = Code.PARTIAL in report.verdict.codes
    told = "Nothing is missing in the part that was read." if is_part else "Nothing is missing."
    return QualityRow("Frames", f"{frames.decoded:,} decoded, none lost", told)


def _count(report: Report) -> QualityRow | None:
    track = _deciding(report)
    if track is None:
        return None
    judged = "Frames judged" if is_whole_frame(report.model.card) else "Faces judged"
    n = sum(face.p_fake is not None and face.source == "detected" for face in track.faces)
    if 0 < n < _FEW_FACES:
        plan, is_out_of_time = report.settings.get("plan") or {}, report.is_out_of_time
        more = to_see_more(report.video, report.frames, report.verdict.codes, plan, is_out_of_time=is_out_of_time)
        told = f"Few: one odd frame weighs much. {more}"
        return QualityRow(judged, str(n), told, "few faces judged")
    return QualityRow(judged, str(n), "Enough that no single frame decides.") if n else None


def _deciding(report: Report) -> TrackReport | None:
    """The person whose score the clip has; else the one seen most."""
    seen = (track for track in report.tracks if track.faces)
    return max(seen, key=lambda track: (track.suspicion, len(track.faces)), default=None)


def _margin(report: Report) -> float:
    crop = report.settings.get("crop")
    margin = crop.get("margin_frac") if isinstance(crop, dict) else None
    return float(margin) if isinstance(margin, int | float) else 0.0


def _told(report: Report, concerns: list[QualityRow]) -> str:
    words = [row.concern for row in concerns]
    *others, last = words or [""]
    listed = f"{', '.join(others)} and {last}" if others else last
    if not words:
        none = "No face was found, so there is no score to weigh."
        return "Nothing measured here makes the score more or less reliable than usual." if report.tracks else none
    told = [f"{plural(len(words), 'thing')} to weigh: {listed}."]
    if not report.tracks:
        return f"No face was found. {told[0]} {'It' if len(words) == 1 else 'Each'} can hide a face."
    if set(words) - {_UNREAD, _UNFAMILIAR}:  # of which another copy holds as much
        told.append(_POOR.get(report.verdict.label, "A better copy may lead to a verdict."))
    if _UNREAD in words:
        told.append("What was not read can show something else.")
    return " ".join(told)
