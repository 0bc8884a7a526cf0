"""A `Report` as JSON, as one self-contained page, and as a folder that can be handed on.

    folder = write_report(report, Path("out"))      # out/clip-1a2b3c4d/report.json and report.html
    write_index([report], Path("out"))              # out/summary.csv and out/index.html

A page asks nobody for anything: its style and script are named by hash in a Content-Security-Policy that forbids
the rest, and everything that came from a file is escaped.

>>> failed = Report.model_validate({
...     "input": {"path": "a.mp4", "sha256": "", "size_bytes": 0}, "model": {"name": "default", "sha256": ""},
...     "verdict": {"label": "failed"}, "error": {"code": "file_missing", "message": "a.mp4: no such file"}})
>>> to_json(failed)[:52]
'{"schema_version": 1, "input": {"path": "a.mp4", "sh'
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from telltale._files import drop_earlier, write_files
from telltale._html import asset, render
from telltale._report_chart import PLOT_HEIGHT_PX, PLOT_TOP_PX, y_px
from telltale._report_index import Summary, count_labels, report_name, summarise, summary_csv
from telltale._report_page import build_page
from telltale._report_people import jpeg_uri
from telltale._report_player import CannotEmbed, Player, embed, link
from telltale._report_words import LABELS
from telltale._reported import ATTACHMENT_NAMES
from telltale._text import for_json, percent, plural, visible
from telltale.types import Report

JSON_NAME = "report.json"
HTML_NAME = "report.html"
CSV_NAME = "summary.csv"
INDEX_NAME = "index.html"


def to_json(report: Report) -> str:
    """The report as one line of ASCII JSON, schema version 1 (docs/report.md). NaN is an error, not a number."""
    return json.dumps(for_json(report.model_dump()), ensure_ascii=True, allow_nan=False)


def to_html(report: Report, *, player: Player | None = None) -> str:
    """One self-contained page, dark and light, for screen and paper; `player` is the clip, embedded or linked."""
    return render(
        "report.html.j2",
        script=asset("report.js"),
        media="data:" if player is not None and player.kind == "embedded" else "",
        page=build_page(report, player=player),
        plot_top=PLOT_TOP_PX,
        plot_height=PLOT_HEIGHT_PX,
        y_px=y_px,
    )


def to_notebook(report: Report) -> str:
    """The page in a frame of its own, so that its style stays out of the notebook."""
    document = html.escape(to_html(report), quote=True)
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{document}" width="100%" height="900" '
        'title="Telltale report" frameborder="0"></iframe>'
    )


def write_report(report: Report, out_dir: str | Path, *, embed_video: bool = False) -> Path:
    """Write `report.json` and `report.html` into a folder of their own under `out_dir`; both or neither.

    The page has a link to the clip, or with `embed_video` the clip itself (the annotated one, where there is one).
    Returns that folder. Raises `OutputError` if the disk is full or the folder cannot be written.
    """
    folder = Path(out_dir) / report_name(report)
    player = None
    if embed_video:
        try:
            player = embed(report, folder)
        except CannotEmbed as why:
            told = f"The clip is not in this page: {why}; --annotate makes one that is smaller and plays everywhere."
            report = report.model_copy(update={"warnings": (*report.warnings, told)})
    player = player or link(report, folder)
    write_files(folder, _encoded({HTML_NAME: to_html(report, player=player), JSON_NAME: to_json(report) + "\n"}))
    # annotated clips of an earlier report on the same file would show another verdict than this one's
    drop_earlier(folder, {*ATTACHMENT_NAMES} - {one.name for one in report.attachments})
    return folder


def write_index(reports: Iterable[Report], out_dir: str | Path) -> Path:
    """Write `summary.csv` and `index.html` over reports written with `write_report`; returns the page's path.

    Raises `OutputError` if the disk is full or the folder cannot be written.
    """
    return write_summaries([summarise(report) for report in reports], Path(out_dir))


def write_summaries(summaries: Sequence[Summary], out_dir: Path) -> Path:
    """`write_index` for reports that were summarised one by one."""
    csv_text = summary_csv(summaries, html_name=HTML_NAME)
    write_files(out_dir, _encoded({CSV_NAME: csv_text, INDEX_NAME: _index_html(summaries)}))
    return out_dir / INDEX_NAME


def _index_html(summaries: Sequence[Summary]) -> str:
    rows = [
        {
            "name": visible(one.path),
            "link": f"{quote(one.folder)}/{HTML_NAME}",
            "label": one.label,
            "word": LABELS[one.label].name,
            "score": "" if one.p_fake is None else percent(one.p_fake),
            "people": plural(one.n_people, "person", "people") if one.n_people else "",
            "reason": one.reason,
            "image": jpeg_uri(one.thumbnail) if one.thumbnail else "",
        }
        for one in summaries
    ]
    counts = [(label, LABELS[label].name, n) for label, n in count_labels(summaries).items()]
    return render("index.html.j2", rows=rows, counts=counts, total=plural(len(rows), "file"))


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode("utf-8", "backslashreplace") for name, text in files.items()}


__all__ = [
    "report_name",
    "summarise",
    "to_html",
    "to_json",
    "to_notebook",
    "write_index",
    "write_report",
    "write_summaries",
]
