"""What is looked at: a sample, a few originals with their fakes, a clip in motion. And what was measured on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from telltale.datasets import Record
from telltale.inspect._facts import Inspection, Measure, Unread, family_of
from telltale.inspect._seen import FIRST_FRAME, FIRST_SECONDS, MOTION, Looker, Seen, draw
from telltale.inspect._source import Source
from telltale.inspect._stored import StoredFaces

N_FAMILIES = 3
MAX_FAKES = 6
MAX_MOVING = 24
N_SHOWN = 50
"""Of so many of the sample the pictures are kept."""


@dataclass(frozen=True, slots=True)
class Values:
    """One quantity, of each video or picture that has it."""

    quantity: str
    unit: str
    real: list[float]
    fake: list[float]
    is_logarithmic: bool = False
    is_always_drawn: bool = True
    """Otherwise only where it gives the class away."""


@dataclass(slots=True)
class Sight:
    """Everything that was looked at."""

    sample: list[Seen] = field(default_factory=list)
    """Real and fake in turns, at random."""
    families: list[list[Seen]] = field(default_factory=list)
    """An original, then up to `MAX_FAKES` of its fakes."""
    moving: list[Seen] = field(default_factory=list)
    """A few seconds of a real clip, and of a fake of it where there is one."""
    values: list[Values] = field(default_factory=list)
    n_sampled: int = 0
    """Of the sample, those that could not be read too."""
    unread: tuple[Unread, ...] = ()


def gather(
    source: Source,
    facts: Inspection,
    *,
    n: int,
    detector: str,
    seed: int,
    on_file: Callable[[int, int, str], None] | None,
) -> Sight:
    """Look at about `n` of the records. `on_file` gets (files done, files in all, the next one's name)."""
    rng = np.random.default_rng([seed, 0])
    sample = draw(source.records, n, rng)
    families = _families(source.records, facts, rng)
    moving = _moving(source, families, sample)
    n_files = len(sample) + sum(map(len, families)) + len(moving)
    n_done = -1

    def count(name: str) -> None:
        nonlocal n_done
        n_done += 1
        if on_file is not None:
            on_file(min(n_done, n_files), n_files, name)

    looker = Looker(detector, on_file=count)
    try:
        if source.store is None:
            seen = looker.look(sample, FIRST_SECONDS, n_shown=N_SHOWN)
            found = [looker.look(family, FIRST_FRAME) for family in families]
            in_motion = looker.look(moving, MOTION, detects=False)
            values = _measure(seen)
        else:
            stored = StoredFaces(source.store)
            seen = stored.look(sample, looker, n_shown=N_SHOWN)
            found = [stored.look(family, looker) for family in families]
            in_motion = stored.look(moving, looker, n_frames=MAX_MOVING)
            values = _measure_stored(source.records, stored, seen)
    finally:
        looker.close()
    return Sight(seen, [family for family in found if family], in_motion, values, len(sample), tuple(looker.unread))


def _families(records: Sequence[Record], facts: Inspection, rng: np.random.Generator) -> list[list[Record]]:
    """Originals (or groups) that are there, with their fakes: those with most fakes, drawn at random where many
    have as many."""
    whole = [original for original in facts.originals if original.n_real and original.n_fake]
    order = rng.permutation(len(whole))
    chosen = sorted(order, key=lambda i: -min(whole[i].n_fake, MAX_FAKES))[:N_FAMILIES]
    members: dict[str, list[Record]] = {whole[i].name: [] for i in chosen}
    for record in records:
        if (name := family_of(record, facts.originals_are)) in members:
            members[name].append(record)
    return [_family(found, rng) for found in members.values()]


def _family(members: Sequence[Record], rng: np.random.Generator) -> list[Record]:
    real = min((record for record in members if not record.label), key=lambda record: record.name)
    fakes = draw([record for record in members if record.label], MAX_FAKES, rng)
    return [real, *fakes]


def _moving(source: Source, families: Sequence[Sequence[Record]], sample: Sequence[Record]) -> list[Record]:
    if source.unit == "pictures":
        return []
    if families:
        return list(families[0][:2])
    return [record for label in (0, 1) for record in [r for r in sample if r.label == label][:1]]


def _measure(seen: Iterable[Seen]) -> list[Values]:
    sizes, light, duration, side, rate = (
        Values("Face size", "px", [], [], is_logarithmic=True),
        Values("Brightness of the face", "of 255", [], []),
        Values("Duration", "s", [], []),
        Values("Shorter side of the picture", "px", [], [], is_always_drawn=False),
        Values("Bytes a second", "kB", [], [], is_always_drawn=False),
    )
    for one in seen:
        _add(sizes, one.record, one.face_px)
        _add(light, one.record, one.brightness)
        _add(side, one.record, one.side_px)
        if one.duration_s:
            _add(duration, one.record, one.duration_s)
            _add(rate, one.record, (one.size_bytes or math.nan) / one.duration_s / 1000)
    return [values for values in (sizes, light, duration, side, rate) if values.real or values.fake]


def _measure_stored(records: Iterable[Record], stored: StoredFaces, seen: Iterable[Seen]) -> list[Values]:
    sizes, light, covered = (
        Values("Face size", "px", [], [], is_logarithmic=True),
        Values("Brightness of the face", "of 255", [], []),
        Values("Time from the first face to the last", "s", [], []),
    )
    for record in records:
        _add(sizes, record, stored.median_size_px(record))
        _add(covered, record, stored.covered_s(record))
    for one in seen:
        _add(light, one.record, one.brightness)
    moves = any(covered.real) or any(covered.fake)
    return [values for values in (sizes, light, *([covered] if moves else [])) if values.real or values.fake]


def _add(values: Values, record: Record, value: float) -> None:
    if math.isfinite(value):
        (values.fake if record.label else values.real).append(value)


def measures(values: Iterable[Values]) -> tuple[Measure, ...]:
    """Medians, and how well each quantity alone tells real from fake (AUC, with what chance alone would reach)."""
    return tuple(
        Measure(
            quantity=one.quantity,
            unit=one.unit,
            n_real=len(one.real),
            n_fake=len(one.fake),
            median_real=float(np.median(one.real)) if one.real else None,
            median_fake=float(np.median(one.fake)) if one.fake else None,
            **_separation(one),
        )
        for one in values
    )


def _separation(values: Values) -> Mapping[str, float | None]:
    from telltale.metrics import auc

    n_real, n_fake = len(values.real), len(values.fake)
    if min(n_real, n_fake) < 5:
        return {"auc": None, "margin": None}
    labels = np.repeat([0, 1], [n_real, n_fake])
    # Standard error of the Mann-Whitney statistic without any difference (Mann & Whitney 1947), times 1.96.
    chance = 1.96 * math.sqrt((n_real + n_fake + 1) / (12 * n_real * n_fake))
    return {"auc": auc(labels, [*values.real, *values.fake]), "margin": chance}
