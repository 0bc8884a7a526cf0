"""`telltale explain`: what it refuses before it reads anything, and how it says how far it is."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import make_videos
from make_bundles import make_patches, make_redness, make_trainable
from telltale.cli import _bar, app
from telltale.cli._bar import Update
from telltale.errors import MissingExtra, OutputError, UsageError
from telltale.explain import _faces, create, explain
from telltale.runtime import Scorer
from telltale.types import Clip

pytest.importorskip("onnx", reason="makes models with onnx")


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_patches(tmp_path_factory.mktemp("models") / "patches")


def run(*args: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["explain", *map(str, args)])
    assert done.stdout == ""
    return done.exit_code, done.stderr


@pytest.fixture
def face_crop() -> Clip:
    """As large as `patches` takes."""
    return Clip(0, np.zeros(1), make_videos.portrait()[None, 40:168:4, 140:268:4], np.ones(1, bool))


@pytest.mark.parametrize(
    ("key", "instead"),
    [("target", "--target"), ("method", "--method"), ("n_faces", "--faces"), ("faces", "--faces"), ("out", "--out"),
     ("path", "IMAGE|VIDEO"), ("model", "MODEL")],
)  # fmt: skip
def test_what_is_no_setting_of_a_method_is_told_its_option(key: str, instead: str, tmp_path: Path) -> None:
    code, said = run("default", "clip.mp4", "--out", tmp_path / "why", "--set", f"{key}=real")
    assert (code, said) == (2, f"telltale: usage: --set {key}: give it as {instead}, it is no setting of a method\n")


def test_no_argument_of_the_function_passes_for_a_setting(tmp_path: Path) -> None:
    for key in inspect.signature(explain).parameters:
        code, said = run("default", "clip.mp4", "--out", tmp_path / "why", "--set", f"{key}=1")
        assert code == 2
        assert said.startswith((f"telltale: usage: --set {key}: ", f"telltale: usage: cam has no setting '{key}'"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("kernel_width=0", "kernel_width must be a number above 0, got 0"),
        ("kernel_width=-1", "kernel_width must be a number above 0"),
        ("kernel_width=nan", "kernel_width must be a number above 0"),
        ("kernel_width=inf", "kernel_width must be a number above 0"),
        ("seed=-1", "seed must be from 0 to 2**63 - 1, got -1"),
        ("seed=99999999999999999999999", "seed must be from 0 to 2**63 - 1"),
    ],
)
def test_a_value_that_no_fit_takes_is_refused_before_the_work(setting: str, said: str, tmp_path: Path) -> None:
    code, told = run("default", "clip.mp4", "--out", tmp_path / "why", "--method", "lime", "--set", setting)
    assert code == 2
    assert told.startswith(f"telltale: usage: lime: {said}")


def test_a_kernel_in_which_nothing_counts_is_no_fault_of_ours(patches: Path, face_crop: Clip) -> None:
    for library in ("captum", "skimage", "sklearn"):
        pytest.importorskip(library, reason="lime needs it")
    from telltale.bundle import load_bundle

    with pytest.raises(UsageError, match=r"kernel_width 0\.001 no variant counts; make it wider"):
        create("lime", n_samples=20, kernel_width=0.001).explain(Scorer(load_bundle(patches)), face_crop)


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        pytest.fail("the video was read before")

    monkeypatch.setattr(_faces, "run_extract", read)


@pytest.mark.usefixtures("nothing_is_read")
def test_maps_that_nobody_can_keep_are_not_made(patches: Path, face_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"out: .*choose another folder"):
        explain(face_clip, model=patches, out=tmp_path / "file" / "out")


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize(
    ("method", "library"),
    [("gradcam", "captum"), ("lime", "captum"), ("lime", "skimage"), ("lime", "sklearn"), ("occlusion", "captum")],
)
def test_a_library_that_is_missing_is_told_before_the_work(
    method: str, library: str, monkeypatch: pytest.MonkeyPatch, patches: Path, face_clip: Path
) -> None:
    pytest.importorskip("torch", reason="the others are asked for after it")
    for name in [library, *(name for name in sys.modules if name.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"^{library} is not installed.*'telltale\[explain\]'"):
        explain(face_clip, model=patches, method=method)


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_a_model_that_a_method_does_not_fit_is_refused_before_the_work(
    method: str, face_clip: Path, tmp_path: Path
) -> None:
    if method == "gradcam":
        pytest.importorskip("captum", reason="gradcam is captum's")
    with pytest.raises(UsageError, match="--method lime"):
        explain(face_clip, model=make_redness(tmp_path / "model"), method=method)


@pytest.mark.usefixtures("nothing_is_read")
def test_a_layer_that_is_not_there_is_told_before_the_work(face_clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="gradcam is captum's")
    with pytest.raises(
        UsageError, match=r"no layer 'backbnoe' with a map; did you mean backbone\S*\?; there are \d+, from \S+ to \S+$"
    ):
        explain(face_clip, model=make_trainable(tmp_path / "net"), method="gradcam", layer="backbnoe")


# How far it is


def test_progress_is_of_the_file_and_then_of_the_faces(patches: Path, two_face_clip: Path) -> None:
    pytest.importorskip("captum", reason="occlusion is captum's")
    said: list[tuple[float, str]] = []
    found = explain(
        two_face_clip, model=patches, method="occlusion", on_progress=lambda share, doing: said.append((share, doing))
    )
    stages = ["reading", *(f"explaining face {i + 1} of {len(found)}" for i in range(len(found)))]
    assert len(found) > 1
    assert list(dict.fromkeys(doing for _, doing in said)) == stages
    for shares in ([share for share, doing in said if (doing == "reading") is of_file] for of_file in (True, False)):
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
        assert max(np.diff(shares)) < 0.3, "it stands still"
    assert said[-1][0] == 1


def test_the_command_shows_what_it_is_doing(
    monkeypatch: pytest.MonkeyPatch, patches: Path, face_clip: Path, tmp_path: Path
) -> None:
    said: list[str | None] = []

    @contextmanager
    def bar(what: str, *_columns: str) -> Iterator[Update]:
        said.append(what)
        yield lambda *_, doing=None, **__: said.append(doing)

    monkeypatch.setattr(_bar, "bar", bar)
    code, _ = run(patches, face_clip, "--out", tmp_path / "why")
    assert code == 0
    assert list(dict.fromkeys(filter(None, said))) == ["starting", "reading", "explaining face 1 of 1"]
