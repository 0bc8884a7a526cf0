"""Classical models from options to a graph that says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from telltale import models
from telltale.bundle import ModelCard, load_bundle, write_card
from telltale.crops import CropSpec
from telltale.errors import UsageError
from telltale.models import Weights, _pixel_graphs
from telltale.models.pixels import PixelModel, PixelOptions, create, matrix
from telltale.runtime import Scorer
from telltale.types import Clip

pytest.importorskip("sklearn", reason="the support vector machine is libsvm's")
onnx = pytest.importorskip("onnx", reason="writes graphs")

SIZE = 12
KINDS: list[dict[str, Any]] = [{"kind": "random-forest", "n_trees": 9}, {"kind": "svm"}, {"kind": "logistic"}]


def crops(n: int = 90, *, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pictures (n, S, S, 3); fakes are brighter at the left than at the right."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    ramp = np.linspace(30, -30, SIZE)[None, None, :, None] * (label[:, None, None, None] - 0.5)
    noise = rng.normal(0, 25, (n, SIZE, SIZE, 3))
    return np.clip(128 + ramp + noise, 0, 255).astype(np.uint8), label


def fitted(options: dict[str, Any]) -> tuple[PixelModel, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    pictures, label = crops()
    pixels = matrix(pictures, n_faces=90, size_px=SIZE)
    model = create(size_px=SIZE, **options)
    model.fit(pixels, label, np.arange(60))
    return model, pixels, pictures


@pytest.mark.parametrize("options", KINDS, ids=lambda options: options["kind"])
def test_the_graph_in_a_bundle_says_what_the_model_says(options: dict[str, Any], tmp_path: Path) -> None:
    model, pixels, pictures = fitted(options)
    onnx.save(model.to_onnx(), tmp_path / "model.onnx")
    write_card(tmp_path, ModelCard(name="p", input_kind="pixels", size_px=SIZE, crop=CropSpec(size_px=SIZE)))
    scorer = Scorer(load_bundle(tmp_path))
    clips = [Clip(0, np.zeros(1), picture[None], np.ones(1, bool)) for picture in pictures]
    np.testing.assert_allclose(scorer.score(clips).logit, model.logit(pixels, np.arange(90)), atol=1e-3)


@pytest.mark.parametrize("options", KINDS, ids=lambda options: options["kind"])
def test_the_models_learn_what_there_is_to_learn(options: dict[str, Any]) -> None:
    model, pixels, _ = fitted(options)
    _, label = crops()
    test = np.arange(60, 90)
    assert ((model.logit(pixels, test) > 0) == label[test]).mean() > 0.75


@pytest.mark.parametrize("options", KINDS, ids=lambda options: options["kind"])
def test_two_runs_give_the_same_model(options: dict[str, Any]) -> None:
    (one, pixels, _), (other, _, _) = fitted(options), fitted(options)
    np.testing.assert_array_equal(one.logit(pixels, np.arange(90)), other.logit(pixels, np.arange(90)))


def test_a_forest_that_agrees_has_a_finite_logit() -> None:
    pixels = np.repeat(np.array([[0, 255]], np.uint8), 192, axis=0)
    pixels = np.repeat(pixels, 10, axis=1)
    model = create(kind="random-forest", size_px=8, n_trees=20)
    model.fit(pixels, np.repeat([0, 1], 10), np.arange(20))
    np.testing.assert_allclose(model.logit(pixels, np.array([0, 19])), np.log([0.5 / 20.5, 20.5 / 0.5]))


def test_pictures_become_columns_red_first() -> None:
    pictures, _ = crops(600)
    pixels = matrix(iter(pictures), n_faces=600, size_px=SIZE)
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels[:, 511], pictures[511].reshape(-1))


@pytest.mark.parametrize(("n", "message"), [(89, "got more"), (91, "got 90")])
def test_a_wrong_number_of_crops_is_noticed(n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matrix(crops()[0], n_faces=n, size_px=SIZE)


def test_a_crop_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(16, 16, 3\), got uint8 \(12, 12, 3\)"):
        matrix(crops()[0], n_faces=90, size_px=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "forest"}, "must be one of random-forest, svm, logistic"),
        ({"kind": "random-forest", "n_tree": 5}, "did you mean n_trees"),
        ({"kind": "svm", "n_trees": 5}, "has no option 'n_trees'"),
        ({"kind": "svm", "c": -1}, "c must be above 0"),
        ({"kind": "svm", "c": "abc"}, "model.options.c of the svm is a number, got 'abc'"),
        ({"kind": "random-forest", "n_trees": True}, "n_trees of the random-forest is a number, got True"),
        ({"kind": "random-forest", "max_features": [1, 2]}, r"max_features of the random-forest: .*, got \[1, 2\]"),
        ({"kind": "random-forest", "max_depth": "deep"}, "max_depth of the random-forest: .*, got 'deep'"),
        ({"kind": "logistic", "size_px": 4}, "from 8 to 1024"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PixelOptions.parse(options)


def test_options_come_back_as_they_were_given() -> None:
    options = PixelOptions.parse({"kind": "svm", "c": 0.01})
    assert PixelOptions.parse(options.as_dict()) == options


def test_a_classical_model_has_no_weights_to_begin_with() -> None:
    with pytest.raises(UsageError, match="begins from nothing"):
        create(kind="svm", weights=Weights("some.npz"))


def test_they_are_models_like_others() -> None:
    assert "pixels" in models.names()
    made = models.create("pixels", weights=Weights("none"), options={"kind": "svm", "c": 2.0})
    assert isinstance(made, PixelModel)
    with pytest.raises(UsageError, match="has no option 'dropout'"):
        models.create("pixels", weights=Weights("none"), options={"kind": "svm", "dropout": 0.1})


def test_one_class_is_refused() -> None:
    pictures, label = crops()
    with pytest.raises(UsageError, match="one of them is missing"):
        create(kind="svm", size_px=SIZE).fit(
            matrix(pictures, n_faces=90, size_px=SIZE), label, np.flatnonzero(label == 1)
        )


def test_a_machine_too_large_for_a_bundle_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = fitted({"kind": "svm"})
    monkeypatch.setattr(_pixel_graphs, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match="figures can be had at this size"):
        model.to_onnx()
