"""What was seen twice: files that lie in two places, and sources that a parent was chosen on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import make_faces
import make_runs
from make_bundles import make_redness
from telltale._group_hashes import hash_files, hash_groups
from telltale.bundle import ModelCard, TrainingSource, load_bundle
from telltale.errors import LeakFound
from telltale.train import FaceTable, load_all, train
from telltale.train._parents import inherited


def of_files(dataset: str, *named: str) -> FaceTable:
    """Faces of which the first are of these files."""
    table = make_faces.table(n=32, dataset=dataset)
    return replace(table, file_hash=np.array([*named, *[""] * (32 - len(named))], np.str_))


def test_a_file_of_two_tables_on_different_sides_is_a_leak(tmp_path: Path) -> None:
    one, two = of_files("one", "a" * 12, "c" * 12), of_files("two", "", "", "a" * 12, "b" * 12)
    assert (one.side[0], two.side[2]) == ("val", "train")
    with pytest.raises(LeakFound, match=r"^1 file on more than one side .*one:0.*two:1.*--allow-leaks"):
        load_all([one, two])
    recipe = make_runs.tiny("baseline-cnn")
    bundle = train([one, two], recipe=recipe, out=tmp_path / "run", settings=replace(make_runs.ALONE, allow_leaks=True))
    assert bundle.card.limits[-1].startswith("2 groups had faces on more than one side")


def test_files_on_one_side_are_no_leak_however_many_faces_they_have() -> None:
    one = of_files("one", "a" * 12, "a" * 12)
    again = of_files("two", "a" * 12)
    assert one.side[1] == again.side[0]
    assert len(load_all([one, again])) == 64


# What a parent knew


def source(name: str = "made", *, digest: str = "d", **said: Any) -> TrainingSource:
    return TrainingSource(name=name, digest=digest, **said)


def card(*sources: TrainingSource) -> ModelCard:
    return ModelCard.model_validate(
        {"name": "parent", "size_px": 32, "crop": {"size_px": 32}, "training": [one.model_dump() for one in sources]}
    )


NOBODY = hashlib.sha256(b"").hexdigest()
A, B = hash_groups(["made:a"]), hash_groups(["made:b"])


def test_a_source_that_a_parent_was_only_chosen_on_is_named() -> None:
    own = source(digest=NOBODY, validation_hashes=A)
    theirs = source("other", digest=NOBODY, validation_hashes=B)
    assert inherited([own], [card(theirs)]) == (own, theirs.model_copy(update={"name": "other (by parent)"}))
    learned = source(group_hashes=A, validation_hashes=B)
    assert [one.name for one in inherited([learned], [card(source(group_hashes=A, validation_hashes=A))])] == [
        "made", "made (by parent)",
    ]  # fmt: skip


def test_one_source_is_named_once_and_with_all_that_is_known_of_it() -> None:
    files, more = hash_files(["f" * 64]), hash_files(["e" * 64])
    plain = source(group_hashes=A, validation_hashes=B)
    full = source(group_hashes=A, validation_hashes=B, file_hashes=files, validation_file_hashes=more)
    assert inherited([full], [card(plain)]) == (full,)
    assert inherited([plain], [card(full)]) == (full,)
    assert inherited([full], [card(source())]) == (full,), "a card of before groups were noted"


def test_sources_of_which_nothing_is_known_are_told_by_their_names() -> None:
    named = inherited([], [card(source("a", digest=""), source("b", digest=""), source("a", digest=""))])
    assert [one.name for one in named] == ["a (by parent)", "b (by parent)"]


def test_what_a_beginning_was_chosen_on_stays_known(tmp_path: Path) -> None:
    elsewhere = source("elsewhere", digest=NOBODY, validation_hashes=hash_groups(["elsewhere:1"]))
    folder = make_redness(tmp_path / "redness", training=(elsewhere,))
    table = make_faces.table(n=32)
    stills = replace(make_faces.table(n=8, dataset="stills"), side=np.full(8, "val"))
    recipe = make_runs.tiny("baseline-cnn", f"teacher.bundle={folder}")
    bundle = train([table, stills], recipe=recipe, out=tmp_path / "run", settings=make_runs.ALONE)
    assert [one.name for one in load_bundle(bundle.path).card.training] == [
        "made", "stills", "elsewhere (by redness)",
    ]  # fmt: skip
