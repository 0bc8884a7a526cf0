"""The home page after something went wrong, or stood open for long, in real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from web_page import CHROMIUM, chromium, expect, names, submit_broken
from web_server import Running

pytest.importorskip("onnx", reason="makes models with onnx")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (apt-get install chromium)")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
    page.clock.fast_forward("02:05")
    expect(age).to_have_text("2 minutes ago")
    page.clock.set_system_time(entry.created_at.timestamp() + 7300)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(age).to_have_text("2 hours ago")
    page.close()
