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

from telltale.errors import CorruptFile
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
        "the end of the parent": lambda: os.kill(os.getppid(), signal.SIGTERM),
        "more memory": lambda: resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40)),
        "a file of its own in memory": lambda: os.write(os.memfd_create("x"), b"x"),
    }
    found = {}
    for what, attempt in attempts.items():
        if what in args["leave_out"]:
            continue
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


__all__ = ["JOBS"]
