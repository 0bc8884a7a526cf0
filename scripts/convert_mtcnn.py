"""Make src/telltale/weights/mtcnn/*.onnx from the weights inside the PyPI package mtcnn 1.0.0 (MIT).

    python -m venv /tmp/convert && /tmp/convert/bin/pip install joblib lz4 numpy onnx && \
        /tmp/convert/bin/pip install --no-deps mtcnn==1.0.0
    /tmp/convert/bin/python scripts/convert_mtcnn.py src/telltale/weights/mtcnn

TensorFlow is not needed: `import mtcnn` would want it, but the weights are lists of arrays that joblib reads.

What is changed on the way, all of it exact up to rounding:
- pixels 0-255 go in as (N, H, W, 3), float32 for pnet (averaged over areas: rounding them moves boxes), uint8 for rnet
  and onet; the package's (x - 127.5) / 128 is folded into the first convolution;
- the softmax over (no face, face) becomes one logit, the difference of the two;
- the package flattens feature maps as (width, height, channel); the dense weights are reordered to (channel, height,
  width), so that no transposition is left;
- PReLU after a convolution becomes a x + (1 - a) relu(x), channel-wise scales: ONNX Runtime's PRelu is a slow loop that
  also forces blocked data back into rows, and took half of the time;
- rnet's first layer has 28 channels, padded with four of zeros: a multiple of 16 stays in blocks;
- outputs are joined: pnet "map" (N, 5, h, w), rnet "out" (N, 5), onet "out" (N, 15): logit, 4 box offsets, and for
  onet 5 x and 5 y of points.
"""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
OPSET, IR_VERSION = 17, 8  # what onnxruntime 1.20 reads


class Graph:
    """Nodes in the order they are added, each fed by the one before."""

    def __init__(self, pixels: int, height: int | str, width: int | str) -> None:
        self.input = helper.make_tensor_value_info("pixels", pixels, ["n", height, width, 3])
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last = "pixels"

    def add(self, op: str, *weights: Array, **attributes: Any) -> None:
        name = f"{op.lower()}{len(self.nodes)}"
        inputs = [self.last]
        for i, weight in enumerate(weights):
            inputs.append(f"{name}_{i}")
            kept = weight if weight.dtype == np.int64 else weight.astype(np.float32)
            self.weights.append(numpy_helper.from_array(np.ascontiguousarray(kept), inputs[-1]))
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.last = name

    def join(self, op: str, other: str) -> None:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, other], [name], name=name))
        self.last = name

    def conv(self, kernel: Array, bias: Array) -> None:
        self.add("Conv", kernel.transpose(3, 2, 0, 1), bias, kernel_shape=kernel.shape[:2])

    def prelu(self, slope: Array) -> None:
        if slope.ndim != 3:
            self.add("PRelu", slope)
            return
        before, a = self.last, slope.reshape(-1, 1, 1, 1)
        self.add("Conv", a, kernel_shape=[1, 1], group=len(a))
        scaled, self.last = self.last, before
        self.add("Relu")
        self.add("Conv", 1.0 - a, kernel_shape=[1, 1], group=len(a))
        self.join("Add", scaled)

    def pool(self, side: int, *, same: bool) -> None:
        self.add("MaxPool", kernel_shape=[side, side], strides=[2, 2], ceil_mode=int(same))

    def save(self, path: Path, output: str, shape: list[Any]) -> None:
        self.nodes[-1].output[0] = output
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [self.input],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
            self.weights,
            doc_string="MTCNN, converted from the PyPI package mtcnn 1.0.0 (MIT, Iván de Paz Centeno)",
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="telltale scripts/convert_mtcnn.py",
        )
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
        print(f"{path}: {path.stat().st_size:,} bytes")


def begin(graph: Graph, kernel: Array, bias: Array) -> None:
    if graph.input.type.tensor_type.elem_type != TensorProto.FLOAT:
        graph.add("Cast", to=TensorProto.FLOAT)
    graph.add("Transpose", perm=[0, 3, 1, 2])
    graph.conv(kernel / 128.0, bias - kernel.sum(axis=(0, 1, 2)) * (127.5 / 128.0))


