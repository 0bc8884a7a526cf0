"""Load for a server, and what came of it: the short runs of the tests and the long ones of benchmarks/web_soak.py.

Everything goes to 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

from telltale.web.client import ApiError, Client, ServerUnreachable
from telltale.web.database import database
from telltale.web.scan_db import ScanDb
from telltale.web.schema import ENDED
from web_server import Process

MIB = 1 << 20
_ORPHAN_S = 30.0
"""So long a worker may take to notice that its server is gone."""
_LEFT_OUT = "use_after_free,positive_data_acceptance"
"""A cancelled scan can still be read; that settings exclude each other is beyond what the document can say."""
_ENDLESS = "/api/v1/events"
"""A stream that does not end by itself."""


def with_number(clip: bytes, number: int) -> bytes:
    """The same MP4 with other bytes: a `free` box that players skip."""
    return clip + struct.pack(">I4sQ", 16, b"free", number)


def copies(clip: Path, n: int, folder: Path) -> list[Path]:
    """`n` clips that differ in their bytes, so that none is answered from an earlier result."""
    content, files = clip.read_bytes(), []
    for number in range(n):
        files.append(folder / f"clip-{number:03d}.mp4")
        files[-1].write_bytes(with_number(content, number))
    return files


@dataclass
class Watched:
    """How a server did while something was done to it."""

    health_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    peak_bytes: int = 0
    """Resident, of the server and its workers."""
    peak_server_bytes: int = 0

    def percentile_s(self, share: float) -> float:
        ordered = sorted(self.health_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextlib.contextmanager
def watching(url: str, pid: int, *, every_s: float = 0.05) -> Iterator[Watched]:
    """Ask /healthz again and again, and measure memory, until the end of the block."""
    watched, is_over = Watched(), threading.Event()

    def ask() -> None:
        with httpx2.Client(base_url=url, timeout=60) as http:
            while not is_over.wait(every_s):
                started_at = time.perf_counter()
                watched.statuses[http.get("/healthz").status_code] += 1
                watched.health_s.append(time.perf_counter() - started_at)

    def weigh() -> None:
        server = psutil.Process(pid)
        while not is_over.wait(0.2):
            own, whole = server.memory_info().rss, 0
            for process in server.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    whole += process.memory_info().rss
            watched.peak_server_bytes = max(watched.peak_server_bytes, own)
            watched.peak_bytes = max(watched.peak_bytes, own + whole)

    threads = [threading.Thread(target=target) for target in (ask, weigh)]
    for thread in threads:
        thread.start()
    try:
        yield watched
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@dataclass
class Storm:
    """What became of uploads that came all at once."""

    ended: Counter[str] = field(default_factory=Counter)
    """State -> scans."""
    n_turned_away: int = 0
    """Answers with 429; each was repeated after the time it gave."""
    n_turned_away_twice: int = 0
    n_lost: int = 0
    took_s: float = 0.0


def storm(url: str, files: list[Path], *, wait_s: float) -> Storm:
    """Upload all files at the same moment, each by a client of its own, and wait for every report."""
    result, lock, start = Storm(), threading.Lock(), threading.Barrier(len(files))

    def upload(file: Path) -> None:
        with Client(url, timeout_s=wait_s) as client:
            start.wait()
            n_refused = 0
            try:
                while True:
                    try:
                        entry = client.submit(file, wait_s=0)
                        break
                    except ApiError as error:
                        if error.retry_after_s is None:
                            raise
                        n_refused += 1
                        time.sleep(error.retry_after_s)
                state = client.wait(entry.id, wait_s=wait_s).state
                with lock:
                    result.ended[state] += 1
            except (ApiError, ServerUnreachable, TimeoutError):
                with lock:
                    result.n_lost += 1
            with lock:
                result.n_turned_away += n_refused
                result.n_turned_away_twice += n_refused > 1

    started_at = time.monotonic()
    with ThreadPoolExecutor(len(files)) as pool:
        list(pool.map(upload, files))
    result.took_s = time.monotonic() - started_at
    return result


_SLOW_FROM = ("127.0.0.2", 0) if sys.platform == "linux" else None
"""Another client than the good one, where the machine answers to more than one address of its own: what a client sends
slowly counts among what it may have."""
_UPLOAD = (
    b"POST /api/v1/scans HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: 100000\r\n\r\n"
)
_BEGINNINGS = (
    b"GET / HTTP/1.1\r\nX: ",
    _UPLOAD + b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
    _UPLOAD,  # what follows is no form: answered early, and drained
)


@dataclass
class Trickled:
    """What became of sockets that send a byte now and then."""

    n_open_at_end: int = 0
    last_closed_s: float = 0.0
    """From the start to the moment the last one was closed."""
    answers: Counter[str] = field(default_factory=Counter)
    """Status, or `closed` -> sockets."""
    n_served: int = 0
    """Uploads of the good client that were taken meanwhile."""
    n_refused: int = 0
    slowest_s: float = 0.0


def trickle(port: int, *, n: int, for_s: float, every_s: float = 1.0, good_file: Path) -> Trickled:
    """`n` sockets, in the head, in an upload and after an early answer; a good client uploads all the while."""
    result, is_over = Trickled(), threading.Event()

    def be_good() -> None:
        with Client(f"http://127.0.0.1:{port}", timeout_s=60) as client:
            while not is_over.is_set():
                started_at = time.monotonic()
                try:
                    client.submit(good_file, wait_s=0)
                    result.n_served += 1
                except (ApiError, ServerUnreachable):
                    result.n_refused += 1
                result.slowest_s = max(result.slowest_s, time.monotonic() - started_at)
                is_over.wait(0.5)

    good = threading.Thread(target=be_good)
    good.start()
    try:
        asyncio.run(_trickle_all(result, port, n, for_s, every_s))
    finally:
        is_over.set()
        good.join()
    return result


async def _trickle_all(result: Trickled, port: int, n: int, for_s: float, every_s: float) -> None:
    started_at = time.monotonic()

    async def one(number: int) -> None:
        await asyncio.sleep(number * 2.0 / n)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=_SLOW_FROM)
        writer.write(_BEGINNINGS[number % len(_BEGINNINGS)])
        answer = b""
        try:
            while time.monotonic() - started_at < for_s:
                writer.write(b"x")
                with contextlib.suppress(TimeoutError):
                    received = await asyncio.wait_for(reader.read(4096), every_s)
                    if not received:
                        break
                    answer += received
            else:
                result.n_open_at_end += 1
        except ConnectionError:
            pass
        result.last_closed_s = max(result.last_closed_s, time.monotonic() - started_at)
        result.answers[answer[9:12].decode("ascii") if answer else "closed"] += 1
        writer.close()

    await asyncio.gather(*(one(number) for number in range(n)))


@dataclass
class Killed:
    """What became of jobs whose server was killed."""

    ended: Counter[str] = field(default_factory=Counter)
    n_unanswered: int = 0
    """Uploads that got no answer before the kill; they were sent once more."""
    n_unended: int = 0
    n_results_left: int = 0
    """Files of no analysis, analyses without a result, uploads half received, scans that nobody sent."""
    n_orphans: int = 0
    """Worker processes that outlived the server."""


@dataclass(frozen=True)
class Moment:
    """When to kill: so many jobs have ended, and then so many seconds. The same on a slow machine and a fast one."""

    n_ended: int
    then_s: float

    def wait(self, client: Client) -> None:
        while len(list(client.scans(state="done"))) < self.n_ended:
            time.sleep(0.02)
        time.sleep(self.then_s)


def kill_round(data: Path, model: Path, files: list[Path], moment: Moment, *, wait_s: float) -> Killed:
    """Start a server, send it all files, `kill -9` it at that moment, start it again and wait for every job."""
    result = Killed()
    known: dict[Path, str] = {}
    with Process(data, model, "--workers", "2").wait_until_ready() as server:
        workers: list[psutil.Process] = []

        def kill() -> None:
            with server.client() as watcher:
                moment.wait(watcher)
            workers.extend(psutil.Process(server.pid).children(recursive=True))
            server.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with server.client(timeout_s=10) as client:
            for file in files:
                try:
                    known[file] = client.submit(file, wait_s=0).id
                except ServerUnreachable:
                    result.n_unanswered += 1
        killer.join()
    result.n_orphans = len(psutil.wait_procs(workers, timeout=_ORPHAN_S)[1])
    with Process(data, model, "--workers", "2").wait_until_ready() as server, server.client() as client:
        for file in files:
            if file not in known:
                known[file] = client.submit(file).id
        ends_at = time.monotonic() + wait_s
        for scan_id in known.values():
            scan = client.get(scan_id)
            while scan.state not in ENDED and time.monotonic() < ends_at:
                time.sleep(0.1)
                scan = client.get(scan_id)
            result.ended[scan.state] += 1
            result.n_unended += scan.state not in ENDED
        listed = Counter(entry.name for entry in client.scans())
        # An upload whose answer was lost may have been taken: then it is there twice, and both end.
        extra = sum(listed.values()) - len(files)
        result.n_results_left = max(0, extra - result.n_unanswered)
        server.stop()
    result.n_results_left += _n_stray(data)
    return result


def _n_stray(data: Path) -> int:
    """Files that belong to no analysis, and analyses without a result."""
    with closing(ScanDb(database(data))) as scan_db:
        known = scan_db.analysis_ids()
    media, results = ({entry.name for entry in (data / name).iterdir()} for name in ("media", "results"))
    return len(list((data / "uploads").iterdir())) + len(media - known) + len(results ^ known)


def seeded_moments(n: int, *, n_jobs: int, seed: int = 7) -> list[Moment]:
    """When to kill servers that have `n_jobs` each; never after the last has ended."""
    rng = random.Random(seed)
    return [Moment(rng.randrange(n_jobs), rng.uniform(0.0, 0.6)) for _ in range(n)]


def run_schemathesis(url: str, folder: Path, *options: str, key: str = "") -> subprocess.CompletedProcess[str]:
    """All of its checks but `_LEFT_OUT`."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--no-color"),
        *("--exclude-checks", _LEFT_OUT, "--exclude-path", _ENDLESS, "--request-timeout", "60"),
        *("--suppress-health-check", "all", *options),
        *(("-H", f"Authorization: Bearer {key}") if key else ()),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
