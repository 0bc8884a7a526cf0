"""Lay out the faces that the default model is trained on: three Parquet tables from the shared data.

    python scripts/default_faces.py ../shared OUT

dfdc.parquet       the crops as they are, five landmarks for the real ones (YuNet, four crops to a 640 x 640 picture)
portraits.parquet  one face a person: box + 40 % a side, so that the margin can vary in training
talkers.parquet    every third frame of the GRID clips, likewise

Sides by group: DFDC 80/10/10, portraits 72/8/20 by person, talkers three clips train, one val, two test. Some originals
of DFDC have two names, and so two groups: where these fall on two sides, the later side's faces are left out.
"""

from __future__ import annotations

import csv
import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from telltale._group_hashes import content_hash
from telltale.crops import CropSpec, box_of
from telltale.train import FaceTable

Array = npt.NDArray[Any]
SEED = 0
CONTEXT_FRAC = 0.40
WHOLE_CROP = box_of(224, 224, CropSpec())
"""DFDC's pictures are crops already: the box that a scan would have cut them from."""
TALKERS_TEST = {"grid_lrwp9a", "grid_lwbsza"}
TALKERS_VAL = {"grid_lbbc2a"}


def position(group: str) -> float:
    """0-1, from the group's name and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{SEED}:{group}".encode()).digest()[:8], "big") / 2**64


def side_of(group: str, *, train: float, val: float) -> str:
    at = position(group)
    return "train" if at < train else "val" if at < train + val else "test"


class YuNet:
    def __init__(self, path: Path) -> None:
        self.net = cv2.FaceDetectorYN.create(str(path), "", (640, 640), 0.6, 0.3, 50)

    def __call__(self, bgr: Array) -> Array:
        """(n, 15): x y w h, five points, confidence; px of `bgr`, which is letterboxed."""
        scale = min(640 / bgr.shape[0], 640 / bgr.shape[1])
        canvas = np.zeros((640, 640, 3), np.uint8)
        small = cv2.resize(
            bgr, (round(bgr.shape[1] * scale), round(bgr.shape[0] * scale)),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )  # fmt: skip
        canvas[: small.shape[0], : small.shape[1]] = small
        faces = self.net.detect(canvas)[1]
        if faces is None:
            return np.zeros((0, 15), np.float32)
        return np.hstack([faces[:, :14] / scale, faces[:, 14:]]).astype(np.float32)


def decoded(image: bytes) -> Array:
    bgr = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("a picture does not decode")
    return bgr


def tiled_points(yunet: YuNet, crops: list[Array]) -> list[Array | None]:
    """Five landmarks of each 224 px crop, four crops a detection; None where no face is found."""
    points: list[Array | None] = [None] * len(crops)
    for first in range(0, len(crops), 4):
        canvas = np.full((640, 640, 3), 96, np.uint8)
        corners = [(48, 48), (368, 48), (48, 368), (368, 368)]
        for (x, y), crop in zip(corners, crops[first : first + 4], strict=False):
            canvas[y - 48 : y + 272, x - 48 : x + 272] = cv2.copyMakeBorder(crop, 48, 48, 48, 48, cv2.BORDER_REPLICATE)
        best = [0.0] * 4
        for face in yunet(canvas):
            cx, cy = face[0] + face[2] / 2, face[1] + face[3] / 2
            tile = int(cx >= 320) + 2 * int(cy >= 320)
            if first + tile < len(crops) and face[14] > best[tile]:
                best[tile] = face[14]
                points[first + tile] = face[4:14].reshape(5, 2) - corners[tile]
    return points


def without_copies(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the groups of validation and test that hold a file which is also on a side before."""
    known: set[str] = set()
    kept: list[dict[str, Any]] = []
    for side in ("train", "val", "test"):
        mine = [row for row in rows if row["side"] == side]
        copies = {row["group_id"] for row in mine if row["file_hash"] in known}
        known |= {row["file_hash"] for row in mine}
        kept += [row for row in mine if row["group_id"] not in copies]
    return kept


