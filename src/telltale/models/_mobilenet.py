"""MobileNetV2 (Sandler et al., CVPR 2018), width 1.0, with a loader for weights whose batch norm is folded in.

The file is an `.npz` with keys `NN_{conv,dw}_s{stride}_{w,b}` (OIHW), one pair a layer, in the order of the network,
the 1,001-way classifier last. TensorFlow SAME padding: a stride of 2 pads bottom and right only.

A folded network put into training mode with identity batch norm loses what it knew (AUC .52 after one epoch):
`unfold` first sets each batch norm, from a batch of pictures, so that its output is the folded one exactly.

>>> net = MobileNetV2()
>>> net(torch.zeros(2, 3, 64, 64)).shape
torch.Size([2, 1280, 2, 2])
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from telltale._onnx_file import Graph
from telltale.errors import BundleInvalid

Array = npt.NDArray[Any]

# expansion, channels out, repeats, stride of the first: table 2 of the paper
_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class ConvNorm(nn.Module):
    """Convolution, batch norm and, unless `linear`, ReLU6; TensorFlow SAME padding for even inputs."""

    def __init__(
        self, n_in: int, n_out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.pad_after = kernel > 1 and stride == 2
        padding = 0 if self.pad_after else kernel // 2
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(n_out, eps=1e-3, momentum=0.01)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.norm.training:
            # fixed statistics folded onto the weights: a step was measured 1.75 times as fast
            mean, var = cast(Tensor, self.norm.running_mean), cast(Tensor, self.norm.running_var)
            scale = self.norm.weight * torch.rsqrt(var + self.norm.eps)
            shift = self.norm.bias - mean * scale
            x = self._convolve(x, self.conv.weight * scale[:, None, None, None], shift)
        else:
            x = self.norm(self._convolve(x, self.conv.weight, None))
        return x if self.linear else F.relu6(x)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        groups, stride = self.conv.groups, self.conv.stride
        if not self.pad_after:
            return F.conv2d(x, weight, bias, stride, self.conv.padding, groups=groups)
        if self.training and groups > 1:
            # the same numbers from a stride of 1, thinned: oneDNN's strided depthwise gradient in bf16
            # was measured 2 to 25 times slower
            return F.conv2d(x, weight, bias, padding=1, groups=groups)[:, :, 1::2, 1::2]
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), weight, bias, stride, groups=groups)


class InvertedResidual(nn.Module):
    def __init__(self, n_in: int, n_out: int, *, stride: int, hidden: int, expands: bool) -> None:
        super().__init__()
        layers = [ConvNorm(n_in, hidden)] if expands else []
        layers += [
            ConvNorm(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            ConvNorm(hidden, n_out, linear=True),
        ]
        self.layers = nn.Sequential(*layers)
        self.hidden = hidden
        self.residual = stride == 1 and n_in == n_out and expands

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class MobileNetV2(nn.Module):
    """float (N, 3, H, W) in -1..1 -> feature map (N, 1280, H / 32, W / 32)."""

    num_features = 1280
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.is_folded = False
        """Whether its norms are identities that `unfold` has not set yet."""
        self.blocks = _blocks(_hidden_widths())

    def set_widths(self, hidden: Sequence[int]) -> None:
        """So many hidden channels in each of the 17 blocks, as pruning left; all weights are then random."""
        if list(hidden) != [block.hidden for block in self.blocks if isinstance(block, InvertedResidual)]:
            self.blocks = _blocks(hidden).train(self.training)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        """Weights of a pruned network make this one as wide."""
        last = [f"{prefix}blocks.{i}.layers.{1 if i == 1 else 2}.conv.weight" for i in range(1, 18)]
        if all(name in state_dict for name in last):
            self.set_widths([state_dict[name].shape[1] for name in last])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(x)
        return out

    def layers(self) -> list[ConvNorm]:
        """The 52 convolutions in the order of the network."""
        return [module for module in self.modules() if isinstance(module, ConvNorm)]


def _hidden_widths() -> list[int]:
    """Of the 17 blocks, as published. The first block's are the stem's channels."""
    widths, width = [], 32
    for expansion, out, repeats, _ in _BLOCKS:
        for _ in range(repeats):
            widths.append(width * expansion)
            width = out
    return widths


def _blocks(hidden: Sequence[int]) -> nn.Sequential:
    stem = hidden[0]
    blocks: list[nn.Module] = [ConvNorm(3, stem, kernel=3, stride=2)]
    width, widths = stem, iter(hidden)
    for expansion, out, repeats, stride in _BLOCKS:
        for i in range(repeats):
            first = stride if i == 0 else 1
            blocks.append(InvertedResidual(width, out, stride=first, hidden=next(widths), expands=expansion > 1))
            width = out
    return nn.Sequential(*blocks, ConvNorm(width, MobileNetV2.num_features))


def folded(net: MobileNetV2) -> list[tuple[Array, Array]]:
    """Weight and bias of each layer, its norm's fixed statistics folded in: what `put_folded` takes."""
    pairs = []
    for layer in net.layers():
        norm = layer.norm
        mean, var = cast(Tensor, norm.running_mean).detach(), cast(Tensor, norm.running_var).detach()
        scale = norm.weight.detach() * torch.rsqrt(var + norm.eps)
        weight = layer.conv.weight.detach() * scale[:, None, None, None]
        pairs.append((weight.numpy(), (norm.bias.detach() - mean * scale).numpy()))
    return pairs


