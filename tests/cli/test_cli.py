"""The command line: what it takes, what it prints, how it ends."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

import make_datasets
import telltale
from make_reports import make_report, make_track
from telltale._report_index import summarise
from telltale.cli import app
from telltale.cli._bar import bar
from telltale.cli._table import print_table
from telltale.errors import OutOfMemory
from telltale.types import Label, Report

Calls = list[dict[str, Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Scans that answer by name, without a model: `fake.mp4` is fake, and so on."""
    seen: Calls = []

    def scan_many(paths: Iterable[str], **options: Any) -> Iterator[Report]:
        seen.append(options)
        for path in paths:
            label: Label = next((x for x in ("fake", "real", "uncertain", "no_face") if x in path), "failed")
            yield make_report(path, label=label)

    monkeypatch.setattr(telltale, "scan_many", scan_many)
    return seen


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(args))
    return result.exit_code, result.stdout, result.stderr


def telltale_process(*args: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "telltale", *args], capture_output=True, check=False, **options)


# Help and version


def test_help_names_the_commands() -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert {"scan", "models"} <= set(out.split())


def test_help_loads_only_what_it_needs() -> None:
    code = "import sys, telltale.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    slow = {"numpy", "pydantic", "jinja2", "PIL", "rich", "telltale.types"}
    assert not slow & set(done.stdout.splitlines()[-1].split())


def test_version_is_the_package_version() -> None:
    assert run("--version")[:2] == (0, f"telltale {telltale.__version__}\n")


# Exit codes


@pytest.mark.parametrize(
    ("names", "code"),
    [(["real.mp4"], 0), (["fake.mp4", "no_face.mp4", "uncertain.mp4"], 0), (["real.mp4", "broken.mp4"], 3), ([], 2)],
)
@pytest.mark.usefixtures("calls")
def test_exit_code_says_whether_every_input_was_answered(names: list[str], code: int) -> None:
    assert run("scan", *names)[0] == code


@pytest.mark.usefixtures("calls")
def test_one_failure_does_not_spoil_the_others() -> None:
    code, out, _ = run("scan", "real.mp4", "broken.mp4", "fake.mp4", "--json")
    labels = [json.loads(line)["verdict"]["label"] for line in out.splitlines()]
    assert (code, labels) == (3, ["real", "failed", "fake"])


@pytest.mark.parametrize(
    "options",
    [
        ["--fps", "2", "--every", "3"],
        ["--first", "2", "--all-frames"],
        ["--frames", "2", "--fps", "1"],
        ["--fps", "0"],
        ["--fps", "nan"],
        ["--every", "0"],
        ["--deadline", "-1"],
        ["--seconds", "0", "--fps", "1"],
        ["--jobs", "0"],
        ["--fps", "two"],
        ["--nonsense"],
    ],
)
def test_options_that_make_no_sense_are_usage_errors(calls: Calls, options: list[str]) -> None:
    code, out, err = run("scan", "real.mp4", *options)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err
    assert not calls


def test_a_model_that_does_not_exist_is_one_line_on_standard_error() -> None:
    code, out, err = run("scan", "real.mp4", "--model", "defualt")
    assert (code, out) == (2, "")
    assert err.startswith("telltale: unknown_name: ")
    assert err.count("\n") == 1


def test_every_error_ends_as_one_line_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OutOfMemory("too much\n\x1b[31m; use less")

    monkeypatch.setattr(telltale, "scan_many", fail)
    assert run("scan", "a.mp4") == (2, "", "telltale: out_of_memory: too much\\n\\x1b[31m; use less\n")


def test_a_fault_of_our_own_is_no_traceback_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELLTALE_DEBUG", raising=False)

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(telltale, "scan_many", fail)
    code, _, err = run("scan", "a.mp4")
    assert code == 1
    assert err.startswith("telltale: internal: ZeroDivisionError: x")
    assert err.count("\n") == 1


# Options reach the scan


