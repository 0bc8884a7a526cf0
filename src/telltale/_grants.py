"""The one file of a job, handed to the worker as open descriptors: the worker itself can open nothing.

The parent opens the file, finds it to be a regular one, and opens it again through that descriptor, so that all
descriptors are of the same file and each has a place of its own (a hash runs beside the decoder). Unix only;
elsewhere the worker opens the path.

    files = opened(["clip.mp4"], timeout_s=60)      # parent
    send(sock, files)                               # parent; closes its own
    take(sock, ["clip.mp4"])                        # worker; `Source("clip.mp4")` then finds them
    release()                                       # worker, after the job
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence

from telltale.errors import DeadlineExceeded, WorkerNotStarted

IS_USED = sys.platform == "linux"
N_DESCRIPTORS = 12
"""Of each file: head, hash, two passes over the packets, a look at a header without limits, sound, credentials."""

_granted: dict[str, list[int]] = {}


def opened(paths: Sequence[str], *, timeout_s: float) -> dict[str, list[int]]:
    """Path -> descriptors. Raises `InputError`, `DeadlineExceeded` on a disk that does not answer, and
    `WorkerNotStarted` where too many files are open."""
    found: dict[str, list[int]] = {}
    errors: list[BaseException] = []
    turn = threading.Lock()
    is_opened = is_too_late = False

    def work() -> None:
        nonlocal is_opened
        from telltale._source import open_regular

        mine: dict[str, list[int]] = {}
        try:
            for path in paths:
                fd, _ = open_regular(path)
                mine[path] = [fd]
                mine[path] += [os.open(f"/proc/self/fd/{fd}", os.O_RDONLY) for _ in range(N_DESCRIPTORS - 1)]
        except OSError as error:  # of a second descriptor of a file that is open
            errors.append(WorkerNotStarted(f"{error.strerror}: ask for fewer files at a time, or raise ulimit -n"))
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            errors.append(error)
        with turn:
            is_opened = True
            if is_too_late:
                close(mine)  # nobody waits for them any more
            else:
                found.update(mine)

    thread = threading.Thread(target=work, name="telltale-open", daemon=True)
    thread.start()
    thread.join(min(timeout_s, threading.TIMEOUT_MAX))  # a deadline may be any number, a wait may not
    with turn:
        is_too_late = not is_opened
    if is_too_late:
        raise DeadlineExceeded(f"the file could not be opened within {timeout_s:g} s; check the disk or the network")
    if errors:
        close(found)
        raise errors[0]
    return found


def send(sock: socket.socket, files: Mapping[str, Sequence[int]]) -> None:
    """Hand them over, in the order of the mapping, and close this side's. Raises `OSError` when nobody is there."""
    try:
        for fds in files.values():
            socket.send_fds(sock, [b"f"], list(fds))
    finally:
        close(files)


def close(files: Mapping[str, Sequence[int]]) -> None:
    for fds in files.values():
        for fd in fds:
            os.close(fd)


def take(sock: socket.socket, paths: Sequence[str]) -> None:
    """Receive the descriptors of these files; what earlier jobs left is closed."""
    release()
    for path in paths:
        _, fds, _, _ = socket.recv_fds(sock, 1, N_DESCRIPTORS)
        _granted[path] = list(fds)


def release() -> None:
    """Close what the job did not use."""
    close(_granted)
    _granted.clear()


def granted(path: str) -> int | None:
    """A descriptor of the file handed over under that name, at its beginning; the caller closes it."""
    return _granted[path].pop() if path in _granted else None
