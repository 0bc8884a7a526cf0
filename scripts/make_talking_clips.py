"""Make a small data set of videos out of portraits: heads that move and seem to talk, and two ways to forge them.

    python scripts/make_talking_clips.py ../shared/data/portraits OUT --people 45

OUT/real/NAME.mp4               a portrait, warped: the head turns and nods, the mouth opens, the eyes blink
OUT/fake/self_blended/NAME.mp4  another such clip of the same person, each frame blended with a changed copy of itself
OUT/fake/swapped/NAME.mp4       ... with the face of somebody else, who is in no other clip

`telltale prepare OUT` reads it as a data set in folders: the clips of one person bear one name and are one group. Real
and fake are warped, given grain and compressed in the same way; what differs is the forgery alone. It is enough to run
every step of training on sequences, and too little to tell anything about forgeries of talking people.

Portraits: members of the US Congress, public domain. The same seed gives the same frames.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from telltale.faces import DetectorConfig, FaceDetector, create, detect_still
from telltale.selfblend import self_blend
from telltale.types import Float32Array, Frame, RgbImage

WIDTH_PX, HEIGHT_PX = 288, 320
EYES_PX = 52.0
"""Distance between the eyes in the clips: faces are some 130 px high."""
FPS = 24
_ROOM_PX = 24
"""Around the still that frames are warped from, so that a head that moves uncovers no edge."""


@dataclass(frozen=True)
class Still:
    """A portrait at the size of the clips, with `_ROOM_PX` around."""

    name: str
    rgb: RgbImage
    points: Float32Array
    """(5, 2) px, as in `types.Face`."""


def stills(archive: Path, detector: FaceDetector, names: Sequence[str]) -> Iterator[Still]:
    """The portraits among `names` in which one face is found that need not be enlarged more than 1.5 times."""
    with zipfile.ZipFile(archive) as portraits:
        for name in names:
            coded = np.frombuffer(portraits.read(name), np.uint8)
            rgb = np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
            faces, _ = detect_still(detector, Frame(0, 0.0, rgb))
            if len(faces) != 1 or faces[0].points is None:
                continue
            points = faces[0].points.astype(np.float64)
            scale = EYES_PX / max(1.0, float(np.hypot(*(points[1] - points[0]))))
            if scale > 1.5:
                continue
            size = (WIDTH_PX + 2 * _ROOM_PX, HEIGHT_PX + 2 * _ROOM_PX)
            if scale < 0.75:
                new = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
                rgb = np.asarray(cv2.resize(rgb, new, interpolation=cv2.INTER_AREA), np.uint8)
                points, scale = points * scale, 1.0
            shift = np.array([size[0] / 2, size[1] * 0.48]) - scale * points.mean(axis=0)
            matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
            still = cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            yield Still(Path(name).stem, np.asarray(still, np.uint8), (scale * points + shift).astype(np.float32))


def talk(still: Still, *, n_frames: int, rng: np.random.Generator) -> Iterator[tuple[RgbImage, Float32Array]]:
    """Frames uint8 (HEIGHT_PX, WIDTH_PX, 3) and the five points in each."""
    t = np.arange(n_frames) / FPS
    turn_deg, x_px, y_px = (_wander(t, rng) * most for most in (4.0, 9.0, 6.0))
    size = np.exp(_wander(t, rng) * 0.03)
    mouth_px = EYES_PX * 0.16 * _syllables(t, rng)
    blink = _blinks(t, rng)
    light = 1 + 0.03 * _wander(t, rng)
    grain = float(rng.uniform(1.0, 2.5))
    u0, v0 = np.meshgrid(np.arange(WIDTH_PX, dtype=np.float32), np.arange(HEIGHT_PX, dtype=np.float32))
    middle = np.array([still.rgb.shape[1], still.rgb.shape[0]]) / 2
    for i in range(n_frames):
        centre = np.array([WIDTH_PX / 2 + x_px[i], HEIGHT_PX / 2 + y_px[i]])
        angle = np.deg2rad(turn_deg[i])
        turn = size[i] * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        back = np.linalg.inv(turn).astype(np.float32)
        du, dv = u0 - np.float32(centre[0]), v0 - np.float32(centre[1])
        u = back[0, 0] * du + back[0, 1] * dv + np.float32(middle[0])
        v = back[1, 0] * du + back[1, 1] * dv + np.float32(middle[1])
        v = _open_mouth(u, v, still.points, mouth_px[i])
        v = _close_eyes(u, v, still.points, blink[i])
        seen = cv2.remap(still.rgb, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        noise = rng.standard_normal(seen.shape, np.float32) * grain
        frame = np.clip(np.asarray(seen, np.float32) * light[i] + noise, 0, 255).astype(np.uint8)
        points = (still.points - middle) @ turn.T + centre
        points[3:, 1] += 0.3 * mouth_px[i]
        yield frame, points.astype(np.float32)


def _wander(t: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A slow course between -1 and 1."""
    rates, phases, shares = rng.uniform(0.15, 0.8, 3), rng.uniform(0, 2 * np.pi, 3), rng.dirichlet(np.ones(3))
    waves = shares * np.sin(2 * np.pi * rates * t[:, None] + phases)
    return np.asarray(waves.sum(axis=1), np.float64)