@pytest.mark.parametrize(
    ("options", "kind", "value"),
    [
        (["--fps", "5"], "fps", 5),
        (["--every", "3"], "every", 3),
        (["--frames", "16"], "uniform", 16),
        (["--first", "8"], "first", 8),
        (["--all-frames"], "all", 1),
    ],
)
def test_sampling_options_become_a_plan(calls: Calls, options: list[str], kind: str, value: float) -> None:
    code, _, err = run("scan", "real.mp4", *options, "--max-frames", "9", "--seconds", "2.5", "--max-side", "640")
    assert (code, err) == (0, "")
    plan = calls[0]["settings"].plan
    assert (plan.kind, plan.value) == (kind, value)
    assert (plan.max_frames, plan.seconds, plan.max_side_px) == (9, 2.5, 640)


def test_without_options_everything_comes_from_the_models_card(calls: Calls) -> None:
    from telltale.bundle import load_bundle

    run("scan", "real.mp4")
    assert calls[0]["settings"].plan == load_bundle("default").card.sample
    assert calls[0]["settings"].detector is None
    assert calls[0]["settings"].pictures is False
    assert calls[0]["model"].card.name == "default"


def test_other_options_become_settings(calls: Calls, tmp_path: Path) -> None:
    run(
        *("scan", "real.mp4", "--detector", "yunet", "--detector-model", "y.onnx", "--min-face", "30"),
        *("--search-every", "0", "--deadline", "5", "--jobs", "2", "--out", str(tmp_path)),
    )
    settings = calls[0]["settings"]
    assert (settings.detector, settings.detector_model, settings.min_face_px) == ("yunet", "y.onnx", 30)
    assert (settings.search_every_s, settings.deadline_s, settings.pictures, calls[0]["jobs"]) == (0, 5, True, 2)


# Inputs


def test_a_scan_of_nothing_says_what_to_name(calls: Calls) -> None:
    code, out, err = run("scan")
    assert (code, out) == (2, "")
    assert err.startswith("telltale: usage: name a video, a picture, a folder or @list.txt")
    assert "--help" in err
    assert not calls


@pytest.mark.usefixtures("calls")
def test_a_name_that_begins_with_a_dash_comes_after_two() -> None:
    code, out, _ = run("scan", "--json", "--", "-real.mp4")
    assert code == 0
    assert json.loads(out)["input"]["path"] == "-real.mp4"


# Output


@pytest.mark.usefixtures("calls")
def test_json_prints_nothing_else_on_standard_output(tmp_path: Path) -> None:
    code, out, err = run("scan", "fake.mp4", "real.mp4", "--json", "--out", str(tmp_path))
    assert code == 0
    assert [json.loads(line)["input"]["path"] for line in out.splitlines()] == ["fake.mp4", "real.mp4"]
    assert err.split() == ["Reports:", str(tmp_path / "index.html")]


@pytest.mark.usefixtures("calls")
def test_the_json_that_is_printed_is_the_one_that_is_written(tmp_path: Path) -> None:
    _, out, _ = run("scan", "fake.mp4", "--json", "--embed-video", "--out", str(tmp_path))
    (written,) = tmp_path.glob("*/report.json")
    assert out == written.read_text()
    assert "The clip is not in this page" in json.loads(out)["warnings"][-1]


@pytest.mark.usefixtures("calls")
def test_out_writes_a_page_for_each_input_and_an_index(tmp_path: Path) -> None:
    run("scan", "fake.mp4", "gone.mp4", "--out", str(tmp_path / "new" / "out"))
    names = sorted(str(path.relative_to(tmp_path / "new" / "out")) for path in tmp_path.rglob("*.*"))
    assert [name for name in names if "/" not in name] == ["index.html", "summary.csv"]
    assert len([name for name in names if name.endswith(("/report.html", "/report.json"))]) == 4
    assert len(names) == 6


