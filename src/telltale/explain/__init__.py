"""Why did the model say so? One file here is one method; its file name is its registration.

>>> names()
['cam', 'gradcam', 'lime', 'occlusion']

    for face in explain("clip.mp4", method="lime", out=Path("why")):
        print(face.track_id, face.pts_s, face.p_fake)       # and pictures in why/

    explanation = create("cam").explain(scorer, clip)
    explanation.heat            # (S, S): above 0 speaks for "fake", below 0 against

A heat map says what the model reacted to, not what was forged. How well each method does even that is measured by
`benchmarks/explain_faithfulness.py`; the figures are in docs/explain.md.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
from pydantic import TypeAdapter, ValidationError

from telltale import _heat
from telltale._faults import first_fault
from telltale.bundle import Bundle
from telltale.errors import UnknownName, UsageError, nearest
from telltale.runtime import Scorer
from telltale.types import Clip, Code, Float32Array, Int32Array, RgbImage

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Target = Literal["fake", "real"]


def untold(_share: float) -> None:
    """For those who do not ask how far a method is."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What in a face crop spoke for the target, and how that was found out."""

    method: str
    target: Target
    heat: Float32Array
    """(S, S), in the crop's pixels: above 0 speaks for the target, below 0 against it, in logits."""
    logit: float
    """What the model says to the clip; positive = fake, whatever the target."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: everything needed to repeat it."""
    segments: Int32Array | None = None
    """(S, S), numbered from 0: the pieces that a method hides or shows as wholes."""

    def __post_init__(self) -> None:
        heat = self.heat
        if heat.ndim != 2 or heat.shape[0] != heat.shape[1] or heat.dtype != np.float32:
            raise ValueError(f"heat must be float32 (S, S), got {heat.dtype} {heat.shape}")
        if not np.isfinite(heat).all():
            raise ValueError("heat must be finite, got NaN or infinity")
        if self.segments is not None and self.segments.shape != heat.shape:
            raise ValueError(f"segments must be {heat.shape}, got {self.segments.shape}")

    def __repr__(self) -> str:
        size = self.heat.shape[0]
        return f"Explanation({self.method} for {self.target}, {size} x {size}, logit {self.logit:.2f})"

    def pictures(self, clip: Clip, *, full: float | None = None) -> dict[str, RgbImage]:
        """Pictures uint8 (S, S, 3) of the clip's middle face: `heat`; and for methods that work on pieces `for` (the
        five that speak most for the target, the rest hidden) and `for_and_against` (the ten strongest of both, their
        outlines drawn). `full`: the heat of the fullest colour, so that several pictures compare."""
        rgb = middle_face(clip)
        scale = _heat.full_scale([self.heat]) if full is None else full
        found = {"heat": _heat.over(rgb, self.heat, full=scale)}
        if self.segments is not None:
            from telltale.explain import _segments

            found["for"] = _segments.strongest_for(rgb, self.heat, self.segments)
            found["for_and_against"] = _segments.for_and_against(rgb, self.heat, self.segments)
        return found


@runtime_checkable
class Explainer(Protocol):
    """What every file in this package makes with its `create(**settings)`."""

    name: str

    def check(self, bundle: Bundle, /) -> None:
        """Before any face is looked for. Raises what `explain` would: `UsageError` where the method does not fit the
        model, `BundleInvalid`, `MissingExtra` where a library is missing."""
        ...

    def explain(self, scorer: Scorer, clip: Clip, *, on_progress: Callable[[float], None] = untold) -> Explanation:
        """Why `scorer` says what it says to `clip`. Raises what `check` does.

        `on_progress` gets the share of the work that is done, in the end 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExplainedFace:
    """One face of a file, and why the model says what it says about it."""

    track_id: int
    pts_s: float
    p_fake: float | None
    """Of this face alone, calibrated; None where a scan does not judge the person."""
    clip: Clip
    explanation: Explanation
    code: Code | None = None
    """Why the person is not judged: `too_small`, `too_few_faces`."""


def explain(
    path: str | os.PathLike[str],
    *,
    model: str | Path | Scorer = "default",
    method: str = "cam",
    n_faces: int = 1,
    out: str | Path | None = None,
    on_progress: Callable[[float, str], None] | None = None,
    **settings: Any,
) -> list[ExplainedFace]:
    """Explain the most telling faces of a video or picture: of each person the `n_faces` that score highest.

    `settings` are those of the method. `on_progress(share, doing)`: of the file that is read, then of the faces that
    are explained. With `out`, for every face a picture, its heat map as `.npy`, and
    `explanations.json`. No face gives an empty list. Raises `InputError`, `WorkerError`; and before the file is read
    `ModelError`, `UsageError`, `OutputError`, and `MissingExtra` where a library that the method needs is missing.
    """
    from telltale.explain import _faces

    if n_faces < 1:
        raise UsageError(f"n_faces must be 1 or more, got {n_faces}")
    return _faces.explain_file(
        path,
        model=model,
        method=method,
        n_faces=n_faces,
        out=None if out is None else Path(out),
        on_progress=on_progress or (lambda _share, _doing: None),
        settings=settings,
    )


def names() -> list[str]:
    """Every method there is, without importing any."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def create(name: str, **settings: Any) -> Explainer:
    """The method called `name`; `settings` are the fields of its `Settings`. Raises `UnknownName`, `UsageError`."""
    if name not in names():
        raise UnknownName(f"there is no explanation {name!r} (there are {', '.join(names())}){nearest(name, names())}")
    method = importlib.import_module(f"{__name__}.{name}")
    return cast(Explainer, method.create(**_checked(name, method.Settings, settings)))


def _checked(name: str, known: type[DataclassInstance], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with the types that the fields of `known` have. Raises `UsageError`."""
    there = [one.name for one in fields(known)]
    for key in settings:
        if key not in there:
            raise UsageError(f"{name} has no setting {key!r}; it has {', '.join(there)}")
    try:
        made = TypeAdapter(known).validate_python(dict(settings))
    except ValidationError as error:
        raise UsageError(f"{name}: {first_fault(error)}") from error
    return {key: getattr(made, key) for key in settings}


def middle_face(clip: Clip) -> RgbImage:
    """uint8 (S, S, 3): the face that a clip's score is given to; padding left out."""
    seen = clip.rgb[clip.mask]
    return np.asarray(seen[(len(seen) - 1) // 2])


__all__ = ["ExplainedFace", "Explainer", "Explanation", "Target", "create", "explain", "middle_face", "names"]
