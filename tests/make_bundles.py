"""Bundles small enough to make in a test. Needs `onnx`.

`redness` is fake where a crop is red and real where it is green: its logit is (mean red - mean green) / 16, so that
tests know the right answer without a trained model. `patches` is the same by 4 x 4 patches, with a feature map, and
counts only strong colours: tests know which places it must have looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from telltale.aggregate import Thresholds
from telltale.bundle import ModelCard, write_card
from telltale.crops import CropSpec
from telltale.sampling import SamplePlan


def make_redness(folder: Path, *, size_px: int = 32, n_frames: int = 1, **card: Any) -> Path:
    """Write the bundle into `folder` and return it; further keywords are fields of its card."""
    import onnx
    from onnx import TensorProto, helper

    def constant(name: str, values: list[float], dims: list[int]) -> Any:
        return helper.make_tensor(name, TensorProto.FLOAT, dims, values)

    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["clips"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("MatMul", ["mean", "red_less_green"], ["column"]),
            helper.make_node("Reshape", ["column", "flat"], ["logit"]),
        ],
        "redness",
        [helper.make_tensor_value_info("clips", TensorProto.UINT8, ["n", n_frames, size_px, size_px, 3])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])],
        [
            constant("red_less_green", [1 / 16, -1 / 16, 0.0], [3, 1]),
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    fields: dict[str, Any] = {
        "name": "redness",
        "size_px": size_px,
        "n_frames": n_frames,
        "input_kind": "frame" if n_frames == 1 else "clip",
        "sample": SamplePlan("fps", 2),
        "crop": CropSpec(size_px=size_px),
        "thresholds": Thresholds(real_below=0.3, fake_above=0.7, tail=((0.01, 0.85), (0.001, 2.0))),
    }
    write_card(folder, ModelCard(**(fields | card)))
    return folder


def make_patches(folder: Path, *, size_px: int = 32, gives_features: bool = True, **card: Any) -> Path:
    """Write a bundle whose graph ends in average pooling and a linear layer, as trained ones do."""
    import onnx
    from onnx import TensorProto, helper

    def constant(name: str, values: list[float], dims: list[int]) -> Any:
        return helper.make_tensor(name, TensorProto.FLOAT, dims, values)

    red, green, blue = ([sign / 16.0] * 16 for sign in (1, -1, 0))
    less = [-value for value in red + green + blue]
    places = size_px // 4
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])]
    if gives_features:
        outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 2, places, places]))
    graph = helper.make_graph(
        [
            helper.make_node("Squeeze", ["clips", "frames"], ["faces"]),
            helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "kernel", "threshold"], ["colours"], strides=[4, 4]),
            helper.make_node("Relu", ["colours"], ["features"]),
            helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["row"]),
            helper.make_node("Gemm", ["row", "weight", "bias"], ["column"], transB=1),
            helper.make_node("Squeeze", ["column", "last"], ["logit"]),
        ],
        "patches",
        [helper.make_tensor_value_info("clips", TensorProto.UINT8, ["n", 1, size_px, size_px, 3])],
        outputs,
        [
            constant("kernel", red + green + blue + less, [2, 3, 4, 4]),
            constant("threshold", [-100.0, -100.0], [2]),
            constant("weight", [0.25, -0.25], [1, 2]),
            constant("bias", [-0.5], [1]),
            helper.make_tensor("frames", TensorProto.INT64, [1], [1]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    fields: dict[str, Any] = {"name": "patches", "size_px": size_px, "crop": CropSpec(size_px=size_px)}
    write_card(folder, ModelCard(**(fields | card)))
    return folder


def make_trainable(folder: Path, *, size_px: int = 64, **card: Any) -> Path:
    """Write a bundle of a network that was never trained, with its weights. Needs torch."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    from telltale.export import export_onnx
    from telltale.models import Weights, create

    folder.mkdir(parents=True, exist_ok=True)
    options = {"backbone": "mobilenetv2"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = create("transfer", weights=Weights("none"), options=options).eval()
        torch.nn.init.normal_(net.head.weight, std=1.0)  # type: ignore[union-attr, arg-type]
        torch.nn.init.constant_(net.head.bias, -0.02)  # type: ignore[union-attr, arg-type]
    clips = np.random.default_rng(0).integers(0, 256, (4, 1, size_px, size_px, 3), dtype=np.uint8)
    flip = bool(card.get("flip_average", False))
    export_onnx(net, clips, folder / "model.onnx", flip_average=flip)
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()}, str(folder / "weights.safetensors")
    )
    fields: dict[str, Any] = {
        "name": "untrained",
        "size_px": size_px,
        "crop": CropSpec(size_px=size_px),
        "recipe": {"model": {"name": "transfer", "options": options}},
    }
    write_card(folder, ModelCard(**(fields | card)))
    return folder
