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
from telltale.web.rows import Ending, NewScan, ScanRow
from telltale.web.store import ClientBusy, QueueFull, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "jobs.db")) as store:
        yield store


def admit(
    store: Store, key: str, *, client: str = "a", owner: str = "", name: str = "clip.mp4", **limits: int
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
    return store.admit(new, **({"queue_length": 100, "per_client": 100} | limits))


def ending(*, is_reusable: bool = True) -> Ending:
    return Ending(state="done", is_reusable=is_reusable, outcome={}, error=None, media_type="", has_thumbnail=False)


def finish(store: Store, *, is_reusable: bool = True) -> str:
    work = store.claim()
    assert work is not None
    assert store.finish(work, ending(is_reusable=is_reusable))
    return work.id


def state(store: Store, row: ScanRow) -> str:
    found = store.get(row.id, owner="")
    assert found is not None
    return found.state


def test_equal_bytes_and_settings_are_analysed_once(store: Store) -> None:
    first, second = admit(store, "k"), admit(store, "k", client="b", name="other.mp4")
    assert first.analysis_id == second.analysis_id
    assert first.id != second.id
    finish(store)
    assert store.claim() is None
    assert state(store, first) == state(store, second) == "done"
    assert admit(store, "k").state == "done"


def test_what_need_not_end_the_same_way_again_is_done_again(store: Store) -> None:
    first = admit(store, "k")
    finish(store, is_reusable=False)
    assert admit(store, "k").analysis_id != first.analysis_id


def test_the_queue_and_what_a_client_may_have_in_it_are_bounded(store: Store) -> None:
    admit(store, "1", queue_length=2, per_client=1)
    with pytest.raises(ClientBusy):
        admit(store, "2", queue_length=2, per_client=1)
    admit(store, "2", queue_length=2, per_client=1, client="b")
    with pytest.raises(QueueFull):
        admit(store, "3", queue_length=2, per_client=1, client="c")
    assert store.counts() == {"queued": 2}


def test_a_known_result_needs_no_place_in_the_queue(store: Store) -> None:
    admit(store, "k")
    finish(store)
    assert admit(store, "k", queue_length=0, per_client=0).state == "done"


def test_a_client_with_many_uploads_does_not_hold_up_another(store: Store) -> None:
    for key in "123":
        admit(store, key, client="a")
    admit(store, "4", client="b")
    order = []
    while (work := store.claim()) is not None:
        order.append((work.client, work.sha256))
    assert order == [("a", "1"), ("b", "4"), ("a", "2"), ("a", "3")]


def test_what_ran_at_a_crash_is_run_once_more_then_set_aside(store: Store) -> None:
    admit(store, "k")
    for _ in range(2):
        assert store.recover() == []
        assert store.claim() is not None
    (work,) = store.recover()
    assert work.attempts == 2
    assert store.claim() is None


def test_an_orderly_stop_does_not_count_as_an_attempt(store: Store) -> None:
    row = admit(store, "k")
    for _ in range(5):
        work = store.claim()
        assert work is not None
        store.put_back(work.id)
    assert state(store, row) == "queued"
    assert store.recover() == []


def test_an_analysis_goes_on_until_nobody_wants_it(store: Store) -> None:
    first, second = admit(store, "k"), admit(store, "k")
    work = store.claim()
    assert work is not None
    assert store.cancel(first.id, owner="") == []
    assert (state(store, first), state(store, second)) == ("cancelled", "running")
    assert store.cancel(second.id, owner="") == [work.id]
    assert not store.is_running(work.id)
    assert store.cancel(second.id, owner="") is None
    assert not store.finish(work, ending()), "too late"
    assert admit(store, "k").analysis_id != work.id


def test_nobody_sees_or_touches_what_belongs_to_another(store: Store) -> None:
    row = admit(store, "k", owner="alice")
    assert store.get(row.id, owner="bob") is None
    assert store.cancel(row.id, owner="bob") is None
    assert store.list(owner="bob") == []
    store.delete(row.id, owner="bob")
    assert store.get(row.id, owner="alice") is not None


def test_files_go_with_the_last_scan_that_refers_to_them(store: Store) -> None:
    first, second = admit(store, "k"), admit(store, "k")
    finish(store)
    assert store.delete(first.id, owner="") == []
    assert store.delete(second.id, owner="") == [first.analysis_id]
    assert store.analysis_ids() == set()


def cancelled_and_done(store: Store) -> tuple[ScanRow, ScanRow]:
    """Two scans of the same bytes: one cancelled while they were analysed, one that has its result."""
    given_up, kept = admit(store, "k"), admit(store, "k")
    assert store.cancel(given_up.id, owner="") == []
    finish(store)
    return given_up, kept


def test_a_cancelled_scan_keeps_no_files(store: Store) -> None:
    given_up, kept = cancelled_and_done(store)
    assert store.analysis_ids() == {kept.analysis_id}
    assert store.delete(kept.id, owner="") == [kept.analysis_id]
    assert store.analysis_ids() == set()
    assert store.counts() == {"cancelled": 1}
    row = store.get(given_up.id, owner="")
    assert row is not None
    assert (row.state, row.outcome, row.media_type, row.has_thumbnail) == ("cancelled", None, "", 0)
    assert admit(store, "k").analysis_id != kept.analysis_id, "analysed anew"
    assert store.delete(given_up.id, owner="") == [given_up.analysis_id]
    assert store.counts() == {"queued": 1}


def test_a_cancelled_scan_keeps_no_files_of_one_that_expires(store: Store) -> None:
    given_up, kept = cancelled_and_done(store)
    store._db.execute("UPDATE scans SET cancelled_at = ? WHERE id = ?", (time.time() + 120, given_up.id))
    assert store.expire(time.time() + 60) == ([(kept.analysis_id, kept.id, "")], [kept.analysis_id])
    assert state(store, given_up) == "cancelled"
    assert store.expire(time.time() + 180) == ([(given_up.analysis_id, given_up.id, "")], [given_up.analysis_id])
    assert store.counts() == {}


def test_a_scan_does_not_tell_when_another_one_had_its_bytes_analysed(store: Store) -> None:
    admit(store, "k")
    finish(store)
    row = admit(store, "k")
    assert row.started_at == row.finished_at == row.created_at
    assert admit(store, "another").started_at is None


def test_scans_expire_when_they_have_ended_not_before(store: Store) -> None:
    admit(store, "1"), admit(store, "2")
    ended = finish(store)
    assert store.expire(time.time() + 60) == ([(ended, ended, "")], [ended])
    assert store.counts() == {"queued": 1}


def test_scans_are_listed_newest_first_page_by_page(store: Store) -> None:
    rows = [admit(store, str(number), name=f"Straße {number}%.mp4") for number in range(5)]
    first = store.list(owner="", limit=2)
    rest = store.list(owner="", limit=9, before=(first[-1].created_at, first[-1].id))
    assert [row.id for row in (*first, *rest)] == [row.id for row in reversed(rows)]


def test_names_are_searched_without_case_or_wildcards(store: Store) -> None:
    admit(store, "1", name="STRASSE.mp4")
    admit(store, "2", name="100%.mp4")
    assert [row.name for row in store.list(owner="", text="straße")] == ["STRASSE.mp4"]
    assert [row.name for row in store.list(owner="", text="%")] == ["100%.mp4"]


DECOMPOSED, COMPOSED = "Mu\u0308ller.mp4", "M\u00fcller.mp4"
"""As macOS sends the name, and as it is typed."""


def test_a_name_is_found_however_its_accents_are_written(store: Store) -> None:
    admit(store, "1", name=DECOMPOSED)
    admit(store, "2", name=COMPOSED)
    for text in ("M\u00dcLLER", "mu\u0308ller"):
        assert [row.name for row in store.list(owner="", text=text)] == [COMPOSED, DECOMPOSED]


def test_names_that_an_earlier_version_folded_are_found_too(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "jobs.db")) as store:
        admit(store, "1", name=DECOMPOSED)
        store._db.execute("UPDATE scans SET folded = ?", (DECOMPOSED.casefold(),))
        assert store.list(owner="", text=COMPOSED) == []
    with closing(Store(tmp_path / "jobs.db")) as store:
        assert [row.name for row in store.list(owner="", text=COMPOSED)] == [DECOMPOSED]


