"""What a request may bring and how long it may take: slow, lying, endless and huge ones, and good ones meanwhile."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from python_multipart import MultipartParser

from telltale.web import upload
from telltale.web.problems import ProblemError
from telltale.web.settings import ReceiptLimits
from web_server import Running, running

LIMITS = ReceiptLimits(head_s=1.0, grace_s=1.5, min_bytes_per_s=100_000, stall_s=1.0)
MAX_BYTES = 300_000
SLACK_S = 15.0
BOUNDARY = "xyz"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("receipt") / "data"
    with running(data, redness, max_upload_bytes=MAX_BYTES, receipt=LIMITS) as server:
        yield server


def connect(server: Running) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port))
    sock.settimeout(LIMITS.grace_s + SLACK_S)
    return sock


def head(*lines: str, path: str = "/api/v1/scans", method: str = "POST") -> bytes:
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", kind, *lines, "", "")).encode()


def part(name: str, content: bytes, file_name: str | None = None) -> bytes:
    file = f'; filename="{file_name}"' if file_name is not None else ""
    disposition = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return disposition.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def read_all(sock: socket.socket) -> bytes:
    """What comes until the server closes; a time-out is the test's failure."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(65_536):
            received += chunk
    return received


def trickle(sock: socket.socket, *, every_s: float = 0.05) -> float:
    """Send a byte at a time until the server has closed; how long that took."""
    started_at = time.monotonic()
    sock.settimeout(0.01)
    while time.monotonic() - started_at < LIMITS.grace_s + SLACK_S:
        try:
            sock.sendall(b"x")
            if sock.recv(65_536) == b"":
                break
        except TimeoutError:
            time.sleep(every_s)
        except OSError:
            break
    return time.monotonic() - started_at


def nothing_is_left(server: Running) -> bool:
    ends_at = time.monotonic() + 5
    while time.monotonic() < ends_at:
        if not list(server.service.folder.uploads.iterdir()) and server.service.receiver.n_receiving == 0:
            return True
        time.sleep(0.02)
    return False


def test_a_body_in_crumbs_is_cut_off_and_holds_up_nobody(server: Running) -> None:
    with connect(server) as sock, httpx2.Client(base_url=server.url, timeout=60) as http:
        sock.sendall(head("Transfer-Encoding: chunked"))
        with contextlib.suppress(OSError):  # closed on the way
            sock.sendall(b"1\r\nx\r\n" * 200_000)
        assert http.get("/healthz").status_code == 200
        assert read_all(sock) == b""
        assert 'telltale_connections_cut_off_total{why="crumbs"} 1' in http.get("/metrics").text


def test_a_head_that_trickles_is_cut_off(server: Running) -> None:
    with connect(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert trickle(sock) < LIMITS.head_s + SLACK_S


def test_a_connection_that_says_nothing_is_closed(server: Running) -> None:
    with connect(server) as sock:
        assert read_all(sock) == b""


def test_a_second_request_that_trickles_is_cut_off_too(server: Running) -> None:
    with connect(server) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in sock.recv(4096)
        assert trickle(sock) < LIMITS.head_s + SLACK_S


def test_a_body_that_trickles_is_cut_off_and_told_why(server: Running) -> None:
    with connect(server) as sock:
        sock.sendall(head("Content-Length: 200000") + part("file", b"x", "a.mp4")[:-2])
        answer = read_all(sock)
    assert b"408" in answer.split(b"\r\n")[0]
    assert b"receipt_timeout" in answer
    assert nothing_is_left(server)


@pytest.mark.parametrize("path", ["/healthz", "/", "/login", "/api/v1/scans/0"])
def test_a_body_where_none_is_wanted_does_not_hold_the_connection(server: Running, path: str) -> None:
    with connect(server) as sock:
        sock.sendall(head("Content-Length: 60000", path=path, method="POST" if path == "/login" else "GET"))
        assert trickle(sock) < LIMITS.grace_s + SLACK_S


def test_a_good_client_is_served_among_tricklers(server: Running, portrait: Path) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(server)) for _ in range(60)]
        for number, sock in enumerate(slow):
            sock.sendall(head("Content-Length: 200000") if number % 2 else b"GET / HTTP/1.1\r\nX: ")
        is_over = threading.Event()

        def drip() -> None:
            while not is_over.wait(0.1):
                for sock in slow:
                    with contextlib.suppress(OSError):
                        sock.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with server.client() as client:
                for _ in range(3):
                    assert client.submit(portrait, wait_s=0).id
                    assert client.is_ready()
            ended = [read_all(sock) for sock in slow]
        finally:
            is_over.set()
            thread.join()
    assert not any(b" 503 " in answer for answer in ended)


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(server: Running) -> None:
    with connect(server) as sock:
        sock.sendall(head("Content-Length: 10000000000"))
        answer = read_all(sock)
    assert b"413" in answer.split(b"\r\n")[0]
    assert b"too_large" in answer


def test_who_sends_on_after_an_early_answer_still_gets_it_but_not_for_ever(server: Running) -> None:
    with httpx2.Client(base_url=server.url) as http:
        answer = http.post("/api/v1/scans", files={"file": b"x" * 20 * MAX_BYTES})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert http.get("/healthz").status_code == 200
    with connect(server) as sock:
        sock.sendall(head("Content-Length: 10000000000"))
        started_at, sent = time.monotonic(), 0
        with contextlib.suppress(OSError):
            while sent < 1 << 30:
                sent += sock.send(b"x" * 1_000_000)
        assert sent < 1 << 30
        assert time.monotonic() - started_at < LIMITS.grace_s + SLACK_S


