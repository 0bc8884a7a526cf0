"""The faces a model is judged on: one side of a split, over all stores, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from telltale._components import Components
from telltale._group_hashes import file_hash, seen_by
from telltale._suffixes import PICTURE_SUFFIXES
from telltale._text import plural
from telltale.bundle import ModelCard
from telltale.crops import CropSpec, centre_square
from telltale.errors import DataError, LeakFound, StoreInvalid, UsageError
from telltale.split import SIDES, Leaks, check_leaks, group_pieces
from telltale.store import Store
from telltale.types import BoolArray, Float64Array, RgbImage, VideoRecord

SideName = Literal["train", "val", "test", "all", "unseen"]
SIDE_NAMES: tuple[str, ...] = get_args(SideName)
Sides = SideName | Literal["train+val"]
"""What `load` takes: `train+val` is what a search may see."""
StrArray = npt.NDArray[np.str_]

_COLUMNS = (
    "dataset", "video_id", "path", "label", "method", "group_id", "track_id", "frame_index", "pts_s", "box_xyxy",
    "confidence", "source",
)  # fmt: skip


@dataclass(frozen=True)
class Faces:
    """Row i is one face; the faces of a video lie together, in the order of time within each track."""

    stores: tuple[Store, ...]
    store: npt.NDArray[np.int64]
    """Which of `stores`."""
    row: npt.NDArray[np.int64]
    """Its row there."""
    video: npt.NDArray[np.int64]
    """A number for each video of each store, rising."""
    cluster: npt.NDArray[np.int64]
    """A number for each set of groups that share an original: what is resampled."""
    columns: Mapping[str, npt.NDArray[Any]]
    """dataset, video_id, path, label, method (empty for reals), group_id, track_id, frame_index, pts_s, confidence,
    source, file_hash (`_group_hashes`; empty: unknown), all (n,); box_xyxy float32 (n, 4), NaN where the picture came
    as it was."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, kept: BoolArray) -> Self:
        """The rows of a mask."""
        return replace(
            self,
            **{name: getattr(self, name)[kept] for name in ("store", "row", "video", "cluster")},
            columns={name: values[kept] for name, values in self.columns.items()},
        )

    @property
    def label(self) -> npt.NDArray[np.int64]:
        return self.columns["label"]

    @property
    def pts_s(self) -> Float64Array:
        return self.columns["pts_s"]

    @property
    def is_filled(self) -> BoolArray:
        """(n,): cut where a face was expected and not found."""
        return np.asarray(self.columns["source"] == "interpolated")

    def rgb(self, index: int) -> RgbImage:
        """The stored crop, uint8 (H, W, 3)."""
        return self.store_of(index).rgb(int(self.row[index]))

    def store_of(self, index: int) -> Store:
        return self.stores[int(self.store[index])]

    def size_px(self, index: int) -> tuple[int, int]:
        """Width and height of the stored crop, from its header."""
        return self.store_of(index).size_px(int(self.row[index]))

    def crop(self, index: int, size_px: int) -> RgbImage:
        """What the model is shown: the stored crop, averaged down where it is larger than the model's size; a picture
        that came as it was is resized either way."""
        rgb = self.rgb(index)
        if rgb.shape[:2] == (size_px, size_px):
            return rgb
        store = self.store_of(index)
        cut = store.crop
        if cut.kind != "as_given" and rgb.shape[:2] != (cut.size_px, cut.size_px):
            raise StoreInvalid(
                f"{store.path}: the crop in row {self.row[index]} is {rgb.shape[1]} x {rgb.shape[0]} px, not "
                f"{cut.size_px}: prepare the store again"
            )
        return centre_square(rgb, CropSpec(kind="centre_square", size_px=size_px))

    def is_still(self, rows: range) -> bool:
        """Whether a video's faces come from a picture: a single one is then enough for a verdict."""
        if np.isnan(self.columns["box_xyxy"][rows[0]]).any():  # as it came
            return True
        suffix = PurePosixPath(str(self.columns["path"][rows[0]])).suffix.lower()
        frames = self.columns["frame_index"][rows.start : rows.stop]
        return suffix in PICTURE_SUFFIXES and bool((frames == frames[0]).all())  # a GIF may be a film


