"""Faces simple enough to draw and to tell apart: an oval with eyes and mouth; the fake ones have a block pasted on.

Nobody is shown; what is tested with them is machinery, not skill.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from telltale.recipe import Recipe
from telltale.train import FaceTable
from telltale.types import RgbImage

POINTS = np.array([[36, 40], [60, 40], [48, 54], [38, 68], [58, 68]], np.float32)
BOX = (16.0, 8.0, 80.0, 88.0)
SIZE_PX = 96


def face(rng: np.random.Generator, *, fake: bool = False) -> RgbImage:
    """uint8 (96, 96, 3)."""
    picture = np.full((SIZE_PX, SIZE_PX, 3), rng.integers(0, 255, 3), np.uint8)
    skin = [int(v) for v in rng.integers(90, 220, 3)]
    cv2.ellipse(picture, (48, 48), (32, 40), 0, 0, 360, skin, -1)
    for x, y in POINTS[:2].astype(int).tolist():
        cv2.circle(picture, (x, y), 4, (20, 20, 20), -1)
    cv2.line(picture, (38, 68), (58, 68), (90, 20, 20), 3)
    noise = rng.normal(0, 6, picture.shape)
    picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if fake:
        picture[44:60, 30:66] = 255 - picture[44:60, 30:66]
    return picture


def coded(picture: RgbImage) -> bytes:
    ok, png = cv2.imencode(".png", picture[..., ::-1])
    assert ok
    return png.tobytes()


def table(*, n: int = 64, dataset: str = "made", seed: int = 0, points: bool = True, fakes: bool = True) -> FaceTable:
    """`n` faces, half of them fake; every fourth group validates."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        fake = fakes and bool(i % 2)
        group = f"{dataset}:{i // 2}"
        rows.append(
            {
                "dataset": dataset,
                "image_id": f"face{i}",
                "label": fake,
                "group_id": group,
                "side": "val" if (i // 2) % 4 == 0 else "train",
                "box_xyxy": BOX,
                "points": POINTS if points else None,
                "image": coded(face(rng, fake=fake)),
            }
        )
    return FaceTable.from_rows(rows)


def recipe(**changes: Any) -> Recipe:
    """Two epochs of three steps on 32 px, fit for `table()`."""
    stage = {"size_px": 32, "epochs": 2, "steps_per_epoch": 3, "lr": 1e-3, "warmup_steps": 2}
    data: dict[str, Any] = {
        "mix": {"*": {"real": 4, "fake": 4, "blend": 2}},
        "stages": [stage],
        "ema_decay": 0.5,
        "precision": "32-true",
    }
    return Recipe.model_validate(data | changes)


def write_folder(root: Path, *, n: int = 40) -> Path:
    """The same faces laid out as `deepfake-faces`."""
    rng = np.random.default_rng(1)
    (root / "faces_224").mkdir(parents=True)
    lines = ["videoname,original_width,original_height,label,original"]
    for i in range(n):
        fake = bool(i % 2)
        (root / "faces_224" / f"v{i}.jpg").write_bytes(coded(face(rng, fake=fake)))
        lines.append(f"v{i}.mp4,96,96,{'FAKE' if fake else 'REAL'},{f'v{i - 1}.mp4' if fake else ''}")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root
