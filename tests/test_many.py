"""Thousands of files into one table: once each, whatever dies, on a folder or a bucket."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import shutil
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

import make_videos
from bucket_servers import Footage
from telltale import _places
from telltale._files import only_one
from telltale.cli import app
from telltale.engine import Engine
from telltale.errors import MissingExtra, OutputBusy, OutputError, UsageError, WorkerCrashed, WorkerNotStarted
from telltale.many import SCHEMA, Bucket, Item, Totals, in_bucket, listed, scan_into
from telltale.sampling import SamplePlan
from telltale.scan import Scanner, ScanSettings
from telltale.types import Report

EXAMPLES = Path(__file__).parents[1] / "examples"
ONE_FRAME = ScanSettings(plan=SamplePlan("first", 1))
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs telltale[ray]")


def _files(folder: Path) -> list[str]:
    """Two clips, junk, and a file that is not there."""
    folder.mkdir()
    for name in ("no_face.mp4", "astronaut.mp4"):
        shutil.copy(EXAMPLES / name, folder / name)
    (folder / "junk.mp4").write_bytes(b"junk" * 1000)
    return [str(folder / name) for name in ("no_face.mp4", "astronaut.mp4", "junk.mp4", "missing.mp4")]


def _rows(out: Path) -> list[dict[str, Any]]:
    table = parquet.read_table(out / "table")
    assert table.schema.equals(SCHEMA)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_every_file_has_one_row_and_a_second_run_does_nothing_again(tmp_path: Path) -> None:
    items = listed(_files(tmp_path / "in"))
    totals = scan_into(tmp_path / "out", [*items, items[0]], settings=ONE_FRAME)
    assert totals == Totals(n_total=4, n_done=4, n_failed=2)
    rows = {Path(row["path"]).name: row for row in _rows(tmp_path / "out")}
    assert rows.keys() == {"no_face.mp4", "astronaut.mp4", "junk.mp4", "missing.mp4"}
    assert rows["missing.mp4"]["error"] == "file_missing"
    assert rows["junk.mp4"]["label"] == "failed"
    assert len(rows["junk.mp4"]["sha256"]) == 64
    assert '"schema_version": 1' in rows["astronaut.mp4"]["report"]
    before = sorted((tmp_path / "out").rglob("*.parquet"))
    again = scan_into(tmp_path / "out", items, settings=ONE_FRAME)
    assert again.n_skipped == 4
    assert again.n_failed == 2
    assert sorted((tmp_path / "out").rglob("*.parquet")) == before


def test_a_driver_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    items = listed(_files(tmp_path / "in"))

    def stop(totals: Totals) -> None:
        if totals.n_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_into(tmp_path / "out", items, settings=ONE_FRAME, on_progress=stop)
    seen: list[Totals] = []
    totals = scan_into(tmp_path / "out", items, settings=ONE_FRAME, on_progress=seen.append)
    assert seen[0].n_skipped >= 2
    assert totals.n_done == 4
    assert len(_rows(tmp_path / "out")) == 4


def test_rows_become_part_of_the_table_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.many.ROWS_PER_FILE", 2)
    items = listed([tmp_path / f"missing{n}.mp4" for n in range(5)])
    in_table: list[int] = []

    def look(_: Totals) -> None:
        there = (tmp_path / "out" / "table").exists()
        in_table.append(len(_rows(tmp_path / "out")) if there else 0)

    totals = scan_into(tmp_path / "out", items, settings=ONE_FRAME, on_progress=look)
    assert in_table[:3] == [0, 0, 0]
    assert 2 <= in_table[3] < 5
    assert totals.n_failed == len(_rows(tmp_path / "out")) == 5
    assert not list((tmp_path / "out" / "staged").iterdir())


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_under_way_or_waiting_when_the_driver_is_stopped_is_not_recorded(tmp_path: Path, jobs: int) -> None:
    shutil.copy(EXAMPLES / "no_face.mp4", tmp_path / "short.mp4")
    long = make_videos.face_clip(tmp_path / "long0.mp4", seconds=24)
    names = [long, *(tmp_path / f"long{n}.mp4" for n in range(1, 5))]
    for name in names[1:]:
        os.link(long, name)
    items, settings = listed([tmp_path / "short.mp4", *names]), ScanSettings(plan=SamplePlan("all"))

    def stop(totals: Totals) -> None:
        if totals.n_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_into(tmp_path / "out", items, settings=settings, engine=Engine(jobs=jobs), on_progress=stop)
    (staged,) = (tmp_path / "out").rglob("*.parquet")  # of the one that was done
    assert parquet.read_table(staged)["label"].to_pylist() != ["failed"]


def test_a_machine_that_starts_no_process_stops_the_run_and_blames_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    items = listed(_files(tmp_path / "in"))
    with monkeypatch.context() as poor:
        poor.setattr("telltale.sandbox.Child", refused)
        with pytest.raises(WorkerNotStarted):
            scan_into(tmp_path / "out", items, settings=ONE_FRAME)
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert scan_into(tmp_path / "out", items, settings=ONE_FRAME).n_skipped == 0


def test_what_failed_is_tried_again_when_asked_and_replaces_its_row(tmp_path: Path) -> None:
    (junk,) = listed([_files(tmp_path / "in")[2]])
    scan_into(tmp_path / "out", [junk], settings=ONE_FRAME)
    shutil.copy(EXAMPLES / "no_face.mp4", junk.path)
    totals = scan_into(tmp_path / "out", [junk], settings=ONE_FRAME, retry_failed=True)
    assert (totals.n_failed, totals.n_skipped) == (0, 0)
    assert [row["label"] for row in _rows(tmp_path / "out")] == ["no_face"]


def test_what_the_deadline_cut_short_is_done_again_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items, out = listed([EXAMPLES / "no_face.mp4", EXAMPLES / "astronaut.mp4"]), tmp_path / "out"
    scan = Scanner.scan

    def cut_short(self: Scanner, path: str) -> Report:
        report = scan(self, path)
        is_it = self.settings.deadline_s == 5 and path.endswith("astronaut.mp4")
        return report.model_copy(update={"is_out_of_time": is_it})

    monkeypatch.setattr(Scanner, "scan", cut_short)
    hasty, patient = replace(ONE_FRAME, deadline_s=5), replace(ONE_FRAME, deadline_s=60)
    scan_into(out, items, settings=hasty)
    assert {Path(row["path"]).name: row["is_out_of_time"] for row in _rows(out)} == {
        "no_face.mp4": False,
        "astronaut.mp4": True,
    }
    assert scan_into(out, items, settings=patient).n_skipped == 2
    assert scan_into(out, items, settings=patient, retry_failed=True).n_skipped == 1
    assert [row["is_out_of_time"] for row in _rows(out)] == [False, False]
    assert scan_into(out, items, settings=patient, retry_failed=True).n_skipped == 2


def test_a_file_that_changed_has_one_row_all_the_same(tmp_path: Path) -> None:
    """Missing at first, there later: another item, of the same path."""
    path = tmp_path / "clip.mp4"
    scan_into(tmp_path / "out", listed([path]), settings=ONE_FRAME)
    shutil.copy(EXAMPLES / "no_face.mp4", path)
    scan_into(tmp_path / "out", listed([path]), settings=ONE_FRAME)
    assert [(row["label"], row["error"]) for row in _rows(tmp_path / "out")] == [("no_face", None)]


def test_two_names_that_look_alike_have_a_row_each(tmp_path: Path) -> None:
    names = [tmp_path / os.fsdecode(b"a\xff.mp4"), tmp_path / "a\\xff.mp4"]
    try:
        for name in names:
            shutil.copy(EXAMPLES / "no_face.mp4", name)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only names in UTF-8")
    for name in names:
        scan_into(tmp_path / "out", listed([name]), settings=ONE_FRAME)
    assert scan_into(tmp_path / "out", listed(names), settings=ONE_FRAME).n_skipped == 2
    rows = _rows(tmp_path / "out")
    assert len(rows) == len({row["path_sha256"] for row in rows}) == 2
    assert len({row["path"] for row in rows}) == 1


def test_a_table_from_before_names_were_hashed_is_gone_on_with(tmp_path: Path) -> None:
    clip, out = tmp_path / "clip.mp4", tmp_path / "out"
    kept = listed([EXAMPLES / "no_face.mp4"])
    scan_into(out, [*kept, *listed([clip])], settings=ONE_FRAME)
    (file,) = (out / "table").iterdir()
    older = parquet.read_table(io.BytesIO(file.read_bytes())).drop_columns(["path_sha256", "is_out_of_time"])
    parquet.write_table(older, file)
    shutil.copy(EXAMPLES / "no_face.mp4", clip)
    again = scan_into(out, [*kept, *listed([clip])], settings=ONE_FRAME, retry_failed=True)
    assert (again.n_skipped, again.n_failed) == (1, 0)
    found = [row for file in (out / "table").iterdir() for row in parquet.read_table(file).to_pylist()]
    assert sorted(Path(row["path"]).name for row in found) == ["clip.mp4", "no_face.mp4"]


def test_a_step_up_after_a_link_leads_to_where_the_link_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other" / "folder").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "other"):
        (folder / "x.mp4").touch()
    (tmp_path / "link").symlink_to("other/folder")
    monkeypatch.chdir(tmp_path / "other")
    names = ["../link/../x.mp4", "../x.mp4", "./x.mp4", "../none/../x.mp4"]
    paths = [item.path for item in listed(names)]
    assert paths[:3] == [str((tmp_path / name).resolve()) for name in ("other/x.mp4", "x.mp4", "other/x.mp4")]
    assert not os.path.exists(paths[3])  # noqa: PTH110


def test_results_of_two_settings_are_not_mixed(tmp_path: Path) -> None:
    items = listed([EXAMPLES / "no_face.mp4"])
    scan_into(tmp_path, items, settings=ONE_FRAME)
    with pytest.raises(UsageError, match="other settings"):
        scan_into(tmp_path, items, settings=ScanSettings(plan=SamplePlan("first", 2)))


def test_two_commands_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(OutputBusy, match="another command"):
        scan_into(tmp_path, listed([EXAMPLES / "no_face.mp4"]))


def test_a_file_that_kills_its_workers_is_a_row_unless_its_result_was_written(tmp_path: Path) -> None:
    from telltale.many import _ScanTask

    task = _ScanTask(place=_places.Folder(tmp_path), model="default", model_sha256="0" * 64, settings=ONE_FRAME)
    assert task.set_aside(Item("a.mp4", "k"), WorkerCrashed("three workers died on it")) == "failed"
    staged = (tmp_path / "staged" / "k.parquet").read_bytes()
    assert task.set_aside(Item("a.mp4", "k"), WorkerCrashed("again")) == "failed"
    assert (tmp_path / "staged" / "k.parquet").read_bytes() == staged


@pytest.mark.parametrize("url", ["footage", "http://host/footage", "s3://", "file:///etc"])
def test_only_addresses_of_buckets_are_buckets(url: str) -> None:
    with pytest.raises(UsageError, match="s3://NAME"):
        _places.Bucket(url)


def test_a_place_is_the_same_for_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(_places.Folder(Path("results")))
    monkeypatch.chdir(tmp_path.parent)
    pickle.loads(pickled).write("row", b"here")
    assert (tmp_path / "results" / "row").read_bytes() == b"here"


@pytest.mark.parametrize(("scheme", "package"), _places.SCHEMES.items())
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, scheme: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package} is not installed.*pip install 'telltale\[bucket\]'"):
        _places.Bucket(f"{scheme}://footage")


def test_an_address_goes_to_the_package_of_its_scheme(footage: Footage) -> None:
    package = _places.SCHEMES[footage.url.partition("://")[0]]
    assert type(_places.Bucket(footage.url)._fs).__module__.partition(".")[0] == package


def test_a_bucket_is_scanned_into_a_bucket(footage: Footage, tmp_path: Path) -> None:
    _files(tmp_path / "in")
    clips, results = footage.put(tmp_path / "in", "clips"), Bucket(f"{footage.url}/results")
    footage.files.pipe_file(f"{footage.root}/clips/notes.txt", b"not a clip")
    with pytest.raises(UsageError, match="no videos"):
        in_bucket(f"{footage.url}/nothing")
    items = in_bucket(clips)
    assert [item.path.rpartition("/")[2] for item in items] == ["astronaut.mp4", "junk.mp4", "no_face.mp4"]
    gone = Item(f"{clips}/gone.mp4", "gone", in_bucket=True)
    totals = scan_into(results, [*items, gone], settings=ONE_FRAME, engine=Engine(jobs=2))
    assert (totals.n_done, totals.n_failed) == (4, 2)
    footage.files.invalidate_cache()
    (name,) = footage.files.find(f"{footage.root}/results/table")
    assert footage.files.find(f"{footage.root}/results/staged") == []
    footage.files.get_file(name, str(tmp_path / "table.parquet"))
    rows = {row["path"]: row for row in parquet.read_table(tmp_path / "table.parquet").to_pylist()}
    assert rows[f"{clips}/no_face.mp4"]["label"] == "no_face"
    assert rows[f"{clips}/gone.mp4"]["error"] == "file_missing"
    assert str(Path(tempfile.gettempdir()) / "telltale-") not in "".join(row["report"] for row in rows.values())
    again = scan_into(results, items, settings=ONE_FRAME, engine=Engine(jobs=2))
    assert again.n_skipped == 3


@pytest.mark.parametrize("folder", ["plain", "run [2026]", "what?", "s*r"])
def test_what_is_removed_from_a_bucket_is_what_was_named(footage: Footage, folder: str) -> None:
    there, beside = Bucket(f"{footage.url}/{folder}"), Bucket(f"{footage.url}/star")
    for place in (there, beside):
        for name in ("staged/a", "staged/b"):
            place.write(name, b"1")
    there.remove(["staged/a"])
    assert there.names("staged") == ["staged/b"]
    assert beside.names("staged") == ["staged/a", "staged/b"]


def test_a_folder_made_in_a_console_is_no_result(footage: Footage) -> None:
    there = Bucket(f"{footage.url}/results")
    footage.files.pipe_file(f"{footage.root}/results/table/", b"")
    assert there.names("table") == []
    there.write("table/a", b"1")
    assert there.names("table") == ["table/a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_full_disk_here_stops_the_run_and_blames_no_object(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _files(tmp_path / "in")
    items, fetch = in_bucket(footage.put(tmp_path / "in", "clips")), Bucket.fetch

    def fetch_to_full_disk(self: Bucket, url: str, to: Path) -> None:
        to.symlink_to("/dev/full")
        fetch(self, url, to)

    with monkeypatch.context() as full:
        full.setattr(Bucket, "fetch", fetch_to_full_disk)
        with pytest.raises(OutputError, match="free some space or set TMPDIR"):
            scan_into(tmp_path / "out", items, settings=ONE_FRAME)
    with pytest.raises(OutputError, match="set TMPDIR"):
        Bucket(footage.url).fetch(items[0].path, tmp_path / "no folder" / "input")
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert scan_into(tmp_path / "out", items, settings=ONE_FRAME).n_failed == 1


@needs_ray
@pytest.mark.slow
def test_a_cluster_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    items = listed(_files(tmp_path / "in"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves its log files open
        warnings.simplefilter("ignore", FutureWarning)
        scan_into(tmp_path / "ray", items, settings=ONE_FRAME, engine=Engine("ray", jobs=2))
    scan_into(tmp_path / "local", items, settings=ONE_FRAME, engine=Engine(jobs=2))
    here, there = (
        {row["key"]: (row["label"], row["p_fake"], row["error"], row["sha256"]) for row in _rows(tmp_path / name)}
        for name in ("local", "ray")
    )
    assert here == there


@pytest.mark.parametrize("option", ["--json", "--explain", "--annotate", "--stability", "--embed-video"])
def test_what_is_made_for_one_file_is_refused_with_a_table(option: str, tmp_path: Path) -> None:
    given = CliRunner().invoke(app, ["scan", "clip.mp4", "--table", option, "--out", str(tmp_path)])
    assert given.exit_code == 2
    assert f"{option}: not with a table" in given.stderr


def test_one_file_is_one_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["scan", str(tmp_path / "gone.mp4"), "--table", "--out", str(tmp_path / "out")])
    assert done.exit_code == 3
    assert done.stderr.splitlines()[0] == "1 file done; 0 called fake, 1 failed"
