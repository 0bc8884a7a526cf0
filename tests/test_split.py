"""Groups before splits: what may never happen, what is promised, and what is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telltale.datasets import Record
from telltale.errors import LeakFound, UsageError
from telltale.inspect._facts import find_facts
from telltale.inspect._source import Source
from telltale.split import SIDES, By, Draw, Split, check_leaks, find_leaks, k_fold, make_split, parse_ratio, persons
from telltale.types import Side, VideoRecord


def video(
    name: str,
    label: int,
    group: str,
    *,
    person: str | None = None,
    method: str | None = None,
    official: Side | None = None,
) -> VideoRecord:
    return VideoRecord(
        dataset="made",
        video_id=name,
        path=name,
        name=name,
        label=label,
        method=method,
        group_id=group,
        person_id=person,
        official_split=official,
    )


def pairs(n: int) -> list[VideoRecord]:
    """`n` groups of a real and two fakes of two methods."""
    return [
        video(f"{i}{kind}", int(kind != "r"), f"made:{i}", method=None if kind == "r" else kind)
        for i in range(n)
        for kind in ("r", "a", "b")
    ]


@st.composite
def some_records(draw: st.DrawFn) -> list[VideoRecord]:
    n_groups = draw(st.integers(3, 30))
    n_persons = draw(st.integers(1, 12))
    found = []
    for group in range(n_groups):
        for k in range(draw(st.integers(1, 5))):
            label = draw(st.integers(0, 1))
            people = draw(st.lists(st.integers(0, n_persons - 1), max_size=2, unique=True))
            person = "made:" + "+".join(map(str, people)) if people else None
            method = draw(st.sampled_from(["x", "y"])) if label else None
            found.append(video(f"{group}-{k}", label, f"made:{group}", person=person, method=method))
    return found


def all_sides(split: Split, records: list[VideoRecord]) -> dict[str, list[VideoRecord]]:
    return {side: [r for r in records if split.side(r.video_id) == side] for side in SIDES}


@given(some_records(), st.integers(0, 3), st.sampled_from(["80/10/10", "60/20/20", "90/10", "1/1/1", "75/25"]))
@settings(max_examples=60, deadline=None)
def test_no_group_is_torn_and_nobody_is_lost(records: list[VideoRecord], seed: int, ratio: str) -> None:
    split = make_split(records, ratio=ratio, seed=seed)
    assert set(split.sides) == {record.video_id for record in records}
    leaks = check_leaks(all_sides(split, records))
    assert leaks.persons == split.shared_persons
    if split.kept_together == "person":
        assert not leaks.persons


@given(some_records(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_records_does_not_matter(records: list[VideoRecord], rng: random.Random) -> None:
    shuffled = records.copy()
    rng.shuffle(shuffled)
    assert make_split(records, seed=3) == make_split(shuffled, seed=3)
    assert k_fold(records, k=3) == k_fold(shuffled, k=3)


@given(some_records(), st.integers(2, 3))
@settings(max_examples=30, deadline=None)
def test_every_record_validates_in_exactly_one_fold(records: list[VideoRecord], k: int) -> None:
    folds = k_fold(records, k=k)
    assert len(folds) == k
    validated = [record.video_id for fold in folds for record in fold.select(records, "val")]
    assert sorted(validated) == sorted(record.video_id for record in records)
    for fold in folds:
        check_leaks(all_sides(fold, records))


@given(st.integers(3, 40), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_every_side_has_both_labels_where_there_are_groups_enough(n: int, seed: int) -> None:
    records = pairs(n)
    split = make_split(records, seed=seed)
    assert all(real and fake for real, fake in split.counts(records).values())
    assert len(split.counts(records)) == 3


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [("80/10/10", (160, 20, 20)), ("80/20", (160, 0, 40)), ("75/25", (150, 0, 50)), ("90/10/0", (180, 20, 0))],
)
def test_ratios_are_met_for_every_label_and_method(ratio: str, expected: tuple[int, ...]) -> None:
    records = pairs(200)
    split = make_split(records, ratio=ratio, seed=5)
    for method in (None, "a", "b"):
        counts = [sum(r.method == method for r in split.select(records, side)) for side in SIDES]
        assert tuple(counts) == expected


def test_another_seed_is_another_split() -> None:
    records = pairs(50)
    assert make_split(records, seed=1).sides == make_split(records, seed=1).sides
    assert make_split(records, seed=1).sides != make_split(records, seed=2).sides


def test_unequal_groups_still_meet_the_ratio() -> None:
    records = [video(f"{i}-{k}", k % 2, f"made:{i}") for i in range(60) for k in range(1 + i % 7)]
    counts = make_split(records, seed=0).counts(records)
    shares = [sum(counts[side]) / len(records) for side in SIDES]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_persons_who_share_a_video_stay_together_where_that_leaves_enough_groups() -> None:
    records = []
    for i in range(40):
        a, b = f"{2 * i}", f"{2 * i + 1}"
        records += [video(f"{p}", 0, f"made:v{p}", person=f"made:{p}") for p in (a, b)]
        records += [video(f"{a}_{b}", 1, f"made:v{a}", person=f"made:{a}+{b}")]
    split = make_split(records)
    assert split.kept_together == "person"
    assert not split.shared_persons
    assert split.side("0") == split.side("1") == split.side("0_1")


def test_persons_are_not_kept_together_where_that_leaves_a_side_without_fakes() -> None:
    """The sizes alone would fit: everybody who is in a fake is in one circle, a quarter of all."""
    records = [video(f"y{i}", 0, f"made:y{i}", person=f"made:y{i}") for i in range(130)]
    records += [video(f"r{i}", 0, f"made:{i}", person=f"made:{i}") for i in range(20)]
    records += [video(f"f{i}", 1, f"made:{i}", person=f"made:{i}+{(i + 1) % 20}") for i in range(20)]
    split = make_split(records)
    assert split.kept_together == "group"
    assert split.counts(records) == {"train": (120, 16), "val": (15, 2), "test": (15, 2)}


def test_where_the_first_deal_misses_the_shares_of_a_label_others_are_tried() -> None:
    rng = random.Random(29)
    records = [
        video(f"{group}-{label}-{k}", label, f"made:{group}")
        for group in range(14)
        for label in (0, 1)
        for k in range(rng.choice((0, 1, 4, 9)))
    ]
    counts = make_split(records, ratio="70/15/15").counts(records)
    for label in (0, 1):
        n = sum(record.label == label for record in records)
        assert [counts[side][label] / n for side in SIDES] == pytest.approx([0.7, 0.15, 0.15], abs=0.05)


def test_where_everybody_is_connected_the_group_is_kept_and_the_overlap_is_told() -> None:
    records = []
    for i in range(40):
        records += [video(f"r{i}", 0, f"made:{i}", person=f"made:{i}")]
        records += [video(f"f{i}", 1, f"made:{i}", person=f"made:{i}+{(i + 1) % 40}")]
    split = make_split(records)
    assert split.kept_together == "group"
    assert not split.leaked_groups
    told = f"{len(split.shared_persons)} persons are on more than one side"
    assert split.notes[0].startswith(f"{told}: with everybody together who shares a video")
    ways: tuple[By, By] = ("random", "official")
    for by in ways:
        split = make_split([replace(r, official_split=SIDES[int(r.name[1:]) % 3]) for r in records], by=by)
        assert f"{len(split.shared_persons)} persons are on more than one side" in split.notes, "nobody tried"


def test_per_class_draws_exactly_that_many_and_leaves_the_rest_out() -> None:
    records = pairs(50)
    split = make_split(records, per_class=40, seed=42)
    counts = split.counts(records)
    assert (sum(c[0] for c in counts.values()), sum(c[1] for c in counts.values())) == (40, 40)
    assert len(split.sides) == 80
    assert not split.leaked_groups
    with pytest.raises(UsageError, match="only 50 real"):
        make_split(records, per_class=51)


def test_a_fake_whose_original_is_there_but_not_drawn_is_not_alone() -> None:
    records = pairs(50)
    for split in (make_split(records, per_class=20), k_fold(records, k=3, per_class=20)[0]):
        assert not [note for note in split.notes if "no group with any real" in note]
    with_a_stranger = [*records, video("stranger", 1, "made:other")]
    assert [
        note
        for note in make_split(with_a_stranger).notes
        if note.startswith("1 of 101 fakes shares no group with any real")
    ]


def test_random_tears_groups_apart_and_says_how_many() -> None:
    records = pairs(50)
    split = make_split(records, by="random", seed=42)
    torn = find_leaks(all_sides(split, records)).groups
    assert split.leaked_groups == torn
    assert len(torn) > 10
    assert split.notes[0].startswith(f"LEAK: {len(torn)} of 50 groups are on more than one side")
    assert not [note for note in split.notes if "flatter" in note]
    with pytest.raises(LeakFound, match=r"`telltale split STORE STORE --name NAME`\), or accept it with --allow-leaks"):
        check_leaks(all_sides(split, records))
    assert check_leaks(all_sides(split, records), allow_leaks=True).groups == torn


def test_torn_groups_are_counted_as_the_data_set_counts_its_groups() -> None:
    """A group of FaceForensics++ is named after both its videos."""
    records = [video(f"{i}{kind}", int(kind != "r"), f"ffpp:{i:03d}+{i + 500}") for i in range(20) for kind in "rab"]
    split = make_split(records, by="random", seed=42)
    assert set(split.leaked_groups) <= {record.group_id for record in records}
    n_torn = len(split.leaked_groups)
    assert n_torn < 20
    assert len(find_leaks(all_sides(split, records)).groups) == 2 * n_torn
    assert split.notes[0].startswith(f"LEAK: {n_torn} of 20 groups are on more than one side")
    sides: dict[str, Sequence[Record]] = {side: split.select(records, side) for side in SIDES}
    facts = find_facts(Source("x", "store", "ffpp", "videos", tuple(records), (), {"torn": sides}))
    assert facts.splits["torn"].n_leaked_groups == n_torn


def test_official_sides_are_honoured() -> None:
    side: Callable[[int], Side] = lambda i: SIDES[i % 3]  # noqa: E731
    records = [video(f"{i}{k}", k, f"made:{i}", official=side(i)) for i in range(9) for k in (0, 1)]
    split = make_split(records, by="official")
    assert dict(split.sides) == {record.video_id: record.official_split for record in records}


def test_official_without_a_validation_side_takes_one_from_training() -> None:
    official: list[Side] = ["test" if i < 5 else "train" for i in range(50)]
    records = [video(f"{i}{k}", k, f"made:{i}", official=official[i]) for i in range(50) for k in (0, 1)]
    records.append(video("straggler", 1, "made:99"))
    split = make_split(records, by="official", ratio="80/10/10")
    assert split.counts(records) == {"train": (40, 40), "val": (5, 5), "test": (5, 5)}
    assert split.side("straggler") is None
    assert split.notes[:2] == (
        "1 video is on no official side and left out",
        "the official split has no validation side: one was taken from its training side by group",
    )


def test_official_where_there_is_none_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="--by group"):
        make_split(pairs(5), by="official")


def test_too_few_groups_say_what_to_do() -> None:
    with pytest.raises(UsageError, match="2 group"):
        make_split(pairs(2))
    with pytest.raises(UsageError, match="too few for 3 sides: ask for fewer sides with --ratio"):
        make_split(pairs(2))
    with pytest.raises(UsageError, match="too few for 40 folds: ask for fewer folds with --folds"):
        k_fold(pairs(5), k=40)
    with pytest.raises(UsageError, match="nothing to split"):
        make_split([])


def test_a_side_without_a_label_is_told() -> None:
    records = [video(f"{i}", int(i == 0), f"made:{i}") for i in range(30)]
    assert "val has no fake video" in make_split(records).notes


def test_a_side_with_few_of_a_class_is_told_and_one_with_many_is_not() -> None:
    split = make_split(pairs(50))
    assert split.notes == (
        "few of a class on a side: val 5 real, test 5 real; below 10 little can be learned or measured",
    )
    assert make_split(pairs(100)).notes == ()


def test_the_same_video_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="deal whole stores with split_stores"):
        make_split([*pairs(4), *pairs(4)])


@pytest.mark.parametrize("ratio", ["80", "a/b", "0/50/50", "-80/10/10", "100/0/0", "nan/1", (1, 2, 3, 4)])
def test_a_senseless_ratio_is_refused(ratio: str | tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="80/10/10"):
        parse_ratio(ratio)


@pytest.mark.parametrize("by", ["person", "Group"])
def test_a_senseless_way_is_refused(by: By) -> None:
    with pytest.raises(UsageError, match="group, official or random"):
        make_split(pairs(5), by=by)


def test_a_limit_draws_evenly_and_in_halves_where_asked() -> None:
    records = pairs(50)
    drawn = Draw(21, seed=1).of(records)
    assert len(drawn) == 21
    assert [records.index(r) for r in drawn if isinstance(r, VideoRecord)] == sorted(map(records.index, drawn))  # type: ignore[arg-type]
    assert drawn == [r for r in records if r in Draw(21, seed=1).of(records[::-1])]
    halves = Draw(20, balance=True, seed=1).of(records)
    assert [sum(r.label == label for r in halves) for label in (0, 1)] == [10, 10]
    assert len(Draw(1000, balance=True).of(records)) == 100
    assert Draw(1000).of(records) == records
    with pytest.raises(UsageError, match="--limit"):
        Draw(0)


def test_a_record_more_changes_at_most_one_that_is_drawn() -> None:
    records = [video(f"{i:03}", i % 2, f"made:{i}") for i in range(100)]
    for draw in (Draw(20), Draw(20, balance=True)):
        before = {record.video_id for record in draw.of(records[1:])}
        assert len(before - {record.video_id for record in draw.of(records)}) <= 1


def test_halves_that_cannot_be_drawn_are_said() -> None:
    with pytest.raises(UsageError, match="--limit wants 2 or more with it, got 1"):
        Draw(1, balance=True)
    with pytest.raises(UsageError, match="all 5 are real: leave it out, or add fake ones"):
        Draw(10, balance=True).of([video(f"{i}", 0, f"made:{i}") for i in range(5)])
    assert Draw(10, balance=True).of([]) == []


def test_leaks_are_found_across_stores() -> None:
    a = [video("a/x", 0, "dfdc:x")]
    b = [video("b/x", 1, "dfdc:x", person="dfdc:p+q")]
    assert find_leaks({"train": a, "test": b}).groups == ("dfdc:x",)
    assert find_leaks({"train": a}, {"test": b}).groups == ("dfdc:x",)
    assert find_leaks({"train": [*a, *b]}).groups == ()
    assert persons(b[0]) == ["dfdc:p", "dfdc:q"]


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: make_split(pairs(4), seed=seed),
        lambda seed: k_fold(pairs(4), k=2, seed=seed),
        lambda seed: Draw(2, seed=seed),
    ],
)
def test_a_seed_below_0_is_refused(make: Callable[[int], object]) -> None:
    make(0)
    with pytest.raises(UsageError, match="--seed wants 0 or more, got -1"):
        make(-1)
