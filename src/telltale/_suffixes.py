"""Names' ends by which files are found in folders, archives and buckets. What a file is, its bytes say.

>>> sorted(VIDEO_SUFFIXES & PICTURE_SUFFIXES)
[]
"""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3g2", "3gp", "asf", "avi", "f4v", "flv", "m2ts", "m2v", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpe"),
        *("mpeg", "mpg", "mts", "mxf", "ogv", "qt", "ts", "vob", "webm", "wmv"),
    )
)
PICTURE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | PICTURE_SUFFIXES
"""What a folder or a bucket is searched for. A file that is named itself is scanned under any name."""
