"""Nobody asks or waits for the sake of another one's work: streams wake for their own scans, pages that are made are
given at once."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx2
import pytest

from telltale.web import events
from telltale.web.events import Hub, one_scan
from telltale.web.schema import ScanEntry
from web_server import Running


async def nothing() -> ScanEntry | None:
    return ScanEntry.model_validate(
        {
            "id": "0" * 32,
            "state": "queued",
            "name": "",
            "size_bytes": 1,
            "sha256": "",
            "model": "",
            "settings": {},
            "created_at": 0,
            "progress": {"stage": "waiting"},
            "has_media": False,
        }
    )


def test_a_stream_looks_for_itself_when_its_own_scan_or_the_queue_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_PAUSE_S", 0.0)
    looked: list[str] = []

    async def follow(hub: Hub, name: str) -> None:
        async def read() -> ScanEntry | None:
            looked.append(name)
            return await nothing()

        async def may() -> bool:
            return True

        event = asyncio.Event()
        with hub.listening("ann", event, of=name):
            async for _ in one_scan(hub, event, may, read):
                pass

    async def looks(hub: Hub, *changed: str) -> list[str]:
        looked.clear()
        for analysis_id in changed:
            await asyncio.to_thread(hub.changed, analysis_id)
        for _ in range(100):  # of the loop: as many as anybody needs to wake and look
            await asyncio.sleep(0)
        return sorted(looked)

    async def ask() -> None:
        hub = Hub(streams_per_client=9)
        hub.changed("before there is anybody")
        hub.attach()
        streams = [asyncio.create_task(follow(hub, name)) for name in ("one", "two", "")]
        assert await looks(hub) == ["", "one", "two"]
        assert await looks(hub, "one") == ["", "one"]
        assert await looks(hub, "three") == [""]
        assert await looks(hub, "") == ["", "one", "two"]
        assert set(await looks(hub, "three", "two")) == {"", "two"}
        hub.close()
        await asyncio.wait_for(asyncio.gather(*streams), 60)

    asyncio.run(ask())


def test_those_who_wait_are_told_that_the_queue_moves(
    server: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server.service.scan_db, "claim", lambda: None)
    files = [tmp_path / name for name in ("1", "2")]
    for file in files:
        file.write_bytes(file.name.encode())
    with server.client() as client, httpx2.Client(base_url=server.url, timeout=10) as http:
        first, second = (client.submit(file) for file in files)
        with http.stream("GET", f"/api/v1/scans/{second.id}/events") as stream:
            lines = stream.iter_lines()
            assert '"ahead":1' in next(line for line in lines if line.startswith("data: "))
            client.delete(first.id)
            assert '"ahead":0' in next(line for line in lines if line.startswith("data: "))


def test_what_has_been_made_is_given_while_another_page_is_being_made(server: Running, portrait: Path) -> None:
    may_end = threading.Event()
    with server.client() as client, httpx2.Client(base_url=server.url, timeout=10) as http:
        scan = client.wait(client.submit(portrait).id, wait_s=60)
        paths = [path.format(scan.id) for path in ("/scans/{}", "/api/v1/scans/{}", "/api/v1/scans/{}/report.html")]
        before = [http.get(path).raise_for_status().text for path in paths]
        server.service._pages.submit(may_end.wait, 60)
        try:
            assert [http.get(path).text for path in paths] == before
        finally:
            may_end.set()
