"""The traps of each layout, one test each; what all readers share is in contract/test_datasets.py."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import make_datasets
from make_datasets import mark, write
from telltale import datasets
from telltale.errors import CorruptFile, DataError, FileMissing, LeakFound, UnknownLabel, UnknownName, UsageError
from telltale.split import check_leaks, find_leaks, make_split
from telltale.types import FaceRecord, VideoRecord


def by_name(dataset: datasets.Dataset) -> dict[str, datasets.Record]:
    return {record.name: record for record in dataset.records}


def kinds(dataset: datasets.Dataset) -> list[tuple[str, str]]:
    return [(problem.kind, problem.path) for problem in dataset.problems]


def test_a_folder_like_nothing_is_an_error_that_lists_the_formats(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4")
    with pytest.raises(DataError, match=r"none of celebdf, .*uadfv.*--format"):
        datasets.read(tmp_path)


def test_two_matches_are_an_error_that_lists_them(tmp_path: Path) -> None:
    write(tmp_path, "real/a.mp4", "fake/a.mp4", "dataset.json")
    with pytest.raises(DataError, match="dfdcp and folder: choose one with --format"):
        datasets.read(tmp_path)
    assert datasets.read(tmp_path, format="folder").counts() == {(0, None): 1, (1, None): 1}


def test_an_unknown_format_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean faceforensics"):
        datasets.read(tmp_path, format="faceforensic")


def test_a_path_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        datasets.read(tmp_path / "nowhere")


def test_labels_on_the_command_line_are_understood() -> None:
    assert datasets.parse_labels("0=real, 1=Fake") == {"0": 0, "1": 1}
    with pytest.raises(UsageError, match="NAME=real"):
        datasets.parse_labels("0=real,1=forged")


def test_faceforensics_the_same_name_in_four_methods_is_four_videos(tmp_path: Path) -> None:
    methods = ["Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"]
    write(tmp_path, *(f"manipulated_sequences/{method}/c23/videos/000_003.mp4" for method in methods))
    dataset = datasets.read(tmp_path)
    assert [record.video_id for record in dataset.records] == [f"{method}/c23/000_003" for method in methods]
    assert dataset.counts() == {(1, method): 1 for method in methods}


def test_faceforensics_both_names_of_a_pair_stay_together(tmp_path: Path) -> None:
    tree = "original_sequences/youtube/c23/videos"
    write(tmp_path, f"{tree}/000.mp4", f"{tree}/003.mp4", f"{tree}/500.mp4")
    write(tmp_path, "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4")
    groups = {name.rpartition("/")[2]: record.group_id for name, record in by_name(datasets.read(tmp_path)).items()}
    assert groups == {
        "000.mp4": "ffpp:000+003", "003.mp4": "ffpp:000+003", "000_003.mp4": "ffpp:000+003", "500.mp4": "ffpp:500"
    }  # fmt: skip


def test_faceforensics_a_listed_pair_stands_for_both_directions(tmp_path: Path) -> None:
    write(tmp_path, "manipulated_sequences/Deepfakes/c23/videos/003_000.mp4")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/test.json").write_text(json.dumps([["000", "003"], ["010", "011"]]))
    dataset = datasets.read(tmp_path)
    assert [record.official_split for record in dataset.records] == ["test"]
    missing = [path.rpartition("/")[2] for kind, path in kinds(dataset) if kind == "missing"]
    assert missing == ["000_003.mp4", "010_011.mp4", "011_010.mp4"]


def test_faceforensics_masks_are_left_out_and_odd_case_is_read(tmp_path: Path) -> None:
    write(tmp_path, "manipulated_sequences/deepfakes/C23/videos/000_003.MP4")
    write(tmp_path, "manipulated_sequences/deepfakes/masks/videos/000_003.mp4")
    dataset = datasets.read(tmp_path)
    assert [record.video_id for record in dataset.records] == ["Deepfakes/c23/000_003"]
    assert not dataset.problems


def test_faceforensics_a_name_that_tells_no_original_is_no_record(tmp_path: Path) -> None:
    write(tmp_path, "manipulated_sequences/Deepfakes/c23/videos/final_cut.mp4")
    dataset = datasets.read(tmp_path)
    assert not dataset.records
    assert kinds(dataset)[0][0] == "unknown"


def test_dfd_in_the_same_tree_is_read_with_it(tmp_path: Path) -> None:
    make_datasets.faceforensics(tmp_path, 4, mark)
    expected = make_datasets.dfd(tmp_path, 4, lambda k: mark(1000 + k))
    dataset = datasets.read(tmp_path)
    assert dataset.name == "faceforensics"
    found = by_name(dataset)
    for name, label in expected.labels.items():
        assert (found[name].dataset, found[name].label) == ("dfd", label)


def test_dfd_everybody_swaps_with_everybody_so_the_group_is_the_target_and_the_rest_is_counted(tmp_path: Path) -> None:
    make_datasets.dfd(tmp_path, 12, mark)
    dataset = datasets.read(tmp_path)
    split = make_split(dataset.records, ratio="60/20/20")
    assert split.kept_together == "group"
    assert not split.leaked_groups
    assert split.shared_persons
    assert any("persons are on more than one side" in note for note in split.notes)


def test_celebdf_in_its_list_1_means_real(tmp_path: Path) -> None:
    write(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    (tmp_path / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id0_0000.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    assert {r.name: (r.label, r.official_split) for r in datasets.read(tmp_path).records} == {
        "Celeb-real/id0_0000.mp4": (0, "test"),
        "Celeb-synthesis/id0_id1_0000.mp4": (1, "test"),
    }
    (tmp_path / "List_of_testing_videos.txt").write_text("1 Celeb-synthesis/id0_id1_0000.mp4\n")
    with pytest.raises(DataError, match="id0_id1_0000"):
        datasets.read(tmp_path)


def test_celebdf_odd_copies_with_a_videos_level_other_case_and_windows_lists_are_the_same(tmp_path: Path) -> None:
    write(tmp_path, "celeb-real/videos/id0_0000.mp4", "Youtube-real/videos/00170.mp4")
    (tmp_path / "List_of_testing_videos.txt").write_text("1 YouTube-real\\00170.mp4\r\n1 YouTube-real/00999.mp4\r\n")
    dataset = datasets.read(tmp_path)
    assert {r.video_id: r.official_split for r in dataset.records} == {
        "YouTube-real/00170": "test",
        "Celeb-real/id0_0000": "train",
    }
    assert kinds(dataset) == [("missing", "YouTube-real/00999.mp4")]


def test_celebdf_a_fake_goes_with_its_targets_video_and_names_both_persons(tmp_path: Path) -> None:
    write(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/FaceSwap/SimSwap/id0_id1_0000.mp4")
    real, fake = datasets.read(tmp_path).records
    assert real.group_id == fake.group_id == "celebdf:id0_0000"
    assert (real.person_id, fake.person_id, fake.method) == ("celebdf:id0", "celebdf:id0+id1", "FaceSwap/SimSwap")


def test_dfdc_an_original_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    listed = {
        "a.mp4": {"label": "FAKE", "split": "train", "original": "gone.mp4"},
        "b.mp4": {"label": "FAKE", "split": "train"},
        "c.mp4": {"label": "REAL", "split": "train", "original": None},
        "e.mp4": {"label": "REAL"},
    }
    (tmp_path / "metadata.json").write_text(json.dumps(listed))
    dataset = datasets.read(tmp_path)
    assert [record.group_id for record in dataset.records] == ["dfdc:gone", "dfdc:b", "dfdc:c"]
    assert kinds(dataset) == [("missing", "e.mp4"), ("unlabelled", "d.mp4")]


def test_dfdc_in_the_test_sets_list_1_means_fake(tmp_path: Path) -> None:
    write(tmp_path, "test/a.mp4", "test/b.mp4", "test/c.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\nz.mp4,0\n")
    (tmp_path / "test/metadata.json").write_text(json.dumps({"a.mp4": {"augmentations": []}}))
    dataset = datasets.read(tmp_path)
    assert {r.name: (r.label, r.official_split) for r in dataset.records} == {
        "test/a.mp4": (1, "test"),
        "test/b.mp4": (0, "test"),
    }
    assert kinds(dataset) == [("missing", "z.mp4"), ("unlabelled", "test/c.mp4")]


def test_dfdc_an_unknown_label_stops_with_the_files_name(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4")
    (tmp_path / "metadata.json").write_text(json.dumps({"a.mp4": {"label": "MAYBE"}}))
    with pytest.raises(UnknownLabel, match=r"a\.mp4 .*'MAYBE'.*--labels MAYBE=fake"):
        datasets.read(tmp_path)
    assert datasets.read(tmp_path, labels={"maybe": 1}).counts() == {(1, None): 1}


def test_dfdc_parts_stay_whole_where_there_are_enough(tmp_path: Path) -> None:
    for part in range(20):
        folder = tmp_path / f"dfdc_train_part_{part:02d}"
        write(folder, f"r{part}.mp4", f"f{part}.mp4")
        listed = {f"r{part}.mp4": {"label": "REAL"}, f"f{part}.mp4": {"label": "FAKE", "original": f"r{part}.mp4"}}
        (folder / "metadata.json").write_text(json.dumps(listed))
    records = datasets.read(tmp_path).records
    assert records[0].person_id == "dfdc:part_0"
    split = make_split(records)
    assert (split.kept_together, split.shared_persons) == ("person", ())


def test_dfdcp_windows_separators_and_a_videos_level(tmp_path: Path) -> None:
    write(tmp_path, "method_A/10/videos/10_A/20_10_A_001.mp4", "original_videos/10/10_A_001.mp4")
    listed = {
        "method_A\\10\\10_A\\20_10_A_001.mp4": {"label": "fake", "set": "train"},
        "original_videos/10/10_A_001.mp4": {"label": "REAL", "set": "test"},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(listed))
    fake, real = datasets.read(tmp_path).records
    assert (fake.label, fake.group_id, fake.person_id, fake.method) == (1, "dfdcp:10", "dfdcp:10+20", "method_A")
    assert (real.label, real.group_id, real.official_split) == (0, "dfdcp:10", "test")


def test_deepfake_faces_are_read_from_zips_as_from_the_folder(tmp_path: Path) -> None:
    make_datasets.deepfake_faces(tmp_path, 4)
    packed = [r for r in datasets.read(tmp_path).records if isinstance(r, FaceRecord) and r.member]
    assert len(packed) == 4
    for number, record in enumerate(packed):
        assert record.read_bytes() in {make_datasets.tiny_picture(k) for k in range(9)}, number


def test_deepfake_faces_a_flipped_bit_in_a_zip_is_caught(tmp_path: Path) -> None:
    make_datasets.deepfake_faces(tmp_path, 4)
    record = next(r for r in datasets.read(tmp_path).records if isinstance(r, FaceRecord) and r.member)
    assert record.member is not None
    damaged = bytearray(Path(record.path).read_bytes())
    damaged[record.member.offset + 100] ^= 1
    Path(record.path).write_bytes(damaged)
    with pytest.raises(CorruptFile, match="copy it anew"):
        record.read_bytes()
    Path(record.path).unlink()
    with pytest.raises(FileMissing):
        record.read_bytes()


def test_deepfake_faces_real_ones_lie_as_the_readme_says(shared: Path) -> None:
    dataset = datasets.read(shared / "data/dfdc_faces")
    assert dataset.counts() == {(0, None): 13056, (1, None): 23124}
    assert {problem.kind for problem in dataset.problems} == {"duplicate"}
    split = make_split(dataset.records, per_class=8000, seed=42)
    assert split.counts(dataset.records) == {"train": (6400, 6400), "val": (800, 800), "test": (800, 800)}
    assert not split.leaked_groups


def test_deeperforensics_sources_are_not_the_real_class(tmp_path: Path) -> None:
    make_datasets.deeperforensics(tmp_path, 4, mark)
    assert {record.label for record in datasets.read(tmp_path).records} == {1}


def test_a_deeperforensics_fake_of_a_faceforensics_test_video_is_a_leak(tmp_path: Path) -> None:
    write(tmp_path / "ff", "original_sequences/youtube/c23/videos/003.mp4")
    write(tmp_path / "ff", "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4")
    write(tmp_path / "df", "manipulated_videos/end_to_end/003_M101.mp4")
    sides = {"train": datasets.read(tmp_path / "df").records, "test": datasets.read(tmp_path / "ff").records}
    assert find_leaks(sides).groups == ("ffpp:003",)
    with pytest.raises(LeakFound, match="ffpp:003"):
        check_leaks(sides)
    assert check_leaks(sides, allow_leaks=True).groups == ("ffpp:003",)


def test_groups_that_share_a_file_are_still_found_in_other_stores(tmp_path: Path) -> None:
    write(tmp_path / "ff", *(f"original_sequences/youtube/c23/videos/{name}.mp4" for name in ("003", "500", "700")))
    tree = tmp_path / "ff/original_sequences/youtube/c23/videos"
    (tree / "500.mp4").write_bytes((tree / "003.mp4").read_bytes())
    write(tmp_path / "df", "manipulated_videos/end_to_end/500_M101.mp4")
    real = datasets.read(tmp_path / "ff").records
    assert [record.group_id for record in real] == ["ffpp:003+500", "ffpp:003+500", "ffpp:700"]
    assert find_leaks({"train": real, "test": datasets.read(tmp_path / "df").records}).groups == ("ffpp:500",)


def test_uadfv_is_known_from_a_plain_folder_by_its_fakes_names(tmp_path: Path) -> None:
    write(tmp_path, "real/0000.mp4", "fake/0000_fake.mp4", "fake/notes.txt")
    dataset = datasets.read(tmp_path)
    assert dataset.name == "uadfv"
    assert {record.group_id for record in dataset.records} == {"uadfv:0000"}
    assert kinds(dataset) == [("unknown", "fake/notes.txt")]


@pytest.mark.parametrize(
    "names",
    [
        ("real/a.mp4", "fake/a_fake.mp4", "fake/another.mp4"),
        ("real/a.mp4", "fake/b_fake.mp4", "fake/c_fake.mp4"),
        ("real/a.jpg", "fake/a_fake.jpg"),
    ],
)
def test_uadfv_claims_no_folder_of_which_it_would_drop_a_fake(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path, *names)
    dataset = datasets.read(tmp_path)
    assert (dataset.name, len(dataset)) == ("folder", len(names))


def test_folder_other_names_need_to_be_explained(tmp_path: Path) -> None:
    write(tmp_path, "0/a.mp4", "1/a.mp4", "stray.mp4")
    with pytest.raises(UnknownLabel, match=r"^0/a\.mp4 .*--labels 0=fake"):
        datasets.read(tmp_path, format="folder")
    dataset = datasets.read(tmp_path, labels={"0": 0, "1": 1})
    assert {record.name: record.label for record in dataset.records} == {"0/a.mp4": 0, "1/a.mp4": 1}
    assert kinds(dataset) == [("unlabelled", "stray.mp4")]


def test_folder_pictures_and_videos_and_sides(tmp_path: Path) -> None:
    write(tmp_path, "train/real/a.JPG", "valid/Fake/b.mov", "test/REAL/c.webp")
    records = datasets.read(tmp_path).records
    assert {record.name: record.official_split for record in records} == {
        "train/real/a.JPG": "train",
        "valid/Fake/b.mov": "val",
        "test/REAL/c.webp": "test",
    }
    assert [type(record) for record in records] == [FaceRecord, FaceRecord, VideoRecord]


def test_folder_a_rule_for_groups(tmp_path: Path) -> None:
    write(tmp_path, "real/anna/1.jpg", "real/anna/2.jpg", "fake/anna_1.jpg")
    records = datasets.read(tmp_path, groups=r"(?:real|fake)/([a-z]+)").records
    assert len({record.group_id for record in records}) == 1
    for finds_nothing in ("otto", r"anna(/otto)?"):
        with pytest.raises(UsageError, match="finds nothing"):
            datasets.read(tmp_path, groups=finds_nothing)
    with pytest.raises(UsageError, match="no regular expression"):
        datasets.read(tmp_path, groups="(")


def test_folder_links_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "disk", "a.mp4")
    write(tmp_path / "set", "fake/b.mp4")
    (tmp_path / "set/real").symlink_to(tmp_path / "disk")
    (tmp_path / "set/fake/loop").symlink_to(tmp_path / "set/fake")
    assert sorted(by_name(datasets.read(tmp_path / "set"))) == ["fake/b.mp4", "real/a.mp4"]


def test_folder_a_folder_keeps_its_own_name_where_a_link_leads_to_it_too(tmp_path: Path) -> None:
    write(tmp_path, "real/b/1.mp4", "fake/1.mp4")
    (tmp_path / "real/a").symlink_to(tmp_path / "real/b")
    dataset = datasets.read(tmp_path)
    assert sorted(by_name(dataset)) == ["fake/1.mp4", "real/b/1.mp4"]
    assert kinds(dataset) == [("duplicate", "real/a")]
    assert dataset.problems[0].detail == "the same folder as real/b"


def test_manifest_a_line_separator_in_a_name_ends_no_line(tmp_path: Path) -> None:
    write(tmp_path, "a\u2028b.mp4")
    line = json.dumps({"path": "a\u2028b.mp4", "label": "real"}, ensure_ascii=False)
    (tmp_path / "list.jsonl").write_bytes(f"{line}\r\n".encode())
    assert list(by_name(datasets.read(tmp_path / "list.jsonl"))) == ["a\u2028b.mp4"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_manifest_reads_every_kind_of_list(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, "a.mp4", "b.png")
    rows = [
        {"path": "a.mp4", "label": "real", "method": None, "group_id": "g1", "person_id": "p", "split": "validation"},
        {"path": str(tmp_path / "b.png"), "label": "1", "method": "gan", "group_id": None, "person_id": None},
    ]  # fmt: skip
    path = tmp_path / f"my list.{suffix}"
    if suffix == "csv":
        path.write_text("path;label;method;group_id;person_id;split\na.mp4;real;;g1;p;validation\nb.png;1;gan;;;\n")
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)
    a, b = datasets.read(path).records
    assert (a.name, a.label, a.group_id, a.person_id, a.official_split) == ("a.mp4", 0, "g1", "p", "val")
    assert (b.name, b.label, b.method, b.group_id) == ("b.png", 1, "gan", f"{tmp_path.name}:b")
    assert isinstance(b, FaceRecord)


def test_manifest_an_unknown_label_stops_with_the_files_name_and_line(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4")
    (tmp_path / "manifest.csv").write_text("path,label\na.mp4,perhaps\n")
    with pytest.raises(UnknownLabel, match=r"a\.mp4 \(manifest\.csv line 2\) is labelled 'perhaps'"):
        datasets.read(tmp_path)


def test_manifest_problems_are_reported_by_line(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "manifest.csv").write_text("path,label\na.mp4,real\na.mp4,real\nb.mp4,\nc.mp4,fake\n")
    assert kinds(datasets.read(tmp_path)) == [("duplicate", "a.mp4"), ("missing", "c.mp4"), ("unlabelled", "b.mp4")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.mp4,real\na.mp4,fake\n", "other label"),
        ("path,label\na.mp4,real\n./a.mp4,fake\n", "a.mp4 was listed before with the other label"),
        ("path,label,split\na.mp4,real,holdout\n", "train, val or test"),
        ("file,label\na.mp4,real\n", "there must be a path and a label"),
    ],
)
def test_manifest_contradictions_stop(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "a.mp4")
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        datasets.read(tmp_path)


@pytest.mark.parametrize("n_more", [0, 3, 40, 20_000])
def test_manifest_a_quote_that_is_not_closed_is_named_by_its_line(tmp_path: Path, n_more: int) -> None:
    write(tmp_path, "a.mp4")
    lines = ["path,label", "a.mp4,real", '"b.mp4,fake', *("some other.mp4,real" for _ in range(n_more))]
    (tmp_path / "q.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"^q\.csv line 3: a quote is not closed .*close it"):
        datasets.read(tmp_path / "q.csv")


@pytest.mark.parametrize("name", ["l.csv", "l.jsonl"])
def test_manifest_lines_are_counted_as_an_editor_counts_them(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.mp4", "b.mp4")
    csv_lines = ["path,label", '"a.mp4",real', "", ",", "b.mp4,fake", "gone.mp4,fake", ",,"]
    rows = ("a.mp4", "real"), ("b.mp4", "fake"), ("gone.mp4", "fake")
    a, b, gone = (json.dumps({"path": path, "label": label}) for path, label in rows)
    lines = csv_lines if name == "l.csv" else ["", a, "", "", b, gone, ""]
    (tmp_path / name).write_text("\n".join(lines))
    found = datasets.read(tmp_path / name)
    assert [record.name for record in found.records] == ["a.mp4", "b.mp4"]
    assert [(problem.path, problem.detail) for problem in found.problems] == [("gone.mp4", f"{name} line 6")]


def test_manifest_a_broken_line_of_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text('{"path": "a.mp4", "label": 0}\n\n{"path": }\n')
    with pytest.raises(DataError, match="line 3, column 10"):
        datasets.read(tmp_path / "l.jsonl")


def test_manifest_a_name_too_long_for_any_file_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4")
    (tmp_path / "q.csv").write_text(f"path,label\na.mp4,real\n{'b' * 5000}.mp4,fake\n")
    assert kinds(datasets.read(tmp_path / "q.csv")) == [("missing", f"{'b' * 5000}.mp4")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset.json", "[", "no readable JSON"),
        ("dataset.json", "[]", "object of videos"),
        ("metadata.json", '{"a.mp4": 3}', "object with a label"),
        ("metadata.csv", "video,label\n", "no column videoname"),
    ],
)
def test_a_broken_list_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "faces_224").mkdir()
    with pytest.raises(DataError, match=message):
        datasets.read(tmp_path)
