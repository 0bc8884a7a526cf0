"""The installation examined: what is wrong is named with its fix, what is missing is a note."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from telltale import ScanSettings, doctor
from telltale.cli import app
from telltale.doctor import Check, examine, is_older
from telltale.errors import BundleInvalid


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    return {check.name: check for check in examine()}


def test_this_installation_is_fit(checks: dict[str, Check]) -> None:
    assert not [check for check in checks.values() if check.status == "fail"]
    assert {"ffmpeg", "decoders", "model default", "detector mtcnn", "worker", "cores", "memory"} <= set(checks)


def test_what_is_not_right_has_a_fix(checks: dict[str, Check]) -> None:
    assert all(check.fix for check in checks.values() if check.status != "ok")


def test_every_extra_has_its_line(checks: dict[str, Check]) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"dev"}
    assert {name for name in checks if name.startswith("extra ")} == {f"extra {extra}" for extra in extras}


def test_every_measure_of_isolation_has_its_line(checks: dict[str, Check]) -> None:
    lines = {name for name in checks if name.startswith("isolation ")}
    measures = ("capabilities", "landlock", "seccomp", "no_new_privileges", "resource_limits")
    assert lines == {f"isolation {name}" for name in measures}


def test_what_a_filter_forbids_is_not_put_down_to_the_kernel() -> None:
    states = {"landlock": "refused (Operation not permitted)", "seccomp": "refused (Operation not permitted)"}
    landlock, seccomp = doctor.isolation(states)
    assert "filter" in landlock.fix
    assert "landlock_restrict_self" in landlock.fix
    assert seccomp.fix.endswith("let it allow seccomp")
    (old,) = doctor.isolation({"landlock": "not on this kernel (Function not implemented)"})
    assert old.fix.startswith("run on Linux 5.13")


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [("8.1.1", "8.1.2", True), ("8.1.2", "8.1.2", False), ("0.47.10", "0.47.2", False), ("12", "12.2", True),
     ("2.6.0+cpu", "2.6", False), ("2.5.1+cu121", "2.6", True), ("13.0.0", "12.2", False), ("unknown", "1", True)],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("pillow", "12.1.9"),
        ("torch", "2.5.1"),
        ("starlette", "0.47.1"),
        ("av", "17.0.0"),
        ("python-multipart", "0.0.26"),
    ],
)
def test_a_version_with_known_holes_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, version: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda asked: version if asked == name else "99.0")
    (bad,) = [check for check in doctor._distributions() if check.status == "fail"]
    assert bad.name == name
    assert version in bad.told
    assert bad.fix.startswith("pip install --upgrade")


def test_an_ffmpeg_with_known_holes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    monkeypatch.setattr(av, "ffmpeg_version_info", "8.1.1")
    (check,) = doctor._ffmpeg()
    assert check.status == "fail"


@pytest.mark.parametrize(
    ("providers", "starts", "status", "told"),
    [
        (["CPU"], False, "ok", "on the CPU; ONNX Runtime also has: nothing else"),
        (["Azure", "CPU"], False, "ok", "on the CPU; ONNX Runtime also has: Azure"),
        (["CUDA", "CPU"], True, "ok", "on CUDA, unless --device cpu is given"),
        (["CUDA", "CPU"], False, "note", "on the CPU: ONNX Runtime has CUDA and cannot start it"),
    ],
)
def test_where_a_scan_scores_is_told_as_a_scan_would_have_it(
    monkeypatch: pytest.MonkeyPatch, providers: list[str], starts: bool, status: str, told: str
) -> None:
    class Loaded:
        def __init__(self, _bundle: object, *, device: str) -> None:
            assert device == ScanSettings().device
            self.device = "cuda" if starts else "cpu"

    names = [f"{name}ExecutionProvider" for name in providers]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: names)
    monkeypatch.setattr("telltale.runtime.Scorer", Loaded)
    check, *_ = doctor._providers()
    assert (check.name, check.status, check.told) == ("scoring", status, told)
    assert bool(check.fix) is (status == "note")


def test_a_damaged_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_name: str) -> None:
        raise BundleInvalid("model.onnx has another SHA-256")

    monkeypatch.setattr("telltale.bundle.load_bundle", load)
    (check,) = doctor._models()
    assert (check.name, check.status) == ("model default", "fail")


def test_a_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "gone"))
    first, *_ = doctor._places()
    assert first.status == "fail"
    assert "TMPDIR" in first.fix


def test_the_command_says_one_line_a_check_and_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def some() -> Iterator[Check]:
        yield Check(name="good", status="ok", told="as it should be")
        yield Check(name="bad", status="fail", told="broken", fix="mend it")

    monkeypatch.setattr(doctor, "examine", some)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 3
    assert result.stdout.splitlines() == ["ok   good: as it should be", "fail bad: broken -> mend it"]
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert json.loads(result.stdout)["fit"] is False
    assert result.exit_code == 3


def test_the_commands_json_is_ascii_and_holds_no_half_a_character(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "café \N{GRINNING FACE}/\udcff"  # the last is a byte of a name that is no UTF-8
    monkeypatch.setattr(doctor, "examine", lambda: iter([Check(name="good", status="ok", told=told)]))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.stdout_bytes.isascii()
    assert json.loads(result.stdout)["checks"][0]["told"] == "café \N{GRINNING FACE}/\\xff"
