"""Which faces are learned from, and which of them together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import make_stores
from make_stores import Clip
from telltale.train import FaceTable
from telltale.train._clips import cut_clips


@pytest.fixture
def table(tmp_path: Path) -> FaceTable:
    """Two clips of five faces; in the first one, the third was not found."""
    clips = [Clip([[1.0] * 5], fake=False, group="a", filled=(2,)), Clip([[1.0] * 5], fake=True, group="b")]
    store = make_stores.store_of_clips(tmp_path / "s", clips)
    return FaceTable.from_store(store, np.array(["train"] * 10))


def test_a_model_of_single_pictures_learns_from_faces_that_were_found(table: FaceTable) -> None:
    cut = cut_clips(table, 1)
    assert cut.rows.tolist() == [[0], [1], [3], [4], [5], [6], [7], [8], [9]]
    assert cut.mask.all()
    assert cut.heads(table).label.tolist() == [0] * 4 + [1] * 5


def test_a_sequence_goes_on_where_a_face_was_not_found(table: FaceTable) -> None:
    assert cut_clips(table, 5).rows.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_table_that_was_written_still_knows_what_was_not_found(table: FaceTable, tmp_path: Path) -> None:
    table.write(tmp_path / "t.parquet")
    assert FaceTable.read(tmp_path / "t.parquet").is_filled.tolist() == [False, False, True] + [False] * 7
