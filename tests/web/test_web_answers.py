"""What HTTP asks of answers: HEAD, what a browser may keep and for whom, parts of files, limits by their own names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from PIL import Image, features

import make_videos
from make_reports import make_full_report
from telltale._source import PICTURE_FORMATS
from telltale.web.files import _pictures, _pictures_json
from telltale.web.guard import digest
from telltale.web.metrics import Metrics
from telltale.web.schema import ScanEntry, ScanOptions
from web_server import Running, running

MAX_UPLOAD_BYTES = 2_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("answers") / "data"
    with running(data, redness, max_upload_bytes=MAX_UPLOAD_BYTES) as server:
        yield server


PATHS = [
    "/",
    "/docs",
    "/healthz",
    "/metrics",
    "/nowhere",
    "/openapi.json",
    "/static/home.js",
    "/api/v1/scans",
    "/api/v1/scans/{}",
    "/api/v1/scans/{}/media",
    "/api/v1/scans/{}/report.html",
    "/api/v1/scans/{}/thumbnail.jpg",
    "/api/v1/scans/0",
    "/scans/{}",
]
"""With {} for the id of a scan."""


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_as_get_without_the_body(http: httpx2.Client, done: ScanEntry, path: str) -> None:
    whole, head = http.get(path.format(done.id)), http.head(path.format(done.id))
    assert head.status_code == whole.status_code
    assert head.content == b""
    assert head.headers.get("content-type") == whole.headers.get("content-type")
    assert set(head.headers) == set(whole.headers)
    if path != "/metrics":  # grows with each request
        assert head.headers.get("content-length") == whole.headers.get("content-length")


def test_head_reads_no_file_and_knows_no_range(
    http: httpx2.Client, done: ScanEntry, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    open_file = anyio.open_file

    def opening(*args: Any, **options: Any) -> Any:
        opened.append(args)
        return open_file(*args, **options)

    monkeypatch.setattr(anyio, "open_file", opening)
    url = f"/api/v1/scans/{done.id}/media"
    http.get(url)
    assert opened
    opened.clear()
    head = http.head(url, headers={"range": "bytes=5-9"})
    assert opened == []
    assert head.status_code == 200
    assert int(head.headers["content-length"]) == server.service.folder.media(done.id).stat().st_size
    assert 'method="HEAD",route="/api/v1/scans/{scan_id}/media",status="200"' in http.get("/metrics").text


def test_head_is_refused_where_a_stream_would_have_no_end(http: httpx2.Client, done: ScanEntry) -> None:
    for path in ("/api/v1/events", f"/api/v1/scans/{done.id}/events"):
        answer = http.head(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_a_method_that_is_refused_is_told_of_head_where_there_is_one(http: httpx2.Client, done: ScanEntry) -> None:
    assert http.put("/api/v1/scans").headers["allow"] == "GET, HEAD, POST"
    assert http.put(f"/api/v1/scans/{done.id}").headers["allow"] == "DELETE, GET, HEAD"
    assert http.put("/").headers["allow"] == "GET, HEAD"
    assert http.head("/login").headers["allow"] == "POST"


def test_what_head_answers_is_not_described_a_second_time(http: httpx2.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert not [path for path, methods in paths.items() if "head" in methods]


@pytest.mark.parametrize("name", ["media", "thumbnail.jpg"])
def test_a_browser_asks_before_it_shows_what_it_kept(http: httpx2.Client, done: ScanEntry, name: str) -> None:
    url = f"/api/v1/scans/{done.id}/{name}"
    first = http.get(url)
    assert first.headers["cache-control"] == "private, no-cache"
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = http.get(url, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), known
        assert again.headers["cache-control"] == "private, no-cache"
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert http.get(url, headers={"if-none-match": '"other"'}).content == first.content


def test_an_upload_does_not_tell_when_its_bytes_first_came(
    server: Running, http: httpx2.Client, done: ScanEntry
) -> None:
    url, file = f"/api/v1/scans/{done.id}/media", server.service.folder.media(done.id)
    first = http.get(url).headers
    os.utime(file, (0, 0))
    later = http.get(url).headers
    assert "last-modified" not in first
    assert (first["etag"], later["etag"]) == (f'"{done.sha256[:20]}"',) * 2


@pytest.mark.parametrize("name", ["media", "annotated.mp4"])
def test_a_part_is_given_of_the_content_that_is_known_else_all_of_it(
    http: httpx2.Client, done: ScanEntry, name: str
) -> None:
    url = f"/api/v1/scans/{done.id}/{name}"
    while (whole := http.get(url)).status_code == 202:
        pass  # waits by itself
    assert "last-modified" not in whole.headers

    def asked(if_range: str, part: str = "bytes=5-9") -> tuple[int, bytes]:
        answer = http.get(url, headers={"range": part, "if-range": if_range})
        return answer.status_code, answer.content

    assert asked(whole.headers["etag"]) == (206, whole.content[5:10])
    others = ('"other"', f"W/{whole.headers['etag']}", "Thu, 01 Jan 1970 00:00:00 GMT")
    assert [asked(other) for other in others] == [(200, whole.content)] * 3
    beyond = f"bytes={len(whole.content)}-"
    assert asked('"other"', beyond) == (200, whole.content)
    assert asked(whole.headers["etag"], beyond)[0] == 416


def test_nothing_is_confirmed_to_those_who_may_not_see_it(tmp_path: Path, redness: Path, portrait: Path) -> None:
    with (
        running(tmp_path / "data", redness, require_key=True) as server,
        httpx2.Client(base_url=server.url, timeout=60) as browser,
    ):
        for name in ("alice", "bob"):
            server.service.keys.add(name, digest(f"key of {name}"))
        with server.client(key="key of alice") as alice:
            scan = alice.wait(alice.submit(portrait).id, wait_s=60)
        url = f"/api/v1/scans/{scan.id}/media"

        def status(known: str) -> int:
            return browser.get(url, headers={"if-none-match": known}).status_code

        browser.post("/login", data={"key": "key of alice"})
        etag = browser.get(url).headers["etag"]
        assert status(etag) == 304
        assert browser.post("/logout").headers["clear-site-data"] == '"cache"'
        assert status(etag) == 401
        browser.post("/login", data={"key": "key of bob"})
        assert status(etag) == status("*") == 404
        with server.client(key="key of alice") as alice:
            alice.delete(scan.id)
        browser.post("/login", data={"key": "key of alice"})
        assert status(etag) == 404


def test_a_range_outside_the_file_is_told_the_files_length(http: httpx2.Client, done: ScanEntry) -> None:
    n_bytes = done.size_bytes
    answer = http.get(f"/api/v1/scans/{done.id}/media", headers={"range": f"bytes={n_bytes}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{n_bytes}")


@pytest.mark.parametrize("path", ["/scans/{}", "/api/v1/scans/{}/report.html"])
@pytest.mark.parametrize("part", ["bytes=5-9", "bytes=0-1,4-5", "bytes=999999999-", "bytes=9-5", "nonsense"])
def test_a_page_is_given_in_full_whatever_part_is_asked_for(
    http: httpx2.Client, done: ScanEntry, path: str, part: str
) -> None:
    whole, asked = http.get(path.format(done.id)), http.get(path.format(done.id), headers={"range": part})
    assert (asked.status_code, asked.content) == (200, whole.content)
    assert "accept-ranges" not in whole.headers


@pytest.mark.parametrize("n_bytes", [MAX_UPLOAD_BYTES + 1, 2 * MAX_UPLOAD_BYTES])
def test_an_upload_that_is_too_large_is_told_the_limit_of_uploads(http: httpx2.Client, n_bytes: int) -> None:
    answer = http.post("/api/v1/scans", files={"file": b"x" * n_bytes})
    assert (answer.status_code, answer.json()["detail"]) == (413, "an upload may have 2,000,000 bytes")


def test_a_body_that_is_too_large_where_no_upload_is_taken_is_told_its_own_limit(http: httpx2.Client) -> None:
    answer = http.post("/login", content=b"x" * 100_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["detail"] == "a request that brings no upload may have 65,536 bytes"


@pytest.mark.parametrize(
    ("method", "path", "name", "there_are"),
    [
        ("GET", "/api/v1/scans", "sha256", "there are limit, cursor, q, state"),
        ("GET", "/api/v1/scans", "Limit", "there are limit, cursor, q, state"),
        ("POST", "/api/v1/scans", "fps", "there is none"),
        ("GET", "/api/v1/scans/{}", "fields", "there is none"),
        ("GET", "/api/v1/models", "name", "there is none"),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(
    http: httpx2.Client, done: ScanEntry, method: str, path: str, name: str, there_are: str
) -> None:
    answer = http.request(method, path.format(done.id), params={name: "1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["detail"] == f"{name}: no such parameter; {there_are}"
    assert answer.json()["errors"][0]["where"] == ["query", name]


def test_a_link_to_a_page_may_carry_what_mail_adds_to_it(http: httpx2.Client, done: ScanEntry) -> None:
    assert http.get(f"/scans/{done.id}", params={"utm_source": "mail"}).status_code == 200


@pytest.mark.parametrize("path", ["/scans/216de1d", "/scans/", "/foo", "/models/nope"])
def test_an_address_that_leads_nowhere_is_a_page(http: httpx2.Client, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing here" in answer.text


@pytest.mark.parametrize("path", ["/api/v1/nope", "/api/v2/scans", "/static/nope"])
def test_programs_are_told_of_it_as_a_problem(http: httpx2.Client, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_how_often_faces_are_searched_for_can_be_asked_for(
    server: Running, http: httpx2.Client, portrait: Path
) -> None:
    with server.client() as client:
        report = client.scan(portrait, options=ScanOptions(search_every_s=0), wait_s=60)
    assert report.settings["detector_config"]["search_every_s"] == 0
    refused = http.post("/api/v1/scans", data={"search_every_s": "3601"}, files={"file": portrait.read_bytes()})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("search_every_s: ")


def test_figures_keep_their_digits() -> None:
    metrics = Metrics()
    metrics.received.add(by=1_234_567_890_123)
    metrics.request_s.add(1234.5678901)
    metrics.watch("a_share", "Not a whole number.", lambda: 0.123456789)
    metrics.watch("a_size", "A whole one.", lambda: 67_108_864_001)
    lines = metrics.text().splitlines()
    assert "telltale_upload_bytes_total 1234567890123" in lines
    assert "telltale_http_request_seconds_sum 1234.5678901" in lines
    assert "telltale_a_share 0.123456789" in lines
    assert "telltale_a_size 67108864001" in lines
    assert 'telltale_http_request_seconds_bucket{le="0.005"} 0' in lines


def test_pictures_of_a_result_come_back_as_they_were_kept() -> None:
    plain = make_full_report().pictures
    for kept in (plain, replace(plain, still=b"large")):
        assert _pictures(_pictures_json(kept)) == kept
    older = {key: value for key, value in json.loads(_pictures_json(plain)).items() if key != "still"}
    assert _pictures(json.dumps(older).encode()) == plain


def test_a_scans_page_has_a_line_for_what_goes_wrong_and_a_way_on_without_scripts(
    server: Running, http: httpx2.Client, done: ScanEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = '<p class="notice" id="told" role="status"></p>'
    assert line in http.get(f"/scans/{done.id}").text
    monkeypatch.setattr(server.service.scan_db, "claim", lambda: None)
    waiting = http.post("/api/v1/scans", files={"file": b"it waits"}).json()["id"]
    page = http.get(f"/scans/{waiting}").text
    http.delete(f"/api/v1/scans/{waiting}")
    assert line in page
    assert re.search(rf'<noscript>[^/]*<a href="/scans/{waiting}">load this page again</a>[^/]*</noscript>', page)


@pytest.mark.parametrize(
    ("kind", "played_as"),
    [*((name, f"image/{name.lower()}") for name in PICTURE_FORMATS), ("MPO", "image/jpeg")],
)
def test_a_picture_of_any_kind_is_served_and_shown_as_one(
    server: Running, http: httpx2.Client, tmp_path: Path, kind: str, played_as: str
) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    several: dict[str, Any] = {}
    if kind == "MPO":
        several = {"save_all": True, "append_images": [Image.new("RGB", (64, 64))]}
    picture = make_videos.write_picture(tmp_path / "picture", format=kind, **several)
    with server.client() as client:
        scan = client.wait(client.submit(picture).id, wait_s=60)
    assert http.get(f"/api/v1/scans/{scan.id}/media").headers["content-type"] == played_as
    page = http.get(f"/scans/{scan.id}").text
    assert f'<img src="/api/v1/scans/{scan.id}/media"' in page
    assert "annotated.mp4" not in page
    assert http.get(f"/api/v1/scans/{scan.id}/annotated.mp4").json()["detail"] == "there is no video to draw on"
