"""Graphs as Keras and PyTorch export them become bundles that scan; what is no whole, sane model is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import make_bundles
from telltale._card_words import card_facts, summarise_card
from telltale._onnx_file import read_graph
from telltale.aggregate import Thresholds
from telltale.bundle import Bundle, ModelCard, load_bundle
from telltale.cli import app
from telltale.cli._layers import layers_of
from telltale.crops import CropSpec
from telltale.errors import BundleInvalid, UsageError
from telltale.import_onnx import import_onnx
from telltale.report import to_html
from telltale.runtime import Scorer
from telltale.scan import Scanner
from telltale.types import Clip, Float64Array, RgbImage

onnx = pytest.importorskip("onnx", reason="makes models with onnx")
SIZE_PX = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def save(
    path: Path, *, shape: list[Any], weight: Any, last: list[str], axes: list[int], dims: list[Any], opset: int = 13
) -> Path:
    """A graph that averages over `axes`, multiplies what is left, the channels, with `weight`, and applies `last`."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = ["answer" if i == len(last) - 1 else f"step{i}" for i in range(len(last))]
    nodes = [
        helper.make_node("ReduceMean", ["pictures"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["sum"]),
        *(
            helper.make_node(op, [source], [name])
            for op, source, name in zip(last, ["sum", *names], names, strict=False)
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("pictures", kind, shape)],
        [helper.make_tensor_value_info("answer", kind, dims)],
        [onnx.numpy_helper.from_array(np.asarray(weight, np.float32), "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def card(folder: Path, **said: Any) -> Path:
    path = folder / "card.json"
    fields = {"name": "mine", "size_px": SIZE_PX, "crop": {"size_px": SIZE_PX}, "minimum": {"n_faces": 1, "face_px": 1}}
    path.write_text(json.dumps(fields | said))
    return path


def keras(folder: Path, **options: Any) -> Path:
    """NHWC in 0-1, sigmoid of 4 red - 4 green."""
    given: dict[str, Any] = {
        "shape": ["n", SIZE_PX, SIZE_PX, 3],
        "weight": [[4], [-4], [0]],
        "last": ["Sigmoid"],
        "axes": [1, 2],
    }
    return save(folder / "keras.onnx", **(given | {"dims": ["n", 1]} | options))


def torch_like(folder: Path, **options: Any) -> Path:
    """NCHW, normalised; real and fake logits are -3 and 2 of the mean red."""
    given: dict[str, Any] = {
        "shape": ["n", 3, SIZE_PX, SIZE_PX],
        "weight": [[-3, 2], [0, 0], [0, 0]],
        "last": ["Identity"],
        "axes": [2, 3],
    }
    return save(folder / "torch.onnx", **(given | {"dims": ["n", 2]} | options))


def logits(bundle: Bundle, pictures: RgbImage) -> Float64Array:
    clips = [Clip(0, np.zeros(1), rgb[None], np.ones(1, bool)) for rgb in pictures]
    return Scorer(bundle).score(clips).logit.astype(np.float64)


@pytest.fixture
def pictures() -> RgbImage:
    shades = np.random.default_rng(0).integers(0, 256, (5, 1, 1, 3))
    return np.broadcast_to(shades, (5, SIZE_PX, SIZE_PX, 3)).astype(np.uint8)


def test_a_graph_of_keras_is_wrapped(tmp_path: Path, pictures: RgbImage) -> None:
    said = card(tmp_path, input={"layout": "NHWC", "answers": "probability"})
    bundle = import_onnx(keras(tmp_path), card=said, out=tmp_path / "mine")
    red, green, _ = pictures.mean(axis=(1, 2)).T / 255
    assert logits(bundle, pictures) == pytest.approx(4 * red - 4 * green, abs=1e-4)


def test_a_graph_of_pytorch_is_wrapped(tmp_path: Path, pictures: RgbImage) -> None:
    said = card(tmp_path, input={"layout": "NCHW", "mean": MEAN, "std": STD})
    bundle = import_onnx(torch_like(tmp_path), card=said, out=tmp_path / "mine")
    red = (pictures.mean(axis=(1, 2))[:, 0] / 255 - MEAN[0]) / STD[0]
    assert logits(bundle, pictures) == pytest.approx(5 * red, abs=1e-4)


@pytest.mark.parametrize(("old", "new"), [("answer", "logit"), ("pictures", "clips"), ("mean", "telltale/scaled")])
def test_a_graph_may_use_the_names_of_ours(old: str, new: str, tmp_path: Path, pictures: RgbImage) -> None:
    said = card(tmp_path, input={"layout": "NHWC", "answers": "probability"})
    path = keras(tmp_path)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    onnx.save(model, path)
    red, green, _ = pictures.mean(axis=(1, 2)).T / 255
    assert logits(import_onnx(path, card=said, out=tmp_path / "mine"), pictures) == pytest.approx(
        4 * red - 4 * green, abs=1e-4
    )


def test_branches_keep_the_weights_of_the_graph_around_them(tmp_path: Path, pictures: RgbImage) -> None:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    out = helper.make_tensor_value_info("branch", kind, ["n", 1])
    branches = [
        helper.make_graph([helper.make_node("MatMul", ["mean", name], ["branch"])], name, [], [out])
        for name in ("clips", "b")
    ]
    nodes = [
        helper.make_node("ReduceMean", ["pictures"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("If", ["yes"], ["logit"], then_branch=branches[0], else_branch=branches[1]),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("pictures", kind, ["n", SIZE_PX, SIZE_PX, 3])],
        [helper.make_tensor_value_info("logit", kind, ["n", 1])],
        [
            onnx.numpy_helper.from_array(np.array([[4], [-4], [0]], np.float32), "clips"),
            onnx.numpy_helper.from_array(np.zeros((3, 1), np.float32), "b"),
            onnx.numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "if.onnx")
    bundle = import_onnx(tmp_path / "if.onnx", card=card(tmp_path, input={"layout": "NHWC"}), out=tmp_path / "mine")
    red, green, _ = pictures.mean(axis=(1, 2)).T / 255
    assert logits(bundle, pictures) == pytest.approx(4 * red - 4 * green, abs=1e-4)


def test_a_softmax_of_swapped_classes_and_channels_is_wrapped(tmp_path: Path, pictures: RgbImage) -> None:
    said = card(tmp_path, input={"layout": "NCHW", "channels": "BGR", "answers": "probability", "fake_index": 0})
    bundle = import_onnx(torch_like(tmp_path, last=["Softmax"]), card=said, out=tmp_path / "mine")
    blue = pictures.mean(axis=(1, 2))[:, 2] / 255
    assert logits(bundle, pictures) == pytest.approx(-5 * blue, abs=1e-3)


def test_a_graph_of_sequences_is_wrapped(tmp_path: Path) -> None:
    path = keras(tmp_path, shape=["n", 4, SIZE_PX, SIZE_PX, 3], axes=[1, 2, 3])
    said = card(tmp_path, n_frames=4, input_kind="clip", input={"layout": "NTHWC", "answers": "probability"})
    bundle = import_onnx(path, card=said, out=tmp_path / "mine")
    assert bundle.card.n_frames == 4


def test_a_graph_that_is_a_bundle_s_already_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = make_bundles.make_redness(tmp_path / "redness", size_px=SIZE_PX)
    bundle = import_onnx(folder / "model.onnx", card=card(tmp_path), out=tmp_path / "mine")
    assert (bundle.path / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


def test_an_imported_model_scans(tmp_path: Path, face_clip: Path) -> None:
    said = card(tmp_path, input={"layout": "NHWC", "answers": "probability"})
    done = CliRunner().invoke(app, ["models", "import", str(keras(tmp_path)), "--card", str(said)])
    assert done.exit_code == 0, done.output
    assert "says fake from 75% (not measured)" in " ".join(done.stdout.split())
    with Scanner(tmp_path / "keras") as scanner:
        report = scanner.scan(face_clip)
    assert report.verdict.p_fake is not None
    assert "75% (not measured)" in to_html(report)


@pytest.mark.parametrize(
    ("limits", "fake", "real"),
    [
        (Thresholds(), "75% (not measured)", "25% (not measured)"),
        (Thresholds(population="made up"), "75% (not measured)", "25% (not measured)"),
        (
            Thresholds(population="9 faces", n_real=4, n_fake=5),
            "75%, which about 1% of the real faces it was measured on reach",
            "25%, under which about 5% of the fakes it was measured on lie",
        ),
    ],
)
def test_rates_that_nobody_measured_are_not_claimed(limits: Thresholds, fake: str, real: str) -> None:
    said = ModelCard(name="mine", size_px=16, crop=CropSpec(size_px=16), thresholds=limits)
    facts = dict(card_facts(summarise_card(said)))
    assert facts["Says fake from"] == fake
    assert facts["Says real below"] == real
    assert ("Measured on" in facts) == (limits.n_real > 0)


def test_the_card_states_the_scale_and_the_kind_that_the_graph_was_wrapped_for(tmp_path: Path) -> None:
    said = card(tmp_path, mean=[9, 9, 9], input={"layout": "NCHW", "mean": MEAN, "std": STD})
    found = import_onnx(torch_like(tmp_path), card=said, out=tmp_path / "mine").card
    assert found.mean == pytest.approx(MEAN)
    assert found.std == pytest.approx(STD)
    assert found.input_kind == "frame"
    said = card(
        tmp_path, n_frames=4, input={"layout": "NTHWC", "scale": 1, "mean": [51, 0, 0], "answers": "probability"}
    )
    clips = keras(tmp_path, shape=["n", 4, SIZE_PX, SIZE_PX, 3], axes=[1, 2, 3])
    found = import_onnx(clips, card=said, out=tmp_path / "clips").card
    assert found.input_kind == "clip"
    assert found.mean == pytest.approx((0.2, 0, 0))
    assert found.std == pytest.approx((1 / 255, 1 / 255, 1 / 255), rel=1e-5)


def test_a_constant_that_is_infinite_is_a_mask_not_a_fault(tmp_path: Path, pictures: RgbImage) -> None:
    path = keras(tmp_path)
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-np.inf], np.float32), "mask"))
    model.graph.node.insert(2, onnx.helper.make_node("Max", ["sum", "mask"], ["kept"]))
    model.graph.node[3].input[0] = "kept"
    onnx.save(model, path)
    said = card(tmp_path, input={"layout": "NHWC", "answers": "probability"})
    red, green, _ = pictures.mean(axis=(1, 2)).T / 255
    bundle = import_onnx(path, card=said, out=tmp_path / "mine")
    assert logits(bundle, pictures) == pytest.approx(4 * red - 4 * green, abs=1e-4)


def _outside(folder: Path) -> Path:
    path = keras(folder)
    model = onnx.load(path)
    onnx.save(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0, all_tensors_to_one_file=True
    )
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: keras(folder, weight=[[np.nan], [1], [1]]), "the weights 'weight' hold NaN"),
        (_outside, "lie in another file"),
        (lambda folder: keras(folder, shape=["n", 8, 8, 3]), "its card says NHWC"),
        (lambda folder: keras(folder, shape=[1, SIZE_PX, SIZE_PX, 3]), "free batch axis"),
        (lambda folder: keras(folder, dims=["n", 5], weight=np.ones((3, 5))), "one or two numbers a clip"),
        (lambda folder: keras(folder, last=["NoSuchOperation"]), "no valid ONNX model"),
        (lambda folder: keras(folder, opset=11), "opset 11"),
        (lambda folder: keras(folder, last=["Sigmoid", "Log", "Log"]), "no number"),
    ],
)
def test_what_is_no_whole_sane_model_is_refused(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    said = card(tmp_path, input={"layout": "NHWC"})
    with pytest.raises(BundleInvalid, match=message):
        import_onnx(make(tmp_path), card=said, out=tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_junk_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(BundleInvalid, match=r"junk\.onnx does not load: not an ONNX model"):
        import_onnx(tmp_path / "junk.onnx", card=card(tmp_path), out=tmp_path / "mine")


def test_a_card_that_is_none_says_how_one_begins(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"name": "mine"}')
    with pytest.raises(UsageError, match="a card begins as"):
        import_onnx(keras(tmp_path), card=tmp_path / "card.json", out=tmp_path / "mine")
    with pytest.raises(UsageError, match="no model file"):
        import_onnx(tmp_path / "none.onnx", card=card(tmp_path), out=tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("kept")
    with pytest.raises(UsageError, match="not empty"):
        import_onnx(keras(tmp_path), card=card(tmp_path), out=tmp_path / "mine")


def test_a_deviation_of_nothing_is_the_card_s_fault(tmp_path: Path) -> None:
    said = card(tmp_path, input={"layout": "NHWC", "std": [0, 1, 1]})
    with pytest.raises(UsageError, match=r"input\.std\.0: Input should be greater than 0"):
        import_onnx(keras(tmp_path), card=said, out=tmp_path / "mine")


def test_a_model_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    said = card(tmp_path, input={"layout": "NHWC"})
    bare = keras(tmp_path).rename(tmp_path / "kerasmodel")
    before = bare.read_bytes()
    done = CliRunner().invoke(app, ["models", "import", str(bare), "--card", str(said)])
    assert done.exit_code == 2
    assert "kerasmodel is a file" in done.stderr
    assert "--out" in done.stderr
    assert bare.read_bytes() == before


def test_show_lists_layers_and_counts(tmp_path: Path) -> None:
    folder = make_bundles.make_patches(tmp_path / "patches")
    said = " ".join(CliRunner().invoke(app, ["models", "show", str(folder), "--layers"]).stdout.split())
    assert "Conv 2 x 3 x 4 x 4, 2 98" in said
    assert "Gemm 1 x 2, 1 3" in said
    assert "9 operations: " in said
    short = CliRunner().invoke(app, ["models", "show", str(folder)]).stdout
    assert "layers with 103 numbers; 9 operations: " in short
    assert "2 x 3 x 4 x 4" not in short


def test_layers_that_share_weights_are_one(tmp_path: Path) -> None:
    """A graph that averages a crop and its mirror image goes through the network twice."""
    pytest.importorskip("torch")
    folder = make_bundles.make_trainable(tmp_path / "mirrored", flip_average=True)
    graph = read_graph(load_bundle(folder).model_path.read_bytes())
    layers = [layer for layer in layers_of(graph) if layer.op in ("Conv", "Gemm")]
    assert {layer.times for layer in layers} == {2}
    assert len(layers) == 53
    assert "blocks.18" in layers[-2].name
