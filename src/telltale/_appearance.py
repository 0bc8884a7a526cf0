"""What a person and a shot look like, in a few numbers: colours and a coarse picture, cheap enough for every face.

>>> picture = np.zeros((90, 160, 3), np.uint8); picture[:, 80:] = 200, 30, 30
>>> left, right = np.array([10, 10, 40, 50], np.float32), np.array([110, 10, 140, 50], np.float32)
>>> strangeness(look_of(picture, left), look_of(picture, left)) < 0.01
True
>>> strangeness(look_of(picture, left), look_of(picture, right)) > 0.99
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from telltale.types import Float32Array, Float64Array, RgbImage

SAMPLED = 20
"""Points across and down in which a face and what is worn below it are looked at."""

_COLOURS = 96

ALIKE_COLOURS = 0.95
ALIKE_GREYS = 0.7
"""What two appearances must reach to be taken for one person's (docs/decisions.md)."""

SEEN_AT_LEAST = 3
"""Faces of an appearance before it is compared: the mean of fewer is chance."""

MOST_COMPARED = 400
"""Appearances that are compared: among more, one person more or less makes no difference."""


@dataclass(frozen=True, slots=True)
class Look:
    """One face, or several blended."""

    colours: Float32Array
    """(2 * 96,), of the face and of what is worn below it; of length 1, compare by dot product: 0-1."""
    greys: Float32Array
    """(SAMPLED ** 2,), the face's brightness from corner to corner; mean 0, length 1, compare by dot product: -1-1."""


@dataclass(slots=True)
class Appearance:
    """All looks of a track, from its first face to its last."""

    first_s: float
    last_s: float
    n: int = 0
    colours: Float64Array = field(default_factory=lambda: np.zeros(2 * _COLOURS))
    """Sum of the shares of each colour."""
    greys: Float64Array = field(default_factory=lambda: np.zeros(SAMPLED**2))
    """Sum."""

    def add(self, look: Look, pts_s: float) -> None:
        """One face more, the last so far."""
        self.last_s = pts_s
        self.n += 1
        self.colours += np.square(look.colours)
        self.greys += look.greys


def look_of(rgb: RgbImage, box_xyxy: Float32Array) -> Look:
    """Of a face and of what is worn below it."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = (float(v) for v in box_xyxy)
    w, h = x1 - x0, y1 - y0
    parts = []
    for left, top, right, bottom in ((x0, y0, x1, y1), (x0 - 0.4 * w, y1 + 0.1 * h, x1 + 0.4 * w, y1 + h)):
        columns = np.clip(np.linspace(left, right, SAMPLED).astype(np.int64), 0, width - 1)
        rows = np.clip(np.linspace(top, bottom, SAMPLED).astype(np.int64), 0, height - 1)
        parts.append(rgb[rows[:, None], columns])
    colours: Float32Array = np.sqrt(np.concatenate([_histogram(part) for part in parts]) / len(parts))
    return Look(colours, _unit(parts[0].reshape(-1, 3).astype(np.float32).mean(axis=1)))


def strangeness(look: Look, other: Look) -> float:
    """Of the colours: 0 alike, 1 nothing in common."""
    return 1.0 - float(look.colours @ other.colours)


def resemblance(look: Look, other: Look) -> float:
    """Of the faces' light and shade: 1 the same picture, 0 nothing in common."""
    return float(look.greys @ other.greys)


def blend(before: Look, now: Look) -> Look:
    """Colours change slowly; light and shade are those of `now`, since a head turns."""
    mixed = np.float32(0.7) * before.colours + np.float32(0.3) * now.colours
    return Look(mixed / np.sqrt(mixed @ mixed), now.greys)


def same_person(appearances: Sequence[Appearance]) -> list[int]:
    """For each, in the order they begin, the index of the first that is taken for the same person; its own if none is.

    Who is seen at the same time is never the same, and in doubt nobody is: colours of the face, colours of the clothes
    and the face itself must all be alike.
    """
    first = list(range(len(appearances)))
    people: list[tuple[int, Appearance]] = []
    compared = [i for i in first if appearances[i].n >= SEEN_AT_LEAST][:MOST_COMPARED]
    for i in compared:
        one = appearances[i]
        similar = [(_likeness(person, one), j) for j, (_, person) in enumerate(people) if person.last_s < one.first_s]
        likeness, j = max(similar, key=lambda pair: pair[0], default=(-1.0, -1))
        if likeness < ALIKE_GREYS:
            people.append((i, one))
            continue
        first[i], person = people[j]
        # Several appearances show a person from more sides than one of them.
        both = Appearance(person.first_s, one.last_s, person.n + one.n, person.colours + one.colours)
        both.greys = person.greys + one.greys
        people[j] = first[i], both
    return first


def _likeness(one: Appearance, other: Appearance) -> float:
    """As `resemblance`; -1 where the colours of face or clothes are not alike."""
    shared = np.sqrt(one.colours * other.colours).reshape(2, _COLOURS).sum(axis=1) * 2.0
    if (shared < ALIKE_COLOURS * np.sqrt(one.n * other.n)).any():
        return -1.0
    lengths = np.sqrt((one.greys @ one.greys) * (other.greys @ other.greys))
    return float(one.greys @ other.greys / lengths) if lengths else -1.0


def scene_of(rgb: RgbImage) -> Float32Array:
    """Colours of a whole frame in its four quarters, float32 (4 * 96,) of sum 1: compare by the sum of the minima."""
    step_y, step_x = max(1, rgb.shape[0] // 64), max(1, rgb.shape[1] // 64)
    small = np.ascontiguousarray(rgb[::step_y, ::step_x])
    middle_y, middle_x = (small.shape[0] + 1) // 2, (small.shape[1] + 1) // 2
    quarters = [
        small[rows, columns]
        for rows in (slice(None, middle_y), slice(small.shape[0] // 2, None))
        for columns in (slice(None, middle_x), slice(small.shape[1] // 2, None))
    ]
    scene: Float32Array = np.concatenate([_histogram(quarter) for quarter in quarters])
    return scene / np.float32(len(quarters))


def _histogram(rgb: npt.NDArray[np.uint8]) -> Float32Array:
    """Float32 (96,) of sum 1: 8 hues x 4 saturations x 3 values; the hue of grey and of black counts for nothing."""
    import cv2

    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).reshape(-1, 3).astype(np.int64)
    saturation, value = hsv[:, 1] // 64, hsv[:, 2] // 86
    hue = np.where((saturation == 0) | (value == 0), 0, hsv[:, 0] * 8 // 180)
    counts = np.bincount((hue * 4 + saturation) * 3 + value, minlength=_COLOURS)
    histogram: Float32Array = (counts / counts.sum()).astype(np.float32)
    return histogram


def _unit(values: Float32Array) -> Float32Array:
    """Moved to mean 0 and scaled to length 1; 0 where all are the same."""
    values = values - values.mean()
    length = np.sqrt(values @ values)
    unit: Float32Array = values / length if length > 0.0 else values
    return unit
