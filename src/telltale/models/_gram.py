"""Inner products between faces of standardised pixels, from bytes, in blocks: no floating-point copy of the matrix.

A face of 320 x 320 px has 307,200 features and there are far fewer faces: every kernel machine here needs only the
faces' inner products. Pixels are standardised a block of features at a time, multiplied in float32 and added up in
float64, so that the error does not grow with the number of features.

>>> pixels = np.random.default_rng(0).integers(0, 256, (50, 6), dtype=np.uint8)     # (features, faces)
>>> scale = fit_scale(pixels, np.arange(6))
>>> inner = gram(pixels, scale, np.arange(6))
>>> z = (pixels.T - scale.mean) * scale.factor
>>> bool(np.abs(inner - z @ z.T).max() < 1e-4)
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from telltale.errors import require
from telltale.types import Float32Array, Float64Array

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

_BLOCK_BYTES = 1 << 28
_TILE = 2048
"""Faces multiplied with as many others at a time: the product stays small beside the matrix it is added to."""
_STRIP = 32
"""Features standardised at a time, so that the strip stays in the cache."""


@dataclass(frozen=True, slots=True)
class Scale:
    """z = (pixel - mean) * factor, for each feature."""

    mean: Float64Array
    factor: Float64Array
    """1 / standard deviation; 1 where all pixels are alike, as in scikit-learn's `StandardScaler`."""
    variance: float
    """Of all values of z together: what `gamma="scale"` divides by."""


def fit_scale(pixels: Bytes, rows: Rows, *, standardise: bool = True) -> Scale:
    """The scale of the faces `rows`; without `standardise`, pixels as they are."""
    n_features, n = len(pixels), len(rows)
    mean, second = np.empty(n_features), np.empty(n_features)
    step = max(1, _BLOCK_BYTES // (16 * n))
    for start in range(0, n_features, step):
        block = pixels[start : start + step][:, rows]
        mean[start : start + step] = block.mean(axis=1, dtype=np.float64)
        squares = np.einsum("ij,ij->i", block, block, dtype=np.float64, casting="unsafe")
        second[start : start + step] = squares / n
    variance = np.maximum(second - mean**2, 0)
    varies = variance > 1e-9
    if not standardise:
        overall = float(second.mean() - mean.mean() ** 2)
        return Scale(np.zeros(n_features), np.ones(n_features), overall or 1.0)
    factor = 1 / np.sqrt(np.where(varies, variance, 1.0))
    return Scale(mean, factor, float(varies.mean()) or 1.0)


def scaled(pixels: Bytes, scale: Scale, start: int, stop: int, rows: Rows) -> Float32Array:
    """z of features `start` to `stop` of the faces `rows`, (features, faces)."""
    block = np.empty((stop - start, len(rows)), np.float32)
    mean, factor = scale.mean.astype(np.float32)[:, None], scale.factor.astype(np.float32)[:, None]
    for top in range(start, stop, _STRIP):
        strip = slice(top, min(top + _STRIP, stop))
        part = block[top - start : strip.stop - start]
        np.subtract(pixels[strip].take(rows, axis=1), mean[strip], out=part)
        part *= factor[strip]
    return block


def blocks(n_features: int, n_faces: int) -> Iterator[tuple[int, int]]:
    """Ranges of features that take a quarter of a gigabyte as float32."""
    step = max(1, _BLOCK_BYTES // (4 * n_faces))
    yield from ((start, min(start + step, n_features)) for start in range(0, n_features, step))


def gram(
    pixels: Bytes,
    scale: Scale,
    rows: Rows,
    others: Rows | None = None,
    *,
    n_threads: int = 1,
    on_block: Callable[[float], None] | None = None,
) -> Float64Array:
    """z_i . z_j for i in `others` (None: in `rows`) and j in `rows`: (others, rows).

    `on_block` is called with the share done.
    """
    product = _product(n_threads)
    down, across = _tiles(rows if others is None else others), _tiles(rows)
    found = np.zeros((down[-1].stop, len(rows)))
    for start, stop in blocks(len(pixels), len(rows) + (0 if others is None else len(others))):
        right = [scaled(pixels, scale, start, stop, rows[tile]) for tile in across]
        for i, top in enumerate(down):
            mine = right[i] if others is None else scaled(pixels, scale, start, stop, others[top])
            left = np.ascontiguousarray(mine.T)
            # Below the diagonal everything is the mirror image of what is above.
            for j in range(i if others is None else 0, len(across)):
                found[top, across[j]] += product(left, right[j])
        if on_block is not None:
            on_block(stop / len(pixels))
    if others is None:
        for i, top in enumerate(down):
            for tile in across[:i]:
                found[top, tile] = found[tile, top].T
    return found


def _tiles(rows: Rows) -> list[slice]:
    return [slice(top, min(top + _TILE, len(rows))) for top in range(0, len(rows), _TILE)]


def _product(n_threads: int) -> Callable[[Float32Array, Float32Array], Float32Array]:
    """(m, f), (f, n) -> (m, n).

    On ONNX Runtime: it multiplies with AVX-512 where NumPy's OpenBLAS does not know the processor and takes the code
    for an older one (199 to 126 GFLOPS a core on an EPYC of 2025).
    """
    require("onnx", "train")
    import onnxruntime as ort
    from onnx import TensorProto, helper

    def matrix(name: str, *shape: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    inputs = [matrix("a", "m", "f"), matrix("b", "f", "n")]
    graph = helper.make_graph([node], "product", inputs, [matrix("c", "m", "n")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.enable_cpu_mem_arena = False  # the arena would keep every size of product it once gave
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def product(a: Float32Array, b: Float32Array) -> Float32Array:
        return np.asarray(session.run(["c"], {"a": a, "b": b})[0], np.float32)

    return product


def squared_norms(pixels: Bytes, scale: Scale, rows: Rows) -> Float64Array:
    """|z_i|^2."""
    found = np.zeros(len(rows))
    for start, stop in blocks(len(pixels), len(rows)):
        z = scaled(pixels, scale, start, stop, rows)
        found += np.einsum("ij,ij->j", z, z, dtype=np.float64)
    return found


def combine(pixels: Bytes, scale: Scale, rows: Rows, alpha: Float64Array) -> Float64Array:
    """Sum of alpha_i z_i: the weights of a linear model, (features,)."""
    found = np.empty(len(pixels))
    for start, stop in blocks(len(pixels), len(rows)):
        found[start:stop] = scaled(pixels, scale, start, stop, rows) @ alpha
    return found
