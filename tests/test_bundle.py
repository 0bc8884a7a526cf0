"""A bundle is what its card says, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from make_bundles import make_redness
from make_stores import colour
from telltale.bundle import load_bundle, shipped_names
from telltale.errors import BundleInvalid, UnknownName, UsageError
from telltale.runtime import Scorer
from telltale.types import Clip

pytest.importorskip("onnx", reason="makes models with onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_redness(tmp_path / "redness")


def change_card(folder: Path, **fields: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | fields))


def test_a_bundle_comes_back_as_it_was_written(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.card.name == "redness"
    assert bundle.card.files["model.onnx"] == bundle.sha256
    assert bundle.weights_path is None


def test_weights_that_the_card_does_not_name_are_not_used(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"of someone else")
    assert load_bundle(folder).weights_path is None


def test_an_unknown_name_lists_what_is_shipped() -> None:
    with pytest.raises(UnknownName, match="default" if "default" in shipped_names() else "none"):
        load_bundle("defualt")


def test_a_changed_model_is_refused(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(BundleInvalid, match="SHA-256"):
        load_bundle(folder)


def test_a_missing_model_is_refused(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleInvalid, match="missing"):
        load_bundle(folder)


def test_a_card_without_hashes_is_refused(folder: Path) -> None:
    change_card(folder, files={})
    with pytest.raises(BundleInvalid, match="no SHA-256"):
        load_bundle(folder)


def test_a_card_that_names_a_file_outside_is_refused(folder: Path) -> None:
    change_card(folder, files={"model.onnx": load_bundle(folder).sha256, "../secret": "0" * 64})
    with pytest.raises(BundleInvalid, match="outside"):
        load_bundle(folder)


def test_an_unknown_field_is_named(folder: Path) -> None:
    change_card(folder, treshold=0.5)
    with pytest.raises(BundleInvalid, match="treshold"):
        load_bundle(folder)


def test_of_a_card_that_cannot_be_the_first_fault_is_said_plainly(folder: Path) -> None:
    change_card(folder, crop={"size_px": 1})
    with pytest.raises(BundleInvalid, match=r"card\.json: crop: size_px must be"):
        load_bundle(folder)
    (folder / "card.json").write_text("[]")
    with pytest.raises(BundleInvalid, match=r"card\.json: Input should be an object"):
        load_bundle(folder)


def test_labels_the_other_way_round_are_refused(folder: Path) -> None:
    change_card(folder, labels=["real", "fake"])
    load_bundle(folder)
    change_card(folder, labels=["fake", "real"])
    with pytest.raises(BundleInvalid, match=r"card\.json: labels\.0: Input should be 'real'"):
        load_bundle(folder)


def test_crops_of_another_size_than_the_model_takes_are_refused(folder: Path) -> None:
    change_card(folder, size_px=64)
    with pytest.raises(BundleInvalid, match="32 px"):
        load_bundle(folder)


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match=r"card\.json"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("inside", ["bundle", "best/bundle"])
def test_the_folder_of_a_run_or_a_search_is_refused_with_the_model_in_it(folder: Path, inside: str) -> None:
    run = folder.parent / "run"
    (run / inside).parent.mkdir(parents=True)
    folder.rename(run / inside)
    with pytest.raises(BundleInvalid) as told:
        load_bundle(run)
    assert told.value.message == f"{run} is no model, but holds one: give {run / inside}"


def test_a_bundle_scores_clips_as_a_scorer_does(folder: Path) -> None:
    clips = [Clip(0, np.zeros(1), colour(logit)[None], np.ones(1, bool)) for logit in (-3, 0, 5)]
    bundle = load_bundle(folder)
    assert bundle.score(clips).logit.tolist() == Scorer(bundle).score(clips).logit.tolist()
    assert bundle.score(clips).logit == pytest.approx([-3, 0, 5], abs=0.1)
    assert bundle.score([]).logit.shape == (0,)


def test_a_clip_of_another_size_is_refused_with_both_sizes(folder: Path) -> None:
    clip = Clip(0, np.zeros(1), colour(0, 64)[None], np.ones(1, bool))
    with pytest.raises(UsageError, match=r"takes clips of \(1, 32, 32, 3\), got \(1, 64, 64, 3\)"):
        load_bundle(folder).score([clip])
