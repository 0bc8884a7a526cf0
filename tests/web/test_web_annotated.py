"""Annotated clips that cannot be drawn: why, in words, and how often it is tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from telltale.errors import DeadlineExceeded, InputError, OutOfMemory, TelltaleError, WorkerCrashed, WorkerNotStarted
from telltale.web import annotated
from telltale.web.client import ApiError
from telltale.web.schema import ScanEntry
from web_server import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redness: Path) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("annotated") / "data", redness) as server:
        yield server


def ask(server: Running, scan: ScanEntry, error: TelltaleError, *, times: int = 2) -> tuple[list[httpx2.Response], int]:
    """What is answered where drawing ends with this error, and how often it was tried."""
    n_tried = 0

    def fail(*_: object, **__: object) -> None:
        nonlocal n_tried
        n_tried += 1
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotated, "annotate", fail)
        url = f"{server.url}/api/v1/scans/{scan.id}/annotated.mp4"
        answers = [httpx2.get(url, timeout=60) for _ in range(times)]
    server.service.annotator.forget(scan.id)
    return answers, n_tried


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DeadlineExceeded("stopped after 600 s"), "drawing took longer than the server allows"),
        (OutOfMemory("stopped at 2048 MiB"), "drawing needed more memory than the server allows"),
        (WorkerCrashed("signal 11"), "the process that draws broke off"),
        (InputError("/srv/data/media/0123 has changed"), "it cannot be read and written anew"),
    ],
)
def test_a_clip_that_cannot_be_drawn_is_tried_once_and_told_why(
    server: Running, done: ScanEntry, error: TelltaleError, words: str
) -> None:
    answers, n_tried = ask(server, done, error)
    for answer in answers:
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["detail"]) == (409, "not_drawn", words)
        assert problem["title"] == "The annotated clip could not be drawn"
    assert n_tried == 1


def test_what_says_nothing_about_the_clip_is_tried_again(server: Running, done: ScanEntry) -> None:
    answers, n_tried = ask(server, done, WorkerNotStarted("no process"))
    assert [answer.json()["code"] for answer in answers] == ["not_drawn"] * 2
    assert "try later" in answers[0].json()["detail"]
    assert n_tried == 2


def test_a_failure_that_is_remembered_keeps_no_report(server: Running, done: ScanEntry) -> None:
    row = server.service.scan_db.get(done.id, owner="")
    assert row is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotated, "annotate", lambda *_, **__: (_ for _ in ()).throw(OutOfMemory("too much")))
        failure = server.service.annotator.ask(row, "").exception(timeout=60)
    server.service.annotator.forget(done.id)
    assert isinstance(failure, OutOfMemory)
    frames, trace = [], failure.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert not [frame for frame in frames if "report" in frame.f_locals]
    assert failure.__context__ is None


def test_a_clip_that_cannot_be_drawn_is_an_api_error_to_the_client(
    server: Running, done: ScanEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotated, "annotate", lambda *_, **__: (_ for _ in ()).throw(DeadlineExceeded("too long")))
    with server.client() as client, pytest.raises(ApiError, match="not_drawn"):
        client.save_annotated(done.id, tmp_path / "clip.mp4")
    server.service.annotator.forget(done.id)
