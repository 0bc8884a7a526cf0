"""A Telltale server for tests: in a thread, or as a process that can be killed."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from telltale.web.app import create_app
from telltale.web.client import Client
from telltale.web.server import listen, make_server
from telltale.web.service import Service
from telltale.web.settings import ServeSettings

SRC = Path(__file__).parents[1] / "src"


@dataclass(frozen=True)
class Running:
    """A server in a thread of this process."""

    url: str
    port: int
    service: Service

    def client(self, **options: Any) -> Client:
        return Client(self.url, **options)


@contextlib.contextmanager
def running(data: Path, model: Path, *, workers: int = 1, **options: Any) -> Iterator[Running]:
    """A server on a free port of 127.0.0.1 until the end of the block; `options` are fields of `ServeSettings`."""
    settings = ServeSettings(data=data, models=(model,), workers=workers, **options)
    with listen("127.0.0.1", 0) as listener:
        app = create_app(settings)
        server = make_server(app, settings)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]), name="server")
        thread.start()
        port = listener.getsockname()[1]
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield Running(f"http://127.0.0.1:{port}", port, app.state.service)
        finally:
            server.should_exit = True
            thread.join(timeout=30)
            assert not thread.is_alive(), "the server did not end"


class Process:
    """`telltale serve` as a process of its own."""

    def __init__(self, data: Path, model: Path, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        command = [
            *(sys.executable, "-m", "telltale", "serve", "--data", str(data), "--model", str(model)),
            *("--port", str(self.port), *options),
        ]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process; a pipe nobody reads would fill
        self._process = subprocess.Popen(command, stderr=self._log, env=environment())
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self, **options: Any) -> Client:
        return Client(self.url, **options)

    def wait_until_ready(self, *, wait_s: float = 60.0) -> Self:
        with self.client() as client:
            ends_at = time.monotonic() + wait_s
            while not client.is_ready():
                assert self._process.poll() is None, self.stderr()
                assert time.monotonic() < ends_at, "the server does not get ready"
                time.sleep(0.05)
        return self

    def kill(self) -> None:
        """kill -9"""
        self._process.kill()
        self._process.wait()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """The exit status after an orderly stop."""
        self._process.send_signal(signal_number)
        return self._process.wait(timeout=30)

    def stderr(self) -> str:
        """All it has said so far."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
