"""Bundles small enough to make in a test. Needs `onnx`.

`redness` is fake where a crop is red and real where it is green: its logit is (mean red - mean green) / 16, so that
tests know the right answer without a trained model.
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
