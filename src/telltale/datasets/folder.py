"""Videos or pictures sorted into folders: `real/**` and `fake/**`, in any case, with `train`, `val`, `test` right above
or below them or not.

    mine/real/a.mp4    mine/fake/wav2lip/a.mp4    mine/test/fake/b.jpg    mine/fake/test/b.jpg

Other folder names need `labels` (`{"0": 0, "1": 1}`). What lies in a folder of another name stops the reading: it has
a label, and nobody said what it means. So does a labelled folder that holds `real` or `fake` of the other label: the
set begins further down. Group = the file's name without suffix, so that `real/a.mp4`, `fake/a.mp4` and
`fake/a_fake.mp4` go together, or of pictures in a folder a video that folder's name (`_frames`), unless `groups` finds
another in the path; method = the first folder below `fake`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from telltale.datasets._contract import SIDE_WORDS, WORDS, Found, Options, Record
from telltale.datasets._files import folders, is_media, is_video, nfc, stem, walk
from telltale.datasets._frames import Frames, Placed
from telltale.errors import DataError, UsageError
from telltale.types import FaceRecord, Side, VideoRecord

LAYOUT = "real/**, fake/**"
SIDES: dict[str, Side] = {**SIDE_WORDS, "training": "train", "valid": "val", "testing": "test"}
_NAMED_FAKE = re.compile(r"(.+)_(?:deep)?fake", re.IGNORECASE)
"""The group of a fake that is called after its original."""


def recognise(root: Path) -> bool:
    """A list that lies beside the folders says more than they do."""
    from telltale.datasets import manifest, uadfv

    inside = folders(root)
    levels = [inside, *(folders(root, path) for name, path in inside.items() if name in SIDES)]
    return any(level.keys() & {"real", "fake"} for level in levels) and not (
        manifest.recognise(root) or uadfv.recognise(root)
    )


def group_of(name: str, options: Options, namespace: str) -> str:
    """The group of the file `name`: what the rule's first bracket matches, or the name without suffix."""
    if options.groups is None:
        return f"{namespace}:{stem(name)}"
    try:
        match = re.search(options.groups, name)
    except re.error as error:
        raise UsageError(f"the rule for groups is no regular expression ({error}): {options.groups!r}") from error
    group = None if match is None else match[1 if match.re.groups else 0]
    if group is None:  # also where a bracket that may be left out was
        raise UsageError(f"the rule for groups {options.groups!r} finds nothing in {name}")
    return f"{namespace}:{group}"


def paired(records: Sequence[Record]) -> list[Record]:
    """`records` whose groups are names: `a_fake` and `a_deepfake` go to the group `a`, where that has a real."""
    real = {record.group_id for record in records if not record.label}

    def group_id(record: Record) -> str:
        match = _NAMED_FAKE.fullmatch(record.group_id)
        is_alone = record.label and record.group_id not in real
        return match[1] if match and is_alone and match[1] in real else record.group_id

    return [replace(record, group_id=group_id(record)) for record in records]


def by_kind(record: VideoRecord) -> Record:
    """`record`, or the same of a picture where its name is one's."""
    if not is_media(record.name) or is_video(record.name):
        return record
    said = {field.name: getattr(record, field.name) for field in fields(record)}
    return FaceRecord(image_id=said.pop("video_id"), **said)


def say_originals(found: Found) -> None:
    """Give each fake the real of its group that has its name, or else the only one there. A group may be a person's,
    with several: then nobody said which of them a fake of another name was made from."""
    reals: dict[str, set[str]] = {}
    for record in found.records:
        if not record.label:
            reals.setdefault(record.group_id, set()).add(stem(record.name))

    def original_id(record: Record) -> str | None:
        there, own = reals.get(record.group_id, set()), stem(record.name)
        if own not in there and len(there) == 1:
            (own,) = there
        return f"{record.group_id}/{own}" if own in there else None

    found.records = [replace(record, original_id=original_id(record)) for record in found.records]


def _with_sides(names: Iterable[str]) -> set[str]:
    """The folders of a label that hold sides: `fake/train/a.mp4`. One folder `test` among others may be a method's."""
    held: dict[str, set[str]] = {}
    for name in names:
        top, *below = name.split("/")
        if len(below) > 1 and top.casefold() not in SIDES and is_media(name):
            held.setdefault(top, set()).add(below[0].casefold())
    return {
        top
        for top, inner in held.items()
        if inner <= SIDES.keys() or len({SIDES[name] for name in inner & SIDES.keys()}) > 1
    }


def _label(root: Path, name: str, above: Sequence[str], options: Options) -> int:
    """Of the file `name`, in the folder `above[0]` and those below it."""
    top = above[0].casefold()
    inner = next((folder for folder in above[1:] if folder.casefold() in WORDS), None)
    if inner is None:
        return options.label(above[0], where=name)
    is_known = top in WORDS or top in options.labels
    if is_known and (label := options.label(above[0], where=name)) == WORDS[inner.casefold()]:
        return label
    if top in WORDS:
        raise DataError(f"{name} in {root} lies in {above[0]} and in {inner}: rename one of the two")
    parts = name.split("/")
    holder = root.joinpath(*parts[: parts.index(inner)])
    raise DataError(f"{holder} holds a folder {inner} itself: give {holder}, and no label for {above[0]}")


def read(root: Path, options: Options) -> Found:
    found = Found()
    dataset = root.resolve().name or "folder"
    placed: list[tuple[Placed, Side | None]] = []
    names = walk(root, found)
    with_sides = _with_sides(names)
    for name in names:
        *above, _ = name.split("/")
        side = SIDES.get(above[0].casefold()) if above else None
        if side is not None:
            above = above[1:]
        elif len(above) > 1 and above[0] in with_sides and (side := SIDES.get(above[1].casefold())):
            above = [above[0], *above[2:]]
        if not is_media(name):
            found.problem("unknown", name)
        elif not above:
            found.problem("unlabelled", name, "it lies in no folder that is named after a label")
        else:
            below = tuple(nfc(folder) for folder in above[1:])
            placed.append((Placed(name, below, _label(root, name, above, options)), side))
    frames = Frames(one for one, _ in placed)
    for one, side in placed:
        record = VideoRecord(
            dataset=dataset,
            video_id=one.name,  # with its suffix: `a.mp4` and `a.avi` are two
            path=str(root / one.name),
            name=one.name,
            label=one.label,
            group_id=f"{dataset}:{frames.group(one)}"
            if options.groups is None
            else group_of(one.name, options, dataset),
            method=frames.method(one),
            official_split=side,
        )
        found.records.append(by_kind(record))
    if options.groups is None:
        found.records = paired(found.records)
    say_originals(found)
    return found
