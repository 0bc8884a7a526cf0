"""The home page after something went wrong, or stood open for long, in real Chromium."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from web_page import CHROMIUM, chromium, expect, names, row, submit_broken
from web_server import Running

pytest.importorskip("onnx", reason="makes models with onnx")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (apt-get install chromium)")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

PASTE = """([place, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add("words", "text/plain");
  clipboardData.items.add(new File([bytes], name));
  document.querySelector(place).dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}"""
LIST, NEWS = "**/api/v1/scans?*", "**/api/v1/events"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("is_deaf", [False, True], ids=["with news", "news refused too"])
def test_a_list_that_could_not_be_fetched_at_first_is_shown_whole_when_it_can(
    browser: Browser, server: Running, tmp_path: Path, is_deaf: bool
) -> None:
    newest_first = [f"{number:02}.mp4" for number in reversed(range(22))]
    with server.client() as client:
        submit_broken(client, tmp_path, *reversed(newest_first))
    page = browser.new_page(base_url=server.url)
    page.route(LIST, lambda route: route.fulfill(status=502), times=1)
    if is_deaf:
        page.route(NEWS, lambda route: route.fulfill(status=502), times=1)
    with page.expect_response(LIST) as first:
        page.goto("/")
    assert first.value.status == 502
    expect(names(page)).to_have_text(newest_first[:20])
    expect(page.locator("#trouble")).to_be_hidden()
    page.locator("#more").click()
    expect(names(page)).to_have_text(newest_first)
    page.close()


def test_ages_grow_while_the_page_stands_open(browser: Browser, server: Running, tmp_path: Path) -> None:
    with server.client() as client:
        submit_broken(client, tmp_path, "old.mp4")
        (entry,) = client.scans()
    page = browser.new_page(base_url=server.url)
    page.clock.install()
    page.goto("/")
    age = page.locator(".scan time")
    expect(age).to_have_text("just now")
    assert age.get_attribute("datetime") == entry.model_dump(mode="json")["created_at"]
    assert str(entry.created_at.year) in (age.get_attribute("title") or "")
    age.hover()
    assert age.evaluate("(time) => time.matches(':hover')"), "its title is never seen"
    page.clock.fast_forward("02:05")
    expect(age).to_have_text("2 minutes ago")
    page.clock.set_system_time(entry.created_at.timestamp() + 7300)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(age).to_have_text("2 hours ago")
    page.close()


def test_what_is_pasted_into_a_field_is_not_uploaded(browser: Browser, server: Running, portrait: Path) -> None:
    page = browser.new_page(base_url=server.url)
    page.goto("/")
    content = base64.b64encode(portrait.read_bytes()).decode("ascii")
    page.evaluate(PASTE, ["#seconds", "into a field.jpg", content])
    page.evaluate(PASTE, ["#files", "into the page.jpg", content])
    expect(row(page, "into the page.jpg")).to_be_visible()
    expect(page.locator(".scan")).to_have_count(1)
    page.close()


def test_a_bar_is_seen_where_colours_are_forced(browser: Browser, server: Running, portrait: Path) -> None:
    page = browser.new_page(base_url=server.url, forced_colors="active")
    held: list[Route] = []
    page.route("**/api/v1/scans", lambda route: held.append(route))
    page.goto("/")
    page.set_input_files("#files", str(portrait))
    bar = page.locator("#uploads progress")
    bar.evaluate("(bar) => (bar.value = 0.5)")
    page.wait_for_timeout(500)  # it glides there
    width_px = bar.evaluate("(bar) => bar.clientWidth")
    with Image.open(io.BytesIO(bar.screenshot())) as shot:
        grey = shot.convert("L")
        left, right = (grey.getpixel((int(width_px * share), grey.height // 2)) for share in (0.25, 0.75))
    assert isinstance(left, int)
    assert isinstance(right, int)
    assert abs(left - right) > 128
    page.close()
