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
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from telltale._text import short
from telltale.errors import UsageError
from telltale.models import _pixel_graphs as graphs
from telltale.models._forest import Bytes, Forest, ForestOptions, Rows
from telltale.models._logistic import Logistic, LogisticOptions
from telltale.models._svm import Svm, SvmOptions
from telltale.types import Float64Array, RgbImage

if TYPE_CHECKING:
    from onnx import ModelProto

    from telltale.models import Weights

Kind = Literal["random-forest", "svm", "logistic"]
Settings = ForestOptions | SvmOptions | LogisticOptions

_SETTINGS: dict[Kind, type[Settings]] = {
    "random-forest": ForestOptions,
    "svm": SvmOptions,
    "logistic": LogisticOptions,
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
        if kind not in _SETTINGS:
            raise UsageError(f"model.options.kind must be one of {', '.join(_SETTINGS)}, got {kind!r}")
        if not isinstance(size_px, int) or not 8 <= size_px <= 1024:
            raise UsageError(f"model.options.size_px must be a whole number from 8 to 1024, got {size_px!r}")
        defaults = {field.name: field.default for field in fields(_SETTINGS[kind])}
        known = ["kind", "size_px", *defaults]
        for key in given:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; it knows {', '.join(known)}"
                raise UsageError(f"the {kind} has no option {key!r}{hint}")
            if type(defaults[key]) in (int, float) and type(given[key]) not in (int, float):
                raise UsageError(f"model.options.{key} of the {kind} is a number, got {given[key]!r}")
        try:
            settings = TypeAdapter(_SETTINGS[cast(Kind, kind)]).validate_python(given)
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
        self.machine: Forest | Svm | Logistic
        match options.settings:
            case ForestOptions() as settings:
                self.machine = Forest(settings, seed=seed)
            case SvmOptions() as settings:
                self.machine = Svm(settings)
            case LogisticOptions() as settings:
                self.machine = Logistic(settings)

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
        if isinstance(self.machine, Forest):
            n_trees = self.machine.options.n_trees

            def on_tree(n: int) -> None:
                if on_share is not None:
                    on_share(n / n_trees)

            self.machine.grow(pixels, label, rows, n_threads=n_threads, on_tree=on_tree)
        else:
            self.machine.fit(pixels, label, rows, n_threads=n_threads, on_share=on_share)

    def logit(self, pixels: Bytes, rows: Rows, *, n_threads: int = 1) -> Float64Array:
        """(len(rows),), positive = fake, not calibrated: votes as log-odds, decision value, or log-odds."""
        if isinstance(self.machine, Forest):
            votes = self.machine.votes(pixels, rows)
            return np.asarray(np.log((votes + 0.5) / (len(self.machine.trees) - votes + 0.5)))
        return self.machine.logit(pixels, rows, n_threads=n_threads)

    def to_onnx(self) -> ModelProto:
        """The graph of a bundle. Raises UsageError where the model is too large for one."""
        size_px = self.options.size_px
        match self.machine:
            case Forest() as machine:
                return graphs.forest(machine, size_px=size_px)
            case Logistic() as machine:
                return graphs.linear(machine, size_px=size_px)
            case Svm() as machine:
                return graphs.gaussian_svm(machine, size_px=size_px)

    def describe(self) -> list[tuple[str, int]]:
        """(part, numbers in it), as `telltale models show` lists layers."""
        match self.machine:
            case Forest() as machine:
                return [("trees", len(machine.trees)), ("nodes", sum(len(tree) for tree in machine.trees))]
            case Logistic() as machine:
                return [("weights", len(machine.weight)), ("bias", 1)]
            case Svm() as machine:
                n_features = len(machine.scale.mean)
                return [("support vectors", len(machine.support)), ("features of each", n_features), ("bias", 1)]


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


__all__ = ["Kind", "PixelModel", "PixelOptions", "create", "matrix"]
