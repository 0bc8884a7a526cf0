"""What a run is not begun with: a mix that cannot be meant, a folder that is taken, faces that cannot be read."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

import make_faces
import make_runs
import make_stores
from telltale.crops import CropSpec
from telltale.errors import DataError, UsageError
from telltale.evaluate._faces import load
from telltale.recipe import Recipe, SourceMix
from telltale.train import FaceTable, as_list, check_sizes, framed, load_all, read_faces, train
from telltale.train._data import crop_of
from telltale.train._faces import concat
from telltale.train._finish import _margins
from telltale.train._mix import Mix
from telltale.train._validation import build, falls


def _mixed(**mix: SourceMix) -> Recipe:
    return Recipe(mix={name.replace("every", "*"): value for name, value in mix.items()})


BOTH = SourceMix(real=2, fake=2)


def test_a_mix_that_names_no_source_there_is_refused_with_the_nearest() -> None:
    faces = concat([make_faces.table(dataset="faceforensics"), make_faces.table(dataset="dfdc")])
    with pytest.raises(UsageError, match=r"mix\.face_forensics: no face .* did you mean faceforensics\?"):
        Mix(faces, _mixed(face_forensics=BOTH, dfdc=BOTH))
    with pytest.raises(UsageError, match=r"mix\.ff: no face"):
        Mix(faces, _mixed(ff=BOTH, every=BOTH))


def test_a_mix_may_name_sources_that_are_not_there_where_all_that_are_are_named() -> None:
    assert Mix(make_faces.table(dataset="dfdc"), _mixed(dfdc=BOTH, portraits=BOTH)).sources == ["dfdc"]


@pytest.mark.parametrize("mix", [SourceMix(real=4), SourceMix(fake=4)])
def test_batches_of_one_class_are_refused(mix: SourceMix) -> None:
    with pytest.raises(UsageError, match="one class alone"):
        Mix(make_faces.table(), _mixed(every=mix))
    Mix(make_faces.table(fakes=False), _mixed(every=SourceMix(real=2, blend=2)))


def test_figures_that_are_better_low_are_taken_low() -> None:
    assert all(falls(name) for name in ("val_loss", "other_fpr", "talkers_real_p95", "talkers_real_median"))
    assert not any(falls(name) for name in ("val_auc", "val_accuracy", "dfdc_plain_auc", "fake_tpr_at_1"))


def test_the_epoch_with_fewest_false_alarms_is_kept(tmp_path: Path) -> None:
    faces = concat([make_faces.table(n=32), make_faces.table(n=16, dataset="other", fakes=False)])
    recipe = make_runs.tiny(
        "baseline-cnn", "monitor=other_real_p95", "stages.0.epochs=4", "mix.other={real: 1}", "stages.0.lr=0.01"
    )
    train([faces], recipe=recipe, out=tmp_path / "run", settings=make_runs.ALONE)
    rows = list(csv.DictReader((tmp_path / "run" / "stage-0" / "metrics.csv").read_text().splitlines()))
    figures = [float(row["other_real_p95"]) for row in rows]
    assert len(set(figures)) > 1
    best = torch.load(tmp_path / "run" / "stage-0" / "best.ckpt", weights_only=False)
    assert best["epoch"] == int(np.argmin(figures))


def test_a_folder_that_holds_another_kind_of_run_is_left_alone_even_to_resume(tmp_path: Path) -> None:
    faces = [make_faces.table(n=32)]
    (tmp_path / "svm" / "bundle").mkdir(parents=True)
    (tmp_path / "members" / "member-0").mkdir(parents=True)
    (tmp_path / "one" / "stage-0").mkdir(parents=True)
    again = replace(make_runs.ALONE, resume=True)
    for settings in (make_runs.ALONE, again):
        for folder in ("svm", "members"):
            with pytest.raises(UsageError, match="another kind of run"):
                train(faces, recipe=make_runs.tiny("baseline-cnn"), out=tmp_path / folder, settings=settings)
        with pytest.raises(UsageError, match="another kind of run"):
            train(faces, recipe=make_runs.tiny("default"), out=tmp_path / "one", settings=settings)
    assert list((tmp_path / "svm" / "bundle").iterdir()) == []


def test_members_tolerate_the_margins_that_each_of_them_does() -> None:
    def member(low: float, high: float) -> dict[str, object]:
        return {"recipe": {"mix": {"*": {"real": 1, "fake": 1, "scale": [low, high]}}}}

    alone = [_margins(Recipe.model_validate(one["recipe"])) for one in (member(0.8, 1.1), member(0.9, 1.3))]
    both = Recipe.model_validate({"members": [member(0.8, 1.1), member(0.9, 1.3)], "stages": []})
    assert _margins(both) == (alone[1][0], alone[0][1])
    with pytest.raises(ValidationError, match="wants stages, or members"):
        Recipe.model_validate({"stages": []})


def test_members_are_framed_as_the_stores_were(tmp_path: Path) -> None:
    clips = [make_stores.Clip([[1.0]], fake=bool(i % 2), group=str(i)) for i in range(4)]
    store = make_stores.store_of_clips(tmp_path / "s", clips, crop=CropSpec(size_px=32, margin_frac=0.8))
    member = {"mix": {"*": {"real": 1, "fake": 1, "scale": [0.8, 1.08]}}}
    inner = {"members": [{"recipe": member}], "stages": []}
    both = Recipe.model_validate({"members": [{"recipe": member}, {"recipe": inner}], "stages": []})
    alone = framed(Recipe.model_validate(member), [store])
    assert _margins(framed(both, [store])) == _margins(alone) == (0.54, 0.904)
    assert framed(both, [store]).members[1].recipe.members[0].recipe.crop_margin_frac == 0.8
    assert framed(both, []) == both


def test_pictures_that_came_as_they_were_are_shown_as_evaluate_shows_them(tmp_path: Path) -> None:
    one, other = (
        make_stores.store_of_pictures(tmp_path / name, [3.0, -3.0], [True, False], margin_frac=margin, picture=_ramp)
        for name, margin in (("one", -0.062), ("other", 0.4))
    )
    for store in (one, other):
        crop = framed(make_faces.recipe(), [store]).crop(32)
        table = FaceTable.from_store(store, np.full(len(store), "val"))
        shown = load([store], split=None, side="all").crop(1, 32)
        assert np.array_equal(crop_of(table, 1, crop), shown)
    assert framed(make_faces.recipe(), [one, other]) == make_faces.recipe()
    assert framed(make_faces.recipe(), [one, make_faces.table(n=8)]) == make_faces.recipe()


def _ramp(_number: int) -> npt.NDArray[np.uint8]:
    side = make_stores.PICTURE_PX
    return np.add.outer(np.arange(side), np.arange(side))[..., None].repeat(3, axis=2).astype(np.uint8)


def _picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_faces.face(np.random.default_rng(seed))).save(path)
    return path


def test_a_picture_that_cannot_be_read_is_named_with_the_way_on(tmp_path: Path) -> None:
    for i in range(20):
        _picture(tmp_path / "faces" / ("real", "fake")[i % 2] / f"{i // 2}.jpg", i)
    (tmp_path / "faces" / "real" / "page.jpg").write_text("<html>")
    with pytest.raises(DataError, match=r"page\.jpg cannot be read as a picture.*telltale prepare"):
        read_faces(tmp_path / "faces")


def test_one_of_what_is_learned_from_is_a_list_of_one() -> None:
    table = make_faces.table(n=8)
    assert as_list("faces.store") == ["faces.store"]
    assert as_list(Path("faces.store")) == [Path("faces.store")]
    assert as_list(table) == [table]
    assert as_list(("a.store", table)) == ["a.store", table]


def test_a_side_without_faces_cannot_be_measured() -> None:
    """As where a checkpoint is exported with figures for `test` and the split has no such side."""
    table, recipe = make_faces.table(n=8), make_faces.recipe()
    with pytest.raises(DataError, match=r"no face on the side that is to be measured: split .* `sides`"):
        build(table.on("test"), recipe, size_px=32)
    with pytest.raises(DataError, match="no face on side test"):
        build(table, recipe, size_px=32, side="test")
    on_side, taken = build(table, recipe, size_px=32, side="val"), build(table.on("val"), recipe, size_px=32)
    assert on_side.group.tolist() == taken.group.tolist()


def test_a_data_set_s_own_sides_are_kept(tmp_path: Path) -> None:
    lines = ["path,label,split"]
    sides = ["train"] * 12 + ["val"] * 4 + ["test"] * 4
    for i, side in enumerate(sides):
        path = _picture(tmp_path / "pictures" / f"{i}.png", i)
        lines.append(f"{path},{('real', 'fake')[i % 2]},{side}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    faces = read_faces(tmp_path / "list.csv")
    found = dict(zip((Path(name).stem for name in faces.image_id.tolist()), faces.side.tolist(), strict=True))
    assert found == {str(i): side for i, side in enumerate(sides)}


def test_a_table_of_something_else_says_what_it_lacks(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.jpg"], "label": ["real"]}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=r"no table of faces .*telltale prepare"):
        read_faces(tmp_path / "list.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_faces(tmp_path / "broken.parquet")


def test_pictures_mostly_smaller_than_the_recipe_learns_at_are_refused(tmp_path: Path) -> None:
    faces = make_faces.write_folder(tmp_path / "faces")  # of 96 px
    store = make_runs.store_of_faces(tmp_path / "store")  # of 48 px
    larger = make_faces.recipe(stages=[{"size_px": 97}])
    with pytest.raises(UsageError, match=r"faces are no larger than 96 px .*--set stages\.0\.size_px=96$"):
        check_sizes(larger, [faces], load_all([faces]))
    with pytest.raises(UsageError, match="store are no larger than 48 px"):
        check_sizes(make_faces.recipe(stages=[{"size_px": 64}]), [faces, store], load_all([faces, store]))
    check_sizes(make_faces.recipe(stages=[{"size_px": 48}]), [faces, store], load_all([faces, store]))


def test_a_copy_of_a_store_is_not_learned_from_twice(tmp_path: Path) -> None:
    store = make_runs.store_of_faces(tmp_path / "store")
    copy = shutil.copytree(store.path, tmp_path / "copy")
    with pytest.raises(UsageError, match=r"copy holds the same faces as .*store"):
        train([store, copy], recipe=make_runs.tiny("baseline-cnn"), out=tmp_path / "run", settings=make_runs.ALONE)
