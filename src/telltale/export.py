"""From a trained network to `model.onnx`, with the proof that both say the same.

    export_onnx(net, clips, folder / "model.onnx")      # raises BundleInvalid if a logit differs by more than 1e-3

The graph takes uint8 (N, T, S, S, 3) and gives `logit` (N,) and `features` (N, C, h, w); scaling and normalisation are
part of it.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from telltale.errors import BundleInvalid, require
from telltale.types import Float64Array, RgbImage

PARITY_LIMIT = 1e-3
"""Largest difference between the logits of the network and of the graph."""
_OPSET = 17


class FlipAverage(nn.Module):
    """The mean logit of a crop and of its mirror image; the features are the crop's own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        logit, features = self.net(clips)
        mirrored, _ = self.net(clips.flip(3))
        return (logit + mirrored) / 2, features


def export_onnx(net: nn.Module, clips: RgbImage, path: Path, *, flip_average: bool = False) -> float:
    """Write `net` to `path` and compare both on `clips`, uint8 (N, T, S, S, 3), N >= 2.

    Returns the largest difference of a logit. Raises BundleInvalid, and leaves no file, where it is over
    1e-3 or no number.
    """
    require("onnx", "train")
    net = copy.deepcopy(net).float().eval()
    if flip_average:
        net = FlipAverage(net).eval()
    sample = torch.from_numpy(np.ascontiguousarray(clips[:2]))
    staged = path.with_name(path.name + ".part")
    with warnings.catch_warnings():
        # The successor of this exporter needs a further package and renames what it inlines; docs/decisions.md.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        torch.onnx.export(
            net,
            (sample,),
            str(staged),
            input_names=["clips"],
            output_names=["logit", "features"],
            dynamic_axes={name: {0: "n"} for name in ("clips", "logit", "features")},
            opset_version=_OPSET,
            dynamo=False,
        )
    try:
        off = parity(net, staged, clips)
        if not off <= PARITY_LIMIT:
            raise BundleInvalid(
                f"the exported graph differs from the network by {off:.2g} (at most {PARITY_LIMIT:g}); "
                "a layer of this model does not survive export"
            )
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return off


def parity(net: nn.Module, path: Path, clips: RgbImage) -> float:
    """Largest absolute difference between the logits of `net` and of the graph at `path` over `clips`."""
    return float(np.abs(torch_logits(net, clips) - onnx_logits(path, clips)).max())


def torch_logits(net: nn.Module, clips: RgbImage, *, batch_size: int = 32) -> Float64Array:
    """float64 (N,), computed in float32."""
    with torch.no_grad():
        parts = [
            net(torch.from_numpy(np.ascontiguousarray(clips[i : i + batch_size])))[0].double().numpy()
            for i in range(0, len(clips), batch_size)
        ]
    return np.concatenate(parts)


def onnx_logits(path: Path, clips: RgbImage, *, batch_size: int = 16, n_threads: int = 1) -> Float64Array:
    """float64 (N,) of the graph on ONNX Runtime's CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    parts = [
        session.run(["logit"], {"clips": np.ascontiguousarray(clips[i : i + batch_size])})[0].astype(np.float64)
        for i in range(0, len(clips), batch_size)
    ]
    return np.concatenate(parts)


__all__ = ["PARITY_LIMIT", "FlipAverage", "export_onnx", "onnx_logits", "parity", "torch_logits"]
