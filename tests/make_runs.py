"""Every shipped recipe, made small enough to train in a second or two. Needs torch."""

from __future__ import annotations

from pathlib import Path

import make_faces
import make_stores
from telltale.bundle import Bundle
from telltale.crops import CropSpec
from telltale.recipe import Recipe, load_recipe
from telltale.store import Store
from telltale.train import FaceTable, TrainSettings, train

ALONE = TrainSettings(weights="none", workers=0, n_threads=1)
"""Begins from nothing, in one process and one thread."""
CROP = CropSpec(size_px=32, margin_frac=0.2, down_frac=0.0)
PICTURES = {
    "baseline-cnn": [],
    "default": [],
    "efficientnet-b4-sbi": ["model.options.backbone=test_efficientnet"],
    "mobilenetv2": [],
    "vgg16": [],
    "vit-layernorm": ["model.options.backbone=test_vit"],
    "xception": [],
}
SEQUENCES = {
    "cnn-lstm": ["model.options.n_frames=3", "model.options.units=8"],
    "inceptionv3-gru": ["model.options.n_frames=3", "model.options.backbone=mobilenetv2_035"],
}
PIXELS = {
    "logistic": [],
    "random-forest": ["model.options.n_trees=6"],
    "svm": [],
}
RECIPES = sorted({**PICTURES, **SEQUENCES, **PIXELS})


def tiny(name: str, *more: str) -> Recipe:
    """The recipe on 32 px, two epochs in all, a step each, a few faces a batch; of an ensemble every member."""
    if name in PIXELS:
        return load_recipe(name, overrides=["model.options.size_px=8", *PIXELS[name], *more])
    recipe = load_recipe(name)
    small = _small(recipe, name)
    for number, member in enumerate(recipe.members):
        small += [f"members.{number}.recipe.{setting}" for setting in _small(member.recipe, name)]
    return load_recipe(name, overrides=[*small, *{**PICTURES, **SEQUENCES}[name], *more])


def _small(recipe: Recipe, name: str) -> list[str]:
    epochs = 2 if len(recipe.stages) == 1 else 1
    tiny = {"epochs": epochs, "steps_per_epoch": 1, "size_px": 32, "warmup_steps": 0, "mix": {}}
    tiny |= {"prune_to": 1, "teacher": "null"}
    stages = [f"stages.{i}.{key}={value}" for i in range(len(recipe.stages)) for key, value in tiny.items()]
    mix = "mix={'*': {real: 2, blend: 2}}" if name == "efficientnet-b4-sbi" else "mix={'*': {real: 2, fake: 2}}"
    return [mix, *stages, "precision=32-true"]


def store_of_sequences(folder: Path, *, n_faces: int = 5, size_px: int = 32) -> Store:
    """24 clips of one person, half of them fake, split by group."""
    clips = [
        make_stores.Clip([[6.0 if i % 2 else -6.0] * n_faces], fake=bool(i % 2), group=str(i // 2)) for i in range(24)
    ]  # fmt: skip
    crop = CropSpec(size_px=size_px, margin_frac=CROP.margin_frac, down_frac=CROP.down_frac)
    store = make_stores.store_of_clips(folder, clips, crop=crop)
    make_stores.split(store)
    return store


def store_of_faces(folder: Path) -> Store:
    """60 pictures, two a group, split by group."""
    logits, fakes = [3.0, -3.0, 2.0, -2.0] * 15, [True, False] * 30
    store = make_stores.store_of_pictures(folder, logits, fakes, groups=[str(i // 2) for i in range(60)])
    make_stores.split(store)
    return store


def run(name: str, out: Path, *more: str) -> Bundle:
    """Train the tiny recipe `name` on made faces; OUT/bundle is the bundle."""
    faces: list[str | Path | Store | FaceTable] = [make_faces.table(n=24)]
    if name in SEQUENCES:
        faces = [store_of_sequences(out.with_name(out.name + "-faces"))]
    elif name in PIXELS:
        faces = [store_of_faces(out.with_name(out.name + "-faces"))]
    return train(faces, recipe=tiny(name, *more), out=out, settings=ALONE)
