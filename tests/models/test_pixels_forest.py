"""The forest on bytes is the forest of scikit-learn, but for the random numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from telltale.models._forest import Forest, ForestOptions, Tree, _by_counting, _by_sorting, _Faces

IntArray = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def data(n: int = 300, n_features: int = 40, *, seed: int = 0) -> tuple[Bytes, IntArray]:
    """Noise in which a few features tell something about the label."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n_features, n), dtype=np.uint8)
    signal = pixels[:4].astype(float).sum(axis=0) + rng.normal(0, 60, n)
    return pixels, (signal > 4 * 127.5).astype(np.int64)


def one_tree(pixels: Bytes, label: IntArray, **options: object) -> Tree:
    forest = Forest(ForestOptions(n_trees=1, bootstrap=False, max_features="all", **options))  # type: ignore[arg-type]
    forest.fit(pixels, label, np.arange(pixels.shape[1]))
    return forest.trees[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "depth"), [(250, 2), (2000, 3)])
def test_a_tree_is_scikit_learns_where_no_two_splits_are_equally_good(seed: int, n: int, depth: int) -> None:
    """Deeper nodes are small and have many equally good splits, of which each takes another."""
    tree_module = pytest.importorskip("sklearn.tree", reason="compares with scikit-learn")
    pixels, label = data(n, seed=seed)
    theirs = tree_module.DecisionTreeClassifier(max_depth=depth, random_state=0).fit(pixels.T, label).tree_
    ours = one_tree(pixels, label, max_depth=depth)
    np.testing.assert_array_equal(ours.feature, np.where(theirs.children_left < 0, -1, theirs.feature))
    inner = ours.feature >= 0
    np.testing.assert_array_equal(ours.threshold[inner], theirs.threshold[inner])
    np.testing.assert_array_equal(ours.left, theirs.children_left)
    np.testing.assert_array_equal(ours.right, theirs.children_right)
    np.testing.assert_allclose(ours.p_fake, theirs.value[:, 0, 1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "least", "depth"), [(120, 12, 2), (250, 5, 2), (2000, 150, 3)])
def test_a_face_that_was_drawn_twice_is_one_face_in_a_leaf_as_in_scikit_learn(
    seed: int, n: int, least: int, depth: int
) -> None:
    """scikit-learn makes a weight of how often a face was drawn, and counts faces."""
    tree_module = pytest.importorskip("sklearn.tree", reason="compares with scikit-learn")
    pixels, label = data(n, seed=seed)
    forest = Forest(ForestOptions(n_trees=1, max_features="all", min_samples_leaf=least, max_depth=depth), seed=seed)
    forest.fit(pixels, label, np.arange(n))
    ours = forest.trees[0]
    drawn = np.bincount(np.random.default_rng([seed, 0]).choice(np.arange(n), n), minlength=n)
    theirs = tree_module.DecisionTreeClassifier(min_samples_leaf=least, max_depth=depth, random_state=0)
    theirs = theirs.fit(pixels.T, label, sample_weight=drawn.astype(float)).tree_
    np.testing.assert_array_equal(ours.feature, np.where(theirs.children_left < 0, -1, theirs.feature))
    inner = ours.feature >= 0
    assert inner.any()
    np.testing.assert_array_equal(ours.threshold[inner], theirs.threshold[inner])
    np.testing.assert_allclose(ours.p_fake, theirs.value[:, 0, 1])


@pytest.mark.parametrize("least", [1, 5])
def test_counting_and_sorting_find_the_same_split(least: int) -> None:
    for seed in range(30):
        pixels, label = data(60, 8, seed=seed)
        pixels >>= 3  # many equal values
        faces = _Faces(label.astype(np.uint8), int(label.sum()), is_first=(np.arange(60) % 3 > 0) | (least == 1))
        found = [search(pixels, faces, least) for search in (_by_counting, _by_sorting)]
        assert found[0] == found[1]
        assert found[0] is not None


def test_a_split_between_neighbouring_values_is_half_way() -> None:
    pixels = np.array([[10, 10, 20, 200]], np.uint8)
    tree = one_tree(pixels, np.array([0, 0, 1, 1]))
    assert tree.feature.tolist() == [0, -1, -1]
    assert tree.threshold[0] == 15.0
    assert tree.p_fake.tolist() == [0.5, 0.0, 1.0]


