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
>>> report_name(failed)
'a-5b5174e2'
"""

from __future__ import annotations

import base64
import contextlib
import csv
import functools
import hashlib
import html
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from telltale import _report_words as _words
from telltale._report_chart import PLOT_HEIGHT_PX, PLOT_TOP_PX, y_px
from telltale._report_page import build_page, jpeg_uri
from telltale._text import csv_cell, file_stem, percent, plural, printable, visible
from telltale.errors import OutputError
from telltale.types import Label, Pictures, Report

JSON_NAME = "report.json"
HTML_NAME = "report.html"
CSV_NAME = "summary.csv"
INDEX_NAME = "index.html"
_CSV_COLUMNS = (
    "path", "label", "p_fake", "people", "faces", "frames_analysed", "frames_lost", "codes", "error", "reason",
    "sha256", "report",
)  # fmt: skip


def to_json(report: Report) -> str:
    """The report as one line of ASCII JSON, schema version 1 (docs/report.md). NaN is an error, not a number."""
    return json.dumps(_encodable(report.model_dump()), ensure_ascii=True, allow_nan=False)


def _encodable(value: Any) -> Any:
    """`value` with plain JSON types and without lone surrogates, which strict readers refuse."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return printable(str(value))


def to_html(report: Report) -> str:
    """One self-contained page, dark and light, for screen and paper."""
    return _render("report.html.j2", page=build_page(report), script=_asset("report.js"))


def to_notebook(report: Report) -> str:
    """The page in a frame of its own, so that its style stays out of the notebook."""
    document = html.escape(to_html(report), quote=True)
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{document}" width="100%" height="900" '
        'title="Telltale report" frameborder="0"></iframe>'
    )


def report_name(report: Report) -> str:
    """A folder name that is safe everywhere: from the file's name, and different for different files."""
    key = f"{report.input.path}\0{report.input.sha256}".encode("utf-8", "surrogateescape")
    return f"{file_stem(report.input.path)}-{hashlib.sha256(key).hexdigest()[:8]}"


def write_report(report: Report, out_dir: Path) -> Path:
    """Write `report.json` and `report.html` into a folder of their own under `out_dir`; both or neither.

    Returns that folder. Raises `OutputError` if the disk is full or the folder cannot be written.
    """
    folder = out_dir / report_name(report)
    _write_all(folder, {HTML_NAME: to_html(report), JSON_NAME: to_json(report) + "\n"})
    return folder


def write_index(reports: Sequence[Report], out_dir: Path) -> Path:
    """Write `summary.csv` and `index.html` over reports written with `write_report`; returns the page's path.

    Raises `OutputError` if the disk is full or the folder cannot be written.
    """
    _write_all(out_dir, {CSV_NAME: _summary_csv(reports), INDEX_NAME: _index_html(reports)})
    return out_dir / INDEX_NAME


def without_pictures(report: Report) -> Report:
    """The report with one thumbnail left: all that an index of thousands needs to keep."""
    kept = report.pictures.thumbnails
    return report.model_copy(update={"pictures": Pictures(thumbnails=kept[len(kept) // 2 :][:1])})


def first_reason(report: Report) -> str:
    """Why, in one sentence."""
    if report.error is not None:
        return visible(report.error.message)
    return visible(report.verdict.reasons[0]) if report.verdict.reasons else ""


def count_labels(reports: Sequence[Report]) -> dict[Label, int]:
    """How often each label occurs, all five, worst first."""
    return {label: sum(report.verdict.label == label for report in reports) for label in _words.LABELS}


def _summary_csv(reports: Sequence[Report]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for report in reports:
        verdict, frames = report.verdict, report.frames
        writer.writerow(
            [
                csv_cell(report.input.path),
                verdict.label,
                "" if verdict.p_fake is None else f"{verdict.p_fake:.6f}",
                len(report.tracks),
                sum(len(track.faces) for track in report.tracks),
                frames.analysed,
                frames.lost,
                " ".join(verdict.codes),
                csv_cell(report.error.code) if report.error else "",
                csv_cell(first_reason(report)),
                report.input.sha256,
                f"{report_name(report)}/{HTML_NAME}",
            ]
        )
    return text.getvalue()


def _index_html(reports: Sequence[Report]) -> str:
    rows = [
        {
            "name": visible(report.input.path),
            "link": f"{quote(report_name(report))}/{HTML_NAME}",
            "label": report.verdict.label,
            "word": _words.LABELS[report.verdict.label].name,
            "score": "" if report.verdict.p_fake is None else percent(report.verdict.p_fake),
            "people": plural(len(report.tracks), "person", "people") if report.tracks else "",
            "reason": first_reason(report),
            "image": jpeg_uri(report.pictures.thumbnails[0][1]) if report.pictures.thumbnails else "",
        }
        for report in reports
    ]
    counts = [(label, _words.LABELS[label].name, n) for label, n in count_labels(reports).items() if n]
    return _render("index.html.j2", rows=rows, counts=counts, total=plural(len(reports), "file"), script="")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"plot_top": PLOT_TOP_PX, "plot_height": PLOT_HEIGHT_PX, "y_px": y_px}
    return environment


def _asset(name: str) -> str:
    return (resources.files("telltale") / "templates" / name).read_text(encoding="utf-8")


def _render(template: str, *, script: str, **values: object) -> str:
    style = _asset("page.css")
    policy = [
        "default-src 'none'",
        f"style-src {_csp_hash(style)}",
        f"script-src {_csp_hash(script)}" if script else "script-src 'none'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return _environment().get_template(template).render(style=style, script=script, policy="; ".join(policy), **values)


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    """Write every file under a temporary name, then rename them all: a full disk leaves nothing behind."""
    shown = visible(str(folder))
    existed = folder.exists()
    staged: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            staged.append((_stage(folder, text), folder / name))
        for part, final in staged:
            part.replace(final)
    except OSError as error:
        raise OutputError(f"{shown}: {error.strerror or error}; free some space or choose another --out") from error
    finally:
        for part, _ in staged:
            part.unlink(missing_ok=True)
        if not existed:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _stage(folder: Path, text: str) -> Path:
    handle, name = tempfile.mkstemp(prefix=".telltale-", suffix=".part", dir=folder)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return part


__all__ = [
    "count_labels",
    "first_reason",
    "report_name",
    "to_html",
    "to_json",
    "to_notebook",
    "without_pictures",
    "write_index",
    "write_report",
]
