"""How far a scan is with what it makes beside the verdict, which takes longer than the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import telltale
from make_bundles import make_redness
from telltale import ScanSettings
from telltale.cli import _bar, app
from telltale.cli._bar import Update

pytest.importorskip("onnx", reason="makes a model with onnx")

Said = list[tuple[float, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_redness(tmp_path_factory.mktemp("models") / "redness")


def test_every_treatment_is_told_before_it_begins(model: Path, portrait: Path) -> None:
    said: Said = []
    settings = ScanSettings(stability=True)
    report = telltale.scan(portrait, model=model, settings=settings, on_extra=lambda *told: said.append(told))
    assert report.stability is not None
    n = len(report.stability.rows)
    assert [doing for _, doing in said] == [f"recompressing {i + 1} of {n}" for i in range(n)]
    assert [share for share, _ in said] == pytest.approx([i / n for i in range(n)])


def test_drawing_is_told_by_the_seconds_that_are_drawn(model: Path, face_clip: Path, tmp_path: Path) -> None:
    said: Said = []
    settings = ScanSettings(annotate_into=tmp_path)
    telltale.scan(face_clip, model=model, settings=settings, on_extra=lambda *told: said.append(told))
    assert {doing for _, doing in said} == {"drawing"}
    shares = [share for share, _ in said]
    assert shares == sorted(set(shares))
    assert (shares[0], shares[-1] > 0.5, shares[-1] <= 1) == (0, True, True)


def test_a_scan_without_extras_tells_of_none(model: Path, portrait: Path) -> None:
    telltale.scan(
        portrait, model=model, settings=ScanSettings(provenance=True), on_extra=lambda *_: pytest.fail("told")
    )


def test_the_bar_goes_on_while_a_clip_is_recompressed_and_drawn(
    model: Path, face_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: Said = []

    @contextmanager
    def bar(_what: str, *_columns: str) -> Iterator[Update]:
        yield lambda done=None, *_, detail="", **__: None if done is None else said.append((done, detail))

    monkeypatch.setattr(_bar, "bar", bar)
    options = ["--model", str(model), "--stability", "--annotate", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["scan", str(face_clip), str(face_clip), *options])
    assert done.exit_code == 0, done.output
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert shares[-1] == 2
    assert max(np.diff(shares)) < 0.3, "it stands still"
    stages = list(dict.fromkeys(detail.partition(" ")[0] for _, detail in said if detail and not detail[0].isdigit()))
    assert stages == ["recompressing", "drawing"]
