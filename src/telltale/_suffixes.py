"""Names by which files are found in folders, archives and buckets, or left out. What a file is, its bytes say.

>>> sorted(VIDEO_SUFFIXES & PICTURE_SUFFIXES)
[]
"""

from __future__ import annotations

from collections.abc import Iterable

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3g2", "3gp", "asf", "avi", "f4v", "flv", "m2ts", "m2v", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpe"),
        *("mpeg", "mpg", "mts", "mxf", "ogv", "qt", "ts", "vob", "webm", "wmv"),
    )
)
PICTURE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | PICTURE_SUFFIXES | {".heic", ".heif"}
"""What a folder or a bucket is searched for: also pictures of phones, which are refused with what to do. A file that is
named itself is scanned under any name."""
OWN_OUTPUT = (
    frozenset({"inspect.json", "inspect.html"}),
    frozenset({"evaluation.json", "videos.csv"}),
    frozenset({"comparison.json", "differences.csv"}),
    frozenset({"explanations.json"}),
    frozenset({"report.json", "report.html"}),
    frozenset({"card.json", "model.onnx"}),
    frozenset({"manifest.json", "shards"}),
    frozenset({"unfinished.json"}),
)
"""A folder that holds one of these was written by Telltale: its pictures are nobody's footage."""


def is_own_output(names: Iterable[str]) -> bool:
    """Whether a folder of these names is one that Telltale wrote."""
    there = frozenset(names)
    return any(marks <= there for marks in OWN_OUTPUT)
