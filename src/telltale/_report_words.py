"""What labels, codes and errors mean, in words a layman understands: one place for page, terminal and docs.

>>> LABELS["fake"].name, LABELS["fake"].glyph
('fake', '▲')
>>> headline(label="no_face", any_face=True)
'No face could be judged'
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from telltale._telling import telling_spans
from telltale._text import clock, percent, plural
from telltale.types import (
    CardSummary,
    Code,
    FrameCounts,
    Label,
    Report,
    TrackReport,
    VideoInfo,
    count_people,
    person_of,
)


@dataclass(frozen=True, slots=True)
class LabelWords:
    """How a label is shown. The glyph carries the meaning where colour is missing or not seen."""

    name: str
    glyph: str
    headline: str


LABELS: dict[Label, LabelWords] = {
    "fake": LabelWords("fake", "▲", "Likely a deepfake"),
    "uncertain": LabelWords("uncertain", "◆", "Cannot tell"),
    "real": LabelWords("real", "●", "No sign of a deepfake"),
    "no_face": LabelWords("no face", "○", "No face to judge"),
    "failed": LabelWords("failed", "✕", "This file could not be analysed"),
}

CODES: dict[Code, str] = {
    Code.NO_FACE: "No face was found in any frame that was looked at.",
    Code.TOO_FEW_FACES: "The face was found in too few frames for a verdict.",
    Code.TOO_SMALL: "The face is too small: the model would be guessing.",
    Code.TOO_BLURRED: "The face is too blurred: the model would be guessing.",
    Code.BETWEEN_THRESHOLDS: "The score lies between the model's lines for real and for fake.",
    Code.OUT_OF_DOMAIN: "The faces are further from those the model learned from than 19 of 20 ordinary faces are.",
    Code.NOT_ALL_JUDGED: "Somebody was seen who could not be judged: the verdict is on the others alone.",
    Code.PARTIAL: "Only a part of the file could be read; the rest was not looked at.",
    Code.BEGINNING_ONLY: "Only the beginning of the clip was looked at, as was asked for or as the model has it.",
    Code.CAPPED: "The clip is long: frames were taken further apart, so that the whole of it is still covered.",
    Code.FRAMES_LOST: "Some frames were damaged and left out.",
    Code.TIMESTAMPS_SYNTHETIC: "The file carries no times; those shown are counted from the frame rate.",
    Code.TIMESTAMPS_REPAIRED: "Some times in the file ran backwards and were repaired.",
    Code.GEOMETRY_CHANGED: "The picture changes its size in the middle of the clip.",
    Code.SEVERAL_VIDEO_STREAMS: "The file holds several videos; only one was analysed.",
    Code.HDR_TONE_MAPPED: "High-dynamic-range video, converted to ordinary brightness first.",
    Code.ALPHA_COMPOSITED: "The picture has transparent parts; they were put on a plain background.",
    Code.INTERLACED: "Interlaced video: where two moments were woven together, one of them was kept.",
    Code.FACE_CROP_INPUT: "The picture is itself a tightly cut face and was taken as such.",
}

NO_FACE_SOUGHT = "No face was looked for: the model judges the middle of the whole frame."
_TOO_LITTLE = {Code.TOO_FEW_FACES: "too few frames", Code.TOO_SMALL: "too small a face"}

ERRORS: dict[str, str] = {
    "usage": "What was asked for does not make sense together.",
    "missing_extra": "An optional part of Telltale is not installed.",
    "file_missing": "There is no file of that name.",
    "not_a_file": "This is a folder, a device or a pipe, not a file.",
    "file_unreadable": "The file cannot be opened: permission denied, or the disk reports an error.",
    "file_empty": "The file has no content.",
    "unsupported_container": "This is not a video or picture: a playlist, a document or something else.",
    "unsupported_codec": "The video is stored in a format that cannot be decoded here.",
    "no_video_stream": "The file holds sound only.",
    "no_frames": "The file announces a video, but not one picture can be decoded from it.",
    "corrupt_file": "The file is damaged.",
    "too_many_pixels": "The picture is larger than Telltale is willing to decode.",
    "too_many_streams": "The file holds more streams than an honest video needs.",
    "deadline_exceeded": "Reading took longer than allowed and was stopped.",
    "out_of_memory": "Reading needed more memory than allowed and was stopped.",
    "worker_not_started": "The machine could not start the process that reads files; it may lack memory or processes.",
    "worker_crashed": "The decoder crashed on this file. It ran in a process of its own, and nothing else was harmed.",
    "stopped": "The scan was stopped by whoever had started it.",
    "unknown_name": "There is no model, detector, reader or recipe of that name.",
    "detector_weights": "The weights of the face detector are missing, or not the ones that were pinned.",
    "weights_missing": "The model comes without the weights that this needs, only with what is needed to scan.",
    "device_missing": "The device that was asked for, a GPU say, is not there; `--device auto` takes what is.",
    "bundle_invalid": "The model folder is incomplete or was changed.",
    "data": "The data set cannot be used as it is.",
    "unknown_label": "A label in the data set is neither real nor fake.",
    "leak_found": "The same person or original video is on two sides of a split.",
    "store_invalid": "The face store is damaged or incomplete.",
    "output_failed": "The result could not be written: the disk is full, or the folder read-only.",
    "output_busy": "Another command is writing to the same folder: wait for it, or choose another.",
}

ENDS_EARLY = frozenset({Code.PARTIAL, Code.BEGINNING_ONLY})
"""Codes of a clip whose end was not looked at."""
DENSER = "A denser sampling (--fps 10) may find more."
"""What to do about too few faces, where no more is known."""
_DENSE_FPS = 10
_HIGH = 0.5
"""From here on a score is weaker evidence than it looks wherever fakes are rare."""
_OTHERWISE = {
    "uniform": "More frames (a larger --frames) may find more.",
    "every": "A denser sampling (a smaller --every) may find more.",
}


def to_see_more(
    video: VideoInfo | None,
    frames: FrameCounts,
    codes: Collection[str],
    plan: Mapping[str, Any],
    *,
    is_out_of_time: bool = False,
) -> str:
    """What can be done where a face was seen too seldom: a sentence that does not advise what was done already, or what
    the sampling `plan` (a `SamplePlan` as JSON) leaves no room for."""
    if is_out_of_time:
        return "A longer deadline (--deadline) may find more."
    if Code.BEGINNING_ONLY in codes:
        return f"Looking further (a larger {_limit(plan, frames.analysed)}, or none) may find more."
    if Code.CAPPED in codes:
        return "Looking at more frames (--max-frames 6000) may find more."
    is_every_frame = video is not None and frames.decoded <= frames.analysed and _n_frames(video) <= frames.analysed
    if is_every_frame or plan.get("kind") == "all":
        return "Every frame was looked at; a longer clip may show the face more often."
    if plan.get("kind") in _OTHERWISE:
        return _OTHERWISE[plan["kind"]]
    if video is not None and video.duration_s and frames.analysed >= _DENSE_FPS * video.duration_s:
        return "Looking at every frame (--all-frames) may find more."
    return DENSER


def _limit(plan: Mapping[str, Any], n_analysed: int) -> str:
    """The option that left out the end of the clip."""
    most = plan.get("max_frames")
    if most is not None and (plan.get("seconds") is None or n_analysed >= most):
        return "--max-frames"
    return "--first" if plan.get("kind") == "first" else "--seconds"


def _n_frames(video: VideoInfo) -> float:
    """As many as the file says that it holds, in one way or another."""
    if video.n_frames_header is not None:
        return video.n_frames_header
    if video.duration_s is None or video.fps_header is None:
        return math.inf
    return round(video.duration_s * video.fps_header)


def is_whole_frame(card: CardSummary | None) -> bool:
    """Whether no face was looked for."""
    return card is not None and card.is_whole_frame


def what_scores(card: CardSummary | None) -> str:
    return "The middle of the frame" if is_whole_frame(card) else "The face"


def people_seen(report: Report) -> int:
    """Whom a reader is told of: nobody where no face was looked for."""
    return 0 if is_whole_frame(report.model.card) else count_people(report.tracks)


def kind(video: VideoInfo | None) -> str:
    """What sentences call the file: an animated picture is told as a clip is."""
    return "picture" if video is not None and video.is_still else "clip"


def headline(*, label: Label, any_face: bool) -> str:
    """The verdict in a few words."""
    if label == "no_face" and any_face:
        return "No face could be judged"
    return LABELS[label].headline


def lede(report: Report) -> str:
    """The verdict in one sentence, without numbers."""
    label = report.verdict.label
    judged = [track for track in report.tracks if track.p_fake is not None]
    if label == "failed":
        return report.error.message if report.error else "The reason is not known."
    if label == "no_face":
        return _nothing_judged(report)
    worst = max(judged, key=lambda track: track.suspicion, default=None)
    who = f"Person {worst.id}" if worst and count_people(report.tracks) > 1 else what_scores(report.model.card)
    if label == "fake":
        return f"{who} shows the traces that forged faces leave{_when(worst)}."
    if worst and Code.OUT_OF_DOMAIN in worst.codes:
        return f"{who} scores as forgeries do, but is unlike the faces that the model knows, so no verdict is given."
    if label == "uncertain":
        card = report.model.card
        is_measured = card is None or card.population  # a report from before there were cards has none
        between = "where both real faces and forgeries occur" if is_measured else "between lines that were not measured"
        return f"{who} scores {between}, so no verdict is given."
    n_judged = count_people(judged)  # one entry a cut
    if n_judged == 1:
        only = ", the only one who could be judged," if not_judged(report.tracks) else ""
        return f"{who}{only} shows no trace of the forgeries that the model knows."
    none = "Neither of the two" if n_judged == 2 else f"None of the {n_judged}"
    return f"{none} faces that could be judged shows a trace of the forgeries that the model knows."


def not_judged(tracks: Sequence[TrackReport]) -> str:
    """Who was seen beside those whom the verdict is on, and why they were not judged; empty where nobody was."""
    judged = {person_of(track) for track in tracks if track.p_fake is not None}
    why = {
        person_of(track): code for track in reversed(tracks) for code in track.codes if person_of(track) not in judged
    }
    if not judged or not why:
        return ""
    counts = Counter(_TOO_LITTLE.get(code, str(code)) for code in why.values())
    told = ", ".join(words if len(counts) == 1 else f"{words} ({n})" for words, n in counts.most_common())
    was = "was" if len(why) == 1 else "were"
    return f"{plural(len(why), 'more person', 'more people')} {was} seen but not judged: {told}."


def _nothing_judged(report: Report) -> str:
    what = kind(report.video)
    if not report.tracks:
        looked = plural(report.frames.analysed, "frame")
        where = "in it" if what == "picture" else f"in the {looked} that were looked at"
        return f"No face was found {where}, so nothing is said about this {what}."
    n_people = count_people(report.tracks)
    found = "A face was" if n_people == 1 else f"{n_people} faces were"
    why = {code for track in report.tracks for code in track.codes}
    if why == {Code.TOO_SMALL}:
        return f"{found} found, but too small to judge, so nothing is said about this {what}."
    if why == {Code.TOO_FEW_FACES}:
        return f"{found} found, but in too few frames to judge, so nothing is said about this {what}."
    return f"{found} found, but not well enough to judge, so nothing is said about this {what}."


def _when(track: TrackReport | None) -> str:
    """`, most of all from 0:03 to 0:06`, where that is less than most of the track."""
    if track is None or not track.suspicious_s:
        return ""
    ((start, end),) = telling_spans(track, 1)
    if end - start > 0.8 * (track.end_s - track.start_s):
        return ""
    if end - start < 1:
        return f", most of all at {clock(start, tenths=False)}"
    return f", most of all from {clock(start, tenths=False)} to {clock(end, tenths=False)}"


def meaning(report: Report) -> str:
    """What the number means, for someone who has never seen one. Empty where there is no number."""
    p_fake = report.verdict.p_fake
    if p_fake is None:
        return ""
    n_people = count_people(track for track in report.tracks if track.p_fake is not None)
    of, be = (f"{kind(report.video)}s were fakes", " fakes") if n_people <= 1 else ("faces looked at were forged", "")
    said = f"If half of all {of}, {_in_100(p_fake)} that score like this one would be{be}"
    said += f"; if only 1 in 100 were, {_in_100(_where_rare(p_fake))}." if p_fake >= _HIGH else "."
    if n_people > 1:
        said += f" This is the most suspicious of {n_people}, and of several real faces the highest scores higher."
    if report.verdict.label == "uncertain" and Code.OUT_OF_DOMAIN in report.verdict.codes:
        said += " That holds of faces like those that the model learned from, and this one is not."
    return said


def _where_rare(p: float) -> float:
    """The probability at even odds as one at 1 to 99."""
    return p / (p + 99 * (1 - p))


def _in_100(p: float) -> str:
    if p > 0.995:
        return "more than 99 in 100"
    if p < 0.005:
        return "fewer than 1 in 100"
    return f"about {max(1, min(99, round(p * 100)))} in 100"


def bars(report: Report) -> str:
    """Where the two thresholds lie. Empty where there are none."""
    if report.verdict.thresholds is None:
        return ""
    real_below, fake_above = report.verdict.thresholds
    if real_below >= fake_above:
        return f"Telltale says fake from {percent(fake_above)}, and real below."
    real, fake = percent(real_below), percent(fake_above)
    return f"Telltale says fake from {fake}, real below {real}, and gives no verdict between."


def explain_code(code: str) -> str:
    """What a code of a verdict or of an error means; "" for one that no report of ours has."""
    return ({str(one): words for one, words in CODES.items()} | ERRORS).get(code, "")
