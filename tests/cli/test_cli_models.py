"""`telltale models` and `telltale train`: what they print, hand on, and refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from telltale.cli import app


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(args))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        pytest.importorskip("onnx", reason="makes a model")
        from make_bundles import make_redness

        return make_redness(tmp_path / "redness")

    return make


def test_models_show_prints_the_card(bundle: Callable[[], Path]) -> None:
    folder = bundle()
    code, out, err = run("models", "show", str(folder))
    assert (code, err) == (0, "")
    assert {"redness", "fake", "real"} <= set(out.split())
    assert json.loads(run("models", "show", str(folder), "--json")[1])["name"] == "redness"


@pytest.mark.parametrize("by_chance", [{}, {"ece_by_chance": 0.021}])
def test_models_show_gives_a_calibration_error_no_interval(
    bundle: Callable[[], Path], by_chance: dict[str, float]
) -> None:
    """Cards of models trained earlier have one."""
    folder = bundle()
    card = json.loads((folder / "card.json").read_text())
    figures = {
        "n_real": 9,
        "n_fake": 9,
        "auc": 0.9,
        "ece": 0.023,
        "ci95": {"auc": [0.8, 0.95], "ece": [0.02, 0.04]},
    }
    card["metrics"] = {"test": {"faces": figures | by_chance}}
    (folder / "card.json").write_text(json.dumps(card))
    out = " ".join(run("models", "show", str(folder))[1].split())
    assert "AUC 0.900 (0.800 to 0.950)" in out
    assert out.count("0.040") == 0
    assert ("calibration error 0.023, by chance alone 0.021" in out) == bool(by_chance)


def test_models_show_prints_no_control_of_a_card(bundle: Callable[[], Path]) -> None:
    folder = bundle()
    card = folder / "card.json"
    hostile = {"name": "a\x1b]0;pwned\x07", "description": "\x1b[2J", "licence": "\x1b[1m"}
    card.write_text(json.dumps(json.loads(card.read_bytes()) | hostile))
    code, out, err = run("models", "show", str(folder))
    assert (code, err) == (0, "")
    assert r"a\x1b]0;pwned\x07" in out
    assert not {"\x1b", "\x07"} & set(out)


def test_json_is_ascii_whatever_the_terminal_takes(bundle: Callable[[], Path]) -> None:
    folder = bundle()
    card = folder / "card.json"
    said = 'café \N{SNOWMAN} \N{GRINNING FACE} \N{LINE SEPARATOR} "\\'
    card.write_text(json.dumps(json.loads(card.read_bytes()) | {"description": said}))
    for encoding in ("ascii", "cp1252", "utf-8"):
        done = subprocess.run(
            [sys.executable, "-m", "telltale", "models", "show", str(folder), "--json"],
            capture_output=True, check=True, env=os.environ | {"PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert done.stdout.isascii()
        assert done.stdout.count(b"\n") == 1
        assert json.loads(done.stdout)["description"] == said


def test_models_verify_finds_a_changed_file(bundle: Callable[[], Path]) -> None:
    folder = bundle()
    assert run("models", "verify", str(folder))[0] == 0
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    code, _, err = run("models", "verify", str(folder))
    assert code == 2
    assert err.startswith("telltale: bundle_invalid: ")


def test_models_verify_finds_a_graph_that_loads_and_does_not_run(bundle: Callable[[], Path]) -> None:
    folder = bundle()
    import onnx
    from onnx import numpy_helper

    from telltale.bundle import load_bundle, write_card

    model = onnx.load(folder / "model.onnx")
    (flat,) = [tensor for tensor in model.graph.initializer if tensor.name == "flat"]
    flat.CopyFrom(numpy_helper.from_array(np.array([5], np.int64), "flat"))  # one logit is not five
    card = load_bundle(folder).card
    onnx.save(model, folder / "model.onnx")
    write_card(folder, card)
    code, out, err = run("models", "verify", str(folder))
    assert (code, out) == (2, "")
    assert err.startswith("telltale: bundle_invalid: ")
    assert "does not run" in err


def test_models_list_names_what_is_shipped() -> None:
    from telltale.bundle import shipped_names

    code, out, _ = run("models", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == shipped_names()


def test_train_names_the_install_command_where_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run("train", "faces", "--out", "run") == (
        2,
        "",
        "telltale: missing_extra: torch is not installed, and this needs it: pip install 'telltale[train]'\n",
    )


def test_train_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, bundle: Callable[[], Path]) -> None:
    for module in ("torch", "lightning", "timm"):
        pytest.importorskip(module, reason="trains")
    from telltale.bundle import load_bundle
    from telltale.train import TrainSettings

    seen: dict[str, Any] = {}

    def fit(faces: list[str], **options: Any) -> object:
        seen.update(options, faces=faces)
        return load_bundle(bundle())

    monkeypatch.setattr(sys.modules["telltale.train"], "train", fit)
    given = ("--recipe", "default", "--set", "seed=7", "--set", "stages.0.epochs=1", "--weights", "none", "--resume")
    code, out, err = run("train", "a", "b", "--out", "run", *given)
    assert code == 0
    assert "run holds no run to go on with: a new one begins" in err
    assert "redness" in out
    recipe = seen.pop("recipe")
    assert (recipe.seed, recipe.stages[0].epochs) == (7, 1)
    settings = TrainSettings(weights="none", resume=True)
    assert seen == {"faces": ["a", "b"], "out": Path("run"), "settings": settings}


def test_models_show_leaves_out_intervals_that_a_card_has_no_numbers_for(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="makes a model")
    from make_bundles import make_redness

    figures: dict[str, Any] = {"n_real": 1, "n_fake": 1, "auc": 1.0, "tpr_at_1pct_fpr": 0.25}
    figures["ci95"] = {"auc": [None, None], "tpr_at_1pct_fpr": [0.2, 0.3]}
    folder = make_redness(tmp_path / "redness", metrics={"val": {"ten": figures}})
    code, out, err = run("models", "show", str(folder))
    assert (code, err) == (0, "")
    assert "AUC 1.000; fakes found at 1% false alarms 0.250 (0.200 to 0.300)" in " ".join(out.split())
