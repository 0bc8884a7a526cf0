"""The bundles that a run begins from or learns from: what they have seen, the new model has seen."""

from __future__ import annotations

from collections.abc import Sequence

from telltale import models
from telltale._group_hashes import seen_by
from telltale.bundle import ModelCard, TrainingSource, load_bundle
from telltale.errors import LeakFound
from telltale.recipe import Recipe
from telltale.train._faces import FaceTable


def parents_of(recipe: Recipe, weights: models.Weights) -> tuple[ModelCard, ...]:
    """The cards of the beginning and of the teachers, where they are bundles."""
    teachers = [recipe.in_stage(number).teacher.bundle for number in range(len(recipe.stages))]
    names = [name for name in (weights.bundle, *teachers) if name]
    return tuple(load_bundle(name).card for name in dict.fromkeys(names))


_WAY_OUT = (
    "take the split it was trained with, or accept with --allow-leaks that the figures say nothing about people it "
    "never saw"
)


def check_parents(
    parents: Sequence[ModelCard], table: FaceTable, *, allow_leaks: bool, way_out: str = _WAY_OUT
) -> tuple[str, ...]:
    """A sentence for each parent that learned from groups that this run validates or tests on.

    Raises LeakFound, which ends with `way_out`, unless `allow_leaks`.
    """
    judged = table.take(table.side != "train")
    groups, files = judged.group_id.tolist(), judged.file_hash.tolist()
    said: list[str] = []
    for card in parents:
        seen = seen_by(card, groups, files)
        if not seen.groups:
            continue
        of_all = f"{len(seen.groups)} of the {len(set(groups))} groups"
        leak = f"{card.name} learned from {of_all} that this run validates or"
        if not allow_leaks:
            raise LeakFound(f"{leak} tests on {seen.examples}: {way_out}")
        said.append(f"{leak} tests on: its figures say nothing about people it never saw.")
    return tuple(said)


def inherited(own: Sequence[TrainingSource], parents: Sequence[ModelCard]) -> tuple[TrainingSource, ...]:
    """What the new model's card names as learned from: its own sources, then its parents' that are others, or that they
    were chosen on otherwise."""
    found = list(own)
    for card in parents:
        for source in card.training:
            named = source.model_copy(update={"name": f"{source.name} (by {card.name})"})
            known = next((i for i, one in enumerate(found) if _holds(one, named)), None)
            if known is None:
                found.append(named)
            else:
                found[known] = _with_files_of(found[known], source)
    return tuple(found)


def _holds(known: TrainingSource, source: TrainingSource) -> bool:
    """Whether `source` names no group that `known` does not: the same faces, judged on the same. File hashes do not
    tell: a card of before they were noted has none."""
    if known.digest != source.digest or not (source.digest or source.name == known.name):
        return False
    pairs = (known.group_hashes, source.group_hashes), (known.validation_hashes, source.validation_hashes)
    return all(theirs in ("", ours) for ours, theirs in pairs)


def _with_files_of(known: TrainingSource, source: TrainingSource) -> TrainingSource:
    """`known`, whose lists of files are the longer ones."""
    fields = ["file_hashes"]
    if known.validation_hashes == source.validation_hashes:
        fields.append("validation_file_hashes")
    return known.model_copy(
        update={field: max(getattr(known, field), getattr(source, field), key=len) for field in fields}
    )
