"""The client against a server that is busy, started anew, or not Telltale's at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from telltale import web
from telltale.errors import UsageError
from telltale.web import client as client_module
from telltale.web.client import ApiError, Client, ServerUnreachable
from telltale.web.schema import MAX_NAME_CHARS, Problem, Progress, Scan, ScanEntry, ScanOptions, State
from web_server import Running, running

ID = "0123456789abcdef" * 2
HANGS_UP = b""


def scan(state: State, *, name: str = "clip.mp4") -> Scan:
    return Scan(
        id=ID, state=state, name=name, size_bytes=9, sha256="0" * 64, model="default", settings=ScanOptions(),
        created_at=datetime(2024, 5, 1, tzinfo=UTC), progress=Progress(stage="waiting"), has_media=True,
    )  # fmt: skip


def answer(status: int, body: str = "", **headers: str) -> bytes:
    """A whole answer; its end is the end of the connection."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.0 {status} x\r\n{head}\r\n{body}".encode()


def told(*states: State, then: str = "") -> bytes:
    """An event stream that tells these states, and ends."""
    entries = (ScanEntry.model_validate(scan(state).model_dump(exclude={"report"})) for state in states)
    body = "retry: 2000\n\n" + "".join(f"data: {entry.model_dump_json()}\n\n" for entry in entries) + then
    return answer(200, body, content_type="text/event-stream")


def refused(status: int, code: str) -> bytes:
    problem = Problem(type="about:blank", title="No", status=status, detail="no", code=code)
    return answer(status, problem.model_dump_json())


@dataclass
class Scripted:
    url: str = ""
    n_asked: int = 0
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def answering(*answers: bytes) -> Iterator[Scripted]:
    """A server that gives one of these a request, and the last one to all that follow."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.keys.append(self.headers.get("authorization"))
            self.wfile.write(answers[min(script.n_asked, len(answers) - 1)])
            script.n_asked += 1

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            self.do_GET()

        do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


class Clock:
    """Time that passes only where the client sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """No time is lost."""
    clock = Clock()
    monkeypatch.setattr(client_module, "time", clock)
    return clock


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("client") / "data", redness) as server:
        yield server


def test_events_go_on_over_a_restart_until_the_scan_has_ended() -> None:
    restart = (told("queued", "running"), HANGS_UP, answer(502), told(), told("running"), told("queued", "done"))
    with answering(*restart) as script, Client(script.url) as client:
        assert [entry.state for entry in client.events(ID)] == ["queued", "running", "queued", "done"]
    assert script.n_asked == len(restart)


def test_half_an_event_is_no_news() -> None:
    with answering(told("running", then='data: {"id": "0123'), told("done")) as script, Client(script.url) as client:
        assert [entry.state for entry in client.events(ID)] == ["running", "done"]


def test_a_name_with_a_line_separator_is_told(server: Running, portrait: Path) -> None:
    name = "line\u2028and\x85line.jpg"
    with server.client() as client:
        assert [entry.name for entry in client.events(client.submit(portrait, name=name).id)][-1] == name


def test_events_of_a_scan_that_is_deleted_end_with_not_found() -> None:
    deleted = (told("queued", then="event: end\ndata: null\n\n"), refused(404, "not_found"))
    with answering(*deleted) as script, Client(script.url) as client:
        events = client.events(ID)
        assert next(events).state == "queued"
        with pytest.raises(ApiError, match="not_found"):
            next(events)


@pytest.mark.parametrize(("last", "error"), [(answer(502), ApiError), (HANGS_UP, ServerUnreachable)])
def test_a_server_that_stays_away_is_waited_for_so_long_and_no_longer(last: bytes, error: type[Exception]) -> None:
    with answering(told("running"), last) as script, Client(script.url) as client:
        with pytest.raises(error):
            list(client.events(ID, wait_s=1.0))
        assert script.n_asked == 1 + 2
    with answering(last) as script, Client(script.url) as client:
        with pytest.raises(error):
            client.wait(ID, wait_s=1.0)
        assert script.n_asked == 1 + 2


@pytest.mark.parametrize(("status", "code"), [(401, "key_required"), (404, "not_found"), (500, "internal")])
def test_what_waiting_does_not_change_is_said_at_once(status: int, code: str) -> None:
    with answering(refused(status, code)) as script, Client(script.url) as client:
        with pytest.raises(ApiError, match=code):
            client.wait(ID)
        with pytest.raises(ApiError, match=code):
            list(client.events(ID))
    assert script.n_asked == 2


