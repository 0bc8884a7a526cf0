"""What the page shows, as plain values: the template only places them. Every string from a file passes `visible`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from telltale._html import render
from telltale._text import plural, visible
from telltale.inspect._facts import Inspection, Measure, family_of
from telltale.inspect._findings import is_telling
from telltale.inspect._gather import Sight
from telltale.inspect._pictures import (
    Augmented,
    Shown,
    chart_name,
    data_uri,
    faces,
    family,
    frames,
    gif,
    jpeg,
    moving_words,
)

_WORDS = {"bad": "Must see", "warn": "Check", "good": "Fine"}
_MAX_NAMES = 40
_MAX_ORIGINALS = 15

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    kind: str
    subtitle: list[str]
    headline: str
    n_all: int
    real_words: str
    fake_words: str
    real_percent: float
    findings: list[tuple[str, str, list[str]]]
    """(level, word, text with every second part a command)"""
    counts: list[tuple[str, str]]
    """(picture, alt)"""
    faces: list[tuple[str, list[Shown]]]
    """(which, grid)"""
    frames: list[Shown]
    families: list[tuple[str, str, list[Shown]]]
    moving: list[tuple[str, str]]
    originals: list[tuple[str, int, int, str]]
    originals_are: str
    """`original` or `group`"""
    fakes_per_original: str
    recipe: str
    augmented_px: int
    before: list[str]
    after: list[str]
    measured_on: str
    distributions: list[tuple[str, str]]
    measures: list[Row]
    splits: list[Row]
    capture: list[Row]
    problems: list[tuple[str, list[str], int]]
    record: list[tuple[str, str]]


def to_html(facts: Inspection, sight: Sight, augmented: Augmented | None, charts: Mapping[str, bytes]) -> str:
    """One self-contained page. `charts` are those of `_pictures.chart_files`."""
    page = build_page(facts, sight, augmented, charts)
    return render("inspect.html.j2", styles=("page.css", "inspect.css"), page=page)


def build_page(facts: Inspection, sight: Sight, augmented: Augmented | None, charts: Mapping[str, bytes]) -> Page:
    n = facts.n_real + facts.n_fake
    return Page(
        title=visible(facts.path.rstrip("/").rsplit("/", 1)[-1]),
        kind=facts.kind,
        subtitle=_subtitle(facts),
        headline=f"{plural(n, facts.unit.removesuffix('s'))} from {plural(facts.n_originals, facts.originals_are)}",
        n_all=n,
        real_words=f"{facts.n_real:,} real",
        fake_words=f"{facts.n_fake:,} fake",
        real_percent=round(100 * facts.n_real / n, 2) if n else 0,
        findings=[
            (finding.level, _WORDS[finding.level], visible(finding.text).split("`")) for finding in facts.findings
        ],
        counts=list(_counts(facts, charts)),
        faces=list(faces(facts, sight).items()),
        frames=frames(facts, sight),
        families=[
            (
                visible(name := family_of(members[0].record, facts.originals_are)),
                _family_words(facts, name),
                family(members),
            )
            for members in sight.families
        ],
        moving=[(moving_words(seen), data_uri("gif", gif(seen))) for seen in sight.moving if len(seen.frames) > 1],
        originals=[
            (visible(one.name), one.n_real, one.n_fake, _list_counts(one.methods))
            for one in [one for one in facts.originals if one.n_real + one.n_fake > 1][:_MAX_ORIGINALS]
        ],
        originals_are=facts.originals_are,
        fakes_per_original=f"Fakes of {'an original' if facts.originals_are == 'original' else 'a group'}: "
        + ", ".join(f"{k} of {plural(times, facts.originals_are)}" for k, times in facts.fakes_per_original.items())
        + ".",
        recipe="" if augmented is None else visible(augmented.recipe),
        augmented_px=0 if augmented is None else augmented.size_px,
        before=[] if augmented is None else [data_uri("jpeg", jpeg(rgb)) for rgb in augmented.before],
        after=[] if augmented is None else [data_uri("jpeg", jpeg(rgb)) for rgb in augmented.after],
        measured_on=_measured_on(facts),
        distributions=[
            (data_uri("png", charts[name]), _measure_alt(one))
            for one in facts.measures
            if (name := chart_name(one.quantity)) in charts
        ],
        measures=[_measure_row(one) for one in facts.measures],
        splits=list(_split_rows(facts)),
        capture=[
            {
                "name": visible(row.name),
                "videos": f"{row.n_videos:,}",
                "failed": f"{row.n_failed:,}",
                "faces": f"{row.n_faces:,}",
                "rate": "-" if row.rate is None else f"{row.rate:.1%}",
            }
            for row in facts.capture
        ],
        problems=list(_problems(facts)),
        record=_record(facts),
    )


def _subtitle(facts: Inspection) -> list[str]:
    layout = f"layout {facts.layout}" if facts.kind == "data set" else f"made from {facts.layout}"
    n_faces = [] if facts.n_faces is None else [plural(facts.n_faces, "face")]
    return [visible(layout), *n_faces, *([plural(len(facts.splits), "split")] if facts.splits else [])]


def _counts(facts: Inspection, charts: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    if "counts.png" in charts and (len(facts.counts) > 2 or not facts.splits):
        yield data_uri("png", charts["counts.png"]), f"Bars: {_list_counts(facts.counts)}"
    for name, split in facts.splits.items():
        if (file := f"counts_{name}.png") in charts:
            sides = "; ".join(f"{side}: {_list_counts(counts)}" for side, counts in split.counts.items())
            yield data_uri("png", charts[file]), f"Bars, split {visible(name)}: {sides}"


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{visible(name)} {n:,}" for name, n in counts.items())


def _family_words(facts: Inspection, name: str) -> str:
    one = next(original for original in facts.originals if original.name == name)
    return f"{one.n_real:,} real, {one.n_fake:,} fake"


def _measured_on(facts: Inspection) -> str:
    drawn = (
        f"{facts.n_looked_at:,} of {facts.n_real + facts.n_fake:,} {facts.unit}, drawn at random, as many fake as real "
        "where there are enough"
    )
    what = "the first five seconds of " if facts.kind == "data set" and facts.unit == "videos" else ""
    return (
        f"Measured on {what}{drawn}. What differs between real and fake here can be learnt instead of the forgery: an "
        "AUC of .5 is no difference; chance alone stays within the last column."
    )


def _measure_alt(one: Measure) -> str:
    row = _measure_row(one)
    return f"Distribution of {one.quantity.lower()}: median {row['real']} for real, {row['fake']} for fake"


def _measure_row(one: Measure) -> Row:
    return {
        "quantity": one.quantity,
        "real": _number(one.median_real, one.unit),
        "fake": _number(one.median_fake, one.unit),
        "n": f"{one.n_real:,} + {one.n_fake:,}",
        "auc": "-" if one.auc is None else f"{one.auc:.2f}",
        "chance": "-" if one.margin is None else f"{0.5 - one.margin:.2f}–{0.5 + one.margin:.2f}",
        "is_telling": is_telling(one),
    }


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} {unit}" if abs(value) >= 20 else f"{value:,.1f} {unit}"


def _split_rows(facts: Inspection) -> Iterator[Row]:
    for name, split in facts.splits.items():
        leaks = [plural(split.n_leaked_groups, "group")] if split.n_leaked_groups else []
        leaks += [plural(split.n_shared_persons, "person")] if split.n_shared_persons else []
        named = ", ".join(split.leaked_groups[:5]) + (", ..." if split.n_leaked_groups > 5 else "")
        words = (" and ".join(leaks) or "nothing") + (f" ({visible(named)})" if named else "")
        for i, (side, counts) in enumerate(split.counts.items()):
            n_real = counts.get("real", 0)
            yield {
                "split": visible(name) if i == 0 else "",
                "side": visible(side),
                "real": f"{n_real:,}",
                "fake": f"{sum(counts.values()) - n_real:,}",
                "leaks": words if i == 0 else "",
            }


def _problems(facts: Inspection) -> Iterator[tuple[str, list[str], int]]:
    titles = {
        "missing": ("file", "listed but not there"),
        "unlabelled": ("file", "without a label"),
        "contradictory": ("file", "there with both labels"),
        "duplicate": ("file", "there twice"),
        "unknown": ("file", "not part of the layout"),
        "unused": ("column", "not read"),
    }
    for kind, n in facts.problems.items():
        names = [
            visible(f"{row['path']}: {row['detail']}" if row["detail"] else row["path"])
            for row in facts.problem_list
            if row["kind"] == kind
        ][:_MAX_NAMES]
        what, title = titles[kind]
        yield f"{plural(n, what)} {title}", names, n - len(names)
    if facts.unread:
        names = [visible(f"{one.message} ({one.code})") for one in facts.unread]
        yield f"{plural(len(names), 'file')} that cannot be read", names[:_MAX_NAMES], max(0, len(names) - _MAX_NAMES)


def _record(facts: Inspection) -> list[tuple[str, str]]:
    rows = [("Path", visible(facts.path)), ("Layout", visible(facts.layout))]
    return [
        *rows,
        *((visible(key), visible(str(value))) for key, value in facts.settings.items() if value not in (None, {})),
    ]