def load_folded(net: MobileNetV2, path: str | Path) -> None:
    """Put folded weights into `net`; the norms become x + bias. Call `unfold` before training.

    Raises BundleInvalid where the file is no archive, or a layer is missing or has another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            weights = [archive[name] for name in sorted(archive.files) if name.endswith("_w")]
            biases = [archive[name] for name in sorted(archive.files) if name.endswith("_b")]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise BundleInvalid(f"{path} is no .npz of weights, or a damaged one: {error}; fetch it again") from error
    put_folded(net, list(zip(weights, biases, strict=False)), path)


def load_graph(nets: Sequence[MobileNetV2], graph: Graph) -> bool:
    """The same from a graph that was exported from these networks, one after the other, its convolutions in the graph's
    order; False where it has others. Raises BundleInvalid where their shapes are others.
    """
    convolutions = [node.inputs[1:] for node in graph.nodes if node.op == "Conv"]
    pairs = [(graph.tensor(inputs[0]), graph.tensor(inputs[-1])) for inputs in convolutions if len(inputs) == 2]
    known = [(np.array(weight), np.array(bias)) for weight, bias in pairs if weight is not None and bias is not None]
    n_layers = len(nets[0].layers())
    if len(known) != n_layers * len(nets):
        return False
    for number, net in enumerate(nets):
        put_folded(net, known[number * n_layers : (number + 1) * n_layers], "the bundle's graph")
    return True


def put_folded(net: MobileNetV2, pairs: Sequence[tuple[Array, Array]], path: str | Path) -> None:
    """Weight and bias of each layer into `net`, which becomes as wide. Raises BundleInvalid where they do not fit."""
    if len(pairs) < len(net.layers()):
        raise BundleInvalid(f"{path} has {len(pairs)} layers, MobileNetV2 needs {len(net.layers())}")
    net.set_widths([pairs[i][0].shape[0] for i in (0, *range(4, 52, 3))])
    layers = net.layers()
    net.is_folded = True
    for layer, (weight, bias) in zip(layers, pairs, strict=False):
        if layer.conv.weight.shape != weight.shape:
            raise BundleInvalid(f"{path}: expected {tuple(layer.conv.weight.shape)}, got {weight.shape}")
        norm = layer.norm
        with torch.no_grad():
            layer.conv.weight.copy_(torch.from_numpy(weight))
            norm.running_mean.zero_()  # type: ignore[union-attr]
            norm.running_var.fill_(1.0 - norm.eps)  # type: ignore[union-attr]
            norm.weight.fill_(1.0)
            norm.bias.copy_(torch.from_numpy(bias))


@torch.no_grad()
def unfold(net: MobileNetV2, pictures: Tensor) -> None:
    """Give every batch norm the statistics of `pictures` (float (N, 3, H, W) in -1..1) without changing its output.

    weight = sqrt(var + eps) and bias = folded bias + mean, so that
    weight * (x - mean) / sqrt(var + eps) + bias = x + folded bias.
    """

    def measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        var, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(var)  # type: ignore[union-attr]
        norm.weight.copy_(torch.sqrt(var + norm.eps))
        norm.bias.add_(mean)

    was_training = net.training
    net.eval()
    hooks = [layer.norm.register_forward_pre_hook(measure) for layer in net.layers()]
    try:
        net(pictures)
    finally:
        for hook in hooks:
            hook.remove()
        net.train(was_training)
    net.is_folded = False
