"""Which pictures in folders are of one video: frames lie in one folder a video, and their own names say nothing.

    real/video_1/000.png    fake/video_1/000.png    fake/wav2lip/video_1/000.png     one group, video_1
    real/a.jpg              fake/a.jpg              fake/wav2lip/a.jpg               one group, a

So a picture's group is the folder it lies in, where that is not the label's. But where no folder of real pictures looks
like a video's (`real/ffhq`), each picture stands for itself, a folder right below `fake` is a method, and names pair
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
        found = list(files)
        reals = [one for one in found if not one.label]
        self._real_names = {stem(one.name) for one in reals if not one.below}
        self._real_folders = _videos_among([one for one in reals if one.below and one.is_picture])
        self._alone = not self._real_folders and any(one.is_picture for one in reals)
        self._joined = Components()
        for one in found:
            self._joined.join(self._tied(one))
        right_below = {one.below[0] for one in found if one.label and one.is_picture and len(one.below) == 1}
        self._are_videos = not right_below.isdisjoint(self._real_folders)

    def group(self, file: Placed) -> str:
        return self._joined.find(self._tied(file)[0])

    def method(self, file: Placed) -> str | None:
        """The first folder below `fake`, unless folders there are called as those of reals: then they are videos."""
        if not file.label or not file.below:
            return None
        is_videos = self._are_videos and file.is_picture and len(file.below) == 1
        return None if is_videos else file.below[0]

    def _tied(self, file: Placed) -> list[str]:
        """The names that what belongs to the file goes by: its own, its folder's, or both where reals lie both ways."""
        own = stem(file.name)
        is_paired = bool(file.label) and own in self._real_names
        if not file.is_picture or not file.below or (self._alone and (is_paired or len(file.below) == 1)):
            return [own]
        return [file.below[-1], own] if is_paired else [file.below[-1]]


def _videos_among(pictures: Sequence[Placed]) -> set[str]:
    """The folders of these pictures, where they are many, or small and the same names lie in several of them."""
    in_folder = Counter(one.below for one in pictures)
    repeats = len({stem(one.name) for one in pictures}) < len(pictures)
    if len(in_folder) < MANY_FOLDERS and not (repeats and median(in_folder.values()) <= MOST_FRAMES):
        return set()
    return {folders[-1] for folders in in_folder}
