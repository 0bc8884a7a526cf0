"""Celeb-DF v2 and Celeb-DF++ (v3).

    Celeb-real/id0_0000.mp4      YouTube-real/00000.mp4      Celeb-synthesis/id0_id1_0000.mp4  (original id0_0000)
    Celeb-synthesis/{FaceSwap,FaceReenact,TalkingFace}/METHOD/*.mp4                            (Celeb-DF++)
    List_of_testing_videos.txt   lines `1 YouTube-real/00170.mp4`: here 1 = real and 0 = fake

Some copies insert a `videos` level or write `Youtube-real`. The listed videos are the official test side, all others
the training side. Swaps connect all the celebrities, so the group is the target's video; `person_id` holds target
and source.
"""

from __future__ import annotations

import re
from pathlib import Path

from telltale.datasets._contract import Found, Options
from telltale.datasets._files import folders, is_video, plain, read_lines, slashes, stem, walk
from telltale.errors import DataError
from telltale.types import Side, VideoRecord

LAYOUT = "Celeb-real/id0_0000.mp4, YouTube-real/00000.mp4, Celeb-synthesis/id0_id1_0000.mp4"
LIST = "List_of_testing_videos.txt"
_FOLDERS = {"celeb-real": ("Celeb-real", 0), "youtube-real": ("YouTube-real", 0), "celeb-synthesis": ("", 1)}
_REAL = re.compile(r"(id\d+)_(\d+)")
_FAKE = re.compile(r"(id\d+)_(?:(id\d+)_)?(\d+)(?:_\w+)?")
_YOUTUBE = re.compile(r"(\d+)(?:_\w+)?")


def recognise(root: Path) -> bool:
    return bool(folders(root).keys() & {"celeb-real", "celeb-synthesis"})


def _tested(root: Path) -> dict[str, tuple[str, int]]:
    """Plain name -> (name as listed, our label)."""
    path = root / LIST
    if not path.is_file():
        return {}
    listed: dict[str, tuple[str, int]] = {}
    for line in read_lines(path):
        word, _, name = line.partition(" ")
        if word not in ("0", "1") or not name.strip():
            raise DataError(f"{path} has the line {line!r}, which is no `1 FOLDER/NAME.mp4`: download it anew")
        listed[plain(name)] = (slashes(name), 1 - int(word))
    return listed


def _who(folder: str, video: str) -> tuple[str, str] | None:
    """(group, everybody in it) from a video's name, or None where the name does not say."""
    if folder == "youtube-real":
        match = _YOUTUBE.fullmatch(video)
        return (f"celebdf:yt_{match[1]}", f"celebdf:yt_{match[1]}") if match else None
    match = (_REAL if folder == "celeb-real" else _FAKE).fullmatch(video)
    if match is None:
        if folder == "celeb-synthesis" and (youtube := _YOUTUBE.fullmatch(video)):
            return f"celebdf:yt_{youtube[1]}", f"celebdf:yt_{youtube[1]}"
        return None
    people = [person for person in match.groups()[:-1] if person]
    return f"celebdf:{match[1]}_{match[match.re.groups]}", "celebdf:" + "+".join(people)


def read(root: Path, options: Options) -> Found:
    del options  # nothing in this layout is open to interpretation
    found = Found()
    tested = _tested(root)
    seen: set[str] = set()
    originals: dict[str, str] = {}
    fakes: dict[str, str] = {}
    for name in walk(root, found):
        if name == LIST:
            continue
        parts = plain(name).split("/")
        folder = parts[0]
        if folder not in _FOLDERS or len(parts) < 2 or not is_video(name):
            found.problem("unknown", name)
            continue
        who = _who(folder, stem(name))
        if who is None:
            found.problem("unknown", name, "the name does not say whose video it is, so its group is not known")
            continue
        label = _FOLDERS[folder][1]
        if tested.get(plain(name), (name, label))[1] != label:
            raise DataError(f"{name} is in {LIST} with the label of the other class (1 = real there): repair the list")
        seen.add(plain(name))
        (fakes if label else originals)[who[0]] = name
        inside = [part for part in name.split("/")[1:-1] if part.casefold() != "videos"]
        top = "Celeb-synthesis" if label else _FOLDERS[folder][0]
        found.records.append(
            VideoRecord(
                dataset="celebdf",
                video_id="/".join([top, *inside, stem(name)]),
                path=str(root / name),
                name=name,
                label=label,
                method=("/".join(inside) or "Celeb-synthesis") if label else None,
                group_id=who[0],
                person_id=who[1],
                official_split=_side(tested, plain(name)),
                original_id=who[0],
            )
        )
    for key in sorted(tested.keys() - seen):
        found.problem("missing", tested[key][0], f"in {LIST}, but not there")
    if originals:
        for group in sorted(fakes.keys() - originals.keys()):
            found.problem("missing", f"Celeb-real/{group.removeprefix('celebdf:')}.mp4", f"original of {fakes[group]}")
    return found


def _side(tested: dict[str, tuple[str, int]], name: str) -> Side | None:
    if not tested:
        return None
    return "test" if name in tested else "train"
