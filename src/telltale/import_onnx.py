"""Take a model trained elsewhere: an ONNX file and a card in, a bundle that `scan` uses out.

    telltale models import keras.onnx --card card.json --out mine

The card is a bundle's card (name, size_px and crop at least) and, beside it, `input`: how the graph wants its pictures
and what it answers. Graphs of Keras (N, H, W, 3) or PyTorch (N, 3, H, W), in 0-1, 0-255 or normalised, that answer with
logits or probabilities, are wrapped into what every bundle is: uint8 clips in, one logit a clip out.

>>> GraphInput(layout="NHWC", answers="probability").scale
0.00392...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from telltale._faults import first_fault
from telltale._files import write_files
from telltale._onnx_check import check_model
from telltale.bundle import MODEL_NAME, Bundle, ModelCard, load_bundle, write_card
from telltale.errors import BundleInvalid, UsageError, require
from telltale.runtime import Scorer
from telltale.types import Clip, Written

_MAX_BYTES = 2**31 - 1
_SAMPLE = 3
_PREFIX = "telltale/"
"""Of the names of what is put around a graph."""
_Above0 = Annotated[float, Field(gt=0)]


class GraphInput(Written):
    """What the graph takes and gives. Pixels become (x * scale - mean) / std, channel by channel."""

    layout: Literal["clips", "NHWC", "NCHW", "NTHWC", "NTCHW"] = "clips"
    """`clips`: as a bundle's own, uint8 in and logits out. Those with T are for sequences."""
    scale: float = Field(default=1 / 255, gt=0)
    """1/255 gives 0-1; 1 leaves 0-255."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[_Above0, _Above0, _Above0] = (1.0, 1.0, 1.0)
    channels: Literal["RGB", "BGR"] = "RGB"
    answers: Literal["logit", "probability"] = "logit"
    """With two outputs a clip, `probability` is a softmax and `logit` what goes into one."""
    fake_index: Literal[0, 1] = 1
    """Which of two outputs is fake; of one output, whether high means fake (1) or real (0)."""


class ImportCard(ModelCard):
    """A card with what it says about a graph that is not a bundle's yet."""

    input: GraphInput = GraphInput()


def import_onnx(model: str | Path, *, card: str | Path, out: str | Path) -> Bundle:
    """Check `model` on a sample, wrap it as its card says, and write the bundle into the folder `out`.

    Whether it looks at frames or clips, and its mean and std, are stated in the bundle's card as `input` has them.
    Raises UsageError where a file is missing, the card is no card or OUT is taken; BundleInvalid where the graph keeps
    weights outside the file, has weights or answers that are no numbers, or takes other shapes than the card says.
    """
    onnx = require("onnx", "train")
    said, folder = _read_card(Path(card)), Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, and the new model wants a folder: name another with --out")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: choose another --out")
    graph = _read_graph(onnx, Path(model))
    if said.input.layout != "clips":
        graph = _wrapped(onnx, graph, said, Path(model))
    write_files(folder, {MODEL_NAME: graph.SerializeToString()})
    fields = {name: getattr(said, name) for name in ModelCard.model_fields if name != "files"}
    try:
        write_card(folder, ModelCard(**fields | _stated(said)))
        bundle = load_bundle(folder)
        _try_out(bundle, Path(model))
    except BaseException:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        raise
    return bundle


def _read_card(path: Path) -> ImportCard:
    try:
        return ImportCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"the card {path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        fields = json.dumps({"name": "mine", "size_px": 224, "crop": {"size_px": 224}, "input": {"layout": "NCHW"}})
        raise UsageError(f"the card {path}: {first_fault(error)}; a card begins as {fields}") from error


def _stated(said: ImportCard) -> dict[str, object]:
    """What the wrapping makes true, whatever the card's own fields say: pixels become (x / 255 - mean) / std."""
    if said.input.layout == "clips":
        return {}
    unit = 255 * said.input.scale
    return {
        "input_kind": "frame" if said.n_frames == 1 else "clip",
        "mean": tuple(float(f"{value / unit:.6g}") for value in said.input.mean),
        "std": tuple(float(f"{value / unit:.6g}") for value in said.input.std),
    }


