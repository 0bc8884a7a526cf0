"""What every reader of a data set must do. A new reader adds a maker to make_datasets.py and passes this unedited."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import make_datasets
from telltale import datasets
from telltale.errors import UsageError
from telltale.split import check_leaks, k_fold, make_split
from telltale.types import FaceRecord

FORMATS = datasets.names()


@pytest.fixture(params=FORMATS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, make_datasets.Expected]:
    name = request.param
    root = tmp_path / "the set"
    return name, root, make_datasets.MAKERS[name](root, 4, make_datasets.content_of(name))


Made = tuple[str, Path, make_datasets.Expected]


def test_every_reader_has_a_made_tree() -> None:
    assert set(make_datasets.MAKERS) == set(FORMATS)


def test_every_reader_says_in_a_line_where_its_files_lie() -> None:
    assert len({datasets.layout(name) for name in FORMATS}) == len(FORMATS)


def test_the_layout_is_recognised_and_no_other_is(made: Made) -> None:
    name, root, _ = made
    assert datasets.recognise(root) == [name]
    assert datasets.read(root).name == name


def test_every_file_gets_its_label(made: Made) -> None:
    _, root, expected = made
    assert {record.name: record.label for record in datasets.read(root).records} == expected.labels


def test_a_fake_is_in_its_originals_group(made: Made) -> None:
    _, root, expected = made
    group = {record.name: record.group_id for record in datasets.read(root).records}
    for names in expected.together:
        assert len({group[name] for name in names}) == 1
    assert len(set(group.values())) > 1


def test_official_sides_are_kept(made: Made) -> None:
    _, root, expected = made
    sides = {record.name: record.official_split for record in datasets.read(root).records}
    assert {name: sides[name] for name in expected.sides} == expected.sides


def test_records_are_sound(made: Made) -> None:
    _, root, _ = made
    records = datasets.read(root).records
    assert len({record.video_id for record in records}) == len(records)
    assert [record.name for record in records] == sorted(record.name for record in records)
    for record in records:
        assert Path(record.path).is_file()
        assert "\\" not in record.name
        assert not Path(record.name).is_absolute()
        assert ":" in record.group_id or record.dataset == root.name
        if isinstance(record, FaceRecord):
            assert record.read_bytes()[:2] == b"\xff\xd8"
        assert pickle.loads(pickle.dumps(record)) == record


def test_reading_twice_gives_the_same(made: Made) -> None:
    _, root, _ = made
    assert datasets.read(root) == datasets.read(root)


def test_a_whole_tree_has_no_problems_but_what_the_layout_leaves_out(made: Made) -> None:
    name, root, _ = made
    left_out = [("unlabelled", "source_videos")] if name == "deeperforensics" else []
    assert [(problem.kind, problem.path) for problem in datasets.read(root).problems] == left_out


def test_a_file_outside_the_layout_is_reported(made: Made) -> None:
    name, root, _ = made
    if name == "manifest":
        pytest.skip("a manifest names its files; what else lies about is not its business")
    (root / "notes.txt").write_text("hello")
    (root / ".DS_Store").write_text("hidden files are nobody's problem")
    problems = [problem for problem in datasets.read(root).problems if problem.path == "notes.txt"]
    assert [problem.kind for problem in problems] == ["unknown"]


def test_a_file_that_is_there_twice_is_reported_and_shares_its_group(made: Made) -> None:
    _, root, _ = made
    records = [r for r in datasets.read(root).records if not (isinstance(r, FaceRecord) and r.member)]
    a = records[0]
    b = next(r for r in records if r.group_id != a.group_id and r.label == a.label)
    Path(b.path).write_bytes(Path(a.path).read_bytes())
    again = datasets.read(root)
    doubles = [problem for problem in again.problems if problem.kind == "duplicate"]
    assert [problem.path for problem in doubles] == [max(a.name, b.name)]
    group = {record.name: record.group_id for record in again.records}
    assert group[a.name] == group[b.name]


def test_a_missing_file_is_reported_where_a_list_names_it(made: Made) -> None:
    name, root, _ = made
    if name in ("folder", "dfd", "uadfv", "ffiw", "celebdf"):
        victim = next(r for r in datasets.read(root).records if not r.label and "YouTube" not in r.name)
        if name == "folder":
            pytest.skip("a folder has no list: what is not there was never there")
    else:
        victim = next(
            r
            for r in datasets.read(root).records
            if not (isinstance(r, FaceRecord) and r.member) and "c40" not in r.name
        )
    Path(victim.path).unlink()
    again = datasets.read(root)
    assert victim.name not in {record.name for record in again.records}
    missing = [problem.path for problem in again.problems if problem.kind == "missing"]
    assert missing, again.problems
    assert Path(victim.name).name.casefold() in {Path(path).name.casefold() for path in missing}


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_no_group_is_on_two_sides_of_any_split(name: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(4, 9), "originals")
    with tempfile.TemporaryDirectory() as folder:
        content = make_datasets.tiny_picture if name == "deepfake_faces" else make_datasets.mark
        make_datasets.MAKERS[name](Path(folder), n, content)
        names = sorted(path.relative_to(folder) for path in Path(folder).rglob("*.mp4"))
        for path in data.draw(st.sets(st.sampled_from(names), max_size=3), "lost files") if names else ():
            (Path(folder) / path).unlink()
        records = datasets.read(folder, format=name).records
    seed = data.draw(st.integers(0, 5), "seed")
    ratio = data.draw(st.sampled_from(["80/10/10", "60/20/20", "80/20", "90/10", "75/25"]), "ratio")
    n_sides = len(ratio.split("/"))
    if len({record.group_id for record in records}) < n_sides:
        with pytest.raises(UsageError, match="group"):
            make_split(records, ratio=ratio, seed=seed)
        return
    splits = [make_split(records, ratio=ratio, seed=seed), *k_fold(records, k=2, seed=seed)]
    for split in splits:
        assert set(split.sides) == {record.video_id for record in records}
        leaks = check_leaks({side: split.select(records, side) for side in ("train", "val", "test")})
        assert leaks.groups == split.leaked_groups == ()
        assert leaks.persons == split.shared_persons
