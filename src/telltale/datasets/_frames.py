"""Which pictures in folders are of one video: frames lie in one folder a video, and their own names say nothing.

    real/video_1/000.png    fake/video_1/000.png    fake/wav2lip/video_1/000.png     one group, video_1
    real/video_1/frames/000.png    fake/video_1/frames/000.png                       one group, video_1
    real/a.jpg              fake/a.jpg              fake/wav2lip/a.jpg               one group, a

So a picture's group is the folder it lies in, where that is not the label's; or the one above, where that folder is
called alike in many (`frames`) and tells no video from another. But where no folder of real pictures looks
like a video's (`real/ffhq`), each picture stands for itself, a folder right below `fake` is a method, and names pair
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from telltale._components import Components
from telltale.datasets._files import is_video, stem

MANY_FOLDERS = 8
"""Collections of pictures come in fewer; and that many groups can be split."""
MOST_FRAMES = 1000
"""Pictures in a folder that may be frames of one video."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A video or picture in a folder of a label."""

    name: str
    below: tuple[str, ...]
    """The folders between the label's and the file, as names are compared (`_files.nfc`)."""
    label: int

    @property
    def is_picture(self) -> bool:
        return not is_video(self.name)


class Frames:
    """What the places of all files of a set say about each of them."""

    def __init__(self, files: Iterable[Placed]) -> None:
        self._real_folders: set[str] = set()
        self._videos: set[str] = set()
        given = list(files)
        self._inner = _inner_names({one.below for one in given if not one.label and one.is_picture})
        reals = [self._cut(one) for one in given if not one.label]
        self._real_names = {stem(one.name) for one in reals if not one.below}
        self._real_folders = _videos_among([one for one in reals if one.below and one.is_picture])
        # a stray picture makes a folder of videos look like one
        self._videos = self._real_folders - {folder for one in reals for folder in one.below[:-1]}
        self._alone = not self._real_folders and any(one.is_picture for one in reals)
        self._joined = Components()
        found = [self._cut(one) for one in given]
        for one in found:
            self._joined.join(self._tied(one))
        right_below = {one.below[0] for one in found if one.label and one.is_picture and len(one.below) == 1}
        self._are_videos = not right_below.isdisjoint(self._real_folders)

    def group(self, file: Placed) -> str:
        return self._joined.find(self._tied(self._cut(file))[0])

    def method(self, file: Placed) -> str | None:
        """The first folder below `fake`, unless folders there are called as those of reals: then they are videos."""
        file = self._cut(file)
        if not file.label or not file.below:
            return None
        is_videos = self._are_videos and file.is_picture and len(file.below) == 1
        return None if is_videos else file.below[0]

    def _cut(self, file: Placed) -> Placed:
        """`file` as if it lay in its video's folder, where that is some levels up."""
        if not file.is_picture:
            return file
        below = file.below
        while len(below) > 1 and below[-1] in self._inner:
            below = below[:-1]
        while any(folder in self._videos for folder in below) and below[-1] not in self._videos:
            below = below[:-1]
        return file if below == file.below else replace(file, below=below)

    def _tied(self, file: Placed) -> list[str]:
        """The names that what belongs to the file goes by: its own, its folder's, or both where reals lie both ways."""
        own = stem(file.name)
        is_paired = bool(file.label) and own in self._real_names
        if not file.is_picture or not file.below or (self._alone and (is_paired or len(file.below) == 1)):
            return [own]
        return [file.below[-1], own] if is_paired else [file.below[-1]]


def _inner_names(folders: set[tuple[str, ...]]) -> set[str]:
    """Names that folders inside a video's bear: few, under many. As many as there are videos, under a few collections
    or compressions (`c23/video_1`, `c40/video_1`), are names of videos."""
    names: set[str] = set()
    while True:
        leaves: dict[tuple[str, ...], set[str]] = {}
        parents: dict[str, set[tuple[str, ...]]] = {}
        for *above, leaf in (folder for folder in folders if len(folder) > 1):
            leaves.setdefault(tuple(above), set()).add(leaf)
            parents.setdefault(leaf, set()).add(tuple(above))
        found = {leaf for leaf, on in parents.items() if _are_few([leaves[one] for one in on])}
        if not found:
            return names
        names |= found
        folders = {folder[:-1] if len(folder) > 1 and folder[-1] in found else folder for folder in folders}


def _are_few(names: Sequence[set[str]]) -> bool:
    """Whether so many folders hold few names. The largest is looked at first: not all names of a large collection for
    each of them."""
    return len(names) > max(map(len, names)) ** 2 and len(names) > len(set.union(*names)) ** 2


def _videos_among(pictures: Sequence[Placed]) -> set[str]:
    """The folders of these pictures, where they are many, or small and the same names lie in several of them."""
    in_folder = Counter(one.below for one in pictures)
    repeats = len({stem(one.name) for one in pictures}) < len(pictures)
    if len(in_folder) < MANY_FOLDERS and not (repeats and median(in_folder.values()) <= MOST_FRAMES):
        return set()
    return {folders[-1] for folders in in_folder}
