"""Clips in, logits out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from make_bundles import make_redness
from telltale.bundle import ModelCard, load_bundle, write_card
from telltale.errors import BundleInvalid, DeviceMissing, UsageError
from telltale.runtime import BATCH_SIZE, ClipCutter, Scorer
from telltale.types import Clip, RgbImage

pytest.importorskip("onnx", reason="makes models with onnx")


def crop(red: int, green: int, size_px: int = 32) -> RgbImage:
    return np.full((size_px, size_px, 3), (red, green, 0), np.uint8)


def one(red: int, green: int) -> Clip:
    return Clip(0, np.zeros(1), crop(red, green)[None], np.ones(1, bool))


def test_logits_come_in_the_order_of_the_clips(tmp_path: Path) -> None:
    scorer = Scorer(load_bundle(make_redness(tmp_path)))
    scores = scorer.score([one(i, 0) for i in range(2 * BATCH_SIZE + 3)])
    np.testing.assert_allclose(scores.logit, np.arange(2 * BATCH_SIZE + 3) / 16, rtol=1e-5)


def test_no_clips_give_no_scores(tmp_path: Path) -> None:
    assert len(Scorer(load_bundle(make_redness(tmp_path))).score([])) == 0


def test_a_graph_that_takes_another_size_than_its_card_says_is_refused(tmp_path: Path) -> None:
    folder = make_redness(tmp_path, size_px=32)
    card = load_bundle(folder).card
    crop_64 = card.crop.__class__(size_px=64)
    write_card(folder, card.model_copy(update={"size_px": 64, "crop": crop_64}))
    with pytest.raises(BundleInvalid, match="64"):
        Scorer(load_bundle(folder))


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    folder = make_redness(tmp_path)
    (folder / "model.onnx").write_bytes(b"not a model")
    write_card(folder, ModelCard.model_validate_json((folder / "card.json").read_bytes()))
    with pytest.raises(BundleInvalid, match="does not load"):
        Scorer(load_bundle(folder))


def cut(n: int, n_frames: int) -> list[tuple[list[float], int]]:
    cutter = ClipCutter(n_frames)
    clips = [
        clip for i in range(n) for clip in cutter.add(3, float(i), crop(i, 0), source="detected")
    ] + cutter.finish()
    assert all(clip.track_id == 3 for clip in clips)
    assert all((clip.rgb[:, 0, 0, 0] == clip.pts_s).all() for clip in clips)
    return [(clip.pts_s.tolist(), int(clip.mask.sum())) for clip in clips]


def test_image_models_get_one_clip_a_crop() -> None:
    assert cut(3, 1) == [([0.0], 1), ([1.0], 1), ([2.0], 1)]


def test_sequences_overlap_by_half_and_end_with_the_track() -> None:
    assert cut(7, 4) == [([0, 1, 2, 3], 4), ([2, 3, 4, 5], 4), ([3, 4, 5, 6], 4)]


def test_a_sequence_that_fits_is_not_repeated() -> None:
    assert cut(6, 4) == [([0, 1, 2, 3], 4), ([2, 3, 4, 5], 4)]


def test_a_short_track_is_padded_and_masked() -> None:
    assert cut(2, 4) == [([0, 1, 1, 1], 2)]


@pytest.mark.parametrize(("n_frames", "n_clips"), [(1, 0), (2, 1)])
def test_where_nobody_was_seen_there_is_no_clip_but_a_sequence_goes_on(n_frames: int, n_clips: int) -> None:
    cutter = ClipCutter(n_frames)
    clips = cutter.add(3, 0.0, crop(9, 0), source="interpolated") + cutter.finish()
    assert len(clips) == n_clips


def test_tracks_do_not_mix() -> None:
    cutter = ClipCutter(2)
    clips = []
    for i in range(4):
        clips += cutter.add(i % 2, float(i), crop(i, 0), source="detected")
    assert [(clip.track_id, clip.pts_s.tolist()) for clip in clips] == [(0, [0.0, 2.0]), (1, [1.0, 3.0])]


def test_auto_takes_what_is_there_and_a_device_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    bundle = load_bundle(make_redness(tmp_path))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert Scorer(bundle, device="auto").device == Scorer(bundle).device == "cpu"
    with pytest.raises(DeviceMissing, match="onnxruntime-gpu"):
        Scorer(bundle, device="cuda")
    with pytest.raises(UsageError, match="tpu"):
        Scorer(bundle, device="tpu")  # type: ignore[arg-type]


def test_cuda_that_does_not_start_is_refused_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    bundle = load_bundle(make_redness(tmp_path))
    real = onnxruntime.InferenceSession

    def without_cuda(model: bytes, options: object, providers: list[str]) -> object:
        return real(model, options, providers=[name for name in providers if name.startswith("CPU")])

    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", without_cuda)
    assert Scorer(bundle, device="auto").device == "cpu"
    with pytest.raises(DeviceMissing, match="nvidia-smi"):
        Scorer(bundle, device="cuda")


def test_a_scan_leaves_no_diary_of_its_sessions_behind(tmp_path: Path) -> None:
    clip = Path(__file__).parents[1] / "examples" / "astronaut.mp4"
    code = "import sys, telltale; print(telltale.scan(sys.argv[1]).verdict.label)"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code, str(clip)], env=home, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("real", "uncertain")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
