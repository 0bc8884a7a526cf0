"""One training run in several processes: `--devices` on this machine, `--nodes` machines with the same command.

Every process runs `python -m telltale.train._ranks JOB RANK`; the one that was asked starts them, waits, and says what
went wrong where one fails. On several nodes NODE_RANK, MASTER_ADDR and MASTER_PORT are set as for torchrun, and OUT is
a folder that all of them see.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

from telltale.bundle import Bundle, load_bundle
from telltale.errors import TelltaleError, UsageError, WorkerCrashed, error_from_code
from telltale.train._job import Job, finish_job, fit_job

_EVERY_S = 0.2
_PATIENCE = timedelta(hours=12)
"""Others wait while the first process computes features, or exports. One that dies is noticed at once."""


def launch(job: Job) -> Bundle:
    """Run `job` on this node's processes. Raises what the first of them to fail raised, or WorkerCrashed."""
    node = _node(job.settings.nodes)
    with tempfile.TemporaryDirectory(prefix="telltale-train-") as name:
        folder = Path(name)
        (folder / "job.pickle").write_bytes(pickle.dumps(job))
        started = [_start(folder, job, node, local) for local in range(job.settings.devices)]
        try:
            _wait(started, folder, node * job.settings.devices)
        finally:
            for process in started:
                process.kill()
                process.wait()
    return load_bundle(job.out / "bundle")


def _node(nodes: int) -> int:
    if nodes == 1:
        return 0
    missing = [name for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UsageError(
            f"--nodes {nodes} needs {', '.join(missing)} in the environment, as torchrun sets them: the number of this "
            "node from 0 on, and the address and a free port of node 0"
        )
    node = int(os.environ["NODE_RANK"])
    if not 0 <= node < nodes:
        raise UsageError(f"NODE_RANK is {node}, and there are {nodes} nodes, counted from 0")
    return node


def _start(folder: Path, job: Job, node: int, local: int) -> subprocess.Popen[bytes]:
    at = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port(folder))} if job.settings.nodes == 1 else {}
    environment = os.environ | at | {"LOCAL_RANK": str(local), "NODE_RANK": str(node)}
    command = [
        sys.executable,
        "-m",
        "telltale.train._ranks",
        str(folder / "job.pickle"),
        str(node * job.settings.devices + local),
    ]
    if local == 0:  # its progress line is the run's
        return subprocess.Popen(command, env=environment)
    with (folder / f"stderr-{local}").open("wb") as quiet:
        return subprocess.Popen(command, env=environment, stderr=quiet, stdout=quiet)


def _free_port(folder: Path) -> int:
    """One port for all processes of a run."""
    noted = folder / "port"
    if not noted.exists():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            noted.write_text(str(free.getsockname()[1]))
    return int(noted.read_text())


def _wait(started: list[subprocess.Popen[bytes]], folder: Path, first_rank: int) -> None:
    while True:
        ended = [process.poll() for process in started]
        failed = [local for local, code in enumerate(ended) if code]
        if failed:
            raise _failure(folder, failed, ended, first_rank)
        if all(code == 0 for code in ended):
            return
        time.sleep(_EVERY_S)


def _failure(folder: Path, failed: list[int], ended: list[int | None], first_rank: int) -> TelltaleError:
    for local in failed:
        told = folder / f"error-{first_rank + local}.json"
        if told.exists():
            said = json.loads(told.read_text(encoding="utf-8"))
            return error_from_code(said["code"], said["message"])
    local, code = failed[0], ended[failed[0]] or 0
    how = f"was stopped by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    log = folder / f"stderr-{local}"
    last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
    why = f": {last[0]}" if last else ""
    return WorkerCrashed(
        f"training process {first_rank + local} {how}{why}; what was done is kept: go on with --resume"
    )


def _end_with(parent: int) -> None:
    """A run whose asker was killed must not go on unseen."""
    while os.getppid() == parent:
        time.sleep(_EVERY_S)
    os._exit(1)


def main(path: str, rank: str) -> int:
    """One process of a run."""
    import torch
    import torch.distributed as dist

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    job: Job = pickle.loads(Path(path).read_bytes())  # our own parent's, in a folder that only this user can write
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", rank=int(rank), world_size=job.settings.n_processes, timeout=_PATIENCE
    )
    try:
        net = fit_job(job, rank=int(rank))
        if rank == "0":
            finish_job(job, net)
        dist.barrier()
    except KeyboardInterrupt:  # whoever asked was stopped as well, and says so
        return 128 + signal.SIGINT
    except TelltaleError as error:
        said = {"code": error.code, "message": error.message}
        Path(path).with_name(f"error-{rank}.json").write_text(json.dumps(said), encoding="utf-8")
        return 1
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
