"""What a run began with, kept beside its stages: `--resume` goes on with that, and with nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from telltale._files import write_files
from telltale.errors import UsageError
from telltale.recipe import Recipe
from telltale.train._faces import FaceTable

_RUN = "run.json"


def claim(out: Path, table: FaceTable, recipe: Recipe, *, weights: str) -> None:
    """Say in OUT what its run learns from and how, or check it where the run has begun. Stages that have not begun may
    be others than they were meant to be, and so may words of the card.

    Raises UsageError where the run began with other faces, weights, stages or settings.
    """
    said = recipe.model_dump(mode="json", exclude={"description", "weights", "grid", "card"})
    said |= {"weights": Path(weights).name, "faces": _digest(table)}
    path, n_begun = out / _RUN, len(list(out.glob("stage-*")))
    if n_begun and path.is_file():  # a run that ended before its first stage left nothing to go on with
        changed = _changed(json.loads(path.read_text(encoding="utf-8")), said, n_begun=n_begun)
        if changed:
            raise UsageError(
                f"{out} holds a run that began with other {', '.join(changed)}: --resume goes on with what it began "
                "with, or choose another --out"
            )
    write_files(out, {_RUN: (json.dumps(said, indent=1) + "\n").encode()})


def _changed(held: dict[str, Any], said: dict[str, Any], *, n_begun: int) -> list[str]:
    begun = [{**values, "stages": values.get("stages", [])[:n_begun]} for values in (held, said)]
    return sorted(name for name in said if begun[0].get(name) != begun[1][name])


def _digest(table: FaceTable) -> str:
    """Of which faces there are, not of their pictures: those may be hundreds of gigabytes."""
    columns = (table.dataset, table.image_id, table.label, table.group_id, table.side)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return hashlib.sha256("\n".join("\t".join(map(str, row)) for row in rows).encode()).hexdigest()
