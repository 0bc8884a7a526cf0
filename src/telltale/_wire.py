"""What crosses between the parent and its worker: JSON and raw arrays, never pickle.

A decoder that was taken over must not be able to run code in the parent, so nothing that is received is
executed, sizes are checked before memory is taken, and dtypes come from a closed list.

>>> import io
>>> import numpy as np
>>> pipe = io.BytesIO()
>>> write(pipe, Message("crop", {"track": 1}, {"rgb": np.zeros((2, 2, 3), np.uint8)}))
>>> read(io.BytesIO(pipe.getvalue()))
Message('crop', {'track': 1}, rgb uint8 (2, 2, 3))
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # numpy is imported where it is used: who starts a worker early has no time for it
    import numpy.typing as npt

_MAGIC = b"TLT1"
_HEAD = struct.Struct("!4sI")
_MAX_JSON_BYTES = 16 << 20
_MAX_ARRAYS_BYTES = 512 << 20
_JSON_IN_MEMORY = 16
"""How much larger than their JSON Python's values are."""
_ITEM_BYTES = {"uint8": 1, "bool": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}
"""The dtypes that may cross."""


class WireError(Exception):
    """The other side does not speak this protocol, or asks for more than is allowed."""


@dataclass(frozen=True)
class Message:
    """One thing a job has to say."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    n_bytes: int = field(default=0, compare=False)
    """About what it takes in memory, where it was read."""

    def __repr__(self) -> str:
        arrays = "".join(f", {name} {a.dtype} {a.shape}" for name, a in self.arrays.items())
        return f"Message({self.kind!r}, {dict(self.data)!r}{arrays})"


def write(pipe: IO[bytes], message: Message) -> None:
    """Write one message and flush. Arrays are written from their own memory, not copied."""
    arrays = {name: _contiguous(array) for name, array in message.arrays.items()}
    for name, array in arrays.items():
        if array.dtype.name not in _ITEM_BYTES:
            raise TypeError(f"{name}: dtype must be one of {', '.join(_ITEM_BYTES)}, got {array.dtype}")
    shapes = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    header = json.dumps([message.kind, dict(message.data), shapes]).encode("ascii")
    _put(pipe, memoryview(_HEAD.pack(_MAGIC, len(header)) + header))
    for array in arrays.values():
        if array.size:
            _put(pipe, array.data.cast("B"))
    pipe.flush()


def _put(pipe: IO[bytes], data: memoryview) -> None:
    while len(data):  # a pipe without a buffer may take a part
        data = data[pipe.write(data) :]


def read(pipe: IO[bytes]) -> Message | None:
    """The next message; None where the other side has closed the pipe between two. Raises `WireError`."""
    head = pipe.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise WireError("cut off inside a message")
    magic, n_bytes = _HEAD.unpack(head)
    if magic != _MAGIC or n_bytes > _MAX_JSON_BYTES:
        raise WireError("not a message")
    try:
        kind, data, shapes = json.loads(_exactly(pipe, n_bytes))
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise WireError("not a message")
        parts = [(str(name), dtype, _shape(shape), _ITEM_BYTES[dtype]) for name, dtype, shape in shapes]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"not a message ({error})") from None
    arrays_bytes = sum(math.prod(shape) * item_bytes for *_, shape, item_bytes in parts)
    if arrays_bytes > _MAX_ARRAYS_BYTES:
        raise WireError("arrays too large")
    arrays = {name: _array(pipe, dtype, shape) for name, dtype, shape, _ in parts}
    return Message(kind, data, arrays, _JSON_IN_MEMORY * n_bytes + arrays_bytes)


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > 8:
        raise WireError("not a shape")
    if not all(isinstance(side, int) and 0 <= side <= _MAX_ARRAYS_BYTES for side in shape):
        raise WireError("not a shape")
    return tuple(shape)


def _contiguous(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import numpy as np

    return np.ascontiguousarray(array)


def _array(pipe: IO[bytes], dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    import numpy as np

    data = _exactly(pipe, math.prod(shape) * _ITEM_BYTES[dtype])
    return np.frombuffer(data, dtype).reshape(shape)


def _exactly(pipe: IO[bytes], n_bytes: int) -> bytes:
    data = pipe.read(n_bytes)
    if len(data) < n_bytes:
        raise WireError("cut off inside a message")
    return data
