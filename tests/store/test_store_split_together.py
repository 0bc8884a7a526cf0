"""Several stores dealt as one: what belongs together in different stores is on one side in all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from make_outcomes import FACE, make, outcome
from telltale.cli import app
from telltale.errors import LeakFound, OutputError, UsageError
from telltale.split import check_leaks, make_split, split_stores
from telltale.store import Store, StoreWriter, open_store
from telltale.types import Side, VideoRecord

N = 30


def record(root: Path, number: int, *, dataset: str, label: int, group: str) -> VideoRecord:
    path = root / f"{number:03d}.mp4"
    root.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{dataset} {number}".encode())
    return VideoRecord(
        dataset=dataset, video_id=f"v/{number:03d}", path=str(path), name=path.name, label=label, group_id=group
    )


def store(root: Path, name: str, *, numbers: range = range(N), **said: Side | None) -> Store:
    """Videos of the originals `numbers`: a real and a fake of each, or fakes only where it is called `fakes`."""
    records = [
        record(root / name, 2 * number + label, dataset=name, label=label, group=f"ffpp:{number:03d}")
        for number in numbers
        for label in (0, 1)
        if label or name != "fakes"
    ]
    return make(root / f"{name}.store", [replace(one, official_split=said.get("official")) for one in records])


@pytest.fixture
def two(tmp_path: Path) -> list[Store]:
    """Originals with their fakes, and other fakes of half of these originals."""
    return [store(tmp_path, "originals"), store(tmp_path, "fakes", numbers=range(N // 2))]


def leaks(stores: list[Store], name: str) -> int:
    return len(check_leaks(*(one.side_records(name) for one in stores), allow_leaks=True).groups)


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["split", *map(str, words)])
    return done.exit_code, done.stderr


def test_one_seed_deals_the_same_group_differently_in_two_stores(two: list[Store]) -> None:
    for one in two:
        assert run(one.path, "--name", "alone", "--seed", "0")[0] == 0
    assert leaks(two, "alone")


def test_the_command_that_a_leak_names_mends_it(two: list[Store]) -> None:
    for one in two:
        run(one.path, "--name", "main")
    with pytest.raises(LeakFound) as found:
        check_leaks(*(one.side_records("main") for one in two), stores=[one.path for one in two])
    command = found.value.message.split("`")[1].split()
    assert command == ["telltale", "split", *(str(one.path) for one in two), "--name", "NAME"]
    assert run(*command[2:-1], "main")[0] == 0
    assert leaks(two, "main") == 0
    assert sum(len(side) for side in two[1].side_records("main").values()) == N // 2


def test_several_stores_are_dealt_from_python_too(two: list[Store]) -> None:
    (dealt,) = split_stores(two, name="main", ratio="60/20/20", seed=3)
    assert [one.splits() for one in two] == [["main"], ["main"]]
    assert leaks(two, "main") == 0
    totals = {side: sum(sum(counts.get(side, (0, 0))) for counts in dealt.counts) for side in ("train", "val", "test")}
    assert [n / sum(totals.values()) for n in totals.values()] == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    assert two[1].split_notes("main")["notes"][-1] == "dealt together with originals.store"


def test_the_order_of_the_stores_does_not_matter(two: list[Store]) -> None:
    ways: list[dict[str, Any]] = [{"per_class": 10}, {"by": "random"}, {"folds": 3}]
    for how in ways:
        forth, back = (split_stores(stores, name="a", **how) for stores in (two, two[::-1]))
        assert [[one.sides for one in deal.splits] for deal in forth] == [
            [one.sides for one in deal.splits[::-1]] for deal in back
        ]


def test_a_store_alone_is_dealt_as_its_records_are(two: list[Store]) -> None:
    assert run(two[0].path, "--name", "alone", "--seed", 4, "--per-class", 20)[0] == 0
    split = make_split(two[0].records(), seed=4, per_class=20)
    sides = {one.video_id: side for side, found in two[0].side_records("alone").items() for one in found}
    assert sides == split.sides
    assert two[0].split_notes("alone")["notes"] == list(split.notes)


def test_a_video_in_two_stores_counts_once_and_is_on_one_side(tmp_path: Path) -> None:
    first = store(tmp_path, "originals")
    again = make(
        tmp_path / "cut-wider.store",
        [replace(one, path=str(tmp_path / one.dataset / one.name)) for one in first.records()],
    )
    (dealt,) = split_stores([first, again], name="main", seed=1)
    assert dealt.splits[0].sides == dealt.splits[1].sides == make_split(first.records(), seed=1).sides


def test_copies_of_a_file_under_other_names_are_on_one_side(tmp_path: Path) -> None:
    stores = []
    for name in ("a", "b"):
        records = [record(tmp_path / name, i, dataset=name, label=i % 2, group=f"{name}:{i}") for i in range(N)]
        for one in records:
            Path(one.path).write_bytes(b"the same in both " + one.name.encode())
        stores.append(make(tmp_path / f"{name}.store", records))
    (dealt,) = split_stores(stores, name="main", ratio="60/20/20")
    assert dealt.splits[0].sides == dealt.splits[1].sides


def test_folds_of_several_stores_hold_out_every_video_once(two: list[Store]) -> None:
    two[1].write_split("cv-7", replace(make_split(two[1].records()), by="fold 8 of 9"))
    code, said = run(*(one.path for one in two), "--name", "cv", "--folds", 3)
    assert code == 0
    assert [one.splits() for one in two] == [["cv-0", "cv-1", "cv-2"]] * 2
    assert f"cv-7 of {two[1].path}: removed" in said
    assert not any(leaks(two, f"cv-{fold}") for fold in range(3))
    for one in two:
        held_out = [r.video_id for fold in range(3) for r in one.side_records(f"cv-{fold}")["val"]]
        assert sorted(held_out) == sorted(r.video_id for r in one.records())


def test_the_counts_of_each_store_are_told_and_the_notes_once(two: list[Store]) -> None:
    code, said = run(*(one.path for one in two), "--name", "torn", "--by", "random")
    assert code == 0
    assert [line.split(": ")[0] for line in said.splitlines()[:2]] == [f"torn of {one.path}" for one in two]
    assert said.count("LEAK: ") == 1


def test_where_one_store_cannot_be_written_none_is(two: list[Store], monkeypatch: pytest.MonkeyPatch) -> None:
    split_stores(two[:1], name="main")
    kept = (two[0].path / "splits/main.parquet").read_bytes()
    write = Store.write_split

    def fails_second(one: Store, *given: object, **more: object) -> None:
        if one.path == two[1].path:
            raise OutputError(f"{one.path}: the disk is full")
        write(one, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "write_split", fails_second)
    with pytest.raises(OutputError, match="disk is full"):
        split_stores(two, name="main", seed=5)
    with pytest.raises(OutputError, match="disk is full"):
        split_stores(two, name="other")
    assert [one.splits() for one in two] == [["main"], []]
    assert (two[0].path / "splits/main.parquet").read_bytes() == kept


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--ratio", "1/1/1", "--per-class", "99"], "only 30 real"),
        (["--folds", "99"], "too few for 99 folds"),
        (["--by", "official"], "fakes.store names no official split: use --by group, or leave it out"),
    ],
)
def test_what_cannot_be_dealt_writes_no_split(tmp_path: Path, more: list[str], message: str) -> None:
    stores = [store(tmp_path, "originals", official="test"), store(tmp_path, "fakes", numbers=range(N // 2))]
    code, said = run(*(one.path for one in stores), "--name", "main", *more)
    assert (code, message in " ".join(said.split())) == (2, True)
    assert [one.splits() for one in stores] == [[], []]


def test_a_store_without_faces_or_named_twice_is_refused(tmp_path: Path, two: list[Store]) -> None:
    with pytest.raises(UsageError, match="is named twice"):
        split_stores([two[0], two[0]], name="main")
    writer = StoreWriter(tmp_path / "empty.store", settings=FACE)
    lone = record(tmp_path / "none", 0, dataset="none", label=0, group="none:0")
    writer.stage([outcome(lone, n_faces=0)])
    writer.compact([lone])
    with pytest.raises(UsageError, match=r"empty\.store has no video with a face: leave it out"):
        split_stores([two[0], open_store(writer.out)], name="main")
