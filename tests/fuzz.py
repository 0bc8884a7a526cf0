"""Row 17: seeded damage to small files of every kind that is read: `make fuzz N=100000`; a part in `test_mutations`.

    python tests/fuzz.py --n 2000 --keep found/

Every mutated file is read to its end in the worker process, as a scan reads it, one in fifty also goes through the
whole chain (detector, Content Credentials). It must be read or refused by name. What crashes the worker, takes
longer than its deadline or ends in anything but a `TelltaleError` is a failure and is kept; the number N of a file
makes it again: `python tests/fuzz.py --only N`.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import make_videos
from telltale._request import ExtractRequest
from telltale.errors import DeadlineExceeded, OutOfMemory, TelltaleError, WorkerCrashed
from telltale.sampling import SamplePlan
from telltale.sandbox import JOBS, Message, Powers, Worker, WorkerLimits
from telltale.video import open_video

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], None]

DEADLINE_S = 30.0
LATE_BY_S = 2.0
EDGES = (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\x7f")
_WHOLE_CHAIN_EVERY = 50
_TOGETHER = 50
_ALL_JOBS = {**JOBS, "read_mutated": "fuzz:read_mutated"}


def truncated(data: bytearray, rng: random.Random, _others: Sequence[bytes]) -> None:
    del data[rng.randrange(4, len(data)) :]


def flipped(data: bytearray, rng: random.Random, _others: Sequence[bytes]) -> None:
    for _ in range(rng.choice([1, 3, 10, 100])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def spliced(data: bytearray, rng: random.Random, _others: Sequence[bytes]) -> None:
    start, other, length = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 500)
    data[start : start + length] = data[other : other + length]


def crossed(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A part of another file, of another kind perhaps."""
    other = rng.choice(others)
    start, at = rng.randrange(len(data)), rng.randrange(len(other))
    data[start : start + rng.randrange(1, 300)] = other[at : at + rng.randrange(1, 300)]


def duplicated(data: bytearray, rng: random.Random, _others: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randrange(1, 500)] * rng.choice([1, 1, 1, 20])


def zeroed(data: bytearray, rng: random.Random, _others: Sequence[bytes]) -> None:
    start, length = rng.randrange(len(data)), rng.randrange(1, 200)
    data[start : start + length] = bytes(len(data[start : start + length]))


def with_edge_integers(data: bytearray, rng: random.Random, _others: Sequence[bytes]) -> None:
    """Where headers are: at either end."""
    for _ in range(rng.choice([1, 5])):
        at = rng.randrange(min(2000, max(1, len(data) - 4)))
        at = rng.choice([at, max(0, len(data) - 4 - at)])
        data[at : at + 4] = rng.choice(EDGES)


MUTATIONS: tuple[Mutation, ...] = (truncated, flipped, spliced, crossed, duplicated, zeroed, with_edge_integers)

_CODECS = {
    "mp4": "libx264", "mov": "mjpeg", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4", "ts": "libx264", "flv": "flv",
    "mpg": "mpeg2video", "asf": "msmpeg4", "ogv": "libtheora", "mxf": "mpeg2video", "h264": "libx264", "m4v": "mpeg4",
    "nut": "ffv1", "ivf": "libvpx-vp9", "3gp": "h263", "hevc": "libx265", "mjpeg": "mjpeg",
}  # fmt: skip


def make_originals(folder: Path) -> Path:
    """A few kilobytes of every container, of many codecs, and of every kind of picture; the folder."""
    for suffix, codec in _CODECS.items():
        path = folder / f"small.{suffix}"
        size = (176, 144) if codec == "h263" else (64, 48)
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        try:
            make_videos.face_clip(path, seconds=0.16, size=size, codec=codec, pix_fmt=pix_fmt)
        except (ValueError, OSError):  # an encoder or container that this FFmpeg was built without
            path.unlink(missing_ok=True)
    fragmented = {"movflags": "frag_keyframe+empty_moov"}
    make_videos.face_clip(folder / "fragmented.mp4", seconds=0.16, size=(64, 48), container_options=fragmented)
    make_videos.audio_only(folder / "cover.m4a", seconds=0.1, cover=True)
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"):
        make_videos.write_picture(folder / f"small.{format}", make_videos.shrunk(32), format=format)
    make_videos.animated_gif(folder / "animated.gif", n=3, size=(32, 32))
    return folder


