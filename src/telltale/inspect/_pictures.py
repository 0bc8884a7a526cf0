"""The same pictures twice: as PNG and GIF files for slides and papers, and as small JPEGs for the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from telltale import plots
from telltale._text import clock, plural, visible
from telltale.crops import CropSpec, box_of, crop_face, square_of
from telltale.inspect._facts import Inspection, class_name
from telltale.inspect._findings import is_telling
from telltale.inspect._gather import Sight, Values
from telltale.inspect._seen import Seen, SeenFace
from telltale.plots import Class, Tile
from telltale.recipe import Recipe
from telltale.types import RgbImage

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

_CLASSES = ("Real", "Fake")
N_FACES = 25
"""5 x 5"""
N_FRAMES = 12
N_AUGMENTED = 9
_GIF_HEIGHT_PX = 200
_GIF_MS = 655_350
"""The longest that a GIF can show a picture: 16 bits of hundredths of a second."""
_FACE = CropSpec(size_px=160, margin_frac=0.15, down_frac=0.05)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on the page."""

    rgb: RgbImage
    label: Class
    name: str
    caption: str
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """x, y, width, height in px of `rgb`."""

    @property
    def uri(self) -> str:
        return data_uri("jpeg", jpeg(self.rgb))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px"""
        return self.rgb.shape[1], self.rgb.shape[0]


def faces(facts: Inspection, sight: Sight) -> dict[str, list[Shown]]:
    """The largest face of each video, or the whole picture where it is a face crop or none was found: one grid, or,
    where there are no frames to show beside it, one of each class."""
    seen = [one for one in sight.sample if one.frames]
    if _has_frames(facts):
        return {"Faces": _faces(seen[:N_FACES])}
    grids = {name: _faces([one for one in seen if one.record.label == label]) for label, name in enumerate(_CLASSES)}
    return {f"{name} faces": shown[:N_FACES] for name, shown in grids.items() if shown}


def _faces(seen: Iterable[Seen]) -> list[Shown]:
    return [
        _shown(one.frames[0].rgb if one.face is None else _face(one.face), one, "" if one.face else "no face found")
        for one in seen
    ]


def _has_frames(facts: Inspection) -> bool:
    return facts.kind == "data set" and facts.unit == "videos"


def frames(facts: Inspection, sight: Sight) -> list[Shown]:
    """The first frame of each video, faces framed."""
    if not _has_frames(facts):
        return []
    return [
        _shown(first.rgb, seen, plural(len(first.boxes_xyxy), "face"), _as_sizes(first.boxes_xyxy))
        for seen in sight.sample[:N_FRAMES]
        for first in seen.frames[:1]
    ]


def family(members: Sequence[Seen]) -> list[Shown]:
    """An original and its fakes: their faces, where they have one."""
    return [_shown(seen.frames[0].rgb if seen.face is None else _face(seen.face), seen, "") for seen in members]


def _shown(rgb: RgbImage, seen: Seen, caption: str, boxes: tuple[tuple[float, float, float, float], ...] = ()) -> Shown:
    record = seen.record
    method = "" if class_name(record) in ("real", "fake") else visible(class_name(record))
    words = ", ".join(part for part in (method, caption) if part)
    return Shown(rgb, "fake" if record.label else "real", visible(record.name), words, boxes)


def _as_sizes(boxes: np.ndarray) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes.astype(float).round(1).tolist())


def _face(face: SeenFace) -> RgbImage:
    """The face with a little around it; the whole picture where there is no more than that."""
    return face.rgb if _fills(face) else crop_face(face.rgb, face.box_xyxy, None, _FACE)


def _fills(face: SeenFace) -> bool:
    """Whether there is little around the face."""
    longer = float((face.box_xyxy[2:] - face.box_xyxy[:2]).max())
    return bool(longer / min(face.rgb.shape[:2]) > 1 / (1 + 2 * _FACE.margin_frac))


# --- augmentation ---


@dataclass(frozen=True, slots=True)
class Augmented:
    recipe: str
    size_px: int
    before: list[RgbImage]
    after: list[RgbImage]


def augment(sight: Sight, recipe: Recipe, *, name: str, seed: int) -> Augmented | None:
    """Faces as a model would get them without and with the recipe's augmentation; None without any face."""
    from telltale.augment import NONE, augment_clip

    size_px = recipe.stages[0].size_px
    crop = recipe.crop(size_px)
    before: list[RgbImage] = []
    after: list[RgbImage] = []
    for number, seen in enumerate([seen for seen in sight.sample if seen.face is not None][:N_AUGMENTED]):
        face = seen.face
        if face is None:
            continue
        height, width = face.rgb.shape[:2]
        # A picture that is all face is a crop already, and training takes it so.
        box = box_of(width, height, crop) if _fills(face) else face.box_xyxy
        centre, side_px = square_of(box, crop)
        for spec, results in ((NONE, before), (recipe.augmentation_for(seen.record.dataset), after)):
            rng = np.random.default_rng([seed, 1, number])
            clip = augment_clip(face.rgb[None], centre_xy=centre, side_px=side_px, size_px=size_px, rng=rng, spec=spec)
            results.append(clip[0])
    return Augmented(name, size_px, before, after) if before else None


