"""Telltale: is this video real?

    import telltale
    report = telltale.scan("clip.mp4")
    report.verdict

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telltale.bundle import Bundle, ModelCard
    from telltale.bundle import load_bundle as load
    from telltale.crops import CropSpec, crop_face
    from telltale.errors import TelltaleError
    from telltale.evaluate import evaluate
    from telltale.explain import explain
    from telltale.prepare import prepare
    from telltale.sampling import SamplePlan
    from telltale.scan import Scanner, ScanSettings, scan, scan_many
    from telltale.train import train
    from telltale.types import Clip, Code, Face, Frame, Report, Scores, Track, Verdict, VideoInfo
    from telltale.video import probe, read_frames

__version__ = "0.1.0"

# From 1.31 on ONNX Runtime keeps a diary of its sessions and reports it to its makers, unless told before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "Bundle": "bundle",
    "Clip": "types",
    "Code": "types",
    "CropSpec": "crops",
    "Face": "types",
    "Frame": "types",
    "ModelCard": "bundle",
    "Report": "types",
    "SamplePlan": "sampling",
    "ScanSettings": "scan",
    "Scanner": "scan",
    "Scores": "types",
    "TelltaleError": "errors",
    "Track": "types",
    "Verdict": "types",
    "VideoInfo": "types",
    "crop_face": "crops",
    "evaluate": "evaluate",
    "explain": "explain",
    "load": "bundle.load_bundle",
    "prepare": "prepare",
    "probe": "video",
    "read_frames": "video",
    "scan": "scan",
    "scan_many": "scan",
    "train": "train",
}


_NEEDS_EXTRA = ("train",)
"""What is in the extra of its own name; without that it is there, and says so when it is called."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        if name.startswith("_") or importlib.util.find_spec(f"telltale.{name}") is None:
            raise AttributeError(f"module 'telltale' has no attribute {name!r}")
        return importlib.import_module(f"telltale.{name}")
    module, _, attribute = _HOME[name].partition(".")
    try:
        value = getattr(importlib.import_module(f"telltale.{module}"), attribute or name)
    except ModuleNotFoundError as error:
        if name not in _NEEDS_EXTRA or error.name is None or error.name.startswith("telltale"):
            raise
        return _missing(name, error.name)
    globals()[name] = value
    return value


def _missing(name: str, module: str) -> Callable[..., Any]:
    def missing(*_: object, **__: object) -> Any:
        from telltale.errors import require

        require(module, name)

    missing.__name__ = missing.__qualname__ = name
    missing.__doc__ = f"Needs pip install 'telltale[{name}]'."
    return missing


class _Package(ModuleType):
    """Importing the file `scan.py` must not replace the function `telltale.scan`, as Python's import otherwise does."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


__all__ = [
    "Bundle",
    "Clip",
    "Code",
    "CropSpec",
    "Face",
    "Frame",
    "ModelCard",
    "Report",
    "SamplePlan",
    "ScanSettings",
    "Scanner",
    "Scores",
    "TelltaleError",
    "Track",
    "Verdict",
    "VideoInfo",
    "__version__",
    "crop_face",
    "evaluate",
    "explain",
    "load",
    "prepare",
    "probe",
    "read_frames",
    "scan",
    "scan_many",
    "train",
]