def test_a_scan_is_waited_for_over_a_restart() -> None:
    running, done = (answer(200, scan(state).model_dump_json()) for state in ("running", "done"))
    restart = (running, HANGS_UP, answer(502), answer(503), running, done)
    with answering(*restart) as script, Client(script.url) as client:
        assert client.wait(ID).state == "done"
    assert script.n_asked == len(restart)


@pytest.mark.parametrize(
    ("busy", "pause_s"),
    [
        (answer(429, "<title>429</title>", content_type="text/html"), 5.0),
        (answer(429, "", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), 5.0),
        (answer(429, "", retry_after="12"), 12.0),
        (answer(503, "", retry_after="5"), 5.0),
    ],
    ids=["a proxy's", "at a date", "after a time", "as it is stopped"],
)
def test_an_upload_is_repeated_when_there_is_too_much_at_once(
    busy: bytes, pause_s: float, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    taken = answer(202, ScanEntry.model_validate(scan("queued").model_dump(exclude={"report"})).model_dump_json())
    with answering(busy, busy, taken) as script, Client(script.url) as client:
        begun_s = clock.now_s
        assert client.submit(tmp_path / "clip.mp4").id == ID
        assert clock.now_s - begun_s == 2 * pause_s
    with answering(busy) as script, Client(script.url) as client, pytest.raises(ApiError):
        client.submit(tmp_path / "clip.mp4", wait_s=1.5 * pause_s)
    assert script.n_asked == 2


def test_a_key_is_sent_without_the_end_of_its_line() -> None:
    with answering(answer(200, "[]")) as script, Client(script.url, key="tt_x\n") as client:
        assert client.models() == []
    assert script.keys == ["Bearer tt_x"]


@pytest.mark.parametrize("key", ["tt_sécret", "tt_secret\0", "tt_secret\r\nCookie: a", " \n"])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="copy it anew") as caught:
        Client(key=key)
    assert not key.strip() or key.strip()[:4] not in str(caught.value)


ASKED: dict[str, Callable[[Client, Path], object]] = {
    "submit": lambda client, folder: client.submit(folder / "clip.mp4"),
    "get": lambda client, _: client.get(ID),
    "wait": lambda client, _: client.wait(ID),
    "events": lambda client, _: list(client.events(ID)),
    "page": lambda client, _: client.page(),
    "delete": lambda client, _: client.delete(ID),
    "models": lambda client, _: client.models(),
    "save_annotated": lambda client, folder: client.save_annotated(ID, folder / "annotated.mp4"),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_what_is_no_answer_of_telltales_is_an_api_error_with_the_next_step(
    asked: str, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    body = {"text/html": "<title>Sign in</title>", "application/json": '{"is": "something else"}'}[kind]
    with answering(answer(200, body, content_type=f"{kind}; charset=utf-8")) as script, Client(script.url) as client:
        with pytest.raises(ApiError, match=f"answered 200 with {kind}; check the address") as caught:
            ASKED[asked](client, tmp_path)
        assert caught.value.problem.code == "api"
        assert not client.is_ready()
    assert not (tmp_path / "annotated.mp4").exists()


def test_an_answer_that_cannot_be_unpacked_is_no_answer() -> None:
    not_packed = answer(200, "no gzip", content_encoding="gzip")
    with answering(not_packed) as script, Client(script.url) as client, pytest.raises(ServerUnreachable):
        client.models()


def test_all_that_the_package_offers_is_there() -> None:
    assert {"ApiError", "Client", "ScanOptions", "ServerUnreachable"} <= set(web.__all__)
    assert [name for name in web.__all__ if getattr(web, name).__name__ != name] == []


def test_an_address_without_its_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="http://"):
        Client("127.0.0.1:8000")


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "http://\u2028"])
def test_an_address_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="check its spelling"):
        Client(url)


def test_a_proxys_answer_is_told_without_the_password_of_the_address() -> None:
    for status in (308, 502):
        with answering(answer(status, location="/")) as script:
            url = script.url.replace("//", "//user:secret@")
            for ask in (lambda client: client.models(), lambda client: list(client.events(ID, wait_s=0))):
                with Client(url) as client, pytest.raises(ApiError, match=f"answered {status}") as caught:
                    ask(client)
                assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arrives_as"),
    [
        ("bad\udcff.jpg", "bad\ufffd.jpg"),
        ("x" * 5000 + ".jpg", "x" * (MAX_NAME_CHARS - 4) + ".jpg"),
        ("🎬" * 300, "🎬" * MAX_NAME_CHARS),
    ],
    ids=["no text", "very long", "wide"],
)
def test_any_name_of_a_file_is_sent(server: Running, portrait: Path, name: str, arrives_as: str) -> None:
    with server.client() as client:
        assert client.submit(portrait, name=name).name == arrives_as
