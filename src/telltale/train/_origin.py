"""Where a model comes from, as its card says: whose faces, found by what, learned at what cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from telltale._group_hashes import hash_files, hash_groups
from telltale._text import plural
from telltale.bundle import DetectorSettings, ModelCard, TrainingSource
from telltale.recipe import Recipe
from telltale.train._faces import FaceTable
from telltale.train._parents import inherited


@dataclass(frozen=True)
class Origin:
    training: tuple[TrainingSource, ...]
    detector: DetectorSettings
    """What found the faces: a scan must cut as they were cut."""
    resources: Mapping[str, float]
    """wall_s and cpu_s over all stages, peak_memory_mb, mean_memory_mb; empty of a run that ended none."""


def origin_of(
    table: FaceTable, recipe: Recipe, *, run: Path, detector: DetectorSettings, parents: Sequence[ModelCard] = ()
) -> Origin:
    """`run` is the folder of the stages. What `parents` learned from is named beside the own faces."""
    return Origin(inherited(_sources(table, recipe), parents), detector, _resources(run))


def _sources(table: FaceTable, recipe: Recipe) -> tuple[TrainingSource, ...]:
    found = []
    learned, chosen_on = table.on("train"), table.on("val")
    for source in sorted({*learned.dataset.tolist(), *chosen_on.dataset.tolist()}):
        mine, judged = (side.take(side.dataset == source) for side in (learned, chosen_on))
        found.append(
            TrainingSource(
                name=source,
                n_real=int((mine.label == 0).sum()),
                n_fake=int((mine.label == 1).sum()),
                terms=recipe.card.terms.get(source, ""),
                digest=mine.digest(),
                group_hashes=hash_groups(mine.group_id.tolist()),
                validation_hashes=hash_groups(judged.group_id.tolist()),
                file_hashes=hash_files(mine.file_hash.tolist()),
                validation_file_hashes=hash_files(judged.file_hash.tolist()),
            )
        )
    return tuple(found)


def leak_limits(groups: Sequence[str]) -> tuple[str, ...]:
    """What a card says among its limits where these groups were on more than one side of the split, and accepted."""
    if not groups:
        return ()
    torn = f"{plural(len(groups), 'group')} had faces on more than one side of the split"
    return (f"{torn}: its figures say nothing about people it never saw.",)


def _resources(run: Path) -> dict[str, float]:
    """Over the stages of a run."""
    return added_up(
        [json.loads(text) for done in sorted(run.glob("stage-*/done")) if (text := done.read_text(encoding="utf-8"))]
    )


def added_up(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What runs took one after the other: wall_s and cpu_s summed, the largest peak_memory_mb, mean_memory_mb over
    time. Empty where that is not known of all."""
    if not runs or not all(runs):
        return {}
    total = {name: round(sum(run[name] for run in runs), 2) for name in ("wall_s", "cpu_s")}
    if all("peak_memory_mb" in run for run in runs):
        total["peak_memory_mb"] = max(run["peak_memory_mb"] for run in runs)
    if all("mean_memory_mb" in run for run in runs):
        held = sum(run["mean_memory_mb"] * run["wall_s"] for run in runs)
        total["mean_memory_mb"] = round(held / max(total["wall_s"], 1e-9), 1)
    return total
