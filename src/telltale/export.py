"""From a trained network to `model.onnx`, with the proof that both say the same.

    export_onnx(net, clips, folder / "model.onnx")      # raises BundleInvalid if a logit differs by more than 1e-3

The graph takes uint8 (N, T, S, S, 3) and gives `logit` (N,) and, where the network has them, `features` (N, C, h, w);
scaling and normalisation are part of it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from telltale._fold import fold_pads
from telltale.errors import BundleInvalid, require
from telltale.models import takes_mask
from telltale.types import BoolArray, Float64Array, RgbImage

PARITY_LIMIT = 1e-3
"""Largest difference between the logits of the model and of its graph."""
PARITY_FACES = 64
_TORCH_BATCH, _ONNX_BATCH = 32, 16
_OPSET = 17


class FlipAverage(nn.Module):
    """The mean logit of a crop and of its mirror image; the features are the crop's own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.n_frames = getattr(net, "n_frames", 1)

    def forward(self, clips: Tensor, *mask: Tensor) -> tuple[Tensor, Tensor | None]:
        logit, features = self.net(clips, *mask)
        mirrored, _ = self.net(clips.flip(3), *mask)
        return (logit + mirrored) / 2, features


class _LogitAlone(nn.Module):
    """A graph cannot give `None`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> Tensor:
        logit: Tensor = self.net(*inputs)[0]
        return logit


def export_onnx(
    net: nn.Module, clips: RgbImage, path: Path, *, mask: BoolArray | None = None, flip_average: bool = False
) -> float:
    """Write `net` to `path` and compare both on `clips`, uint8 (N, T, S, S, 3), N >= 2, and `mask` (N, T), all there
    if not given.

    Returns the largest difference of a logit. Raises BundleInvalid, and leaves no file, where it is over
    1e-3 or no number.
    """
    require("onnx", "train")
    net = copy.deepcopy(net).float().eval()
    if flip_average:
        net = FlipAverage(net).eval()
    sample = _inputs(net, clips[:2], None if mask is None else mask[:2])
    inputs = ["clips", "mask"][: len(sample)]
    with torch.no_grad():
        outputs = ["logit"] if net(*sample)[1] is None else ["logit", "features"]
    staged = path.with_name(path.name + ".part")
    with warnings.catch_warnings():
        # The successor of this exporter needs a further package and renames what it inlines; docs/decisions.md.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        # torch's own checks of a recurrent layer's input
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.onnx.export(
            net if len(outputs) == 2 else _LogitAlone(net).eval(),
            sample,
            str(staged),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
            opset_version=_OPSET,
            dynamo=False,
        )
    try:
        fold_pads(staged, dict(zip(inputs, (tensor.numpy() for tensor in sample), strict=True)))
        off = parity(net, staged, clips, mask=mask)
        if not off <= PARITY_LIMIT:
            raise BundleInvalid(
                f"the exported graph differs from the network by {off:.2g} (at most {PARITY_LIMIT:g}); "
                "a layer of this model does not survive export"
            )
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return off


def _inputs(net: nn.Module, clips: RgbImage, mask: BoolArray | None) -> tuple[Tensor, ...]:
    tensors: tuple[Tensor, ...] = (torch.from_numpy(np.ascontiguousarray(clips)),)
    if takes_mask(net):
        tensors += (torch.from_numpy(np.ascontiguousarray(_full(clips, mask))),)
    return tensors


def _full(clips: RgbImage, mask: BoolArray | None) -> BoolArray:
    return np.ones(clips.shape[:2], bool) if mask is None else mask


def parity(net: nn.Module, path: Path, clips: RgbImage, *, mask: BoolArray | None = None) -> float:
    """Largest absolute difference between the logits of `net` and of the graph at `path` over `clips`.

    `clips` uint8 (N, T, S, S, 3); `mask` bool (N, T), which of their frames are there, all if not given.
    """
    return float(np.abs(torch_logits(net, clips, mask=mask) - onnx_logits(path, clips, mask=mask)).max())


def torch_logits(net: nn.Module, clips: RgbImage, *, mask: BoolArray | None = None) -> Float64Array:
    """float64 (N,), computed in float32."""
    mask = _full(clips, mask)
    with torch.no_grad():
        parts = [
            net(*_inputs(net, clips[i : i + _TORCH_BATCH], mask[i : i + _TORCH_BATCH]))[0].double().numpy()
            for i in range(0, len(clips), _TORCH_BATCH)
        ]
    return np.concatenate(parts)


def onnx_logits(path: Path, clips: RgbImage, *, mask: BoolArray | None = None) -> Float64Array:
    """float64 (N,) of the graph on ONNX Runtime's CPU."""
    return onnx_outputs(path, clips, mask=mask)[0]


def onnx_outputs(
    path: Path,
    clips: RgbImage,
    *,
    mask: BoolArray | None = None,
    n_threads: int = 1,
    on_done: Callable[[int], None] = lambda _: None,
) -> tuple[Float64Array, Float64Array | None]:
    """Logits (N,) and the mean of each feature map (N, C), None where the graph gives none. `on_done` is told how many
    clips each batch had."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    given = {"clips": clips, "mask": _full(clips, mask)}
    names = [entry.name for entry in session.get_inputs()]
    wanted = [name for name in ("logit", "features") if name in {entry.name for entry in session.get_outputs()}]
    logits, pooled = [], []
    for i in range(0, len(clips), _ONNX_BATCH):
        feed = {name: np.ascontiguousarray(given[name][i : i + _ONNX_BATCH]) for name in names}
        logit, *features = session.run(wanted, feed)
        logits.append(logit.astype(np.float64))
        pooled += [maps.mean(axis=(2, 3), dtype=np.float64) for maps in features if maps.ndim == 4]
        on_done(len(logit))
    return np.concatenate(logits), np.concatenate(pooled) if pooled else None


__all__ = [
    "PARITY_FACES",
    "PARITY_LIMIT",
    "FlipAverage",
    "export_onnx",
    "onnx_logits",
    "onnx_outputs",
    "parity",
    "torch_logits",
]
