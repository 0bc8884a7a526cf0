"""What a model file must not be, whatever its card says: a pickle, a graph that reads other files, NaN for weights.

    check_model(path.read_bytes(), str(path))       # or BundleInvalid

ONNX Runtime looks for external data beside the working folder when a model comes as bytes, so a graph could name any
file; and a model with NaN in it answers NaN or, after a clip, a confident number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from telltale._onnx_file import NotOnnx, fields, integers
from telltale.errors import BundleInvalid

_PICKLES = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04|\x1f\x8b|\x93NUMPY", re.DOTALL)
"""Python's own, PyTorch's (a zip of pickles), and what often wraps them."""
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE, _FUNCTION_NODE, _NODE_ATTRIBUTE = 1, 5, 15, 7, 5
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_SPARSE_TENSORS = (1, 2)
_EXTERNAL, _LOCATION = 13, 14
_HALF = 10
_FLOATS = {1: ("<f4", 4), _HALF: ("<f2", None), 11: ("<f8", 10)}
"""TensorProto.DataType -> how its bytes are read, and the field that may hold its values instead of raw bytes."""
_RAW, _KIND, _NAME, _INTEGERS = 9, 2, 8, 5
_DEEPEST = 16
"""Graphs inside graphs: If and Loop. Exporters nest two or three."""


def check_model(data: bytes, name: str) -> None:
    """Raises `BundleInvalid` where `data`, a model file's content, may not be loaded."""
    if _PICKLES.match(data):
        raise BundleInvalid(
            f"{name} is a pickle or an archive of pickles, which could run any code; export the model to ONNX"
        )
    try:
        for tensor in _tensors_of_model(memoryview(data)):
            _check_tensor(tensor, name)
    except (NotOnnx, IndexError, ValueError) as error:
        raise BundleInvalid(f"{name} does not load: {error}; fetch or export it again") from error


def _tensors_of_model(data: memoryview) -> Iterator[memoryview]:
    for number, value in _messages(data):
        if number == _MODEL_GRAPH:
            yield from _tensors_of_graph(value, 0)
        elif number == _MODEL_FUNCTIONS:
            for part, content in _messages(value):
                if part == _FUNCTION_NODE:
                    yield from _tensors_of_node(content, 0)


def _tensors_of_graph(data: memoryview, depth: int) -> Iterator[memoryview]:
    if depth > _DEEPEST:
        raise NotOnnx(f"graphs are nested more than {_DEEPEST} deep")
    for number, value in _messages(data):
        if number == _GRAPH_TENSOR:
            yield value
        elif number == _GRAPH_SPARSE:
            yield from _tensors_of_sparse(value)
        elif number == _GRAPH_NODE:
            yield from _tensors_of_node(value, depth)


def _tensors_of_node(data: memoryview, depth: int) -> Iterator[memoryview]:
    for number, attribute in _messages(data):
        if number != _NODE_ATTRIBUTE:
            continue
        for part, content in _messages(attribute):
            if part in _ATTRIBUTE_TENSORS:
                yield content
            elif part in _ATTRIBUTE_GRAPHS:
                yield from _tensors_of_graph(content, depth + 1)
            elif part in _ATTRIBUTE_SPARSE:
                yield from _tensors_of_sparse(content)


def _tensors_of_sparse(data: memoryview) -> Iterator[memoryview]:
    return (value for number, value in _messages(data) if number in _SPARSE_TENSORS)


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    return ((number, value) for number, value in fields(data) if isinstance(value, memoryview))


def _check_tensor(tensor: memoryview, model: str) -> None:
    said = dict(_scalars(tensor))
    found = dict(_messages(tensor))
    what = bytes(found.get(_NAME, b"")).decode("utf-8", "replace")[:80]
    if said.get(_LOCATION) or _EXTERNAL in found:
        raise BundleInvalid(
            f"{model}: the weights {what!r} lie in another file; a bundle holds them all: save the model in one file "
            "(onnx.save(onnx.load(path), path))"
        )
    kind = said.get(_KIND, 0)
    if kind not in _FLOATS:
        return
    form, field = _FLOATS[kind]
    parts = [np.frombuffer(value, form) for number, value in _messages(tensor) if number in (_RAW, field)]
    if kind == _HALF:
        parts += [_halves(value) for number, value in fields(tensor) if number == _INTEGERS]
    if any(np.isnan(part).any() for part in parts):
        raise BundleInvalid(f"{model}: the weights {what!r} hold NaN; the model is damaged: fetch or train it again")


def _halves(value: memoryview | int) -> npt.NDArray[np.float16]:
    """Each is the number that its 16 bits make."""
    return np.array(integers(value), np.int64).astype("<u2").view("<f2")


def _scalars(data: memoryview) -> Iterator[tuple[int, int]]:
    return ((number, value) for number, value in fields(data) if isinstance(value, int))
