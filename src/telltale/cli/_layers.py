"""A model's layers on the terminal: its operations counted, and every weight with its shape."""

from __future__ import annotations

import math
from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from telltale._onnx_file import NotOnnx, read_graph
from telltale._text import visible
from telltale.bundle import Bundle
from telltale.errors import BundleInvalid


def print_layers(bundle: Bundle) -> None:
    """Raises BundleInvalid where the graph cannot be read."""
    try:
        graph = read_graph(bundle.model_path.read_bytes())
        shapes = {name: shape for name, shape in graph.shapes().items() if shape}
    except NotOnnx as error:
        raise BundleInvalid(f"{bundle.model_path}: {error}") from error
    used_by = {name: node.op for node in reversed(graph.nodes) for name in node.inputs}
    table = Table("operation", "weight", "shape", "numbers", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.columns[1].overflow = "fold"
    table.columns[3].justify = "right"
    for name, shape in shapes.items():
        size = " x ".join(str(side) for side in shape)
        table.add_row(Text(used_by.get(name, "")), Text(visible(name)), Text(size), Text(f"{math.prod(shape):,}"))
    console = Console()
    console.print(table)
    counts = Counter(node.op for node in graph.nodes if node.op != "Constant")
    said = ", ".join(f"{n} {op}" for op, n in counts.most_common())
    total = sum(math.prod(shape) for shape in shapes.values())
    console.print(Text(f"{sum(counts.values())} operations: {visible(said)}"))
    console.print(Text(f"{total:,} numbers in {len(shapes)} weights"))


__all__ = ["print_layers"]
