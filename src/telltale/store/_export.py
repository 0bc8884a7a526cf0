"""A store as plain files, for tools that want those."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from telltale._text import csv_cell, visible
from telltale.errors import DataError, OutputError, UsageError
from telltale.store._read import Store

_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_WORDS = ("real", "fake")
_LIST = ("file", "label", "side", "dataset", "video_id", "group_id", "method", "track_id", "frame_index", "pts_s")
_ROWS = (*_LIST[3:], "label", "person_id", "official_split")


def export(
    store: Store, out: str | Path, *, to: Literal["folders", "npy"] = "folders", split: str | None = None
) -> int:
    """Write every face of `store` (of `split`, where one is named) to the new or empty folder `out`; how many.

    `folders`: `SIDE/real/*.jpg` and `SIDE/fake/*.jpg` with the bytes that are stored; without a split the side is
    `all`. With a `manifest.csv`, by which `datasets.read` finds groups, persons and sides again; without a split the
    sides are the data set's own. `npy`: `X_SIDE.npy` uint8 (N, S, S, 3), RGB, and `y_SIDE.npy` uint8 (N,), 1 = fake;
    without a split `X.npy` and `y.npy`. Both with `faces.csv`, a line a face. Raises `OutputError`, with nothing
    written, and `DataError` where `npy` meets crops of several sizes.
    """
    if to not in ("folders", "npy"):
        raise UsageError(f"--to wants folders or npy, got {to!r}")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{visible(str(out))} is not empty: choose another --out")
    if out.is_symlink() and not out.exists():
        raise OutputError(f"{visible(str(out))} is a link that leads nowhere: choose another --out")
    sides = store.sides(split) if split is not None else np.full(len(store), "all")
    is_there = out.exists()  # it may be `.`, a link or a whole disk, which no other folder can be put in the place of
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".telltale-", suffix=".part", dir=out if is_there else out.parent))
    except OSError as error:
        raise _failed(out, error) from error
    try:
        lines = store.table(_ROWS).to_pylist()
        names = _write_folders(store, part, sides, lines) if to == "folders" else _write_npy(store, part, sides, lines)
        _write_list(part / "faces.csv", names, sides, lines)
        if to == "folders":
            _write_manifest(part / "manifest.csv", names, sides if split is not None else None, lines)
        if is_there:
            _move_up(part, out)
        else:
            part.chmod(0o755)
            part.rename(out)
    except OSError as error:
        raise _failed(out, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(names)


def _move_up(part: Path, out: Path) -> None:
    """All that is in `part` into `out`, or, with an OSError, nothing; the lists last."""
    moved: list[Path] = []
    try:
        for path in sorted(part.iterdir(), key=lambda path: (path.suffix == ".csv", path.name)):
            moved.append(path.rename(out / path.name))
    except OSError:
        for path in moved:
            path.rename(part / path.name)
        raise


def _failed(out: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{visible(str(out))}: {error.strerror or error}; nothing was written: free some space or choose another --out"
    )


def _write_folders(
    store: Store, part: Path, sides: npt.NDArray[np.str_], lines: list[dict[str, object]]
) -> dict[int, str]:
    names: dict[int, str] = {}
    for row, line in enumerate(lines):
        side = str(sides[row])
        if not side:
            continue
        data = store.image(row)
        video = str(line["video_id"])
        plain = _ODD.sub("_", video)
        if plain != video:
            plain = f"{plain[:120]}-{zlib.crc32(video.encode()):08x}"
        suffix = {b"\x89P": "png", b"RI": "webp", b"GI": "gif", b"BM": "bmp"}.get(data[:2], "jpg")
        name = f"{side}/{_WORDS[int(str(line['label']))]}/{plain}_{line['track_id']}_{line['frame_index']}.{suffix}"
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        names[row] = name
    return names


def _write_npy(store: Store, part: Path, sides: npt.NDArray[np.str_], lines: list[dict[str, object]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for side in sorted(set(sides.tolist()) - {""}):
        rows = np.flatnonzero(sides == side).tolist()
        ending = "" if side == "all" else f"_{side}"
        shape = store.rgb(rows[0]).shape
        with _npy(part / f"X{ending}.npy", (len(rows), *shape)) as file:
            for number, row in enumerate(rows):
                rgb = store.rgb(row)
                if rgb.shape != shape:
                    raise DataError(
                        f"{lines[row]['video_id']} is {rgb.shape[1]}x{rgb.shape[0]} px and others are "
                        f"{shape[1]}x{shape[0]}: prepare the store with one --size, or export to folders"
                    )
                file.write(rgb.tobytes())
                names[row] = f"X{ending}.npy[{number}]"
        with _npy(part / f"y{ending}.npy", (len(rows),)) as file:
            file.write(bytes(int(str(lines[row]["label"])) for row in rows))
    return names


@contextlib.contextmanager
def _npy(path: Path, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A NumPy file of bytes, open where its first row goes. Written as plain files are: on a full disk a mapped one
    (`open_memmap`) ends the process with SIGBUS, and `tofile` may lose the error of its last block."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def _write_list(path: Path, names: dict[int, str], sides: npt.NDArray[np.str_], lines: list[dict[str, object]]) -> None:
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(_LIST)
    for row, name in names.items():
        values = [name, lines[row]["label"], sides[row], *(lines[row][key] for key in _LIST[3:])]
        table.writerow([csv_cell(value) if isinstance(value, str) else value for value in values])
    path.write_text(buffer.getvalue(), encoding="utf-8")


def _write_manifest(
    path: Path, names: dict[int, str], sides: npt.NDArray[np.str_] | None, lines: list[dict[str, object]]
) -> None:
    """What the names of the folders do not say, as `datasets.manifest` reads it."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(("path", "label", "method", "group_id", "person_id", "split"))
    for row, name in names.items():
        line = lines[row]
        side = line["official_split"] if sides is None else sides[row]
        word = _WORDS[int(str(line["label"]))]
        table.writerow([name, word, line["method"], line["group_id"], line["person_id"], side])
    path.write_text(buffer.getvalue(), encoding="utf-8")
