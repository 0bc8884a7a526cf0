"""Padding that an exported graph does in a step of its own, moved into the convolution after it.

TensorFlow's SAME padding of stride-2 layers is uneven, which torch's convolutions cannot say, so the exporter writes a
`Pad` whose amounts come out of a chain of constants. ONNX Runtime then leaves its blocked layout for each: a quarter of
a MobileNetV2's time. A convolution's own `pads` may be uneven, and every product stays the same.

    fold_pads(folder / "model.onnx", {"clips": clips[:1]})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def fold_pads(path: Path, sample: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """Rewrite the graph at `path`; `sample` is any valid input. Returns the number of `Pad`s that are gone.

    Only pads with zeros of (N, C, H, W) that nothing but convolutions read are touched: two networks side by side share
    the first.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}
    pads = [node for node in graph.node if _is_foldable(node, readers, outputs)]
    amounts = _values([node.input[1] for node in pads], model, sample)
    n_folded = 0
    for node in pads:
        amount = amounts[node.input[1]]
        if len(amount) != 8 or amount.min() < 0 or amount[[0, 1, 4, 5]].any():
            continue
        for conv in readers[node.output[0]]:
            attribute = next((a for a in conv.attribute if a.name == "pads"), None)
            before = np.zeros(4, np.int64) if attribute is None else np.array(attribute.ints)
            if attribute is not None:
                conv.attribute.remove(attribute)
            conv.attribute.append(onnx.helper.make_attribute("pads", [int(v) for v in before + amount[[2, 3, 6, 7]]]))
            conv.input[0] = node.input[0]
        graph.node.remove(node)
        n_folded += 1
    if n_folded:
        _drop_unread(graph)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString(deterministic=True))
    return n_folded


def _is_foldable(node: Any, readers: Mapping[str, list[Any]], outputs: set[str]) -> bool:
    if node.op_type != "Pad" or node.output[0] in outputs or any(node.input[2:]):
        return False
    modes = [attribute.s for attribute in node.attribute if attribute.name == "mode"]
    if modes not in ([], [b"constant"]):
        return False
    after = readers.get(node.output[0], [])
    return bool(after) and all(_takes_pads(reader, node.output[0]) for reader in after)


def _takes_pads(node: Any, name: str) -> bool:
    """Whether it is a convolution that pads as it says, of `name`."""
    is_automatic = any(a.name == "auto_pad" and a.s not in (b"", b"NOTSET") for a in node.attribute)
    return bool(node.op_type == "Conv" and not is_automatic and name not in node.input[1:])


def _values(names: list[str], model: Any, sample: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """What the graph computes under these names."""
    import onnx
    import onnxruntime

    if not names:
        return {}
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    asked.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, dict(sample)), strict=True))


def _drop_unread(graph: Any) -> None:
    """Remove the chains of constants that nobody reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        dead = [node for node in graph.node if not any(name in read for name in node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    for initializer in [i for i in graph.initializer if i.name not in read]:
        graph.initializer.remove(initializer)
