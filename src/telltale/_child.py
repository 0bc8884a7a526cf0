"""The worker process: takes jobs from standard input, answers on what was standard output.

Started by `sandbox.Worker`, never by a person. Imports little: a job's modules are imported when it comes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import os
import signal
import socket
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from telltale import _grants, _wire
from telltale._confine import Powers, confine
from telltale._wire import Message
from telltale.errors import OutOfMemory, TelltaleError

Job = Callable[[dict[str, Any]], Iterator[Message]]

_SLACK_BYTES = 512 << 20
"""Address space beyond resident memory: stacks and arenas that are reserved and not used."""
_STACK_BYTES = 16 << 20
"""The same for each processor: libraries start a thread for each."""
_NO_MEMORY_WORDS = ("bad_alloc", "insufficient memory", "failed to allocate", "cannot allocate")


def main(settings: dict[str, Any]) -> None:
    """Serve jobs until the parent closes the pipe."""
    requests, answers = _take_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _die_with_parent(settings["parent_pid"])
    _limit(settings["memory_bytes"])
    jobs: Mapping[str, str] = settings["jobs"]
    files = None if settings["files_fd"] is None else _inherited(settings["files_fd"])
    powers = Powers(tuple(settings["may_read"]), tuple(settings["may_write"]))
    confine(powers, code_folders=_code_folders(jobs, settings["not_code"]))
    try:
        while (request := _wire.read(requests)) is not None:
            if request.kind == "warm":
                with contextlib.suppress(Exception):  # the job itself will say what is wrong
                    _warm(_load(jobs, request.data["job"]))
                continue
            if files is not None:
                _grants.take(files, request.data["files"])
            for message in _answer(jobs, request.data):
                _wire.write(answers, message)
            _grants.release()
            _give_back_memory()
    except BrokenPipeError:
        os._exit(0)


def _give_back_memory() -> None:
    """PyAV's containers are cycles that hold decoders and their frames, and glibc keeps what was freed: without this
    the worker grows by 70 MB a clip, to 500 MB, before it happens by itself. The parent has its answer already."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # musl has no malloc_trim and needs none
            ctypes.CDLL(None).malloc_trim(0)


def _answer(jobs: Mapping[str, str], request: Mapping[str, Any]) -> Iterator[Message]:
    try:
        if request["folder"] is not None:
            os.chdir(request["folder"])
        for message in _load(jobs, request["job"])(request["args"]):
            yield Message("say", {"kind": message.kind, "data": message.data}, message.arrays)
        yield Message("done")
    except TelltaleError as error:
        yield _failed(error)
    except Exception as error:  # noqa: BLE001 - becomes WorkerCrashed in the parent
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY_WORDS):
            yield Message(
                "failed", {"code": OutOfMemory.code, "message": "the file asks for more memory than it may have"}
            )
        else:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            yield Message("crashed", {"message": f"{type(error).__name__}: {error} ({place})"})


def _failed(error: TelltaleError) -> Message:
    return Message("failed", {"code": error.code, "message": error.message})


def _load(jobs: Mapping[str, str], name: str) -> Job:
    module, function = jobs[name].split(":")
    is_new = module not in sys.modules
    job: Job = getattr(importlib.import_module(module), function)
    if is_new:
        gc.collect()
        gc.freeze()  # modules stay: looking through them after each job would take 25 ms
    return job


def _warm(job: Job) -> None:
    """What the job's module wants done before the first one, where it says so."""
    warm = getattr(sys.modules[job.__module__], "warm", None)
    if warm is not None:
        warm()


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the pipes to the parent to ourselves; whoever prints, prints to standard error."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def _inherited(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=fd)


def _code_folders(jobs: Mapping[str, str], not_code: Sequence[str]) -> list[str]:
    """Where modules are imported from: Python's own folders, its path, and the modules of the jobs themselves."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    found |= {entry for entry in sys.path if entry not in not_code}
    for target in jobs.values():
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(target.split(":")[0].partition(".")[0])
            if spec is not None and spec.origin is not None:
                found.add(spec.origin if spec.submodule_search_locations is None else str(Path(spec.origin).parent))
    return sorted(found)


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(0)


def _limit(memory_bytes: int) -> None:
    """No core files, and a ceiling for what is allocated at once; the parent watches what is resident."""
    try:
        import resource
    except ImportError:  # Windows: the parent's deadline is all there is
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ceiling = memory_bytes + _SLACK_BYTES + _STACK_BYTES * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))
