"""Jobs that misbehave in every way a hostile file could make them; run by test_sandbox in a worker."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from telltale.errors import CorruptFile, error_from_code
from telltale.sampling import SamplePlan
from telltale.sandbox import Message

JOBS = {
    name: f"sandbox_jobs:{name}"
    for name in (
        "echo",
        "count",
        "sleep",
        "sleep_in_c",
        "eat_memory",
        "eat_memory_at_once",
        "abort",
        "leave",
        "raise_known",
        "raise_unknown",
        "print_much",
        "talk_nonsense",
        "pid",
        "folder",
        "standard_input",
        "read_all",
        "open_blindly",
        "try_everything",
        "lie",
        "hang",
        "see_and_hang",
    )
} | {"not_importable": "no_such_module:job"}


def echo(args: dict[str, Any]) -> Iterator[Message]:
    arrays = {name: np.arange(6).astype(name).reshape(2, 3) for name in args.get("dtypes", [])}
    yield Message("echo", args, arrays)


def count(args: dict[str, Any]) -> Iterator[Message]:
    for i in range(args["n"]):
        yield Message("number", {"i": i}, {"payload": np.full(args.get("n_bytes", 1), i % 256, np.uint8)})


def sleep(args: dict[str, Any]) -> Iterator[Message]:
    yield Message("asleep", {"pid": os.getpid()})
    time.sleep(args["seconds"])


def sleep_in_c(args: dict[str, Any]) -> Iterator[Message]:
    """Stuck in C with the interpreter locked: nothing in this process can run any more."""
    yield Message("asleep", {"pid": os.getpid()})
    ctypes.PyDLL(None).sleep(args["seconds"])


def eat_memory(args: dict[str, Any]) -> Iterator[Message]:
    """Step by step, so that only somebody who looks notices."""
    yield Message("eating", {})
    eaten = []
    while True:
        eaten.append(np.ones(args["step_bytes"], np.uint8))
        time.sleep(0.005)


def eat_memory_at_once(args: dict[str, Any]) -> Iterator[Message]:
    yield Message("eating", {"n": len(bytearray(args["n_bytes"]))})


def abort(_: dict[str, Any]) -> Iterator[Message]:
    yield Message("aborting", {})
    os.abort()


def leave(_: dict[str, Any]) -> Iterator[Message]:
    yield Message("leaving", {})
    sys.stderr.write("so long\n")
    sys.stderr.flush()
    os._exit(7)


def raise_known(args: dict[str, Any]) -> Iterator[Message]:
    yield Message("raising", {})
    raise CorruptFile(args["message"])


def raise_unknown(_: dict[str, Any]) -> Iterator[Message]:
    yield Message("raising", {})
    raise ZeroDivisionError("division of labour")


def print_much(_: dict[str, Any]) -> Iterator[Message]:
    sys.stdout.write("x" * 1_000_000)
    sys.stderr.write("y" * 1_000_000)
    os.write(1, b"straight to the descriptor")
    yield Message("printed", {})


def talk_nonsense(_: dict[str, Any]) -> Iterator[Message]:
    """A decoder that was taken over writes to every descriptor it finds."""
    for fd in range(3, 20):
        try:
            os.write(fd, b"\x80\x04cposix\nsystem\nX\x02\x00\x00\x00id\x85R." * 100)
        except OSError:
            continue
    yield Message("said", {})


def pid(_: dict[str, Any]) -> Iterator[Message]:
    yield Message("pid", {"pid": os.getpid(), "n_threads": threading.active_count()})


def folder(_: dict[str, Any]) -> Iterator[Message]:
    yield Message("folder", {"folder": str(Path.cwd()), "path": sys.path})


def standard_input(_: dict[str, Any]) -> Iterator[Message]:
    yield Message("read", {"text": sys.stdin.read()})


def open_blindly(args: dict[str, Any]) -> Iterator[Message]:
    yield Message("opened", {"n": len(Path(args["name"]).read_bytes())})


_FCHMODAT2, _HERE = 452, -100


def _call(number: int, *args: object) -> None:
    _call_libc("syscall", number, *args)


def _call_libc(name: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), name)


def try_everything(args: dict[str, Any]) -> Iterator[Message]:
    """What a decoder that was taken over would try; what came of each."""
    name, here = args["name"], args["folder"]
    attempts: dict[str, Callable[[], object]] = {
        "a connection": lambda: socket.create_connection(("127.0.0.1", args["port"]), timeout=2),
        "a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
        "a local socket": lambda: socket.socket(socket.AF_UNIX).connect("/run/nothing"),
        "another program": lambda: os.execv("/bin/true", ["true"]),
        "a copy of itself": os.fork,
        "a shell": lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True),
        "a file": lambda: Path(name).read_bytes(),
        "a file by its descriptor": lambda: Path(f"/proc/self/fd/{os.open(name, os.O_PATH)}").read_bytes(),
        "passwords": lambda: Path("/etc/passwd").read_bytes(),
        "a list of files": lambda: os.listdir(here),  # noqa: PTH208
        "a new file": lambda: Path(here, "new").write_text("x"),
        "a change": lambda: Path(name).write_text("x"),
        "a removal": lambda: Path(name).unlink(),
        "a link": lambda: os.symlink("/etc/passwd", f"{here}/link"),  # noqa: PTH211
        "the parent's memory": lambda: Path(f"/proc/{os.getppid()}/mem").open("rb").close(),
        "the parent's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "the end of the parent": lambda: os.kill(os.getppid(), signal.SIGTERM),
        "the limits of the parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)),
        "the parent's processors": lambda: os.sched_setaffinity(os.getppid(), {0}),
        "the parent's priority": lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 5),
        "the rights of a file": lambda: os.chmod(name, 0o777),  # noqa: PTH101
        "the rights of a folder": lambda: os.chmod(here, 0o777),  # noqa: PTH101
        "rights by a new call": lambda: _call(_FCHMODAT2, _HERE, name.encode(), 0o777, 0),
        "the rights of its own file": lambda: os.fchmod(0, 0o777),
        "an owner": lambda: os.chown(name, 1234, 1234),
        "a time": lambda: os.utime(name, (1, 1)),
        "an attribute": lambda: os.setxattr(name, "user.x", b"1"),
        "memory with others": lambda: _call_libc("shmget", 0x1234, 4096, 0o1666),
        "more memory": lambda: resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40)),
        "a file of its own in memory": lambda: os.write(os.memfd_create("x"), b"x"),
    }
    found = {}
    for what, attempt in attempts.items():
        try:
            attempt()
            found[what] = "done"
        except (OSError, ValueError) as error:
            found[what] = type(error).__name__
    yield Message("tried", found)


def read_all(args: dict[str, Any]) -> Iterator[Message]:
    """Every frame of a file, as a scan would read it."""
    from telltale.video import open_video

    last_s = float("-inf")
    with open_video(args["path"], SamplePlan("all")) as reader:
        for frame in reader:
            if frame.pts_s <= last_s:
                raise AssertionError(f"{frame.pts_s} after {last_s}")
            last_s = frame.pts_s
    yield Message("read", {"n": reader.n_decoded, "codes": reader.codes, "sha256": reader.info.sha256})


_INFO: dict[str, Any] = {
    "path": "a.mp4", "sha256": "", "size_bytes": 1, "container": "mp4", "codec": "h264", "width_px": 64,
    "height_px": 64, "rotation_deg": 0, "duration_s": 1.0, "fps_header": 25.0, "n_frames_header": 25, "stream_index": 0,
    "timestamps": "exact", "is_image": False,
}  # fmt: skip
_DONE: dict[str, Any] = {
    "info": _INFO, "decoded": 1, "analysed": 1, "lost": 0, "codes": [], "warnings": [], "partial": [],
    "is_out_of_time": False, "persons": [], "timings_s": {},
}  # fmt: skip
_FACE: dict[str, Any] = {
    "track_id": 0, "frame_index": 0, "pts_s": 0.0, "box_xyxy": [0.0, 0.0, 50.0, 50.0], "points": None,
    "confidence": 0.9, "source": "detected",
}  # fmt: skip


def _info(**other: Any) -> list[Message]:
    return [Message("info", _INFO | other), Message("done", _DONE | {"info": _INFO | other})]


def _done(**other: Any) -> list[Message]:
    return [Message("info", _INFO), Message("done", _DONE | other)]


def _face(*, shape: tuple[int, ...] = (1, 32, 32, 3), dtype: str = "uint8", n: int = 1, **other: Any) -> list[Message]:
    said = {"index": 0, "pts_s": 0.0, "faces": [_FACE | other]}
    return [Message("info", _INFO), *[Message("faces", said, {"crops": np.zeros(shape, dtype)})] * n, *_done()[1:]]


def _backwards() -> list[Message]:
    first, second = _face(pts_s=5.0), _face(pts_s=1.0)
    return [*first[:2], *second[1:]]


LIES: dict[str, list[Message]] = {
    "crops_too_small": _face(shape=(1, 16, 16, 3)),
    "crops_flat": _face(shape=(1, 32, 32)),
    "crops_of_floats": _face(dtype="float32"),
    "crops_missing": [Message("info", _INFO), Message("faces", {"index": 0, "pts_s": 0.0, "faces": [_FACE]})],
    "more_crops_than_faces": _face(shape=(9, 32, 32, 3)),
    "box_inside_out": _face(box_xyxy=[50.0, 50.0, 0.0, 0.0]),
    "box_endless": _face(box_xyxy=[0.0, 0.0, float("inf"), 50.0]),
    "track_id_too_large": _face(track_id=2**40),
    "no_time": _face(pts_s=float("nan")),
    "source_unheard_of": _face(source="guessed"),
    "face_without_fields": [Message("faces", {"index": 0, "pts_s": 0.0, "faces": [{}]})],
    "faces_backwards": _backwards(),
    "info_of_words": _info(duration_s="long"),
    "info_unknown_field": _info(colour="red"),
    "info_missing_field": [Message("info", {"path": "a.mp4"}), *_done()[1:]],
    "info_without_size": _info(width_px=0),
    "info_no_number": _info(fps_header=float("nan")),
    "info_too_large": _info(size_bytes=10**400),
    "info_hash_leads_elsewhere": _info(sha256="../../etc/passwd"),
    "thumbnail_of_nothing": [Message("info", _INFO), Message("thumbnail", {"pts_s": 0.0}), *_done()[1:]],
    "still_of_nothing": [Message("info", _INFO), Message("still", {}), *_done()[1:]],
    "info_no_text": _info(codec="\ud800"),
    "code_unheard_of": _done(codes=["surprise"]),
    "persons_of_words": _done(persons=["me"]),
    "timings_endless": _done(timings_s={"detect": float("inf")}),
    "warning_no_text": _done(warnings=["\ud800"]),
    "done_twice": [*_done(), *_done()],
    "done_never": [Message("info", _INFO)],
    "nothing": [],
    "kind_unheard_of": [Message("surprise", {})],
}  # fmt: skip
"""What an `extract` job taken over might say, by the stem of the file that it was asked about."""


def lie(args: dict[str, Any]) -> Iterator[Message]:
    """Also as a `hash` job, which then says no hash."""
    stem = Path(args["path"]).stem
    if stem.startswith("says_"):
        raise error_from_code(stem.removeprefix("says_"), "because it says so")
    yield from LIES[stem]


def hang(_: dict[str, Any]) -> Iterator[Message]:
    """As any job that finds no end."""
    yield Message("hanging")
    time.sleep(600)


def see_and_hang(args: dict[str, Any]) -> Iterator[Message]:
    """As an `extract` job that is stuck after three frames."""
    yield Message("info", _INFO | {"size_bytes": 1234})
    side_px = args["crop"]["size_px"]
    for i in range(3):
        face = _FACE | {"frame_index": i, "pts_s": float(i)}
        crops = np.zeros((1, side_px, side_px, 3), np.uint8)
        yield Message("faces", {"index": i, "pts_s": float(i), "faces": [face]}, {"crops": crops})
    time.sleep(600)


__all__ = ["JOBS", "LIES"]
