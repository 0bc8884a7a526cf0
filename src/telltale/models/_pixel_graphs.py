"""ONNX graphs of the classical models: uint8 clips (N, 1, S, S, 3) in, `logit` (N,) out, standardisation inside.

Written node by node: converters would want float pixels that were standardised by the caller.

>>> from telltale.models._logistic import LogisticOptions
>>> model = Logistic(LogisticOptions())
>>> model.fit(np.random.default_rng(0).integers(0, 256, (48, 9), dtype=np.uint8), np.arange(9) % 2, np.arange(9))
>>> [output.name for output in linear(model, size_px=4).graph.output]
['logit']
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from telltale.errors import UsageError, require
from telltale.models._forest import Forest
from telltale.models._logistic import Logistic
from telltale.models._svm import Svm

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_BYTES = 1 << 30
"""A graph larger than this is refused: protocol buffers end at 2 GiB, and a scan would hold four times as much."""

_OPSET, _ML_OPSET, _IR_VERSION = 17, 3, 8


def linear(of: Logistic, *, size_px: int) -> ModelProto:
    """logit = weight . (pixel - mean) + bias, with the scale in the weights."""
    build = _Builder(size_px)
    weight = of.weight * of.scale.factor
    build.node("Sub", ["pixels", build.floats("mean", of.scale.mean)], "centred")
    build.node("MatMul", ["centred", build.floats("weight", weight[:, None])], "sum")
    build.node("Add", ["sum", build.floats("bias", [of.bias])], "column")
    return build.model("logistic")


def gaussian_svm(of: Svm, *, size_px: int) -> ModelProto:
    """logit = sum of weight_i exp(-gamma |z - z_i|^2) + bias, z = (pixel - mean) * factor.

    The support vectors stay bytes in the file. Raises UsageError where they are over 1 GiB.
    """
    support, mean, factor, gamma = of.support_pixels(), of.scale.mean, of.scale.factor, of.gamma
    if support.nbytes > MAX_BYTES:
        raise UsageError(
            f"{support.shape[1]:,} support vectors of {size_px} x {size_px} px are {support.nbytes / 2**30:.1f} GiB, "
            "more than a model file holds: figures can be had at this size, a bundle at --set model.options.size_px=64"
        )
    z = (support.astype(np.float32) - mean[:, None].astype(np.float32)) * factor[:, None].astype(np.float32)
    norms = np.einsum("ij,ij->j", z, z, dtype=np.float64)
    del z
    build = _Builder(size_px)
    for name, pixels, shape in (("z", "pixels", (1, -1)), ("s", build.cast(build.bytes("support", support)), (-1, 1))):
        build.node("Sub", [pixels, build.floats(f"mean_{name}", mean.reshape(shape))], f"centred_{name}")
        build.node("Mul", [f"centred_{name}", build.floats(f"factor_{name}", factor.reshape(shape))], name)
    build.node("MatMul", ["z", "s"], "inner")
    build.node("Mul", ["inner", build.floats("two_gamma", [2 * gamma])], "similar")
    build.node("Mul", ["z", "z"], "squares")
    build.node("ReduceSum", ["squares", build.integers("features", [1])], "norm")
    build.node("Mul", ["norm", build.floats("gamma", [gamma])], "own")
    build.node("Sub", ["similar", "own"], "partly")
    build.node("Sub", ["partly", build.floats("theirs", gamma * norms)], "exponent")
    build.node("Min", ["exponent", build.floats("zero", [0.0])], "below_zero")
    build.node("Exp", ["below_zero"], "kernel")
    build.node("MatMul", ["kernel", build.floats("weight", of.weight[:, None])], "sum")
    build.node("Add", ["sum", build.floats("bias", [of.bias])], "column")
    return build.model("svm")


def forest(of: Forest, *, size_px: int) -> ModelProto:
    """logit = ln of (votes + 1/2) / (trees - votes + 1/2): finite where all trees agree."""
    build = _Builder(size_px)
    build.node("TreeEnsembleRegressor", ["pixels"], "votes", domain="ai.onnx.ml", **_ensemble(of))
    build.node("Add", ["votes", build.floats("half", [0.5])], "fake")
    build.node("Sub", [build.floats("trees_and_half", [len(of.trees) + 0.5]), "votes"], "real")
    build.node("Div", ["fake", "real"], "odds")
    build.node("Log", ["odds"], "column")
    return build.model("random-forest")


def _ensemble(of: Forest) -> dict[str, Any]:
    """The trees as the attributes of ONNX's operator."""
    sizes = [len(tree) for tree in of.trees]
    tree_ids = np.repeat(np.arange(len(sizes)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    feature = np.concatenate([tree.feature for tree in of.trees])
    leaf = feature < 0
    modes = np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()
    return {
        "n_targets": 1,
        "aggregate_function": "SUM",
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": np.maximum(feature, 0).tolist(),
        "nodes_modes": modes,
        "nodes_values": np.concatenate([tree.threshold for tree in of.trees]).tolist(),
        "nodes_truenodeids": np.maximum(np.concatenate([tree.left for tree in of.trees]), 0).tolist(),
        "nodes_falsenodeids": np.maximum(np.concatenate([tree.right for tree in of.trees]), 0).tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_weights": np.concatenate([tree.p_fake for tree in of.trees])[leaf].tolist(),
    }


class _Builder:
    """Collects nodes and constants; begins with `pixels` float (N, features), ends with the node named `column`."""

    def __init__(self, size_px: int) -> None:
        require("onnx", "train")
        self._size_px = size_px
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        flat = self.integers("flat", [-1, size_px * size_px * 3])
        self.node("Reshape", ["clips", flat], "flat_bytes")
        self.cast("flat_bytes", "pixels")

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))

    def cast(self, name: str, output: str = "") -> str:
        from onnx import TensorProto

        output = output or f"{name}_float"
        self.node("Cast", [name], output, to=TensorProto.FLOAT)
        return output

    def floats(self, name: str, values: npt.ArrayLike) -> str:
        return self._constant(name, np.asarray(values, np.float32))

    def integers(self, name: str, values: npt.ArrayLike) -> str:
        return self._constant(name, np.asarray(values, np.int64))

    def bytes(self, name: str, values: npt.NDArray[np.uint8]) -> str:
        return self._constant(name, np.ascontiguousarray(values))

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def model(self, name: str) -> ModelProto:
        import onnx
        from onnx import TensorProto, helper

        self.node("Reshape", ["column", self.integers("row", [-1])], "logit")
        size = self._size_px
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("clips", TensorProto.UINT8, ["n", 1, size, size, 3])],
            [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="telltale")
        onnx.checker.check_model(model)
        return model
