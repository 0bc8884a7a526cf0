"""What an evaluation says is what a scan would have said, counted."""

from __future__ import annotations

import csv
import inspect
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from make_bundles import make_redness
from make_stores import SIZE_PX, Clip, colour, split, store_of_clips, store_of_pictures
from telltale import metrics, plots, recompress
from telltale._group_hashes import hash_groups
from telltale.aggregate import Calibration, Minimum, sigmoid, track_log_odds
from telltale.bundle import TrainingSource, load_bundle
from telltale.cli import app
from telltale.crops import CropSpec
from telltale.datasets import Dataset
from telltale.errors import DataError, LeakFound, UnknownName, UsageError
from telltale.evaluate import EvaluateSettings, _faces, _files, compare, evaluate, score_model
from telltale.evaluate._perturb import suite, suite_names
from telltale.evaluate._score import score
from telltale.prepare import PrepareSettings, prepare
from telltale.runtime import Scorer
from telltale.scan import Scanner
from telltale.split import make_split
from telltale.store import Store, open_store
from telltale.types import RgbImage, VideoRecord

pytest.importorskip("onnx", reason="makes models with onnx")

ALL = EvaluateSettings(side="all", repeats=50)
CALIBRATION = Calibration(method="platt", scale=0.8, bias=0.1, track_scale=1.2, track_bias=-0.05)


def bundle(folder: Path, **card: Any) -> Path:
    return make_redness(folder / "redness", size_px=SIZE_PX, **({"calibration": CALIBRATION} | card))


