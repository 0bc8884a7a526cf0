"""A path in, a report out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import make_videos
import telltale
from make_bundles import make_redness
from telltale import SamplePlan, Scanner, ScanSettings
from telltale._report_index import summarise
from telltale._report_page import build_page
from telltale.bundle import load_bundle
from telltale.errors import BundleInvalid, DetectorWeights, DeviceMissing, Stopped, UsageError
from telltale.many import listed, scan_into
from telltale.sandbox import Worker
from telltale.types import Code, Report

pytest.importorskip("onnx", reason="makes models with onnx")


@pytest.fixture(scope="module")
def redness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_redness(tmp_path_factory.mktemp("models") / "redness")


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos.face_clip(tmp_path_factory.mktemp("clips") / "long.mp4", seconds=6)


@pytest.fixture(scope="module")
def scanner(redness: Path) -> Iterator[Scanner]:
    with Scanner(redness, settings=ScanSettings(pictures=True)) as scanner:
        yield scanner


def test_a_clip_gets_a_verdict_and_everything_around_it(scanner: Scanner, face_clip: Path) -> None:
    report = scanner.scan(face_clip)
    assert report.verdict.label in ("real", "fake", "uncertain")
    assert report.error is None
    (track,) = report.tracks
    assert len(track.faces) == report.frames.analysed == 4
    assert all(face.p_fake is not None for face in track.faces)
    assert report.input.size_bytes == face_clip.stat().st_size
    assert len(report.input.sha256) == 64
    assert report.model.name == "redness"
    assert {"detect", "score", "total"} <= set(report.timings_s)
    assert report.settings["plan"]["value"] == 2.0


def test_the_same_clip_gives_the_same_report(scanner: Scanner, face_clip: Path) -> None:
    first, second = (scanner.scan(face_clip).model_dump(mode="json", exclude={"timings_s"}) for _ in range(2))
    assert first == second


def test_two_people_get_a_verdict_each(scanner: Scanner, two_face_clip: Path) -> None:
    report = scanner.scan(two_face_clip)
    assert len(report.tracks) == 2
    assert report.verdict.p_fake == max(track.p_fake or 0 for track in report.tracks)


def test_pictures_are_kept_for_the_page_but_not_written_as_json(scanner: Scanner, face_clip: Path) -> None:
    report = scanner.scan(face_clip)
    assert len(report.pictures.thumbnails) == 4
    assert set(report.pictures.crops) == {(1, i) for i in range(4)}
    assert "pictures" not in report.model_dump(mode="json")


def test_a_verdict_on_a_part_says_so_among_its_reasons(scanner: Scanner, tmp_path: Path) -> None:
    whole = make_videos.face_clip(tmp_path / "whole.mkv", seconds=4)
    report = scanner.scan(make_videos.cut(whole, tmp_path / "cut.mkv", 0.8))
    assert report.verdict.label in ("real", "fake", "uncertain")
    score, partial, *_ = report.verdict.reasons
    assert "scores" in score
    assert partial.startswith("The file was cut off: ")
    assert partial.endswith(" could be read.")
    assert partial in report.warnings


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (SamplePlan(seconds=2), "Only the first 2.0 of 6.0 s were looked at (--seconds)."),
        (SamplePlan("all", seconds=2), "Only the first 2.0 of 6.0 s were looked at (--seconds)."),
        (SamplePlan(max_frames=4), "Only the first 1.5 of 6.0 s were looked at (--max-frames)."),
        (SamplePlan("first", 26), "Only the first 1.0 of 6.0 s were looked at (--first)."),
        (SamplePlan("first", 1), "Only the first frame was looked at (--first)."),
    ],
    ids=str,
)
def test_a_verdict_on_the_beginning_alone_says_so_wherever_it_is_read(
    redness: Path, long_clip: Path, plan: SamplePlan, told: str
) -> None:
    report = telltale.scan(long_clip, model=redness, settings=ScanSettings(plan=plan, pictures=True))
    assert Code.BEGINNING_ONLY in report.verdict.codes
    assert report.verdict.reasons[1] == told
    assert told in report.warnings
    assert told in summarise(report).reason
    unread = build_page(report).unread
    assert unread is not None
    assert unread.told.startswith("not looked at")


@pytest.mark.parametrize("plan", [SamplePlan(), SamplePlan(seconds=6), SamplePlan(max_frames=12)], ids=str)
def test_a_verdict_on_all_of_it_says_no_such_thing(redness: Path, long_clip: Path, plan: SamplePlan) -> None:
    report = telltale.scan(long_clip, model=redness, settings=ScanSettings(plan=plan))
    assert Code.BEGINNING_ONLY not in report.verdict.codes
    assert not report.warnings


def test_a_verdict_on_fewer_frames_than_asked_for_says_so_in_the_table_too(redness: Path, long_clip: Path) -> None:
    settings = ScanSettings(plan=SamplePlan("fps", 10, cap=20))
    report = telltale.scan(long_clip, model=redness, settings=settings)
    told = "The clip is long: 20 frames spread over the whole of it were chosen instead of 60."
    assert report.verdict.reasons[1] == told
    assert told in summarise(report).reason


def test_a_verdict_on_one_of_several_videos_says_so_and_how_to_scan_the_others(
    scanner: Scanner, tmp_path: Path
) -> None:
    report = scanner.scan(make_videos.several_streams(tmp_path / "two.mkv", [(480, 360), (400, 300)], seconds=2))
    score, several, *_ = report.verdict.reasons
    assert "scores" in score
    assert several.startswith("The file holds 2 videos; stream 0 (480x360) was looked at.")
    assert several.endswith("-map 0:v:1 -c copy other.mkv takes the second), and scan it too.")
    assert several in report.warnings
    assert several in summarise(report).reason, "the table has it too"


@pytest.mark.parametrize(
    ("plan", "remedy"),
    [
        (SamplePlan("all"), "Every frame was looked at; a longer clip may show the face more often."),
        (SamplePlan("first", 2), "Looking further (a larger --first, or none) may find more."),
        (SamplePlan("fps", 10, max_frames=2), "Looking further (a larger --max-frames, or none) may find more."),
        (SamplePlan(max_frames=2, seconds=60), "Looking further (a larger --max-frames, or none) may find more."),
        (SamplePlan(max_frames=9, seconds=1), "Looking further (a larger --seconds, or none) may find more."),
        (SamplePlan("uniform", 2), "More frames (a larger --frames) may find more."),
        (SamplePlan("every", 40), "A denser sampling (a smaller --every) may find more."),
        (SamplePlan("fps", 10, cap=2), "Looking at more frames (--max-frames 6000) may find more."),
        (SamplePlan("fps", 1), "A denser sampling (--fps 10) may find more."),
    ],
    ids=str,
)
def test_a_face_seen_too_seldom_comes_with_what_can_be_done(
    redness: Path, tmp_path: Path, plan: SamplePlan, remedy: str
) -> None:
    clip = make_videos.face_clip(tmp_path / "short.mp4", seconds=0.08 if plan.kind == "all" else 2)
    report = telltale.scan(clip, model=redness, settings=ScanSettings(plan=plan))
    assert report.verdict.codes[0] == "too_few_faces"
    assert report.verdict.reasons[0].endswith(f"at least 3 are needed. {remedy}")


def test_a_report_knows_whether_time_cut_it_short_and_does_not_write_it(
    scanner: Scanner, tmp_path: Path, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = make_videos.cut(make_videos.face_clip(tmp_path / "whole.mkv", seconds=4), tmp_path / "cut.mkv", 0.8)
    assert not scanner.scan(damaged).is_out_of_time
    run = scanner._worker.run
    monkeypatch.setattr(
        scanner._worker, "run", lambda job, args, **limits: run(job, {**args, "deadline_s": 1e-6}, **limits)
    )
    report = scanner.scan(face_clip)
    assert report.is_out_of_time
    assert report.frames.analysed == 1
    assert "is_out_of_time" not in report.model_dump(mode="json")


def test_a_verdict_at_the_deadline_is_better_than_none(redness: Path, face_clip: Path) -> None:
    with Scanner(redness, settings=ScanSettings(deadline_s=4)) as scanner:
        scanner._worker.close()
        scanner._worker = Worker(jobs={"extract": "sandbox_jobs:see_and_hang"})
        report = scanner.scan(face_clip)
    assert report.verdict.label in ("real", "fake", "uncertain")
    assert Code.PARTIAL in report.verdict.codes
    assert report.is_out_of_time
    assert len(report.tracks[0].faces) == report.frames.analysed == 3
    assert (report.input.sha256, report.input.size_bytes) == ("", 1234)
    assert "its SHA-256 is not known" in report.warnings[-1]


def test_nobody_in_the_picture_is_an_abstention(scanner: Scanner, empty_clip: Path) -> None:
    report = scanner.scan(empty_clip)
    assert (report.verdict.label, report.verdict.p_fake) == ("no_face", None)
    assert report.frames.analysed == 4


def test_a_still_needs_one_face_only(scanner: Scanner, portrait: Path) -> None:
    report = scanner.scan(portrait)
    assert report.verdict.p_fake is not None
    assert report.frames.decoded == 1


def test_one_frame_of_an_animation_is_no_still(redness: Path, tmp_path: Path) -> None:
    moving = make_videos.animated_gif(tmp_path / "moving.gif", n=5, size=make_videos.SIZE)
    with Scanner(redness, settings=ScanSettings(plan=SamplePlan("first", 1))) as scanner:
        report = scanner.scan(moving)
    assert (report.verdict.label, report.verdict.codes[0]) == ("no_face", Code.TOO_FEW_FACES)


def test_a_bad_file_is_a_report_and_the_next_one_is_scanned(scanner: Scanner, tmp_path: Path, face_clip: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n")
    report = scanner.scan(junk)
    assert report.verdict.label == "failed"
    assert report.error is not None
    assert report.error.code == "unsupported_container"
    assert report.tracks == ()
    assert scanner.scan(face_clip).verdict.label != "failed"


def test_a_missing_file_is_a_report(scanner: Scanner, tmp_path: Path) -> None:
    report = scanner.scan(tmp_path / "nowhere.mp4")
    assert report.error is not None
    assert report.error.code == "file_missing"


@pytest.mark.parametrize("name", ["s3://footage/clip.mp4", "gs://footage/clip.mp4"])
def test_an_address_in_a_bucket_leads_to_the_option_that_scans_it(scanner: Scanner, name: str) -> None:
    error = scanner.scan(name).error
    assert error is not None
    assert error.code == "file_missing"
    assert error.message.startswith(f"{name} lies in a bucket")
    assert "--bucket" in error.message


def test_a_link_that_leads_nowhere_says_where_it_leads(scanner: Scanner, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").symlink_to("moved/away.mp4")
    error = scanner.scan(tmp_path / "clip.mp4").error
    assert error is not None
    assert error.code == "file_missing"
    assert "is a link to moved/away.mp4, which does not exist" in error.message


def test_one_path_is_one_file_and_not_its_letters(scanner: Scanner, tmp_path: Path) -> None:
    path = tmp_path / "nothing.mp4"
    for given in (path, str(path), [path]):
        reports = list(telltale.scan_many(given, model=scanner.scorer))
        assert [report.input.path for report in reports] == [str(path)]


def test_bytes_in_a_name_that_are_no_text_are_written_as_escapes(scanner: Scanner, tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.mp4"
    make_videos.face_clip(tmp_path / "plain.mp4", seconds=1).rename(path)
    report = scanner.scan(path)
    assert report.verdict.label != "failed"
    assert report.input.path.endswith("caf\\xe9.mp4")
    report.model_dump_json()


def test_a_model_that_cannot_be_used_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid):
        Scanner(tmp_path)


def test_a_model_that_cannot_be_made_ready_is_an_error_and_no_failed_file(redness: Path, face_clip: Path) -> None:
    for path in (face_clip, face_clip.with_name("missing.mp4")):
        with Scanner(redness, settings=ScanSettings(device="cuda")) as scanner, pytest.raises(DeviceMissing):
            scanner.scan(path)


@pytest.mark.parametrize("jobs", [1, 2])
def test_weights_that_the_detector_cannot_use_are_an_error_and_no_failed_file(
    redness: Path, face_clip: Path, tmp_path: Path, jobs: int
) -> None:
    (tmp_path / "junk.bin").write_bytes(b"junk" * 1000)
    settings = ScanSettings(detector="yunet", detector_model=str(tmp_path / "junk.bin"))
    with pytest.raises(DetectorWeights, match="cannot use"):
        next(telltale.scan_many([face_clip], model=redness, settings=settings, jobs=jobs))
    with pytest.raises(DetectorWeights, match="cannot use"):
        scan_into(tmp_path / "out", listed([face_clip]), model=redness, settings=settings)


def test_another_model_may_take_its_place_between_two_files(redness: Path, face_clip: Path, tmp_path: Path) -> None:
    other = make_redness(tmp_path / "other", n_frames=4)
    with Scanner(redness) as scanner, Scanner(other) as another:
        first = scanner.scan(face_clip)
        scanner.scorer = another.scorer
        second = scanner.scan(face_clip)
    assert (first.model.sha256, second.model.sha256) == (load_bundle(redness).sha256, load_bundle(other).sha256)
    assert first.model.sha256 != second.model.sha256


def test_threads_that_share_a_scanner_take_turns(scanner: Scanner, empty_clip: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        reports = list(threads.map(scanner.scan, [empty_clip] * 6))
    assert [(report.verdict.label, report.error) for report in reports] == [("no_face", None)] * 6


def test_a_thread_that_waits_for_its_turn_can_be_stopped(scanner: Scanner, face_clip: Path) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as other:

        def meanwhile(*_: object) -> None:
            if not stop.is_set():
                waiting.append(other.submit(scanner.scan, face_clip, stop=stop))
                stop.set()
                assert isinstance(waiting[0].exception(timeout=30), Stopped)

        waiting: list[Future[Report]] = []
        assert scanner.scan(face_clip, on_progress=meanwhile).error is None


def test_a_scan_that_is_asked_for_in_the_middle_of_another_is_a_mistake_and_no_report(
    scanner: Scanner, face_clip: Path
) -> None:
    def again(*_: object) -> None:
        scanner.scan(face_clip)

    with pytest.raises(UsageError, match="already at work"):
        scanner.scan(face_clip, on_progress=again)
    assert scanner.scan(face_clip).error is None


def test_one_scan_stops_when_asked_to(redness: Path, face_clip: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Stopped):
        telltale.scan(face_clip, model=redness, on_progress=lambda *_: stop.set(), stop=stop)


def test_the_plan_can_be_chosen(redness: Path, face_clip: Path) -> None:
    report = telltale.scan(face_clip, model=redness, settings=ScanSettings(plan=SamplePlan("uniform", 3)))
    assert report.frames.analysed == 3


@pytest.mark.parametrize("kind", ["clip", "changing", "picture"])
def test_boxes_are_in_pixels_of_the_picture_however_small_the_frames_that_were_looked_at(
    redness: Path, tmp_path: Path, face_clip: Path, portrait: Path, kind: str
) -> None:
    paths = {"clip": face_clip, "picture": portrait}
    path = paths[kind] if kind != "changing" else make_videos.size_change_clip(tmp_path / "clip.h264")
    whole, small = (
        telltale.scan(path, model=redness, settings=ScanSettings(plan=SamplePlan(max_side_px=side)))
        for side in (None, 240)
    )
    boxes = [np.array([face.box_xyxy for track in report.tracks for face in track.faces]) for report in (whole, small)]
    assert boxes[0].shape == boxes[1].shape
    np.testing.assert_allclose(boxes[1], boxes[0], atol=0.15 * (boxes[0][0, 2] - boxes[0][0, 0]))


def test_progress_is_told(scanner: Scanner, face_clip: Path) -> None:
    seen: list[tuple[float | None, int]] = []
    scanner.scan(face_clip, on_progress=lambda share, n: seen.append((share, n)))
    assert [n for _, n in seen] == [1, 2, 3, 4]
    shares = [share for share, _ in seen if share is not None]
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] <= 1.0


def test_a_sequence_model_scores_whole_clips(tmp_path: Path, face_clip: Path) -> None:
    model = make_redness(tmp_path / "sequence", n_frames=4)
    report = telltale.scan(face_clip, model=model)
    (track,) = report.tracks
    assert track.p_fake is not None
    assert sum(face.p_fake is not None for face in track.faces) == 1


def test_importing_the_module_leaves_the_function_in_place() -> None:
    code = "import telltale, telltale.scan; from telltale.scan import Scanner; assert callable(telltale.scan)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_scan_that_is_no_longer_wanted_stops_at_once_and_the_next_one_runs(scanner: Scanner, face_clip: Path) -> None:
    stop = threading.Event()
    with pytest.raises(Stopped):
        scanner.scan(face_clip, on_progress=lambda *_: stop.set(), stop=stop)
    assert scanner.scan(face_clip, stop=threading.Event()).error is None


def test_a_file_that_cannot_be_scanned_is_known_by_its_hash(scanner: Scanner, tmp_path: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk" * 1000)
    report = scanner.scan(junk)
    assert report.error is not None
    assert report.input.sha256 == hashlib.sha256(b"junk" * 1000).hexdigest()
    assert report.input.size_bytes == 4000
    assert scanner.scan(tmp_path / "missing.mp4").input.sha256 == ""
