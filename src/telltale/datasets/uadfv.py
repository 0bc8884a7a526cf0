"""UADFV: 49 videos and their fakes.

    real/0000.mp4        fake/0000_fake.mp4

Group = the original.
"""

from __future__ import annotations

import re
from pathlib import Path

from telltale.datasets._contract import Found, Options
from telltale.datasets._files import folders, is_video, plain, stem, walk, without_suffix
from telltale.types import VideoRecord

_FAKE = re.compile(r"(.+)_fake", re.IGNORECASE)


def recognise(root: Path) -> bool:
    """`real` and `fake`, every fake named after its original and most of those there: else it is a `folder`."""
    inside = folders(root)
    if not {"real", "fake"} <= inside.keys():
        return False
    reals, fakes = (
        {stem(path.name) for path in (root / inside[name]).iterdir() if is_video(path.name)}
        for name in ("real", "fake")
    )
    originals = {match[1] for name in fakes if (match := _FAKE.fullmatch(name))}
    return len(originals) == len(fakes) and 2 * len(originals & reals) > len(originals)


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
