"""Run a bundle: clips in, logits out, on ONNX Runtime. No torch.

scorer = Scorer(load_bundle("default"))
cutter = ClipCutter(scorer.bundle.card.n_frames)
scores = scorer.score(cutter.add(track_id, pts_s, crop, source="detected") + cutter.finish())
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from telltale._fork import renew_after_fork
from telltale.bundle import Bundle
from telltale.errors import BundleInvalid, DeviceMissing, TelltaleError, UsageError
from telltale.gate import Gate
from telltale.types import BoolArray, Clip, FaceSource, Float32Array, Float64Array, RgbImage, Scores

if TYPE_CHECKING:
    import onnxruntime as ort

T = TypeVar("T")
Device = Literal["cpu", "cuda", "auto"]
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_WEIGHTS_BELOW = "session.model_external_initializers_file_folder_path"
BATCH_SIZE = 2
"""Clips run together. On a processor more take no less time each (4 of them 4 %, 8 of them 13 % more), but memory, and
longer at the end, when nothing else is left to do. Fixed: another size may change the last bits of a logit."""


class Scorer:
    """A loaded model. Safe to share between threads."""

    def __init__(self, bundle: Bundle, *, n_threads: int = 1, device: Device = "cpu") -> None:
        """Load `bundle`. `auto` takes CUDA where it is usable. Raises `BundleInvalid` if the graph is not what the card
        says, `DeviceMissing` where CUDA was asked for and is not there."""
        self.bundle = bundle
        self._session = _open_session(bundle, n_threads, device)
        self.device: Device = "cuda" if _CUDA in self._session.get_providers() else "cpu"
        self._check_graph()
        renew_after_fork(self)

    def renew(self) -> None:
        """See `_fork`. Never given back in a forked process: ONNX Runtime would wait for threads that are not there."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Logits of `clips`, in their order, and distances where the card has a gate; raises `BundleInvalid` on a logit
        that is no finite number."""
        if self.bundle.card.gate is not None:
            parts = [
                self.score_with_features(clips[start : start + BATCH_SIZE])[0]
                for start in range(0, len(clips), BATCH_SIZE)
            ]
            found = [part.distance for part in parts if part.distance is not None]
            logit = np.concatenate([part.logit for part in parts]) if parts else np.empty(0, np.float32)
            return _scores(clips, logit, np.concatenate(found) if found else np.empty(0))
        logits = [self._run(clips[start : start + BATCH_SIZE]) for start in range(0, len(clips), BATCH_SIZE)]
        return _scores(clips, np.concatenate(logits) if logits else np.empty(0, np.float32))

    def score_with_features(self, clips: Sequence[Clip]) -> tuple[Scores, Float32Array]:
        """`score` of one batch of at most `BATCH_SIZE` clips, and their last feature maps, float32 (N, C, h, w).

        The logits are the same to the last bit. Raises `UsageError` for a model that gives no features.
        """
        if not self.gives_features:
            raise UsageError(f"model {self.bundle.card.name} gives no `features`; export it again with them")
        logit, features = self._session.run(["logit", "features"], self._feed(clips))
        features, gate = np.asarray(features, np.float32), self.bundle.card.gate
        distance = None if gate is None else gate.distance(features.mean(axis=(2, 3)))
        return _scores(clips, self._checked(logit, len(clips)), distance), features

    def _run(self, clips: Sequence[Clip]) -> Float32Array:
        (logit,) = self._session.run(["logit"], self._feed(clips))
        return self._checked(logit, len(clips))

    def _feed(self, clips: Sequence[Clip]) -> dict[str, npt.NDArray[Any]]:
        feed: dict[str, npt.NDArray[Any]] = {"clips": np.stack([clip.rgb for clip in clips])}
        if self._takes_mask:
            feed["mask"] = np.stack([clip.mask for clip in clips])
        return feed

    def _checked(self, logit: npt.NDArray[Any], n_clips: int) -> Float32Array:
        if not np.isfinite(logit).all():
            raise BundleInvalid(f"{self.bundle.path} gave a logit that is no number; its weights are damaged")
        return np.asarray(logit, np.float32).reshape(n_clips)

    def _check_graph(self) -> None:
        card = self.bundle.card
        inputs = {i.name: i for i in self._session.get_inputs()}
        outputs = {o.name for o in self._session.get_outputs()}
        self._takes_mask = "mask" in inputs
        self.gives_features = "features" in outputs
        if set(inputs) - {"mask"} != {"clips"} or "logit" not in outputs:
            raise BundleInvalid(
                f"{self.bundle.model_path}: expected input `clips` (and `mask`) and output `logit`, "
                f"got {sorted(inputs)} and {sorted(outputs)}"
            )
        expected = [card.n_frames, card.size_px, card.size_px, 3]
        got = inputs["clips"].shape[1:]
        if got != expected or inputs["clips"].type != "tensor(uint8)":
            raise BundleInvalid(
                f"{self.bundle.model_path}: the card says clips of uint8 {expected}, "
                f"the graph takes {inputs['clips'].type} {got}"
            )
        if card.gate is not None and not self._fits(card.gate):
            raise BundleInvalid(
                f"{self.bundle.path}: the card has a gate for {card.gate.n_features} features of single faces, which "
                "this graph does not give; fit it again to this model"
            )

    def _fits(self, gate: Gate) -> bool:
        shapes = {o.name: o.shape for o in self._session.get_outputs()}
        shape = shapes.get("features", ())
        return self.bundle.card.n_frames == 1 and len(shape) == 4 and shape[1] == gate.n_features


def _scores(clips: Sequence[Clip], logit: Float32Array, distance: Float64Array | None = None) -> Scores:
    return Scores(
        track_id=np.array([clip.track_id for clip in clips], np.int32),
        pts_s=np.array([middle_s(clip) for clip in clips], np.float64),
        logit=logit,
        distance=distance,
    )


def _open_session(bundle: Bundle, n_threads: int, device: Device) -> ort.InferenceSession:
    import onnxruntime as ort

    if device not in ("cpu", "cuda", "auto"):
        raise UsageError(f"device must be cpu, cuda or auto, got {device!r}")
    has_cuda = device != "cpu" and _CUDA in ort.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceMissing(
            "CUDA was asked for, and the ONNX Runtime installed here runs on processors only: "
            "pip uninstall onnxruntime && pip install onnxruntime-gpu, or ask for --device cpu"
        )

    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # with it a second, larger plan is kept for the last, smaller batch
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # `check_model` refuses a graph that points to other files. Should one get past it, then it may look below a
        # file, where nothing lies; without this it would look in the working folder.
        options.add_session_config_entry(_WEIGHTS_BELOW, str(bundle.model_path))
        providers = [_CUDA, _CPU] if has_cuda else [_CPU]
        session = ort.InferenceSession(bundle.model_path.read_bytes(), options, providers=providers)
    except Exception as error:
        raise BundleInvalid(f"{bundle.model_path} does not load: {error}") from error
    if device == "cuda" and _CUDA not in session.get_providers():  # ONNX Runtime goes on without, and only logs it
        raise DeviceMissing(
            "CUDA was asked for and ONNX Runtime cannot start it: check the driver with nvidia-smi and that CUDA and "
            "cuDNN are those of onnxruntime-gpu, or ask for --device cpu"
        )
    return session


class Windows(Generic[T]):
    """Cuts what belongs to each track into the pieces a model looks at together, as it arrives.

    With `n_frames` = 1 each item is a piece. Longer ones overlap by half; the last one ends with the track, and of a
    track shorter than a piece there are fewer items in it. At most `n_frames` items a track are held.
    """

    def __init__(self, n_frames: int) -> None:
        self._n_frames = n_frames
        self._hop = max(n_frames // 2, 1)
        self._held: dict[int, list[T]] = {}
        self._n_uncut: dict[int, int] = {}
        self._due_at: dict[int, int] = {}

    def add(self, track_id: int, item: T) -> list[tuple[int, list[T]]]:
        """(track, items) of the pieces that `item` completes. Those of one track come in time order."""
        held = self._held.setdefault(track_id, [])
        held.append(item)
        del held[: -self._n_frames]
        n_uncut = self._n_uncut.get(track_id, 0) + 1
        complete = n_uncut == self._due_at.setdefault(track_id, self._n_frames)
        if complete:
            n_uncut, self._due_at[track_id] = 0, self._hop
        self._n_uncut[track_id] = n_uncut
        return [(track_id, list(held))] if complete else []

    def finish(self) -> list[tuple[int, list[T]]]:
        """The pieces that end with each track, where the last items are in none yet."""
        rest = [(track_id, self._held[track_id]) for track_id, n_uncut in self._n_uncut.items() if n_uncut > 0]
        self._held, self._n_uncut, self._due_at = {}, {}, {}
        return rest


def padded(n_items: int, n_frames: int) -> tuple[npt.NDArray[np.int64], BoolArray]:
    """Which item stands in each place of a clip, (n_frames,), and which are not the last one repeated, (n_frames,)."""
    index = np.arange(n_frames)
    return np.minimum(index, n_items - 1), index < n_items


class ClipCutter:
    """Cuts the crops of each track into the clips a model looks at, as they arrive: see `Windows`. A track shorter than
    a clip is padded with its last crop, masked."""

    def __init__(self, n_frames: int) -> None:
        self._n_frames = n_frames
        self._windows: Windows[tuple[float, RgbImage]] = Windows(n_frames)

    def add(self, track_id: int, pts_s: float, crop: RgbImage, *, source: FaceSource) -> list[Clip]:
        """Clips that `crop`, uint8 (S, S, 3), completes. Crops of one track come in time order.

        Where nobody was seen nothing is scored, except inside sequences, which need what lies between.
        """
        if source == "interpolated" and self._n_frames == 1:
            return []
        return [self._clip(*cut) for cut in self._windows.add(track_id, (pts_s, crop))]

    def finish(self) -> list[Clip]:
        """The clips that end with each track, where the last crops are in no clip yet."""
        return [self._clip(*cut) for cut in self._windows.finish()]

    def _clip(self, track_id: int, held: list[tuple[float, RgbImage]]) -> Clip:
        index, mask = padded(len(held), self._n_frames)
        return Clip(
            track_id=track_id,
            pts_s=np.array([held[i][0] for i in index]),
            rgb=np.stack([held[i][1] for i in index]),
            mask=mask,
        )


def try_out(scorer: Scorer) -> None:
    """Score one grey clip. Raises `BundleInvalid` where the graph does not run, or gives no finite number."""
    card = scorer.bundle.card
    grey = np.full((card.n_frames, card.size_px, card.size_px, 3), 128, np.uint8)
    clip = Clip(0, np.zeros(card.n_frames), grey, np.ones(card.n_frames, bool))
    try:
        scorer.score([clip])
    except (TelltaleError, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's own
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleInvalid(f"{scorer.bundle.model_path} does not run: {why}; export the model again") from error


def middle_s(clip: Clip) -> float:
    """Presentation time of the clip's middle face, padding left out."""
    seen = clip.pts_s[clip.mask]
    return float(seen[(len(seen) - 1) // 2])


__all__ = ["BATCH_SIZE", "ClipCutter", "Device", "Scorer", "Windows", "middle_s", "padded", "try_out"]
