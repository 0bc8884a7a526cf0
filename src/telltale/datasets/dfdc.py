"""DFDC: fifty parts for training, and test sets with a list of labels.

    dfdc_train_part_<0-49>/*.mp4 + metadata.json   {"x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"}}
    labels.csv                                     filename,label (1 = fake), with the videos in test/ or videos/

One part alone and the sample set of the competition are read the same way. `original` may be missing. Group = the
original. Who is who is not published, only that a part shares its actors: the part is the circle of persons.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from telltale.datasets._contract import NUMBERS, SIDE_WORDS, Found, Options
from telltale.datasets._files import folders, is_video, read_json, read_lines, slashes, stem, walk
from telltale.errors import DataError
from telltale.types import VideoRecord

LAYOUT = "dfdc_train_part_N/*.mp4 and metadata.json in each, or labels.csv and test/*.mp4"
_PART = re.compile(r"dfdc_train_part_0*(\d+)", re.IGNORECASE)


def recognise(root: Path) -> bool:
    inside = folders(root)
    if (root / "labels.csv").is_file() and inside.keys() & {"test", "videos"}:
        return True
    places = [root, *(root / path for path in inside.values())]
    return any(_PART.fullmatch(name) for name in inside) or any((path / "metadata.json").is_file() for path in places)


def read(root: Path, options: Options) -> Found:
    found = Found()
    names = walk(root, found)
    parts = [name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == "metadata.json"]
    tests = [name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == "labels.csv"]
    videos: dict[str, dict[str, str]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        if base in ("metadata.json", "labels.csv"):
            continue
        if is_video(name):
            videos.setdefault(folder, {})[base.casefold()] = name
        else:
            found.problem("unknown", name)
    tested: set[str] = set()
    for folder in tests:
        tested |= _read_test(found, root, folder, videos, options)
    for folder in parts:
        if folder not in tested:  # the test set's metadata.json holds how a video was degraded, not what it is
            _read_part(found, root, folder, videos.pop(folder, {}), options)
    for folder, left in videos.items():
        if left and _PART.fullmatch(folder.rpartition("/")[2]):
            found.problem("missing", f"{folder}/metadata.json", f"the list of a part of {len(left)} videos")
        for name in left.values():
            found.problem("unlabelled", name, "no list names it")
    return found


def _entry(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where} must be an object with a label, got {value!r}: download it anew")
    return value


def _read_part(found: Found, root: Path, folder: str, there: dict[str, str], options: Options) -> None:
    path = root / folder / "metadata.json"
    listed = read_json(path)
    if not isinstance(listed, dict):
        raise DataError(f"{path} must be an object of videos: download it anew")
    base = folder.rpartition("/")[2] or root.name
    match = _PART.fullmatch(base)
    part = f"part_{match[1]}" if match else base
    for key, value in listed.items():
        name = there.pop(slashes(key).rpartition("/")[2].casefold(), None)
        entry = _entry(value, f"{key} in {path}")
        if name is None:
            found.problem("missing", f"{folder}/{key}".lstrip("/"), "in metadata.json, but not there")
        elif not entry.get("label"):
            found.problem("unlabelled", name, "metadata.json gives it no label")
        else:
            original = entry.get("original")
            label = options.label(entry["label"], where=f"{key} in {path}")
            group = f"dfdc:{stem(slashes(str(original))) if original else stem(name)}"
            found.records.append(
                VideoRecord(
                    dataset="dfdc",
                    video_id=f"{part}/{stem(name)}",
                    path=str(root / name),
                    name=name,
                    label=label,
                    group_id=group,
                    person_id=f"dfdc:{part}",
                    official_split=SIDE_WORDS.get(str(entry.get("split", "")).casefold()),
                    original_id=group if original or not label else None,
                )
            )
    for name in there.values():
        found.problem("unlabelled", name, "not in metadata.json")


def _read_test(found: Found, root: Path, under: str, videos: dict[str, dict[str, str]], options: Options) -> set[str]:
    """Reads `under/labels.csv`; the folders its videos lie in."""
    path = root / under / "labels.csv"
    rows = csv.DictReader(read_lines(path))
    missing = {"filename", "label"} - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{path} has no column {' and '.join(sorted(missing))}: it has {rows.fieldnames}")
    places = [folder for folder in sorted(videos) if f"{folder}/".startswith(f"{under}/" if under else "")]
    used: set[str] = set()
    for row in rows:
        base = slashes(row["filename"] or "").rpartition("/")[2]
        folder = next((folder for folder in places if base.casefold() in videos[folder]), None)
        if folder is None:
            found.problem("missing", base, "in labels.csv, but not there")
            continue
        used.add(folder)
        name = videos[folder].pop(base.casefold())
        if not (row["label"] or "").strip():
            found.problem("unlabelled", name, "labels.csv gives it no label")
            continue
        found.records.append(
            VideoRecord(
                dataset="dfdc",
                video_id=f"test/{stem(name)}",
                path=str(root / name),
                name=name,
                label=options.label(row["label"], where=f"{base} in {path}", known=NUMBERS),
                group_id=f"dfdc:{stem(name)}",
                official_split="test",
            )
        )
    return used
