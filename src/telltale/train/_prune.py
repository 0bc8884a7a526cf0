"""A trained MobileNetV2 made cheaper: hidden channels that the others of their block can replace are taken out.

Optimal brain surgeon (Hassibi and Stork, 1993), layer by layer: a block ends in a linear layer, so what taking out a
hidden channel costs, when the rest are weighted anew, has a closed form. Costs are in squared logits (the layer's
output is weighted by the logit's gradient there), and the channel goes first that costs least a multiply-add. What is
left is then fitted block after block, by least squares, to what the whole network gave. No labels, no training.

    pruned(net, clips, keep=0.8)    # of the multiply-adds of the blocks, four fifths; a copy
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from telltale.errors import UsageError
from telltale.models.transfer import (
    ConvNorm,
    InvertedResidual,
    MobileNetV2,
    Transfer,
    Trunks,
    folded,
    put_folded,
    trunks_of,
)
from telltale.recipe import Recipe
from telltale.train import _validation
from telltale.train._faces import FaceTable
from telltale.types import Float64Array, RgbImage

Pairs = list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]
"""Weight and bias of every convolution, norms folded in."""

_FACES = 60
"""Of each source and label, as they are; where a source has both, also under JPEG 30 and half size."""
_BATCH = 20
_PLACES = 800
"""Places of the feature maps of a batch whose statistics are taken."""
_RIDGE = 1e-4
"""Of the mean variance, added to every channel's: hidden channels are nearly dependent."""
_STEP = 8
"""Widths are multiples of it, as vector units like them; at least one is left."""
_UNFIT = "prune_to is for a mobilenetv2 that pools and ends in one linear layer; leave it at 1 for this model"
_AT_ONCE = 32
"""Channels that go before the matrices are made smaller."""


@dataclass(frozen=True, slots=True)
class _Block:
    """What is known of a block's hidden channels, h of them."""

    covariance: Float64Array
    """(h, h), with a ridge."""
    mean: Float64Array
    """(h,)"""
    weight: Float64Array
    """(n_out, h) of its last layer, weighted by the logit's gradient: distances are logits."""
    n_places: int
    """Of its output map."""
    macs: int
    """Multiply-adds of one hidden channel."""


def check_prunable(recipe: Recipe) -> None:
    """Raises UsageError, before anything is trained, where `prune_to` is for a network that cannot be pruned."""
    each = [member.recipe for member in recipe.members] or [recipe]
    for one in each:
        if min(recipe.prune_to, one.prune_to, *(stage.prune_to for stage in one.stages)) == 1:
            continue
        options = {"backbone": "mobilenetv2", "pool": "average", "hidden": 0} | one.model.options
        fits = (options["backbone"], options["pool"], options["hidden"]) == ("mobilenetv2", "average", 0)
        if one.model.name != "transfer" or not fits:
            raise UsageError(_UNFIT)


def to_prune_by(learned: FaceTable, recipe: Recipe, size_px: int) -> RgbImage:
    """Training faces of every source and label, some of them degraded: uint8 (N, T, S, S, 3)."""
    faces = _validation.build(learned, recipe, size_px=size_px, limit=_FACES)
    clips: RgbImage = faces.clips[faces.kind != "blend"]
    return clips


def pruned(net: nn.Module, clips: RgbImage, *, keep: float, seed: int = 0) -> Transfer:
    """A copy of `net` whose blocks take about `keep` of their multiply-adds, its norms folded in.

    `clips`, uint8 (N, 1, S, S, 3), are faces that it learned from, some hundreds. Raises UsageError for other networks
    than MobileNetV2 with a linear layer behind.
    """
    trunks = trunks_of(net.backbone) if isinstance(net, Transfer) and not net.flatten else []
    fits = bool(trunks) and all(isinstance(trunk, MobileNetV2) for trunk in trunks)
    if not isinstance(net, Transfer) or not isinstance(net.head, nn.Linear) or not fits:
        raise UsageError(_UNFIT)
    pictures = [net.normalise(torch.from_numpy(clips[i : i + _BATCH])) for i in range(0, len(clips), _BATCH)]
    heads = torch.split(net.head.weight.detach()[0], [cast(MobileNetV2, trunk).num_features for trunk in trunks])
    made: list[nn.Module] = []
    for trunk, head in zip(trunks, heads, strict=True):
        whole = _from_pairs(folded(cast(MobileNetV2, trunk)))
        kept = _chosen(_statistics(whole, head, pictures, seed), keep)
        made.append(_refitted(whole, kept, pictures, seed))
    smaller = copy.deepcopy(net)
    smaller.backbone = made[0] if len(made) == 1 else Trunks(made)
    return smaller.eval()


