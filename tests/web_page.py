"""Pages in real Chromium, for tests. Needs Playwright and Chromium."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from telltale.web.client import Client

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT_MS = 120_000
"""For whatever a test waits for: a loaded machine is slow, not wrong."""
DROP = """([files]) => {
  const carried = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
    carried.items.add(new File([bytes], name));
  }
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
  }
}"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        sync_api.expect.set_options(timeout=WAIT_MS)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Files let go of over the page, as from a file manager."""
    page.evaluate(DROP, [[[name, base64.b64encode(content).decode("ascii")] for name, content in files]])


def row(page: Page, name: str, state: str = "done") -> Any:
    return page.locator(f".scan[data-state='{state}']").filter(has_text=name).first


def expect(locator: Any) -> Any:
    return sync_api.expect(locator)


def wait_until(page: Page, condition: str, *values: Any) -> None:
    """Until a JavaScript function of `values` gives true."""
    page.wait_for_function(f"values => ({condition})(...values)", arg=list(values), timeout=WAIT_MS)


def submit_broken(client: Client, folder: Path, *names: str) -> None:
    (folder / "broken").write_bytes(b"no clip")
    for name in names:
        client.wait(client.submit(folder / "broken", name=name).id, wait_s=60)


def names(page: Page) -> Any:
    """Of the scans in the list, from its top."""
    return page.locator("#scans .scan-name")
