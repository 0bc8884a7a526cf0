"""A driver that gets kill -9 and is started again, here and on a Ray cluster that outlives it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

import make_videos
from ray_cluster import ray_cluster
from telltale.bundle import load_bundle
from telltale.engine import Engine
from telltale.many import listed, scan_into
from telltale.prepare import PrepareSettings, Progress, prepare
from telltale.sampling import SamplePlan
from telltale.scan import ScanSettings
from telltale.store import StoreWriter, open_store

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs telltale[ray]")
PLAN = SamplePlan("fps", 2)
N_CLIPS, N_BEFORE_THE_KILL = 12, 3

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")  # Ray's own


def options(engine: Engine) -> list[str]:
    """The same on the command line."""
    address = [] if engine.address is None else ["--address", engine.address]
    return ["--engine", engine.name, *address, "--jobs", str(engine.jobs), "--fps", f"{PLAN.value:g}"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two processors."""
    with ray_cluster() as address:
        yield address


@pytest.fixture(params=["local", pytest.param("ray", marks=[needs_ray, pytest.mark.slow])])
def engine(request: pytest.FixtureRequest) -> Engine:
    """This machine, or a cluster on it."""
    if request.param == "local":
        return Engine(jobs=2)
    return Engine("ray", jobs=2, address=request.getfixturevalue("cluster"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of a second and a half, each of its own length, and one that is no video."""
    root = tmp_path_factory.mktemp("data")
    for label in ("real", "fake"):
        (root / label).mkdir()
    for i in range(N_CLIPS - 1):
        make_videos.face_clip(root / ("real", "fake")[i % 2] / f"{i:02d}.mp4", seconds=1.5 + i / 25)
    (root / "fake" / "junk.mp4").write_bytes(b"junk" * 100)
    return root


def killed(command: Sequence[str], staged: Path) -> dict[Path, bytes]:
    """What lies staged when `command` was killed before it had ended."""
    arguments = [sys.executable, "-m", "telltale", *command]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        while len(list(staged.rglob("*.parquet"))) < N_BEFORE_THE_KILL and driver.poll() is None:
            time.sleep(0.01)
        driver.kill()
    found = {path: path.read_bytes() for path in staged.rglob("*.parquet")}
    assert N_BEFORE_THE_KILL <= len(found) < N_CLIPS
    return found


def test_a_scan_does_no_finished_clip_again(engine: Engine, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = replace(load_bundle("default").card.sample, value=PLAN.value)  # as `--fps` says it
    paths = [str(path) for path in sorted(data.rglob("*.mp4"))]
    staged = killed(["scan", *paths, "--table", "--out", str(out), *options(engine)], out / "staged")
    before = [row for path in staged for row in parquet.read_table(path).to_pylist()]
    totals = scan_into(out, listed(paths), settings=ScanSettings(plan=plan), engine=engine)
    assert (totals.n_total, totals.n_done, totals.n_failed) == (N_CLIPS, N_CLIPS, 1)
    assert totals.n_skipped >= len(before)
    rows = {row["path"]: row for row in parquet.read_table(out / "table").to_pylist()}
    assert parquet.read_table(out / "table").num_rows == N_CLIPS
    assert rows.keys() == set(paths)
    for row in before:
        assert rows[row["path"]] == row  # with the time it took: done again, it differs


def test_a_store_in_the_making_does_no_finished_clip_again(
    engine: Engine, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, settings = tmp_path / "killed.store", PrepareSettings(plan=PLAN)
    staging = out / "staging"
    command = ["prepare", str(data), "--out", str(out), *options(engine)]
    before = {path: path.stat().st_mtime_ns for path in killed(command, staging)}
    after: dict[Path, int] = {}
    compact = StoreWriter.compact

    def noted(self: StoreWriter, *args: Any, **kwargs: Any) -> Any:
        after.update((path, path.stat().st_mtime_ns) for path in self.out.glob("staging/*/*.parquet"))
        return compact(self, *args, **kwargs)

    monkeypatch.setattr(StoreWriter, "compact", noted)
    seen: list[Progress] = []
    made = prepare(data, out, settings=settings, engine=engine, on_progress=seen.append)
    assert len(after) == N_CLIPS
    assert {path: after[path] for path in before} == before
    assert seen[-1].n_done == N_CLIPS
    assert seen[-1].n_skipped >= len(before)
    assert made.failures == {"unsupported_container": 1}
    assert open_store(out).videos().num_rows == N_CLIPS
    monkeypatch.undo()
    quiet = prepare(data, tmp_path / "quiet.store", settings=settings, engine=Engine(jobs=2))
    assert [part.sha256 for part in made.parts()] == [part.sha256 for part in quiet.parts()]
