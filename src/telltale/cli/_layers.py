"""A model's layers on the terminal: each operation that has weights, their shapes, and how many there are."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from telltale._onnx_file import Graph, Node, NotOnnx, read_graph
from telltale._text import visible
from telltale.bundle import Bundle
from telltale.errors import BundleInvalid


@dataclass
class Layer:
    """One operation and its weights; two that share their weights are one, used twice."""

    op: str
    name: str
    shapes: list[tuple[int, ...]]
    times: int = 1

    @property
    def n_numbers(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)


def layers_of(graph: Graph) -> list[Layer]:
    """In the order in which they are computed."""
    shapes = {name: shape for name, shape in graph.shapes().items() if shape}
    source: dict[str, str] = {}
    for node in graph.nodes:  # the exporter shares weights by copying them
        if node.op == "Identity" and source.get(node.inputs[0], node.inputs[0]) in shapes:
            source[node.outputs[0]] = source.get(node.inputs[0], node.inputs[0])
    found: dict[tuple[str, ...], Layer] = {}
    for node in graph.nodes:
        weights = tuple(name for given in node.inputs if (name := source.get(given, given)) in shapes)
        if not weights or node.op == "Identity":
            continue
        if weights in found:
            found[weights].times += 1
        else:
            name = weights[0].rpartition(".")[0] or _place(node)
            found[weights] = Layer(node.op, name, [shapes[weight] for weight in weights])
    return list(found.values())


def _place(node: Node) -> str:
    """`net.blocks.1.conv` of an output named `/net/blocks/blocks.1/conv/Conv_output_0`, as PyTorch's exporter does."""
    parts = node.outputs[0].strip("/").split("/")
    if len(parts) > 1 and parts[-1].startswith(node.op):
        parts.pop()
    kept = [part for part, after in zip(parts, [*parts[1:], ""], strict=True) if not after.startswith(f"{part}.")]
    return ".".join(kept)


def print_layers(bundle: Bundle, *, one_by_one: bool) -> None:
    """How many layers, numbers and operations there are; `one_by_one` each layer before that. Raises BundleInvalid
    where the graph cannot be read."""
    try:
        graph = read_graph(bundle.model_path.read_bytes())
        layers = layers_of(graph)
    except NotOnnx as error:
        raise BundleInvalid(f"{bundle.model_path}: {error}") from error
    table = Table("layer", "operation", "weights", "numbers", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.columns[0].overflow = "fold"
    table.columns[3].justify = "right"
    for layer in layers:
        sizes = ", ".join(" x ".join(str(side) for side in shape) for shape in layer.shapes)
        op = layer.op + (f", {layer.times} times" if layer.times > 1 else "")
        table.add_row(Text(visible(layer.name)), Text(visible(op)), Text(sizes), Text(f"{layer.n_numbers:,}"))
    console = Console()
    console.print()
    if one_by_one:
        console.print(table)
    counts = Counter(node.op for node in graph.nodes if node.op not in ("Constant", "Identity"))
    said = ", ".join(f"{n} {op}" for op, n in counts.most_common())
    total = sum(layer.n_numbers for layer in layers)
    console.print(
        Text(f"{len(layers)} layers with {total:,} numbers; {sum(counts.values())} operations: {visible(said)}")
    )