def mutated(number: int, files: Sequence[bytes]) -> bytes:
    """File `number` of the endless list: which original and what damage follow from the number alone."""
    rng = random.Random(number)
    data = bytearray(files[number % len(files)])
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice(MUTATIONS)(data, rng, files)
        if len(data) < 8:
            break
    return bytes(data)


@dataclass
class Tally:
    """What came of it."""

    classes: collections.Counter[str] = field(default_factory=collections.Counter)
    """`read`, or the error's code -> how many."""
    failures: list[tuple[int, str]] = field(default_factory=list)
    """(number, what happened): crashes, hangs, deadlines missed, tracebacks."""
    slowest: list[tuple[float, int]] = field(default_factory=list)
    peak_memory_bytes: int = 0
    """Of any one worker."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def n(self) -> int:
        return sum(self.classes.values())

    def note(self, number: int, outcome: str, seconds: float, failure: str | None) -> None:
        with self.lock:
            self.classes[outcome] += 1
            self.slowest = sorted([*self.slowest, (round(seconds, 2), number)], reverse=True)[:5]
            if failure is not None:
                self.failures.append((number, failure))


def read_mutated(args: dict[str, Any]) -> Iterator[Message]:
    """The worker's side: makes the files of some numbers, reads each as a scan would, says all outcomes at once."""
    files = [Path(name).read_bytes() for name in args["originals"]]
    path = Path(args["scratch"]) / "mutated.bin"
    rows: list[list[object]] = []
    for number in args["numbers"]:
        path.write_bytes(mutated(number, files))
        started, outcome, failure = time.monotonic(), "read", None
        try:
            with open_video(str(path), SamplePlan("all"), n_threads=1) as reader:
                for _frame in reader:
                    pass
        except TelltaleError as error:
            outcome = error.code
        except MemoryError:  # the worker's own name for it, where a job does not catch it
            outcome = OutOfMemory.code
        except Exception as error:  # noqa: BLE001 - what the fuzzer looks for
            outcome, failure = "traceback", f"{type(error).__name__}: {error}"
        rows.append([number, outcome, time.monotonic() - started, failure])
    yield Message("rows", {"rows": rows})


def run(numbers: Sequence[int], originals_in: Path, *, jobs: int, keep: Path | None = None) -> Tally:
    """Read the files of these numbers in `jobs` workers, many a job; where a job dies, its files one by one."""
    tally, starts = Tally(), iter(range(0, len(numbers), _TOGETHER))
    names = [str(path) for path in sorted(originals_in.iterdir())]
    files = [Path(name).read_bytes() for name in names]
    errors: list[BaseException] = []

    def work() -> None:
        with (
            tempfile.TemporaryDirectory(prefix="telltale-fuzz-") as scratch,
            worker_of(scratch, originals_in) as worker,
        ):
            reader = _Reader(worker, names, Path(scratch), tally)
            try:
                while True:
                    with tally.lock:
                        start = next(starts, None) if not errors else None
                    if start is None:
                        break
                    some = numbers[start : start + _TOGETHER]
                    reader.read(some)
                    for number in some:
                        if number % _WHOLE_CHAIN_EVERY == 0:
                            reader.whole_chain(number, mutated(number, files))
            except BaseException as error:  # noqa: BLE001 - raised again below
                errors.append(error)
            tally.peak_memory_bytes = max(tally.peak_memory_bytes, worker.peak_memory_bytes)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error
    if keep is not None:
        for number, _ in tally.failures:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{number}.bin").write_bytes(mutated(number, files))
    return tally


