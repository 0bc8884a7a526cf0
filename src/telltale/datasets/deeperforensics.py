"""DeeperForensics-1.0: fakes only, each of a FaceForensics++ video, in eleven variants.

    manipulated_videos/VARIANT/TARGET_ACTOR.mp4        lists/splits/{train,val,test}.txt

`source_videos` are the actors' studio recordings and *not* the real class: that is FaceForensics++ youtube c23, to be
prepared on its own. Groups carry FaceForensics++'s name, so that a leak between the two is found.
"""

from __future__ import annotations

import re
from pathlib import Path

from telltale.datasets._contract import SIDES, Found, Options
from telltale.datasets._files import folders, is_video, plain, read_lines, slashes, stem, walk
from telltale.types import Side, VideoRecord

LAYOUT = "manipulated_videos/VARIANT/TARGET_ACTOR.mp4"
_FAKE = re.compile(r"(\d{3,4})_(\w+)")


def recognise(root: Path) -> bool:
    return "manipulated_videos" in folders(root)


def _official(root: Path) -> dict[str, Side]:
    return {
        stem(slashes(line)): side
        for side in SIDES.values()
        if (path := root / "lists" / "splits" / f"{side}.txt").is_file()
        for line in read_lines(path)
    }


def read(root: Path, options: Options) -> Found:
    del options  # nothing in this layout is open to interpretation
    found = Found()
    official = _official(root)
    held: dict[str, set[str]] = {}
    n_sources = 0
    for name in walk(root, found):
        parts = plain(name).split("/")
        if parts[0] == "lists":
            continue
        if parts[0] == "source_videos":
            n_sources += 1
            continue
        match = _FAKE.fullmatch(stem(name))
        if parts[0] != "manipulated_videos" or len(parts) != 3 or not is_video(name) or match is None:
            found.problem("unknown", name)
            continue
        variant = name.split("/")[1]
        held.setdefault(variant, set()).add(stem(name))
        found.records.append(
            VideoRecord(
                dataset="deeperforensics",
                video_id=f"{variant}/{stem(name)}",
                path=str(root / name),
                name=name,
                label=1,
                method=variant,
                group_id=f"ffpp:{match[1]}",
                person_id=f"ffpp:{match[1]}+{match[2]}",
                official_split=official.get(stem(name)),
                original_id=f"ffpp:{match[1]}",
            )
        )
    if n_sources:
        found.problem(
            "unlabelled", "source_videos", f"{n_sources} files left out: the real class is FaceForensics++ youtube c23"
        )
    for variant, videos in sorted(held.items()):
        for video in sorted(official.keys() - videos):
            found.problem("missing", f"manipulated_videos/{variant}/{video}.mp4", "in lists/splits, but not there")
    return found
