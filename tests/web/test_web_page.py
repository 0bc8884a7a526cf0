"""The page in real Chromium: drop, watch, read, seek, delete. Needs Playwright and Chromium."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import make_videos
from make_bundles import make_redness
from telltale.web import events
from telltale.web.guard import digest
from telltale.web.schema import ScanOptions
from web_page import CHROMIUM, WAIT_MS, chromium, drop, expect, names, row, submit_broken, wait_until
from web_server import Running, running

pytest.importorskip("onnx", reason="makes models with onnx")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (apt-get install chromium)")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, FileChooser, Page, Route

WATCH = """() => {
  window.shares = [];
  window.lines = [];
  new MutationObserver(() => {
    for (const bar of document.querySelectorAll(".scan progress[value]")) {
      const [label, share] = [bar.getAttribute("aria-label"), bar.value];
      const last = shares.at(-1);
      if (!last || last[0] !== label || last[1] !== share) shares.push([label, share]);
    }
    for (const line of document.querySelectorAll(".scan-line")) lines.push(line.textContent);
  }).observe(document.querySelector("main"), { subtree: true, childList: true, attributes: true });
}"""
NEAR = """(share) => {
  const video = document.querySelector("#player video");
  return !video.seeking && Math.abs(video.currentTime - share * video.duration) < 0.7;
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
WATCH_STAGE = """() => {
  window.changes = {};
  for (const id of ["stage", "said"]) {
    const [place, texts] = [document.getElementById(id), new Set()];
    changes[id] = texts;
    new MutationObserver(() => texts.add(place.textContent)).observe(place, { childList: true });
  }
}"""
FOCUSED = "(id) => document.activeElement.id === id"
DEAF = "window.EventSource = class extends EventTarget { close() {} }"
"""No news, and no refusal either."""
REFUSED = re.compile("the server responded with a status of (429|502)")
"""What tests let a server answer on purpose, in Chromium's words."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    model = make_redness(folder / "redness", size_px=224, description="Calls red faces fake.")
    with running(folder / "data", model, workers=2, max_upload_bytes=20_000_000) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextlib.contextmanager
def signed_in(browser: Browser, folder: Path, model: Path) -> Iterator[tuple[Page, Running]]:
    """The home page of a server that wants keys, for whoever has alice's."""
    with running(folder / "data", model, require_key=True) as server:
        server.service.keys.add("alice", digest("key of alice"))
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_label("key").fill("key of alice")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        yield page, server
        page.close()


def test_a_key_lets_a_browser_in_and_out(browser: Browser, tmp_path: Path, redness: Path) -> None:
    with signed_in(browser, tmp_path, redness) as (page, _):
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("key")).to_be_visible()