def _syllables(t: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How far the mouth is open, 0-1: some four syllables a second, with pauses."""
    rate, phase = rng.uniform(3.0, 5.0), rng.uniform(0, 2 * np.pi)
    open_ = 0.5 - 0.5 * np.cos(2 * np.pi * rate * t + phase + _wander(t, rng))
    return np.asarray(open_ * np.clip(0.7 + 0.6 * _wander(t, rng), 0, 1), np.float64)


def _blinks(t: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How far the eyes are closed, 0-1: a blink of a quarter of a second now and then."""
    at = np.cumsum(rng.uniform(0.8, 3.0, 8))
    return np.asarray(np.exp(-(((t[:, None] - at) / 0.07) ** 2)).max(axis=1), np.float64)


def _open_mouth(u: Float32Array, v: Float32Array, points: Float32Array, by_px: float) -> Float32Array:
    """What lies below the lips is taken from higher up, so that it appears lower: lips and chin move down."""
    x, y = points[3:].mean(axis=0)
    across = np.exp(-(((u - x) / (0.75 * EYES_PX)) ** 2))
    below = np.clip((v - y) / (0.12 * EYES_PX), 0, 1) * np.exp(-((np.maximum(v - y, 0) / (0.9 * EYES_PX)) ** 2))
    return np.asarray(v - np.float32(by_px) * across * below, np.float32)


def _close_eyes(u: Float32Array, v: Float32Array, points: Float32Array, share: float) -> Float32Array:
    """Around each eye the picture is pressed together from above and below."""
    out = v
    for x, y in points[:2].tolist():
        near = np.exp(-(((u - x) / (0.33 * EYES_PX)) ** 2) - ((v - y) / (0.2 * EYES_PX)) ** 2)
        out = out + np.float32(1.6 * share) * near * (v - y)
    return np.asarray(out, np.float32)


def forge(
    frames: Iterator[tuple[RgbImage, Float32Array]], *, donor: Still | None, seed: Sequence[int]
) -> Iterator[RgbImage]:
    """Each frame blended: one forger, one mask and one colour for the whole clip, trembling as landmarks do."""
    tremble = np.random.default_rng([*seed, 1])
    for rgb, points in frames:
        found = (points + tremble.normal(0, 0.4, points.shape)).astype(np.float32)
        low, high = points.min(axis=0), points.max(axis=0)
        box = np.concatenate([low - 0.6 * EYES_PX, high + 0.6 * EYES_PX])
        yield self_blend(
            rgb,
            rng=np.random.default_rng(seed),
            box_xyxy=box,
            points=found,
            donor=None if donor is None else donor.rgb,
            donor_points=None if donor is None else donor.points,
        ).rgb


def write(path: Path, frames: Iterator[RgbImage], *, crf: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        options = {"preset": "veryfast", "crf": str(crf), "threads": "1"}
        stream = out.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for i, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _names(archive: Path, rng: np.random.Generator) -> list[str]:
    with zipfile.ZipFile(archive) as portraits:
        return [str(name) for name in rng.permutation(sorted(n for n in portraits.namelist() if n.endswith(".jpg")))]


def make(portraits: Path, out: Path, *, n_people: int, seconds: float, seed: int) -> list[Path]:
    """Two clips a person, one real and one fake, by turns self-blended and swapped."""
    rng = np.random.default_rng(seed)
    detector = create("mtcnn", config=DetectorConfig(n_threads=1))
    targets, donors = portraits / "us_congress.zip", portraits / "us_congress_small.zip"
    people = stills(targets, detector, _names(targets, rng))
    others = stills(donors, detector, _names(donors, rng))
    n_frames, written = round(seconds * FPS), []
    for number, still in zip(range(n_people), people, strict=False):
        swapped = number % 2 == 1
        donor = next(others) if swapped else None
        crf = rng.integers(18, 28, 2).tolist()
        path = out / "real" / f"{still.name}.mp4"
        real = talk(still, n_frames=n_frames, rng=np.random.default_rng([seed, number, 0]))
        write(path, (rgb for rgb, _ in real), crf=crf[0])
        acted = talk(still, n_frames=n_frames, rng=np.random.default_rng([seed, number, 1]))
        fake = out / "fake" / ("swapped" if swapped else "self_blended") / f"{still.name}.mp4"
        write(fake, forge(acted, donor=donor, seed=[seed, number, 2]), crf=crf[1])
        written += [path, fake]
    return written


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("portraits", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--people", type=int, default=45)
    arguments.add_argument("--seconds", type=float, default=2.5)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    written = make(given.portraits, given.out, n_people=given.people, seconds=given.seconds, seed=given.seed)
    print(f"{len(written)} clips of {given.seconds:g} s in {given.out}")


if __name__ == "__main__":
    main()