def _read_graph(onnx: Any, path: Path) -> Any:
    """The model, whole and with weights that are numbers. What lies outside the file is never opened."""
    if not path.is_file():
        raise UsageError(f"no model file {path}")
    if path.stat().st_size > _MAX_BYTES:
        raise BundleInvalid(f"{path} is larger than 2 GiB, which ONNX holds in one file")
    data = path.read_bytes()
    check_model(data, str(path))
    try:
        graph = onnx.load_model_from_string(data)
        onnx.checker.check_model(graph)
    except Exception as error:  # protobuf and the checker raise types of their own
        raise BundleInvalid(f"{path} is no valid ONNX model: {str(error).strip().splitlines()[0]}") from error
    return graph


def _graphs(graph: Any) -> Iterator[Any]:
    """It and those of its loops and branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _value_names(graph: Any) -> set[str]:
    """What may not be given to another value."""
    return {
        name
        for part in _graphs(graph)
        for name in (
            *(value.name for value in (*part.input, *part.initializer)),
            *(name for node in part.node for name in node.output),
        )
    }


def _unused(name: str, names: set[str]) -> str:
    return name if name not in names else _unused(name + "_", names)


def _rename(graph: Any, new: dict[str, str]) -> None:
    """Other names for values, wherever they are named. (`onnx.compose.add_prefix` forgets that branches use weights of
    the graph around them.)"""
    for part in _graphs(graph):
        for value in (*part.input, *part.output, *part.initializer, *part.value_info):
            value.name = new.get(value.name, value.name)
        for node in part.node:
            for names in (node.input, node.output):
                names[:] = [new.get(name, name) for name in names]


class _Chain:
    """Nodes of ours in `graph`, each of which takes what the one before gave."""

    def __init__(self, onnx: Any, graph: Any, at: str) -> None:
        self.at = at
        """The value that the next one takes."""
        self.nodes: list[Any] = []
        self.float32 = onnx.TensorProto.FLOAT
        self._onnx = onnx
        self._graph = graph

    def constant(self, name: str, values: Any, kind: Any = np.float32) -> str:
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(np.array(values, kind), _PREFIX + name))
        return _PREFIX + name

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """One beside the chain."""
        self.nodes.append(self._onnx.helper.make_node(op, inputs, [name], **attributes))
        return name

    def then(self, op: str, *more: str, name: str, **attributes: Any) -> None:
        """The next one: it takes `more` beside what it is given."""
        self.at = self.node(op, [self.at, *more], name, **attributes)


def _wrapped(onnx: Any, model: Any, card: ImportCard, path: Path) -> Any:
    """The same graph between uint8 clips and a logit each."""
    names = _value_names(model.graph)
    ours = {name for name in names if name in ("clips", "logit") or name.startswith(_PREFIX)}
    _rename(model.graph, {name: _unused(f"graph/{name}", names) for name in ours})
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise BundleInvalid(
            f"{path} takes {[v.name for v in inputs]} and gives {[v.name for v in model.graph.output]}; expected one "
            "each: export the model for prediction alone"
        )
    taken, given = inputs[0], model.graph.output[0]
    _check_shape(taken, card, path)
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < 13:
        raise BundleInvalid(f"{path} is of ONNX opset {opset}; export it at 13 or newer")
    into = _Chain(onnx, model.graph, "clips")
    _prepare_pixels(into, card)
    into.then("Cast", name=taken.name, to=taken.type.tensor_type.elem_type)
    out_of = _Chain(onnx, model.graph, given.name)
    _answer(out_of, card.input, _width(given, path))
    nodes = [*into.nodes, *model.graph.node, *out_of.nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.input.remove(taken)
    clips = ["n", card.n_frames, card.size_px, card.size_px, 3]
    model.graph.input.insert(0, onnx.helper.make_tensor_value_info("clips", onnx.TensorProto.UINT8, clips))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("logit", onnx.TensorProto.FLOAT, ["n"]))
    return model


def _prepare_pixels(into: _Chain, card: ImportCard) -> None:
    """From clips to pictures scaled, normalised and laid out as the graph wants them."""
    said, size_px = card.input, card.size_px
    shape = [0, card.n_frames, size_px, size_px, 3] if "T" in said.layout else [-1, size_px, size_px, 3]
    into.then("Reshape", into.constant("shape", shape, np.int64), name=_PREFIX + "pictures")
    into.then("Cast", name=_PREFIX + "float", to=into.float32)
    if said.channels == "BGR":
        into.then("Gather", into.constant("bgr", [2, 1, 0], np.int64), name=_PREFIX + "swapped", axis=-1)
    std = np.array(said.std, np.float64)
    gain, offset = into.constant("gain", said.scale / std), into.constant("offset", -np.array(said.mean) / std)
    into.then("Mul", gain, name=_PREFIX + "scaled")
    into.then("Add", offset, name=_PREFIX + "normalised")
    order = {"NHWC": None, "NTHWC": None, "NCHW": [0, 3, 1, 2], "NTCHW": [0, 1, 4, 2, 3]}[said.layout]
    if order is not None:
        into.then("Transpose", name=_PREFIX + "turned", perm=order)


def _width(given: Any, path: Path) -> int:
    """How many numbers a clip the graph gives: 1 or 2."""
    dims = _dims(given)
    width = dims[-1] if len(dims) > 1 else 1
    if len(dims) not in (1, 2) or width not in (1, 2):
        raise BundleInvalid(f"{path} gives {given.name} of shape {dims}; expected one or two numbers a clip")
    return int(width)


def _answer(out_of: _Chain, said: GraphInput, width: int) -> None:
    """From the graph's own output to `logit`: log-odds of fake."""
    out_of.then("Cast", name=_PREFIX + "answer", to=out_of.float32)
    if said.answers == "probability":
        low, high = out_of.constant("low", 1e-7), out_of.constant("high", 1 - 1e-7)
        out_of.then("Clip", low, high, name=_PREFIX + "p")
        if width == 1:
            other = out_of.node("Sub", [out_of.constant("one", 1.0), out_of.at], _PREFIX + "other")
            out_of.then("Div", other, name=_PREFIX + "odds")
        out_of.then("Log", name=_PREFIX + "log")
    sign = 1.0 if said.fake_index == 1 else -1.0
    weight = out_of.constant("sign", [[sign]] if width == 1 else [[-sign], [sign]])
    out_of.then("Reshape", out_of.constant("rows", [-1, width], np.int64), name=_PREFIX + "rows_of")
    out_of.then("MatMul", weight, name=_PREFIX + "column")
    out_of.then("Reshape", out_of.constant("flat", [-1], np.int64), name="logit")