# --- files ---


def picture_files(facts: Inspection, sight: Sight, augmented: Augmented | None) -> dict[str, bytes]:
    """File name -> PNG of a grid, or GIF."""
    files = {name: plots.to_png(figure) for name, figure in _grids(facts, sight)}
    if augmented is not None:
        title, note = f"Augmentation of recipe {augmented.recipe}", f"{augmented.size_px} px"
        figure = plots.before_after(augmented.before, augmented.after, title=title, note=note)
        files["augmentation.png"] = plots.to_png(figure)
    for seen in sight.moving:
        if len(seen.frames) > 1:
            files[f"clip_{'fake' if seen.record.label else 'real'}.gif"] = gif(seen)
    return files


def _grids(facts: Inspection, sight: Sight) -> Iterator[tuple[str, Figure]]:
    note = f"drawn at random from {facts.n_real + facts.n_fake:,} {facts.unit}"
    for title, shown in faces(facts, sight).items():
        if tiles := _tiles(shown):
            yield f"{title.lower().replace(' ', '_')}.png", plots.picture_grid(tiles, title=title, note=note)
    if tiles := _tiles(frames(facts, sight)):
        yield "first_frames.png", plots.picture_grid(tiles, n_columns=3, tile_in=2.1, title="First frames", note=note)
    for number, members in enumerate(sight.families, start=1):
        title = f"One original and {plural(n := len(members) - 1, 'fake')} of it"
        if facts.originals_are == "group":
            title = f"A real one and {plural(n, 'fake')} of its group"
        yield f"original_{number}.png", plots.picture_grid(_tiles(family(members)), n_columns=7, title=title)


def _tiles(shown: Iterable[Shown]) -> list[Tile]:
    return [_tile(one) for one in shown]


def _tile(shown: Shown) -> Tile:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in shown.boxes], np.float32).reshape(-1, 4)
    return Tile(shown.rgb, shown.label, shown.caption, shown.name.rsplit("/", 1)[-1], boxes)


def chart_files(facts: Inspection, values: Iterable[Values]) -> dict[str, bytes]:
    """The charts that the page shows as pictures."""
    files = {}
    if facts.counts:
        figure = plots.class_counts({"all": facts.counts}, unit=facts.unit, title=f"All {facts.unit}")
        files["counts.png"] = plots.to_png(figure)
    for name, split in facts.splits.items():
        if split.counts:
            files[f"counts_{name}.png"] = plots.to_png(
                plots.class_counts(split.counts, unit=facts.unit, title=f"Split {name}")
            )
    telling = {measure.quantity for measure in facts.measures if is_telling(measure)}
    for one in values:
        if len({*one.real, *one.fake}) < 2 or not (one.is_always_drawn or one.quantity in telling):
            continue
        columns = {name: column for name, column in (("real", one.real), ("fake", one.fake)) if column}
        figure = plots.distribution(columns, quantity=one.quantity, unit=one.unit, logarithmic=one.is_logarithmic)
        files[chart_name(one.quantity)] = plots.to_png(figure)
    return files


def chart_name(quantity: str) -> str:
    return f"{quantity.lower().replace(' ', '_')}.png"


def gif(seen: Seen) -> bytes:
    """The frames that were looked at, as fast as they were sampled, over and over."""
    import PIL.Image

    pictures = [_at_height(PIL.Image.fromarray(frame.rgb), _GIF_HEIGHT_PX) for frame in seen.frames]
    times = [frame.pts_s for frame in seen.frames]
    steps = np.diff(times)
    # Equal pictures in a row are written as one, as long as all of them: together they must fit.
    longest_ms = _GIF_MS // len(pictures) // 10 * 10
    shown_ms = [min(int(round(1000 * step, -1)), longest_ms) for step in (*steps, float(np.median(steps)))]
    out = io.BytesIO()
    pictures[0].save(
        out, format="GIF", save_all=True, append_images=pictures[1:], duration=[max(20, ms) for ms in shown_ms], loop=0
    )
    return out.getvalue()


def _at_height(image: Image, height_px: int) -> Image:
    if image.height <= height_px:
        return image
    return image.resize((max(1, round(image.width * height_px / image.height)), height_px))


def moving_words(seen: Seen) -> str:
    """What a GIF shows."""
    label = "fake" if seen.record.label else "real"
    span = f"{clock(seen.frames[0].pts_s)} to {clock(seen.frames[-1].pts_s)}"
    return f"{label}: {visible(seen.record.name)}, {len(seen.frames)} frames from {span}"


def jpeg(rgb: RgbImage, quality: int = 85) -> bytes:
    import PIL.Image

    out = io.BytesIO()
    PIL.Image.fromarray(rgb).save(out, format="JPEG", quality=quality)
    return out.getvalue()


def data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
