"""Stability: real encoders, the whole scan again, and an answer for every treatment."""

from __future__ import annotations

from pathlib import Path

import pytest

import make_videos
from make_bundles import make_redness
from make_reports import make_report, make_track
from telltale import Scanner, ScanSettings
from telltale.stability import (
    CLIP_TREATMENTS,
    PICTURE_TREATMENTS,
    Pass,
    Treatment,
    measure_stability,
)
from telltale.types import Code, Report, StabilityRow

pytest.importorskip("onnx", reason="makes a model with onnx")

ONE = (Treatment("h264_crf33", "strongly compressed", (Pass("h264", 33),)),)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_redness(tmp_path_factory.mktemp("models") / "redness")


def test_a_clip_is_treated_and_judged_again(model: Path, tmp_path: Path) -> None:
    clip = make_videos.face_clip(tmp_path / "clip.mp4", size=(960, 540))
    with Scanner(model, settings=ScanSettings(stability=True)) as scanner:
        report = scanner.scan(clip)
    stability = report.stability
    assert stability is not None
    assert [row.name for row in stability.rows] == [one.name for one in CLIP_TREATMENTS]
    assert all(row.error is None for row in stability.rows)
    # one a frame; crushed, a patch of wall may pass for one more, as encoders with threads do not always write the same
    assert all(4 <= row.n_faces <= 6 for row in stability.rows)
    assert stability.baseline.p_fake == report.verdict.p_fake
    by_name = {row.name: row for row in stability.rows}
    sizes = [by_name[f"h264_crf{crf}"].size_bytes or 0 for crf in (23, 33, 40)]
    assert sizes == sorted(sizes, reverse=True)
    assert stability.p_range is not None
    assert stability.p_range[0] <= (report.verdict.p_fake or 0) <= stability.p_range[1]
    assert stability.n_same == sum(row.label == report.verdict.label for row in stability.rows)
    assert str(len(stability.rows)) in stability.told
    assert "stability" in report.timings_s
    assert report.pictures.crops == {}


def test_what_is_small_already_is_not_made_smaller(model: Path, face_clip: Path) -> None:
    with Scanner(model, settings=ScanSettings()) as scanner:
        report = scanner.scan(face_clip)
        small = tuple(one for one in CLIP_TREATMENTS if one.side_px is not None)
        found = measure_stability(report, face_clip, scanner.scan, treatments=small)
    assert found is not None
    assert found.rows == ()
    assert found.told == "Nothing could be tried on this clip."


def test_a_picture_becomes_worse_pictures(model: Path, portrait: Path) -> None:
    with Scanner(model, settings=ScanSettings(stability=True)) as scanner:
        stability = scanner.scan(portrait).stability
    assert stability is not None
    expected = [one.name for one in PICTURE_TREATMENTS if one.side_px is None or one.side_px < 512]
    assert [row.name for row in stability.rows] == expected
    assert all(row.error is None and row.p_fake is not None for row in stability.rows)


def test_of_a_long_clip_the_telling_part_is_treated(model: Path, tmp_path: Path) -> None:
    clip = make_videos.face_clip(tmp_path / "long.mp4", seconds=32, fps=5, size=(320, 240))
    with Scanner(model) as scanner:
        report = scanner.scan(clip)
        found = measure_stability(report, clip, scanner.scan, treatments=ONE)
    assert found is not None
    assert found.stretch_s is not None
    assert found.stretch_s[1] - found.stretch_s[0] == pytest.approx(20.0)
    assert found.baseline.n_faces == found.rows[0].n_faces == 40
    assert found.baseline.told.startswith("the stretch")


def test_without_a_verdict_there_is_nothing_to_move(model: Path, empty_clip: Path) -> None:
    with Scanner(model, settings=ScanSettings(stability=True)) as scanner:
        report = scanner.scan(empty_clip)
    assert report.verdict.label == "no_face"
    assert report.stability is None


def test_a_treatment_that_fails_is_a_row_that_says_why(model: Path, face_clip: Path) -> None:
    with Scanner(model) as scanner:
        report = scanner.scan(face_clip)
        found = measure_stability(report, face_clip, scanner.scan, treatments=ONE, deadline_s=0.01)
    assert found is not None
    (row,) = found.rows
    assert (row.label, row.p_fake) == ("failed", None)
    assert row.error is not None
    assert "0.01 s" in row.error
    assert (found.n_same, found.p_range) == (0, None), "a failure counts as a verdict"


def test_a_copy_that_was_judged_in_part_is_no_verdict(model: Path, face_clip: Path) -> None:
    with Scanner(model) as scanner:
        report = scanner.scan(face_clip)
        in_part = report.model_copy(update={"is_out_of_time": True})
        found = measure_stability(report, face_clip, lambda _: in_part, treatments=ONE)
    assert found is not None
    assert [(row.label, row.p_fake) for row in found.rows] == [("failed", None)]
    assert "longer than allowed" in str(found.rows[0].error)


def row_of(label: str, p_fake: float | None) -> Report:
    track = make_track(1, [p_fake or 0.5] * 3)
    made = make_report(label="fake", tracks=[track])
    return made.model_copy(update={"verdict": made.verdict.model_copy(update={"label": label, "p_fake": p_fake})})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["fake", "fake"], "stayed “fake” after all 2 treatments"),
        (["fake", "real"], "stayed “fake” after 1 of 2 treatments; otherwise it became “real”"),
        (["real", "uncertain"], "did not once stay; otherwise it became “real” or “uncertain”"),
        (["fake", "failed"], "stayed “fake” after 1 treatment. The score moved between 50% and 97%. 1 other could not"),
        (["failed", "real"], "did not once stay; otherwise it became “real”. The score"),
        (["failed", "failed"], "Nothing could be tried on this clip."),
    ],
)
def test_the_outcome_is_a_sentence(
    labels: list[str], words: str, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telltale import stability

    answers = iter(labels)
    monkeypatch.setattr(stability._Treater, "treat", lambda *_: StabilityRow(
        name="a", told="b", label=(said := next(answers)), p_fake=None if said == "failed" else 0.5))  # type: ignore[arg-type] # fmt: skip
    two = (ONE[0], ONE[0])
    report = row_of("fake", 0.97)
    found = measure_stability(report, face_clip, lambda _: report, treatments=two)
    assert found is not None
    assert words in found.told


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("out_of_domain", "between_thresholds", "though the score fell below the line of “fake” after 1 of"),
        ("between_thresholds", "out_of_domain", "reached the line of “fake” after 1 of them, by faces unlike those"),
        ("between_thresholds", "between_thresholds", "stayed “uncertain” after all 2 treatments. The score"),
    ],
)
def test_a_score_that_crosses_a_line_is_told_where_the_label_stays(
    before: str, after: str, words: str, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telltale import stability

    codes = iter([(Code(before),), (Code(after),)])
    monkeypatch.setattr(stability._Treater, "treat", lambda *_: StabilityRow(
        name="a", told="b", label="uncertain", p_fake=0.5, codes=next(codes)))  # fmt: skip
    report = row_of("uncertain", 0.97)
    held = report.model_copy(update={"verdict": report.verdict.model_copy(update={"codes": (Code(before),)})})
    found = measure_stability(held, face_clip, lambda _: held, treatments=(ONE[0], ONE[0]))
    assert found is not None
    assert words in found.told
    assert found.baseline.codes == (Code(before),), "the codes of a verdict go with it"
