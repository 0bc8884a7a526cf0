"""Every data set layout in small, built from made videos and pictures.

    python tests/make_datasets.py FOLDER      writes one of each, to be looked at

`MAKERS[format](root, n, content)` builds a tree of `n` originals and says what a reader must find there. `content`
makes the bytes of the k-th file; `tiny_video` makes videos that decode, `mark` bytes that only differ.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

Content = Callable[[int], bytes]


@dataclass(frozen=True)
class Expected:
    """What a reader must find: name -> label, and name -> names it must share a group with."""

    labels: Mapping[str, int]
    together: tuple[tuple[str, ...], ...] = ()
    sides: Mapping[str, str | None] = field(default_factory=dict)


def mark(k: int) -> bytes:
    """Bytes unlike those of any other `k`, and no video."""
    return f"not a video {k}".encode()


def write(root: Path, *names: str) -> None:
    """Files with these names, no two alike."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ascii(name).encode())


@cache
def tiny_video(k: int) -> bytes:
    """A second of 64 x 48 MPEG-4 at 4 frames a second whose colours depend on `k`."""
    import av

    rng = np.random.default_rng(k)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height = 64, 48
        for _ in range(4):
            small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(np.kron(small, np.ones((8, 8, 1), np.uint8)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@cache
def tiny_picture(k: int, size_px: int = 32) -> bytes:
    """A JPEG, `size_px` square, whose colours depend on `k`."""
    from PIL import Image

    rgb = np.random.default_rng(k).integers(0, 256, (size_px // 8, size_px // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(rgb, np.ones((8, 8, 1), np.uint8))).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class _Tree:
    """Writes files below a folder, each with contents of its own."""

    def __init__(self, root: Path, content: Content) -> None:
        self.root, self.content = root, content
        self.numbers: Iterator[int] = count()

    def file(self, name: str) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content(next(self.numbers)))
        return name

    def text(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def faceforensics(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    """`n` videos (made even), two methods and a compression more for one of them, masks, the official lists."""
    tree = _Tree(root, content)
    n += n % 2
    ids = [f"{i * 7 % 1000:03d}" for i in range(n)]
    pairs = [(ids[i], ids[i + 1]) for i in range(0, n, 2)]
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    sides: dict[str, str | None] = {}
    splits: dict[str, list[list[str]]] = {"train": [], "val": [], "test": []}
    for number, (a, b) in enumerate(pairs):
        side = ("train", "val", "test")[number % 3]
        splits[side].append([a, b])
        names = [tree.file(f"original_sequences/youtube/c23/videos/{i}.mp4") for i in (a, b)]
        labels |= dict.fromkeys(names, 0)
        for method, compressions in (("Deepfakes", ("c23", "c40")), ("Face2Face", ("c23",))):
            for compression in compressions:
                for fake in (f"{a}_{b}", f"{b}_{a}"):
                    names.append(tree.file(f"manipulated_sequences/{method}/{compression}/videos/{fake}.mp4"))
                    tree.file(f"manipulated_sequences/{method}/masks/videos/{fake}.mp4")
        labels |= dict.fromkeys(names[2:], 1)
        together.append(tuple(names))
        sides |= dict.fromkeys(names, side)
    for side, listed in splits.items():
        tree.text(f"splits/{side}.json", json.dumps(listed))
    return Expected(labels, tuple(together), sides)


def dfd(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    tree = _Tree(root, content)
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    for i in range(n):
        target, source = f"{i + 1:02d}", f"{(i + 1) % n + 1:02d}"
        real = tree.file(f"original_sequences/actors/c23/videos/{target}__walking__outside.mp4")
        fake = tree.file(
            f"manipulated_sequences/DeepFakeDetection/c23/videos/{target}_{source}__walking__outside__9TDCEK{i:02d}.mp4"
        )
        labels |= {real: 0, fake: 1}
        together.append((real, fake))
    return Expected(labels, tuple(together))


def celebdf(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    """v2 fakes beside Celeb-DF++ fakes; the last person's videos are the official test side."""
    tree = _Tree(root, content)
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    lines: list[str] = []
    sides: dict[str, str | None] = {}
    for i in range(n):
        other = (i + 1) % n
        real = tree.file(f"Celeb-real/id{i}_0000.mp4")
        fakes = [
            tree.file(f"Celeb-synthesis/id{i}_id{other}_0000.mp4"),
            tree.file(f"Celeb-synthesis/FaceReenact/DaGAN/id{i}_id{other}_0000.mp4"),
        ]
        youtube = tree.file(f"YouTube-real/{i:05d}.mp4")
        names = [real, *fakes]
        labels |= {real: 0, youtube: 0} | dict.fromkeys(fakes, 1)
        together.append(tuple(names))
        tested = i == n - 1
        sides |= dict.fromkeys([*names, youtube], "test" if tested else "train")
        if tested:
            lines += [f"{1 - labels[name]} {name}" for name in [*names, youtube]]
    tree.text("List_of_testing_videos.txt", "\r\n".join(lines) + "\r\n")
    return Expected(labels, tuple(together), sides)


def dfdc(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    """Two parts; every original has two fakes, one of them in capitals; one fake without an original."""
    tree = _Tree(root, content)
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    parts: list[dict[str, dict[str, str | None]]] = [{}, {}]
    for i in range(n):
        folder = f"dfdc_train_part_{i % 2}"
        names = [f"orig{i:06d}.mp4", f"fake{i:06d}.mp4", f"fak2{i:06d}.MP4"]
        listed = parts[i % 2]
        listed[names[0]] = {"label": "REAL", "split": "train"}
        for name in names[1:]:
            listed[name] = {"label": "FAKE", "split": "train", "original": names[0]}
        paths = tuple(tree.file(f"{folder}/{name}") for name in names)
        labels |= dict(zip(paths, (0, 1, 1), strict=True))
        together.append(paths)
    lone = tree.file("dfdc_train_part_0/lonefakexx.mp4")
    parts[0]["lonefakexx.mp4"] = {"label": "FAKE", "split": "train", "original": None}
    for i, listed in enumerate(parts):
        if listed:
            tree.text(f"dfdc_train_part_{i}/metadata.json", json.dumps(listed))
    return Expected(labels | {lone: 1}, tuple(together), dict.fromkeys(labels, "train"))


def dfdcp(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    tree = _Tree(root, content)
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    listed: dict[str, object] = {}
    sides: dict[str, str | None] = {}
    for i in range(n):
        person, other = f"{100 + i}", f"{100 + (i ^ 1)}"
        side = "test" if i == n - 1 else "train"
        real = tree.file(f"original_videos/{person}/{person}_A_001.mp4")
        fake = tree.file(f"method_{'AB'[i % 2]}/{person}/{person}_A/{other}_{person}_A_001.mp4")
        listed[real] = {"label": "real", "set": side, "target_id": int(person), "swapped_id": None}
        listed[fake] = {"label": "fake", "set": side, "target_id": int(person), "swapped_id": int(other)}
        labels |= {real: 0, fake: 1}
        sides |= {real: side, fake: side}
        together.append((real, fake))
    tree.text("dataset.json", json.dumps(listed))
    return Expected(labels, tuple(together), sides)


def deepfake_faces(root: Path, n: int = 4, content: Content = tiny_picture) -> Expected:
    """Half of the faces in a zip, the others in the folder; one fake whose original is not part of the set."""
    tree = _Tree(root, content)
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["videoname", "original_width", "original_height", "label", "original"])
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    packed: list[str] = []
    for i in range(n):
        real, fake = f"faces_224/real{i:06d}.jpg", f"faces_224/fake{i:06d}.jpg"
        table.writerow([f"real{i:06d}.mp4", 100, 101, "REAL", ("", "NaN")[i % 2]])
        table.writerow([f"fake{i:06d}.mp4", 100, 101, "FAKE", f"real{i:06d}.mp4"])
        labels |= {real: 0, fake: 1}
        together.append((real, fake))
        (packed if i % 2 else []).extend((real, fake))
    lost = "faces_224/lostparent.jpg"
    table.writerow(["lostparent.mp4", 90, 90, "FAKE", "notintheset.mp4"])
    for name in [*labels, lost]:
        tree.file(name)
    if packed:
        with zipfile.ZipFile(root / "faces-0.zip", "w") as archive:
            for name in packed:
                archive.write(root / name, name)
                (root / name).unlink()
    tree.text("metadata.csv", out.getvalue())
    return Expected(labels | {lost: 1}, tuple(together))


def ffiw(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    tree = _Tree(root, content)
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    sides: dict[str, str | None] = {}
    for i in range(n):
        side = "val" if i == n - 1 else "train"
        real, fake = tree.file(f"source/{side}/{i:05d}.mp4"), tree.file(f"target/{side}/{i:05d}.mp4")
        tree.file(f"target_mask/{side}/{i:05d}.mp4")
        labels |= {real: 0, fake: 1}
        sides |= {real: side, fake: side}
        together.append((real, fake))
    return Expected(labels, tuple(together), sides)


def deeperforensics(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    """Fakes only; `source_videos` must not become the real class."""
    tree = _Tree(root, content)
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    sides: dict[str, str | None] = {}
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for i in range(n):
        side = ("train", "val", "test")[i % 3]
        video = f"{i:03d}_M{101 + i}.mp4"
        names = tuple(tree.file(f"manipulated_videos/{v}/{video}") for v in ("end_to_end", "end_to_end_level_5"))
        labels |= dict.fromkeys(names, 1)
        sides |= dict.fromkeys(names, side)
        lists[side].append(video)
        together.append(names)
        tree.file(f"source_videos/M{101 + i}/light_down/happy/camera_front/M{101 + i}_front.mp4")
    for side, listed in lists.items():
        tree.text(f"lists/splits/{side}.txt", "\n".join(listed) + "\n")
    return Expected(labels, tuple(together), sides)


def uadfv(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    tree = _Tree(root, content)
    together = tuple((tree.file(f"real/{i:04d}.mp4"), tree.file(f"fake/{i:04d}_fake.mp4")) for i in range(n))
    return Expected({name: k for pair in together for k, name in enumerate(pair)}, together)


def folder(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    """Odd case, a level for the method, a side, and a name with everything in it."""
    tree = _Tree(root, content)
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    sides: dict[str, str | None] = {}
    for i in range(n):
        stem = f"clip {i} ünï 'é'"
        names = (tree.file(f"Train/Real/{stem}.mp4"), tree.file(f"Train/FAKE/wav2lip/{stem}.MP4"))
        labels |= {names[0]: 0, names[1]: 1}
        sides |= dict.fromkeys(names, "train")
        together.append(names)
    return Expected(labels, tuple(together), sides)


def manifest(root: Path, n: int = 4, content: Content = tiny_video) -> Expected:
    """CSV with Windows separators and line ends, a byte-order mark, and labels as pandas writes them."""
    tree = _Tree(root, content)
    lines = ["\ufeffPath,label,group_id,split"]
    labels: dict[str, int] = {}
    together: list[tuple[str, ...]] = []
    sides: dict[str, str | None] = {}
    for i in range(n):
        names = (tree.file(f"a/clip{i}.mp4"), tree.file(f"b/clip{i}_x.mp4"))
        side = "test" if i == n - 1 else ""
        lines += [f"a\\clip{i}.mp4,{('real', '0', '0.0')[i % 3]},g{i},{side}", f".\\b\\clip{i}_x.mp4,FAKE,g{i},{side}"]
        labels |= {names[0]: 0, names[1]: 1}
        sides |= dict.fromkeys(names, side or None)
        together.append(names)
    tree.text("manifest.csv", "\r\n".join(lines) + "\r\n")
    return Expected(labels, tuple(together), sides)


MAKERS: dict[str, Callable[[Path, int, Content], Expected]] = {
    maker.__name__: maker
    for maker in (
        celebdf, deeperforensics, deepfake_faces, dfd, dfdc, dfdcp, faceforensics, ffiw, folder, manifest, uadfv
    )
}  # fmt: skip


def content_of(name: str) -> Content:
    """What the files of a layout are: pictures for `deepfake_faces`, videos elsewhere."""
    return tiny_picture if name == "deepfake_faces" else tiny_video


if __name__ == "__main__":
    for name, maker in MAKERS.items():
        maker(Path(sys.argv[1]) / name, 6, content_of(name))