def test_a_body_that_turns_out_too_large_is_refused(server: Running) -> None:
    chunk = b"%x\r\n%s\r\n" % (60_000, b"x" * 60_000)
    with connect(server) as sock:
        sock.sendall(head("Transfer-Encoding: chunked"))
        opening = part("file", b"", "a.mp4")[:-2]
        sock.sendall(b"%x\r\n%s\r\n" % (len(opening), opening))
        with contextlib.suppress(OSError):
            for _ in range(40):
                sock.sendall(chunk)
        answer = read_all(sock)
    assert b"413" in answer.split(b"\r\n")[0]
    assert nothing_is_left(server)


def test_a_body_shorter_than_announced_leaves_nothing(server: Running) -> None:
    with connect(server) as sock:
        sock.sendall(head("Content-Length: 200000") + part("file", b"y" * 100_000, "a.mp4"))
    assert nothing_is_left(server)


def test_a_body_longer_than_announced_is_no_second_request(server: Running) -> None:
    body = part("file", b"z" * 100, "a.mp4") + END
    with connect(server) as sock:
        sock.sendall(head(f"Content-Length: {len(body)}") + body + b"DELETE everything")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 202")


def test_contradicting_lengths_are_refused(server: Running) -> None:
    for lines in (("Content-Length: 5", "Content-Length: 6"), ("Content-Length: -1",), ("Content-Length: 1e3",)):
        with connect(server) as sock:
            sock.sendall(head(*lines) + b"hello")
            assert b" 400 " in read_all(sock).split(b"\r\n")[0]


def test_a_million_parts_are_not_read_to_the_end(server: Running) -> None:
    body = b"".join(part(f"f{number}", b"1") for number in range(4000)) + END
    with httpx2.Client(base_url=server.url) as http:
        answer = http.post(
            "/api/v1/scans", content=body, headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_form")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (part("file", b"1", "a") + part("file", b"2", "b") + END, 400),
        (part("other", b"1", "a") + END, 400),
        (part("fps", b"2") + END, 400),
        (part("fps", b"2") + part("fps", b"2") + part("file", b"1", "a") + END, 400),
        (part("fps", b"2" * 5000) + part("file", b"1", "a") + END, 400),
        (part("file", b"1", "a"), 400),
        (b"no form at all", 400),
        (b"", 400),
        (part("file", b"1") + END, 202),
        (b"--xyz\r\nContent-Disposition: form-data; name=file\r\nX: " + b"y" * 20_000, 400),
    ],
)
def test_forms_that_are_none_are_refused_by_name(server: Running, body: bytes, status: int) -> None:
    with httpx2.Client(base_url=server.url) as http:
        answer = http.post(
            "/api/v1/scans", content=body, headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        )
    assert answer.status_code == status, answer.text
    assert nothing_is_left(server)


@pytest.mark.parametrize("head", [b"X: " + b"y" * 500_000, b"y" * 500_000, b"X: y\r\n" * 60_000])
def test_the_head_of_a_part_is_bounded_whatever_the_parser_bounds(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    unbounded = partial(MultipartParser, max_header_size=1 << 30, max_header_count=1 << 30)
    monkeypatch.setattr(upload, "MultipartParser", unbounded)
    form, rest = upload._Form("multipart/form-data; boundary=xyz"), io.BytesIO(b"--xyz\r\n" + head)

    def send() -> None:
        while piece := rest.read(1000):
            form.write(piece)

    with pytest.raises(ProblemError, match="a part's head may have") as caught:
        send()
    assert caught.value.code == "bad_form"
    assert rest.tell() < 40_000, "it is refused as it comes"


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "multipart/mixed; boundary=x"])
def test_other_kinds_of_bodies_are_refused(server: Running, kind: str) -> None:
    with httpx2.Client(base_url=server.url) as http:
        answer = http.post("/api/v1/scans", content=b"x" * 1000, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_head_that_is_too_long_is_refused(server: Running) -> None:
    with connect(server) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000)
        assert b" 400 " in read_all(sock).split(b"\r\n")[0]


def test_a_reader_that_stalls_is_cut_off(server: Running, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"\xff\xd8" + b"x" * (MAX_BYTES - 2))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        for _ in range(400):
            sock.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        ends_at = time.monotonic() + LIMITS.stall_s + SLACK_S
        while 'why="slow reader"' not in server.service.metrics.text():
            assert time.monotonic() < ends_at
            time.sleep(0.05)


def test_where_there_are_too_many_the_slowest_makes_room(
    tmp_path: Path, redness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telltale.web import server as server_module

    monkeypatch.setattr(server_module, "_most_connections", lambda: 8)
    limits = ReceiptLimits(head_s=60, grace_s=60)
    with running(tmp_path / "data", redness, receipt=limits) as server, contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connect(server)).sendall(b"GET / HTTP/1.1\r\n")
        time.sleep(2.2)
        for _ in range(3):
            with server.client() as client:
                assert client.is_ready()
        assert 'why="room for others"' in server.service.metrics.text()
