"""What the documentation shows is true: examples in docstrings run, commands and links exist."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import telltale
from telltale.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
COMMANDS = [
    (page.name, line.split("#")[0].strip())
    for page in PAGES
    for line in page.read_text(encoding="utf-8").splitlines()
    if line.startswith("    telltale ")
]
OPTIONAL = (
    "torch",
    "timm",
    "lightning",
    "sklearn",
    "matplotlib",
    "fastapi",
    "starlette",
    "uvicorn",
    "python_multipart",
    "httpx2",
    "ray",
    "captum",
    "yaml",
    "onnx",
)


def _modules() -> list[str]:
    return sorted(
        info.name for info in pkgutil.walk_packages(telltale.__path__, "telltale.") if "__main__" not in info.name
    )


@pytest.mark.parametrize("name", _modules())
def test_examples_in_docstrings_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in OPTIONAL:
            pytest.skip(f"needs {error.name}")
        raise
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_in_the_docs_exist_with_their_options(page: str, command: str) -> None:
    words = shlex.split(command)[1:]
    known = {"models"}
    path = words[: 2 if words[0] in known else 1]
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0, f"{page}: {command}"
    missing = [word for word in words if word.startswith("--") and word.split("=")[0] not in result.stdout]
    assert not missing, f"{page}: {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_docs_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_of_the_docs_is_listed() -> None:
    listed = set(re.findall(r"\]\(([^)#/]+\.md)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.slow
def test_the_python_of_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "lightning", "matplotlib", "onnx"):
        pytest.importorskip(module, reason="trains")
    from PIL import Image

    import make_videos

    for number in range(10):
        for label, shade in (("real", 0), ("fake", 60)):
            picture = make_videos.portrait().copy()
            picture[..., 1] = np.maximum(picture[..., 1], shade)
            picture[:10, :10] = 10 * number + shade  # no two files are alike
            (tmp_path / "mine" / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "mine" / label / f"{number}.png")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "train.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    said: list[Any] = []
    exec(block, {"print": said.append})
    auc, logit = said
    assert 0 <= auc <= 1
    assert logit.shape == (20,)
    assert np.isfinite(logit).all()
    assert (tmp_path / "figures" / "roc.png").is_file()
