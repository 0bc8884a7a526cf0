"""Runs that are stopped, or find no room: what is said, with which exit code, and what is kept."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import make_faces
import make_runs
from telltale.errors import DataError, OutputError
from telltale.train import train
from telltale.train._checkpoint import Checkpoints
from telltale.train._data import Batch
from telltale.train._finish import _write_weights
from telltale.train._module import Fit
from web_server import environment

SMALL = (
    "stages.0.size_px=32", "stages.0.epochs=200", "stages.0.steps_per_epoch=2", "stages.0.warmup_steps=0",
    "mix={'*': {real: 2, fake: 2}}",
)  # fmt: skip


def _stopped(signal_number: int, faces: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """`train`, which gets the signal after its first epoch."""
    settings = [part for setting in SMALL for part in ("--set", setting)]
    given = [str(faces), "--recipe", "baseline-cnn", "--out", str(out), "--weights", "none", "--workers", "0"]
    started = subprocess.Popen(
        [sys.executable, "-m", "telltale", "train", *given, "--threads", "1", *settings],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not (out / "stage-0" / "last.ckpt").exists():
            assert started.poll() is None, started.stderr and started.stderr.read()
            time.sleep(0.05)  # the run needs the processor
        started.send_signal(signal_number)
        told, said = started.communicate(timeout=60)
    finally:
        started.kill()
        started.wait()
    return subprocess.CompletedProcess(started.args, started.returncode, told, said)


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_says_how_to_go_on(signal_number: int, code: int, tmp_path: Path) -> None:
    table = tmp_path / "faces.parquet"
    make_faces.table().write(table)
    ended = _stopped(signal_number, table, tmp_path / "run")
    assert ended.returncode == code
    assert ended.stderr.splitlines()[-1] == "telltale: stopped; go on with --resume"


def test_ctrl_c_ends_train_as_it_ends_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fit, "training_step", press)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(make_faces.table(), recipe=make_runs.tiny("baseline-cnn"), out=tmp_path, settings=make_runs.ALONE)
    assert signal.getsignal(signal.SIGINT) == before


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_checkpoint_that_finds_no_room_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    Checkpoints().save_checkpoint({"epoch": 0}, path)
    monkeypatch.setattr(os, "fsync", _no_room)
    with pytest.raises(OutputError, match="No space left"):
        Checkpoints().save_checkpoint({"epoch": 1}, path)
    assert Checkpoints().load_checkpoint(path) == {"epoch": 0}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_weights_that_find_no_room_are_no_fault_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _no_room)
    with pytest.raises(OutputError, match="No space left"):
        _write_weights(torch.nn.Linear(1, 1), tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["stage-0/last.ckpt", "run.json"])
def test_what_is_damaged_is_named_with_the_way_on(name: str, tmp_path: Path) -> None:
    recipe = make_runs.tiny("baseline-cnn")
    train(make_faces.table(n=32), recipe=recipe, out=tmp_path, settings=make_runs.ALONE)
    (tmp_path / "stage-0" / "done").unlink()
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    with pytest.raises(DataError, match=rf"{name} .*delete .*--resume"):
        train(make_faces.table(n=32), recipe=recipe, out=tmp_path, settings=replace(make_runs.ALONE, resume=True))


def test_a_run_that_goes_on_costs_what_it_took_before_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, faces, learn = make_runs.tiny("baseline-cnn"), make_faces.table(n=32), Fit.training_step

    def stop(self: Fit, batch: Batch, index: int) -> dict[str, Any]:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return learn(self, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(Fit, "training_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(faces, recipe=recipe, out=tmp_path, settings=make_runs.ALONE)
    noted = tmp_path / "stage-0" / "cost.json"
    noted.write_text(json.dumps(json.loads(noted.read_text()) | {"wall_s": 5000.0}))
    bundle = train(faces, recipe=recipe, out=tmp_path, settings=replace(make_runs.ALONE, resume=True))
    assert 5000 < bundle.card.resources["wall_s"] < 5500
