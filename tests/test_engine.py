"""The same work, here or on a cluster."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engine_tasks import Elsewhere, Fragile, Marks, OneActorRay, Raises, Square, Unable, UntilClosed
from ray_cluster import ray_cluster
from telltale.engine import MAX_ATTEMPTS, Engine, _start, map_tasks
from telltale.errors import MissingExtra, UsageError, WorkerCrashed, WorkerNotStarted

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs telltale[ray]")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two processors, whose workers find `engine_tasks`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
        with ray_cluster() as address:
            yield address


@pytest.fixture(params=["local", pytest.param("ray", marks=[needs_ray, pytest.mark.slow])])
def engine(request: pytest.FixtureRequest) -> Engine:
    """This machine, or a cluster on it."""
    return Engine() if request.param == "local" else Engine("ray", address=request.getfixturevalue("cluster"))


@pytest.fixture(autouse=True)
def _ray_may_leave_files_open() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_is_done_once_and_every_worker_closed(engine: Engine, jobs: int, tmp_path: Path) -> None:
    task = Square(tmp_path / "log")
    outcomes = dict(map_tasks(task, range(7), engine=replace(engine, jobs=jobs)))
    assert outcomes == {i: i * i for i in range(7)}
    log = (tmp_path / "log").read_text().split()
    assert log.count("open") == log.count("close")
    assert 1 <= log.count("open") <= jobs


def test_an_error_in_the_task_is_raised_here(engine: Engine) -> None:
    with pytest.raises(ValueError, match="not liked"):
        dict(map_tasks(Raises(), range(4), engine=engine))


def test_a_worker_does_its_next_item_while_an_outcome_is_looked_at(engine: Engine, tmp_path: Path) -> None:
    for index, _ in map_tasks(Marks(tmp_path), range(3), engine=engine):
        deadline_s = time.monotonic() + 10
        while not (tmp_path / str(min(index + 1, 2))).exists():
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def test_whoever_stops_at_an_outcome_has_begun_no_more_than_was_given_out(engine: Engine, tmp_path: Path) -> None:
    outcomes = map_tasks(Marks(tmp_path), range(9), engine=engine)
    assert next(outcomes) == (0, None)
    outcomes.close()  # type: ignore[attr-defined]
    assert {"0"} <= {path.name for path in tmp_path.iterdir()} <= {"0", "1", "2"}


@needs_ray
@pytest.mark.slow
def test_what_kills_its_worker_is_tried_again_then_set_aside(cluster: str, tmp_path: Path) -> None:
    outcomes = dict(map_tasks(Fragile(tmp_path), range(6), engine=Engine("ray", jobs=2, address=cluster)))
    poison = outcomes.pop(3)
    assert isinstance(poison, WorkerCrashed)
    assert str(MAX_ATTEMPTS) in poison.message
    assert outcomes == {i: i for i in (0, 1, 2, 4, 5)}


def test_workers_start_beside_each_other() -> None:
    both_are_starting = threading.Barrier(2, timeout=20)

    class Slow:
        @contextmanager
        def start(self) -> Iterator[Callable[[int], int]]:
            both_are_starting.wait()
            yield abs

    assert dict(map_tasks(Slow(), [-1, -2], engine=Engine(jobs=2))) == {0: 1, 1: 2}


def test_an_error_while_a_worker_starts_is_raised_as_it_is(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(UsageError, match="no such detector"):
        dict(map_tasks(Unable(log), [1, 2, 3], engine=replace(engine, jobs=2)))
    assert len(log.read_text().split()) <= 3  # the next worker would not be able to, either


@needs_ray
@pytest.mark.slow
def test_a_package_that_a_ray_worker_lacks_is_named(cluster: str) -> None:
    with pytest.raises(MissingExtra, match=r"no_such_package is not installed.*telltale\[bucket\]"):
        dict(map_tasks(Elsewhere(), [1], engine=Engine("ray", address=cluster)))


def test_a_worker_killed_for_its_memory_is_one_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = OneActorRay(killed_on=2)
    monkeypatch.setitem(sys.modules, "ray", ray)
    outcomes = dict(map_tasks(Square(Path(os.devnull)), [1, 2, 3], engine=Engine("ray")))
    poison = outcomes.pop(1)
    assert isinstance(poison, WorkerCrashed)
    assert "ran out of memory" in poison.message
    assert outcomes == {0: 1, 2: 9}
    assert ray.n_started == 1 + MAX_ATTEMPTS


def test_items_are_not_read_far_ahead(tmp_path: Path) -> None:
    read = []

    def items() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    next(map_tasks(Square(tmp_path / "log"), items(), engine=Engine(jobs=2)))
    assert len(read) <= 8


def test_what_waits_when_a_run_is_broken_off_is_given_to_no_closed_worker() -> None:
    task = UntilClosed()
    outcomes = map_tasks(task, range(20), engine=Engine(jobs=2))
    assert next(outcomes) == (0, 0)
    outcomes.close()  # type: ignore[attr-defined]
    assert task.late == []


def test_a_worker_that_opens_while_a_run_is_broken_off_is_given_nothing() -> None:
    is_opening, may_open = threading.Event(), threading.Event()
    given: list[int] = []

    class Late:
        @contextmanager
        def start(self) -> Iterator[Callable[[int], None]]:
            is_opening.set()
            may_open.wait(20)
            yield given.append

    def items() -> Iterator[int]:
        yield 1
        is_opening.wait(20)
        threading.Timer(0.2, may_open.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dict(map_tasks(Late(), items()))
    assert given == []


def test_a_cluster_that_starts_slowly_is_started_again() -> None:
    begun: list[str] = []

    class Ray:
        def init(self, *, address: str) -> None:
            begun.append(address)
            if len(begun) == 1 or address == "elsewhere":
                raise RuntimeError(
                    "The current node timed out during startup." if address == "local" else "no such host"
                )

    _start(Ray(), address="local")
    with pytest.raises(WorkerNotStarted, match=r"no Ray cluster answers at elsewhere \(no such host\)"):
        _start(Ray(), address="elsewhere")
    assert begun == ["local", "local", "elsewhere"]


def test_a_cluster_that_does_not_answer_is_not_waited_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = "{}:{}".format(*taken.getsockname())
        with pytest.raises(WorkerNotStarted, match=f"no Ray cluster answers at {address}") as refused:
            _start(None, address=address)
    assert isinstance(refused.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("address", "said", "joined"),
    [(None, None, "local"), (None, "there", "there"), ("auto", "there", "auto")],
)
def test_only_a_cluster_that_was_named_is_joined(
    address: str | None, said: str | None, joined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given no address at all, Ray itself would join the cluster that was started last on this machine."""
    ray = OneActorRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if said is not None:
        monkeypatch.setenv("RAY_ADDRESS", said)
    assert dict(map_tasks(Square(Path(os.devnull)), [3], engine=Engine("ray", address=address))) == {0: 9}
    (options,) = ray.joined
    assert options["address"] == joined
    assert ("num_cpus" in options) == (joined == "local")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(UsageError, match="local or ray"):
        Engine("dask")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1"):
        Engine(jobs=0)
