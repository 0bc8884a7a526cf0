"""Work that comes to no end through no fault of its own, and when those who are turned away may come back."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx2
import pytest

from telltale import sandbox
from telltale._process import Child
from telltale._request import HASH_NOT_KNOWN
from telltale.errors import FileMissing, FileUnreadable, TelltaleError, WorkerNotStarted
from telltale.scan import Scanner
from telltale.types import Report
from telltale.web import jobs as jobs_module
from telltale.web.analysis import Analyst
from telltale.web.client import Client
from telltale.web.rows import NewScan, Work
from telltale.web.schema import ScanEntry
from web_server import Running, running


def no_process(*_: object) -> Future[Child]:
    """As where the machine has no memory left, or no more processes are allowed."""
    started = Future[Child]()
    started.set_exception(BlockingIOError(11, "Resource temporarily unavailable"))
    return started


@pytest.fixture
def exhausted(tmp_path: Path, redness: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server on a machine that starts no process until the patch is undone."""
    monkeypatch.setattr(sandbox, "_started", no_process)
    monkeypatch.setattr(jobs_module, "_TRY_AGAIN_S", 0.05)
    with running(tmp_path / "data", redness) as server:
        yield server


def until_not_ready(server: Running) -> httpx2.Response:
    ends_at = time.monotonic() + 60
    while (answer := httpx2.get(f"{server.url}/readyz")).status_code == 200:
        assert time.monotonic() < ends_at, "it stays ready"
        time.sleep(0.02)
    return answer


def until_put_back(client: Client, scan: ScanEntry) -> ScanEntry:
    ends_at = time.monotonic() + 60
    while (entry := client.get(scan.id)).state != "queued":
        assert time.monotonic() < ends_at, f"it is {entry.state}"
        time.sleep(0.02)
    return entry


