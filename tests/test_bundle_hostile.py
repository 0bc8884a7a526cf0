"""Row 23: a hostile model folder is refused by name, and nothing in it is executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from make_bundles import make_redness
from telltale._files import file_sha256
from telltale.bundle import load_bundle
from telltale.cli import app
from telltale.errors import BundleInvalid, UnknownName
from telltale.runtime import Scorer
from telltale.scan import scan

onnx = pytest.importorskip("onnx", reason="makes models with onnx")


class Trap:
    """Whoever unpickles this leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_redness(tmp_path / "redness")


def seal(folder: Path, **card: object) -> None:
    """Make the card fit the files as they are now: what somebody hostile would do."""
    found = json.loads((folder / "card.json").read_text())
    found["files"] = {"model.onnx": file_sha256(folder / "model.onnx")}
    (folder / "card.json").write_text(json.dumps(found | card))


def change_model(folder: Path, change: Callable[[Any], None]) -> None:
    model = onnx.load(folder / "model.onnx")
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    seal(folder)


def expect_refusal(folder: Path, why: str) -> None:
    """By the loader, by a scan and by the command, in words."""
    with pytest.raises(BundleInvalid, match=why):
        load_bundle(folder)
    with pytest.raises(BundleInvalid, match=why):
        scan("nothing.mp4", model=folder)
    result = CliRunner().invoke(app, ["models", "verify", str(folder)])
    assert result.exit_code == 2
    assert "bundle_invalid" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_in_the_place_of_the_model(folder: Path, tmp_path: Path, protocol: int) -> None:
    (folder / "model.onnx").write_bytes(pickle.dumps(Trap(tmp_path / "mark"), protocol))
    seal(folder)
    expect_refusal(folder, "pickle")
    assert not (tmp_path / "mark").exists()


def test_a_torch_file_in_the_place_of_the_model(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / "model.onnx", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Trap(tmp_path / "mark")))
    seal(folder)
    expect_refusal(folder, "pickle")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["weights.pt", "model.pkl", "weights.ckpt", "setup.py", "card.json"])
def test_a_card_that_names_another_kind_of_file(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "mark"))) if name != "card.json" else None
    files = {"model.onnx": file_sha256(folder / "model.onnx"), name: file_sha256(folder / name)}
    seal(folder, files=files)
    expect_refusal(folder, "run code")
    assert not (tmp_path / "mark").exists()


def test_a_pickle_beside_the_model_is_not_opened(folder: Path, tmp_path: Path) -> None:
    (folder / "weights.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    load_bundle(folder)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "weights.bin"])
def test_weights_in_another_file(folder: Path, location: str) -> None:
    def move_out(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    (folder.parent / "secret.bin").write_bytes(np.ones(3, np.float32).tobytes())
    (folder / "weights.bin").write_bytes(np.ones(3, np.float32).tobytes())
    change_model(folder, move_out)
    expect_refusal(folder, "another file")


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _hide_weights(folder: Path) -> None:
    """Weights in `weights.bin`, said in fields whose numbers are right only without the bits that protobuf drops."""
    model = onnx.load(folder / "model.onnx")
    tensor = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(tensor)
    (folder / "weights.bin").write_bytes(values.tobytes())
    entry = onnx.StringStringEntryProto(key="location", value="weights.bin").SerializeToString()
    for field in ("raw_data", "float_data"):
        tensor.ClearField(field)
    hidden = _varint(13 << 3 | 2 | 1 << 32) + _varint(len(entry)) + entry + _varint(14 << 3 | 1 << 32) + _varint(1)
    tensor = tensor.SerializeToString() + hidden
    del model.graph.initializer[0]
    graph = model.graph.SerializeToString() + _varint(5 << 3 | 2) + _varint(len(tensor)) + tensor
    model.ClearField("graph")
    data = model.SerializeToString() + _varint(7 << 3 | 2) + _varint(len(graph)) + graph
    (folder / "model.onnx").write_bytes(data)


def test_weights_in_another_file_said_in_fields_that_are_overlooked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = load_bundle(folder)
    _hide_weights(folder)
    seal(folder)
    monkeypatch.chdir(folder)
    expect_refusal(folder, "a field numbered")
    with pytest.raises(BundleInvalid, match=r"does not load: .*xternal data"):
        Scorer(good)  # the file was exchanged since it was checked


def test_weights_in_another_file_deep_in_the_graph(folder: Path) -> None:
    """In a constant of a branch that is never taken."""

    def hide(model: Any) -> None:
        tensor = onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [1.0])
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../secret.bin")
        inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["x"], value=tensor)], "inner", [], [])
        model.graph.node.append(onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner))

    change_model(folder, hide)
    expect_refusal(folder, "another file")


@pytest.mark.parametrize("as_bytes", [False, True])
def test_weights_that_are_not_numbers(folder: Path, as_bytes: bool) -> None:
    def damage(model: Any) -> None:
        tensor = model.graph.initializer[0]
        if as_bytes:
            values = np.array([1, np.nan, 0], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.reshape(3, 1), tensor.name))
        else:
            tensor.float_data[1] = float("nan")

    change_model(folder, damage)
    expect_refusal(folder, "NaN")


@pytest.mark.parametrize("as_bytes", [False, True])
def test_half_precision_that_is_not_numbers(folder: Path, as_bytes: bool) -> None:
    def damage(model: Any) -> None:
        values = np.array([1, np.nan, 0], np.float16)
        half = onnx.helper.make_tensor("half", onnx.TensorProto.FLOAT16, [3], values)
        assert half.int32_data, "no bytes"
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, "half") if as_bytes else half)

    change_model(folder, damage)
    expect_refusal(folder, "'half' hold NaN")


def test_a_constant_that_is_infinite_is_a_mask_not_a_fault(folder: Path) -> None:
    def mask(model: Any) -> None:
        endless = onnx.numpy_helper.from_array(np.array([-np.inf], np.float32), "mask")
        model.graph.initializer.append(endless)

    change_model(folder, mask)
    load_bundle(folder)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"\xff" * 100, b"<html>", b"\x08\x08" + b"\x3a\xff\xff\xff\xff\x07"]
)
def test_junk_in_the_place_of_the_model(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    seal(folder)
    with pytest.raises(BundleInvalid):
        scan("nothing.mp4", model=folder)


def test_graphs_in_graphs_without_end(folder: Path) -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    for _ in range(30):
        inner = onnx.helper.make_graph([onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner)], "g", [], [])
    change_model(folder, lambda model: model.graph.node.extend(inner.node))
    expect_refusal(folder, "nested")


def test_a_card_of_many_megabytes(folder: Path) -> None:
    with (folder / "card.json").open("ab") as file:
        file.truncate(20 << 20)
    expect_refusal(folder, "16 MiB")


def test_a_card_of_brackets_alone(folder: Path) -> None:
    (folder / "card.json").write_bytes(b"[" * 1_000_000)
    with pytest.raises(BundleInvalid):
        load_bundle(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_the_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    with pytest.raises(BundleInvalid, match="missing"):
        load_bundle(folder)


def test_an_archive_is_no_bundle(tmp_path: Path) -> None:
    """A zip bomb is never opened: a model is a folder."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.onnx", bytes(10_000_000))
    (tmp_path / "bundle.zip").write_bytes(bomb.getvalue())
    with pytest.raises(UnknownName):
        load_bundle(tmp_path / "bundle.zip")
