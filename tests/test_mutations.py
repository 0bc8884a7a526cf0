"""Row 17: files with seeded damage of every sort. The worker never crashes, never hangs, never shows a traceback."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import make_videos
from sandbox_jobs import JOBS
from telltale.errors import InputError, OutOfMemory
from telltale.sandbox import Worker

Mutation = Callable[[bytearray, random.Random], None]
EDGES = (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0")
SEEDS = 6


def truncated(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(16, len(data)) :]


def flipped(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 10, 100])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def spliced(data: bytearray, rng: random.Random) -> None:
    start, other, length = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 500)
    data[start : start + length] = data[other : other + length]


def duplicated(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randrange(1, 500)]


def with_edge_integers(data: bytearray, rng: random.Random) -> None:
    """Where headers are: at either end."""
    for _ in range(5):
        at = rng.randrange(min(2000, len(data) - 4))
        at = rng.choice([at, len(data) - 4 - at])
        data[at : at + 4] = rng.choice(EDGES)


MUTATIONS: tuple[Mutation, ...] = (truncated, flipped, spliced, duplicated, with_edge_integers)


@pytest.fixture(scope="module")
def originals(clips: Path) -> list[bytes]:
    """Small files of every container and of a few codecs."""
    codecs = {"mp4": "libx264", "mkv": "libx264", "avi": "mpeg4", "ts": "libx264", "flv": "flv", "mpg": "mpeg2video"}
    files = [
        make_videos.face_clip(clips / f"small.{suffix}", seconds=0.4, size=(96, 64), codec=codec)
        for suffix, codec in codecs.items()
    ]
    files.append(make_videos.raw_h264(clips / "small.h264", seconds=0.2))
    files += [
        make_videos.write_picture(clips / f"small.{format}", make_videos.shrunk(64), format=format)
        for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP")
    ]
    return [file.read_bytes() for file in files]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(jobs=JOBS) as worker:
        yield worker


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mutated_file_is_read_or_refused_by_name(
    worker: Worker, originals: list[bytes], tmp_path: Path, mutation: Mutation, seed: int
) -> None:
    for i, original in enumerate(originals):
        data = bytearray(original)
        mutation(data, random.Random(1000 * seed + i))
        (tmp_path / f"{i}.bin").write_bytes(data)
        with contextlib.suppress(InputError, OutOfMemory):
            list(worker.run("read_all", {"path": str(tmp_path / f"{i}.bin")}, deadline_s=60))
