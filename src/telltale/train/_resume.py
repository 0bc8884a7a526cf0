"""What a run began with, kept beside its stages: `--resume` goes on with that, and with nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from telltale import models
from telltale._files import file_sha256, write_files
from telltale.bundle import load_bundle
from telltale.errors import DataError, UsageError
from telltale.recipe import Recipe
from telltale.train._faces import FaceTable

_RUN = "run.json"


def claim(out: Path, table: FaceTable, recipe: Recipe, *, weights: str) -> None:
    """Say in OUT what its run learns from and how, or check it where the run has begun. Stages that have not begun may
    be others than they were meant to be, and so may words of the card.

    Raises UsageError where the run began with other faces, weights, stages or settings.
    """
    said = recipe.model_dump(mode="json", exclude={"description", "weights", "grid", "card"})
    said |= {"weights": _noted(models.Weights(weights)), "faces": _digest(table)}
    path, n_begun = out / _RUN, len(list(out.glob("stage-*")))
    if n_begun and path.is_file():  # a run that ended before its first stage left nothing to go on with
        changed = _changed(_held(path), said, n_begun=n_begun)
        if changed:
            raise UsageError(
                f"{out} holds a run that began with other {', '.join(changed)}: --resume goes on with what it began "
                "with, or choose another --out"
            )
    write_files(out, {_RUN: (json.dumps(said, indent=1) + "\n").encode()})


def check_began_with(out: Path, weights: models.Weights) -> None:
    """Raises UsageError where the run in OUT is known to have begun with a bundle, and `weights` is not that: a card
    would not name what it has seen."""
    path = out / _RUN
    held = _held(path).get("weights") if path.is_file() else None
    if isinstance(held, dict) and held.get("kind") == "bundle" and not _same(held, _noted(weights)):
        raise UsageError(
            f"the run in {out} began with another bundle than {weights.source} ({_told(held)}): say where that is with "
            "weights=, so that the card names what it learned from"
        )


def _held(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(held, dict):
            return held
    except ValueError:
        pass
    raise DataError(
        f"{path} is damaged, so nobody knows what the run began with: delete the file to go on unchecked with "
        "--resume, or choose another --out"
    )


def _noted(weights: models.Weights) -> dict[str, str]:
    """Every run leaves its bundle in a folder of one name, so the name alone tells nothing."""
    noted = {"name": Path(weights.source).name}
    if weights.bundle:
        return noted | {"kind": "bundle", "sha256": load_bundle(weights.bundle).sha256}
    if weights.is_file and Path(weights.source).is_file():
        return noted | {"kind": "file", "sha256": file_sha256(Path(weights.source))}
    return noted


def _same(held: str | dict[str, str], now: dict[str, str]) -> bool:
    """Runs that began before there was a SHA-256 noted a name."""
    if isinstance(held, str):
        return held == now["name"]
    return held == now if "sha256" not in held else held["sha256"] == now.get("sha256")


def _told(noted: str | dict[str, str]) -> str:
    if isinstance(noted, str):
        return noted
    return f"{noted['name']}, SHA-256 {noted['sha256'][:12]}…" if "sha256" in noted else noted["name"]


def _changed(held: dict[str, Any], said: dict[str, Any], *, n_begun: int) -> list[str]:
    begun = [{**values, "stages": values.get("stages", [])[:n_begun]} for values in (held, said)]
    changed = {name for name in said if begun[0].get(name) != begun[1][name]} - {"weights"}
    was, now = held.get("weights", ""), said["weights"]
    if not _same(was, now):
        changed.add(f"weights ({_told(was)}; given: {_told(now)})")
    return sorted(changed)


def _digest(table: FaceTable) -> str:
    """Of which faces there are, not of their pictures: those may be hundreds of gigabytes."""
    columns = (table.dataset, table.image_id, table.label, table.group_id, table.side)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return hashlib.sha256("\n".join("\t".join(map(str, row)) for row in rows).encode()).hexdigest()