def _from_pairs(pairs: Pairs) -> MobileNetV2:
    net = MobileNetV2()
    put_folded(net, pairs, "pruning")
    return net.eval()


def _blocks(net: MobileNetV2) -> list[InvertedResidual]:
    return [block for block in net.blocks if isinstance(block, InvertedResidual)]


def _last(block: InvertedResidual) -> ConvNorm:
    return cast(ConvNorm, block.layers[-1])


def _statistics(net: MobileNetV2, head: Tensor, pictures: Sequence[Tensor], seed: int) -> list[_Block]:
    """Of every block, over places drawn from all pictures; `head` (C,) makes the logit of the pooled features."""
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    blocks, draw = _blocks(net), torch.Generator().manual_seed(seed)
    hidden: dict[int, Tensor] = {}
    out: dict[int, Tensor] = {}

    def watch(number: int) -> None:
        def before(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            hidden[number] = given[0].detach()

        def after(_: nn.Module, __: tuple[Tensor, ...], given: Tensor) -> None:
            given.retain_grad()
            out[number] = given

        hooks.append(_last(blocks[number]).register_forward_pre_hook(before))
        hooks.append(_last(blocks[number]).register_forward_hook(after))

    hooks: list[Any] = []
    sums: list[list[Float64Array]] = [[] for _ in blocks]
    counts = np.zeros(len(blocks))
    for number in range(len(blocks)):
        watch(number)
    try:
        for batch in pictures:
            (net(batch.clone().requires_grad_(True)).mean(dim=(2, 3)) @ head).sum().backward()
            for number in range(len(blocks)):
                gradient = cast(Tensor, out[number].grad)
                rows, gradients = _drawn([hidden[number], gradient], draw)
                counts[number] += len(rows)
                new = [rows.T @ rows, rows.sum(0), gradients.T @ gradients]
                sums[number] = (
                    [one.numpy() for one in new]
                    if not sums[number]
                    else [old + one.numpy() for old, one in zip(sums[number], new, strict=True)]
                )
    finally:
        for hook in hooks:
            hook.remove()
    return [
        _block(block, [total / count for total in of_block], out[number].shape[2:].numel())
        for number, (block, of_block, count) in enumerate(zip(blocks, sums, counts, strict=True))
    ]


def _drawn(maps: Sequence[Tensor], draw: torch.Generator) -> list[Tensor]:
    """The same places of (N, C, H, W) maps, as rows of float64 (places, C)."""
    rows = [one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in maps]
    picked = torch.randint(0, len(rows[0]), (min(len(rows[0]), _PLACES),), generator=draw)
    return [one[picked].double() for one in rows]


def _block(block: InvertedResidual, means: Sequence[Float64Array], n_places: int) -> _Block:
    square, mean, gradient = means
    values, vectors = np.linalg.eigh(gradient)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    weight = _last(block).conv.weight.detach().numpy()[:, :, 0, 0].astype(np.float64)
    stride = cast(ConvNorm, block.layers[-2]).conv.stride[0]
    n_before = cast(ConvNorm, block.layers[0]).conv.in_channels if len(block.layers) == 3 else 3 * 3 * 3  # the stem's
    macs = n_places * (n_before * stride**2 + 3 * 3 + len(weight))
    return _Block(_ridged(square - np.outer(mean, mean)), mean, root @ weight, n_places, macs)


def _ridged(covariance: Float64Array) -> Float64Array:
    ridged: Float64Array = covariance + np.eye(len(covariance)) * (
        _RIDGE * np.trace(covariance) / len(covariance) + 1e-12
    )
    return ridged


def _chosen(blocks: Sequence[_Block], keep: float) -> list[npt.NDArray[np.int64]]:
    """The hidden channels that stay in each block, ascending."""
    orders = [_order(block) for block in blocks]
    # a later channel never counts as cheaper than one before it, so that "up to this price" is a beginning of the order
    prices = [np.maximum.accumulate(cost) / block.macs for (_, cost), block in zip(orders, blocks, strict=True)]
    whole = sum(len(block.mean) * block.macs for block in blocks)

    def widths(price: float) -> list[int]:
        left = [len(block.mean) - int((one < price).sum()) for block, one in zip(blocks, prices, strict=True)]
        return [min(-(-max(n, 1) // _STEP) * _STEP, len(block.mean)) for n, block in zip(left, blocks, strict=True)]

    for price in sorted(np.concatenate(prices).tolist()):
        found = widths(price)
        if sum(n * block.macs for n, block in zip(found, blocks, strict=True)) <= keep * whole:
            break
    return [
        np.setdiff1d(np.arange(len(block.mean)), order[: len(block.mean) - n])
        for (order, _), block, n in zip(orders, blocks, found, strict=True)
    ]


def _order(block: _Block) -> tuple[npt.NDArray[np.int64], Float64Array]:
    """Hidden channels in the order they go, and the squared logits that each costs, the rest weighted anew."""
    weight, inverse = block.weight, np.linalg.inv(block.covariance)
    order: list[int] = []
    costs: list[float] = []
    channels = np.arange(len(inverse))
    while len(channels) > _STEP:
        alive = np.ones(len(channels), bool)
        for _ in range(min(_AT_ONCE, len(channels) - _STEP)):
            diagonal = np.where(alive, np.diag(inverse), 1.0)
            cost = np.where(alive, (weight**2).sum(axis=0) / diagonal, np.inf)
            gone = int(cost.argmin())
            order.append(int(channels[gone]))
            costs.append(float(cost[gone]) * block.n_places)
            row = inverse[gone] / np.sqrt(diagonal[gone])
            weight = weight - np.outer(weight[:, gone] / np.sqrt(diagonal[gone]), row)
            inverse = inverse - np.outer(row, row)
            alive[gone] = False
        channels, weight, inverse = channels[alive], weight[:, alive], inverse[np.ix_(alive, alive)]
    return np.array(order, np.int64), np.array(costs)


@torch.no_grad()
def _refitted(
    whole: MobileNetV2, kept: Sequence[npt.NDArray[np.int64]], pictures: Sequence[Tensor], seed: int
) -> MobileNetV2:
    """The network with the hidden channels `kept`, each block's last layer fitted to what the whole network's says."""
    smaller, draw = _from_pairs(_cut(whole, kept)), torch.Generator().manual_seed(seed)
    theirs, ours = ([net.blocks[0](batch) for batch in pictures] for net in (whole, smaller))
    for block, small in zip(_blocks(whole), _blocks(smaller), strict=True):
        sums: list[Tensor] = []
        count = 0
        for number in range(len(pictures)):
            theirs[number] = block(theirs[number])
            hidden = small.layers[:-1](ours[number])
            rows, wanted = _drawn([hidden, theirs[number] - ours[number] if small.residual else theirs[number]], draw)
            new = [rows.T @ rows, wanted.T @ rows, rows.sum(0), wanted.sum(0)]
            sums = [old + one for old, one in zip(sums, new, strict=True)] if sums else new
            count += len(rows)
        square, cross, mean, mean_wanted = (total.numpy() / count for total in sums)
        covariance = _ridged(square - np.outer(mean, mean))
        weight = np.linalg.solve(covariance, (cross - np.outer(mean_wanted, mean)).T).T
        last = _last(small)
        last.conv.weight.copy_(torch.from_numpy(weight[:, :, None, None]))
        last.norm.bias.copy_(torch.from_numpy(mean_wanted - weight @ mean))
        ours = [small(batch) for batch in ours]
    return smaller


def _cut(net: MobileNetV2, kept: Sequence[npt.NDArray[np.int64]]) -> Pairs:
    """The network's weights without the other hidden channels."""
    pairs = iter(folded(net))
    return list(_cut_one_by_one(net, pairs, kept))


def _cut_one_by_one(net: MobileNetV2, pairs: Iterator[Any], kept: Sequence[npt.NDArray[np.int64]]) -> Iterator[Any]:
    for number, (block, channels) in enumerate(zip(_blocks(net), kept, strict=True)):
        # the first block's hidden channels are made by the stem
        for _ in range(len(block.layers) - 1 + (number == 0)):
            weight, bias = next(pairs)
            yield weight[channels], bias[channels]
        weight, bias = next(pairs)
        yield weight[:, channels], bias
    yield from pairs
