"""What a user should read first: sentences, the worst first, each with the number behind it and the next step."""

from __future__ import annotations

from collections.abc import Iterator

from telltale import datasets
from telltale._text import first_few, plural
from telltale.datasets import subject
from telltale.inspect._facts import Finding, Inspection, Measure
from telltale.split import thin_sides

_ORDER = {"bad": 0, "warn": 1, "good": 2}
UNBALANCED_FRAC = 0.6
"""From this share on, one class is called the larger one."""
TELLING_AUC = 0.1
"""Away from .5, and further than chance reaches: a quantity that gives the class away."""
CAPTURE_GAP = 0.02


def find_findings(facts: Inspection) -> tuple[Finding, ...]:
    """Sentences about `facts`, the worst first."""
    found = [*_classes(facts), *_groups(facts), *_splits(facts), *_files(facts), *_capture(facts), *_measured(facts)]
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.level]))


def _classes(facts: Inspection) -> Iterator[Finding]:
    n = facts.n_real + facts.n_fake
    if not n and facts.kind == "store":
        n_tried = sum(row.n_videos for row in facts.capture)
        why = f"no face was found in any of {plural(n_tried, 'video')}"
        yield Finding(level="bad", text=f"There is nothing to train on: {why}.")
    elif not n:
        of_layout = facts.kind == "data set" and facts.layout in datasets.names()
        where = f" {facts.layout} has its files at {datasets.layout(facts.layout)}." if of_layout else ""
        yield Finding(level="bad", text=f"There is nothing to train on: no file has a label.{where}")
    elif not facts.n_real or not facts.n_fake:
        only, missing = ("real", "fake") if facts.n_real else ("fake", "real")
        yield Finding(level="bad", text=f"Everything is {only}: a model needs {missing} ones too, from another set.")
    elif max(facts.n_real, facts.n_fake) / n >= UNBALANCED_FRAC:
        larger = "real" if facts.n_real > facts.n_fake else "fake"
        yield Finding(
            level="warn",
            text=f"{max(facts.n_real, facts.n_fake) / n:.0%} are {larger}: always saying {larger} would be right that "
            f"often. `telltale split --per-class {min(facts.n_real, facts.n_fake)}` draws as many of each.",
        )
    else:
        yield Finding(level="good", text=f"The classes are balanced: {facts.n_fake / n:.0%} are fake.")


def _groups(facts: Inspection) -> Iterator[Finding]:
    if n := facts.n_fakes_alone:
        undrawn = ", which may not have been drawn (`prepare --limit`)" if facts.kind == "store" else ""
        yield Finding(
            level="warn",
            text=f"{n:,} of {plural(facts.n_fake, 'fake')} {'shares' if n == 1 else 'share'} no group with any real"
            f"{undrawn}: if their originals are here under other names, name them alike, or give both one group_id in "
            "a list.",
        )
    elif facts.n_without_original and facts.n_real:
        yield Finding(
            level="warn",
            text=f"Of {plural(facts.n_without_original, facts.originals_are)} only fakes are here, "
            f"{'not the original itself' if facts.originals_are == 'original' else 'no real one'}.",
        )


def _splits(facts: Inspection) -> Iterator[Finding]:
    for name, split in facts.splits.items():
        called = f"The {name} split" if name == "official" else f"Split {name}"
        if split.n_leaked_groups:
            yield Finding(
                level="bad",
                text=f"{called} has {plural(split.n_leaked_groups, 'group')} on more than one side: figures measured "
                "on it say nothing about people that the model never saw. Make one with `telltale split --by group`.",
            )
        else:
            yield Finding(level="good", text=f"{called} has no group on two sides.")
        sides = {side: (n := counts.get("real", 0), sum(counts.values()) - n) for side, counts in split.counts.items()}
        for words in thin_sides(sides):
            yield Finding(level="warn", text=f"{called}: {words}.")
        if n := split.n_on_several:
            text = plural(n, "video has", "videos have")
            yield Finding(
                level="warn",
                text=f"{called}: {text} faces on more than one side and {'counts' if n == 1 else 'count'} on each.",
            )
        if facts.kind == "data set" and (n := split.n_left_out):
            text = plural(n, f"{facts.unit.removesuffix('s')} is", f"{facts.unit} are")
            yield Finding(level="warn", text=f"{called}: {text} on no side and left out.")
        if split.n_undealt:
            yield Finding(
                level="warn",
                text=f"{split.n_undealt:,} of {facts.n_real + facts.n_fake:,} {facts.unit} are on no side of split "
                f"{name}: if they came later, split again with `telltale split`.",
            )
        if split.n_shared_persons:
            yield Finding(
                level="warn",
                text=f"{called} has {plural(split.n_shared_persons, 'person')} on more than one side.",
            )
    if not facts.splits:
        shared = sum(n for n_fakes, n in facts.fakes_per_original.items() if n_fakes > 1)
        what = facts.originals_are
        why = f", and {plural(shared, f'{what} has', f'{what}s have')} several fakes" if shared else ""
        yield Finding(
            level="warn", text=f"No split yet{why}: `telltale split` keeps what belongs together on one side."
        )


