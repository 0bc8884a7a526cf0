"""DFD (DeepFakeDetection): paid actors, in the same tree as FaceForensics++.

    original_sequences/actors/{raw,c23,c40}/videos/01__walking.mp4                              ACTOR__SCENE
    manipulated_sequences/DeepFakeDetection/{..}/videos/01_02__walking__9TDCEK1Q.mp4       TARGET_SOURCE__SCENE__ID

There is no official split, and 28 actors who all swap faces make one circle, so the group is the target's video;
`person_id` holds target and source, for `split` to count who is left on two sides. Some faces in a fake are not forged.
"""

from __future__ import annotations

import re
from pathlib import Path

from telltale.datasets._contract import Found, Options
from telltale.datasets._files import folders, is_video, stem, walk
from telltale.types import VideoRecord

LAYOUT = "original_sequences/actors/c23/videos/*.mp4, manipulated_sequences/DeepFakeDetection/c23/videos/*.mp4"
PLACES = {"actors": 0, "deepfakedetection": 1}
_ORIGINAL = re.compile(r"(\d+)__(.+)")
_FAKE = re.compile(r"(\d+)_(\d+)__(.+)__\w+")


def recognise(root: Path) -> bool:
    """The tree, and no FaceForensics++ in it: that reader reads this part too."""
    from telltale.datasets import faceforensics

    originals = folders(root, folders(root).get("original_sequences", "original_sequences"))
    forged = folders(root, folders(root).get("manipulated_sequences", "manipulated_sequences"))
    return ("actors" in originals or "deepfakedetection" in forged) and not faceforensics.recognise(root)


def add(found: Found, root: Path, name: str, *, compression: str) -> None:
    """The video `name`, which lies in one of `PLACES`."""
    label = PLACES[name.casefold().split("/")[1]]
    match = (_FAKE if label else _ORIGINAL).fullmatch(stem(name))
    if match is None:
        found.problem("unknown", name, "the name does not say who is in it")
        return
    target, scene = match[1], match[3] if label else match[2]
    group = f"dfd:{target}__{scene}"
    found.records.append(
        VideoRecord(
            dataset="dfd",
            video_id=f"{'DeepFakeDetection' if label else 'actors'}/{compression}/{stem(name)}",
            path=str(root / name),
            name=name,
            label=label,
            method="DeepFakeDetection" if label else None,
            group_id=group,
            person_id=f"dfd:{target}+{match[2]}" if label else f"dfd:{target}",
            original_id=group,
        )
    )


def read(root: Path, options: Options) -> Found:
    del options  # nothing in this layout is open to interpretation
    found = Found()
    originals: set[tuple[str, str]] = set()
    fakes: set[tuple[str, str]] = set()
    for name in walk(root, found):
        parts = name.casefold().split("/")
        if "masks" in parts[:-1]:
            continue
        if len(parts) != 5 or parts[1] not in PLACES or parts[3] != "videos" or not is_video(name):
            found.problem("unknown", name)
            continue
        before = len(found.records)
        add(found, root, name, compression=parts[2])
        if len(found.records) > before:
            record = found.records[-1]
            (fakes if record.label else originals).add((parts[2], record.group_id.removeprefix("dfd:")))
    held = {compression for compression, _ in originals}
    for compression, original in sorted(fakes - originals):
        if compression in held:
            found.problem("missing", f"original_sequences/actors/{compression}/videos/{original}.mp4")
    return found
