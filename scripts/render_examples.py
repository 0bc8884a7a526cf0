"""Render the clips in `examples/`: a printed photograph on a brick wall, filmed as if with a phone.

    python scripts/render_examples.py            # writes examples/*.mp4; needs pip install -e '.[dev]'

astronaut.mp4              the portrait of Eileen Collins (NASA, public domain; `skimage.data.astronaut`), untouched
astronaut_selfblended.mp4  the same film, with the face of the photograph blended onto a changed copy of itself
no_face.mp4                the same film, with a photograph of a cup of coffee (`skimage.data.coffee`, CC0)

Wall: `skimage.data.brick` (CC0). Seeds are fixed; what an encoder makes of the same frames depends on its version.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from skimage import data

from telltale.faces import DetectorConfig, create
from telltale.selfblend import self_blend
from telltale.types import Face, Float64Array, Frame, RgbImage

WIDTH_PX, HEIGHT_PX = 1280, 720
FPS = 30
N_FRAMES = 150
CRF = 27
WORLD_PX = (1560, 940)
"""(width, height) of what the phone is held before."""
BLEND_SEED = 35
"""Chosen by eye from those that leave the rest of the photograph as it was: a softer face of another tone."""
FILM_SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the example clips.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "examples")
    out: Path = parser.parse_args().out
    out.mkdir(exist_ok=True)
    portrait = cast(RgbImage, data.astronaut())  # type: ignore[no-untyped-call]
    coffee = cast(RgbImage, data.coffee())  # type: ignore[no-untyped-call]
    for name, picture in (
        ("astronaut", portrait),
        ("astronaut_selfblended", blend_face(portrait)),
        ("no_face", coffee),
    ):
        path = out / f"{name}.mp4"
        encode(path, film(hang(picture)))
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def blend_face(portrait: RgbImage) -> RgbImage:
    """The portrait with its face self-blended (Shiohara & Yamasaki, CVPR 2022)."""
    face = find_face(portrait)
    rng = np.random.default_rng(BLEND_SEED)
    return self_blend(portrait, rng=rng, box_xyxy=face.box_xyxy, points=face.points).rgb


def find_face(picture: RgbImage) -> Face:
    (faces,) = create("mtcnn", config=DetectorConfig()).detect([Frame(index=0, pts_s=0.0, rgb=picture)])
    return faces[0]


def hang(picture: RgbImage) -> RgbImage:
    """The picture as a print with a white border and a soft shadow, on a brick wall."""
    width, height = WORLD_PX
    texture = cast(RgbImage, data.brick())  # type: ignore[no-untyped-call]
    brick = np.rot90(cv2.resize(texture, (800, 800), interpolation=cv2.INTER_AREA))
    # Mirrored, so that no joint of the texture shows.
    row = np.hstack([brick, brick[:, ::-1]])
    wall = np.vstack([row, row[::-1]])[:height, :width].astype(np.float32)
    world = wall[..., None] * np.array([0.80, 0.70, 0.62], np.float32)
    scale = 660 / picture.shape[0] if picture.shape[0] > 450 else 620 / picture.shape[0]
    side = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    printed = cv2.copyMakeBorder(
        cv2.resize(picture, side, interpolation=cv2.INTER_CUBIC), *(16,) * 4, cv2.BORDER_CONSTANT, value=(236, 233, 226)
    )
    top, left = (height - printed.shape[0]) // 2, (width - printed.shape[1]) // 2 + 60
    shadow = np.zeros((height, width), np.float32)
    shadow[top + 10 : top + 14 + printed.shape[0], left + 8 : left + 14 + printed.shape[1]] = 0.55
    world *= 1 - cv2.GaussianBlur(shadow, (0, 0), 9)[..., None]
    world[top : top + printed.shape[0], left : left + printed.shape[1]] = printed
    return world.clip(0, 255).astype(np.uint8)


def film(world: RgbImage) -> Iterator[RgbImage]:
    """A hand that sways, an exposure that drifts, a lens that darkens corners, a sensor that is noisy."""
    rng = np.random.default_rng(FILM_SEED)
    sway = {name: wander(rng, reach) for name, reach in (("x", 26.0), ("y", 17.0), ("turn", 1.3), ("zoom", 0.02))}
    exposure = 1 + wander(rng, 0.07)
    y, x = np.mgrid[-1 : 1 : HEIGHT_PX * 1j, -1 : 1 : WIDTH_PX * 1j]
    lens = (1 - 0.16 * (x**2 + y**2) / 2).astype(np.float32)[..., None]
    for i in range(N_FRAMES):
        matrix = cv2.getRotationMatrix2D(
            (WORLD_PX[0] / 2, WORLD_PX[1] / 2), float(sway["turn"][i]), 1 + float(sway["zoom"][i])
        )
        matrix[:, 2] += (WIDTH_PX - WORLD_PX[0]) / 2 + sway["x"][i], (HEIGHT_PX - WORLD_PX[1]) / 2 + sway["y"][i]
        seen = cv2.warpAffine(world, matrix, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_LINEAR)
        lit = seen.astype(np.float32) * lens * exposure[i]
        noisy = lit + rng.normal(0, 2.2, (HEIGHT_PX, WIDTH_PX, 1)) + rng.normal(0, 1.2, (HEIGHT_PX, WIDTH_PX, 3))
        yield noisy.clip(0, 255).astype(np.uint8)


def wander(rng: np.random.Generator, reach: float) -> Float64Array:
    """(N_FRAMES,) a smooth wandering within about +-reach: slow sway, and a little tremor."""
    t = np.arange(N_FRAMES) / FPS
    parts = [(0.13, 0.55), (0.37, 0.3), (0.9, 0.11), (2.3, 0.04)]
    path = sum(share * np.sin(2 * np.pi * (rate * t + rng.random())) for rate, share in parts)
    return np.asarray(reach * path, np.float64)


def encode(path: Path, frames: Iterator[RgbImage]) -> None:
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        # One thread: the same bytes on every machine with this version of x264.
        stream.options = {"crf": str(CRF), "preset": "slow", "threads": "1"}
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