def logit(weight: Array, bias: Array) -> tuple[Array, Array]:
    """The difference of the two columns of a softmax."""
    return weight[..., 1:] - weight[..., :1], bias[1:] - bias[:1]


def dense(graph: Graph, weight: Array, bias: Array) -> None:
    graph.add("Gemm", weight, bias)


def flattened(weight: Array, width: int, height: int) -> Array:
    """Rows of a dense weight from (width, height, channel) to (channel, height, width)."""
    channels = weight.shape[0] // (width * height)
    ordered: Array = weight.reshape(width, height, channels, -1).transpose(2, 1, 0, 3)
    return ordered.reshape(weight.shape)


def pnet(w: list[Array], path: Path) -> None:
    graph = Graph(TensorProto.FLOAT, "height", "width")
    begin(graph, w[0], w[1])
    graph.prelu(w[2])
    graph.pool(2, same=True)
    graph.conv(w[3], w[4])
    graph.prelu(w[5])
    graph.conv(w[6], w[7])
    graph.prelu(w[8])
    face, face_bias = logit(w[11], w[12])
    graph.conv(np.concatenate([face, w[9]], axis=-1), np.concatenate([face_bias, w[10]]))
    graph.save(path, "map", ["n", 5, "rows", "columns"])


def padded(weight: Array, axis: int, n: int) -> Array:
    """With zeros up to `n` along an axis."""
    missing = [(0, n - weight.shape[axis] if i == axis else 0) for i in range(weight.ndim)]
    return np.pad(weight, missing)


def rnet(w: list[Array], path: Path) -> None:
    w = [*(padded(weight, -1, 32) for weight in w[:3]), padded(w[3], 2, 32), *w[4:]]
    graph = Graph(TensorProto.UINT8, 24, 24)
    begin(graph, w[0], w[1])
    graph.prelu(w[2])
    graph.pool(3, same=True)
    graph.conv(w[3], w[4])
    graph.prelu(w[5])
    graph.pool(3, same=False)
    graph.conv(w[6], w[7])
    graph.prelu(w[8])
    graph.add("Flatten")
    dense(graph, flattened(w[9], 3, 3), w[10])
    graph.prelu(w[11])
    face, face_bias = logit(w[14], w[15])
    dense(graph, np.concatenate([face, w[12]], axis=-1), np.concatenate([face_bias, w[13]]))
    graph.save(path, "out", ["n", 5])


def onet(w: list[Array], path: Path) -> None:
    graph = Graph(TensorProto.UINT8, 48, 48)
    begin(graph, w[0], w[1])
    graph.prelu(w[2])
    graph.pool(3, same=True)
    graph.conv(w[3], w[4])
    graph.prelu(w[5])
    graph.pool(3, same=False)
    graph.conv(w[6], w[7])
    graph.prelu(w[8])
    graph.pool(2, same=True)
    graph.conv(w[9], w[10])
    graph.prelu(w[11])
    graph.add("Flatten")
    dense(graph, flattened(w[12], 3, 3), w[13])
    graph.prelu(w[14])
    face, face_bias = logit(w[19], w[20])
    dense(
        graph,
        np.concatenate([face, w[15], w[17]], axis=-1),
        np.concatenate([face_bias, w[16], w[18]]),
    )
    graph.save(path, "out", ["n", 15])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    found = importlib.util.find_spec("mtcnn")
    if found is None or found.origin is None:
        raise SystemExit("mtcnn is not installed: pip install --no-deps mtcnn==1.0.0")
    weights = Path(found.origin).parent / "assets" / "weights"
    out.mkdir(parents=True, exist_ok=True)
    for make in (pnet, rnet, onet):
        name = make.__name__
        make(joblib.load(weights / f"{name}.lz4"), out / f"{name}.onnx")


if __name__ == "__main__":
    main()
