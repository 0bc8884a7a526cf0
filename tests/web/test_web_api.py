"""The API from outside, through a real server and the client that is shipped."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import make_videos
from make_bundles import make_patches
from telltale.errors import UsageError
from telltale.web.app import create_app
from telltale.web.client import ApiError, Client, ServerUnreachable
from telltale.web.events import Hub, News
from telltale.web.schema import ScanEntry, ScanOptions
from telltale.web.settings import ServeSettings
from web_server import Running, running

HOSTILE_NAMES = [
    "<img src=x onerror=alert(1)>.mp4",
    '=HYPERLINK("http://x").mp4',
    "-i.mp4",
    "$(id) `id`; rm.mp4",
    "日本語 🎬.mp4",
    "gpj.\u202eexe.mp4",
    "a" * 300 + ".mp4",
    "line\nbreak.mp4",
    'say "hi" 100% %41.mp4',
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("web") / "data ü", redness, max_upload_bytes=2_000_000) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Client]:
    with server.client() as client:
        yield client


def test_an_upload_gets_its_report(client: Client, face_clip: Path) -> None:
    report = client.scan(face_clip, wait_s=60)
    assert report.verdict.label in ("real", "fake", "uncertain")
    assert report.input.path == face_clip.name
    assert report.input.size_bytes == face_clip.stat().st_size
    assert len(report.input.sha256) == 64
    assert len(report.tracks) == 1


def test_an_accepted_upload_says_where_its_scan_is(http: httpx2.Client, portrait: Path) -> None:
    answer = http.post("/api/v1/scans", files={"file": portrait.read_bytes()})
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/api/v1/scans/{body['id']}"
    assert body["state"] in ("queued", "running", "done")


def test_the_same_bytes_are_answered_from_the_store_under_their_new_name(
    client: Client, server: Running, done: ScanEntry, face_clip: Path
) -> None:
    before = server.service.metrics.text()
    again = client.submit(face_clip, name="another.mp4")
    assert again.state == "done"
    first, second = client.get(done.id), client.get(again.id)
    assert second.report is not None
    assert first.report is not None
    assert second.report.input.path == "another.mp4"
    assert second.report.tracks == first.report.tracks
    assert "another.mp4" in client.report_html(again.id)
    assert "telltale_scans_reused_total" in before
    client.delete(again.id)
    assert client.get(done.id).has_media


def test_other_settings_are_another_analysis(client: Client, face_clip: Path) -> None:
    report = client.scan(face_clip, options=ScanOptions(frames=3), wait_s=60)
    assert report.frames.analysed == 3
    assert report.settings["plan"]["kind"] == "uniform"


def test_no_path_of_the_server_is_told(client: Client, server: Running, done: ScanEntry, tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"")
    failed = client.wait(client.submit(junk).id)
    folder = str(server.service.folder.root)
    for scan_id in (done.id, failed.id):
        text = json.dumps(client.get(scan_id).model_dump(mode="json"), ensure_ascii=False)
        assert folder not in text
        assert folder not in client.report_html(scan_id)


def test_progress_is_told_as_it_happens(client: Client, clips: Path) -> None:
    clip = make_videos.face_clip(clips / "longer.mp4", seconds=6.0)
    entry = client.submit(clip, options=ScanOptions(fps=10))
    seen = list(client.events(entry.id))
    assert seen[-1].state == "done"
    shares = [
        one.progress.share for one in seen if one.progress.stage == "analysing" and one.progress.share is not None
    ]
    assert shares == sorted(shares)
    assert seen[-1].outcome is not None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n", "unsupported_container"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "unsupported_container"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", "unsupported_container"),
        (b"<ASX VERSION='3.0'><ENTRY><REF HREF='http://127.0.0.1:9/'/></ENTRY></ASX>", "unsupported_container"),
        (b"<!doctype html><video src=http://127.0.0.1:9/>", "unsupported_container"),
        (b"", "file_empty"),
        (b"\0" * 5000, "corrupt_file"),
    ],
)
def test_a_disguised_or_broken_file_fails_with_its_code_in_words(
    client: Client, tmp_path: Path, content: bytes, code: str
) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)
    scan = client.wait(client.submit(file).id, wait_s=30)
    assert scan.state == "failed"
    assert scan.report is not None
    assert scan.report.error is not None
    assert scan.error is not None
    assert scan.report.error.code == scan.error.code == code
    assert scan.outcome is not None
    assert scan.outcome.reason.endswith(".")
    assert not scan.has_media


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_kept_shown_escaped_and_never_a_path(
    client: Client, http: httpx2.Client, server: Running, portrait: Path, name: str
) -> None:
    entry = client.submit(portrait, name=name)
    client.wait(entry.id, wait_s=60)
    assert entry.name == re.split(r"[/\\]", name)[-1][-255:]
    for path in (f"/scans/{entry.id}", f"/api/v1/scans/{entry.id}/report.html"):
        page = http.get(path).text
        assert "<img src=x" not in page
        assert "\u202e" not in page
    known = {"telltale.db", "telltale.db-wal", "telltale.db-shm", "lock", "uploads", "media", "results"}
    assert {entry.name for entry in server.service.folder.root.iterdir()} == known
    client.delete(entry.id)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd"])
def test_folders_in_a_name_are_dropped(client: Client, portrait: Path, name: str) -> None:
    entry = client.submit(portrait, name=name)
    assert "/" not in entry.name
    assert "\\" not in entry.name
    client.delete(entry.id)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/",
        "/api/v1/scans/..%2f..%2ftelltale.db/media",
        "/api/v1/scans/0/media",
        "/data/telltale.db",
        "/models/..%2f",
    ],
)
def test_nothing_outside_is_served_and_no_folder_listed(http: httpx2.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code in (404, 422)
    assert "import" not in answer.text


def test_an_unknown_scan_is_a_problem_document(http: httpx2.Client) -> None:
    answer = http.get(f"/api/v1/scans/{'0' * 32}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    assert {"type", "title", "status", "detail", "code"} <= set(answer.json())


def test_settings_that_make_no_sense_are_refused_and_leave_nothing(
    http: httpx2.Client, server: Running, portrait: Path
) -> None:
    for form in ({"fps": "2", "every": "3"}, {"fps": "-1"}, {"nonsense": "1"}, {"model": "../x"}, {"seconds": "abc"}):
        answer = http.post("/api/v1/scans", data=form, files={"file": portrait.read_bytes()})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), form
    assert list(server.service.folder.uploads.iterdir()) == []


def test_heat_maps_are_kept_where_the_model_gives_them(
    http: httpx2.Client, tmp_path: Path, face_clip: Path, portrait: Path
) -> None:
    answer = http.post("/api/v1/scans", data={"explain": "true"}, files={"file": portrait.read_bytes()})
    assert (answer.status_code, answer.json()["detail"]) == (422, "explain: model 'redness' gives no heat maps")
    with running(tmp_path / "data", make_patches(tmp_path / "patches")) as server, server.client() as client:
        entry = client.submit(face_clip, options=ScanOptions(explain=True))
        told = client.wait(entry.id, wait_s=60).report
        assert told is not None
        assert told.explanation is not None
        assert told.provenance is not None
        pictures = server.service.folder.report(entry.id, name=entry.name).pictures
        assert pictures.heat.keys() == pictures.crops.keys()
        assert all(png.startswith(b"\x89PNG") for png in pictures.heat.values())
        for path in (f"/scans/{entry.id}", f"/api/v1/scans/{entry.id}/report.html"):
            assert httpx2.get(server.url + path).text.count('class="heat" src="data:image/png') >= len(pictures.heat)
        plain = client.wait(client.submit(face_clip).id, wait_s=60).report
        assert plain is not None
        assert plain.explanation is None


def test_the_upload_is_played_in_parts_as_what_it_is(http: httpx2.Client, done: ScanEntry, face_clip: Path) -> None:
    content, url = face_clip.read_bytes(), f"/api/v1/scans/{done.id}/media"
    whole = http.get(url)
    assert (whole.content, whole.headers["content-type"]) == (content, "video/mp4")
    assert whole.headers["content-security-policy"] == "default-src 'none'; sandbox"
    part = http.get(url, headers={"range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, content[5:10])
    assert http.get(url, headers={"range": "bytes=-4"}).content == content[-4:]
    beyond = http.get(url, headers={"range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "bad_range")
    for nonsense in ("bytes=", "bytes=9-5", "lines=1-2", "bytes=0-1,3-4"):
        assert http.get(url, headers={"range": nonsense}).content == content


def test_an_ended_scan_is_deleted_with_all_its_files(client: Client, server: Running, clips: Path) -> None:
    picture = make_videos.write_picture(clips / "deleted.png", format="PNG")
    entry = client.wait(client.submit(picture).id, wait_s=60)
    folder = server.service.folder
    assert entry.has_media
    assert folder.media(entry.id).exists()
    client.delete(entry.id)
    with pytest.raises(ApiError) as caught:
        client.get(entry.id)
    assert caught.value.problem.code == "not_found"
    assert not folder.media(entry.id).exists()
    assert not folder.thumbnail(entry.id).parent.exists()


def test_cancelling_frees_the_slot_at_once(client: Client, server: Running, clips: Path, portrait: Path) -> None:
    clip = make_videos.face_clip(clips / "cancelled.mp4", seconds=20.0)
    entry = client.submit(clip, options=ScanOptions(all_frames=True))
    while client.get(entry.id).progress.stage != "analysing":
        time.sleep(0.02)
    client.delete(entry.id)
    ends_at = time.monotonic() + 5
    while server.service.jobs.n_running and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert server.service.jobs.n_running == 0
    cancelled = client.get(entry.id)
    assert (cancelled.state, cancelled.report, cancelled.has_media) == ("cancelled", None, False)
    assert client.scan(portrait, wait_s=60).error is None
    client.delete(entry.id)
    with pytest.raises(ApiError):
        client.get(entry.id)


def test_a_queued_scan_can_be_cancelled_too(client: Client, clips: Path) -> None:
    clip = make_videos.face_clip(clips / "busy.mp4", seconds=10.0)
    running_one = client.submit(clip, options=ScanOptions(all_frames=True))
    waiting = client.submit(clip, options=ScanOptions(every=2))
    assert waiting.progress.stage == "waiting"
    client.delete(waiting.id)
    assert client.get(waiting.id).state == "cancelled"
    client.delete(running_one.id)


def test_scans_are_listed_in_pages_and_searched(client: Client, done: ScanEntry) -> None:
    ids = [entry.id for entry in client.scans()]
    assert len(ids) == len(set(ids))
    paged, cursor = [], None
    while True:
        page = client.page(limit=2, cursor=cursor)
        paged += [entry.id for entry in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert paged == ids
    assert done.id in [entry.id for entry in client.scans(q="FACE.mp")]
    assert list(client.scans(q="no such name")) == []


def test_models_come_with_their_cards(client: Client) -> None:
    (model,) = client.models()
    assert (model.name, model.is_default, model.card.size_px) == ("redness", True, 224)


def test_every_answer_carries_the_security_headers(http: httpx2.Client) -> None:
    for path in ("/", "/healthz", "/nowhere", "/api/v1/scans", "/static/home.js", "/docs"):
        headers = http.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_the_saved_report_brings_its_own_policy(http: httpx2.Client, done: ScanEntry) -> None:
    policy = http.get(f"/api/v1/scans/{done.id}/report.html").headers["content-security-policy"]
    assert "sha256-" in policy
    assert "unsafe" not in policy
    assert "sandbox" in policy


def test_another_site_may_neither_upload_nor_delete(http: httpx2.Client, done: ScanEntry) -> None:
    foreign = ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"})
    for headers in (*foreign, {"origin": "http://["}):
        assert http.delete(f"/api/v1/scans/{done.id}", headers=headers).json()["code"] == "foreign_origin"
        upload = http.post("/api/v1/scans", files={"file": b"x"}, headers=headers)
        assert upload.status_code == 403


def test_health_readiness_and_metrics(http: httpx2.Client, done: ScanEntry) -> None:
    assert http.get("/healthz").json() == http.get("/readyz").json() == {"status": "ok"}
    text = http.get("/metrics").text
    assert 'telltale_http_requests_total{method="GET",route="/healthz",status="200"}' in text
    assert "telltale_scans_waiting 0" in text
    assert done.id not in text


def test_methods_and_media_types_that_do_not_fit_are_problems(http: httpx2.Client) -> None:
    answer = http.put("/api/v1/scans")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"]
    answer = http.post("/api/v1/scans", json={"url": "http://127.0.0.1:9/"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_full_queue_says_when_to_come_back_and_the_client_does(tmp_path: Path, redness: Path, clips: Path) -> None:
    files = [make_videos.write_picture(clips / f"p{n}.png", format="PNG") for n in range(5)]
    for number, file in enumerate(files):
        file.write_bytes(file.read_bytes() + bytes([number]))
    with running(tmp_path / "data", redness, queue_length=1, per_client=2) as server, server.client() as client:
        answers: list[ScanEntry | ApiError] = []

        def submit(file: Path) -> None:
            try:
                answers.append(client.submit(file, wait_s=0))
            except ApiError as error:
                answers.append(error)

        threads = [threading.Thread(target=submit, args=(file,)) for file in files]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [answer for answer in answers if isinstance(answer, ApiError)]
        assert refused
        assert {error.problem.status for error in refused} == {429}
        assert all(error.retry_after_s and error.retry_after_s >= 1 for error in refused)
        for file in files:
            assert client.scan(file, wait_s=120).error is None


def test_uploads_and_results_go_when_their_time_is_over(tmp_path: Path, redness: Path, portrait: Path) -> None:
    with running(tmp_path / "data", redness, keep_s=0.5) as server, server.client() as client:
        entry = client.submit(portrait)
        ends_at = time.monotonic() + 60
        while list(client.scans()):
            assert time.monotonic() < ends_at
            time.sleep(0.1)
        assert not server.service.folder.media(entry.id).exists()


def test_a_local_server_answers_under_local_names_only(tmp_path: Path, redness: Path) -> None:
    with (
        running(tmp_path / "data", redness, allowed_hosts=("127.0.0.1",)) as server,
        httpx2.Client(base_url=server.url) as http,
    ):
        assert http.get("/healthz").status_code == 200
        rebound = http.get("/api/v1/scans", headers={"host": "evil.example"})
        assert (rebound.status_code, rebound.json()["code"]) == (421, "unknown_host")


def test_two_servers_do_not_share_a_folder(server: Running, redness: Path) -> None:
    with pytest.raises(UsageError, match="another server uses"):
        create_app(ServeSettings(data=server.service.settings.data, models=(redness,)))


def test_the_client_says_when_nobody_answers() -> None:
    with Client("http://127.0.0.1:9") as client:
        assert not client.is_ready()
        with pytest.raises(ServerUnreachable, match="is it running"):
            client.models()


def test_an_annotated_clip_is_made_when_asked_for(
    http: httpx2.Client, client: Client, done: ScanEntry, portrait: Path, tmp_path: Path
) -> None:
    client.save_annotated(done.id, tmp_path / "annotated.mp4")
    made = (tmp_path / "annotated.mp4").read_bytes()
    assert made[4:8] == b"ftyp"
    url = f"/api/v1/scans/{done.id}/annotated.mp4"
    answer = http.get(url)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "video/mp4", made)
    part = http.get(url, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    picture = client.wait(client.submit(portrait).id, wait_s=60)
    with pytest.raises(ApiError, match="no_result"):
        client.save_annotated(picture.id, tmp_path / "picture.mp4")


def test_a_scan_that_ends_between_two_looks_is_still_told(server: Running, client: Client, face_clip: Path) -> None:
    with httpx2.Client(base_url=server.url, timeout=60) as http, http.stream("GET", "/api/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        entry = client.submit(face_clip, name="known already.mp4")
        told = next(line for line in lines if line.startswith("data: ") and entry.id in line)
        assert '"state":"done"' in told
    client.delete(entry.id)


def test_streams_that_wake_together_look_into_the_database_once() -> None:
    looks: list[str] = []

    async def read(owner: str, since: float) -> list[ScanEntry]:  # noqa: ARG001 - a count is enough
        looks.append(owner)
        return []

    async def ask() -> None:
        hub = Hub(streams_per_client=1)
        news, now = News(hub, read), time.time()
        await asyncio.gather(*(news.since("ann", now + delay_s) for delay_s in (0.0, 0.01, 0.02)))
        await news.since("bob", now)
        assert looks == ["ann", "bob"]
        hub.close()  # news for all
        await news.since("ann", now)
        await news.since("ann", now + 3600)
        assert looks == ["ann", "bob", "ann", "ann"]

    asyncio.run(ask())
