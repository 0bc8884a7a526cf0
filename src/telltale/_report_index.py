"""One line for each report: what the overview page, the spreadsheet and the terminal table share.

Thousands of files are scanned in one go; a `Summary` keeps a thumbnail and a few words where a report keeps every face.

>>> SUMMARY_COLUMNS[:3]
('path', 'label', 'p_fake')
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

from telltale._report_words import LABELS, not_judged, people_seen
from telltale._text import csv_cell, file_stem, visible
from telltale.types import Label, Report

SUMMARY_COLUMNS = (
    "path",
    "label",
    "p_fake",
    "people",
    "faces",
    "frames_analysed",
    "frames_lost",
    "codes",
    "error",
    "reason",
    "sha256",
    "report",
)


@dataclass(frozen=True, slots=True)
class Summary:
    path: str
    label: Label
    p_fake: float | None
    n_people: int
    n_faces: int
    """Detected ones; those filled in between are not counted."""
    n_analysed: int
    n_lost: int
    codes: tuple[str, ...]
    error: str
    reason: str
    sha256: str
    folder: str
    """Where `write_report` puts the report, under the output folder."""
    took_s: float | None
    thumbnail: bytes | None
    """JPEG from the middle of the video."""


def summarise(report: Report) -> Summary:
    verdict, thumbnails = report.verdict, report.pictures.thumbnails
    return Summary(
        path=report.input.path,
        label=verdict.label,
        p_fake=verdict.p_fake,
        n_people=people_seen(report),
        n_faces=sum(track.n_detected for track in report.tracks) if people_seen(report) else 0,
        n_analysed=report.frames.analysed,
        n_lost=report.frames.lost,
        codes=tuple(verdict.codes),
        error=report.error.code if report.error else "",
        reason=_reason(report),
        sha256=report.input.sha256,
        folder=report_name(report),
        took_s=report.timings_s.get("total"),
        thumbnail=thumbnails[len(thumbnails) // 2][1] if thumbnails else None,
    )


def _reason(report: Report) -> str:
    """The first reason, and what was not looked at or not judged: the reasons that are warnings, too."""
    if report.error is not None:
        return visible(report.error.message)
    reasons, not_seen = report.verdict.reasons, {*report.warnings, not_judged(report.tracks)}
    return visible(" ".join([*reasons[:1], *(reason for reason in reasons[1:] if reason in not_seen)]))


def report_name(report: Report) -> str:
    """A folder name that is safe everywhere: from the file's name, and different for different files."""
    key = f"{report.input.path}\0{report.input.sha256}".encode("utf-8", "surrogateescape")
    return f"{file_stem(report.input.path)}-{hashlib.sha256(key).hexdigest()[:8]}"


def count_labels(summaries: Sequence[Summary]) -> dict[Label, int]:
    """How often each label occurs; those that do, worst first."""
    counts = {label: sum(summary.label == label for summary in summaries) for label in LABELS}
    return {label: n for label, n in counts.items() if n}


def summary_csv(summaries: Sequence[Summary], *, html_name: str) -> str:
    """One row a file; no cell is ever a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for one in summaries:
        writer.writerow(
            (
                csv_cell(one.path),
                one.label,
                "" if one.p_fake is None else f"{one.p_fake:.6f}",
                one.n_people,
                one.n_faces,
                one.n_analysed,
                one.n_lost,
                " ".join(one.codes),
                csv_cell(one.error),
                csv_cell(one.reason),
                one.sha256,
                csv_cell(f"{one.folder}/{html_name}"),
            )
        )
    return text.getvalue()