def test_an_output_folder_that_cannot_be_made_is_an_error(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run("scan", "fake.mp4", "--out", str(tmp_path / "file"))
    assert code == 2
    assert err.startswith("telltale: output_failed: ")
    assert not calls, "the folder is looked at after the work"


def output_options() -> list[list[str]]:
    """Every command with each of its options that name a folder to write to."""
    found: list[list[str]] = []
    waiting: list[tuple[list[str], Any]] = [([], get_command(app))]
    while waiting:
        words, command = waiting.pop()
        waiting += [([*words, name], inner) for name, inner in getattr(command, "commands", {}).items()]
        found += [[*words, f"--{one.name}"] for one in command.params if one.name in ("out", "cache", "data")]
    return sorted(found)


@pytest.mark.parametrize("command", output_options(), ids=" ".join)
def test_no_command_takes_an_empty_name_of_a_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*command, "")
    assert (code, out) == (2, "")
    assert f"'{command[-1]}': it is empty; name a folder" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--bucket", "--out-bucket"])
def test_an_empty_address_of_a_bucket_is_refused(calls: Calls, option: str) -> None:
    out_dir = ["--out", "results"] if option == "--bucket" else ["a.mp4"]
    code, out, err = run("scan", *out_dir, option, "")
    assert (code, out) == (2, "")
    assert "s3://NAME/FOLDER" in err
    assert not calls


def test_the_output_folder_is_tried_before_the_work_and_made_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []

    def scan_many(*_: Any, **__: Any) -> Iterator[Report]:
        found.append((tmp_path / "new").exists())
        return iter(())

    monkeypatch.setattr(telltale, "scan_many", scan_many)
    run("scan", "a.mp4", "--out", str(tmp_path / "new" / "out"))
    assert found == [False]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing_is_no_fault_of_ours(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code), "a.json")

    monkeypatch.setattr(telltale, "scan_many", fail)
    said = f"telltale: output_failed: a.json: {os.strerror(code)}; free some space or write elsewhere\n"
    assert run("scan", "a.mp4") == (2, "", said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"], ["--help"]])
def test_a_full_disk_behind_standard_output_is_one_line(options: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "telltale", "scan", str(tmp_path / "gone.mp4"), *options],
            stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert process.returncode == 2
    assert process.stderr.startswith(b"telltale: output_failed: No space left on device; ")
    assert process.stderr.count(b"\n") == 1


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_fits_the_terminal_and_holds_everything(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    labels: tuple[Label, ...] = ("fake", "real", "uncertain", "no_face", "failed")
    reports = [make_report(f"some/longer/folder/name/{label}.mp4", label=label) for label in labels]
    print_table([summarise(report) for report in reports], Console(width=width))
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= width
    words = " ".join(out.split())
    took = "Took" if width >= 120 else "took 1.9 s"
    for expected in ("▲ fake", "● real", "◆ uncertain", "○ no face", "✕ failed", "97%", "1.9 s", took, "file_missing"):
        assert expected in words
    assert "5 files: 1 fake, 1 uncertain, 1 real, 1 no face, 1 failed. A score is no proof." in words


def test_the_table_shows_names_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_report("[red]a[/red]\x1b[31m\u202egpj.mp4", label="uncertain", tracks=[make_track(1, [0.5] * 4)])
    print_table([summarise(report)], Console(width=140))
    assert "[red]a[/red]\\x1b[31m\\u202egpj.mp4" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="file names there are always text")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_is_not_utf8_is_printed_on_any_terminal(tmp_path: Path, encoding: str) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xe2\x98\x83.mp4"
    Path(os.fsdecode(name)).write_bytes(b"")
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    for options in ([], ["--json"]):
        done = telltale_process("scan", *options, name, env=environment)
        assert b"Traceback" not in done.stderr
        assert done.returncode in (2, 3)
        assert b"\\xff" in done.stdout + done.stderr


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_names_the_file_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    with bar("starting", "detail", "count") as show:
        show(0, 3)
        show(doing="[b]clip\x1b.mp4")
        show(1, detail="13 frames")
    shown = terminal.getvalue()
    assert "[b]clip\\x1b.mp4" in shown
    assert "13 frames" in shown
    assert "1/3" in shown


def test_progress_is_silent_where_standard_error_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar("starting", "count") as show:
        show(1, 1, doing="clip.mp4")
    assert capsys.readouterr() == ("", "")


# Ctrl-C and closed pipes


@pytest.mark.parametrize(("closed", "n_lines"), [("2>&-", 1), (">&-", 0), (">&- 2>&-", 0)])
def test_a_stream_that_is_closed_is_one_that_nobody_reads(tmp_path: Path, closed: str, n_lines: int) -> None:
    command = f"exec {sys.executable} -m telltale scan gone.mp4 --json --out out {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (3, n_lines)
    assert done.stderr == b"" if "2>" in closed else b"Reports: " in done.stderr
    assert (tmp_path / "out/summary.csv").exists()


@pytest.mark.usefixtures("calls")
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan_many(paths: Iterable[str], **_: Any) -> Iterator[Report]:
        yield make_report(next(iter(paths)), label="real")
        raise KeyboardInterrupt

    monkeypatch.setattr(telltale, "scan_many", scan_many)
    code, _, err = run("scan", "a.mp4", "b.mp4", "--out", str(tmp_path))
    assert (code, err) == (130, f"Reports: {tmp_path / 'index.html'}\ntelltale: stopped\n")
    assert "a.mp4" in (tmp_path / "summary.csv").read_text()
    code, out, err = run("scan", "a.mp4", "b.mp4")
    assert (code, err) == (130, "telltale: stopped\n")
    assert "a.mp4" in out
    assert "1 file: 1 real." in out
    code, out, _ = run("scan", "a.mp4", "b.mp4", "--json")
    assert (code, len(out.splitlines())) == (130, 1), "one object, and no table after it"


def test_ctrl_c_before_anything_happens_is_quiet(tmp_path: Path) -> None:
    fifo = tmp_path / "list.txt"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "telltale", "scan", f"@{fifo}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background inherits an ignored SIGINT, and Python then leaves it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with fifo.open("wb"):  # opens once the command reads the list
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"telltale: stopped\n")


