"""The gate of a model that was just trained (`telltale.gate`): fitted to its training faces, limited on validation."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from telltale import gate
from telltale.gate import Gate
from telltale.recipe import Recipe
from telltale.train import _validation
from telltale.train._calibrate import FEW_GROUPS
from telltale.train._faces import FaceTable
from telltale.train._judge import Answers, ask
from telltale.types import Float64Array

_FACES = 1500
"""Training faces of each source and label that are looked at."""
_FEWEST = 4 * gate.N_DIRECTIONS
"""Of fewer, a variance along each direction says nothing."""


def fit_gate(graph: Path, table: FaceTable, recipe: Recipe, *, size_px: int, val: Answers) -> Gate | None:
    """`graph` is the exported model, `val` what it says of validation.

    Known are training faces of sources with enough groups to stand for a population; the limit is what one in twenty of
    the validation faces `val.of.judged` lies beyond. None for a model of sequences, one without features or with few,
    and where no source has enough groups or all of them have too few faces.
    """
    faces = table.on("train")
    sources = sorted(set(faces.dataset.tolist()))
    known = [name for name in sources if len(np.unique(faces.group_id[faces.dataset == name])) >= FEW_GROUPS]
    if recipe.n_frames != 1 or val.pooled is None or val.pooled.shape[1] <= gate.N_DIRECTIONS or not known:
        return None
    faces = faces.take(np.flatnonzero(np.isin(faces.dataset, known)))
    looked_at = _validation.build(faces, recipe, size_px=size_px, limit=_FACES, robust=False)
    if len(looked_at) < _FEWEST:
        return None
    features = ask(graph, looked_at).pooled
    clean = val.pooled[val.of.judged]
    said = f"{len(looked_at)} training faces of {', '.join(known)}; limit from {len(clean)} of validation"
    return gate.fit(cast(Float64Array, features), clean, fitted_on=said)
