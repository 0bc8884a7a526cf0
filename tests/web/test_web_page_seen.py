"""The page as it is seen on small windows and heard by a screen reader, in real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from web_page import CHROMIUM, chromium, drop, expect, row
from web_server import Running, running

pytest.importorskip("onnx", reason="makes models with onnx")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (apt-get install chromium)")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

HIDDEN = """() => {
  const player = document.querySelector("#player").getBoundingClientRect();
  const focused = document.activeElement;
  return !focused.closest("#player") && focused.getBoundingClientRect().bottom <= player.bottom;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_a_verdict_takes_no_other_ones_place_and_heat_maps_are_asked_for(
    browser: Browser, server: Running, portrait: Path
) -> None:
    page = browser.new_page(base_url=server.url)
    page.goto("/")
    page.get_by_text("Settings").click()
    expect(page.locator("#explain")).not_to_be_checked()
    page.get_by_text("Settings").click()
    names = ("one.jpg", "two.jpg")
    drop(page, *((name, portrait.read_bytes()) for name in names))
    for name in names:
        expect(page.locator("#said p").filter(has_text=f"{name}: ").filter(has_text="fake score")).to_have_count(1)
        expect(row(page, name).locator(".scan-score")).to_contain_text("fake score")


def test_a_new_upload_is_seen_below_open_settings(browser: Browser, server: Running, portrait: Path) -> None:
    page = browser.new_page(base_url=server.url, viewport={"width": 1000, "height": 600})
    page.goto("/")
    page.get_by_text("Settings").click()
    drop(page, ("one.jpg", portrait.read_bytes()))
    expect(page.locator(".scan").first).to_be_in_viewport()


def test_what_a_scans_page_could_not_do_is_said_with_the_servers_reason(
    browser: Browser, server: Running, face_clip: Path
) -> None:
    with server.client() as client:
        scan = client.wait(client.submit(face_clip, name="clip.mp4").id, wait_s=60)
    page = browser.new_page(base_url=server.url)

    def refuse(route: Route) -> None:
        if route.request.method == "DELETE" or route.request.url.endswith("annotated.mp4"):
            route.fulfill(status=507, content_type="application/problem+json", body='{"detail": "the disk is full"}')
        else:
            route.continue_()

    page.route("**/api/v1/scans/**", refuse)
    page.goto(f"/scans/{scan.id}")
    told = page.locator("#told")
    expect(told).to_have_text("")
    page.locator("#annotated").click()
    expect(told).to_have_text("The annotated video could not be drawn: the disk is full.")
    page.locator("#delete").click()
    page.locator("#ask-yes").click()
    expect(told).to_have_text("clip.mp4 could not be removed: the disk is full.")
    expect(page.locator("#delete")).to_be_enabled()


def test_on_a_phone_the_player_covers_neither_headings_nor_the_focus(
    browser: Browser, server: Running, two_face_clip: Path
) -> None:
    with server.client() as client:
        scan = client.wait(client.submit(two_face_clip).id, wait_s=60)
    page = browser.new_page(base_url=server.url, viewport={"width": 360, "height": 640})
    page.goto(f"/scans/{scan.id}")
    page.get_by_role("link", name="What it cannot say").click()
    player, heading = (page.locator(name).bounding_box() for name in ("#player", "#limits-h"))
    assert player is not None
    assert heading is not None
    assert heading["y"] >= player["y"] + player["height"]
    page.locator("summary").last.focus()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        assert not page.evaluate(HIDDEN)


def test_whoever_stands_on_an_upload_is_left_beside_it_and_told(
    browser: Browser, server: Running, portrait: Path
) -> None:
    page = browser.new_page(base_url=server.url)
    held: list[Route] = []
    page.route("**/api/v1/scans", lambda route: held.append(route))
    page.goto("/")
    drop(page, *((f"{number}.jpg", portrait.read_bytes() + bytes([number])) for number in range(3)))
    page.get_by_role("button", name="Cancel 1.jpg").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#said p").last).to_have_text("1.jpg cancelled")
    expect(page.get_by_role("button", name="Cancel 2.jpg")).to_be_focused()
    page.get_by_role("button", name="Cancel 0.jpg").focus()
    held[0].continue_()
    expect(page.locator("#said")).to_contain_text("0.jpg has arrived")
    expect(page.locator("#scans").get_by_role("button", name="0.jpg")).to_be_focused()
    page.get_by_role("button", name="Cancel 2.jpg").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#files")).to_be_focused()


def test_a_file_that_is_too_large_is_said_so_aloud(browser: Browser, tmp_path: Path, redness: Path) -> None:
    (tmp_path / "large.mp4").write_bytes(b"x" * 2_000_001)
    with running(tmp_path / "data", redness, max_upload_bytes=2_000_000) as server:
        page = browser.new_page(base_url=server.url)
        page.goto("/")
        page.set_input_files("#files", str(tmp_path / "large.mp4"))
        words = "large.mp4: This file has 2.0 MB; the server takes up to 2.0 MB."
        expect(page.locator("#said")).to_have_text(words)
        page.get_by_role("button", name="Dismiss large.mp4").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#files")).to_be_focused()
        expect(page.locator("#empty")).to_be_visible()
        page.close()
