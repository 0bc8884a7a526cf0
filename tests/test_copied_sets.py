"""The same files under other names: a model's card knows them again by their content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import make_faces
from make_bundles import make_redness
from make_stores import SIZE_PX, Clip, split, store_of_clips, store_of_pictures
from telltale import _group_hashes
from telltale._group_hashes import hash_files, hash_groups
from telltale.bundle import ModelCard, TrainingSource, load_bundle
from telltale.crops import CropSpec
from telltale.errors import LeakFound
from telltale.evaluate import EvaluateSettings, evaluate, score_model
from telltale.recipe import Recipe, load_recipe
from telltale.store import Store
from telltale.train import FaceTable, read_faces, train
from telltale.train._origin import origin_of
from telltale.train._parents import check_parents

pytest.importorskip("onnx", reason="makes models with onnx")

UNSEEN = EvaluateSettings(side="unseen", repeats=0)
ALL = EvaluateSettings(side="all", repeats=0)


def pictures(folder: Path, dataset: str) -> Store:
    """Sixty pictures, two a group; the same bytes under whatever name."""
    fakes = [bool(i % 2) for i in range(60)]
    logits = [2.0 if fake else -2.0 for fake in fakes]
    return store_of_pictures(folder, logits, fakes, groups=[str(i // 2) for i in range(60)], dataset=dataset)


def clips(folder: Path, *, groups: list[str]) -> Store:
    return store_of_clips(folder, [Clip([[1.0] * 4], fake=bool(i % 2), group=g) for i, g in enumerate(groups)])


def knowing(folder: Path, **said: Any) -> Path:
    elsewhere: dict[str, Any] = {
        "group_hashes": hash_groups(["elsewhere:1"]),
        "validation_hashes": hash_groups(["elsewhere:2"]),
    }
    source = TrainingSource.model_validate({"name": "made", **elsewhere, **said})
    return make_redness(folder / "redness", size_px=SIZE_PX, training=(source,))


def shas(store: Store, *rows: int) -> list[str]:
    found = store.videos().column("sha256").to_pylist()
    return [found[row] for row in rows]


def test_a_set_that_was_renamed_is_known_by_the_content_of_its_files(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="fits a model on pixels")
    first, second = pictures(tmp_path / "a", "good"), pictures(tmp_path / "b", "good_v2")
    sides = split(first).sides
    n = {side: list(sides.values()).count(side) for side in ("train", "val", "test")}
    tiny = load_recipe("logistic", overrides=["model.options.size_px=8"])
    bundle = train(first.path, recipe=tiny, out=tmp_path / "run")
    source = bundle.card.training[0]
    assert (len(source.file_hashes), len(source.validation_file_hashes)) == (12 * n["train"], 12 * n["val"])
    with pytest.raises(
        LeakFound, match=rf"trained on {n['train'] // 2} of the 30 groups of .*; {n['train']} files known by content\)"
    ):
        evaluate(bundle, second, settings=ALL)
    found = score_model(bundle, [second], settings=UNSEEN).faces.columns["video_id"].tolist()
    assert sorted(found) == sorted(name for name, side in sides.items() if side == "test")
    allowed = evaluate(bundle, second, settings=replace(ALL, allow_leaks=True))
    assert allowed.leaked_groups == n["train"] // 2


def test_of_a_file_known_by_content_the_whole_group_is_seen(tmp_path: Path) -> None:
    made = clips(tmp_path / "s", groups=["a", "a", "ffpp:000", "ffpp:000+003", "d", "e"])
    model = knowing(tmp_path, file_hashes=hash_files(shas(made, 0)), validation_file_hashes=hash_files(shas(made, 2)))
    found = score_model(model, [made], settings=UNSEEN)
    assert set(found.faces.columns["group_id"].tolist()) == {"made:d", "made:e"}
    with pytest.raises(LeakFound, match=r"1 of the 5 groups .*\(made:a; 1 file known by content\)"):
        evaluate(model, made, settings=ALL)


def test_an_older_card_loads() -> None:
    hashes = {"file_hashes", "validation_file_hashes"}
    training = load_bundle("default").card.training
    assert training
    for source in training:
        older = TrainingSource.model_validate(source.model_dump(exclude=hashes))
        assert older == source.model_copy(update=dict.fromkeys(hashes, ""))


def test_the_shipped_card_knows_copies_of_its_files() -> None:
    training = load_bundle("default").card.training
    assert training
    for source in training:
        assert source.file_hashes, source.name
        assert source.validation_file_hashes, source.name


def test_files_of_which_nothing_is_known_match_nothing() -> None:
    assert hash_files(["", ""]) == ""
    assert _group_hashes.seen_by(_card(file_hashes=""), ["a", "b"], ["", ""]).groups == frozenset()
    assert _group_hashes.seen_by(_card(file_hashes=hash_files(["f" * 64])), ["a"], [""]).n_files == 0


def _card(**said: Any) -> ModelCard:
    source = TrainingSource.model_validate({"name": "made", **said})
    return ModelCard(name="made", size_px=32, crop=CropSpec(size_px=32), training=(source,))


def test_a_card_of_very_many_files_stays_small_enough_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_group_hashes, "MOST_FILES", 3)
    listed = [f"{number:064x}"[::-1] for number in range(10)]
    assert hash_files(listed) == "".join(sorted(sha256[:12] for sha256 in listed)[:3])


def test_a_table_of_faces_knows_its_files(tmp_path: Path) -> None:
    made = clips(tmp_path / "s", groups=["a", "a", "b", "b"])
    sides = np.array(["train"] * 8 + ["val"] * 8)
    table = FaceTable.from_store(made, sides)
    (source,) = origin_of(table, Recipe(), run=tmp_path, detector=made.detector).training
    assert source.file_hashes == hash_files(shas(made, 0, 1))
    assert source.validation_file_hashes == hash_files(shas(made, 2, 3))
    table.write(tmp_path / "faces.parquet")
    assert FaceTable.read(tmp_path / "faces.parquet").file_hash.tolist() == table.file_hash.tolist()
    assert set(make_faces.table(n=4).file_hash.tolist()) == {""}


def test_a_folder_of_faces_and_a_store_of_it_know_the_same_files(tmp_path: Path) -> None:
    folder = make_faces.write_folder(tmp_path / "set")
    of_folder = read_faces(folder)
    shown = np.zeros((8, 8, 3), np.uint8)
    assert len(set(of_folder.file_hash.tolist())) == len(of_folder)
    first = (folder / "faces_224" / "v0.jpg").read_bytes()
    other = store_of_pictures(tmp_path / "s", [0.0], [False], picture=lambda _: shown)
    assert {len(name) for name in of_folder.file_hash.tolist()} == {12}
    assert FaceTable.from_store(other, np.array(["train"])).file_hash.tolist() == [hash_files(shas(other, 0))]
    assert _group_hashes.content_hash(first) in of_folder.file_hash.tolist()


def test_a_parent_that_learned_from_a_renamed_file_is_refused(tmp_path: Path) -> None:
    made = clips(tmp_path / "s", groups=["a", "a", "b", "b"])
    table = FaceTable.from_store(made, np.array(["train"] * 8 + ["val"] * 8))
    assert check_parents([_card(file_hashes=hash_files(shas(made, 0)))], table, allow_leaks=False) == ()
    parent = _card(file_hashes=hash_files(shas(made, 2)))
    with pytest.raises(LeakFound, match=r"learned from 1 of the 1 groups .* \(made:b; 1 file known by content\)"):
        check_parents([parent], table, allow_leaks=False)
    (limit,) = check_parents([parent], table, allow_leaks=True)
    assert "learned from 1 of the 1 groups" in limit
