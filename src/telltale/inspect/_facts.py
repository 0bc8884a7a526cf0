"""What can be said without looking at a picture: counts, shared originals, leaks. Plain data, written as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from telltale.datasets import Problem, Record
from telltale.inspect._source import Source
from telltale.split import SIDES, fakes_alone, find_leaks, group_pieces, names_videos, persons, whole_groups
from telltale.types import Written

MAX_LISTED = 1000
"""Names of a kind in the JSON; every count is of all of them."""


class Original(Written):
    """Videos that share one original, or a group where originals are not known."""

    name: str
    group_id: str
    """What stays on one side of a split: perhaps several originals."""
    n_real: int
    n_fake: int
    methods: dict[str, int]
    names: tuple[str, ...]


class SplitFacts(Written):
    """One split: how many of each class on each side, and what it tears apart."""

    counts: dict[str, dict[str, int]]
    """Side -> `real` or the method -> how many."""
    n_left_out: int
    n_undealt: int = 0
    """Of those left out: unknown to the split, most likely added to the store after it was made."""
    n_on_several: int = 0
    """Videos with faces on more than one side: each side counts them."""
    n_leaked_groups: int
    n_shared_persons: int
    leaked_groups: tuple[str, ...]
    """At most `MAX_LISTED`, as are the persons."""
    shared_persons: tuple[str, ...]


class Capture(Written):
    """What became of the videos of one class when the store was made."""

    name: str
    n_videos: int
    n_failed: int
    n_no_face: int = 0
    n_faces: int
    rate: float | None
    """Of the frames sampled, how many gave a face."""


class Measure(Written):
    """One measured quantity, by class, and how well it alone tells the two apart."""

    quantity: str
    unit: str
    n_real: int
    n_fake: int
    median_real: float | None
    median_fake: float | None
    auc: float | None
    """Above .5 where fakes have more of it; None where a class has fewer than 5."""
    margin: float | None
    """Chance alone stays within .5 +- this in 95 of 100 such samples."""


class Unread(Written):
    """A file that was drawn to be looked at and could not be."""

    name: str
    code: str
    message: str


class Finding(Written):
    """One sentence that a user should read."""

    level: Literal["bad", "warn", "good"]
    text: str


class Inspection(Written):
    """Everything that was found out; `inspect.json`."""

    schema_version: Literal[1] = 1
    path: str
    kind: Literal["data set", "store"]
    layout: str
    unit: Literal["videos", "pictures"]
    n_real: int
    n_fake: int
    n_faces: int | None
    """In a store."""
    n_groups: int
    n_originals: int
    """Of what `originals` are."""
    originals_are: Literal["original", "group"] = "original"
    """Whether fakes are counted by the video they were made from or, where that is not known, by their group."""
    counts: dict[str, int]
    """`real` or the method -> how many."""
    splits: dict[str, SplitFacts]
    originals: tuple[Original, ...]
    """Those with most fakes first, at most `MAX_LISTED`."""
    fakes_per_original: dict[int, int]
    """How many fakes -> how many originals have that many."""
    n_without_original: int
    """Of `originals`, those of which only fakes are here."""
    capture: tuple[Capture, ...] = ()
    n_fakes_alone: int = 0
    """Fakes that share no group with any real."""
    failed: tuple[Unread, ...] = ()
    """At most `MAX_LISTED` videos of a store that `prepare` could not use."""
    no_face: tuple[str, ...] = ()
    """At most `MAX_LISTED` in which it found nobody."""
    problems: dict[str, int]
    problem_list: tuple[dict[str, str], ...]
    """At most `MAX_LISTED` of a kind."""
    measures: tuple[Measure, ...] = ()
    n_looked_at: int = 0
    unread: tuple[Unread, ...] = ()
    findings: tuple[Finding, ...] = ()
    settings: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it


def class_name(record: Record) -> str:
    """`real`, the method, or `fake` where the set names none."""
    return (record.method or "fake") if record.label else "real"


def original_of(record: Record) -> str | None:
    """The video it is, or was made from; None where only its group is known, as in most stores. In a group that is
    named after its videos (FaceForensics++), it is the target."""
    if record.original_id is not None:
        group, _, own = record.original_id.partition("/")  # as folders and lists have it
        return group if group == record.group_id and group.endswith(f":{own}") else record.original_id
    target = persons(record)[:1]
    is_named = names_videos(record.group_id) and target and target[0] in group_pieces(record.group_id)
    return target[0] if is_named else None


def family_of(record: Record, originals_are: Literal["original", "group"]) -> str:
    """The name in `Inspection.originals` that it counts for."""
    original = original_of(record) if originals_are == "original" else None
    return record.group_id if original is None else original


def _originals_are(source: Source) -> Literal["original", "group"]:
    """Groups where some original is not known. And of pictures where groups hold several: each frame of a video is the
    original of the same frame of a fake, but no original to count."""
    originals = {original_of(record) for record in source.records}
    n_groups = len({record.group_id for record in source.records})
    is_finer = source.unit == "pictures" and len(originals) > n_groups
    return "group" if None in originals or is_finer else "original"


def count_classes(records: Iterable[Record]) -> dict[str, int]:
    """Class -> how many; real first, then methods by number."""
    found = Counter(class_name(record) for record in records)
    return dict(sorted(found.items(), key=lambda item: (item[0] != "real", -item[1], item[0])))


def find_facts(source: Source) -> Inspection:
    """Everything that needs no picture."""
    n_fake = sum(record.label for record in source.records)
    originals_are = _originals_are(source)
    originals = _originals(source.records, originals_are)
    manifest = source.manifest
    return Inspection(
        path=source.path,
        kind=source.kind,
        layout=source.layout,
        unit=source.unit,
        n_real=len(source.records) - n_fake,
        n_fake=n_fake,
        n_faces=None if manifest is None else manifest.n_faces,
        n_groups=len({record.group_id for record in source.records}),
        n_originals=len(originals),
        originals_are=originals_are,
        counts=count_classes(source.records),
        splits={name: _split_facts(source, name) for name in source.splits},
        originals=tuple(originals[:MAX_LISTED]),
        fakes_per_original=dict(sorted(Counter(original.n_fake for original in originals).items())),
        n_without_original=sum(not original.n_real for original in originals),
        n_fakes_alone=fakes_alone(source.records),
        failed=()
        if manifest is None
        else tuple(Unread(name=one.path, code=one.code, message=one.message) for one in manifest.failed[:MAX_LISTED]),
        no_face=() if manifest is None else manifest.no_face[:MAX_LISTED],
        capture=() if manifest is None else _capture(source),
        problems=dict(sorted(Counter(problem.kind for problem in source.problems).items())),
        problem_list=tuple(
            {"kind": problem.kind, "path": problem.path, "detail": problem.detail}
            for problem in _first_of_each(source.problems)
        ),
    )


def _first_of_each(problems: Iterable[Problem]) -> Iterator[Problem]:
    """The first `MAX_LISTED` of each kind."""
    seen: Counter[str] = Counter()
    for problem in problems:
        seen[problem.kind] += 1
        if seen[problem.kind] <= MAX_LISTED:
            yield problem


def _originals(records: Iterable[Record], originals_are: Literal["original", "group"]) -> list[Original]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(family_of(record, originals_are), []).append(record)
    originals = [
        Original(
            name=name,
            group_id=members[0].group_id,
            n_real=sum(not record.label for record in members),
            n_fake=sum(record.label for record in members),
            methods=count_classes(record for record in members if record.label),
            names=tuple(record.name for record in sorted(members, key=lambda r: (r.label, r.name))[:50]),
        )
        for name, members in found.items()
    ]
    return sorted(originals, key=lambda original: (-original.n_fake, -original.n_real, original.name))


def _split_facts(source: Source, name: str) -> SplitFacts:
    sides = source.splits[name]
    leaks = find_leaks(sides)
    torn = whole_groups(leaks.groups, (record for records in sides.values() for record in records))
    on_sides = Counter(record.video_id for records in sides.values() for record in records)
    return SplitFacts(
        counts={
            side: count_classes(sides[side]) for side in (*SIDES, *sorted(sides.keys() - {*SIDES})) if sides.get(side)
        },
        n_left_out=len(source.records) - len(on_sides),
        n_undealt=0 if source.store is None else source.store.n_undealt(name),
        n_on_several=sum(n > 1 for n in on_sides.values()),
        n_leaked_groups=len(torn),
        n_shared_persons=len(leaks.persons),
        leaked_groups=torn[:MAX_LISTED],
        shared_persons=leaks.persons[:MAX_LISTED],
    )


def _capture(source: Source) -> tuple[Capture, ...]:
    manifest = source.manifest
    if manifest is None:
        return ()
    several = len(manifest.datasets) > 1
    return tuple(
        Capture(
            name=f"{count.dataset}: {name}" if several else name,
            n_videos=count.n_videos,
            n_failed=count.n_failed,
            n_no_face=count.n_no_face,
            n_faces=count.n_faces,
            rate=count.capture_rate,
        )
        for count in manifest.counts
        for name in [(count.method or "fake") if count.label else "real"]
    )