def check_crops(store: Store, card: ModelCard) -> None:
    """Raises UsageError where the store's faces were cut in another way than the model takes them, or smaller."""
    cut, wanted = store.crop, card.crop
    if cut.kind == "as_given":
        low, high = card.margins_tolerated
        if not low <= cut.margin_frac <= high:
            raise UsageError(
                f"{store.path}: its pictures were cut with a margin of {cut.margin_frac:.3f}, {card.name} takes "
                f"{low:.3f} to {high:.3f}: cut faces from the originals with `telltale prepare`"
            )
    elif replace(cut, size_px=wanted.size_px) != wanted or cut.size_px < wanted.size_px:
        changed = [name for name in CropSpec.__dataclass_fields__ if getattr(cut, name) != getattr(wanted, name)]
        differs = ", ".join(f"{name} {getattr(cut, name)} (model: {getattr(wanted, name)})" for name in changed)
        raise UsageError(
            f"{store.path}: its faces were cut in another way than {card.name} takes them: {differs}. Prepare the "
            f"videos again with `--crop {wanted.kind} --size {wanted.size_px} --margin {wanted.margin_frac:g}"
            f"{' --align' if wanted.align else ''}`"
        )


def load(stores: Sequence[Store], *, split: str | None, side: Sides) -> Faces:
    """The faces on `side` of `split`, which each store must have. Raises DataError where there is none."""
    tables: list[dict[str, Any]] = []
    for number, store in enumerate(stores):
        kept = _on_side(store, split, side)
        table = store.table(_COLUMNS).take(kept)
        columns = _as_columns(table) | {"store": np.full(len(kept), number), "row": kept}
        short = {video_id: file_hash(sha256) for video_id, sha256 in store.file_sha256s().items()}
        columns["file_hash"] = np.array([short.get(video_id, "") for video_id in columns["video_id"].tolist()], np.str_)
        tables.append(columns)
    found = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    if not len(found["row"]):
        sides = " and ".join(f"{store.path} has {_sides_of(store, split)}" for store in stores)
        raise DataError(f"there is no face on side {side}: {sides}")
    video = _number_of_each(np.char.add(found["store"].astype(str), np.char.add("/", found["video_id"])))
    order = np.lexsort((found["pts_s"], found["frame_index"], found["track_id"], video))
    columns = {name: values[order] for name, values in found.items()}
    return Faces(
        stores=tuple(stores),
        store=columns.pop("store"),
        row=columns.pop("row"),
        video=video[order],
        cluster=_clusters(columns["group_id"]),
        columns=columns,
    )


def unseen(faces: Faces, card: ModelCard) -> Faces:
    """Those of groups that `card` knows neither by name nor by the content of a file.

    Raises UsageError if it lists none, DataError if none is left.
    """
    # a source that a model was only chosen on has no group that it learned from
    trained = [source for source in card.training if source.group_hashes or source.n_real + source.n_fake]
    learned = [source.group_hashes for source in trained]
    chosen_on = [source.validation_hashes for source in card.training]
    if not learned or not all(learned) or not any(chosen_on):
        raise UsageError(
            f"the card of {card.name} does not list which groups it was trained and chosen on: name a split instead"
        )
    groups = faces.columns["group_id"]
    seen = seen_by(card, groups.tolist(), faces.columns["file_hash"].tolist(), or_chosen_on=True)
    kept = ~np.isin(groups, list(seen.groups))
    if not kept.any():
        raise DataError(f"{card.name} was trained or chosen on every group that is left: none is unseen")
    return faces.take(kept)


def balance(faces: Faces) -> Faces:
    """As many real videos as fake ones. Raises DataError where a class is missing."""
    videos, first = np.unique(faces.video, return_index=True)
    sides = [videos[faces.label[first] == label] for label in (0, 1)]
    n = min(len(side) for side in sides)
    if not n:
        raise DataError("faces of one class only cannot be balanced")
    even = [side[np.linspace(0, len(side) - 1, n).round().astype(int)] for side in sides]
    return faces.take(np.isin(faces.video, np.concatenate(even)))


