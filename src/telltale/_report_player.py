"""The clip on the report's page: embedded, or a link to where it lies. Either way a click on the time line seeks in it.

    player = embed(report, Path("clip.mp4"))        # the whole clip, inside the page
    player = link(report, Path("out/clip-1a2b"))    # a link that opens it at the moment that was clicked

A link is never followed by the page itself: opening a report loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from telltale._text import file_size, visible
from telltale.types import Attachment, Report

MAX_EMBED_BYTES = 100_000_000
_PLAYED = {"mov": "video/mp4", "mp4": "video/mp4", "matroska": "video/webm", "webm": "video/webm"}
_PLAYED_CODECS = ("h264", "hevc", "av1", "vp9", "vp8")


@dataclass(frozen=True, slots=True)
class Player:
    """`src` is a data URI, or a relative path quoted for a link."""

    kind: Literal["embedded", "linked"]
    src: str
    told: str


class CannotEmbed(Exception):
    """Says why, for people."""


def _annotated(report: Report) -> Attachment | None:
    return next((one for one in report.attachments if one.kind == "video"), None)


def _media_type(report: Report) -> str:
    """Of the clip itself; empty where browsers do not play it."""
    video = report.video
    if video is None or video.codec not in _PLAYED_CODECS:
        return ""
    return next((_PLAYED[name] for name in video.container.split(",") if name in _PLAYED), "")


def _can_play(report: Report) -> bool:
    """Not a still, nor what failed; of an animated picture only the annotated clip, as browsers seek in no picture."""
    video = report.video
    if video is None or report.verdict.label == "failed" or video.is_still:
        return False
    return not video.is_image or _annotated(report) is not None


def embed(report: Report, folder: Path) -> Player | None:
    """The annotated clip where `folder` has one, else the clip itself; None for a picture or a failed report.

    Raises `CannotEmbed` where browsers do not play it, or where it is too large for a page.
    """
    video, annotated = report.video, _annotated(report)
    if video is None or not _can_play(report):
        return None
    if annotated is not None:
        file, kind, told = folder / annotated.name, annotated.media_type, "The clip, with what was found drawn into it."
    else:
        file, told = Path(report.input.path), "The clip as it was received."
        kind = _media_type(report)
        if not kind:
            raise CannotEmbed(f"browsers do not play {visible(video.container)} with {visible(video.codec)}")
    try:
        size = file.stat().st_size
        if size > MAX_EMBED_BYTES:
            raise CannotEmbed(f"it has {file_size(size)}, and a page holds {file_size(MAX_EMBED_BYTES)} at most")
        data = file.read_bytes()
        known = report.input.sha256  # empty where the scan had no time for it
        if annotated is None and known and hashlib.sha256(data).hexdigest() != known:
            raise CannotEmbed("it has changed since it was scanned")
    except OSError as error:
        raise CannotEmbed(f"{visible(str(file))} cannot be read ({error.strerror})") from error
    return Player("embedded", f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}", told)


def link(report: Report, folder: Path) -> Player | None:
    """A link to the annotated clip in `folder`, else to the clip where it lies; None for a picture or a failed report,
    where browsers do not play the clip, and where it is not found under the name it was given."""
    annotated = _annotated(report)
    if not _can_play(report):
        return None
    if annotated is not None:
        return Player("linked", quote(annotated.name), "Opens annotated.mp4, which lies beside this page.")
    file = Path(report.input.path)
    if not _media_type(report) or not file.is_file():
        return None
    try:
        path = Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive of a Windows machine
        return None
    address = quote(os.fsencode(f"./{path}"))  # bytes: a folder's name need not be UTF-8
    return Player("linked", address, "Opens the clip where it lay when this page was made.")
