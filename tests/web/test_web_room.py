"""One client leaves room for the others: on the disk, and where clips wait to be drawn on."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from telltale.web import annotated
from telltale.web.client import ApiError
from web_server import Running, running

ME = "127.0.0.1"
"""The client that a test is."""
FIRST_BYTES = 100_000
OPENING = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
END = b"\r\n--b--\r\n"


def test_nothing_is_kept_of_what_would_take_the_room_that_is_not_for_it(
    server: Running, face_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = server.service.folder
    with server.client() as client, httpx2.Client(base_url=server.url, timeout=60) as http:
        entry = client.wait(client.submit(face_clip).id, wait_s=60)
        paths = [path.format(entry.id) for path in ("/scans/{}", "/api/v1/scans/{}", "/api/v1/scans/{}/report.html")]
        before = files_of(folder.made_for(entry.id, entry.id))
        with monkeypatch.context() as full:
            full.setattr(folder, "free_bytes", lambda: server.service.settings.min_free_bytes + 10)
            shown = [http.get(path).text for path in paths]
            with pytest.raises(ApiError, match="no_space"):
                client.save_annotated(entry.id, tmp_path / "clip.mp4")
            assert files_of(folder.made_for(entry.id, entry.id)) == before
        kept = [http.get(path).text for path in paths]
        assert shown == kept
        client.save_annotated(entry.id, tmp_path / "clip.mp4")
        assert len(files_of(folder.made_for(entry.id, entry.id))) > len(before)


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_client_whose_scans_take_more_than_is_left_makes_room_first(
    server: Running, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in ("1", "2", "3")]
    for number, file in enumerate(files):
        file.write_bytes(portrait.read_bytes() + bytes([number]))
    with server.client() as client:
        first = client.wait(client.submit(files[0]).id, wait_s=60)
        client.wait(client.submit(files[1]).id, wait_s=60)
        disk(monkeypatch, server, room_bytes=1.9 * server.service.jobs.held_by(ME))
        with pytest.raises(ApiError, match="your scans take more of the disk than is left") as caught:
            client.submit(files[2])
        assert caught.value.problem.code == "no_space"
        client.delete(first.id)
        client.submit(files[2])


def disk(patch: pytest.MonkeyPatch, server: Running, *, room_bytes: float) -> None:
    """A disk on which so much room is left, what is in the data folder taken off."""
    folder, min_free_bytes = server.service.folder, server.service.settings.min_free_bytes
    patch.setattr(folder, "free_bytes", lambda: min_free_bytes + int(room_bytes) - bytes_in(folder.root))


def bytes_in(root: Path) -> int:
    """Of uploads, those on their way included, and of results."""
    n_bytes = 0
    for file in root.glob("*/**/*"):
        with contextlib.suppress(FileNotFoundError):  # moved just now
            n_bytes += file.stat().st_size if file.is_file() else 0
    return n_bytes


def begin(stack: contextlib.ExitStack, server: Running, n_bytes: int, *, is_announced: bool = True) -> socket.socket:
    """An upload of which the first hundred thousand bytes have been sent."""
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
    length = f"Content-Length: {len(OPENING) + n_bytes + len(END)}" if is_announced else "Transfer-Encoding: chunked"
    head = f"POST /api/v1/scans HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n{length}"
    sock.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n")
    go_on(sock, OPENING + secrets.token_bytes(FIRST_BYTES), is_announced=is_announced)
    return sock


def go_on(sock: socket.socket, content: bytes, *, is_announced: bool = True) -> None:
    with contextlib.suppress(ConnectionError):  # it was refused
        sock.sendall(content if is_announced else b"%x\r\n%s\r\n" % (len(content), content))


def answer(sock: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := sock.recv(65_536):
            received += chunk
    return received


def statuses(answers: Iterable[bytes]) -> list[int]:
    return [int(one[9:12] or 0) for one in answers]


@pytest.fixture
def idle(server: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A server whose uploads wait."""
    monkeypatch.setattr(server.service.scan_db, "claim", lambda: None)
    return server


@pytest.mark.parametrize("is_announced", [True, False])
def test_uploads_begun_together_take_no_more_than_one_after_another(
    idle: Running, monkeypatch: pytest.MonkeyPatch, is_announced: bool
) -> None:
    disk(monkeypatch, idle, room_bytes=30_000_000)
    n_bytes, rest = 3_000_000, bytes(3_000_000 - FIRST_BYTES)
    with contextlib.ExitStack() as stack:
        socks = [begin(stack, idle, n_bytes, is_announced=is_announced) for _ in range(9)]
        until(lambda: idle.service.receiver.n_receiving >= 4)
        for start in range(0, len(rest), 100_000):
            for sock in socks:
                go_on(sock, rest[start : start + 100_000], is_announced=is_announced)
        for sock in socks:
            go_on(sock, END, is_announced=is_announced)
            go_on(sock, b"", is_announced=is_announced)
        answers = [answer(sock) for sock in socks]
    assert is_announced <= statuses(answers).count(202) <= 5, "one at least, where each says how large it is"
    assert bytes_in(idle.service.folder.root) <= 15_000_000
    refused = [one for one in answers if one and b" 202 " not in one[:20]]
    assert all(b"your scans take more of the disk than is left" in one for one in refused)
    until(lambda: idle.service.room.n_arriving(ME) == 0)
    assert list(idle.service.folder.uploads.iterdir()) == []