def test_whoever_listens_with_a_key_that_is_withdrawn_is_asked_for_one(
    browser: Browser, tmp_path: Path, redness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_ASK_AGAIN_S", 0.0)
    with signed_in(browser, tmp_path, redness) as (page, server):
        wait_for_streams(page, server, 1)
        server.service.keys.remove("alice")
        server.service.hub.changed()
        expect(page.get_by_label("key")).to_be_visible()


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    """The home page; anything the browser complains about, and any request elsewhere, fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, base_url=server.url)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type in ("error", "warning") and not REFUSED.search(said.text)
            else None
        ),
    )
    page.on("request", lambda request: None if request.url.startswith(server.url) else complaints.append(request.url))
    page.goto("/")
    yield page
    context.close()
    with server.client() as client:
        for entry in list(client.scans()):
            client.delete(entry.id)
    assert complaints == []


def test_a_clip_is_dropped_watched_read_sought_and_deleted(page: Page, shared: Path) -> None:
    clip = shared / "videos" / "labelled" / "ffpp_634_real.mp4"
    page.evaluate(WATCH)
    drop(page, (clip.name, clip.read_bytes()))
    expect(row(page, clip.name)).to_be_visible()
    analysis = [share for label, share in page.evaluate("shares") if label.startswith("Analysis")]
    assert len(analysis) >= 3
    assert analysis == sorted(analysis)
    assert 0 < analysis[-1] <= 1
    assert any("frames so far" in line for line in page.evaluate("lines"))
    expect(row(page, clip.name).locator(".badge")).to_have_text(re.compile("fake|real|uncertain"))
    expect(row(page, clip.name).locator("img")).to_be_visible()

    row(page, clip.name).get_by_role("link").click()
    expect(page.locator(".verdict h1")).to_have_text(re.compile("deepfake|Uncertain"))
    chart = page.locator(".chart").first
    expect(chart).to_be_visible()
    expect(page.locator(".playhead")).to_have_count(page.locator(".chart").count())  # the video is there
    box = chart.bounding_box()
    assert box is not None
    for share in (0.2, 0.6):
        chart.click(position={"x": box["width"] * share, "y": box["height"] / 2})
        wait_until(page, NEAR, share)

    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#ask")).to_be_hidden()
    page.get_by_role("button", name="Delete").first.click()
    page.locator("#ask-yes").click()
    page.wait_for_url("**/")
    expect(page.locator(".scan").filter(has_text=clip.name)).to_have_count(0)


def test_two_clips_at_once_and_a_broken_one_with_its_reason(
    page: Page, face_clip: Path, two_face_clip: Path, server: Running
) -> None:
    drop(
        page,
        ("one.mp4", face_clip.read_bytes()),
        ("two.mp4", two_face_clip.read_bytes()),
        ("<b>broken<b>.mp4", b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n"),
    )
    for name in ("one.mp4", "two.mp4"):
        expect(row(page, name)).to_be_visible()
    broken = row(page, "<b>broken<b>.mp4", "failed")
    expect(broken).to_contain_text("This is not a video or picture: a playlist, a document or something else.")
    broken.get_by_role("link").click()
    expect(page.locator(".verdict h1")).to_have_text("This file could not be analysed")
    expect(page.locator(".verdict")).to_contain_text("list of other files")
    page.goto("/")
    for name in ("one.mp4", "two.mp4", "<b>broken<b>.mp4"):
        page.get_by_role("button", name=f"Delete {name}").click()
        page.locator("#ask-yes").click()
        expect(page.locator(".scan").filter(has_text=name)).to_have_count(0)
    with server.client() as client:
        assert list(client.scans()) == []


def test_the_annotated_clip_is_saved_when_it_has_been_drawn(page: Page, face_clip: Path) -> None:
    drop(page, ("drawn.mp4", face_clip.read_bytes()))
    row(page, "drawn.mp4").get_by_role("link").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Annotated video").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"


def test_a_page_that_is_not_seen_holds_no_connection(page: Page, server: Running, tmp_path: Path) -> None:
    """A browser has six to a server, for all of its tabs."""

    with unseen(page, server), server.client() as client:
        submit_broken(client, tmp_path, "unseen.mp4")
    expect(row(page, "unseen.mp4", "failed")).to_be_visible()


@contextlib.contextmanager
def unseen(page: Page, server: Running) -> Iterator[None]:
    """While another tab is looked at, and what happened is no news any more."""

    def show(*, is_hidden: bool, n_streams: int) -> None:
        page.evaluate(HIDE, is_hidden)
        wait_for_streams(page, server, n_streams)

    show(is_hidden=False, n_streams=1)
    show(is_hidden=True, n_streams=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "_OVERLAP_S", 0.0)
        yield
        show(is_hidden=False, n_streams=1)
        page.wait_for_timeout(1000)


def wait_for_streams(page: Page, server: Running, n_streams: int) -> None:
    ends_at = time.monotonic() + WAIT_MS / 1000
    while server.service.hub.n_streams != n_streams:
        assert time.monotonic() < ends_at, f"{server.service.hub.n_streams} streams are open"
        page.wait_for_timeout(50)


def test_a_page_whose_stream_is_refused_asks_and_listens_again_later(
    page: Page, server: Running, tmp_path: Path
) -> None:
    """A browser gives a refused stream up for good."""
    page.route("**/api/v1/events", lambda route: route.fulfill(status=429))
    with page.expect_response("**/api/v1/events"):
        page.reload()
    with server.client() as client:
        submit_broken(client, tmp_path, "asked.mp4")
        expect(names(page)).to_have_text(["asked.mp4"])
        page.unroute("**/api/v1/events")
        wait_for_streams(page, server, 1)
        submit_broken(client, tmp_path, "told.mp4")
        expect(names(page)).to_have_text(["told.mp4", "asked.mp4"])


def test_the_page_of_a_scan_whose_stream_is_refused_comes_to_its_end(page: Page, server: Running, clips: Path) -> None:
    clip = make_videos.face_clip(clips / "long.mp4", seconds=25.0)
    page.route("**/events", lambda route: route.fulfill(status=502))
    with server.client() as client:
        entry = client.submit(clip, options=ScanOptions(all_frames=True))
        with page.expect_response("**/events"):
            page.goto(f"/scans/{entry.id}")
        client.delete(entry.id)
    expect(page.locator("#headline")).to_have_text("Cancelled")


def test_a_busy_server_is_asked_until_it_has_every_upload_in_its_order(page: Page, portrait: Path) -> None:
    content = portrait.read_bytes()
    turned_away: list[bytes] = []

    def answer(route: Route) -> None:
        if len(turned_away) < 18:
            turned_away.append(re.findall(b"[012].jpg", route.request.post_data_buffer or b"")[0])
            route.fulfill(status=429, headers={"Retry-After": "1"})
        else:
            route.continue_()

    page.route("**/api/v1/scans", answer)
    drop(page, *((f"{number}.jpg", content + bytes([number])) for number in range(3)))
    for number in range(3):
        expect(row(page, f"{number}.jpg")).to_be_visible()
    assert set(turned_away) == {b"0.jpg", b"1.jpg"}  # two at a time, and no other is sent before there is room


def test_an_upload_is_sent_again_after_a_restart(page: Page, portrait: Path) -> None:
    page.route("**/api/v1/scans", lambda route: route.fulfill(status=502), times=1)
    page.set_input_files("#files", str(portrait))
    expect(row(page, portrait.name)).to_be_visible()


def test_leaving_is_asked_about_while_something_is_being_sent_and_not_afterwards(page: Page, portrait: Path) -> None:
    held: list[Route] = []
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.route("**/api/v1/scans", lambda route: held.append(route))
    with page.expect_request("**/api/v1/scans"):
        page.set_input_files("#files", str(portrait))
    api = page.get_by_role("link", name="API", exact=True).first
    with page.expect_event("dialog"):
        api.click()
    held[0].continue_()
    expect(row(page, portrait.name)).to_be_visible()
    api.click()
    page.wait_for_url("**/docs")
    assert asked == ["beforeunload"]


def test_a_setting_that_cannot_be_is_shown_and_nothing_sent(page: Page, portrait: Path) -> None:
    settings, seconds = page.locator("summary", has_text="Settings"), page.locator("#seconds")
    settings.click()
    seconds.fill("0")
    settings.click()
    expect(seconds).to_be_hidden()
    page.set_input_files("#files", str(portrait))
    expect(page.locator("#trouble")).to_contain_text("The file was not sent. Only the first seconds: ")
    wait_until(page, FOCUSED, "seconds")
    seconds.fill("1")
    page.set_input_files("#files", str(portrait))
    expect(row(page, portrait.name)).to_be_visible()
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_scan_that_was_searched_for_and_ended_unseen_is_shown_as_it_is(
    page: Page, server: Running, clips: Path, tmp_path: Path
) -> None:
    clip = make_videos.face_clip(clips / "long.mp4", seconds=25.0)
    with server.client() as client:
        submit_broken(client, tmp_path, "another.mp4")
        entry = client.submit(clip, options=ScanOptions(all_frames=True))
        expect(page.locator("#search")).to_be_visible()
        page.locator("#search").fill("long")
        expect(names(page)).to_have_text(["long.mp4"])
        with unseen(page, server):
            client.delete(entry.id)
        expect(row(page, "long.mp4", "cancelled")).to_be_visible()
        expect(names(page)).to_have_text(["long.mp4"])


def test_the_newest_stays_first_and_what_is_older_than_the_list_waits_for_show_more(
    page: Page, server: Running, tmp_path: Path
) -> None:
    newest_first = [f"{number:02}.mp4" for number in reversed(range(25))]
    with server.client() as client:
        submit_broken(client, tmp_path, *reversed(newest_first))
        page.reload()
        expect(names(page)).to_have_text(newest_first[:20])
        with unseen(page, server):
            submit_broken(client, tmp_path, "new.mp4")
    expect(names(page)).to_have_text(["new.mp4", *newest_first[:20]])
    page.locator("#more").click()
    expect(names(page)).to_have_text(["new.mp4", *newest_first])


def test_what_was_deleted_unseen_is_no_longer_listed(page: Page, server: Running, tmp_path: Path) -> None:
    with server.client() as client:
        submit_broken(client, tmp_path, "kept.mp4", "gone.mp4")
        expect(names(page)).to_have_text(["gone.mp4", "kept.mp4"])
        with unseen(page, server):
            client.delete(next(client.scans()).id)
        expect(names(page)).to_have_text(["kept.mp4"])


def test_what_is_deleted_elsewhere_leaves_the_list_at_once(page: Page, server: Running, tmp_path: Path) -> None:
    with server.client() as client:
        submit_broken(client, tmp_path, "kept.mp4", "gone.mp4")
        expect(names(page)).to_have_text(["gone.mp4", "kept.mp4"])
        client.delete(next(client.scans()).id)
        expect(names(page)).to_have_text(["kept.mp4"])


def test_an_empty_list_does_not_speak_of_a_search_that_is_over(page: Page, server: Running, tmp_path: Path) -> None:
    with server.client() as client:
        submit_broken(client, tmp_path, "one.mp4", "two.mp4")
        page.locator("#search").fill("nobody")
        expect(page.locator("#empty")).to_have_text("No file of that name.")
        page.locator("#search").fill("")
        for name in ("two.mp4", "one.mp4"):
            page.get_by_role("button", name=f"Delete {name}").click()
            page.locator("#ask-yes").click()
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#empty")).to_contain_text("Nothing yet.")


def test_progress_is_read_aloud_by_its_stages_only(page: Page, server: Running, clips: Path) -> None:
    clip = make_videos.face_clip(clips / "long.mp4", seconds=25.0)
    with server.client() as client:
        entry = client.submit(clip, options=ScanOptions(all_frames=True))
        page.goto(f"/scans/{entry.id}")
        page.evaluate(WATCH_STAGE)
        wait_until(page, "() => changes.stage.size >= 5")
        assert page.evaluate("changes.said.size") <= 3
        expect(page.locator("#said")).to_contain_text("Looking at faces")
        client.delete(entry.id)


def test_cancelling_what_has_ended_meanwhile_keeps_it(page: Page, server: Running, portrait: Path) -> None:
    page.add_init_script(DEAF)
    page.reload()
    page.set_input_files("#files", str(portrait))
    cancel = page.get_by_role("button", name=f"Cancel {portrait.name}")
    with server.client() as client:
        expect(cancel).to_be_visible()
        (entry,) = client.scans()
        client.wait(entry.id, wait_s=60)
        cancel.click()
        expect(row(page, portrait.name)).to_be_visible()
        assert client.get(entry.id).state == "done"


def test_a_running_scan_is_cancelled_from_the_list(page: Page, clips: Path) -> None:
    clip = make_videos.face_clip(clips / "long.mp4", seconds=25.0)
    page.locator("summary", has_text="Settings").click()
    page.select_option("#fps", "25")
    page.set_input_files("#files", str(clip))
    page.locator("#scans").get_by_role("button", name="Cancel long.mp4").click()  # and not while it is being sent
    cancelled = row(page, "long.mp4", "cancelled")
    expect(cancelled).to_contain_text("Cancelled")
    page.get_by_role("button", name="Delete long.mp4").click()
    expect(page.locator(".scan").filter(has_text="long.mp4")).to_have_count(0)


def test_the_page_works_with_the_keyboard(page: Page, portrait: Path) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.locator("#files").focus()
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    for _ in range(20):  # a key allows a file chooser for some seconds only, which may be too few under load
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        if choosers:
            break
    choosers[0].set_files(str(portrait))
    expect(row(page, "portrait.jpg")).to_be_visible()
    row(page, "portrait.jpg").get_by_role("link").focus()
    wait_until(page, "() => document.activeElement.matches('.scan a')")
    page.keyboard.press("Enter")
    expect(page.locator(".verdict h1")).to_be_visible()
    expect(page.locator("#player img")).to_be_visible()
    expect(page.locator("#delete")).to_be_visible()
    page.locator("#delete").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#ask")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#ask")).to_be_hidden()
    wait_until(page, FOCUSED, "delete")
    page.keyboard.press("Enter")
    expect(page.locator("#ask")).to_be_visible()
    page.keyboard.press("Tab")
    wait_until(page, FOCUSED, "ask-yes")
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    expect(page.locator(".scan")).to_have_count(0)


def test_a_file_that_is_too_large_is_not_sent(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(b"x" * 20_000_001)
    page.set_input_files("#files", str(large))
    expect(page.locator(".scan")).to_contain_text("the server takes up to 20.0 MB")
    page.get_by_role("button", name="Dismiss large.mp4").click()
    expect(page.locator(".scan")).to_have_count(0)


def test_the_model_and_its_card_are_one_click_away(page: Page) -> None:
    page.get_by_role("link", name="What it was trained on, and its limits").click()
    expect(page.locator("h1")).to_have_text("redness")
    expect(page.locator("main")).to_contain_text("Says fake from")


def test_the_list_is_searched_by_name(page: Page, portrait: Path) -> None:
    content = portrait.read_bytes()
    drop(page, ("Müller.jpg", content), ("Schmidt.jpg", content))
    expect(row(page, "Müller")).to_be_visible()
    expect(row(page, "Schmidt")).to_be_visible()
    page.locator("#search").fill("müll")
    expect(page.locator(".scan")).to_have_count(1)
    page.locator("#search").fill("nobody")
    expect(page.locator("#empty")).to_be_visible()
    page.locator("#search").fill("")
    expect(page.locator(".scan")).to_have_count(2)


@pytest.mark.parametrize("path", ["/", "/docs", "/models/redness"])
def test_no_page_is_wider_than_a_phone(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(path)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_a_report_is_no_wider_than_a_phone(page: Page, two_face_clip: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    drop(page, ("a name that is long and has no end in sight " * 4 + ".mp4", two_face_clip.read_bytes()))
    row(page, "a name").get_by_role("link").click()
    expect(page.locator(".verdict h1")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
