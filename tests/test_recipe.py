from __future__ import annotations

from pathlib import Path

import pytest

from telltale.augment import NONE
from telltale.errors import UnknownName, UsageError
from telltale.recipe import Recipe, load_recipe, names, override


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name: str) -> None:
    assert load_recipe(name).description


@pytest.mark.parametrize("name", names())
def test_a_model_is_named_after_its_recipe(name: str) -> None:
    assert load_recipe(name).card.name == name


def test_an_override_reaches_into_members_stages_and_mix() -> None:
    overrides = ["members.0.recipe.stages.1.lr=1e-4", "mix.dfdc.blend=5", "ema_decay=0"]
    recipe = load_recipe("default", overrides=overrides)
    assert recipe.members[0].recipe.stages[1].lr == pytest.approx(1e-4)
    assert recipe.mix["dfdc"].blend == 5
    assert recipe.ema_decay == 0


def test_a_new_source_can_be_added_to_the_mix() -> None:
    recipe = override(Recipe(), ["mix.mine={real: 3, fake: 3}"])
    assert recipe.mix_for("mine").real == 3
    assert recipe.mix_for("other").real == 16


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("see=1", "seed"),
        ("stages.0.learnrate=1", "recipe has no stages.0.learnrate"),
        ("stages.0.epoch=2", "epochs"),
        ("augmentation.blurp=1", "blur_p"),
        ("teacher.bundel=x", "teacher.bundle"),
        ("stages.0.patence=3", "patience"),
    ],
)
def test_an_unknown_key_names_the_nearest(setting: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        override(Recipe(), [setting])


@pytest.mark.parametrize("setting", ["seed", "stages.3.lr=1", "seed=many", "ema_decay=2", "stages.0.lr=1e-6"])
def test_an_override_that_makes_no_sense_is_refused(setting: str) -> None:
    with pytest.raises(UsageError):
        override(Recipe(), [setting])


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean default"):
        load_recipe("defualt")


def test_a_file_with_an_unknown_key_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("label_smothing: 0.1\n")
    with pytest.raises(UsageError, match="did you mean label_smoothing"):
        load_recipe(path)


def test_a_missing_or_broken_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe file"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,\n")
    with pytest.raises(UsageError, match="no YAML"):
        load_recipe(tmp_path / "bad.yaml")


def test_a_file_nested_too_deep_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("[" * 20_000)
    with pytest.raises(UsageError, match=r"deep\.yaml is no YAML: maximum recursion depth exceeded.*; close what is"):
        load_recipe(tmp_path / "deep.yaml")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("mix.*={real: 8, fake: 8", r"--set mix\.\*={real: 8, fake: 8 is no YAML: expected ',' or '}'"),
        ("card.name=@x", "--set card.name=@x is no YAML"),
        ("card.name=2024-13-01", "--set card.name=2024-13-01 is no YAML: month must be in 1"),
        ("augmentation.flip_p=7", "augmentation: flip_p must be a chance from 0 to 1, got 7"),
        ("augmentation.jpeg_quality=[96,28]", "augmentation: jpeg_quality must be from 1 to 100, lower end first"),
        ("augmentation.scale=[0,1]", "augmentation: scale must be from"),
        ("augmentation={rotaton_deg: 3}", "did you mean rotation_deg"),
        ("mix.*.scale=[1.3,0.8]", "scale must be from"),
        ("model.options.n_frames=ten", "n_frames must be a whole number from 1 on, got 'ten'"),
    ],
)
def test_a_slip_in_a_value_is_named_before_anything_begins(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as told:
        override(Recipe(), [setting])
    assert "\n" not in told.value.message


def test_a_file_that_is_no_utf_8_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("description: café\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.yaml is no UTF-8 text \(byte 16\)"):
        load_recipe(tmp_path / "latin.yaml")


def test_a_source_s_own_scale_replaces_the_common_one() -> None:
    recipe = override(Recipe(), ["mix.tight={real: 1, fake: 1, scale: [0.9, 1.0]}"])
    assert recipe.augmentation_for("tight").scale == (0.9, 1.0)
    assert recipe.augmentation_for("other").scale == recipe.augmentation.scale
    assert override(recipe, ["augment=false"]).augmentation_for("tight") == NONE
