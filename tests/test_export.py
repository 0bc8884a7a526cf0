from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from telltale import models
from telltale.errors import BundleInvalid
from telltale.export import PARITY_LIMIT, export_onnx, onnx_logits, torch_logits
from telltale.models import Weights
from telltale.types import RgbImage


def _net(*, trunks: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return models.create("transfer", weights=Weights("none"), options={"trunks": trunks}).eval()


def _clips(n: int = 5) -> RgbImage:
    return np.random.default_rng(0).integers(0, 256, (n, 1, 32, 32, 3)).astype(np.uint8)


def test_the_graph_says_what_the_network_says(tmp_path: Path) -> None:
    net, clips = _net(), _clips()
    off = export_onnx(net, clips, tmp_path / "model.onnx")
    assert off <= PARITY_LIMIT
    assert np.allclose(onnx_logits(tmp_path / "model.onnx", clips), torch_logits(net, clips), atol=PARITY_LIMIT)


def test_the_graph_gives_the_feature_map_and_takes_any_number_of_clips(tmp_path: Path) -> None:
    import onnxruntime as ort

    export_onnx(_net(), _clips(), tmp_path / "model.onnx")
    session = ort.InferenceSession((tmp_path / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    for n in (1, 3, 7):
        logit, features = session.run(["logit", "features"], {"clips": _clips(n)})
        assert logit.shape == (n,)
        assert features.shape == (n, 1280, 1, 1)
    assert session.get_inputs()[0].type == "tensor(uint8)"


def test_averaging_the_mirror_image_makes_a_mirror_image_score_the_same(tmp_path: Path) -> None:
    clips = _clips()
    export_onnx(_net(), clips, tmp_path / "model.onnx", flip_average=True)
    mirrored = np.ascontiguousarray(clips[:, :, :, ::-1])
    plain, other = (onnx_logits(tmp_path / "model.onnx", c) for c in (clips, mirrored))
    assert np.allclose(plain, other, atol=1e-5)


class _Forgetful(nn.Module):
    """Reads a number while it is traced that changes afterwards: the graph keeps the old one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        x = clips.float().mean(dim=(1, 2, 3, 4))
        return x + float(self.calls), clips[:, 0].float().permute(0, 3, 1, 2)


def test_a_graph_that_says_something_else_is_refused_and_left_nowhere(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match="differs"):
        export_onnx(_Forgetful(), _clips(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    net = _net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export_onnx(net, _clips(), tmp_path / "model.onnx")
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("trunks", [1, 2])
def test_uneven_padding_is_part_of_the_convolution(tmp_path: Path, trunks: int) -> None:
    import onnx

    export_onnx(_net(trunks=trunks), _clips(), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert not [node for node in graph.node if node.op_type == "Pad"]
    pads = [list(a.ints) for node in graph.node if node.op_type == "Conv" for a in node.attribute if a.name == "pads"]
    assert [0, 0, 1, 1] in pads
