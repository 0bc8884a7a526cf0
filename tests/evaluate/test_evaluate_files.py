"""What an evaluation writes and prints: of what it is, of which videos, and a dash where there is no figure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from make_bundles import make_redness
from make_stores import SIZE_PX, Clip, split, store_of_clips
from telltale import plots
from telltale.aggregate import Minimum, Thresholds
from telltale.cli import app
from telltale.errors import MissingExtra
from telltale.evaluate import (
    Comparison,
    EvaluateSettings,
    Evaluation,
    _files,
    _summary,
    compare,
    evaluate,
    score_model,
    summarise,
)
from telltale.evaluate._comparison_files import _difference_table
from telltale.evaluate._grid import RobustnessDifference
from telltale.store import Store

pytest.importorskip("onnx", reason="makes models with onnx")

ALL = EvaluateSettings(side="all", repeats=20)


def clips(n: int = 16) -> list[Clip]:
    rng = np.random.default_rng(0)
    return [
        Clip([rng.normal(3 * (i % 2) - 1.5, 1.5, 5).round(1).tolist()], bool(i % 2), str(i), method="swap")
        for i in range(n)
    ]


REFUSED = [Clip([[-9.0]], fake=True, group=f"few{i}") for i in range(3)]
"""Of one face each, and surely wrong."""


def model(folder: Path, name: str = "redness") -> Path:
    return make_redness(folder / name, name=name, size_px=SIZE_PX, minimum=Minimum(n_faces=3))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of_clips(tmp_path / "s", [*clips(), *REFUSED])


def _idle(*_: object, **__: object) -> None:
    pytest.fail("there was work before it was looked whether its figures can be drawn")


@pytest.mark.parametrize("missing", ["matplotlib", "sklearn.metrics"])
def test_what_draws_the_figures_is_looked_for_before_the_work(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    judged = model(tmp_path)
    with pytest.raises(MissingExtra, match=r"pip install 'telltale\[analyze\]'"):
        evaluate(judged, store, settings=ALL, out=tmp_path / "out", on_progress=_idle)
    with pytest.raises(MissingExtra, match=r"pip install 'telltale\[analyze\]'"):
        compare([judged, judged], on=store, settings=ALL, out=tmp_path / "out", on_progress=_idle)
    assert not (tmp_path / "out").exists()
    assert evaluate(judged, store, settings=ALL).video.n == 16


def _asked(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What a figure was asked for with."""
    draw: Callable[..., Any] = getattr(plots, name)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def asked(*args: Any, **options: Any) -> Any:
        calls.append((args, options))
        return draw(*args, **options)

    monkeypatch.setattr(plots, name, asked)
    return calls


def test_faces_of_videos_without_an_answer_are_among_no_mistakes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    judged, drawn = model(tmp_path), _asked(monkeypatch, "picture_grid")
    _files.pictures(score_model(judged, [store], settings=ALL))
    sure = store_of_clips(tmp_path / "sure", [Clip([[9.0 * (-1) ** (i + 1)] * 5], bool(i % 2), str(i)) for i in (0, 1)])
    _files.pictures(score_model(judged, [sure], settings=ALL))
    right = store_of_clips(
        tmp_path / "right", [*(Clip([[9.0 * (-1) ** (i + 1)] * 5], bool(i % 2), str(i)) for i in (0, 1)), *REFUSED]
    )
    _files.pictures(score_model(judged, [right], settings=ALL))
    mistakes, least_sure, least_sure_too = ([tile.note for tile in tiles] for (tiles,), _ in drawn)
    assert mistakes
    assert not {"clip016", "clip017", "clip018"} & set(mistakes)
    assert set(least_sure) == set(least_sure_too) == {"clip000", "clip001"}
    assert drawn[2][1]["title"] == "No mistakes; the least sure"


def test_the_videos_of_which_coverage_is_a_share_are_those_that_are_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    drawn = _asked(monkeypatch, "risk_coverage")
    scored = score_model(model(tmp_path), [store], settings=ALL)
    _files.pictures(scored)
    ((curves,), options), = drawn  # fmt: skip
    assert options["n"] == 19
    assert curves["redness"][0][-1] == pytest.approx(16 / options["n"])


def test_an_evaluation_says_of_what_it_is(store: Store, tmp_path: Path) -> None:
    judged = model(tmp_path)
    settings = replace(ALL, balanced=True, allow_leaks=True, perturb="light")
    said = evaluate(judged, store, settings=settings)
    expected = {"repeats": 20, "seed": 0, "perturb": "light", "balanced": True, "allow_leaks": True}
    assert said.settings == expected
    found = compare([judged, judged], on=store, settings=settings)
    assert found.settings == {"split": "all", "side": "all", **expected}
    split(store)
    found = compare([judged, judged], on=store, settings=EvaluateSettings(side="train", repeats=20))
    assert (found.settings["split"], found.settings["side"]) == ("main", "train")


def test_what_was_written_before_it_said_so_is_read(store: Store, tmp_path: Path) -> None:
    said = evaluate(model(tmp_path), store, settings=ALL)
    older = said.model_copy(update={"settings": {"repeats": 20, "seed": 0, "perturb": None}})
    assert Evaluation.model_validate_json(older.model_dump_json()) == older


