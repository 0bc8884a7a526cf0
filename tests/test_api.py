"""The Python API as a stranger uses it: mistakes are told at once, nothing floods a prompt, errors travel."""

from __future__ import annotations

import importlib.util
import io
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import telltale
from telltale import SamplePlan, ScanSettings, errors, faces
from telltale._scan_settings import path_name
from telltale.errors import TelltaleError, UsageError
from telltale.many import listed, scan_into


class Detector:
    def detect(self, _: object) -> list[object]:
        return []


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("plan", {"fps": 2}, "plan must be a SamplePlan or None, got {'fps': 2}"),
        ("deadline_s", -1, "deadline_s must be a number of seconds above 0 or None, got -1"),
        ("deadline_s", "5", "deadline_s must be a number of seconds above 0 or None, got '5'"),
        ("deadline_s", float("nan"), "deadline_s must be"),
        ("n_threads", 0, "n_threads must be a whole number of at least 1, got 0"),
        ("explain", "yes", "explain must be True or False, got 'yes'"),
        ("min_confidence", 7, "min_confidence must be 0-1, got 7"),
        ("min_confidence", True, "min_confidence must be a number or None, got True"),
        ("min_face_px", 5, "min_face_px must be at least 12, got 5"),
        ("min_face_px", float("nan"), "min_face_px must be a number"),
        ("search_every_s", -1, "search_every_s must be 0 or more, got -1"),
        ("device", "gpu", "device must be one of cpu, cuda, auto, got 'gpu'"),
        ("annotate_into", "out", "annotate_into must be a pathlib.Path or None, got 'out'"),
        ("detector_model", Path("a.onnx"), "detector_model must be the path of a file, a str, or None"),
        (
            "detector",
            Detector(),
            r"a detector is chosen by its name \(haar, mtcnn, yunet\), got Detector: a new one is",
        ),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_when_it_is_given(field: str, value: Any, told: str) -> None:
    with pytest.raises(UsageError, match=f"^{told}"):
        ScanSettings(**{field: value})


def test_settings_that_are_meant_are_taken() -> None:
    ScanSettings(deadline_s=float("inf"), min_face_px=12, search_every_s=0, plan=SamplePlan("all"), n_threads=1)


@pytest.mark.parametrize("call", [telltale.scan, telltale.Scanner, telltale.scan_many, scan_into])
def test_settings_of_another_kind_are_refused(call: Any) -> None:
    given: tuple[Any, ...] = (
        ("clip.mp4", []) if call is scan_into else ("clip.mp4",) if call is not telltale.Scanner else ("default",)
    )
    with pytest.raises(UsageError, match=r"settings must be ScanSettings\(\.\.\), got \{'explain': True\}"):
        call(*given, settings={"explain": True})


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "2", True])
def test_jobs_are_a_count(jobs: Any) -> None:
    with pytest.raises(UsageError, match="jobs must be a whole number of at least 1, got "):
        telltale.scan_many([], jobs=jobs)


@pytest.mark.parametrize("given", [io.BytesIO(b"video"), np.zeros((4, 4, 3), np.uint8), bytearray(b"a"), None, 5])
def test_what_is_no_path_is_refused_with_the_way_there(given: Any) -> None:
    for call in (telltale.scan, lambda one: list(telltale.scan_many(one)), lambda one: listed([one])):
        with pytest.raises(UsageError, match=r"named by its path, got .*: write it to a file \(tempfile\."):
            call(given)


def test_the_bytes_of_a_video_are_no_path_and_those_of_a_name_are() -> None:
    with pytest.raises(UsageError, match="bytes are taken for a path, and these are none"):
        telltale.scan(b"\0\0\0\x20ftypisom")
    with pytest.raises(UsageError, match="the path is empty"):
        telltale.scan("")
    assert path_name(b"caf\xe9.mp4") == "caf\udce9.mp4"
    report = telltale.scan(b"missing.mp4")
    assert report.error is not None
    assert (report.input.path, report.error.code) == ("missing.mp4", "file_missing")


