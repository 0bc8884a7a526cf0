"""Faces and crops from the worker, scored as they arrive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from make_bundles import make_redness
from make_reports import make_video
from telltale.bundle import load_bundle
from telltale.runtime import Scorer
from telltale.sandbox import Message
from telltale.scoring import MAX_CROPS_A_TRACK, MAX_THUMBNAILS, Findings
from telltale.types import Code, VideoInfo

pytest.importorskip("onnx", reason="makes models with onnx")


def faces(index: int, *reds: int, source: str = "detected") -> Message:
    """A frame with one face a track, each of one colour."""
    rows = [
        {
            "track_id": track_id,
            "frame_index": index,
            "pts_s": index / 2,
            "box_xyxy": [0.0, 0.0, 50.0, 50.0],
            "points": None,
            "confidence": 0.9,
            "source": source,
        }
        for track_id in range(len(reds))
    ]
    crops = np.zeros((len(reds), 32, 32, 3), np.uint8)
    crops[..., 0] = np.array(reds, np.uint8)[:, None, None]
    return Message("faces", {"index": index, "pts_s": index / 2, "shrunk": 1.0, "faces": rows}, {"crops": crops})


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return Scorer(load_bundle(make_redness(tmp_path)))


def test_every_face_gets_its_own_score_whatever_the_batches(scorer: Scorer) -> None:
    with ThreadPoolExecutor(1) as executor:
        findings = Findings(scorer.bundle.card, lambda: scorer, executor)
        for i in range(37):
            findings.take(faces(i, i, 2 * i))
        first, second = findings.finish()
    expected = 1 / (1 + np.exp(-np.arange(37) / 16))
    np.testing.assert_allclose(first.p_face, expected, rtol=1e-5)
    np.testing.assert_allclose(second.p_face, 1 / (1 + np.exp(-np.arange(37) / 8)), rtol=1e-5)
    assert [len(judged.track.faces) for judged in (first, second)] == [37, 37]


def test_where_nobody_was_seen_nothing_is_scored_but_a_sequence_goes_on(tmp_path: Path) -> None:
    scored = {}
    for n_frames in (1, 4):
        scorer = Scorer(load_bundle(make_redness(tmp_path / str(n_frames), n_frames=n_frames)))
        with ThreadPoolExecutor(1) as executor:
            findings = Findings(scorer.bundle.card, lambda: scorer, executor)  # noqa: B023
            for i in range(4):
                findings.take(faces(i, 16, source="interpolated" if i in (1, 2) else "detected"))
            (judged,) = findings.finish()
        scored[n_frames] = np.isfinite(judged.p_face).tolist()
    assert scored == {1: [True, False, False, True], 4: [False, True, False, False]}


def test_a_sequence_model_scores_the_face_its_clip_is_centred_on(tmp_path: Path) -> None:
    scorer = Scorer(load_bundle(make_redness(tmp_path, n_frames=4)))
    with ThreadPoolExecutor(1) as executor:
        findings = Findings(scorer.bundle.card, lambda: scorer, executor)
        for i in range(4):
            findings.take(faces(i, 16))
        (judged,) = findings.finish()
    assert np.isfinite(judged.p_face).tolist() == [False, True, False, False]


def test_who_is_taken_for_one_person_is_said_in_the_ids_of_the_report(scorer: Scorer) -> None:
    done = {
        "info": asdict(VideoInfo("a.mp4", "", 1, "mp4", "h264", 64, 64, 0, 1.0, 25.0, 25, 0)),
        "decoded": 3,
        "analysed": 3,
        "lost": 0,
        "codes": [],
        "warnings": [],
        "partial": [],
        "is_out_of_time": False,
        "persons": [0, None, 0],
        "timings_s": {},
    }
    with ThreadPoolExecutor(1) as executor:
        findings = Findings(scorer.bundle.card, lambda: scorer, executor)
        findings.take(faces(0, 10, 20, 30))
        findings.take(Message("done", done))
        judged = findings.finish()
    assert [(of.track.id, of.track.person) for of in judged] == [(1, 1), (2, None), (3, 1)]


def test_pictures_are_few_and_spread_over_a_long_video(scorer: Scorer) -> None:
    with ThreadPoolExecutor(1) as executor:
        findings = Findings(scorer.bundle.card, lambda: scorer, executor, pictures=True)
        for i in range(400):
            findings.take(faces(i, 10))
            findings.take(Message("thumbnail", {"pts_s": i / 2}, {"jpeg": np.zeros(3, np.uint8)}))
        findings.finish()
    pictures = findings.pictures()
    assert MAX_THUMBNAILS / 2 <= len(pictures.thumbnails) <= MAX_THUMBNAILS
    gaps = np.diff([pts_s for pts_s, _ in pictures.thumbnails])
    assert gaps.min() == gaps.max()
    assert MAX_CROPS_A_TRACK / 2 <= len(pictures.crops) <= MAX_CROPS_A_TRACK
    assert all(jpeg[:2] == b"\xff\xd8" for jpeg in pictures.crops.values())


def test_progress_is_a_share_of_the_video_or_unknown(scorer: Scorer) -> None:
    seen: list[tuple[float | None, int]] = []
    with ThreadPoolExecutor(1) as executor:
        findings = Findings(
            scorer.bundle.card, lambda: scorer, executor, on_progress=lambda share, n: seen.append((share, n))
        )
        findings.take(faces(0, 1))
    assert seen == [(None, 1)]


def test_what_was_not_looked_at_is_told_apart_from_the_other_warnings(scorer: Scorer) -> None:
    """A code comes once, its warning as often as there are reasons: two of them may say why it is only a part."""
    done: dict[str, Any] = {
        "info": asdict(make_video("clip.mkv")), "decoded": 9, "analysed": 3, "lost": 0, "timings_s": {},
        "codes": [Code.PARTIAL, Code.CAPPED, Code.SEVERAL_VIDEO_STREAMS, Code.INTERLACED, Code.FACE_CROP_INPUT],
        "warnings": ["Stopped.", "Capped.", "Cut off.", "Two videos.", "Woven."],
        "partial": ["Stopped.", "Capped.", "Cut off."], "is_out_of_time": True, "persons": [],
    }  # fmt: skip
    with ThreadPoolExecutor(1) as executor:
        findings = Findings(scorer.bundle.card, lambda: scorer, executor)
        findings.take(Message("done", done))
    *skipped, several = findings.partial
    assert skipped == ["Stopped.", "Capped.", "Cut off."]
    assert several.startswith("Two videos. Take each of the others out")
    assert findings.warnings == ("Stopped.", "Capped.", "Cut off.", several, "Woven.")


def test_a_message_of_another_kind_is_an_error(scorer: Scorer) -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="expected info"):
        Findings(scorer.bundle.card, lambda: scorer, executor).take(Message("surprise", {}))
