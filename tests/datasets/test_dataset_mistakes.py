"""What people give by mistake: a level too high, another name for a column, a list that is out of date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import make_datasets
from make_datasets import mark, write
from telltale import datasets, inspect
from telltale._suffixes import OWN_OUTPUT
from telltale.bundle import CARD_NAME, MODEL_NAME
from telltale.cli import app
from telltale.errors import DataError
from telltale.evaluate import _comparison_files, _files
from telltale.explain import _faces as explained
from telltale.inspect import inspect_data
from telltale.prepare import prepare
from telltale.report import HTML_NAME, JSON_NAME
from telltale.split import k_fold, make_split
from telltale.store._format import MANIFEST, SHARDS, UNFINISHED


def groups(path: Path) -> dict[str, str]:
    return {record.name: record.group_id.partition(":")[2] for record in datasets.read(path).records}


def told(dataset: datasets.Dataset) -> list[tuple[str, str, str]]:
    return [(problem.kind, problem.path, problem.detail) for problem in dataset.problems]


def findings(path: Path) -> str:
    return "\n".join(finding.text for finding in inspect_data(path).findings)


# Lists


def test_a_column_of_another_name_is_reported_with_what_it_may_be(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "l.csv").write_text("path,label,group,person,fold,notes\na.mp4,real,g,p,test,x\nb.mp4,fake,g,p,,x\n")
    said = ["fold (did you mean split?)", "group (did you mean group_id?)", "notes", "person (did you mean person_id?)"]
    assert told(datasets.read(tmp_path / "l.csv")) == [("unused", "l.csv", detail) for detail in said]
    assert "4 columns of the list are not read: fold (did you mean split?), group" in findings(tmp_path / "l.csv")


def test_no_column_is_proposed_that_is_there(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4")
    line = {"path": "a.mp4", "label": "real", "group_id": "g", "group": "h"}
    (tmp_path / "l.jsonl").write_text(json.dumps(line))
    assert told(datasets.read(tmp_path / "l.jsonl")) == [("unused", "l.jsonl", "group")]


def test_deepfake_faces_without_its_originals_are_refused(tmp_path: Path) -> None:
    make_datasets.deepfake_faces(tmp_path, 4)
    listed = tmp_path / "metadata.csv"
    listed.write_text(listed.read_text().replace("label,original", "label,source"))
    with pytest.raises(DataError, match="no column original"):
        datasets.read(tmp_path)


def test_media_that_a_folders_own_list_leaves_out_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/a.mp4", "fake/b.mp4", "notes.txt", "real/c.jpg")
    (tmp_path / "manifest.csv").write_text("path,label\nreal/a.mp4,real\nfake/a.mp4,fake\nfake/b.mp4,\n")
    assert told(datasets.read(tmp_path)) == [
        ("unlabelled", "fake/b.mp4", "manifest.csv line 4"), ("unlabelled", "real/c.jpg", "not in manifest.csv"),
    ]  # fmt: skip
    assert len(datasets.read(tmp_path / "manifest.csv").problems) == 1, "a list by itself may be of some of the files"


def test_a_file_that_a_list_names_by_a_link_is_listed(tmp_path: Path) -> None:
    write(tmp_path, "disk/a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    (tmp_path / "manifest.csv").write_text("path,label\nlink/a.mp4,real\n")
    assert datasets.read(tmp_path).problems == ()


def test_a_list_in_another_encoding_is_told_to_be_saved_as_utf_8(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes("path,label\nM\xfcller.mp4,real\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"l\.csv is no UTF-8 text .*: save it as UTF-8"):
        datasets.read(tmp_path / "l.csv")


def test_labels_add_to_real_and_fake_and_leave_no_number_to_guess(tmp_path: Path) -> None:
    write(tmp_path, "Real/a.mp4", "fakes/a.mp4")
    assert datasets.read(tmp_path, labels={"fakes": 1}).counts() == {(0, None): 1, (1, None): 1}
    (tmp_path / "l.csv").write_text("path,label\nReal/a.mp4,1\nfakes/a.mp4,0\n")
    with pytest.raises(DataError, match="'0', which is none of 1, fake, real"):
        datasets.read(tmp_path / "l.csv", labels={"1": 0})


# Names


def test_a_fake_called_after_its_real_is_in_its_group(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/a_fake.mp4", "fake/swap/A_DeepFake.MP4", "fake/b_fake.mp4", "real/b_fake.mp4")
    assert groups(tmp_path) == {
        "real/a.mp4": "a", "fake/a_fake.mp4": "a", "fake/swap/A_DeepFake.MP4": "A_DeepFake",
        "fake/b_fake.mp4": "b_fake", "real/b_fake.mp4": "b_fake",
    }  # fmt: skip
    originals = {record.name: record.original_id for record in datasets.read(tmp_path).records}
    assert originals["fake/a_fake.mp4"] == originals["real/a.mp4"] is not None


def test_the_frames_of_a_fake_called_after_its_real_are_in_its_group(tmp_path: Path) -> None:
    write(tmp_path, *(f"{kind}/{n}.png" for kind in ("real/v1", "real/v2", "fake/v1_fake") for n in ("000", "001")))
    assert groups(tmp_path)["fake/v1_fake/001.png"] == "v1"


def test_a_list_pairs_by_name_only_what_it_gives_no_group(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4", "a_fake.mp4", "b.mp4", "b_fake.mp4")
    (tmp_path / "l.csv").write_text(
        f"path,label,group_id\na.mp4,real,\na_fake.mp4,fake,\nb.mp4,real,\nb_fake.mp4,fake,{tmp_path.name}:b_fake\n"
    )
    assert groups(tmp_path / "l.csv") == {"a.mp4": "a", "a_fake.mp4": "a", "b.mp4": "b", "b_fake.mp4": "b_fake"}


def test_fakes_in_no_reals_group_are_counted_by_split_and_inspect(tmp_path: Path) -> None:
    write(tmp_path, *(f"real/{i}.mp4" for i in range(20)), *(f"fake/{i}_swapped.mp4" for i in range(9)), "fake/9.mp4")
    records = datasets.read(tmp_path).records
    said = "9 of 10 fakes share no group with any real"
    assert said in "\n".join(make_split(records).notes)
    assert said in "\n".join(k_fold(records, k=2)[0].notes)
    assert said in findings(tmp_path)
    paired = [record for record in records if "swapped" not in record.name]
    assert "no group with" not in "\n".join(make_split(paired, ratio="80/20").notes)
    fakes = [record for record in records if record.label]
    assert "no group with" not in "\n".join(make_split(fakes).notes)


@pytest.mark.parametrize(
    "names",
    [
        ("real/00.mp4", "fake/00_fake.mp4"),
        ("real/0000.mp4", "fake/0000_fake.mp4", "fake/wav2lip/0000_fake.mp4"),
        ("real/0000.mp4", "fake/0000_fake.mp4", "real/portrait.jpg"),
    ],
)
def test_own_folders_do_not_pass_for_uadfv(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path, *names)
    dataset = datasets.read(tmp_path)
    assert (dataset.name, len(dataset), dataset.problems) == ("folder", len(names), ())
    fakes = [record for record in dataset.records if record.label]
    reals = {record.group_id for record in dataset.records if not record.label}
    assert all(record.group_id in reals and record.method in (None, "wav2lip") for record in fakes)


def test_uadfv_is_still_known_with_an_inspection_of_it_inside(tmp_path: Path) -> None:
    make_datasets.uadfv(tmp_path, 4, mark)
    write(tmp_path, "look/inspect.html", "look/inspect.json", "look/faces.png")
    dataset = datasets.read(tmp_path)
    assert (dataset.name, len(dataset), dataset.problems) == ("uadfv", 8, ())


# Levels


def test_sides_below_the_labels_are_sides_and_no_methods(tmp_path: Path) -> None:
    write(tmp_path, "real/train/a.mp4", "real/test/b.mp4", "fake/Train/a.mp4", "fake/Train/gan/a.jpg", "fake/val/b.mp4")
    write(tmp_path, "fake/gan/c.mp4")
    found = {record.name: (record.official_split, record.method) for record in datasets.read(tmp_path).records}
    assert found == {
        "real/train/a.mp4": ("train", None), "real/test/b.mp4": ("test", None), "fake/Train/a.mp4": ("train", None),
        "fake/Train/gan/a.jpg": ("train", "gan"), "fake/val/b.mp4": ("val", None), "fake/gan/c.mp4": (None, "gan"),
    }  # fmt: skip


def test_one_method_called_test_is_a_method(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/test/a.mp4", "fake/gan/a.mp4")
    found = {record.name: (record.official_split, record.method) for record in datasets.read(tmp_path).records}
    assert found["fake/test/a.mp4"] == (None, "test")


def test_a_labelled_folder_that_holds_both_labels_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "mine/fake/a.mp4", "mine/real/a.mp4")
    for format, labels in (("auto", {"mine": 1}), ("folder", {"mine": 1}), ("folder", {"mine": 0}), ("folder", {})):
        with pytest.raises(DataError, match=rf"mine holds a folder (real|fake) itself: give {tmp_path}/mine, and"):
            datasets.read(tmp_path, format=format, labels=labels)
    write(tmp_path / "both", "real/a.mp4", "real/x/Fake/a.mp4")
    with pytest.raises(DataError, match=r"real/x/Fake/a\.mp4 in .* lies in real and in Fake"):
        datasets.read(tmp_path / "both")


def test_what_telltale_wrote_into_a_data_set_is_none_of_it(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/a.mp4")
    for number, marks in enumerate(OWN_OUTPUT):
        write(tmp_path / f"out{number}", "plot.png", *(f"{name}/x" if name == SHARDS else name for name in marks))
    dataset = datasets.read(tmp_path)
    assert (len(dataset), dataset.problems) == (2, ())


def test_the_marks_of_own_output_are_what_is_written() -> None:
    marks = [set(marks) for marks in OWN_OUTPUT]
    assert {inspect.HTML_NAME, inspect.JSON_NAME} in marks
    assert {HTML_NAME, JSON_NAME} in marks
    assert {CARD_NAME, MODEL_NAME} in marks
    assert {MANIFEST, SHARDS} in marks
    assert {UNFINISHED} in marks
    assert {_files._JSON_NAME, "videos.csv"} in marks
    assert {_comparison_files._JSON_NAME, "differences.csv"} in marks
    assert {explained.JSON_NAME} in marks


@pytest.mark.parametrize("up", ["original_sequences", "original_sequences/youtube"])
def test_a_level_too_low_names_the_right_folder(tmp_path: Path, up: str) -> None:
    make_datasets.faceforensics(tmp_path / "FF", 4, mark)
    with pytest.raises(DataError, match=rf"looks like no data set, but {tmp_path}/FF looks like faceforensics: give"):
        datasets.read(tmp_path / "FF" / up)
    with pytest.raises(DataError, match=r"faceforensics has them \(original_sequences/.*\); .*/FF looks like facef"):
        datasets.read(tmp_path / "FF" / up, format="faceforensics")


def test_a_level_too_high_names_the_right_folder(tmp_path: Path) -> None:
    make_datasets.folder(tmp_path / "a/mine", 4, mark)
    make_datasets.dfdc(tmp_path / "dfdc/all", 4, mark)
    with pytest.raises(DataError, match=rf"but {tmp_path}/a/mine looks like folder: give that"):
        datasets.read(tmp_path / "a")
    with pytest.raises(DataError, match=r"a/mine looks like folder, .*dfdc/all looks like dfdc: give one of them"):
        datasets.read(tmp_path)


def test_one_labels_folder_names_the_folder_above(tmp_path: Path) -> None:
    write(tmp_path, "set/real/a.mp4", "set/fake/a.mp4", "set/other/a.mp4")
    with pytest.raises(DataError, match=rf"but {tmp_path}/set looks like folder: give that"):
        datasets.read(tmp_path / "set/real")
    with pytest.raises(DataError, match="looks like none of"):
        datasets.read(tmp_path / "set/other")


def test_a_list_that_lies_in_the_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path, "clips/a.mp4")
    (tmp_path / "labels.csv").write_text("path,label\nclips/a.mp4,real\n")
    (tmp_path / "other.csv").write_text("name,size\n")
    with pytest.raises(DataError, match=rf"but {tmp_path}/labels.csv is a list: give that"):
        datasets.read(tmp_path)


# What is told of it


def test_dfdc_a_part_without_its_list_is_named(tmp_path: Path) -> None:
    make_datasets.dfdc(tmp_path, 4, mark)
    (tmp_path / "dfdc_train_part_1/metadata.json").unlink()
    problems = told(datasets.read(tmp_path))
    assert problems[0] == ("missing", "dfdc_train_part_1/metadata.json", "the list of a part of 6 videos")
    assert "1 file is listed but not there: dfdc_train_part_1/metadata.json" in findings(tmp_path)


def test_prepare_names_what_failed_and_counts_problems_by_kind(tmp_path: Path) -> None:
    write(tmp_path, *(f"set/real/{i}.mp4" for i in range(5)), "set/real/[x].txt", "set/fake/a.mp4")
    (tmp_path / "set/fake/a.mp4").write_bytes((tmp_path / "set/real/0.mp4").read_bytes())
    result = CliRunner().invoke(app, ["prepare", str(tmp_path / "set"), "--out", str(tmp_path / "s.store")])
    assert result.exit_code == 0, result.output
    said = result.output.replace("\n", " ")
    assert "6 failed with unsupported_container: fake/a.mp4, real/0.mp4, real/1.mp4, 3 more" in said
    assert "1 there with both labels: real/0.mp4 (same bytes as fake/a.mp4)" in said
    assert "1 unknown: real/[x].txt" in said
    assert "failed in `prepare`: fake/a.mp4 (unsupported_container), real/0.mp4 (" in findings(tmp_path / "s.store")


def test_a_set_without_a_usable_file_is_told_where_its_layout_has_them(tmp_path: Path) -> None:
    write(tmp_path / "set", "original_sequences/youtube/c23/000.mp4", "manipulated_sequences/Deepfakes/c23/000_003.mp4")
    with pytest.raises(DataError, match=r"unknown .*; faceforensics has its files at original_sequences/youtube/c23/v"):
        prepare(tmp_path / "set", tmp_path / "s.store")
    assert "no file has a label. faceforensics has its files at original_sequences/" in findings(tmp_path / "set")


def test_a_rule_for_groups_is_for_own_folders_only(tmp_path: Path) -> None:
    make_datasets.uadfv(tmp_path / "uadfv", 4, mark)
    write(tmp_path / "mine", "real/anna_1.mp4", "fake/anna_2.mp4")
    runner = CliRunner()
    result = runner.invoke(app, ["inspect", str(tmp_path / "mine"), "--groups", "([a-z]+)_"])
    assert "2 videos from 1 original" in result.output
    result = runner.invoke(app, ["inspect", str(tmp_path / "uadfv"), "--groups", "([a-z]+)_"])
    assert (result.exit_code, "uadfv says itself what belongs together" in result.output) == (2, True)


def test_same_bytes_with_the_other_label_is_said(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/b.mp4")
    (tmp_path / "fake/b.mp4").write_bytes((tmp_path / "real/a.mp4").read_bytes())
    (problem,) = datasets.read(tmp_path).problems
    assert (problem.kind, problem.detail) == ("contradictory", "same bytes as fake/b.mp4")
    (finding,) = (one for one in inspect_data(tmp_path).findings if "both labels" in one.text)
    assert (finding.level, finding.text) == (
        "bad",
        "1 file is there with both labels: real/a.mp4 (same bytes as fake/b.mp4).",
    )


def test_copies_are_contradictory_by_their_labels_not_by_their_names(tmp_path: Path) -> None:
    names = "set/real/a, labelled otherwise.mp4", "set/real/b.mp4"
    write(tmp_path, *names)
    (tmp_path / names[1]).write_bytes((tmp_path / names[0]).read_bytes())
    result = CliRunner().invoke(app, ["prepare", str(tmp_path / "set"), "--out", str(tmp_path / "s.store")])
    assert "1 there twice: real/b.mp4" in result.output
    assert "both labels" not in result.output + findings(tmp_path / "set") + findings(tmp_path / "s.store")