def test_a_detector_from_outside_the_package_is_refused_before_any_file_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").touch()
    monkeypatch.setattr(faces, "__path__", [*faces.__path__, str(tmp_path)])
    with pytest.raises(errors.UnknownName, match="no face detector 'mine'"):
        telltale.Scanner(settings=ScanSettings(detector="mine"))
    with pytest.raises(UsageError, match="got Detector"):
        faces.create(Detector())  # type: ignore[arg-type]


def test_a_bundle_and_its_card_fit_a_screen() -> None:
    bundle = telltale.load("default")
    assert repr(bundle).startswith("Bundle('default', takes 224 px, SHA-256 ")
    assert len(repr(bundle)) < 300
    assert len(repr(bundle.card)) < 6000


def _kinds(root: type[TelltaleError]) -> list[type[TelltaleError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _kinds(child))]


def test_every_error_can_be_pickled() -> None:
    if importlib.util.find_spec("httpx2") is not None:
        import telltale.web.client
        from telltale.web.schema import Problem

        problem = Problem(type="about:blank", title="No", status=429, detail="later", code="busy")
        refused = telltale.web.client.ApiError(problem, retry_after_s=3.0)
        again = pickle.loads(pickle.dumps(refused))
        assert (str(again), again.problem, again.retry_after_s) == (str(refused), problem, 3.0)
    for kind in _kinds(TelltaleError):
        if kind.code != "api":
            again = pickle.loads(pickle.dumps(kind("why")))
            assert (type(again), str(again)) == (kind, "why")


def test_without_the_extra_train_is_there_and_says_what_to_install() -> None:
    code = """
import inspect, sys
sys.modules["lightning"] = None
import telltale
assert "train" in telltale.__all__ and hasattr(telltale, "train")
assert dict(inspect.getmembers(telltale))["train"].__name__ == "train"
try:
    telltale.train("faces", out="run")
except telltale.TelltaleError as error:
    print(error.code, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = "lightning is not installed, and this needs it: pip install 'telltale[train]'"
    assert done.stdout == f"missing_extra {told}\n"


@pytest.mark.parametrize("module", ["errors", "runtime", "split"])
def test_public_modules_are_there_after_import_telltale(module: str) -> None:
    code = f"import telltale; print(telltale.{module}.__name__, hasattr(telltale, 'no_such'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"telltale.{module} False\n"


PAGE = Path(__file__).parents[1] / "docs" / "api.md"


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_clip: Path, empty_clip: Path) -> list[str]:
    """The Python of docs/api.md, in a folder with the clips it names."""
    shutil.copy(face_clip, tmp_path / "clip.mp4")
    shutil.copy(empty_clip, tmp_path / "nobody.mp4")
    monkeypatch.chdir(tmp_path)
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_s_python_runs_from_top_to_bottom(blocks: list[str]) -> None:
    said: list[tuple[Any, ...]] = []
    names: dict[str, Any] = {"print": lambda *words: said.append(words)}
    for block in blocks:
        if "telltale.web" not in block:
            exec(block, names)
    assert ("missing.mp4", "failed", "file_missing") in said
    assert ("stopped",) in said
    assert said[-1][0].shape == (1,)


def test_the_page_s_client_runs_against_a_server(blocks: list[str], request: pytest.FixtureRequest) -> None:
    pytest.importorskip("httpx2", reason="needs telltale[web]")
    server = request.getfixturevalue("server")
    (block,) = [block for block in blocks if "telltale.web" in block]
    said: list[tuple[Any, ...]] = []
    exec(block.replace("http://127.0.0.1:8000", server.url), {"print": lambda *words: said.append(words)})
    assert [words[1] for words in said if words[0] == "clip.mp4"] == [said[0][0]] * 2
    assert ("done", 1.0) in said


def test_the_page_names_addresses_that_there_are() -> None:
    pytest.importorskip("fastapi", reason="needs telltale[web]")
    from telltale.web.client import SCANS

    called = re.findall(r"curl .*http://127\.0\.0\.1:8000(\S+)", PAGE.read_text(encoding="utf-8"))
    assert called == [SCANS, f"{SCANS}/ID", SCANS]