def _dims(value: Any) -> list[int | str]:
    """The shape an input or output states; names and 0 are sizes left open."""
    return [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]


def _check_shape(taken: Any, card: ImportCard, path: Path) -> None:
    sides: dict[str, int] = {"T": card.n_frames, "H": card.size_px, "W": card.size_px, "C": 3}
    wanted = [sides.get(axis, "n") for axis in card.input.layout]
    dims = _dims(taken)
    fits = len(dims) == len(wanted) and all(
        not isinstance(got, int) or (got == want and position > 0)
        for position, (got, want) in enumerate(zip(dims, wanted, strict=True))
    )
    if not fits:
        fixed = dims and isinstance(dims[0], int)
        hint = "; its number of pictures is fixed: export it with a free batch axis" if fixed else ""
        raise BundleInvalid(
            f"{path} takes {taken.name} of shape {dims}, its card says {card.input.layout} {wanted}{hint}"
        )


def _try_out(bundle: Bundle, path: Path) -> None:
    """Score a few pictures together and one by one. Raises BundleInvalid."""
    card = bundle.card
    scorer = Scorer(bundle)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (_SAMPLE, card.n_frames, card.size_px, card.size_px, 3), dtype=np.uint8)
    pictures[-1] = 128
    there = np.ones(card.n_frames, bool)
    clips = [Clip(i, np.arange(card.n_frames) / 2.0, rgb, there) for i, rgb in enumerate(pictures)]
    try:
        together = scorer.score(clips).logit
        alone = np.concatenate([scorer.score([clip]).logit for clip in clips])
    except BundleInvalid:
        raise
    except Exception as error:  # ONNX Runtime's own
        raise BundleInvalid(f"{path} does not run on {_SAMPLE} pictures: {str(error).splitlines()[0]}") from error
    if not np.allclose(together, alone, atol=1e-3, rtol=1e-3):
        raise BundleInvalid(
            f"{path} judges a picture differently beside others: export it for prediction, not training"
        )


__all__ = ["GraphInput", "ImportCard", "import_onnx"]
