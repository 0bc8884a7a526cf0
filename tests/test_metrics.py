"""One implementation of every figure, held to scikit-learn's where it has one."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest

from telltale import metrics
from telltale.metrics import HIGHER_IS_BETTER, bootstrap_figures, ece_by_chance, figures, group_weights, resampled

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def scores(n: int = 400, *, seed: int = 0, levels: int | None = None) -> tuple[IntArray, FloatArray]:
    """Labels and somewhat informative probabilities; with `levels`, many equal ones."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    p = 1 / (1 + np.exp(-rng.normal(1.2 * (label - 0.5), 1.0)))
    return label, p if levels is None else np.round(p * levels) / levels


def by_sklearn(label: IntArray, p: FloatArray, weight: FloatArray | None = None) -> dict[str, float]:
    said = p >= 0.5
    fpr, tpr, _ = sklearn_metrics.roc_curve(label, p, sample_weight=weight, drop_intermediate=False)
    return {
        "auc": sklearn_metrics.roc_auc_score(label, p, sample_weight=weight),
        "ap": sklearn_metrics.average_precision_score(label, p, sample_weight=weight),
        "accuracy": sklearn_metrics.accuracy_score(label, said, sample_weight=weight),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(label, said, sample_weight=weight),
        "log_loss": sklearn_metrics.log_loss(label, p, sample_weight=weight),
        "brier": sklearn_metrics.brier_score_loss(label, p, sample_weight=weight),
        "tpr_at_1pct_fpr": tpr[fpr <= 0.01 + 1e-12].max(),
        "tpr_at_5pct_fpr": tpr[fpr <= 0.05 + 1e-12].max(),
    }


@pytest.mark.parametrize("levels", [None, 5, 1])
def test_figures_are_scikit_learns(levels: int | None) -> None:
    label, p = scores(levels=levels)
    ours = figures(label, p)
    assert set(ours) == set(HIGHER_IS_BETTER)
    for name, value in by_sklearn(label, p).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_weighted_figures_are_scikit_learns_on_the_same_weights() -> None:
    label, p = scores(120, levels=20)
    group = np.arange(len(p)) // 3
    weights = group_weights(group, rng=np.random.default_rng(1), repeats=7)
    drawn = np.concatenate(list(weights()))
    found = resampled(label, p, weights)
    for row, weight in enumerate(drawn):
        for name, value in by_sklearn(label, p, weight).items():
            assert found[name][row] == pytest.approx(value, abs=1e-9), (name, row)


def test_a_group_is_drawn_as_a_whole_and_as_many_groups_as_there_are() -> None:
    group = np.array(["a", "b", "a", "c", "b"])
    for chunk in group_weights(group, rng=np.random.default_rng(0), repeats=50)():
        np.testing.assert_array_equal(chunk[:, 0], chunk[:, 2])
        np.testing.assert_array_equal(chunk[:, 1], chunk[:, 4])
        np.testing.assert_array_equal(chunk[:, [0, 1, 3]].sum(axis=1), 3)