def worker_of(scratch: str, originals: Path) -> Worker:
    # What lies beside a script is no code to a worker: as `python tests/fuzz.py`, this module and its imports.
    may_read = (str(originals), str(Path(__file__).parent))
    return Worker(WorkerLimits(powers=Powers(may_read=may_read, may_write=(scratch,))), jobs=_ALL_JOBS)


@dataclass
class _Reader:
    worker: Worker
    originals: list[str]
    scratch: Path
    tally: Tally

    def read(self, numbers: Sequence[int]) -> None:
        args = {"originals": self.originals, "scratch": str(self.scratch), "numbers": list(numbers)}
        try:
            (found,) = list(self.worker.run("read_mutated", args, deadline_s=DEADLINE_S))
        except TelltaleError as error:
            if len(numbers) == 1:
                is_failure = isinstance(error, WorkerCrashed | DeadlineExceeded)
                self.tally.note(numbers[0], error.code, 0.0, error.message if is_failure else None)
                return
            for number in numbers:
                self.read([number])
            return
        for number, outcome, seconds, failure in found.data["rows"]:
            self.tally.note(number, outcome, seconds, failure)

    def whole_chain(self, number: int, data: bytes) -> None:
        """Faces are looked for, and Content Credentials."""
        path = self.scratch / "whole.bin"
        path.write_bytes(data)
        for job, args in (("extract", ExtractRequest(str(path)).to_json()), ("provenance", {"path": str(path)})):
            started, outcome, failure = time.monotonic(), "read", None
            try:
                for _message in self.worker.run(job, args, deadline_s=DEADLINE_S):
                    pass
            except TelltaleError as error:
                outcome = error.code
                failure = error.message if isinstance(error, WorkerCrashed | DeadlineExceeded) else None
            seconds = time.monotonic() - started
            if seconds > DEADLINE_S + LATE_BY_S:
                failure = f"{seconds:.1f} s, past its deadline"
            self.tally.note(number, f"{job}: {outcome}", seconds, failure)


def told(tally: Tally, seconds: float) -> str:
    """The report."""
    lines = [f"{tally.n:,} readings of mutated files in {seconds:.0f} s ({tally.n / max(seconds, 1e-9):.0f} a second)"]
    lines += [f"  {n:8,}  {name}" for name, n in tally.classes.most_common()]
    lines.append(f"failures (crashes, hangs, deadlines missed, tracebacks): {len(tally.failures)}")
    lines += [f"  {number}: {what}" for number, what in tally.failures[:20]]
    lines.append(f"slowest: {', '.join(f'{s:.2f} s ({n})' for s, n in tally.slowest)}")
    allowed = WorkerLimits().memory_bytes
    lines.append(
        f"most memory of a worker: {tally.peak_memory_bytes / (1 << 20):.0f} MiB of {allowed / (1 << 20):.0f} allowed"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="how many files")
    parser.add_argument("--start", type=int, default=0, help="the first one's number")
    parser.add_argument("--only", type=int, help="this number alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="where files that fail are kept")
    asked = parser.parse_args()
    numbers = range(asked.start, asked.start + asked.n) if asked.only is None else [asked.only]
    with tempfile.TemporaryDirectory() as folder:
        originals = make_originals(Path(folder))
        sizes = ", ".join(f"{path.name} {path.stat().st_size:,}" for path in sorted(originals.iterdir()))
        sys.stdout.write(f"originals: {sizes}\n")
        started = time.monotonic()
        tally = run(numbers, originals, jobs=asked.jobs, keep=asked.keep)
    sys.stdout.write(told(tally, time.monotonic() - started) + "\n")
    return 1 if tally.failures or tally.peak_memory_bytes > WorkerLimits().memory_bytes else 0


if __name__ == "__main__":
    sys.exit(main())
