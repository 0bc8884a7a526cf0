"""From what is named to the files that are scanned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from telltale.cli._inputs import expand
from telltale.errors import FileUnreadable, UsageError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folders_are_opened_recursively_and_in_order(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/z.MOV", "a/notes.txt", "a/b/c.jpg", "a/.hidden", "c.webm", "d.avif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [os.path.relpath(path, tmp_path) for path in expand([str(tmp_path), "x.txt"])]
    assert found[:-1] == ["b.mp4", "c.webm", "d.avif", "a/z.MOV", "a/b/c.jpg"]
    assert expand([str(tmp_path), "x.txt"])[-1] == "x.txt"


def test_links_to_folders_are_followed_once_and_real_folders_come_first(tmp_path: Path) -> None:
    for name in ("set/b/1.mp4", "disk/2.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "set/a").symlink_to(tmp_path / "set/b")
    (tmp_path / "set/c").symlink_to(tmp_path / "disk")
    (tmp_path / "set/b/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/up").symlink_to(tmp_path)
    found = [os.path.relpath(path, tmp_path / "set") for path in expand([str(tmp_path / "set")])]
    assert found == ["b/1.mp4", "c/2.mp4"]


def test_a_list_gives_one_path_a_line_whatever_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfone.mp4\r\n\n two.mp4\n\xff.mp4\n@three.mp4\n")
    assert expand([f"@{tmp_path}/list.txt"]) == ["one.mp4", " two.mp4", "\udcff.mp4", "@three.mp4"]


def test_a_list_that_is_missing_says_how_to_name_such_a_file() -> None:
    with pytest.raises(FileUnreadable, match=r"write ./@nowhere.txt"):
        expand(["@nowhere.txt"])


def test_a_folder_without_videos_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no videos or pictures"):
        expand([str(tmp_path)])


@pytest.mark.parametrize("name", ["http:x.mp4", "concat:a|b", "secret%03d.png", "$(id).mp4", "a" * 4000, "a\0b", "-"])
def test_odd_names_stay_names(name: str) -> None:
    assert expand([name]) == [name]


def test_what_lies_below_out_is_not_scanned(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "report/b.mp4", "report/a-1234/annotated.mp4", "reports/c.mp4")
    found = expand([str(tmp_path)], out=tmp_path / "report")
    assert found == [str(tmp_path / "a.mp4"), str(tmp_path / "reports/c.mp4")]
    assert expand([str(tmp_path / "report/b.mp4")], out=tmp_path / "report"), "what is named itself is scanned"


def test_a_folder_that_is_its_own_out_is_scanned_without_the_reports(tmp_path: Path) -> None:
    report = [f"a-1234/{name}" for name in ("report.json", "report.html", "annotated.mp4", "contact_sheet.png")]
    touch(tmp_path, "a.mp4", *report)
    for out in (tmp_path, tmp_path / "other", None):
        assert expand([str(tmp_path)], out=out) == [str(tmp_path / "a.mp4")]


def test_a_folder_below_out_is_scanned_when_it_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "clips/a.mp4")
    assert expand([str(tmp_path / "clips")], out=tmp_path) == [str(tmp_path / "clips/a.mp4")]


def test_files_of_other_kinds_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path, "a.mp4", "b.tif", "c.txt", "d/noext", "d/e.psd", ".DS_Store", "Thumbs.db")
    assert expand([str(tmp_path)]) == [str(tmp_path / "a.mp4")]
    said = "telltale: 4 files of other kinds left out: b.tif, c.txt, e.psd, 1 more\n"
    assert capsys.readouterr().err == said
    expand([str(tmp_path / "a.mp4")])
    assert capsys.readouterr().err == ""


def test_pictures_of_phones_are_found_and_what_a_mac_leaves_beside_files_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    touch(tmp_path, "a.HEIC", "b.jfif", "c.jpe", "._a.HEIC", "._v.mp4")
    assert [Path(path).name for path in expand([str(tmp_path)])] == ["a.HEIC", "b.jfif", "c.jpe"]
    assert capsys.readouterr().err == ""
