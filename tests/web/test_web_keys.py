"""A server that wants a key: who sees what, and how one signs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from telltale.cli import app
from telltale.web.client import ApiError
from telltale.web.database import database
from telltale.web.guard import digest
from telltale.web.keys import Keys
from web_server import Running, running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Running]:
    """Wants a key, of which alice has one."""
    data = tmp_path_factory.mktemp("web") / "guarded"
    with closing(Keys(database(data))) as keys:
        keys.add("alice", digest("key of alice"))
    with running(data, redness, require_key=True) as server:
        yield server


def test_with_keys_everybody_sees_only_what_is_theirs(tmp_path: Path, redness: Path, portrait: Path) -> None:
    with closing(Keys(database(tmp_path / "data"))) as keys:
        for name in ("alice", "bob"):
            keys.add(name, digest(f"key of {name}"))
    with running(tmp_path / "data", redness, require_key=True) as server:
        with server.client() as nobody, pytest.raises(ApiError) as caught:
            nobody.submit(portrait)
        assert caught.value.problem.status == 401
        with server.client(key="key of alice") as alice, server.client(key="key of bob") as bob:
            entry = alice.submit(portrait)
            alice.wait(entry.id, wait_s=60)
            assert [one.id for one in alice.scans()] == [entry.id]
            for refused in (bob.get, bob.delete, bob.report_html):
                with pytest.raises(ApiError) as caught:
                    refused(entry.id)
                assert caught.value.problem.code == "not_found"
        with httpx2.Client(base_url=server.url) as browser:
            assert browser.get("/").status_code == 401
            assert browser.get("/metrics").status_code == 401
            assert browser.get("/healthz").status_code == 200
            assert browser.post("/login", data={"key": "wrong"}).status_code == 401
            welcome = browser.post("/login", data={"key": "key of alice"})
            assert "httponly" in welcome.headers["set-cookie"].lower()
            assert "samesite=lax" in welcome.headers["set-cookie"].lower()
            assert browser.get("/").status_code == 200
            assert entry.id in browser.get("/api/v1/scans").text
            browser.post("/logout")
            assert browser.get("/").status_code == 401


def test_nobody_learns_that_another_key_sent_the_same_bytes(tmp_path: Path, redness: Path, portrait: Path) -> None:
    with running(tmp_path / "data", redness, require_key=True) as server:
        for name in ("alice", "bob"):
            server.service.keys.add(name, digest(f"key of {name}"))
        with server.client(key="key of alice") as alice, server.client(key="key of bob") as bob:
            alice.scan(portrait, wait_s=60)
            assert alice.submit(portrait).state == "done", "her own is not analysed again"
            assert bob.submit(portrait).state != "done"
            assert bob.scan(portrait, wait_s=60).error is None


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/scans/abc-1", "/scans/abc-1"),
        ("/models/default", "/models/default"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/scans/..//evil.example", "/"),
        ("/scans/a\r\nset-cookie: b", "/"),
    ],
)
def test_whoever_signs_in_comes_to_the_page_that_was_asked_for(guarded: Running, wanted: str, goes_to: str) -> None:
    with httpx2.Client(base_url=guarded.url) as browser:
        again = browser.post("/login", data={"key": "wrong", "wanted": wanted})
        assert f'name="wanted" value="{goes_to}"' in again.text
        welcome = browser.post("/login", data={"key": "key of alice", "wanted": wanted})
    assert (welcome.status_code, welcome.headers["location"]) == (303, goes_to)


def test_the_key_is_asked_for_in_place_of_the_page(guarded: Running) -> None:
    with httpx2.Client(base_url=guarded.url) as browser:
        assert 'name="wanted" value="/models/default"' in browser.get("/models/default").text


def test_a_name_that_comes_back_is_told_to_show_what_was_sent_under_it(
    tmp_path: Path, redness: Path, portrait: Path
) -> None:
    def said(*options: str) -> str:
        done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
        assert done.exit_code == 0
        return done.stderr

    with closing(Keys(database(tmp_path))) as keys:
        keys.add("bob", digest("key of bob"))
    with running(tmp_path, redness, require_key=True) as server, server.client(key="key of bob") as bob:
        bob.scan(portrait, wait_s=60)
    assert said("--new-key", "bob") == "", "his own, anew"
    said("--drop-key", "bob")
    assert "shows the scans that were sent with an earlier key of bob" in said("--new-key", "bob")
    assert said("--new-key", "carol") == ""
