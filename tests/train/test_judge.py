"""What a card says of a network's answers, by source."""

from __future__ import annotations

import numpy as np

from telltale.metrics import HIGHER_IS_BETTER
from telltale.train._judge import _balanced


def test_beside_a_calibration_error_a_card_has_what_chance_makes_of_it() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=400)
    label = (rng.random(400) < p).astype(np.int64)
    found = _balanced(label, p, np.arange(400).astype(str))
    assert 0 < found["ece_by_chance"] < 0.1
    assert set(found["ci95"]) == {*HIGHER_IS_BETTER} - {"ece"}
