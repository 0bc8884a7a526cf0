"""Nodes and weights of an ONNX file, read without the `onnx` package, which inference does not install.

An ONNX file is one protobuf message. The few fields that matter here (onnx.proto3) are read straight from the bytes;
weights are views into them. Data outside the file is never looked for.

graph = read_graph(bundle.model_path.read_bytes())
graph.nodes[-1].op, graph.tensor("head.weight").shape
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 7: np.dtype("<i8"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}
"""TensorProto.DataType."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIRST_TAG, _LAST_TAG = 1 << 3, (1 << 32) - 1


class NotOnnx(ValueError):
    """The bytes are no ONNX model that is understood here."""


@dataclass(frozen=True, slots=True)
class Node:
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    """Whole numbers, lists of them, floating-point numbers and tensors; others are left out."""


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: tuple[Node, ...]
    _weights: dict[str, memoryview]

    def tensor(self, name: str) -> npt.NDArray[Any] | None:
        """The weights or the constant of that name; None where it is computed from the input."""
        if name in self._weights:
            return _tensor(self._weights[name])[1]
        for node in self.nodes:
            if node.op == "Constant" and name in node.outputs:
                value = node.attributes.get("value")
                return value if isinstance(value, np.ndarray) else None
        return None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every weight, in the order of the file; whole numbers too."""
        return {name: _shape_of_tensor(data) for name, data in self._weights.items()}

    def consumers(self, name: str) -> list[Node]:
        return [node for node in self.nodes if name in node.inputs]


def read_graph(data: bytes) -> Graph:
    """The main graph of a model. Raises `NotOnnx`."""
    try:
        for number, value in fields(memoryview(data)):
            if number == 7 and isinstance(value, memoryview):
                return _graph(value)
    except (IndexError, ValueError, struct.error) as error:
        raise NotOnnx(f"not an ONNX model: {error}") from error
    raise NotOnnx("not an ONNX model: it holds no graph")


def _graph(data: memoryview) -> Graph:
    nodes: list[Node] = []
    weights: dict[str, memoryview] = {}
    for number, value in fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            weights[_name_of_tensor(value)] = value
    return Graph(tuple(nodes), weights)


def _node(data: memoryview) -> Node:
    inputs, outputs, op, attributes = [], [], "", {}
    for number, value in fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            op = _text(value)
        elif number == 5:
            name, content = _attribute(value)
            if content is not None:
                attributes[name] = content
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def _attribute(data: memoryview) -> tuple[str, Any]:
    name, content, many = "", None, []
    for number, value in fields(data):
        if number == 1 and isinstance(value, memoryview):
            name = _text(value)
        elif number == 2 and isinstance(value, memoryview):
            content = struct.unpack("<f", value)[0]
        elif number == 3 and isinstance(value, int):
            content = _signed(value)
        elif number == 5 and isinstance(value, memoryview):
            content = _tensor(value)[1]
        elif number == 8:
            many += integers(value)
    return name, many or content


def _name_of_tensor(data: memoryview) -> str:
    return next((_text(v) for number, v in fields(data) if number == 8 and isinstance(v, memoryview)), "")


def _shape_of_tensor(data: memoryview) -> tuple[int, ...]:
    return tuple(size for number, value in fields(data) if number == 1 for size in integers(value))


def _tensor(data: memoryview) -> tuple[str, npt.NDArray[Any]]:
    name, shape, kind, raw, floats, whole = "", [], 0, None, b"", []
    for number, value in fields(data):
        if number == 1:
            shape += integers(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 4 and isinstance(value, memoryview):
            floats += bytes(value)
        elif number == 7:
            whole += integers(value)
        elif number == 8 and isinstance(value, memoryview):
            name = _text(value)
        elif number == 9 and isinstance(value, memoryview):
            raw = value
    if kind not in _DTYPES:
        raise NotOnnx(f"tensor {name!r} is of a type that is not read here ({kind})")
    array: npt.NDArray[Any]
    if raw is not None:
        array = np.frombuffer(raw, _DTYPES[kind])
    else:
        array = np.array(whole, np.int64) if kind == 7 else np.frombuffer(floats, "<f4")
    if array.size != math.prod(shape):
        raise NotOnnx(f"tensor {name!r} should have {math.prod(shape)} values, got {array.size}")
    return name, array.reshape(shape)


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")


def integers(value: memoryview | int) -> list[int]:
    """A repeated whole number comes packed, or one by one."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, content) of one message: whole numbers as such, everything else as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if not _FIRST_TAG <= tag <= _LAST_TAG:  # protobuf drops the higher bits, and would see another field here
            raise NotOnnx(f"not an ONNX model: a field numbered {tag >> 3}")
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise NotOnnx(f"not an ONNX model: field of kind {kind}")
        if at + size > len(data):
            raise NotOnnx("not an ONNX model: cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
        shift += 7
        if shift > 63:
            raise NotOnnx("not an ONNX model: a number too long")
