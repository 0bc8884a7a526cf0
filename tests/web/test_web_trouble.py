"""When the disk is full, a key is replaced, a scan goes that shares its analysis: nothing hangs, leaks or stays."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from starlette.requests import HTTPConnection
from typer.testing import CliRunner

import make_videos
from telltale.cli import app
from telltale.errors import OutputError
from telltale.sandbox import Message, Worker
from telltale.web import annotated, events, files
from telltale.web.client import ApiError
from telltale.web.database import database
from telltale.web.guard import client_of, digest
from telltale.web.routes import results
from telltale.web.rows import NewScan, ScanRow
from telltale.web.scan_db import ScanDb
from telltale.web.settings import ServeSettings
from telltale.web.upload import _plain_name
from web_server import Running, running


def test_a_scan_that_ends_while_the_disk_is_full_ends_when_there_is_room(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, was_full = server.service.scan_db.finish, threading.Event()

    def full_at_first(*args: Any, **options: Any) -> bool:
        if not was_full.is_set():
            was_full.set()
            raise sqlite3.OperationalError("database or disk is full")
        return finish(*args, **options)

    monkeypatch.setattr(server.service.scan_db, "finish", full_at_first)
    with server.client() as client:
        entry = client.wait(client.submit(portrait).id, wait_s=60)
    assert was_full.is_set()
    assert entry.state == "done"


def test_what_time_cut_short_says_so_and_is_looked_at_anew(
    server: Running, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Worker.run

    def hurried(self: Worker, job: str, args: Mapping[str, Any], **limits: Any) -> Generator[Message, None, None]:
        return run(self, job, {**args, "deadline_s": 1e-6}, **limits)

    with server.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "run", hurried)
            short = client.wait(client.submit(face_clip).id, wait_s=60)
        whole = client.wait(client.submit(face_clip).id, wait_s=60)
        assert client.submit(face_clip).state == "done", "not analysed a third time"
    assert short.report is not None
    assert whole.report is not None
    assert short.report.frames.analysed == 1 < whole.report.frames.analysed
    assert short.outcome is not None
    assert whole.outcome is not None
    assert short.outcome.reason.endswith(". Only a part of the file was looked at.")
    assert "Only a part" not in whole.outcome.reason


def test_a_damaged_file_is_looked_at_once_and_its_verdict_is_on_a_part(server: Running, tmp_path: Path) -> None:
    whole = make_videos.face_clip(tmp_path / "whole.mkv", seconds=4)
    with server.client() as client:
        cut = make_videos.cut(whole, tmp_path / "cut.mkv", 0.8)
        scan = client.wait(client.submit(cut).id, wait_s=60)
        assert client.submit(cut).state == "done", "not analysed again"
    assert scan.outcome is not None
    assert scan.outcome.reason.endswith("Only a part of the file was looked at.")


def test_a_scan_that_ends_as_the_server_does_is_kept(server: Running, portrait: Path) -> None:
    jobs = server.service.jobs
    scan = jobs._analyst.scan

    def last(*args: Any, **options: Any) -> Any:
        report = scan(*args, **options)
        jobs._is_stopping.set()
        return report

    jobs._analyst.scan = last  # type: ignore[method-assign]
    with server.client() as client:
        assert client.wait(client.submit(portrait).id, wait_s=60).state == "done"


def test_a_clip_that_had_no_room_is_made_when_there_is_some(
    server: Running, face_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OutputError("No space left on device")

    with server.client() as client:
        entry = client.wait(client.submit(face_clip).id, wait_s=60)
        with monkeypatch.context() as full:
            full.setattr(annotated, "annotate", no_room)
            with pytest.raises(ApiError, match="no_space"):
                client.save_annotated(entry.id, tmp_path / "clip.mp4")
        client.save_annotated(entry.id, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_clip_that_cannot_be_made_for_someone_who_has_left_is_no_fault() -> None:
    complaints: list[Mapping[str, Any]] = []

    async def ask_and_leave() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        making = Future[Path]()
        service: Any = SimpleNamespace(annotator=SimpleNamespace(ask=lambda *_: making))
        row: Any = None
        asking = asyncio.create_task(results._drawn_on(service, row, ""))
        await asyncio.wait([asking], timeout=0)
        asking.cancel()
        await asyncio.wait([asking])
        making.set_exception(OutputError("No space left on device"))
        await asyncio.sleep(0)

    asyncio.run(ask_and_leave())
    gc.collect()  # asyncio complains when the last one who could have looked is gone
    assert complaints == []


def test_an_upload_that_does_not_say_its_size_leaves_the_room_that_is_not_for_it(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter(
        [*[server.service.settings.min_free_bytes + 300_000] * 2, *[server.service.settings.min_free_bytes] * 99]
    )
    monkeypatch.setattr(server.service.folder, "free_bytes", lambda: next(free))
    boundary = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        answer = http.post(
            "/api/v1/scans",
            content=iter([boundary, *[bytes(260_000)] * 8, b"\r\n--xyz--\r\n"]),
            headers={"content-type": "multipart/form-data; boundary=xyz"},
        )
    assert (answer.status_code, answer.json()["code"]) == (507, "no_space")
    assert list(server.service.folder.uploads.iterdir()) == []


def test_an_upload_that_finds_no_room_in_the_database_is_told_so_and_leaves_nothing(server: Running) -> None:
    scan_db, folder = server.service.scan_db, server.service.folder
    (pages,) = scan_db._db.execute("PRAGMA page_count").fetchone()
    scan_db._db.execute(f"PRAGMA max_page_count = {pages}")
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        for number in range(100):
            answer = http.post("/api/v1/scans", files={"file": (f"{number:0200}.mp4", b"%d" % number)})
            if answer.status_code not in (202, 429):
                break
    assert (answer.status_code, answer.json()["code"]) == (507, "no_space")
    assert {path.name for path in folder.media("").iterdir()} <= scan_db.analysis_ids()
    assert list(folder.uploads.iterdir()) == []
    scan_db._db.execute("PRAGMA max_page_count = 1000000")


def test_a_scan_that_cannot_be_deleted_on_a_full_disk_is_kept_whole(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with server.client() as client:
        scan = client.wait(client.submit(portrait).id, wait_s=60)
        with monkeypatch.context() as patch:
            patch.setattr(server.service.scan_db, "delete", full)
            with pytest.raises(ApiError, match="no_space"):
                client.delete(scan.id)
        assert client.get(scan.id) == scan
        client.delete(scan.id)


def test_what_was_made_for_a_scan_goes_with_it(server: Running, portrait: Path) -> None:
    with server.client() as client:
        kept = client.wait(client.submit(portrait, name="kept.png").id, wait_s=60)
        again = client.submit(portrait, name="secret name.png")
        assert again.state == "done", "not analysed again"
        for entry in (kept, again):
            client.report_html(entry.id)
            client.get(entry.id)
            httpx2.get(f"{server.url}/scans/{entry.id}").raise_for_status()
        data = server.service.settings.data
        assert files_with("secret name", data)
        client.delete(again.id)
        assert files_with("secret name", data) == []
        assert files_with("kept.png", data)


def test_an_upload_goes_with_the_last_scan_that_was_not_cancelled(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, jobs, is_cancelled = server.service.folder, server.service.jobs, threading.Event()
    scan = jobs._analyst.scan

    def scan_then(*args: Any, **options: Any) -> Any:
        assert is_cancelled.wait(60)
        return scan(*args, **options)

    monkeypatch.setattr(jobs._analyst, "scan", scan_then)
    with server.client() as client:
        given_up, kept = (client.submit(portrait, name=name) for name in ("given up.jpg", "kept.jpg"))
        client.delete(given_up.id)
        is_cancelled.set()
        assert client.wait(kept.id, wait_s=60).state == "done"
        assert folder.media(given_up.id).exists()
        client.delete(kept.id)
        assert list(folder.media("").iterdir()) == []
        assert not folder.thumbnail(given_up.id).parent.exists()
        assert [(one.name, one.state) for one in client.scans()] == [("given up.jpg", "cancelled")]
        assert client.submit(portrait).state != "done", "nothing is left to answer with"


def test_a_scan_that_is_deleted_while_it_is_asked_for_is_not_a_fault(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_there, jobs = server.service.is_there, server.service.jobs

    async def last_seen(row: ScanRow) -> bool:
        """It was there; before the answer begins it is gone."""
        found = await is_there(row)
        jobs.remove(row.id, owner="")
        return found

    def ask(path: str) -> tuple[int, str]:
        with server.client() as client, monkeypatch.context() as context:
            scan_id = client.wait(client.submit(portrait).id, wait_s=60).id
            context.setattr(server.service, "is_there", last_seen)
            answer = httpx2.get(server.url + path.format(scan_id), timeout=60)
        return answer.status_code, answer.text

    assert ask("/api/v1/scans/{}/report.html")[0] == 409
    assert ask("/scans/{}")[0] == 404
    status, text = ask("/api/v1/scans/{}")
    assert (status, json.loads(text)["report"]) == (200, None)


def files_with(text: str, folder: Path) -> list[Path]:
    return [path for path in (folder / "results").rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_replaced_key_ends_the_streams_it_opened(
    tmp_path: Path, redness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(events, "_HEARTBEAT_S", 0.2)
    monkeypatch.setattr(events, "_LONGEST_S", 30.0)
    with (
        running(tmp_path / "data", redness, require_key=True) as server,
        httpx2.Client(base_url=server.url, timeout=60) as http,
    ):
        keys = server.service.keys
        keys.add("alice", digest("old"))
        with http.stream("GET", "/api/v1/events", headers={"authorization": "Bearer old"}) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            keys.remove("alice")
            keys.add("alice", digest("new"))
            started_at = time.monotonic()
            assert not any(line.startswith("data") for line in lines)
            assert time.monotonic() - started_at < 20, "it was still told"


def test_what_is_gone_is_told_to_those_it_belonged_to(tmp_path: Path, redness: Path) -> None:
    (tmp_path / "broken").write_bytes(b"no clip")
    with running(tmp_path / "data", redness, require_key=True) as server, contextlib.ExitStack() as stack:
        for name in ("alice", "bob"):
            server.service.keys.add(name, digest(name))
        alice, bob = (stack.enter_context(server.client(key=name)) for name in ("alice", "bob"))
        deleted, expired, bobs = (
            one.wait(one.submit(tmp_path / "broken").id, wait_s=60).id for one in (alice, alice, bob)
        )
        http = stack.enter_context(httpx2.Client(base_url=server.url, timeout=60))
        stream = stack.enter_context(http.stream("GET", "/api/v1/events", headers={"authorization": "Bearer alice"}))
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        bob.delete(bobs)
        alice.delete(deleted)
        assert data_of("gone", lines) == f'data: "{deleted}"'
        server.service.scan_db._db.execute("UPDATE analyses SET finished_at = 1")
        server.service.scan_db._db.execute("UPDATE scans SET created_at = 1")
        server.service.jobs.expire()
        assert data_of("gone", lines) == f'data: "{expired}"'


def data_of(event: str, lines: Iterator[str]) -> str:
    """The line with the data of the next such event."""
    ends_at = time.monotonic() + 60
    while next(lines) != f"event: {event}":
        assert time.monotonic() < ends_at, f"no {event!r} event came"
    return next(lines)


def test_a_burst_of_streams_gets_no_more_than_the_limit(tmp_path: Path, redness: Path) -> None:
    with running(tmp_path / "data", redness, streams_per_client=2) as server, contextlib.ExitStack() as stack:
        connected = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(30)]
        socks = [stack.enter_context(sock) for sock in connected]
        for sock in socks:
            sock.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        statuses = [sock.recv(12).decode()[-3:] for sock in socks]
        assert server.service.hub.n_streams == statuses.count("200") == 2
        assert statuses.count("429") == 28
        for sock in socks:
            sock.close()
        ends_at = time.monotonic() + 20
        while server.service.hub.n_streams:
            assert time.monotonic() < ends_at, "a stream that nobody reads is still counted"
            time.sleep(0.02)


def test_a_scan_whose_model_is_gone_after_a_restart_fails_by_name(tmp_path: Path, redness: Path) -> None:
    with closing(ScanDb(database(tmp_path / "data"))) as scan_db:
        new = NewScan(
            id="0" * 32, key="", owner="", client="", name="", sha256="", size_bytes=1, model="gone", options="{}"
        )
        scan_db.admit(new, queue_length=1, per_client=1)
    with (
        running(tmp_path / "data", redness) as server,
        server.client() as client,
    ):
        error = client.wait("0" * 32, wait_s=60).error
    assert error is not None
    assert error.code == "unknown_name"
    assert "'gone'" in error.message


@pytest.mark.skipif(os.name != "posix", reason="permissions of files")
def test_nobody_else_reads_the_database_of_a_folder_that_was_open_to_all(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    mask = os.umask(0o022)
    try:
        assert CliRunner().invoke(app, ["serve", "--data", str(data), "--new-key", "alice"]).exit_code == 0
    finally:
        os.umask(mask)
    (file,) = data.iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_a_server_with_a_name_still_answers_to_its_own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[ServeSettings] = []
    monkeypatch.setattr("telltale.web.server.serve", lambda settings, **_: asked.append(settings))
    options = ["--data", str(tmp_path / "data"), "--allow-host", "telltale.example.org"]
    assert CliRunner().invoke(app, ["serve", *options]).exit_code == 0
    (settings,) = asked
    assert {"telltale.example.org", "127.0.0.1", "localhost"} <= set(settings.allowed_hosts)


def test_names_and_proxies_that_can_be_meant_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[ServeSettings, str]] = []
    monkeypatch.setattr(
        "telltale.web.server.serve", lambda settings, **given: asked.append((settings, given["trusted_proxies"]))
    )
    hosts = ["Telltale.Example.ORG", "my_service", "xn--bcher-kva.example", "192.0.2.7", "2001:DB8:0::7"]
    options = [option for host in hosts for option in ("--allow-host", host)]
    proxies = "127.0.0.1, 10.0.0.0/8,::1"
    called = ["serve", "--data", str(tmp_path / "data"), *options, "--behind-proxy", proxies]
    assert CliRunner().invoke(app, called).exit_code == 0
    ((settings, trusted),) = asked
    names = ("telltale.example.org", "my_service", "xn--bcher-kva.example", "192.0.2.7", "2001:db8::7")
    assert settings.allowed_hosts[:5] == names
    assert trusted == proxies


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("a proxy's nonsense", "a proxy's nonsense"),
    ],
)
def test_a_client_is_counted_by_the_address_of_a_customer(host: str, client: str) -> None:
    """nginx that listens on IPv6 for both names IPv4 clients `::ffff:..`: all of them are in one /64."""
    assert client_of(HTTPConnection({"type": "http", "client": (host, 1), "headers": []})) == client


def test_a_result_is_read_on_a_full_disk_too(server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OutputError("No space left on device")

    with server.client() as client, httpx2.Client(base_url=server.url, timeout=60) as http:
        scan = client.wait(client.submit(portrait).id, wait_s=60)
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_files", full)
            assert client.get(scan.id).report is not None
            answers = [http.get(path) for path in (f"/scans/{scan.id}", f"/api/v1/scans/{scan.id}/report.html")]
        kept = [http.get(str(answer.request.url)) for answer in answers]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.content for answer in answers] == [answer.content for answer in kept]
    assert [answer.headers["content-security-policy"] for answer in answers] == [
        answer.headers["content-security-policy"] for answer in kept
    ]


def test_a_fault_of_ours_is_a_problem_with_every_header_and_is_counted(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError

    with server.client() as client, httpx2.Client(base_url=server.url, timeout=60) as http:
        scan = client.submit(portrait)
        monkeypatch.setattr(server.service.jobs, "entry", stumble)
        answer = http.get(f"/api/v1/scans/{scan.id}")
        counted = http.get("/metrics").text
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert 'route="/api/v1/scans/{scan_id}",status="500"} 1' in counted
    assert [record.getMessage() for record in caplog.records] == ["a request failed"]
    caplog.clear()


def test_nothing_is_said_of_a_cancelled_scan_whose_bytes_another_one_goes_on_with(
    server: Running, portrait: Path
) -> None:
    with server.client() as client:
        scan = client.wait(client.submit(portrait).id, wait_s=60)
    row = server.service.scan_db.get(scan.id, owner="")
    assert row is not None
    entry = server.service.jobs.entry(replace(row, state="cancelled"))
    assert (entry.started_at, entry.outcome, entry.has_thumbnail) == (None, None, False)


def test_a_name_that_is_no_text_is_shown_whole() -> None:
    assert _plain_name(b"C:\\clips\\Urlaub M\xfcller.mpg".decode("utf-8", "surrogateescape")) == r"Urlaub M\xfcller.mpg"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep", "1e9"], "a hundred years"),
        (["--new-key", " "], "wants a name"),
        *(
            (["--allow-host", name], f"got '{name}'")
            for name in ("https://x", "x:8937", "a,b", "x/", "*.x", "[::1]", "")
        ),
        *((["--behind-proxy", text], "got 'foo'") for text in ("foo", "127.0.0.1,foo", "foo ,10.0.0.0/8")),
        *((["--behind-proxy", text], f"got '{text}'") for text in ("10.0.0.1/8", "localhost")),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_server_starts(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.web.server.serve", lambda *_, **__: None)
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert done.exit_code == 2
    assert message in done.stderr