def test_the_extremes_of_a_byte_are_values_like_others() -> None:
    pixels = np.repeat(np.array([[0, 255, 254]], np.uint8), 200, axis=1)
    label = np.repeat([0, 1, 0], 200)
    tree = one_tree(pixels, label)
    np.testing.assert_array_equal(tree.predict(pixels, np.arange(600)), label)


def test_a_grown_tree_knows_its_faces() -> None:
    pixels, label = data()
    tree = one_tree(pixels, label)
    np.testing.assert_array_equal(tree.predict(pixels, np.arange(300)), label)


def test_faces_that_nothing_tells_apart_share_a_leaf() -> None:
    pixels = np.full((5, 4), 7, np.uint8)
    tree = one_tree(pixels, np.array([0, 1, 1, 1]))
    assert len(tree) == 1
    assert tree.predict(pixels, np.arange(4)).tolist() == [0.75] * 4


def test_where_all_drawn_features_are_constant_another_is_looked_for() -> None:
    pixels = np.full((400, 20), 9, np.uint8)
    pixels[237] = np.arange(20)
    label = (np.arange(20) >= 10).astype(np.int64)
    forest = Forest(ForestOptions(n_trees=3, max_features=1, bootstrap=False))
    forest.fit(pixels, label, np.arange(20))
    assert [tree.feature[0] for tree in forest.trees] == [237] * 3


def test_leaves_are_as_large_and_trees_as_deep_as_asked() -> None:
    pixels, label = data()
    tree = one_tree(pixels, label, min_samples_leaf=20)
    assert len(tree) > 3
    leaves = tree.predict(pixels, np.arange(300))
    assert min(np.unique(leaves, return_counts=True)[1]) >= 20
    assert len(one_tree(pixels, label, max_depth=2)) <= 7


def test_the_forest_is_as_good_as_scikit_learns() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble", reason="compares with scikit-learn")
    pixels, label = data(1200)
    train, test = np.arange(800), np.arange(800, 1200)
    ours = Forest(ForestOptions(n_trees=40), seed=0)
    ours.fit(pixels, label, train)
    theirs = ensemble.RandomForestClassifier(40, random_state=0).fit(pixels.T[train], label[train])
    p = ours.votes(pixels, test) / 40, theirs.predict_proba(pixels.T[test])[:, 1]
    accuracy = [((q > 0.5) == label[test]).mean() for q in p]
    assert accuracy[0] == pytest.approx(accuracy[1], abs=0.05)
    assert np.corrcoef(*p)[0, 1] > 0.8
    sizes = np.mean([len(t) for t in ours.trees]), np.mean([t.tree_.node_count for t in theirs.estimators_])
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_a_forest_grown_in_steps_and_on_threads_is_the_same_forest() -> None:
    pixels, label = data()
    rows = np.arange(200)
    at_once = Forest(ForestOptions(n_trees=6), seed=3)
    at_once.fit(pixels, label, rows)
    in_steps = Forest(ForestOptions(n_trees=6), seed=3)
    seen: list[float] = []
    in_steps.fit(pixels, label, rows, n_trees=2, on_share=seen.append)
    in_steps.fit(pixels, label, rows, n_threads=3, on_share=seen.append)
    assert seen == pytest.approx([1 / 2, 1, 3 / 6, 4 / 6, 5 / 6, 1])
    for one, other in zip(at_once.trees, in_steps.trees, strict=True):
        np.testing.assert_array_equal(one.feature, other.feature)
        np.testing.assert_array_equal(one.threshold, other.threshold)
    assert not np.array_equal(at_once.trees[0].feature, at_once.trees[1].feature)


def test_growing_makes_no_floating_point_copy_of_the_pixels() -> None:
    import tracemalloc

    pixels, label = data(500, 40_000)
    forest = Forest(ForestOptions(n_trees=1, max_features=50))
    tracemalloc.start()
    forest.fit(pixels, label, np.arange(500))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < pixels.nbytes


@pytest.mark.parametrize(
    "options", [{"n_trees": 0}, {"min_samples_leaf": 0}, {"max_depth": 0}, {"max_features": "half"}]
)
def test_options_that_make_no_forest_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ForestOptions(**options)  # type: ignore[arg-type]