def dfdc(shared: Path, yunet: YuNet) -> FaceTable:
    folder = shared / "data/dfdc_faces"
    with (folder / "metadata.csv").open(newline="") as file:
        meta = {row["videoname"].removesuffix(".mp4"): row for row in csv.DictReader(file)}
    rows: list[dict[str, Any]] = []
    for archive_path in sorted(folder.glob("faces-*.zip")):
        with zipfile.ZipFile(archive_path) as archive:
            for name in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
                video = Path(name).stem
                group, image = meta[video]["original"].removesuffix(".mp4") or video, archive.read(name)
                rows.append(
                    {
                        "dataset": "dfdc", "image_id": video, "label": meta[video]["label"] == "FAKE",
                        "group_id": f"dfdc:{group}",  # as the data set's reader names it: leaks show in any store
                        "side": side_of(group, train=0.8, val=0.1), "box_xyxy": WHOLE_CROP,
                        "points": None, "image": image, "file_hash": content_hash(image),
                    }
                )  # fmt: skip
    rows = without_copies(rows)
    real = [row for row in rows if not row["label"] and row["side"] != "test"]
    for first in range(0, len(real), 256):
        part = real[first : first + 256]
        crops = [decoded(row["image"]) for row in part]
        for row, found in zip(part, tiled_points(yunet, crops), strict=True):
            row["points"] = found
    missed = sum(row["points"] is None for row in real)
    print(f"dfdc: {len(rows)} faces, landmarks missed in {missed} of {len(real)}", flush=True)
    return FaceTable.from_rows(rows)


def loose_crop(bgr: Array, face: Array) -> dict[str, Any]:
    """Box + 40 % a side as a square, edges replicated, at most 512 px; box and points within it."""
    x, y, w, h = face[:4]
    side = max(w, h) * (1 + 2 * CONTEXT_FRAC)
    scale = min(1.0, 512 / side)
    size = max(8, round(side * scale))
    x0, y0 = x + w / 2 - side / 2, y + h / 2 - side / 2
    pad = int(side)
    padded = cv2.copyMakeBorder(bgr, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    ix, iy, n = round(x0) + pad, round(y0) + pad, round(side)
    crop = cv2.resize(padded[iy : iy + n, ix : ix + n], (size, size), interpolation=cv2.INTER_AREA)
    ok, jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 97])
    if not ok:
        raise OSError("a crop could not be encoded")
    k = size / n
    corner = np.array([round(x0), round(y0)], np.float32)
    box = (np.array([x, y, x + w, y + h]) - np.tile(corner, 2)) * k
    return {"image": jpeg.tobytes(), "box_xyxy": box, "points": (face[4:14].reshape(5, 2) - corner) * k}


def largest(faces: Array) -> Array | None:
    return None if len(faces) == 0 else faces[np.argmax(faces[:, 2] * faces[:, 3])]


def portraits(shared: Path, yunet: YuNet) -> FaceTable:
    rows, missed = [], 0
    for archive_path in sorted((shared / "data/portraits").glob("*.zip")):
        with zipfile.ZipFile(archive_path) as archive:
            for name in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
                picture = archive.read(name)
                bgr = decoded(picture)
                face = largest(yunet(bgr))
                if face is None:
                    missed += 1
                    continue
                person = Path(name).stem
                rows.append(
                    {
                        "dataset": "portraits", "image_id": person, "label": 0, "group_id": person,
                        "side": side_of(person, train=0.72, val=0.08), "file_hash": content_hash(picture),
                        **loose_crop(bgr, face),
                    }
                )  # fmt: skip
    print(f"portraits: {len(rows)} faces, {missed} missed", flush=True)
    return FaceTable.from_rows(rows)


def talkers(shared: Path, yunet: YuNet) -> FaceTable:
    rows = []
    for path in sorted((shared / "videos/talkers").glob("*.mpg")):
        side = "test" if path.stem in TALKERS_TEST else "val" if path.stem in TALKERS_VAL else "train"
        of_clip = content_hash(path.read_bytes())
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % 3:
                    continue
                bgr = frame.to_ndarray(format="bgr24")
                face = largest(yunet(bgr))
                if face is None:
                    continue
                rows.append(
                    {
                        "dataset": "talkers", "image_id": f"{path.stem}-{index:03d}", "label": 0, "group_id": path.stem,
                        "side": side, "file_hash": of_clip, **loose_crop(bgr, face),
                    }
                )  # fmt: skip
    print(f"talkers: {len(rows)} faces", flush=True)
    return FaceTable.from_rows(rows)


def main() -> None:
    shared, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    yunet = YuNet(shared / "weights/yunet_n_640_640.onnx")
    talkers(shared, yunet).write(out / "talkers.parquet")
    portraits(shared, yunet).write(out / "portraits.parquet")
    dfdc(shared, yunet).write(out / "dfdc.parquet")


if __name__ == "__main__":
    main()
