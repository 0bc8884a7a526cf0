"""FaceForensics++: a thousand videos, each forged by several methods, at up to three compressions.

    original_sequences/{youtube,actors}/{raw,c23,c40}/videos/000.mp4
    manipulated_sequences/METHOD/{raw,c23,c40}/videos/TARGET_SOURCE.mp4       masks are left out
    splits/{train,val,test}.json       lists of pairs of names; a pair stands for both directions

Both names of a pair are in one group: the source's face is in the target's fake. `actors` and `DeepFakeDetection`, the
DFD part of the tree, are read as `dfd` reads them. The same name stands once for each method and compression, so a
video's id is `METHOD/c23/000_003`.
"""

from __future__ import annotations

import re
from pathlib import Path

from telltale._components import Components
from telltale.datasets import dfd
from telltale.datasets._contract import SIDES, Found, Options
from telltale.datasets._files import folders, is_video, read_json, stem, walk
from telltale.errors import DataError
from telltale.types import Side, VideoRecord

LAYOUT = "original_sequences/youtube/c23/videos/000.mp4, manipulated_sequences/METHOD/c23/videos/000_003.mp4"
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
COMPRESSIONS = frozenset({"raw", "c0", "c23", "c40"})
_CANONICAL = {name.casefold(): name for name in (*METHODS, "youtube")}
_ORIGINAL = re.compile(r"\d{3,4}")
_FAKE = re.compile(r"(\d{3,4})_(\d{3,4})")


def recognise(root: Path) -> bool:
    originals = folders(root, folders(root).get("original_sequences", "original_sequences"))
    forged = folders(root, folders(root).get("manipulated_sequences", "manipulated_sequences"))
    return "youtube" in originals or any(name.casefold() in forged for name in METHODS)


def _official_pairs(root: Path) -> dict[tuple[str, str], Side]:
    pairs: dict[tuple[str, str], Side] = {}
    for side in SIDES.values():
        for path in (root / "splits" / f"{side}.json", root / f"{side}.json"):
            if not path.is_file():
                continue
            content = read_json(path)
            if not isinstance(content, list) or not all(isinstance(p, list) and len(p) == 2 for p in content):
                raise DataError(f"{path} must be a list of pairs of names: download it anew")
            for a, b in content:
                pairs[str(a), str(b)] = side
            break
    return pairs


def _place(name: str) -> tuple[str, str, str] | None:
    """(source or method, compression, name of the video) of a path in the layout, else None."""
    parts = name.split("/")
    if len(parts) != 5 or parts[2].casefold() not in COMPRESSIONS or parts[3].casefold() != "videos":
        return None
    if parts[0].casefold() not in ("original_sequences", "manipulated_sequences") or not is_video(name):
        return None
    return _CANONICAL.get(parts[1].casefold(), parts[1]), parts[2].casefold(), stem(name)


def read(root: Path, options: Options) -> Found:
    del options  # nothing in this layout is open to interpretation
    found = Found()
    pairs = _official_pairs(root)
    joined = Components()
    for pair in pairs:
        joined.join(pair)
    videos: list[tuple[str, str, str, str]] = []
    for name in walk(root, found):
        parts = name.casefold().split("/")
        if name.endswith(".json") and parts[:-1] in ([], ["splits"]):
            continue
        if "masks" in parts[:-1]:
            continue
        place = _place(name)
        if place is None:
            found.problem("unknown", name)
        elif place[0].casefold() in dfd.PLACES:
            dfd.add(found, root, name, compression=place[1])
        elif (_ORIGINAL if parts[0] == "original_sequences" else _FAKE).fullmatch(place[2]) is None:
            found.problem("unknown", name, "the name is no TARGET or TARGET_SOURCE, so its original is not known")
        else:
            videos.append((name, *place))
            joined.join(place[2].split("_"))
    side_of = {member: side for pair, side in pairs.items() for member in pair}
    members = {member: group for group in joined.all().values() for member in group}
    for name, source, compression, video in videos:
        ids = video.split("_")
        sides = {side_of.get(member) for member in ids}
        found.records.append(
            VideoRecord(
                dataset="faceforensics",
                video_id=f"{source}/{compression}/{video}",
                path=str(root / name),
                name=name,
                label=int(len(ids) == 2),
                method=source if len(ids) == 2 else None,
                group_id="ffpp:" + "+".join(members[ids[0]]),
                person_id="ffpp:" + "+".join(ids),
                official_split=sides.pop() if len(sides) == 1 else None,
                original_id=f"ffpp:{ids[0]}",
            )
        )
    _report_missing(found, videos, pairs)
    return found


def _report_missing(found: Found, videos: list[tuple[str, str, str, str]], pairs: dict[tuple[str, str], Side]) -> None:
    """What the official lists, or a fake's name, promise and the folders that are there do not hold."""
    there: dict[tuple[str, str], set[str]] = {}
    where: dict[tuple[str, str], str] = {}
    for name, source, compression, video in videos:
        there.setdefault((source, compression), set()).add(video)
        where[source, compression] = name.rpartition("/")[0]
    singles = {member for pair in pairs for member in pair}
    singles |= {video.split("_")[0] for *_, video in videos}
    both_ways = {f"{a}_{b}" for a, b in pairs} | {f"{b}_{a}" for a, b in pairs}
    for place, names in sorted(there.items()):
        for video in sorted((singles if place[0] == "youtube" else both_ways) - names):
            found.problem("missing", f"{where[place]}/{video}.mp4")