def _printed(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--resamples", "20"])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_heading_says_which_side_was_judged(store: Store, tmp_path: Path) -> None:
    judged = make_redness(
        tmp_path / "redness", size_px=SIZE_PX, minimum=Minimum(n_faces=3), training=_learned_elsewhere()
    )
    split(store)
    command = ("evaluate", str(judged), str(store.path))
    for options, heading in (
        ((), "redness on side test of main"),
        (("--side", "all"), "redness on side all"),
        (("--side", "unseen"), "redness on side unseen"),
        (("--side", "all", "--balanced"), "redness on side all, balanced"),
        (("--side", "train", "--balanced"), "redness on side train of main, balanced"),
    ):
        assert _printed(*command, *options).splitlines()[0] == heading
    printed = _printed("compare", str(judged), str(model(tmp_path, "other")), "--on", str(store.path))
    assert printed.splitlines()[0] == "On side test of main"


def _learned_elsewhere() -> tuple[Any, ...]:
    from telltale._group_hashes import hash_groups
    from telltale.bundle import TrainingSource

    return (
        TrainingSource(
            name="elsewhere", group_hashes=hash_groups(["elsewhere:1"]), validation_hashes=hash_groups(["elsewhere:2"])
        ),
    )


@pytest.mark.parametrize("fake", [False, True])
def test_a_grid_of_one_class_is_dashes_and_is_read_again(tmp_path: Path, fake: bool) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    made = store_of_clips(tmp_path / "one", [clip for clip in clips(8) if clip.fake == fake])
    one, other = model(tmp_path, "one-model"), model(tmp_path, "other")
    settings = replace(ALL, perturb="deeperforensics")
    found = compare([one, other], on=made, settings=settings, out=tmp_path / "compared")
    assert found.robustness[0].mean is None
    assert Comparison.model_validate_json(found.model_dump_json()) == found
    said = evaluate(one, made, settings=settings, out=tmp_path / "evaluated")
    grid = said.robustness
    assert grid is not None
    assert set(grid.kind_means.values()) == {None}
    assert grid.grand_mean is None
    assert (grid.fpr_mean is None) == fake
    assert Evaluation.model_validate_json(said.model_dump_json()) == said
    options = ("--side", "all", "--perturb", "deeperforensics")
    printed = _printed("evaluate", str(one), str(made.path), *options)
    compared = _printed("compare", str(one), str(other), "--on", str(made.path), *options)
    assert "nan" not in printed
    assert "nan" not in compared
    assert "AUC of other less that of one-model: –" in compared
    row = next(line for line in printed.splitlines() if "saturation" in line)
    assert row.split()[1:7] == ["–"] * 6


def test_the_notes_of_grids_have_a_dash_where_there_is_no_mean() -> None:
    pytest.importorskip("matplotlib", reason="draws")
    from matplotlib.text import Text

    grid = RobustnessDifference(first="a", second="b", kinds=("blur",), levels=(1,), auc=((None,),), mean=None)
    written = [text.get_text() for text in _difference_table(grid).findobj(Text) if isinstance(text, Text)]
    assert "mean –" in written
    assert not any("nan" in words for words in written)


def test_the_shades_of_a_table_are_each_of_a_quantity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    drawn = _asked(monkeypatch, "heat_table")
    two_ways = [replace(clip, method=("swap", "reenact")[i % 4 == 1]) for i, clip in enumerate(clips())]
    made = store_of_clips(tmp_path / "ways", two_ways)
    judged = model(tmp_path)
    _files.pictures(score_model(judged, [made], settings=ALL))
    ((_, options),) = drawn
    assert options["limits"] == [(0.5, 1.0), (0.0, 1.0)]
    compare([judged, judged], on=made, settings=replace(ALL, perturb="deeperforensics"), out=tmp_path / "out")
    difference = next(options for _, options in drawn if options["quantity"] == "difference of AUC")
    assert difference["signed"]


def test_a_store_at_a_name_that_is_no_text_is_written_as_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = score_model(model(tmp_path), [store], settings=ALL)
    monkeypatch.setattr(store, "path", Path(os.fsdecode(b"caf\xe9/s")))
    monkeypatch.setattr(_summary, "_without_faces", lambda _: {})  # is read where the store is not
    info = scored.evaluation.model
    said = summarise(scored.card, scored.faces, scored.logit, model=info, settings=ALL, split=None).evaluation
    assert said.stores == ("caf\\xe9/s",)
    assert Evaluation.model_validate_json(said.model_dump_json()) == said


def test_the_terminal_says_what_a_scan_would_call_them(store: Store, tmp_path: Path) -> None:
    lines = Thresholds(population="stills 9 real, 8 fake", n_real=9, n_fake=8)
    judged = make_redness(tmp_path / "r", size_px=SIZE_PX, minimum=Minimum(n_faces=3), thresholds=lines)
    told = " ".join(_printed("evaluate", str(judged), str(store.path), "--side", "all").split())
    called = evaluate(judged, store, settings=ALL).verdicts["fake"]
    assert "As a scan calls them: of 8 real, " in told
    wrong = called.get("real", 0)
    assert f"; of 11 fake, {called['fake']} fake, {called.get('uncertain', 0)} uncertain, {wrong} real" in told
    assert (
        f"{wrong} real ({wrong / 11:.1%}), 3 without an answer. For comparison, the card's lines: about 1% of" in told
    )
    unknown = " ".join(_printed("evaluate", str(model(tmp_path)), str(store.path), "--side", "all").split())
    assert "For comparison, the card's lines were not measured" in unknown


def test_clips_of_a_sequence_model_are_called_clips(store: Store, tmp_path: Path) -> None:
    judged = make_redness(tmp_path / "long", size_px=SIZE_PX, n_frames=4)
    told = _printed("evaluate", str(judged), str(store.path), "--side", "all")
    assert "clips (n = " in told
    assert "faces (n = " not in told