def test_uploads_wait_where_no_process_can_be_started_and_are_analysed_when_one_can(
    exhausted: Running,
    portrait: Path,
    face_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with exhausted.client() as client:
        scans = [client.submit(file) for file in (portrait, face_clip)]
        problem = until_not_ready(exhausted).json()
        assert problem["code"] == "not_ready"
        assert problem["detail"] == "no process to analyse with can be started; free memory or allow more processes"
        assert [until_put_back(client, scan).started_at for scan in scans] == [None, None]
        assert "telltale_scans_total{" not in exhausted.service.metrics.text(), "one has ended"
        monkeypatch.undo()
        assert [client.wait(scan.id, wait_s=60).state for scan in scans] == ["done", "done"]
        assert client.is_ready()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("analyses wait until a process can be started: ")


def test_waiting_for_a_process_is_no_attempt(
    exhausted: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, scan_db, claimed = exhausted.service.jobs, exhausted.service.scan_db, SimpleQueue[Work]()
    claim = scan_db.claim

    def noted() -> Work | None:
        if work := claim():
            claimed.put(work)
        return work

    monkeypatch.setattr(scan_db, "claim", noted)
    monkeypatch.setattr(jobs._analyst, "can_start", lambda _: True)  # and then it cannot after all
    with exhausted.client() as client:
        scan = client.submit(portrait)
        assert [claimed.get(timeout=60).attempts for _ in range(5)] == [1] * 5
        client.delete(scan.id)


def test_one_worker_that_starts_keeps_the_server_ready(
    tmp_path: Path, redness: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        running(tmp_path / "data", redness, workers=2) as server,
        server.client() as client,
    ):
        jobs = server.service.jobs
        scan, refusals = jobs._analyst.scan, iter([WorkerNotStarted("no room")])

        def not_at_first(*args: Any, **options: Any) -> Report:
            for error in refusals:
                raise error
            return scan(*args, **options)

        monkeypatch.setattr(jobs._analyst, "scan", not_at_first)
        monkeypatch.setattr(jobs._analyst, "can_start", lambda _: False)
        assert client.wait(client.submit(portrait).id, wait_s=60).state == "done"
        assert len(jobs._held_up) == 1
        assert client.is_ready()


def test_what_is_claimed_in_the_moment_of_the_stop_waits_for_the_next_start(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, scan_db = server.service.jobs, server.service.scan_db
    claim = scan_db.claim

    def as_it_stops() -> Work | None:
        """`stop` has told all that were running by then, and this one is not yet among them."""
        if work := claim():
            jobs._is_stopping.set()
        return work

    monkeypatch.setattr(scan_db, "claim", as_it_stops)
    with server.client() as client:
        scan = client.submit(portrait)
        jobs._threads[0].join(timeout=60)
        assert client.get(scan.id).state == "queued"
        again = claim()
    assert again is not None
    assert (again.id, again.attempts) == (scan.id, 1)


def test_those_who_are_turned_away_keep_no_one_else_away(server: Running) -> None:
    jobs = server.service.jobs
    for ask in (jobs.retry_after_s, lambda: jobs.own_retry_after_s("ann")):
        waits = [ask() for _ in range(1000)]
        assert waits[0] < waits[1] < max(waits) <= 120
        assert ask() == pytest.approx(120)
    assert jobs.own_retry_after_s("bob") == pytest.approx(waits[0], abs=0.1), "who waits for places of his own"
    assert len(jobs._next_place_at) == 3


def test_refused_uploads_of_one_client_do_not_all_come_back_at_once(tmp_path: Path, redness: Path) -> None:
    with (
        running(tmp_path / "data", redness, per_client=0) as server,
        httpx2.Client(base_url=server.url, timeout=60) as http,
    ):
        server.service.jobs._took_s = 40.0
        answers = [http.post("/api/v1/scans", files={"file": b"x"}) for _ in range(3)]
    assert [answer.json()["code"] for answer in answers] == ["client_busy"] * 3
    first, second, third = (int(answer.headers["retry-after"]) for answer in answers)
    assert first < second < third


def test_a_client_who_was_let_in_after_all_makes_room_for_its_next_upload(server: Running, portrait: Path) -> None:
    jobs = server.service.jobs
    jobs._took_s = 10.0
    waits = [jobs.own_retry_after_s("127.0.0.1") for _ in range(2)]
    assert waits == pytest.approx([10, 20], abs=1)
    with server.client() as client:
        client.submit(portrait)
    assert jobs.own_retry_after_s("127.0.0.1") < 25


def test_a_hash_that_took_too_long_is_that_of_the_upload(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Scanner.scan

    def hasty(self: Scanner, path: Any, **how: Any) -> Report:
        report = scan(self, path, **how)
        late = report.input.model_copy(update={"sha256": ""})
        return report.model_copy(update={"input": late, "warnings": (*report.warnings, HASH_NOT_KNOWN)})

    monkeypatch.setattr(Scanner, "scan", hasty)
    with server.client() as client:
        report = client.scan(portrait)
    assert len(report.input.sha256) == 64
    assert HASH_NOT_KNOWN not in report.warnings


@pytest.mark.parametrize("error", [FileUnreadable("the disk failed"), FileMissing("it is gone")])
def test_a_fault_of_the_disk_is_not_remembered_of_the_file(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch, error: TelltaleError
) -> None:
    analyst, faults = server.service.jobs._analyst, iter([error])
    scan = analyst.scan

    def faulty_at_first(*args: Any, **options: Any) -> Report:
        for fault in faults:
            raise fault
        return scan(*args, **options)

    monkeypatch.setattr(analyst, "scan", faulty_at_first)
    with server.client() as client:
        failed = client.wait(client.submit(portrait).id, wait_s=60)
        assert failed.error is not None
        assert failed.error.code == error.code
        assert client.wait(client.submit(portrait).id, wait_s=60).state == "done"


def test_a_scan_says_how_many_come_before_it_not_how_many_came_earlier(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.service.scan_db, "claim", lambda: None)
    scan_db, jobs = server.service.scan_db, server.service.jobs
    for number, whose in enumerate(("ann", "ann", "ann", "bob")):
        new = NewScan(
            id=f"{number:032}",
            key=str(number),
            owner="",
            client=whose,
            name="",
            sha256="",
            size_bytes=1,
            model="m",
            options="{}",
        )
        scan_db.admit(new, queue_length=9, per_client=9)
    newest_first = jobs.entries(scan_db.list(owner=""))
    assert [entry.progress.ahead for entry in newest_first] == [1, 3, 2, 0]
    with server.client() as client:
        assert [entry.progress.ahead for entry in client.scans()] == [1, 3, 2, 0]
        assert client.get(f"{3:032}").progress.ahead == 1


def test_what_a_worker_is_not_confined_by_is_logged_once(
    tmp_path: Path, redness: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    states = {"landlock": "refused (Operation not permitted)", "seccomp": "on", "resource_limits": "on"}
    monkeypatch.setattr(Analyst, "confined", lambda *_: states)
    with running(tmp_path / "data", redness, workers=2) as server, server.client() as client:
        assert client.wait(client.submit(portrait).id, wait_s=60).state == "done"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith("isolation landlock: refused (Operation not permitted); files are decoded with less")
    assert "a filter of a service or container forbids it: let it allow landlock_create_ruleset" in warning