def clips(n: int = 24, *, seed: int = 0) -> list[Clip]:
    """Videos of six faces, half of them fake and on average redder, two a group."""
    rng = np.random.default_rng(seed)
    return [
        Clip(
            logits=[rng.normal(1.5 * (i % 2) - 0.7, 1.5, 6).round(1).tolist()],
            fake=bool(i % 2),
            group=str(i // 2),
            method=("swap" if i % 4 == 1 else "reenact") if i % 2 else None,
        )
        for i in range(n)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of_clips(tmp_path / "clips.store", clips(), n_without=2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return bundle(tmp_path)


def test_faces_are_judged_by_their_calibrated_logit(store: Store, model: Path) -> None:
    logits = np.concatenate([clip.logits[0] for clip in clips()])
    label = np.repeat([clip.fake for clip in clips()], 6).astype(int)
    p = sigmoid(CALIBRATION.scale * (logits * 8).round() / 8 + CALIBRATION.bias)
    said = evaluate(model, store, settings=ALL).frame
    assert (said.n, said.n_fake, said.n_groups) == (144, 72, 12)
    for name, value in metrics.figures(label, p).items():
        assert getattr(said, name) == pytest.approx(value, abs=1e-5), name
    assert said.confusion == metrics.confusion(label, p)


def test_videos_are_judged_as_a_scan_judges_a_track(store: Store, model: Path) -> None:
    pts_s = np.linspace(0, 2.5, 6)
    expected = []
    for clip in clips():
        p_face = sigmoid(CALIBRATION.scale * (np.array(clip.logits[0]) * 8).round() / 8 + CALIBRATION.bias)
        expected.append(sigmoid(track_log_odds(pts_s, p_face, CALIBRATION)))
    scored = score_model(model, [store], settings=ALL)
    np.testing.assert_allclose(scored.p_video, expected, atol=1e-5)
    assert scored.evaluation.video.n == 24
    assert scored.evaluation.abstained == 0


def test_what_an_evaluation_says_about_a_clip_is_what_a_scan_says(face_clip: Path, tmp_path: Path) -> None:
    """The same file scanned, and prepared and evaluated."""
    card_crop = CropSpec(size_px=SIZE_PX)
    model = bundle(tmp_path, crop=card_crop)
    with Scanner(model) as scanner:
        report = scanner.scan(face_clip)
    record = VideoRecord(dataset="d", video_id="face", path=str(face_clip), name="face.mp4", label=1, group_id="d:face")
    dataset = Dataset("folder", str(tmp_path), (record,))
    prepare(dataset, tmp_path / "one.store", settings=PrepareSettings(crop=card_crop, image_format="png"))
    scored = score_model(model, [open_store(tmp_path / "one.store")], settings=EvaluateSettings(side="all", repeats=0))
    assert scored.videos[0].label == report.verdict.label
    assert scored.videos[0].p_fake == pytest.approx(report.verdict.p_fake, abs=1e-6)
    assert len(scored.faces) == sum(len(track.faces) for track in report.tracks)


def test_videos_about_which_nothing_is_said_are_counted_apart(tmp_path: Path) -> None:
    few = Clip(logits=[[2.0]], fake=True, group="few")
    small = Clip(logits=[[2.0] * 5], fake=True, group="small", face_px=20)
    made = store_of_clips(tmp_path / "s", [*clips(8), few, small], n_without=3)
    said = evaluate(bundle(tmp_path, minimum=Minimum(n_faces=3, face_px=40)), made, settings=ALL)
    assert said.video.n == 8
    assert said.frame.n == sum(len(clip.logits[0]) for clip in clips(8)), "a figure of faces of a video not judged"
    assert said.abstained == 2
    assert said.abstentions == {"too_few_faces": 1, "too_small": 1}
    assert said.without_faces == {"no_face": 3}
    assert said.verdicts["fake"]["no_face"] == 2


def test_the_most_suspicious_person_decides(tmp_path: Path) -> None:
    made = store_of_clips(
        tmp_path / "s", [Clip([[-3.0] * 5, [3.0] * 5], fake=True, group="a"), Clip([[-3.0] * 5], fake=False, group="b")]
    )
    scored = score_model(bundle(tmp_path), [made], settings=ALL)
    assert [video.n_tracks for video in scored.videos] == [2, 1]
    assert scored.p_video[0] > 0.9
    assert scored.p_video[1] < 0.1


def test_a_place_where_nobody_was_found_says_nothing(tmp_path: Path) -> None:
    away = Clip([[-3.0, 9.0, 9.0, -3.0, -3.0]], fake=False, group="a", filled=(1, 2))
    made = store_of_clips(tmp_path / "s", [away, Clip([[3.0] * 5], fake=True, group="b")])
    scored = score_model(bundle(tmp_path), [made], settings=ALL)
    assert scored.p_video[0] == pytest.approx(sigmoid(1.2 * (0.8 * -3 + 0.1) - 0.05))
    assert scored.evaluation.frame.n == 3 + 5


def test_one_picture_is_enough_for_a_verdict(tmp_path: Path) -> None:
    made = store_of_pictures(tmp_path / "s", [-2, -1, 1, 2], [False, False, True, True])
    said = evaluate(bundle(tmp_path), made, settings=ALL)
    assert (said.video.n, said.abstained, said.video.auc) == (4, 0, 1.0)


def test_a_way_to_fake_of_which_nothing_is_judged_has_no_share_found(tmp_path: Path) -> None:
    real, small = Clip([[-2.0] * 5], fake=False, group="a"), Clip([[2.0] * 5], fake=True, group="b", face_px=20)
    made = store_of_clips(tmp_path / "s", [real, small])
    (way,) = evaluate(bundle(tmp_path), made, settings=ALL).methods
    assert (way.n_fake, way.found, way.called) == (0, None, {"no_face": 1})


def test_pictures_of_another_size_are_resized(tmp_path: Path) -> None:
    made = store_of_pictures(
        tmp_path / "s", [0, 0], [False, True], picture=lambda i: colour((-2.0, 2.0)[i], size_px=57)
    )
    scored = score_model(bundle(tmp_path), [made], settings=ALL)
    np.testing.assert_allclose(scored.logit, [-2, 2], atol=1e-5)


def test_crops_larger_than_the_model_takes_are_averaged_down_and_smaller_ones_refused(tmp_path: Path) -> None:
    large = store_of_clips(tmp_path / "large", clips(8), crop=CropSpec(size_px=2 * SIZE_PX))
    said = evaluate(bundle(tmp_path), large, settings=ALL)
    alike = evaluate(bundle(tmp_path), store_of_clips(tmp_path / "alike", clips(8)), settings=ALL)
    assert said.video.auc == alike.video.auc
    assert said.frame.log_loss == pytest.approx(alike.frame.log_loss, rel=0.01)
    small = store_of_clips(tmp_path / "small", clips(8), crop=CropSpec(size_px=SIZE_PX // 2))
    with pytest.raises(UsageError, match=r"size_px 16 \(model: 32\).*--size 32"):
        evaluate(bundle(tmp_path), small, settings=ALL)


def test_a_store_cut_in_another_way_is_refused(tmp_path: Path) -> None:
    wide = store_of_clips(tmp_path / "s", clips(4), crop=CropSpec(size_px=SIZE_PX, margin_frac=0.4))
    with pytest.raises(UsageError, match=r"margin_frac 0.4 \(model: -0.095\).*--margin -0.095"):
        evaluate(bundle(tmp_path), wide, settings=ALL)
    loose = store_of_pictures(tmp_path / "p", [0, 1], [False, True], margin_frac=1.4)
    with pytest.raises(UsageError, match=r"margin of 1.400, redness takes 0.000 to 0.500"):
        evaluate(bundle(tmp_path), loose, settings=ALL)


def test_a_side_of_the_only_split_is_taken(store: Store, model: Path) -> None:
    made = split(store)
    said = evaluate(model, store, settings=EvaluateSettings(repeats=20))
    assert (said.split, said.side) == ("main", "test")
    assert said.video.n == sum(side == "test" for side in made.sides.values())


def test_which_split_is_meant_must_be_clear(store: Store, model: Path) -> None:
    with pytest.raises(UsageError, match="telltale split"):
        evaluate(model, store)
    split(store, name="one")
    split(store, name="two", seed=1)
    with pytest.raises(UsageError, match=r"there is: one, two"):
        evaluate(model, store)
    assert evaluate(model, store, settings=EvaluateSettings(split="two", repeats=0)).split == "two"


def test_an_empty_side_says_what_the_others_hold(store: Store, model: Path) -> None:
    split(store, ratio="70/30")
    with pytest.raises(DataError, match=r"no face on side val.*on test.*on train"):
        evaluate(model, store, settings=EvaluateSettings(side="val"))


def _knowing(folder: Path, *, learned: list[str], chosen_on: list[str]) -> Path:
    source = TrainingSource(name="made", group_hashes=hash_groups(learned), validation_hashes=hash_groups(chosen_on))
    return bundle(folder, training=(source,))


def test_unseen_is_what_the_card_neither_learned_from_nor_was_chosen_on(tmp_path: Path, store: Store) -> None:
    groups = [f"made:{i}" for i in range(12)]
    model = _knowing(tmp_path, learned=groups[:7], chosen_on=groups[7:9])
    found = score_model(model, [store], settings=EvaluateSettings(side="unseen", repeats=0))
    assert set(found.faces.columns["group_id"].tolist()) == set(groups[9:])
    assert found.evaluation.leaked_groups == 0


def test_nothing_unseen_is_an_error_and_so_is_a_card_without_lists(tmp_path: Path, store: Store, model: Path) -> None:
    unseen = EvaluateSettings(side="unseen", repeats=0)
    groups = [f"made:{i}" for i in range(12)]
    with pytest.raises(UsageError, match="does not list"):
        evaluate(model, store, settings=unseen)
    with pytest.raises(DataError, match="none is unseen"):
        evaluate(_knowing(tmp_path, learned=groups[:6], chosen_on=groups[6:]), store, settings=unseen)
    with pytest.raises(UsageError, match="leave --split out"):
        evaluate(model, store, settings=EvaluateSettings(side="unseen", split="main"))


def test_balanced_keeps_whole_videos_as_many_of_each_class(tmp_path: Path, model: Path) -> None:
    mine = [clip for i, clip in enumerate(clips(30)) if clip.fake or i % 4 == 0]
    uneven = store_of_clips(tmp_path / "uneven.store", mine)
    said = evaluate(model, uneven, settings=EvaluateSettings(side="all", balanced=True, repeats=0))
    n_real = sum(not clip.fake for clip in mine)
    assert (said.video.n, said.video.n_fake) == (2 * n_real, n_real)
    assert said.frame.n == 6 * said.video.n


def test_a_group_that_was_learned_from_is_an_error(store: Store, tmp_path: Path) -> None:
    learned = TrainingSource(name="made", group_hashes=hash_groups(["made:3", "made:5"]))
    model = bundle(tmp_path, training=(learned,))
    with pytest.raises(LeakFound, match=r"trained on 2 of the 12 groups.*made:3, made:5"):
        evaluate(model, store, settings=ALL)
    said = evaluate(model, store, settings=EvaluateSettings(side="all", repeats=0, allow_leaks=True))
    assert said.leaked_groups == 2
    assert not any("does not list" in warning for warning in said.warnings)


def test_every_picture_of_a_side_that_was_learned_from_says_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    learned = TrainingSource(name="made", group_hashes=hash_groups(["made:3", "made:5"]))
    warnings: list[str] = []

    def to_png(_: object, *, warning: str = "") -> bytes:
        warnings.append(warning)
        return b""

    monkeypatch.setattr(plots, "to_png", to_png)
    settings = EvaluateSettings(side="all", repeats=0, allow_leaks=True)
    evaluate(bundle(tmp_path, training=(learned,)), store, settings=settings, out=tmp_path / "out")
    assert len(warnings) > 5
    assert {warning[:56] for warning in warnings} == {"LEAK: 2 groups of this side were learned from; the figur"}


def test_videos_that_the_split_does_not_know_are_a_warning(tmp_path: Path, model: Path) -> None:
    split(store_of_clips(tmp_path / "grown.store", clips(16)))
    store_of_clips(tmp_path / "grown.store", clips(24))
    said = evaluate(model, tmp_path / "grown.store", settings=EvaluateSettings(split="main", repeats=0))
    assert any("8 of 24 videos" in warning and "split again" in warning for warning in said.warnings)


def test_a_split_that_tears_groups_is_an_error(store: Store, model: Path) -> None:
    store.write_split("torn", make_split(store.records(), by="random", seed=2, ratio="60/20/20"))
    with pytest.raises(LeakFound, match="--allow-leaks"):
        evaluate(model, store)
    said = evaluate(model, store, settings=EvaluateSettings(allow_leaks=True, repeats=0))
    assert said.leaked_groups > 0


def test_several_stores_are_one_set(tmp_path: Path, model: Path) -> None:
    first = store_of_clips(tmp_path / "a", clips(6), dataset="one")
    second = store_of_clips(tmp_path / "b", clips(4, seed=1), dataset="two")
    said = evaluate(model, [first, second], settings=ALL)
    assert said.video.n == 10
    assert {m.dataset for m in said.methods} == {"one", "two"}


@pytest.mark.parametrize("twin", ["same", "link", "copy"])
def test_a_store_that_is_named_twice_is_refused(store: Store, model: Path, tmp_path: Path, twin: str) -> None:
    other = store.path if twin == "same" else tmp_path / "other.store"
    if twin == "link":
        other.symlink_to(store.path)
    if twin == "copy":
        shutil.copytree(store.path, other)
    with pytest.raises(UsageError, match="would count twice: name one of them once"):
        evaluate(model, [store.path, other], settings=ALL)
    with pytest.raises(UsageError, match="would count twice"):
        compare([model, model], on=[store.path, other], settings=ALL)
    with pytest.raises(UsageError, match="is named twice"):
        evaluate(model, [store, store], settings=ALL)


def test_the_json_is_what_the_design_promises(store: Store, model: Path) -> None:
    text = evaluate(model, store, settings=ALL).model_dump_json()
    assert "\n" not in text
    said = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert said["split"] == "all"
    assert isinstance(said["abstained"], int)
    assert set(said["model"]) >= {"name", "sha256"}
    for level in ("frame", "video"):
        measures = said[level]
        for name in ("auc", "ap", "eer", "accuracy", "balanced_accuracy", "log_loss", "brier"):
            low, high = measures["ci95"][name]
            assert low <= measures[name] <= high
        assert measures["ece"] >= 0
        assert "ece" not in measures["ci95"]
        (tn, fp), (fn, tp) = measures["confusion"]
        assert tn + fp + fn + tp == measures["n"]
        assert fn + tp == measures["n_fake"]
        assert measures["report"]["fake"]["support"] == measures["n_fake"]


def test_a_set_of_one_class_has_null_where_there_is_no_figure(tmp_path: Path, model: Path) -> None:
    made = store_of_clips(tmp_path / "s", [clip for clip in clips() if not clip.fake])
    said = evaluate(model, made, settings=ALL, out=tmp_path / "out")
    assert said.video.auc is None
    assert said.video.accuracy is not None
    assert "Every video is real" in " ".join(said.warnings)
    assert not (tmp_path / "out" / "roc.png").exists()
    assert (tmp_path / "out" / "confusion.png").exists()


def test_methods_are_judged_against_the_reals(store: Store, model: Path) -> None:
    said = {m.method: m for m in evaluate(model, store, settings=ALL).methods}
    assert set(said) == {"swap", "reenact"}
    assert all((m.n_fake, m.n_real) == (6, 12) for m in said.values())
    assert all(sum(m.called.values()) == 6 for m in said.values())


def test_two_runs_say_the_same(store: Store, model: Path) -> None:
    one, other = (evaluate(model, store, settings=ALL).model_dump(exclude={"timings_s"}) for _ in range(2))
    assert one == other


def test_sequence_models_are_judged_on_clips(tmp_path: Path) -> None:
    made = store_of_clips(tmp_path / "s", clips(6))
    model = bundle(tmp_path, n_frames=4)
    scorer = Scorer(load_bundle(model))
    scored = score_model(scorer, [made], settings=ALL)
    # Six faces give two clips of four that overlap by half; each speaks for its second face.
    assert np.isfinite(scored.logit).sum() == 12
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(scored.logit[:6])), [1, 3])
    wanted = np.mean([(np.array(clips(6)[0].logits[0][:4]) * 8).round() / 8])
    assert scored.logit[1] == pytest.approx(wanted, abs=1e-5)
    assert scored.evaluation.frame.n == 12


def test_tables_and_pictures_are_written(store: Store, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    out = tmp_path / "out"
    seen: list[float] = []
    settings = EvaluateSettings(side="all", repeats=20, perturb="resolution")
    said = evaluate(model, store, settings=settings, out=out, on_progress=lambda share, _: seen.append(share))
    names = {path.name for path in out.iterdir()}
    assert names == {
        "evaluation.json", "faces.csv", "videos.csv", "methods.csv", "perturbed.csv", "roc.png",
        "precision_recall.png", "confusion.png", "confusion_faces.png", "reliability.png", "scores.png",
        "worst_mistakes.png", "methods.png", "perturbed.png", "risk_coverage.csv", "risk_coverage.png",
    }  # fmt: skip
    assert json.loads((out / "evaluation.json").read_text())["video"]["n"] == 24
    with (out / "faces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 144
    assert rows[0]["video_id"] == "clip000"
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert [p.name for p in said.perturbed] == ["half_size", "quarter_size"]


def test_files_of_an_earlier_evaluation_do_not_stay_beside_new_ones(store: Store, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    out = tmp_path / "out"
    evaluate(model, store, settings=replace(ALL, perturb="resolution"), out=out)
    names = {path.name for path in out.iterdir()}
    (out / "notes.csv").write_text("not ours")
    (out / "robustness_1.png").write_text("of a comparison")
    reals = store_of_clips(tmp_path / "reals", [clip for clip in clips() if not clip.fake])
    evaluate(model, reals, settings=ALL, out=out)
    gone = {"perturbed.csv", "perturbed.png", "roc.png", "precision_recall.png", "methods.png"}
    assert {path.name for path in out.iterdir()} == (names - gone) | {"notes.csv", "robustness_1.png"}


def test_every_optional_file_is_known_by_its_name() -> None:
    """A picture with a new name must go, too, when a later run does not draw it."""
    source = inspect.getsource(_files.pictures)
    drawn = {f"{name}.png" for name in re.findall(r'found\["(\w+)"\]', source)}
    assert drawn == {name for name in _files._NOT_ALWAYS if name.endswith(".png")}


def test_a_folder_that_held_no_evaluation_keeps_all_it_has(store: Store, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/perturbed.csv").write_text("of somebody else")
    evaluate(model, store, settings=ALL, out=tmp_path / "out")
    assert (tmp_path / "out/perturbed.csv").read_text() == "of somebody else"


def test_every_change_keeps_a_crop_a_crop() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    changes = suite("standard")
    parts = ("compression", "resolution", "blur", "noise", "light")
    assert set(parts) < set(suite_names())
    assert set(changes) == {name for part in parts for name in suite(part)}
    for name, change in changes.items():
        (one,), (other,) = (change(crop[None], lambda: np.random.default_rng(1)) for _ in range(2))
        assert one.shape == crop.shape, name
        assert one.dtype == np.uint8, name
        assert np.array_equal(one, other), name
        assert not np.array_equal(one, crop), name


def test_a_suite_with_levels_makes_a_grid(store: Store, model: Path, tmp_path: Path) -> None:
    said = evaluate(model, store, settings=replace(ALL, perturb="deeperforensics"), out=tmp_path / "out")
    assert said.robustness is not None
    assert said.robustness.levels == (1, 2, 3, 4, 5)
    assert len(said.perturbed) == 7 * 5
    assert said.robustness.fpr[0][0] is not None
    assert {"robustness.png", "robustness_fpr.png", "risk_coverage.png", "risk_coverage.csv"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_a_track_goes_through_a_video_encoder_as_one_clip_and_a_picture_alone(
    store: Store, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []

    def through(clip: RgbImage, codec: str, crf: int) -> RgbImage:
        encoded.append(len(clip))
        return recompress.through(clip, codec, crf)

    monkeypatch.setattr("telltale.perturb.through", through)
    scorer, hevc = Scorer(load_bundle(model)), suite("delivery")["hevc-3"]
    of_videos = _faces.load([store], split=None, side="all")
    logit, distance = score(scorer, of_videos, change=hevc, name="hevc-3")
    assert np.isfinite(logit).all()
    assert distance is not None
    assert np.isnan(distance).all()
    assert encoded == [6] * 24
    encoded.clear()
    pictures = store_of_pictures(tmp_path / "pictures.store", [0.0, 1.0, 2.0], [False, True, True])
    score(scorer, _faces.load([pictures], split=None, side="all"), change=hevc, name="hevc-3")
    assert encoded == [1] * 3


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean noise"):
        suite("nois")


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(UsageError, match="train, val, test, all or unseen"):
        EvaluateSettings(side="tset")  # type: ignore[arg-type]


def test_the_command_prints_one_line_of_json_or_a_table(store: Store, model: Path) -> None:
    command = ["evaluate", str(model), str(store.path), "--side", "all", "--resamples", "20"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["video"]["n"] == 24
    done = CliRunner().invoke(app, [*command, "--perturb", "grain"])
    assert done.exit_code == 2
    assert "unknown_name" in done.stderr
    done = CliRunner().invoke(app, [*command, "--perturb", "light"])
    assert done.exit_code == 0, done.output
    for word in ("AUC", "reenact", "darker", "macro", "does not list what it learned from"):
        assert word in done.stdout, word


def test_the_command_shows_a_dash_for_a_way_to_fake_of_which_nothing_is_judged(tmp_path: Path) -> None:
    small = Clip([[2.0] * 5], fake=True, group="small", face_px=20, method="unjudged")
    made = store_of_clips(tmp_path / "s", [*clips(8), small])
    done = CliRunner().invoke(app, ["evaluate", str(bundle(tmp_path)), str(made.path), "--side", "all"])
    assert done.exit_code == 0, done.output
    (row,) = [line for line in done.stdout.splitlines() if "unjudged" in line]
    assert row.split()[-3:] == ["0", "–", "–"]


def test_evaluating_loads_no_torch_and_no_scikit_learn(store: Store, model: Path) -> None:
    code = (
        "import sys; from telltale.evaluate import *; "
        f"evaluate({str(model)!r}, {str(store.path)!r}, settings=EvaluateSettings(side='all', repeats=5)); "
        "print(*sorted({'torch', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
