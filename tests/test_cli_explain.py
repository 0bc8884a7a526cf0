"""`telltale explain`: what it refuses before it reads anything."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import make_videos
from make_bundles import make_patches
from telltale.cli import app
from telltale.errors import UsageError
from telltale.explain import create, explain
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
