"""UADFV: 49 videos and their fakes.

    real/0000.mp4        fake/0000_fake.mp4

Group = the original.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from telltale.datasets._contract import Found, Options
from telltale.datasets._files import folders, is_media, is_video, plain, stem, walk, without_suffix
from telltale.types import VideoRecord

LAYOUT = "real/0000.mp4, fake/0000_fake.mp4"
_FAKE = re.compile(r"(.+)_fake", re.IGNORECASE)
_AS_PUBLISHED = {"real": re.compile(r"(\d{4})"), "fake": re.compile(r"(\d{4})_fake")}


def _published(place: str, name: str) -> str | None:
    """The number of the original that the file `name` in the folder `place` is called after."""
    rule = _AS_PUBLISHED.get(place.casefold())
    match = rule.fullmatch(stem(name).casefold()) if rule and is_video(name) else None
    return match[1] if match else None


def recognise(root: Path) -> bool:
    """Every video or picture is called as published, and most fakes have their original: else it is a `folder`."""
    inside = folders(root)
    if not _AS_PUBLISHED.keys() <= inside.keys():
        return False
    for name in _AS_PUBLISHED:
        with os.scandir(root / inside[name]) as entries:  # walking a million pictures takes time
            if any(is_media(entry.name) and _published(name, entry.name) is None for entry in entries):
                return False
    held: dict[str, set[str]] = {}
    for name in walk(root, Found()):
        if is_media(name):
            place, _, video = name.partition("/")
            number = None if "/" in video else _published(place, video)
            if number is None:
                return False
            held.setdefault(place.casefold(), set()).add(number)
    fakes = held.get("fake", set())
    return 2 * len(fakes & held.get("real", set())) > len(fakes)


def read(root: Path, options: Options) -> Found:
    del options  # nothing in this layout is open to interpretation
    found = Found()
    originals: set[str] = set()
    fakes: dict[str, str] = {}
    for name in walk(root, found):
        parts = plain(name).split("/")
        if len(parts) != 2 or parts[0] not in ("real", "fake") or not is_video(name):
            found.problem("unknown", name)
            continue
        label = int(parts[0] == "fake")
        match = _FAKE.fullmatch(stem(name))
        if label and match is None:
            found.problem("unknown", name, "a fake is named after its original, NAME_fake, and this one is not")
            continue
        original = match[1] if label and match else stem(name)
        if label:
            fakes[original] = name
        else:
            originals.add(original)
        group = f"uadfv:{original}"
        found.records.append(
            VideoRecord(
                dataset="uadfv",
                video_id=without_suffix(name),
                path=str(root / name),
                name=name,
                label=label,
                method="FakeApp" if label else None,
                group_id=group,
                original_id=group,
            )
        )
    for original in sorted(fakes.keys() - originals):
        found.problem("missing", f"real/{original}.mp4", f"original of {fakes[original]}")
    return found
