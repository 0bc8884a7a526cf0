"""The model in the box, on faces that it never saw. Verdicts are checked only where its card speaks."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_videos
from telltale import Scanner
from telltale.aggregate import sigmoid
from telltale.bundle import load_bundle
from telltale.train._calibrate import limits_of
from telltale.types import Report, RgbImage

SIZE = (1920, 1080)
COLUMNS, ROWS = 6, 5


@pytest.fixture(scope="module")
def scanner() -> Iterator[Scanner]:
    with Scanner() as scanner:
        yield scanner


def held_out(shared: Path, n: int) -> list[RgbImage]:
    """Portraits of `n` people of the test side (scripts/default_faces.py: the last fifth by hash)."""
    found = []
    with zipfile.ZipFile(shared / "data/portraits/us_congress_small.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".jpg")):
            digest = hashlib.sha256(f"0:{Path(name).stem}".encode()).digest()
            if int.from_bytes(digest[:8], "big") / 2**64 >= 0.8:
                found.append(np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")))
    return found[:n]


def street(shared: Path, portraits: list[RgbImage], n_frames: int) -> Iterator[RgbImage]:
    """A street that moves to the left behind people who stand in rows and sway."""
    from telltale import SamplePlan, read_frames

    (scene,) = (frame.rgb for frame in read_frames(shared / "videos/crowd/street_crowd.mp4", SamplePlan("first", 1)))
    # The upper half has no faces; tiled it is a street of any length.
    scene = np.array(Image.fromarray(scene[: scene.shape[0] // 3]).resize((SIZE[0] + 400, SIZE[1])))
    width, height = SIZE[0] // COLUMNS, SIZE[1] // ROWS
    for i in range(n_frames):
        frame = scene[:, 4 * i : 4 * i + SIZE[0]].copy()
        for k, picture in enumerate(portraits):
            scaled = np.array(
                Image.fromarray(picture).resize((int(picture.shape[1] * height / picture.shape[0]), height))
            )
            scaled = scaled[:, : width - 20]
            x = (k % COLUMNS) * width + 10 + int(6 * np.sin(i / 4 + k))
            y = (k // COLUMNS) * height
            frame[y : y + height, x : x + scaled.shape[1]] = scaled
        yield frame


def test_the_default_model_is_what_its_card_says() -> None:
    card = load_bundle("default").card
    assert card.thresholds.false_positive_rate == 0.01
    assert card.thresholds.population.startswith("single pictures: ")
    assert set(limits_of(card.thresholds)) <= set(card.limits)
    assert card.licence
    assert {source.name for source in card.training} >= {"dfdc", "portraits", "talkers"}


def test_a_fake_among_four_people_can_be_called_one() -> None:
    limits = load_bundle("default").card.thresholds
    assert limits.fakes_reach is not None
    assert limits.fake_above_for(4) < limits.fake_above_for(5) < sigmoid(limits.fakes_reach)


@pytest.mark.slow
def test_thirty_real_people_in_a_street_are_no_fake(scanner: Scanner, shared: Path, tmp_path: Path) -> None:
    portraits = held_out(shared, COLUMNS * ROWS)
    path = make_videos.write_video(tmp_path / "street.mp4", street(shared, portraits, 30), fps=10)
    report = scanner.scan(path)
    judged = [track for track in report.tracks if track.p_fake is not None]
    assert len(judged) >= 20
    # The card promises 1 % of real tracks, and a bar that lets thirty people raise no more alarms than one.
    assert report.verdict.label != "fake"
    assert sum(track.label == "fake" for track in judged) <= 1


@pytest.mark.slow
def test_each_labelled_clip_has_a_face_in_most_frames(scanner: Scanner, shared: Path) -> None:
    clips = sorted((shared / "videos/labelled").glob("*.mp4"))
    assert clips
    for path in clips:
        report = scanner.scan(path)
        longest = max(len([face for face in track.faces if face.source == "detected"]) for track in report.tracks)
        assert longest >= 0.7 * report.frames.analysed, path.name


@pytest.mark.slow
def test_each_talker_is_one_person(scanner: Scanner, shared: Path) -> None:
    clips = sorted((shared / "videos/talkers").glob("*.mpg"))
    assert clips
    for path in clips:
        report = scanner.scan(path)
        assert len(report.tracks) == 1, path.name
        assert report.verdict.label != "no_face"


@pytest.mark.slow
def test_a_street_has_several_people_at_once(scanner: Scanner, shared: Path) -> None:
    report = scanner.scan(shared / "videos/crowd/street_crowd.mp4")
    assert most_at_once(report) >= 3


def most_at_once(report: Report) -> int:
    times = [face.pts_s for track in report.tracks for face in track.faces]
    return max(times.count(pts_s) for pts_s in set(times))


@pytest.mark.slow
def test_every_format_ends_in_a_verdict_an_abstention_or_a_code(scanner: Scanner, shared: Path) -> None:
    files = sorted((shared / "videos/formats").iterdir())
    assert files
    for path in files:
        report = scanner.scan(path)
        if report.verdict.label == "failed":
            assert report.error is not None, path.name
            assert report.error.code not in ("error", "worker_crashed"), path.name
        else:
            assert report.frames.analysed > 0, path.name
            assert (report.verdict.p_fake is None) == (report.verdict.label == "no_face"), path.name
