"""What software made a result: part of every report and card."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

_DISTRIBUTIONS = ("telltale", "av", "numpy", "onnxruntime", "opencv-python-headless", "pillow")


@cache
def versions() -> dict[str, str]:
    """Name -> version of Python and of the libraries that decode and score; "not installed" where one is absent."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
