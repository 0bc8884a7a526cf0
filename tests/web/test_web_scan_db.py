"""Jobs in SQLite: shared work, fair order, and what a crash leaves behind."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telltale.errors import UsageError
from telltale.web.rows import Ending, Kept, NewScan, ScanRow
from telltale.web.scan_db import ClientBusy, QueueFull, ScanDb


@pytest.fixture
def scan_db(tmp_path: Path) -> Iterator[ScanDb]:
    with closing(ScanDb(tmp_path / "jobs.db")) as scan_db:
        yield scan_db


def admit(
    scan_db: ScanDb, key: str, *, client: str = "a", owner: str = "", name: str = "clip.mp4", **limits: int
) -> ScanRow:
    new = NewScan(
        id=secrets.token_hex(16),
        key=key,
        owner=owner,
        client=client,
        name=name,
        sha256=key,
        size_bytes=1,
        model="m",
        options="{}",
    )
    return scan_db.admit(new, **({"queue_length": 100, "per_client": 100} | limits))


def ending(*, is_reusable: bool = True) -> Ending:
    return Ending(state="done", is_reusable=is_reusable, outcome={}, error=None, media_type="", has_thumbnail=False)


def finish(scan_db: ScanDb, *, is_reusable: bool = True) -> str:
    work = scan_db.claim()
    assert work is not None
    assert scan_db.finish(work, ending(is_reusable=is_reusable))
    return work.id


def state(scan_db: ScanDb, row: ScanRow) -> str:
    found = scan_db.get(row.id, owner="")
    assert found is not None
    return found.state


def test_equal_bytes_and_settings_are_analysed_once(scan_db: ScanDb) -> None:
    first, second = admit(scan_db, "k"), admit(scan_db, "k", client="b", name="other.mp4")
    assert first.analysis_id == second.analysis_id
    assert first.id != second.id
    finish(scan_db)
    assert scan_db.claim() is None
    assert state(scan_db, first) == state(scan_db, second) == "done"
    assert admit(scan_db, "k").state == "done"


def test_what_need_not_end_the_same_way_again_is_done_again(scan_db: ScanDb) -> None:
    first = admit(scan_db, "k")
    finish(scan_db, is_reusable=False)
    assert admit(scan_db, "k").analysis_id != first.analysis_id


def test_the_queue_and_what_a_client_may_have_in_it_are_bounded(scan_db: ScanDb) -> None:
    admit(scan_db, "1", queue_length=2, per_client=1)
    with pytest.raises(ClientBusy):
        admit(scan_db, "2", queue_length=2, per_client=1)
    admit(scan_db, "2", queue_length=2, per_client=1, client="b")
    with pytest.raises(QueueFull):
        admit(scan_db, "3", queue_length=2, per_client=1, client="c")
    assert scan_db.counts() == {"queued": 2}


def test_a_known_result_needs_no_place_in_the_queue(scan_db: ScanDb) -> None:
    admit(scan_db, "k")
    finish(scan_db)
    assert admit(scan_db, "k", queue_length=0, per_client=0).state == "done"


def test_what_is_kept_for_a_client_is_each_analysis_once_and_none_that_was_cancelled(scan_db: ScanDb) -> None:
    first = admit(scan_db, "1")
    for key, client in (("1", "a"), ("2", "b"), ("3", "a")):
        cancelled = admit(scan_db, key, client=client)
    scan_db.cancel(cancelled.id, owner="")
    assert scan_db.kept_for("a") == [Kept(first.analysis_id, "queued", 1)]
    assert [len(scan_db.kept_for(client)) for client in "bc"] == [1, 0]


def test_a_client_with_many_uploads_does_not_hold_up_another(scan_db: ScanDb) -> None:
    for key in "123":
        admit(scan_db, key, client="a")
    admit(scan_db, "4", client="b")
    order = []
    while (work := scan_db.claim()) is not None:
        order.append((work.client, work.sha256))
    assert order == [("a", "1"), ("b", "4"), ("a", "2"), ("a", "3")]


def test_how_many_come_first_is_told_in_the_order_in_which_they_come(scan_db: ScanDb) -> None:
    for key in "123":
        admit(scan_db, key, client="a")
    for key, client in (("4", "b"), ("5", "c"), ("6", "b")):
        admit(scan_db, key, client=client)
    while places := scan_db.places():
        assert sorted(places.values()) == list(range(len(places)))
        work = scan_db.claim()
        assert work is not None
        assert places[work.id] == 0
        if len(places) % 2:  # some go on running, which makes their client wait
            scan_db.finish(work, ending())


def test_what_ran_at_a_crash_is_run_once_more_then_set_aside(scan_db: ScanDb) -> None:
    admit(scan_db, "k")
    for _ in range(2):
        assert scan_db.recover() == []
        assert scan_db.claim() is not None
    (work,) = scan_db.recover()
    assert work.attempts == 2
    assert scan_db.claim() is None


def test_an_orderly_stop_does_not_count_as_an_attempt(scan_db: ScanDb) -> None:
    row = admit(scan_db, "k")
    for _ in range(5):
        work = scan_db.claim()
        assert work is not None
        scan_db.put_back(work.id)
    assert state(scan_db, row) == "queued"
    assert scan_db.recover() == []


def test_an_analysis_goes_on_until_nobody_wants_it(scan_db: ScanDb) -> None:
    first, second = admit(scan_db, "k"), admit(scan_db, "k")
    work = scan_db.claim()
    assert work is not None
    assert scan_db.cancel(first.id, owner="") == []
    assert (state(scan_db, first), state(scan_db, second)) == ("cancelled", "running")
    assert scan_db.cancel(second.id, owner="") == [work.id]
    assert not scan_db.is_running(work.id)
    assert scan_db.cancel(second.id, owner="") is None
    assert not scan_db.finish(work, ending()), "too late"
    assert admit(scan_db, "k").analysis_id != work.id


def test_nobody_sees_or_touches_what_belongs_to_another(scan_db: ScanDb) -> None:
    row = admit(scan_db, "k", owner="alice")
    assert scan_db.get(row.id, owner="bob") is None
    assert scan_db.cancel(row.id, owner="bob") is None
    assert scan_db.list(owner="bob") == []
    scan_db.delete(row.id, owner="bob")
    assert scan_db.get(row.id, owner="alice") is not None


def test_files_go_with_the_last_scan_that_refers_to_them(scan_db: ScanDb) -> None:
    first, second = admit(scan_db, "k"), admit(scan_db, "k")
    finish(scan_db)
    assert scan_db.delete(first.id, owner="") == []
    assert scan_db.delete(second.id, owner="") == [first.analysis_id]
    assert scan_db.analysis_ids() == set()


def cancelled_and_done(scan_db: ScanDb) -> tuple[ScanRow, ScanRow]:
    """Two scans of the same bytes: one cancelled while they were analysed, one that has its result."""
    given_up, kept = admit(scan_db, "k"), admit(scan_db, "k")
    assert scan_db.cancel(given_up.id, owner="") == []
    finish(scan_db)
    return given_up, kept


def test_a_cancelled_scan_keeps_no_files(scan_db: ScanDb) -> None:
    given_up, kept = cancelled_and_done(scan_db)
    assert scan_db.analysis_ids() == {kept.analysis_id}
    assert scan_db.delete(kept.id, owner="") == [kept.analysis_id]
    assert scan_db.analysis_ids() == set()
    assert scan_db.counts() == {"cancelled": 1}
    row = scan_db.get(given_up.id, owner="")
    assert row is not None
    assert (row.state, row.outcome, row.media_type, row.has_thumbnail) == ("cancelled", None, "", 0)
    assert admit(scan_db, "k").analysis_id != kept.analysis_id, "analysed anew"
    assert scan_db.delete(given_up.id, owner="") == [given_up.analysis_id]
    assert scan_db.counts() == {"queued": 1}


def test_a_cancelled_scan_keeps_no_files_of_one_that_expires(scan_db: ScanDb) -> None:
    given_up, kept = cancelled_and_done(scan_db)
    scan_db._db.execute("UPDATE scans SET cancelled_at = ? WHERE id = ?", (time.time() + 120, given_up.id))
    assert scan_db.expire(time.time() + 60) == ([(kept.analysis_id, kept.id, "")], [kept.analysis_id])
    assert state(scan_db, given_up) == "cancelled"
    assert scan_db.expire(time.time() + 180) == ([(given_up.analysis_id, given_up.id, "")], [given_up.analysis_id])
    assert scan_db.counts() == {}


def test_a_scan_does_not_tell_when_another_one_had_its_bytes_analysed(scan_db: ScanDb) -> None:
    admit(scan_db, "k")
    finish(scan_db)
    row = admit(scan_db, "k")
    assert row.started_at == row.finished_at == row.created_at
    assert admit(scan_db, "another").started_at is None


def test_scans_expire_when_they_have_ended_not_before(scan_db: ScanDb) -> None:
    admit(scan_db, "1"), admit(scan_db, "2")
    ended = finish(scan_db)
    assert scan_db.expire(time.time() + 60) == ([(ended, ended, "")], [ended])
    assert scan_db.counts() == {"queued": 1}


def test_scans_are_listed_newest_first_page_by_page(scan_db: ScanDb) -> None:
    rows = [admit(scan_db, str(number), name=f"Straße {number}%.mp4") for number in range(5)]
    first = scan_db.list(owner="", limit=2)
    rest = scan_db.list(owner="", limit=9, before=(first[-1].created_at, first[-1].id))
    assert [row.id for row in (*first, *rest)] == [row.id for row in reversed(rows)]


def test_names_are_searched_without_case_or_wildcards(scan_db: ScanDb) -> None:
    admit(scan_db, "1", name="STRASSE.mp4")
    admit(scan_db, "2", name="100%.mp4")
    assert [row.name for row in scan_db.list(owner="", text="straße")] == ["STRASSE.mp4"]
    assert [row.name for row in scan_db.list(owner="", text="%")] == ["100%.mp4"]


DECOMPOSED, COMPOSED = "Mu\u0308ller.mp4", "M\u00fcller.mp4"
"""As macOS sends the name, and as it is typed."""


def test_a_name_is_found_however_its_accents_are_written(scan_db: ScanDb) -> None:
    admit(scan_db, "1", name=DECOMPOSED)
    admit(scan_db, "2", name=COMPOSED)
    for text in ("M\u00dcLLER", "mu\u0308ller"):
        assert [row.name for row in scan_db.list(owner="", text=text)] == [COMPOSED, DECOMPOSED]


def test_names_that_an_earlier_version_folded_are_found_too(tmp_path: Path) -> None:
    with closing(ScanDb(tmp_path / "jobs.db")) as scan_db:
        admit(scan_db, "1", name=DECOMPOSED)
        scan_db._db.execute("UPDATE scans SET folded = ?", (DECOMPOSED.casefold(),))
        assert scan_db.list(owner="", text=COMPOSED) == []
    with closing(ScanDb(tmp_path / "jobs.db")) as scan_db:
        assert [row.name for row in scan_db.list(owner="", text=COMPOSED)] == [DECOMPOSED]


def test_scans_are_listed_by_their_own_state(scan_db: ScanDb) -> None:
    first, second = admit(scan_db, "k"), admit(scan_db, "k")
    scan_db.cancel(first.id, owner="")
    assert [row.id for row in scan_db.list(owner="", state="cancelled")] == [first.id]
    assert [row.id for row in scan_db.list(owner="", state="queued")] == [second.id]
    assert scan_db.list(owner="", state="done") == []


def test_what_came_and_ended_between_two_looks_is_news(scan_db: ScanDb) -> None:
    before = time.time()
    old = admit(scan_db, "1")
    finish(scan_db)
    quick = admit(scan_db, "1", name="answered at once.mp4")
    waiting, gone = admit(scan_db, "2"), admit(scan_db, "3")
    scan_db.cancel(gone.id, owner="")
    news = [row.id for row in scan_db.news(owner="", since=before)]
    assert news == [old.id, quick.id, waiting.id, gone.id]
    assert [row.id for row in scan_db.news(owner="", since=time.time() + 1)] == [waiting.id]
    assert scan_db.news(owner="bob", since=before) == []


def test_a_full_disk_is_named_as_such_and_takes_jobs_again_when_there_is_room(scan_db: ScanDb) -> None:
    (pages,) = scan_db._db.execute("PRAGMA page_count").fetchone()
    scan_db._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full") as caught:
        admit(scan_db, "large", name="n" * 100_000)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    scan_db._db.execute("PRAGMA max_page_count = 1000000")
    assert admit(scan_db, "after").state == "queued"


def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with closing(ScanDb(tmp_path / "jobs.db")) as scan_db:
        scan_db._db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="another version"):
        ScanDb(tmp_path / "jobs.db")
