"""FFIW-10K: several faces in each video, one of them forged.

    source/{train,val,test}/*.mp4      real
    target/{train,val,test}/*.mp4      fake, of the source of the same name
    target_mask/                       left out

Group = the source.
"""

from __future__ import annotations

from pathlib import Path

from telltale.datasets._contract import SIDES, Found, Options
from telltale.datasets._files import folders, is_video, plain, stem, walk, without_suffix
from telltale.types import VideoRecord

LAYOUT = "source/{train,val,test}/*.mp4, target/{train,val,test}/*.mp4"
_LABELS = {"source": 0, "target": 1}


def recognise(root: Path) -> bool:
    inside = folders(root)
    return all(name in inside and bool(folders(root, inside[name]).keys() & SIDES.keys()) for name in _LABELS)


def read(root: Path, options: Options) -> Found:
    del options  # nothing in this layout is open to interpretation
    found = Found()
    held: dict[int, dict[str, str]] = {0: {}, 1: {}}
    for name in walk(root, found):
        parts = plain(name).split("/")
        if parts[0] == "target_mask":
            continue
        if len(parts) != 3 or parts[0] not in _LABELS or parts[1] not in SIDES or not is_video(name):
            found.problem("unknown", name)
            continue
        label = _LABELS[parts[0]]
        group = f"ffiw:{parts[1]}/{stem(name)}"
        held[label][group] = name
        found.records.append(
            VideoRecord(
                dataset="ffiw",
                video_id=without_suffix(name),
                path=str(root / name),
                name=name,
                label=label,
                method="FFIW" if label else None,
                group_id=group,
                official_split=SIDES[parts[1]],
                original_id=group,
            )
        )
    for group in sorted(held[1].keys() - held[0].keys()):
        found.problem("missing", f"source/{group.removeprefix('ffiw:')}.mp4", f"original of {held[1][group]}")
    return found
