"""Nothing that is received is executed, believed or allocated for before it is checked."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest

from telltale import _wire
from telltale._wire import Message, WireError


def received(header: object, payload: bytes = b"", *, magic: bytes = b"TLT1", n_bytes: int | None = None) -> Message:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    head = struct.pack("!4sI", magic, len(text) if n_bytes is None else n_bytes)
    message = _wire.read(io.BytesIO(head + text + payload))
    assert message is not None
    return message


def test_a_message_comes_through() -> None:
    message = received(["say", {"a": 1}, [["x", "uint8", [2, 2]]]], b"\1\2\3\4")
    assert (message.kind, message.data) == ("say", {"a": 1})
    assert message.arrays["x"].tolist() == [[1, 2], [3, 4]]


def test_the_end_between_messages_is_an_end() -> None:
    assert _wire.read(io.BytesIO(b"")) is None


@pytest.mark.parametrize(
    "header",
    [
        b"\x80\x04cposix\nsystem\n",
        b"[" * 100_000,
        b"",
        {},
        ["say", {}],
        ["say", [], []],
        [1, {}, []],
        ["say", {}, [["x", "object", [1]]]],
        ["say", {}, [["x", "U8", [1]]]],
        ["say", {}, [["x", "uint8", [-1]]]],
        ["say", {}, [["x", "uint8", [1.5]]]],
        ["say", {}, [["x", "uint8", [1 << 40, 1 << 40]]]],
        ["say", {}, [["x", "float64", [1 << 27]]]],
        ["say", {}, [["x", "uint8", [0] * 9]]],
        ["say", {}, [["x", "uint8", [8]]]],
    ],
    ids=lambda header: repr(header)[:40],
)
def test_what_is_not_a_message_is_refused(header: object) -> None:
    with pytest.raises(WireError):
        received(header)


def test_a_wrong_beginning_is_refused() -> None:
    with pytest.raises(WireError):
        received(["say", {}, []], magic=b"GET ")


def test_a_header_that_claims_gigabytes_is_refused_unread() -> None:
    with pytest.raises(WireError):
        received(["say", {}, []], n_bytes=1 << 31)


def test_objects_do_not_leave() -> None:
    with pytest.raises(TypeError, match="dtype must be one of"):
        _wire.write(io.BytesIO(), Message("say", {}, {"x": np.array([object()])}))
