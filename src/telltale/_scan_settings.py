"""How to look: the settings of a scan, and the names of what is scanned, checked when they are given.

>>> ScanSettings(deadline_s=-1)
Traceback (most recent call last):
telltale.errors.UsageError: deadline_s must be a number of seconds above 0 or None, got -1
>>> path_name(b"clip.mp4")
'clip.mp4'
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from telltale._text import short
from telltale.errors import UsageError
from telltale.faces import DetectorConfig, check_name
from telltale.runtime import Device
from telltale.sampling import SamplePlan

AnyPath = str | bytes | os.PathLike[str]
_MAX_PATH_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """How to look. What is None comes from the model's card. Raises `UsageError` for what cannot be meant."""

    plan: SamplePlan | None = None
    detector: str | None = None
    """The name of one of Telltale's own: `telltale.faces.names()`."""
    detector_model: str | None = None
    """Weights file, for detectors that ship none."""
    min_face_px: float | None = None
    min_confidence: float | None = None
    search_every_s: float | None = None
    """See `DetectorConfig`; None: its default."""
    deadline_s: float | None = None
    """Reading stops within it, and what was seen by then is judged (`partial`). None: 60 s, three times the video's
    length or a second for every 20 MB, whichever is longest."""
    pictures: bool = False
    """Keep thumbnails and crops for an HTML report."""
    explain: bool = False
    """Keep also, for every crop that is kept, a heat map of what spoke for and against a forgery."""
    stability: bool = False
    """Recompress and rescale the input, and scan every result: ten times the work."""
    provenance: bool = False
    """Read Content Credentials and container metadata. They alter no score."""
    annotate_into: Path | None = None
    """Write the annotated clip into the report's folder under this one."""
    n_threads: int = 2
    """1 where several workers share the machine: decoding then uses one thread too."""
    device: Device = "auto"
    """Where the model runs: `auto` takes CUDA where ONNX Runtime has it. Faces are found on processors."""

    def __post_init__(self) -> None:
        if self.detector is not None:
            check_name(self.detector)
        self._expect("plan", isinstance(self.plan, SamplePlan | None), "a SamplePlan or None")
        self._expect(
            "detector_model", isinstance(self.detector_model, str | None), "the path of a file, a str, or None"
        )
        for name in ("min_face_px", "min_confidence", "search_every_s"):
            value = getattr(self, name)
            self._expect(name, value is None or _is_number(value), "a number or None")
            try:
                DetectorConfig(**({} if value is None else {name: value}))
            except ValueError as error:  # it says the range, and what it got
                raise UsageError(str(error)) from None
        is_time = self.deadline_s is None or (_is_number(self.deadline_s, or_infinite=True) and self.deadline_s > 0)
        self._expect("deadline_s", is_time, "a number of seconds above 0 or None")
        for name in ("pictures", "explain", "stability", "provenance"):
            self._expect(name, isinstance(getattr(self, name), bool), "True or False")
        self._expect("annotate_into", isinstance(self.annotate_into, Path | None), "a pathlib.Path or None")
        self._expect("n_threads", is_count(self.n_threads), "a whole number of at least 1")
        self._expect("device", self.device in get_args(Device), f"one of {', '.join(get_args(Device))}")

    def _expect(self, name: str, is_so: bool, what: str) -> None:
        if not is_so:
            raise UsageError(f"{name} must be {what}, got {short(repr(getattr(self, name)))}")


def _is_number(value: object, *, or_infinite: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) or (or_infinite and not math.isnan(value))


def is_count(value: object) -> bool:
    """Whether it is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def checked_settings(settings: ScanSettings | None) -> ScanSettings:
    """`settings`, or the usual ones. Raises `UsageError` for anything else."""
    if settings is None:
        return ScanSettings()
    if not isinstance(settings, ScanSettings):
        raise UsageError(f"settings must be ScanSettings(..), got {short(repr(settings))}")
    return settings


def path_name(path: Any) -> str:
    """The name of a file, as the system's own functions take it. Raises `UsageError` for what is none: only files are
    scanned, because another process opens and reads them."""
    to_do = "write it to a file (tempfile.NamedTemporaryFile) and give that one's path"
    if not isinstance(path, str | bytes | os.PathLike):
        raise UsageError(f"what is scanned is named by its path, got {_kind(path)}: {to_do}")
    if isinstance(path, bytes) and (len(path) > _MAX_PATH_BYTES or b"\0" in path):
        raise UsageError(f"bytes are taken for a path, and these are none: if they are a video, {to_do}")
    name = os.fsdecode(path)
    if not name:
        raise UsageError("the path is empty: name a file")
    return name


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
