"""A folder that cannot be written is found before the work, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from make_bundles import make_redness
from make_stores import SIZE_PX, split, store_of_pictures
from telltale._files import check_writable
from telltale.errors import OutputError, UsageError
from telltale.evaluate import EvaluateSettings, compare, evaluate
from telltale.recipe import load_recipe
from telltale.store import Store
from telltale.train import train
from telltale.tune import tune

pytest.importorskip("onnx", reason="makes models with onnx")

ALL = EvaluateSettings(side="all", repeats=0)
TINY = ["model.options.size_px=8"]


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A folder that nobody can make, whatever rights they have."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "out"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_redness(tmp_path / "redness", size_px=SIZE_PX)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fakes = [bool(i % 2) for i in range(60)]
    made = store_of_pictures(tmp_path / "s", [2.0 * fake - 1 for fake in fakes], fakes)
    split(made)
    return made


def _idle(*_: object, **__: object) -> None:
    pytest.fail("there was work before the folder was looked at")


def test_figures_are_not_taken_that_nobody_can_keep(store: Store, model: Path, nowhere: Path) -> None:
    with pytest.raises(OutputError, match=r"out: .*choose another folder"):
        evaluate(model, store, settings=ALL, out=nowhere, on_progress=_idle)
    with pytest.raises(OutputError, match=r"out: "):
        compare([model, model], on=store, settings=EvaluateSettings(side="all"), out=nowhere, on_progress=_idle)


def test_nothing_is_fitted_that_nobody_can_keep(store: Store, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="fits a model on pixels")
    monkeypatch.setattr(Store, "rgb", _idle)
    with pytest.raises(OutputError, match=r"out: "):
        train(store, recipe=load_recipe("svm", overrides=TINY), out=nowhere)
    with pytest.raises(OutputError, match=r"out: "):
        tune(store, recipe="svm", out=nowhere, overrides=TINY, grid={"model.options.c": [1.0, 2.0]})


def test_a_folder_that_is_looked_at_is_not_left_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    (tmp_path / "there").mkdir()
    check_writable(tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_side_that_is_not_there_leaves_no_empty_folder(store: Store, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split 'other'"):
        evaluate(model, store, settings=EvaluateSettings(split="other"), out=tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
