"""Kernel machines on blocks of bytes are those of scikit-learn on standardised pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from telltale.models import _gram
from telltale.models._gram import combine, fit_scale, gram, squared_norms
from telltale.models._logistic import Logistic, LogisticOptions, solve
from telltale.models._svm import Svm, SvmOptions

svm = pytest.importorskip("sklearn.svm", reason="compares with scikit-learn")
linear_model = pytest.importorskip("sklearn.linear_model")
preprocessing = pytest.importorskip("sklearn.preprocessing")
pytest.importorskip("onnx", reason="multiplies on ONNX Runtime")

Bytes = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]


def faces(n: int = 240, n_features: int = 500, *, seed: int = 0) -> tuple[Bytes, IntArray]:
    """Columns that are smooth like pictures; the label hangs on a part of them. One feature never changes."""
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(rng.normal(0, 9, (n_features, n)), axis=0) + rng.normal(128, 30, n)
    pixels = np.clip(smooth, 0, 255).astype(np.uint8)
    pixels[7] = 42
    signal = pixels[100:140].mean(axis=0) - pixels[300:340].mean(axis=0) + rng.normal(0, 20, n)
    return pixels, (signal > np.median(signal)).astype(np.int64)


def standardised(pixels: Bytes, rows: IntArray) -> npt.NDArray[np.float64]:
    """(faces, features)"""
    scaler = preprocessing.StandardScaler().fit(pixels.T[rows].astype(np.float64))
    return np.asarray(scaler.transform(pixels.T.astype(np.float64)))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks, tiles and strips, none of them full."""
    monkeypatch.setattr(_gram, "_BLOCK_BYTES", 4 * 240 * 64)
    monkeypatch.setattr(_gram, "_TILE", 50)
    monkeypatch.setattr(_gram, "_STRIP", 9)


TRAIN, TEST = np.arange(180), np.arange(180, 240)


@pytest.mark.usefixtures("small_blocks")
def test_inner_products_in_blocks_are_those_of_the_whole() -> None:
    pixels, _ = faces()
    scale = fit_scale(pixels, TRAIN)
    z = standardised(pixels, TRAIN)
    shares: list[float] = []
    np.testing.assert_allclose(gram(pixels, scale, TRAIN, on_block=shares.append), z[TRAIN] @ z[TRAIN].T, atol=2e-3)
    np.testing.assert_allclose(gram(pixels, scale, TRAIN, TEST, n_threads=2), z[TEST] @ z[TRAIN].T, atol=2e-3)
    np.testing.assert_allclose(squared_norms(pixels, scale, TEST), (z[TEST] ** 2).sum(axis=1), rtol=1e-6)
    alpha = np.linspace(-1, 1, len(TRAIN))
    np.testing.assert_allclose(combine(pixels, scale, TRAIN, alpha), z[TRAIN].T @ alpha, atol=1e-3)
    assert shares[-1] == 1.0
    assert len(shares) > 3


def test_the_gram_matrix_is_symmetric_to_the_last_bit() -> None:
    pixels, _ = faces()
    inner = gram(pixels, fit_scale(pixels, TRAIN), TRAIN)
    np.testing.assert_array_equal(inner, inner.T)


def test_many_features_do_not_add_up_errors() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60_000, 12), dtype=np.uint8)
    rows = np.arange(12)
    z = standardised(pixels, rows)
    found = gram(pixels, fit_scale(pixels, rows), rows)
    assert np.abs(found - z @ z.T).max() < 1e-6 * 60_000


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("c", [1.0, 0.01])
def test_decisions_are_those_of_svc(c: float) -> None:
    pixels, label = faces()
    z = standardised(pixels, TRAIN)
    theirs = svm.SVC(C=c).fit(z[TRAIN], label[TRAIN])
    ours = Svm(SvmOptions(c=c))
    ours.fit(pixels, label, TRAIN)
    assert ours.gamma == pytest.approx(theirs._gamma, rel=1e-9)
    np.testing.assert_array_equal(ours.support, theirs.support_)
    np.testing.assert_allclose(ours.logit(pixels, TEST), theirs.decision_function(z[TEST]), atol=1e-4)


def test_without_standardising_the_kernel_is_on_raw_pixels() -> None:
    pixels, label = faces()
    x = pixels.T.astype(np.float64)
    theirs = svm.SVC().fit(x[TRAIN], label[TRAIN])
    ours = Svm(SvmOptions(standardise=False))
    ours.fit(pixels, label, TRAIN)
    assert ours.gamma == pytest.approx(theirs._gamma, rel=1e-9)
    np.testing.assert_allclose(ours.logit(pixels, TEST), theirs.decision_function(x[TEST]), atol=1e-3)


def test_faces_of_another_matrix_are_decided_alike() -> None:
    pixels, label = faces()
    machine = Svm(SvmOptions())
    machine.fit(pixels, label, TRAIN)
    expected = machine.logit(pixels, TEST)
    np.testing.assert_allclose(machine.logit(pixels[:, TEST].copy(), np.arange(60)), expected, atol=1e-6)


@pytest.mark.parametrize("c", [1.0, 1e-4])
@pytest.mark.parametrize("n_features", [500, 60])
def test_weights_are_those_of_scikit_learns_logistic_regression(c: float, n_features: int) -> None:
    pixels, label = faces(n_features=500)
    pixels = np.ascontiguousarray(pixels[np.linspace(0, 499, n_features).astype(int)])
    z = standardised(pixels, TRAIN)
    theirs = linear_model.LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=200)
    theirs.fit(z[TRAIN], label[TRAIN])
    ours = Logistic(LogisticOptions(c=c))
    ours.fit(pixels, label, TRAIN)
    np.testing.assert_allclose(ours.weight, theirs.coef_[0], atol=2e-4 * np.abs(theirs.coef_).max())
    assert ours.bias == pytest.approx(theirs.intercept_[0], abs=2e-4)
    np.testing.assert_allclose(ours.logit(pixels, TEST), theirs.decision_function(z[TEST]), rtol=1e-3, atol=1e-3)


def test_newton_needs_few_steps_even_where_a_line_divides_the_classes() -> None:
    pixels, label = faces(n_features=500)
    model = Logistic(LogisticOptions(c=100.0))
    model.fit(pixels, label, TRAIN)
    assert ((model.logit(pixels, TRAIN) > 0) == label[TRAIN]).all()
    assert model.n_steps < 25


def test_one_class_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="real and fake"):
        solve(np.eye(4), np.ones(4), c=1.0)


@pytest.mark.parametrize(
    ("options", "wrong"), [(SvmOptions, {"c": 0}), (SvmOptions, {"gamma": "auto"}), (LogisticOptions, {"c": -1})]
)
def test_options_that_make_no_sense_are_refused(options: Any, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        options(**wrong)
