"""DFDC preview (DFDCP).

    dataset.json       {"method_A/.../x.mp4": {"label": "real|fake", "set": "train|test", ...}}
    method_A/<id>/<id>_A/*.mp4, method_B/..       original_videos/<id>/*.mp4

The folder `<id>` is the person who is seen, and the group. The person whose face was put in is in the entry. A fake is
named `DONOR_ORIGINAL`, after the one of that person's videos that it was made from.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from telltale.datasets._contract import SIDE_WORDS, Found, Options
from telltale.datasets._files import is_video, plain, read_json, slashes, stem, walk, without_suffix
from telltale.errors import DataError
from telltale.types import VideoRecord

LAYOUT = "dataset.json, method_A/ID/ID_A/*.mp4, original_videos/ID/*.mp4"
_NAME = re.compile(r"(\d+)_(\d+_\w+)")
"""A fake's: the donor, then its original's."""


def recognise(root: Path) -> bool:
    return (root / "dataset.json").is_file()


def _people(name: str, entry: dict[str, Any]) -> tuple[str, str]:
    """(who is seen, everybody in it)."""
    parts = plain(name).split("/")
    target = parts[1] if len(parts) > 2 else str(entry.get("target_id") or stem(name))
    match = _NAME.fullmatch(stem(name))
    donor = str(entry.get("swapped_id") or (match[1] if match else target))
    return target, "+".join(dict.fromkeys([target, donor]))


def _original(name: str, label: int) -> str | None:
    if not label:
        return f"dfdcp:{stem(name)}"
    match = _NAME.fullmatch(stem(name))
    return f"dfdcp:{match[2]}" if match else None


def read(root: Path, options: Options) -> Found:
    found = Found()
    path = root / "dataset.json"
    listed = read_json(path)
    if not isinstance(listed, dict):
        raise DataError(f"{path} must be an object of videos: download it anew")
    there: dict[str, str] = {}
    for name in walk(root, found):
        if is_video(name):
            there[plain(name)] = name
        elif name != "dataset.json":
            found.problem("unknown", name)
    for key, entry in listed.items():
        if not isinstance(entry, dict):
            raise DataError(f"{key} in {path} must be an object with a label, got {entry!r}: download it anew")
        name = there.pop(plain(key), "")
        if not name:
            found.problem("missing", slashes(key), "in dataset.json, but not there")
            continue
        if not entry.get("label"):
            found.problem("unlabelled", name, "dataset.json gives it no label")
            continue
        label = options.label(entry["label"], where=f"{key} in {path}")
        target, people = _people(name, entry)
        found.records.append(
            VideoRecord(
                dataset="dfdcp",
                video_id=without_suffix(name),
                path=str(root / name),
                name=name,
                label=label,
                method=name.split("/")[0] if label else None,
                group_id=f"dfdcp:{target}",
                person_id=f"dfdcp:{people if label else target}",
                official_split=SIDE_WORDS.get(str(entry.get("set", "")).casefold()),
                original_id=_original(name, label),
            )
        )
    for name in there.values():
        found.problem("unlabelled", name, "not in dataset.json")
    return found