def _files(facts: Inspection) -> Iterator[Finding]:
    words = {
        "missing": ("bad", "file is listed but not there", "files are listed but not there"),
        "unlabelled": ("warn", "file has no label and is left out", "files have no label and are left out"),
        "contradictory": ("bad", "file is there with both labels", "files are there with both labels"),
        "duplicate": ("warn", "file is there twice", "files are there twice"),
        "unknown": ("warn", "file does not belong to the layout", "files do not belong to the layout"),
        "unused": ("warn", "column of the list is not read", "columns of the list are not read"),
    }
    for kind, n in facts.problems.items():
        level, one, many = words[kind]
        rows = [row for row in facts.problem_list if row["kind"] == kind]
        names = [subject(kind, row["path"], row["detail"]) for row in rows]
        is_of_set = facts.kind == "store" and kind not in ("duplicate", "contradictory")
        where = "In the data set it was made from, " if is_of_set else ""
        yield Finding(
            level="bad" if level == "bad" else "warn", text=f"{where}{plural(n, one, many)}{first_few(names, n)}."
        )
    if not facts.problems:
        yield Finding(level="good", text="No file is missing, unlabelled, double or unknown.")
    if facts.unread:
        yield Finding(
            level="bad",
            text=f"{len(facts.unread)} of {facts.n_looked_at} that were looked at cannot be read"
            f"{first_few([one.name for one in facts.unread])}.",
        )


def _capture(facts: Inspection) -> Iterator[Finding]:
    n_failed = sum(row.n_failed for row in facts.capture)
    n = sum(row.n_videos for row in facts.capture)
    if n_failed:
        names = [f"{one.name} ({one.code})" for one in facts.failed]
        yield Finding(
            level="warn",
            text=f"{n_failed:,} of {n:,} {facts.unit} failed in `prepare`{first_few(names, n_failed)}; the manifest "
            "says why.",
        )
    if n_no_face := sum(row.n_no_face for row in facts.capture):
        few = first_few(facts.no_face, n_no_face)
        yield Finding(level="warn", text=f"No face was found in {n_no_face:,} of {n:,} {facts.unit}{few}.")
    rates = [(row.name, row.rate) for row in facts.capture if row.rate is not None]
    if not rates:
        return
    lowest, highest = min(rates, key=lambda row: row[1]), max(rates, key=lambda row: row[1])
    if highest[1] - lowest[1] > CAPTURE_GAP:
        yield Finding(
            level="warn",
            text=f"A face was found in {lowest[1]:.1%} of the frames of {lowest[0]}, but in {highest[1]:.1%} of those "
            f"of {highest[0]}: what is missing is not the same for all classes.",
        )


def _measured(facts: Inspection) -> Iterator[Finding]:
    telling = [measure for measure in facts.measures if is_telling(measure)]
    for measure in telling:
        auc = max(measure.auc or 0.0, 1 - (measure.auc or 0.0))
        yield Finding(
            level="warn",
            text=f"{measure.quantity} alone tells real from fake with AUC {auc:.2f} (median {measure.median_real:.0f} "
            f"and {measure.median_fake:.0f} {measure.unit}, n = {measure.n_real + measure.n_fake}): a model can learn "
            "that instead of the forgery.",
        )
    if facts.measures and not telling:
        yield Finding(level="good", text="No measured quantity gives the class away by itself.")


def is_telling(measure: Measure) -> bool:
    """Whether the quantity tells the classes apart, by more than chance would."""
    if measure.auc is None or measure.margin is None:
        return False
    return abs(measure.auc - 0.5) > max(TELLING_AUC, 1.5 * measure.margin)
