"""The classical models on raw pixels: random forest, support vector machine, logistic regression.

They reproduce "High Performance DeepFake Video Classifier" (scikit-learn on faces of 320 x 320 px). Faces are one
matrix of bytes, a row for each pixel and channel, a column for each face; no model makes a floating-point copy of it.

>>> rng = np.random.default_rng(0)
>>> faces = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
>>> label = (faces.mean(axis=(1, 2, 3)) > 127.5).astype(np.int64)
>>> model = create(kind="logistic", size_px=8)
>>> pixels = matrix(faces, n_faces=40, size_px=8)
>>> model.fit(pixels, label, np.arange(30))
>>> model.logit(pixels, np.arange(30, 40)).shape
(10,)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from telltale._text import short
from telltale.errors import UsageError, nearest
from telltale.models import _pixel_graphs as graphs
from telltale.models._forest import Forest, ForestOptions
from telltale.models._gram import Bytes, Rows
from telltale.models._logistic import Logistic, LogisticOptions
from telltale.models._svm import Svm, SvmOptions
from telltale.types import Float64Array, RgbImage

if TYPE_CHECKING:
    from onnx import ModelProto

    from telltale.models import Weights

Kind = Literal["random-forest", "svm", "logistic"]
Settings = ForestOptions | SvmOptions | LogisticOptions
Machine = Forest | Svm | Logistic


class _Kind(NamedTuple):
    settings: type[Settings]
    machine: Callable[[Any, int], Machine]
    """Of its settings and the seed."""
    graph: Callable[..., ModelProto]


_KINDS: dict[Kind, _Kind] = {
    "random-forest": _Kind(ForestOptions, lambda settings, seed: Forest(settings, seed=seed), graphs.forest),
    "svm": _Kind(SvmOptions, lambda settings, _: Svm(settings), graphs.gaussian_svm),
    "logistic": _Kind(LogisticOptions, lambda settings, _: Logistic(settings), graphs.linear),
}
_WRITE_FACES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelOptions:
    """What a recipe's `model.options` say."""

    kind: Kind
    size_px: int = 64
    settings: Settings

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> PixelOptions:
        """From a recipe; settings stand beside `kind` and `size_px`. Raises UsageError naming the nearest key."""
        given = dict(options)
        kind, size_px = given.pop("kind", None), given.pop("size_px", 64)
        if kind not in _KINDS:
            raise UsageError(f"model.options.kind must be one of {', '.join(_KINDS)}, got {kind!r}")
        if not isinstance(size_px, int) or not 8 <= size_px <= 1024:
            raise UsageError(f"model.options.size_px must be a whole number from 8 to 1024, got {size_px!r}")
        defaults = {field.name: field.default for field in fields(_KINDS[kind].settings)}
        known = ["kind", "size_px", *defaults]
        for key in given:
            if key not in known:
                hint = nearest(key, known) or f"; it knows {', '.join(known)}"
                raise UsageError(f"the {kind} has no option {key!r}{hint}")
            if type(defaults[key]) in (int, float) and type(given[key]) not in (int, float):
                raise UsageError(f"model.options.{key} of the {kind} is a number, got {given[key]!r}")
        try:
            settings = TypeAdapter(_KINDS[cast(Kind, kind)].settings).validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            where, got = (f".{first['loc'][0]}", f", got {short(repr(first['input']))}") if first["loc"] else ("", "")
            said = first["msg"].removeprefix("Value error, ")
            raise UsageError(f"model.options{where} of the {kind}: {said}{got}") from error
        return cls(kind=kind, size_px=size_px, settings=settings)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "size_px": self.size_px, **asdict(self.settings)}


class PixelModel:
    """One of the three; `fit`, then `logit` and `to_onnx`."""

    def __init__(self, options: PixelOptions, *, seed: int = 0) -> None:
        self.options, self.seed = options, seed
        self.machine = _KINDS[options.kind].machine(options.settings, seed)

    def fit(
        self,
        pixels: Bytes,
        label: npt.NDArray[np.int64],
        rows: Rows,
        *,
        n_threads: int = 1,
        on_share: Callable[[float], None] | None = None,
    ) -> None:
        """Learn the faces `rows` of `pixels` (features, faces) with `label` (faces,). The result depends on no thread.

        `on_share` is called with the share done. Raises UsageError where a class is missing.
        """
        if set(np.unique(label[rows]).tolist()) != {0, 1}:
            raise UsageError("a classifier learns from real and fake faces, and one of them is missing in training")
        self.machine.fit(pixels, label, rows, n_threads=n_threads, on_share=on_share)

    def logit(self, pixels: Bytes, rows: Rows, *, n_threads: int = 1) -> Float64Array:
        """(len(rows),), positive = fake, not calibrated: votes as log-odds, decision value, or log-odds."""
        return self.machine.logit(pixels, rows, n_threads=n_threads)

    def to_onnx(self) -> ModelProto:
        """The graph of a bundle. Raises UsageError where the model is too large for one."""
        return _KINDS[self.options.kind].graph(self.machine, size_px=self.options.size_px)


def create(*, weights: Weights | None = None, seed: int = 0, **options: Any) -> PixelModel:
    """A model that has learned nothing yet. Raises UsageError for a file of `weights`: there are none to begin with."""
    if weights is not None and weights.is_file:
        raise UsageError(f"a model on pixels begins from nothing, not from {weights.source}: leave --weights out")
    return PixelModel(PixelOptions.parse(options), seed=seed)


def matrix(faces: Iterable[RgbImage], *, n_faces: int, size_px: int) -> Bytes:
    """Crops uint8 (S, S, 3) as columns: uint8 (S * S * 3, n_faces), row-major pixels with red first.

    Raises ValueError where a crop has another size or their number is not `n_faces`.
    """
    found = np.empty((size_px * size_px * 3, n_faces), np.uint8)
    pending: list[RgbImage] = []
    n_written = 0

    def write() -> None:
        found[:, n_written : n_written + len(pending)] = np.stack(pending).reshape(len(pending), -1).T

    for face in faces:
        if face.shape != (size_px, size_px, 3) or face.dtype != np.uint8:
            raise ValueError(f"a crop must be uint8 ({size_px}, {size_px}, 3), got {face.dtype} {face.shape}")
        if n_written + len(pending) == n_faces:
            raise ValueError(f"expected {n_faces} crops, got more")
        pending.append(face)
        if len(pending) == _WRITE_FACES:
            write()
            n_written += len(pending)
            pending.clear()
    if pending:
        write()
    if n_written + len(pending) != n_faces:
        raise ValueError(f"expected {n_faces} crops, got {n_written + len(pending)}")
    return found


__all__ = ["Bytes", "Forest", "ForestOptions", "Kind", "PixelModel", "PixelOptions", "create", "matrix"]
