"""One client leaves room for the others: on the disk, and where clips wait to be drawn on."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from telltale.web import annotated
from telltale.web.client import ApiError
from web_server import Running


def test_nothing_is_kept_of_what_would_take_the_room_that_is_not_for_it(
    server: Running, face_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = server.service.folder
    with server.client() as client, httpx2.Client(base_url=server.url, timeout=60) as http:
        entry = client.wait(client.submit(face_clip).id, wait_s=60)
        paths = [path.format(entry.id) for path in ("/scans/{}", "/api/v1/scans/{}", "/api/v1/scans/{}/report.html")]
        before = files_of(folder.made_for(entry.id, entry.id))
        with monkeypatch.context() as full:
            full.setattr(folder, "free_bytes", lambda: server.service.settings.min_free_bytes + 10)
            shown = [http.get(path).text for path in paths]
            with pytest.raises(ApiError, match="no_space"):
                client.save_annotated(entry.id, tmp_path / "clip.mp4")
            assert files_of(folder.made_for(entry.id, entry.id)) == before
        kept = [http.get(path).text for path in paths]
        assert shown == kept
        client.save_annotated(entry.id, tmp_path / "clip.mp4")
        assert len(files_of(folder.made_for(entry.id, entry.id))) > len(before)


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_client_whose_scans_take_more_than_is_left_makes_room_first(
    server: Running, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.service.folder, "free_bytes", lambda: server.service.settings.min_free_bytes + 1_900_000)
    with server.client() as client:
        first = client.wait(client.submit(portrait).id, wait_s=60)
        client.submit(portrait)
        with pytest.raises(ApiError, match="your scans take more of the disk than is left") as caught:
            client.submit(portrait)
        assert caught.value.problem.code == "no_space"
        client.delete(first.id)
        client.submit(portrait)


def test_a_client_who_has_many_clips_drawn_leaves_room_for_others(
    server: Running, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, annotator = threading.Event(), server.service.annotator
    monkeypatch.setattr(annotator, "_make", lambda *_: may_end.wait(60))
    with server.client() as client:
        scan = client.wait(client.submit(face_clip).id, wait_s=60)
    row = server.service.scan_db.get(scan.id, owner="")
    assert row is not None
    greedy = [annotator.ask(replace(row, id=name), "greedy") for name in ("1", "2")]
    assert annotator.ask(replace(row, id="1"), "greedy") is greedy[0], "asking again takes no place"
    with pytest.raises(annotated.AnnotatorBusy):
        annotator.ask(replace(row, id="3"), "greedy")
    assert not annotator.ask(replace(row, id="4"), "another").done()
    may_end.set()
    for future in greedy:
        future.result(timeout=60)
    annotator.ask(replace(row, id="3"), "greedy")
