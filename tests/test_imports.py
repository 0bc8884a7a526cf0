"""Which module may know which, and what `import telltale` may load."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "telltale"
LAYERS = (
    ("errors",),
    ("types",),
    (
        "video",
        "pictures",
        "sampling",
        "crops",
        "tracking",
        "augment",
        "perturb",
        "recompress",
        "selfblend",
        "metrics",
        "aggregate",
        "gate",
        "recipe",
    ),
    (
        "faces",
        "following",
        "extract",
        "datasets",
        "store",
        "split",
        "bundle",
        "runtime",
        "sandbox",
        "engine",
        "scoring",
        "provenance",
    ),
    (
        "scan",
        "many",
        "annotate",
        "stability",
        "import_onnx",
        "prepare",
        "evaluate",
        "explain",
        "plots",
        "inspect",
        "report",
        "models",
        "train",
        "tune",
        "export",
        "doctor",
    ),
    ("cli", "web"),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
HEAVY = ("torch", "ray", "fastapi", "sklearn", "onnxruntime", "cv2", "av")


def _units() -> dict[str, list[Path]]:
    """Top-level module or package -> its files."""
    units: dict[str, list[Path]] = {}
    for path in sorted(SRC.rglob("*.py")):
        name = path.relative_to(SRC).parts[0].removesuffix(".py")
        if name not in {"__init__", "__main__"}:
            units.setdefault(name, []).append(path)
    return units


@functools.cache
def _imported(path: Path, *, also_in_functions: bool) -> set[str]:
    """Full names of what a file imports; what only type checkers see is left out."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not also_in_functions:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        waiting += ast.iter_child_nodes(node)
    return found


def _foreign_private(path: Path) -> set[str]:
    """What a file imports, anywhere in it, that is private to a package of ours which the file is not in."""
    home = path.relative_to(SRC).parts[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            root, _, inside = name.partition(".")
            package, *parts = inside.split(".")
            if root == "telltale" and package != home and any(part.startswith("_") for part in parts):
                found.add(name)
    return found


@functools.cache
def _graph(*, also_in_functions: bool) -> dict[str, set[str]]:
    """Unit -> the units of this package that it imports."""
    units = _units()
    graph: dict[str, set[str]] = {}
    for unit, paths in units.items():
        names = {name for path in paths for name in _imported(path, also_in_functions=also_in_functions)}
        inside = {name.split(".")[1] for name in names if name.startswith("telltale.")}
        graph[unit] = (inside & units.keys()) - {unit}
    return graph


def _reach(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


@pytest.mark.parametrize("unit", [unit for unit in _units() if unit in RANKS])
def test_dependencies_point_one_way(unit: str) -> None:
    above = {other for other in _reach(_graph(also_in_functions=False), unit) if RANKS.get(other, -1) > RANKS[unit]}
    assert not above, f"{unit} must not depend on {sorted(above)}"


def test_every_public_module_has_its_layer_and_no_private_one_knows_the_highest() -> None:
    assert {unit for unit in _units() if not unit.startswith("_")} == RANKS.keys()
    graph = _graph(also_in_functions=False)
    assert not [unit for unit in graph if unit.startswith("_") and _reach(graph, unit) & {*LAYERS[-1]}]


@pytest.mark.parametrize("unit", _units())
def test_what_is_private_to_a_package_only_its_own_files_import(unit: str) -> None:
    assert not {str(path.relative_to(SRC)): names for path in _units()[unit] if (names := _foreign_private(path))}


def test_all_imports_are_absolute() -> None:
    """The tests here read no others."""
    nodes = [(path, node) for path in SRC.rglob("*.py") for node in ast.walk(ast.parse(path.read_bytes()))]
    assert not [path for path, node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = _graph(also_in_functions=False)
    assert not [unit for unit in graph if unit in _reach(graph, unit)]


def test_scanning_knows_neither_models_nor_training() -> None:
    reach = _reach(_graph(also_in_functions=True), "scan")
    assert not reach & {"models", "train", "tune", "export"}


def test_scanning_never_names_torch() -> None:
    units = _units()
    reach = {"scan", *_reach(_graph(also_in_functions=True), "scan")}
    names = {
        name.split(".")[0] for unit in reach for path in units[unit] for name in _imported(path, also_in_functions=True)
    }
    assert not names & {"torch", "torchvision", "timm", "lightning", "sklearn", "matplotlib"}


@pytest.mark.parametrize(
    "statement",
    ["import telltale", "import telltale.cli", "import telltale.scan", "from telltale import types, errors"],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys; {statement}; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("statement", "late"),
    [("import telltale.extract", ("pydantic", "jinja2")), ("import telltale.sandbox", ("numpy", "pydantic"))],
)
def test_a_scan_s_start_waits_for_nothing_that_is_used_later(statement: str, late: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print(*sorted({set(late)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_all_names_everything_public() -> None:
    code = "import telltale; print(*[name for name in telltale.__all__ if getattr(telltale, name, None) is None])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