def test_pictures_of_an_earlier_inspection_do_not_stay_beside_new_ones(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need telltale[analyze]")
    make_datasets.folder(tmp_path / "set")
    command = ["inspect", str(tmp_path / "set"), "--out", str(tmp_path / "look"), "--n", "2"]
    (tmp_path / "look").mkdir()
    for name in ("augmentation.png", "notes.png"):
        (tmp_path / "look" / name).write_bytes(b"of nobody's run")
    code, _, err = run(*command)
    assert code == 0, err
    first = {path.name for path in (tmp_path / "look").iterdir()}
    assert {"inspect.json", "augmentation.png"} < first, "what was there before any inspection is not ours"
    earlier = json.loads((tmp_path / "look/inspect.json").read_text())
    earlier["splits"] = {"official": {}, "../set": {}}
    (tmp_path / "look/inspect.json").write_text(json.dumps(earlier))
    for name in ("counts_official.png", "counts_ours.png", "original_3.png"):
        (tmp_path / "look" / name).write_bytes(b"of an earlier run")
    code, _, err = run(*command)
    assert code == 0, err
    assert {path.name for path in (tmp_path / "look").iterdir()} == first - {"augmentation.png"} | {"counts_ours.png"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["scan", "clip.mp4", "--min-face", "3"], "12"),
        (["prepare", "clips", "--out", "s.store", "--margin", "9"], "3"),
        (["scan", "clip.mp4", "--detector-model", "weights.onnx"], "leave out --detector-model"),
        (["evaluate", "default", "clips", "--seed", "-1"], "--seed"),
        (["compare", "default", "default", "--on", "clips", "--seed", "-1"], "--seed"),
        (["split", "s", "--name", "a", "--folds", "3", "--ratio", "80/10/10"], "leave out --ratio"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(command: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 2, done.output
    assert message in done.stderr
