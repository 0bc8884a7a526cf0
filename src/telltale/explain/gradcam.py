"""Grad-CAM: what an inner layer saw, weighted by how much the score leans on it (Selvaraju et al., ICCV 2017).

    create(layer="backbone.blocks.13").explain(scorer, clip).heat

Needs the trained network itself: a bundle with `weights.safetensors`, whose recipe names its model, and torch. By
default it looks at the last layer with a map: for a network that ends in an average and a linear layer that is what
`cam` says for nothing; for any other it is what `cam` cannot say. Earlier layers are finer and, as measured, noisier.
The gradient is captum's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from telltale import _cam, _heat
from telltale.bundle import Bundle
from telltale.errors import BundleInvalid, UsageError, nearest, require
from telltale.explain import Explanation, Target, untold
from telltale.runtime import Scorer
from telltale.types import Clip

if TYPE_CHECKING:
    from torch import Tensor, nn

    Say = Callable[[Tensor], Tensor]

_SAME_LOGIT = 1e-2
"""The export promises 1e-3; anything like this is another network."""


@dataclass(frozen=True, slots=True)
class Settings:
    target: Target = "fake"
    layer: str | None = None
    """Name of a module of the network, as in `named_modules`; None: the last with a map."""


class GradCam:
    """See the module."""

    name = "gradcam"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._nets: dict[str, tuple[nn.Module, str]] = {}

    def check(self, bundle: Bundle) -> None:
        require("torch", "explain")
        require("captum.attr", "explain")
        self._net(bundle)

    def explain(self, scorer: Scorer, clip: Clip, *, on_progress: Callable[[float], None] = untold) -> Explanation:
        """Heat is activation times mean gradient, summed over channels, in logits as `cam` has it."""
        settings, bundle = self._settings, scorer.bundle
        torch, attr = require("torch", "explain"), require("captum.attr", "explain")
        net, name = self._net(bundle)
        clips, say = torch.from_numpy(clip.rgb.astype(np.float32))[None], _speaker(net)
        logit = float(scorer.score([clip]).logit[0])
        said = _checked(say, clips, logit, bundle)
        method = attr.LayerGradCam(say, dict(net.named_modules())[name])
        maps = method.attribute(clips, relu_attributions=False)[:, 0].detach().numpy()
        # As in `cam`: what the logit would be if every place were like this one. Their mean is the logit: what no place
        # says, as the bias of the last layer, lies on all of them alike.
        places = maps[0] * maps[0].size
        places += np.float32(said) - places.mean()
        heat, start = _heat.contrasted(_cam.to_crop(places.astype(np.float32), clip.rgb.shape[1]))
        sign = np.float32(1 if settings.target == "fake" else -1)
        on_progress(1.0)
        return Explanation(
            method=self.name,
            target=settings.target,
            heat=sign * heat,
            logit=logit,
            settings=asdict(settings) | {"layer": name, "places": list(places.shape), "start_logit": start},
        )

    def _net(self, bundle: Bundle) -> tuple[nn.Module, str]:
        """The network, and the layer that is looked at."""
        if bundle.sha256 not in self._nets:
            net = _load(bundle)
            self._nets[bundle.sha256] = net, _layer(net, bundle, self._settings.layer)
        return self._nets[bundle.sha256]


def _load(bundle: Bundle) -> nn.Module:
    if bundle.weights_path is None:
        raise UsageError(
            f"model {bundle.card.name} comes without weights.safetensors, so its gradients are not to be had; use "
            f"{_instead(bundle)}, or export it again with weights"
        )
    if bundle.card.n_frames > 1:
        raise UsageError(f"model {bundle.card.name} looks at sequences; use {_cam.BY_HIDING}")
    model = cast("dict[str, Any]", bundle.card.recipe.get("model") or {})
    if "name" not in model:
        raise UsageError(f"model {bundle.card.name} does not say how its network is built; use {_instead(bundle)}")
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


def _instead(bundle: Bundle) -> str:
    """The method that comes nearest and takes the model."""
    try:
        _cam.find_head(bundle)
    except UsageError:
        return _cam.BY_HIDING
    return "--method cam"


def _speaker(net: nn.Module) -> Say:
    """(1, 1, S, S, 3) in 0-255 -> the logit, (1,)."""
    from telltale import models

    torch = require("torch", "explain")
    return lambda clips: models.run(net, clips, torch.ones(clips.shape[:2], dtype=torch.bool))[0]


def _layer(net: nn.Module, bundle: Bundle, wanted: str | None) -> str:
    """`wanted`, or the last with a map. Raises `UsageError`."""
    layers = _layers(net, bundle.card.size_px)
    if not layers:
        raise UsageError(f"model {bundle.card.name} has no layer with a map; use {_cam.BY_HIDING}")
    name = layers[-1] if wanted is None else wanted
    if name not in layers:
        raise UsageError(
            f"model {bundle.card.name} has no layer {name!r} with a map{nearest(name, layers)}; "
            f"there are {len(layers)}, from {layers[0]} to {layers[-1]}"
        )
    return name


def _layers(net: nn.Module, size_px: int) -> list[str]:
    """Names of the layers whose output is a map (N, C, h, w), in the order they finish."""
    torch = require("torch", "explain")
    found: list[str] = []
    hooks = []
    for name, module in net.named_modules():

        def note(_module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                found.append(name)

        hooks.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            _speaker(net)(torch.zeros((1, 1, size_px, size_px, 3)))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _checked(say: Say, clips: Tensor, logit: float, bundle: Bundle) -> float:
    """What the network says of the clip itself, if its weights are those of the graph that scans."""
    torch = require("torch", "explain")
    with torch.no_grad():
        said = float(say(clips))
        mean = (said + float(say(clips.flip(3)))) / 2 if bundle.card.flip_average else said
    if abs(mean - logit) > _SAME_LOGIT:
        raise BundleInvalid(f"{bundle.path}: weights.safetensors says {mean:.3f} where model.onnx says {logit:.3f}")
    return said


def create(**settings: Any) -> GradCam:
    return GradCam(Settings(**settings))


__all__ = ["GradCam", "Settings", "create"]