def test_scans_are_listed_by_their_own_state(store: Store) -> None:
    first, second = admit(store, "k"), admit(store, "k")
    store.cancel(first.id, owner="")
    assert [row.id for row in store.list(owner="", state="cancelled")] == [first.id]
    assert [row.id for row in store.list(owner="", state="queued")] == [second.id]
    assert store.list(owner="", state="done") == []


def test_what_came_and_ended_between_two_looks_is_news(store: Store) -> None:
    before = time.time()
    old = admit(store, "1")
    finish(store)
    quick = admit(store, "1", name="answered at once.mp4")
    waiting, gone = admit(store, "2"), admit(store, "3")
    store.cancel(gone.id, owner="")
    news = [row.id for row in store.news(owner="", since=before)]
    assert news == [old.id, quick.id, waiting.id, gone.id]
    assert [row.id for row in store.news(owner="", since=time.time() + 1)] == [waiting.id]
    assert store.news(owner="bob", since=before) == []


def test_a_full_disk_is_named_as_such_and_takes_jobs_again_when_there_is_room(store: Store) -> None:
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full") as caught:
        admit(store, "large", name="n" * 100_000)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert admit(store, "after").state == "queued"


def test_a_database_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "jobs.db")) as store:
        store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="another version"):
        Store(tmp_path / "jobs.db")