def test_an_upload_that_was_broken_off_counts_no_more(idle: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, idle, room_bytes=3_000_000)
    with httpx2.Client(base_url=idle.url, timeout=60) as http:
        with contextlib.ExitStack() as stack:
            begin(stack, idle, 1_000_000)
            until(lambda: idle.service.room.n_arriving(ME) == 1)
            assert http.post("/api/v1/scans", files={"file": bytes(500_000)}).status_code == 507
        until(lambda: idle.service.room.n_arriving(ME) == 0)
        assert http.post("/api/v1/scans", files={"file": bytes(500_000)}).status_code == 202


def test_uploads_on_their_way_count_among_those_a_client_may_have(tmp_path: Path, redness: Path) -> None:
    with (
        running(tmp_path / "data", redness, per_client=2) as server,
        httpx2.Client(base_url=server.url, timeout=60) as http,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(2):
            begin(stack, server, 1_000_000)
        until(lambda: server.service.receiver.n_receiving == 2)
        answer = http.post("/api/v1/scans", files={"file": b"x"})
        assert (answer.status_code, answer.json()["code"]) == (429, "client_busy")


def test_an_upload_for_which_others_left_no_room_meanwhile_is_not_kept(
    idle: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with httpx2.Client(base_url=idle.url, timeout=60) as http, contextlib.ExitStack() as stack:
        http.post("/api/v1/scans", files={"file": bytes(500_000)}).raise_for_status()
        sock = begin(stack, idle, 200_000)
        until(lambda: idle.service.receiver.n_receiving == 1)
        room_bytes = bytes_in(idle.service.folder.root) + 400_000
        disk(monkeypatch, idle, room_bytes=room_bytes)
        go_on(sock, bytes(200_000 - FIRST_BYTES) + END)
        assert statuses([answer(sock)]) == [507]
    assert list(idle.service.folder.uploads.iterdir()) == []
    assert len(list(idle.service.folder.media("").iterdir())) == 1


def test_a_client_holds_what_its_results_with_their_pages_and_clips_really_take(
    server: Running, face_clip: Path, tmp_path: Path
) -> None:
    held_by, root = server.service.jobs.held_by, server.service.folder.root
    with server.client() as client:
        entry = client.wait(client.submit(face_clip).id, wait_s=60)
        assert held_by(ME) == bytes_in(root)
        client.report_html(entry.id)
        assert held_by(ME) == bytes_in(root)
        client.save_annotated(entry.id, tmp_path / "clip.mp4")
        assert held_by(ME) == bytes_in(root) > 2 * face_clip.stat().st_size
        again = client.submit(face_clip)
        assert held_by(ME) == bytes_in(root), "the same bytes take no room twice"
        for scan in (entry, again):
            client.delete(scan.id)
        assert held_by(ME) == bytes_in(root) == 0


def test_what_waits_or_runs_holds_its_upload_and_a_little_for_its_result(idle: Running, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    with idle.client() as client:
        scan = client.submit(tmp_path / "file")
        assert idle.service.jobs.held_by(ME) == 1_000_005
        assert idle.service.jobs.held_by("another") == 0
        client.delete(scan.id)
    assert idle.service.jobs.held_by(ME) == 0


def test_clips_are_drawn_only_while_their_client_leaves_as_much_to_others(
    server: Running, face_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.client() as client:
        entry = client.wait(client.submit(face_clip).id, wait_s=60)
        with monkeypatch.context() as patch:
            disk(patch, server, room_bytes=2 * server.service.jobs.held_by(ME))
            with pytest.raises(ApiError, match="no_space"):
                client.save_annotated(entry.id, tmp_path / "clip.mp4")
        client.save_annotated(entry.id, tmp_path / "clip.mp4")


def until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < ends_at, "it never was"
        time.sleep(0.01)


def test_a_client_who_has_many_clips_drawn_leaves_room_for_others(
    server: Running, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, annotator = threading.Event(), server.service.annotator
    monkeypatch.setattr(annotator, "_make", lambda *_: may_end.wait(60))
    with server.client() as client:
        scan = client.wait(client.submit(face_clip).id, wait_s=60)
    row = server.service.scan_db.get(scan.id, owner="")
    assert row is not None
    greedy = [annotator.ask(replace(row, id=name), "greedy") for name in ("1", "2")]
    assert annotator.ask(replace(row, id="1"), "greedy") is greedy[0], "asking again takes no place"
    with pytest.raises(annotated.AnnotatorBusy):
        annotator.ask(replace(row, id="3"), "greedy")
    assert not annotator.ask(replace(row, id="4"), "another").done()
    may_end.set()
    for future in greedy:
        future.result(timeout=60)
    annotator.ask(replace(row, id="3"), "greedy")
