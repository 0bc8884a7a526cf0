"""Grad-CAM: what an inner layer saw, weighted by how much the score leans on it (Selvaraju et al., ICCV 2017).

    create(layer="backbone.blocks.13").explain(scorer, clip).heat

Needs the trained network itself: a bundle with `weights.safetensors`, whose recipe names its model, and torch. At the
last layer of a network that ends in an average it says what `cam` says, so the default is the last layer with a map at
least twice as fine. The gradient is captum's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from telltale import _cam
from telltale.bundle import Bundle
from telltale.errors import BundleInvalid, UsageError, require
from telltale.explain import Explanation, Target
from telltale.runtime import Scorer
from telltale.types import Clip

if TYPE_CHECKING:
    from torch import Tensor, nn

_FINER = 2
_SAME_LOGIT = 1e-2
"""The export promises 1e-3; anything like this is another network."""


@dataclass(frozen=True, slots=True)
class Settings:
    target: Target = "fake"
    layer: str | None = None
    """Name of a module of the network, as in `named_modules`."""


class GradCam:
    """See the module."""

    name = "gradcam"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._nets: dict[str, nn.Module] = {}

    def explain(self, scorer: Scorer, clip: Clip) -> Explanation:
        """Heat is activation times mean gradient, summed over channels: logits this place is worth, signed."""
        settings, bundle = self._settings, scorer.bundle
        torch, attr = require("torch", "explain"), require("captum.attr", "explain")
        net = self._net(bundle)
        clips = torch.from_numpy(clip.rgb.astype(np.float32))[None]
        layers = _layers(net, clips)
        name = settings.layer or _default_layer(layers)
        if name not in layers:
            raise UsageError(
                f"model {bundle.card.name} has no layer {name!r} with a map; there are {', '.join(layers)}"
            )
        logit = float(scorer.score([clip]).logit[0])
        _check_same(net, clips, logit, bundle)
        method = attr.LayerGradCam(lambda x: net(x)[0], dict(net.named_modules())[name])
        places = method.attribute(clips, relu_attributions=False)[0, 0].detach().numpy()
        sign = 1 if settings.target == "fake" else -1
        heat = _cam.to_crop(np.float32(sign) * places.astype(np.float32), clip.rgb.shape[1])
        return Explanation(
            method=self.name,
            target=settings.target,
            heat=heat,
            logit=logit,
            settings=asdict(settings) | {"layer": name, "places": list(places.shape)},
        )

    def _net(self, bundle: Bundle) -> nn.Module:
        if bundle.sha256 not in self._nets:
            self._nets[bundle.sha256] = _load(bundle)
        return self._nets[bundle.sha256]


def _load(bundle: Bundle) -> nn.Module:
    if bundle.weights_path is None:
        raise UsageError(
            f"model {bundle.card.name} comes without weights.safetensors, so its gradients are not to be had; "
            "use --method cam, or export it again with weights"
        )
    if bundle.card.n_frames > 1:
        raise UsageError(f"model {bundle.card.name} looks at sequences; use --method occlusion or lime")
    model = cast("dict[str, Any]", bundle.card.recipe.get("model") or {})
    if "name" not in model:
        raise UsageError(f"model {bundle.card.name} does not say how its network is built; use --method cam")
    torch = require("torch", "explain")
    load_file = require("safetensors.torch", "explain").load_file
    from telltale import models

    with torch.random.fork_rng(devices=[]):  # it draws weights, which are then overwritten
        net = models.create(
            model["name"],
            weights=models.Weights("none"),
            options=model.get("options"),
            size_px=bundle.card.size_px,
        )
    try:
        net.load_state_dict(load_file(str(bundle.weights_path)))
    except RuntimeError as error:
        raise BundleInvalid(f"{bundle.weights_path} does not fit {model['name']}: {error}") from error
    return net.eval()


def _layers(net: nn.Module, clips: Tensor) -> dict[str, int]:
    """Names of the layers whose output is a map (N, C, h, w), in the order they run -> w."""
    torch = require("torch", "explain")
    found: dict[str, int] = {}
    hooks = []
    for name, module in net.named_modules():

        def note(_module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                found[name] = int(output.shape[3])

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            net(clips)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _default_layer(layers: dict[str, int]) -> str:
    if not layers:
        raise UsageError("this model has no layer with a map; use --method lime or occlusion")
    last = list(layers.values())[-1]
    finer = [name for name, width in layers.items() if width >= _FINER * last]
    return finer[-1] if finer else list(layers)[-1]


def _check_same(net: nn.Module, clips: Tensor, logit: float, bundle: Bundle) -> None:
    """Whether the weights are those of the graph that scans. The mirrored half of a flip average is not looked at."""
    torch = require("torch", "explain")
    with torch.no_grad():
        said = float(net(clips)[0])
        if bundle.card.flip_average:
            said = (said + float(net(clips.flip(3))[0])) / 2
    if abs(said - logit) > _SAME_LOGIT:
        raise BundleInvalid(f"{bundle.path}: weights.safetensors says {said:.3f} where model.onnx says {logit:.3f}")


def create(**settings: Any) -> GradCam:
    return GradCam(Settings(**settings))


__all__ = ["GradCam", "Settings", "create"]
