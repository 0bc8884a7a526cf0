"""Class activation maps (Zhou et al., CVPR 2016) from the graph that scans: no torch, no second network.

Where a network ends in global average pooling and one linear layer, the logit is the mean over places of what that
layer would say about each place alone. Those numbers are the map: what the logit would be if the whole face looked
like this place. The linear layer's weights are found in the ONNX file, by following the graph from `features` to
`logit`; where something else lies between, there is no such map, and `find_head` says so.

>>> features = np.zeros((1, 3, 2, 2), np.float32)
>>> features[0, 1, 0, 1] = 4
>>> place_logits(features, Head(np.array([0, 1, 0], np.float32), -1.0)).tolist()
[[[-1.0, 3.0], [-1.0, -1.0]]]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from telltale._onnx_file import Graph, Node, NotOnnx, read_graph
from telltale.bundle import Bundle
from telltale.errors import UsageError
from telltale.types import Float32Array

FEATURES, LOGIT = "features", "logit"
_POOL_AXES = ({2, 3}, {-2, -1})
_SAME_VALUES = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_MIRRORING = ("Add", "Div", "Mul")
"""How a graph averages the logits of a picture and of its mirror image, where the card says that it does."""
BY_HIDING = "`telltale explain MODEL FILE --method lime --out DIR`"
"""The command that explains any model."""


@dataclass(frozen=True, slots=True)
class Head:
    """The linear layer at the end: logit = weight · mean of features + bias."""

    weight: Float32Array
    """(C,)"""
    bias: float


class _NoHead(Exception):
    pass


def find_head(bundle: Bundle) -> Head:
    """The last layer of the bundle's graph. Raises `UsageError` where the model is not built so."""
    try:
        graph = read_graph(bundle.model_path.read_bytes())
        return _head(graph, may_follow=_SAME_VALUES + (_MIRRORING if bundle.card.flip_average else ()))
    except (_NoHead, NotOnnx) as error:
        raise UsageError(
            f"model {bundle.card.name} gives no class activation map: {error}; hiding parts of the face needs nothing "
            f"but its scores: {BY_HIDING}"
        ) from None


def place_logits(features: Float32Array, head: Head) -> Float32Array:
    """(N, C, h, w) -> (N, h, w): what the logit would be if the whole picture looked like this place."""
    return np.asarray(np.einsum("nchw,c->nhw", features, head.weight, optimize=True) + np.float32(head.bias))


def to_crop(places: Float32Array, size_px: int) -> Float32Array:
    """(h, w) -> (S, S), each place where it lies in the crop, smooth between."""
    import cv2

    enlarged = cv2.resize(places, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, np.float32)


def _head(graph: Graph, *, may_follow: tuple[str, ...]) -> Head:
    if not any(FEATURES in node.outputs for node in graph.nodes):
        raise _NoHead("its graph has no output `features`")
    pool = next((node for node in _after(graph, FEATURES) if _pools(graph, node)), None)
    if pool is None:
        raise _NoHead("`features` are not averaged over the picture")
    linear = next((node for node in _after(graph, pool.outputs[0]) if node.op in ("Gemm", "MatMul")), None)
    if linear is None:
        raise _NoHead("no linear layer follows the average")
    head = _weights(graph, linear)
    end = linear
    if linear.op == "MatMul":
        head, end = _with_bias(graph, linear, head)
    if not _leads_to_logit(graph, end, may_follow):
        raise _NoHead("its last layers are not linear")
    return head


def _after(graph: Graph, name: str) -> list[Node]:
    """Nodes that take a tensor, or what has the same values in another shape."""
    found: list[Node] = []
    for node in graph.consumers(name):
        found += _after(graph, node.outputs[0]) if node.op in _SAME_VALUES else [node]
    return found


def _pools(graph: Graph, node: Node) -> bool:
    if node.op == "GlobalAveragePool":
        return True
    if node.op != "ReduceMean":
        return False
    axes: Any = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1:
        axes = graph.tensor(node.inputs[1])
    return axes is not None and {int(axis) for axis in axes} in _POOL_AXES


def _weights(graph: Graph, node: Node) -> Head:
    matrix = graph.tensor(node.inputs[1])
    if matrix is None or matrix.ndim != 2:
        raise _NoHead("the last layer's weights are not in the file")
    if node.attributes.get("transB"):
        matrix = matrix.T
    if matrix.shape[1] != 1:
        raise _NoHead(f"the last layer has {matrix.shape[1]} outputs instead of one")
    bias = 0.0
    if len(node.inputs) > 2:
        added = graph.tensor(node.inputs[2])
        if added is None or added.size != 1:
            raise _NoHead("the last layer's bias is not in the file")
        bias = float(added.reshape(()))
    alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    return Head(np.asarray(alpha * matrix[:, 0], np.float32), beta * bias)


def _with_bias(graph: Graph, linear: Node, head: Head) -> tuple[Head, Node]:
    """A bias may be a node of its own."""
    for node in _after(graph, linear.outputs[0]):
        added = [graph.tensor(name) for name in node.inputs] if node.op == "Add" else []
        for value in added:
            if value is not None and value.size == 1:
                return Head(head.weight, head.bias + float(value.reshape(()))), node
    return head, linear


def _leads_to_logit(graph: Graph, node: Node, through: tuple[str, ...]) -> bool:
    if LOGIT in node.outputs:
        return True
    followers = [follower for name in node.outputs for follower in graph.consumers(name)]
    return any(_leads_to_logit(graph, follower, through) for follower in followers if follower.op in through)