def choose_split(stores: Sequence[Store], split: str | None, side: SideName) -> str | None:
    """The split meant: the one named, or the only one there is. None, for `all` and `unseen`, means every face."""
    if side == "unseen" and split is not None:
        raise UsageError("--side unseen is what the model's card does not know, of no split: leave --split out")
    if split is not None or side in ("all", "unseen"):
        return split
    there = sorted(set.intersection(*(set(store.splits()) for store in stores)))
    if len(there) != 1:
        listed, paths = ", ".join(there) or "none", " ".join(str(store.path) for store in stores)
        raise UsageError(
            f"name the split with --split (there is: {listed}), or make one with `telltale split {paths} "
            f"--name NAME`{'' if side == 'train' else ', or take every face with --side all'}"
        )
    return there[0]


def split_leaks(stores: Sequence[Store], split: str | None, *, allow_leaks: bool) -> Leaks:
    """Groups on two sides of `split`, over all stores together, those of copied files among them. Raises LeakFound
    unless `allow_leaks`."""
    sides: dict[str, list[VideoRecord]] = {side: [] for side in SIDES}
    if split is not None:
        for store in stores:
            for side, records in store.side_records(split).items():
                sides[side] += records
    leaks = check_leaks(sides, allow_leaks=allow_leaks, stores=[store.path for store in stores])
    return replace(leaks, groups=tuple(sorted({*leaks.groups, *copied(stores, split, allow_leaks=allow_leaks)})))


def copied(stores: Sequence[Store], split: str | None, *, allow_leaks: bool) -> set[str]:
    """The groups of files that lie in several stores, on different sides of `split`. Raises LeakFound unless
    `allow_leaks`.

    Told by the SHA-256 that `prepare` noted. Copies within one store are in one group already.
    """
    if split is None or len(stores) < 2:
        return set()
    found: dict[str, dict[tuple[int, str], VideoRecord]] = {}  # SHA-256 -> (store, side) -> one of the copies
    for number, store in enumerate(stores):
        digests = store.file_sha256s()
        for side, records in store.side_records(split).items():
            for record in records:
                found.setdefault(digests[record.video_id], {})[number, side] = record
    found.pop("", None)  # of what lies in a bucket
    torn = [
        list(copies.values())
        for copies in found.values()
        if len({number for number, _ in copies}) > 1 and len({side for _, side in copies}) > 1
    ]
    if torn and not allow_leaks:
        first, last = torn[0][0], torn[0][-1]
        raise LeakFound(
            f"{plural(len(torn), 'file')} in several stores, on different sides of the split ({first.path} of "
            f"{first.dataset} is {last.path} of {last.dataset}): the figures would say nothing about people that the "
            "model never saw. Leave one copy out and prepare its store again, or accept it with --allow-leaks"
        )
    return {record.group_id for copies in torn for record in copies}


def _on_side(store: Store, split: str | None, side: Sides) -> npt.NDArray[np.int64]:
    if split is None:
        return np.arange(len(store))
    sides = store.sides(split)
    return np.flatnonzero(sides != "" if side == "all" else np.isin(sides, side.split("+")))


def _sides_of(store: Store, split: str | None) -> str:
    if split is None:
        return f"{len(store)} faces"
    names, counts = np.unique(store.sides(split), return_counts=True)
    return (
        ", ".join(f"{n} on {name}" for name, n in zip(names.tolist(), counts.tolist(), strict=True) if name) or "none"
    )


def _as_columns(table: Any) -> dict[str, npt.NDArray[Any]]:
    plain = {name: table.column(name).to_pylist() for name in _COLUMNS}
    nothing = [np.nan] * 4
    text = ("dataset", "video_id", "path", "method", "group_id", "source")
    found: dict[str, npt.NDArray[Any]] = {
        name: np.array([value or "" for value in plain[name]], np.str_) for name in text
    }
    found |= {name: np.array(plain[name], np.int64) for name in ("label", "track_id", "frame_index")}
    found["pts_s"] = np.array(plain["pts_s"], np.float64)
    found["confidence"] = np.array([1.0 if v is None else v for v in plain["confidence"]], np.float64)
    found["box_xyxy"] = np.array([nothing if v is None else v for v in plain["box_xyxy"]], np.float32).reshape(-1, 4)
    return found


def _number_of_each(names: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A number for each different name, in the order of first appearance."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _clusters(group_id: StrArray) -> npt.NDArray[np.int64]:
    joined = Components()
    groups, inverse = np.unique(group_id, return_inverse=True)
    for group in groups.tolist():
        joined.join(group_pieces(group))
    roots = np.array([joined.find(group_pieces(group)[0]) for group in groups.tolist()])
    return _number_of_each(roots)[inverse]