def test_eer_is_where_false_alarms_equal_misses() -> None:
    assert metrics.eer([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == 0
    assert metrics.eer([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]) == 1
    assert metrics.eer([0, 1], [0.5, 0.5]) == pytest.approx(0.5)
    label, p = scores(20_000)
    threshold = np.quantile(p[label == 0], 1 - metrics.eer(label, p))
    assert (p[label == 0] > threshold).mean() == pytest.approx((p[label == 1] <= threshold).mean(), abs=2e-3)


def test_ece_of_a_calibrated_model_is_small_and_of_a_boastful_one_is_not() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(50_000)
    label = (rng.random(50_000) < p).astype(int)
    assert figures(label, p)["ece"] < 0.01
    assert figures(label, (p > 0.5) * 0.98 + 0.01)["ece"] > 0.2
    assert figures([1, 0], [1.0, 0.0])["ece"] == 0


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """100 samples from a population of known AUC, clustered: the 95 % interval holds it in about 95."""
    truth = 0.760  # of two normals 1 apart: Phi(1 / sqrt 2)
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        label = np.repeat(rng.integers(0, 2, 150), 4)
        shared = np.repeat(rng.normal(size=150), 4)
        p = 1 / (1 + np.exp(-(label + 0.8 * shared + 0.6 * rng.normal(size=600))))
        low, high = bootstrap_figures(label, p, groups=np.repeat(np.arange(150), 4), rng=rng, repeats=200)["auc"]
        hits += low <= truth <= high
    assert 88 <= hits <= 99


def test_intervals_over_groups_are_wider_than_over_frames() -> None:
    label, p = scores(60)
    label, p = np.repeat(label, 10), np.repeat(p, 10)
    over_groups = bootstrap_figures(label, p, groups=np.repeat(np.arange(60), 10), rng=np.random.default_rng(0))["auc"]
    over_frames = bootstrap_figures(label, p, groups=np.arange(600), rng=np.random.default_rng(0))["auc"]
    assert over_groups[1] - over_groups[0] > 2 * (over_frames[1] - over_frames[0])


def test_the_same_seed_gives_the_same_interval() -> None:
    label, p = scores()
    first, second = (bootstrap_figures(label, p, groups=np.arange(400), rng=np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_a_set_of_one_class_has_no_auc_and_still_an_accuracy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = figures([0, 0, 0], [0.2, 0.7, 0.1])
        bounds = bootstrap_figures([0, 0, 0], [0.2, 0.7, 0.1], groups=[1, 2, 3], rng=np.random.default_rng(0))
    assert found["accuracy"] == pytest.approx(2 / 3)
    for name in ("auc", "ap", "eer", "balanced_accuracy", "tpr_at_1pct_fpr"):
        assert np.isnan(found[name]), name
        assert np.isnan(bounds[name]).all(), name
    with pytest.raises(ValueError, match="both classes"):
        metrics.auc([0, 0], [0.1, 0.2])


def test_one_group_has_no_interval() -> None:
    label, p = scores(20)
    assert np.isnan(bootstrap_figures(label, p, groups=np.zeros(20), rng=np.random.default_rng(0))["auc"]).all()


def test_confusion_and_report_are_scikit_learns() -> None:
    label, p = scores()
    (tn, fp), (fn, tp) = metrics.confusion(label, p)
    assert [[tn, fp], [fn, tp]] == sklearn_metrics.confusion_matrix(label, p >= 0.5).tolist()
    theirs = sklearn_metrics.classification_report(label, p >= 0.5, target_names=["real", "fake"], output_dict=True)
    ours = metrics.report(label, p)
    for name, key in (("real", "real"), ("fake", "fake"), ("macro", "macro avg"), ("weighted", "weighted avg")):
        expected = {k.replace("f1-score", "f1"): v for k, v in theirs[key].items()}
        assert ours[name] == pytest.approx(expected), name


def test_exactly_one_half_is_called_fake() -> None:
    assert metrics.confusion([0, 1], [0.5, 0.5]) == ((0, 1), (0, 1))
    assert metrics.accuracy([0, 1], [0.5, 0.5]) == 0.5


@pytest.mark.parametrize(
    ("label", "p", "message"),
    [
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1], [0.1, 1.2], "0-1"),
        ([0], [0.1, 0.2], r"\(n,\)"),
        ([0, 1], [0.1, np.nan], "NaN"),
        ([], [], "n >= 1"),
    ],
)
def test_what_is_no_label_or_probability_is_refused(label: list[int], p: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figures(label, p)


def test_the_interval_of_one_figure_is_that_of_all() -> None:
    label, p = scores(80)
    one = metrics.bootstrap_ci(metrics.eer, label, p, groups=np.arange(80), rng=np.random.default_rng(5), repeats=50)
    every = bootstrap_figures(label, p, groups=np.arange(80), rng=np.random.default_rng(5), repeats=50)
    assert one == every["eer"]
    with pytest.raises(ValueError, match="must be one of"):
        metrics.bootstrap_ci(max, label, p, groups=np.arange(80), rng=np.random.default_rng(5))


def test_a_calibration_error_has_no_interval() -> None:
    """Resamples hold the excess that chance makes, once more: percentiles leave out 0 where it is true."""
    label, p = scores(80)
    assert set(bootstrap_figures(label, p, groups=np.arange(80), rng=np.random.default_rng(5), repeats=50)) == {
        *HIGHER_IS_BETTER
    } - {"ece"}
    with pytest.raises(ValueError, match="got ece"):
        metrics.bootstrap_ci(metrics.ece, label, p, groups=np.arange(80), rng=np.random.default_rng(5))


@pytest.mark.parametrize("n", [50, 1000])
def test_chance_alone_makes_as_large_a_calibration_error_as_true_probabilities_measure(n: int) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(n)
    measured = [figures((rng.random(n) < p).astype(int), p)["ece"] for _ in range(60)]
    by_chance = ece_by_chance(p, rng=np.random.default_rng(1))
    assert by_chance == pytest.approx(np.mean(measured), rel=0.1)
    assert by_chance == ece_by_chance(p, rng=np.random.default_rng(1))


def test_chance_makes_no_calibration_error_where_nothing_is_left_to_it() -> None:
    assert ece_by_chance([0.0, 1.0, 1.0], rng=np.random.default_rng(0)) == 0
    with pytest.raises(ValueError, match="0-1"):
        ece_by_chance([1.5], rng=np.random.default_rng(0))
