"""In which options of `prepare` two stores differ, as words.

>>> differences({"plan": {"kind": "fps", "value": 1.0}}, {"plan": {"kind": "uniform", "value": 8.0}})
'--fps 1 in the store, --frames 8 asked'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telltale._text import short

_OPTIONS = {
    "boxes_from_original": "--boxes-from-original",
    "crop.align": "--align",
    "crop.kind": "--crop",
    "crop.margin_frac": "--margin",
    "crop.size_px": "--size",
    "detect": "--detect",
    "detector": "--detector",
    "detector_config.min_confidence": "--min-confidence",
    "detector_config.min_face_px": "--min-face",
    "detector_config.model_sha256": "--detector-model",
    "detector_config.search_every_s": "--search-every",
    "faces": "--faces",
    "plan.max_frames": "--max-frames",
    "plan.max_side_px": "--max-side",
    "plan.seconds": "--seconds",
}
_KINDS = {"fps": "--fps", "every": "--every", "uniform": "--frames", "first": "--first", "all": "--all-frames"}


def differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What the settings of a store are, and what was asked for, where these differ."""
    one, other = _flat(held), _flat(asked)
    changed = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    if "detect" in changed:  # then faces are not cut at all on one side
        changed = [name for name in changed if not name.startswith("crop")]
    if one.get("crop.kind") == "as_given":  # measured, not asked for
        options = {name: option for name, option in _OPTIONS.items() if name != "crop.size_px"}
    else:
        options = _OPTIONS
    return "; ".join(_words(options.get(name, name), one.get(name), other.get(name)) for name in changed)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`crop.size_px` and so on; how frames are taken is one value, (option, number)."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if not isinstance(value, Mapping):
            found[name] = value
            continue
        rest = dict(value)
        if name == "plan":
            found[name] = sampling_option(rest.pop("kind", None), rest.pop("value", None))
        found |= {f"{name}.{key}": one for key, one in rest.items()}
    return found


def sampling_option(kind: object, value: object) -> tuple[str, object]:
    """How frames are taken, as the option and the number that ask for it.

    >>> sampling_option("uniform", 2.0)
    ('--frames', 2.0)
    """
    return _KINDS.get(str(kind), f"plan.kind {kind}"), None if kind == "all" else value


def _words(option: str, held: Any, asked: Any) -> str:
    if isinstance(asked, tuple):
        same = isinstance(held, tuple) and held[0] == asked[0]
        here = " ".join(map(said, held)) if isinstance(held, tuple) else f"{option} {said(held)}"
        return f"{here.strip()} in the store, {said(asked[1]) if same else ' '.join(map(said, asked)).strip()} asked"
    if held is None:
        return f"no {option} in the store, {said(asked)} asked"
    return f"{option} {said(held)} in the store, {'none' if asked is None else said(asked)} asked"


def said(value: object) -> str:
    """
    >>> said(2.0), said(-0.095), said(True), said("haar")
    ('2', '-0.095', 'on', 'haar')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return f"{value:.10g}"
    return "" if value is None else short(value)
