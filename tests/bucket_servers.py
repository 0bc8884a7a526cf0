"""Object stores on this machine, each in a process of its own: moto's S3, and an emulator of Google Cloud Storage.

Both hold a bucket `footage`. The `footage` fixture gives a test a folder of its own in it.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NEEDS = {"s3": ("s3fs", "moto"), "gs": ("gcsfs", "gcp_storage_emulator")}


@dataclass(frozen=True)
class Footage:
    """A folder in a bucket."""

    url: str
    files: Any
    """fsspec's file system of the store."""

    def put(self, folder: Path, under: str) -> str:
        """The address under which all that lies in `folder` now lies, too."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.files.put_file(str(path), f"{self.root}/{under}/{path.relative_to(folder).as_posix()}")
        return f"{self.url}/{under}"

    @property
    def root(self) -> str:
        return self.url.partition("://")[2]


@contextmanager
def serve(scheme: str) -> Iterator[Mapping[str, str]]:
    """The environment in which `scheme` is the server's; the test is skipped where a package for it is missing."""
    missing = [name for name in NEEDS[scheme] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs telltale[bucket] and a server for {scheme}://: {', '.join(missing)} is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = _environment(scheme, f"http://127.0.0.1:{port}")
    with subprocess.Popen(_command(scheme, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(server, port)
            with pytest.MonkeyPatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                files = file_system(scheme)
                if scheme == "s3":
                    files.mkdir("footage")
            yield environment
        finally:
            server.terminate()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the server ended with exit code {server.returncode} before it listened")


def file_system(scheme: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # botocore's and aiohttp's own
        import fsspec

        return fsspec.filesystem(scheme)


def _command(scheme: str, port: int) -> list[str]:
    if scheme == "s3":
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    start = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "footage"]
    return [sys.executable, "-m", "gcp_storage_emulator", *start]


def _environment(scheme: str, url: str) -> dict[str, str]:
    if scheme == "s3":
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        return {**keys, "AWS_ENDPOINT_URL": url}
    # Else gcsfs asks Google what kind of bucket it is, which needs Google's own keys.
    return {"STORAGE_EMULATOR_HOST": url, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "NO_PROXY": "127.0.0.1"}


__all__ = ["Footage", "file_system", "serve"]
