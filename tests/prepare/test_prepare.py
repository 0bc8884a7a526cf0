"""A data set in, a store out: the same bytes however it was made."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from typer.testing import CliRunner

import make_datasets
import make_videos
from telltale._files import only_one
from telltale._request import ExtractRequest, run_extract
from telltale.cli import app
from telltale.crops import CropSpec
from telltale.engine import Engine
from telltale.errors import DataError, DetectorWeights, OutputBusy, UsageError, WorkerNotStarted
from telltale.faces import DetectorConfig, yunet
from telltale.prepare import PrepareSettings, Progress, _task, prepare
from telltale.sampling import SamplePlan
from telltale.sandbox import Message, Worker
from telltale.split import Draw
from telltale.store import Manifest, kept_settings, open_store
from telltale.types import RgbImage

SETTINGS = PrepareSettings(plan=SamplePlan("fps", 4), crop=CropSpec(size_px=64))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips with a face, one without, one that is no video and one without pictures."""
    root = tmp_path_factory.mktemp("data")
    for i in range(2):
        for label in ("real", "fake"):
            (root / label).mkdir(exist_ok=True)
            make_videos.face_clip(root / label / f"{label}{i}.mp4", seconds=1 + 0.5 * i)
    make_videos.empty_clip(root / "real" / "nobody.mp4", seconds=1)
    (root / "fake" / "junk.mp4").write_bytes(b"junk" * 100)
    make_videos.audio_only(root / "real" / "sound.mp4")
    return root


@pytest.fixture(scope="module")
def manifest(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return prepare(data, tmp_path_factory.mktemp("store") / "faces.store", settings=SETTINGS)


def hashes(manifest: Manifest) -> list[str]:
    return [part.sha256 for part in manifest.parts()]


def test_every_sampled_face_is_a_row(manifest: Manifest) -> None:
    assert manifest.n_faces == 2 * (4 + 6)
    (real, fake) = sorted(manifest.counts, key=lambda count: count.label)
    assert (real.n_frames_sampled, real.n_frames_with_face) == (4 + 6 + 4, 4 + 6)
    assert fake.capture_rate == 1.0


def test_a_bad_video_is_a_failure_by_name(manifest: Manifest) -> None:
    assert manifest.failures == {"no_video_stream": 1, "unsupported_container": 1}
    assert {failed.path for failed in manifest.failed} == {"fake/junk.mp4", "real/sound.mp4"}


def test_a_video_without_a_face_is_named_and_no_failure(data: Path, manifest: Manifest, tmp_path: Path) -> None:
    assert manifest.no_face == ("real/nobody.mp4",)
    assert [(count.n_videos, count.n_failed, count.n_no_face) for count in manifest.counts] == [(4, 1, 1), (3, 1, 0)]
    prepare(data, tmp_path / "s.store", settings=SETTINGS)
    (row,) = (row for row in open_store(tmp_path / "s.store").videos().to_pylist() if row["code"] == "no_face")
    assert (row["path"], row["message"]) == ("real/nobody.mp4", "no face was found in the 4 frames looked at")
    seen: list[Progress] = []
    prepare(data, tmp_path / "s.store", settings=SETTINGS, retry_failed=True, on_progress=seen.append)
    assert seen[-1].n_total - seen[-1].n_skipped == 2


def test_a_set_without_any_face_says_so_and_names_the_videos(tmp_path: Path) -> None:
    (tmp_path / "data" / "real").mkdir(parents=True)
    make_videos.empty_clip(tmp_path / "data" / "real" / "nobody.mp4", seconds=1)
    result = CliRunner().invoke(app, ["prepare", str(tmp_path / "data"), "--out", str(tmp_path / "s.store")])
    assert result.exit_code == 0
    assert "1 without a face: real/nobody.mp4" in result.output
    assert "No face was found in any video: " in result.output
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "s.store")])
    assert "No face was found in 1 of 1 " in result.output


def test_a_set_without_anything_usable_names_what_is_wrong_with_it(face_clip: Path, tmp_path: Path) -> None:
    for name in ("real/notes.txt", "real/more.txt", "clip.mp4"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(face_clip, tmp_path / "set" / name)
    with pytest.raises(DataError) as told:
        prepare(tmp_path / "set", tmp_path / "s.store", settings=SETTINGS)
    assert "unknown real/more.txt and 1 more, unlabelled clip.mp4" in told.value.message
    assert "--labels NAME=real,NAME=fake" in told.value.message


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_written_in_escapes(face_clip: Path, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"set\xff")
    for name in (b"real/a\xfe.mp4", b"fake/swap\xff/a\xff.mp4", b"fake/b\xff.txt"):
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(face_clip, path)
    (root / "real" / os.fsdecode(b"c\xff.mp4")).symlink_to("nowhere")
    manifest = prepare(root, tmp_path / "s.store", settings=SETTINGS)
    rows = open_store(tmp_path / "s.store").videos().to_pylist()
    assert [row["path"] for row in rows] == [r"fake/swap\xff/a\xff.mp4", r"real/a\xfe.mp4", r"real/c\xff.mp4"]
    assert rows[0]["method"] == r"swap\xff"
    assert manifest.failures == {"file_missing": 1}
    assert ("unknown", r"fake/b\xff.txt") in [(problem.kind, problem.path) for problem in manifest.problems]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_a_failure_by_name_and_holds_nothing_up(tmp_path: Path) -> None:
    for name in ("real/a.mp4", "fake/b.mp4", "fake/c.jpg"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / "data" / name)
    command = [sys.executable, "-m", "telltale", "prepare", str(tmp_path / "data"), "--out", str(tmp_path / "s.store")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert open_store(tmp_path / "s.store").manifest.failures == {"not_a_file": 3}


@pytest.mark.parametrize("jobs", [1, 2])
def test_another_run_gives_the_same_bytes(data: Path, manifest: Manifest, tmp_path: Path, jobs: int) -> None:
    again = prepare(data, tmp_path / "again.store", settings=SETTINGS, engine=Engine(jobs=jobs))
    assert hashes(again) == hashes(manifest)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs telltale[ray]")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
def test_a_ray_cluster_gives_the_same_bytes(data: Path, manifest: Manifest, tmp_path: Path) -> None:
    again = prepare(data, tmp_path / "ray.store", settings=SETTINGS, engine=Engine("ray", jobs=2))
    assert hashes(again) == hashes(manifest)


def test_what_was_done_is_not_done_again(data: Path, manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "twice.store"
    seen: list[Progress] = []
    prepare(data, out, settings=SETTINGS)
    prepare(data, out, settings=SETTINGS, on_progress=seen.append)
    assert seen[-1].n_skipped == seen[-1].n_total == 7
    assert {progress.n_stored for progress in seen} == {None}, "nothing is written again"
    assert hashes(prepare(data, out, settings=SETTINGS)) == hashes(manifest)


def test_a_killed_run_resumes_to_the_same_bytes(data: Path, manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "killed.store"
    command = [sys.executable, "-m", "telltale", "prepare", str(data), "--out", str(out), "--fps", "4", "--size", "64"]
    rng = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert hashes(prepare(data, out, settings=SETTINGS)) == hashes(manifest)
    assert not list(out.rglob("*.part"))


def test_a_changed_video_is_done_again(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    before = prepare(copy, tmp_path / "s.store", settings=SETTINGS)
    make_videos.face_clip(copy / "fake" / "junk.mp4", seconds=1)
    after = prepare(copy, tmp_path / "s.store", settings=SETTINGS)
    assert after.n_faces == before.n_faces + 4
    assert after.failures == {"no_video_stream": 1}


def test_other_settings_are_another_store(data: Path, tmp_path: Path) -> None:
    prepare(data, tmp_path / "s.store", settings=SETTINGS, draw=Draw(1))
    with pytest.raises(UsageError, match="--size 64 in the store, 32 asked"):
        prepare(data, tmp_path / "s.store", settings=PrepareSettings(plan=SETTINGS.plan, crop=CropSpec(size_px=32)))


def test_two_runs_do_not_write_one_store(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.store"
    with only_one(out), pytest.raises(OutputBusy, match="another command"):
        prepare(data, out, settings=SETTINGS)


def test_a_balanced_draw_takes_halves(data: Path, tmp_path: Path) -> None:
    drawn = prepare(data, tmp_path / "s.store", settings=SETTINGS, draw=Draw(4, balance=True, seed=3))
    assert sum(count.n_videos for count in drawn.counts if count.label) == 2
    assert sum(count.n_videos for count in drawn.counts) == 4


def clips(root: Path, numbers: range) -> Path:
    """As many real as fake, none of which is a video: each is a failure by name, and quickly so."""
    for i in numbers:
        for label in ("real", "fake"):
            path = root / label / f"{label}{i}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_datasets.mark(100 * i + (label == "fake")))
    return root


def n_videos(out: Path) -> int:
    return len(open_store(out).videos())


def test_a_smaller_draw_throws_nothing_away(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "set", range(5)), tmp_path / "s.store"
    prepare(source, out)
    for smaller in (Draw(6), Draw(6, balance=True)):
        with pytest.raises(UsageError, match="holds 10 videos, and 4 of them are not among those that --limit and"):
            prepare(source, out, draw=smaller)
    assert n_videos(out) == 10
    prepare(source, out, draw=Draw(10))
    prepare(source, out, draw=Draw(6), drop_missing=True)
    assert n_videos(out) == 6


def test_another_seed_swaps_no_video_of_a_store_unless_told_to(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "set", range(10)), tmp_path / "s.store"
    before = prepare(source, out, draw=Draw(10))
    with pytest.raises(UsageError, match=r"not among those that --limit and --seed draw now.* with --drop-missing"):
        prepare(source, out, draw=Draw(10, seed=1))
    assert open_store(out).manifest == before == prepare(source, out, draw=Draw(10))
    prepare(source, out, draw=Draw(10, seed=1), drop_missing=True)
    assert n_videos(out) == 10


def test_a_draw_from_a_set_that_has_changed_is_no_smaller_one(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "set", range(3)), tmp_path / "s.store"
    prepare(source, out, draw=Draw(6, balance=True))
    (source / "real" / "real0.mp4").unlink()
    with pytest.raises(UsageError, match="1 of them is not in"):
        prepare(source, out, draw=Draw(6, balance=True))
    prepare(source, out, draw=Draw(6, balance=True), drop_missing=True)
    assert n_videos(out) == 4
    prepare(clips(source, range(9)), out, draw=Draw(4), drop_missing=True)
    assert n_videos(out) == 4


def test_a_store_of_another_set_is_not_replaced(tmp_path: Path) -> None:
    one, other, out = clips(tmp_path / "one", range(2)), clips(tmp_path / "other", range(2)), tmp_path / "s.store"
    before = prepare(one, out)
    with pytest.raises(
        UsageError,
        match=r"holds 4 videos, and 4 of them are not in .*other, first fake/fake0\.mp4 of one: .*--drop-mis",
    ):
        prepare(other, out)
    assert open_store(out).manifest == before
    assert not (out / "staging").exists()


def test_a_store_loses_no_video_that_is_gone_unless_told_to(tmp_path: Path) -> None:
    source, out = clips(tmp_path / "set", range(3)), tmp_path / "s.store"
    prepare(source, out)
    (source / "real").rename(tmp_path / "unmounted")
    command = ["prepare", str(source), "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "holds 6 videos, and 3 of them are not in" in result.stderr
    assert n_videos(out) == 6
    assert CliRunner().invoke(app, [*command, "--drop-missing"]).exit_code == 0
    assert n_videos(out) == 3
    (tmp_path / "unmounted").rename(source / "real")
    prepare(source, out)
    assert n_videos(out) == 6


def test_progress_is_silent_where_standard_error_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    source = clips(tmp_path / "set", range(1))
    result = CliRunner().invoke(app, ["prepare", str(source), "--out", str(tmp_path / "s.store")])
    assert result.exit_code == 0
    assert "\x1b" not in result.stderr


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path: Path) -> None:
    clips(tmp_path / "set[b]", range(1))
    lines = "path,label,method\nreal/real0.mp4,real,\nfake/fake0.mp4,fake,[/x]\x1b[31m\n"
    (tmp_path / "set[b]" / "manifest.csv").write_text(lines)
    result = CliRunner().invoke(app, ["prepare", str(tmp_path / "set[b]"), "--out", str(tmp_path / "s.store")])
    assert result.exit_code == 0, result.output
    assert "[/x]" in result.stdout
    assert "set[b]" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_draw_wants_a_seed_of_0_or_more(tmp_path: Path) -> None:
    command = ["prepare", str(tmp_path), "--out", str(tmp_path / "s.store"), "--limit", "1", "--seed", "-1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "--seed" in result.stderr


def test_a_balanced_draw_needs_a_number(data: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["prepare", str(data), "--out", str(tmp_path / "s.store"), "--balance"])
    assert result.exit_code == 2
    assert "give --limit too" in result.stderr


def test_only_the_largest_person_if_asked(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        make_videos.two_face_clip(tmp_path / "data" / label / f"{label}.mp4", seconds=1)
    both = prepare(tmp_path / "data", tmp_path / "all.store", settings=SETTINGS)
    largest = PrepareSettings(plan=SETTINGS.plan, crop=SETTINGS.crop, faces="largest")
    one = prepare(tmp_path / "data", tmp_path / "one.store", settings=largest)
    assert both.n_faces == 2 * one.n_faces == 16


@pytest.mark.parametrize("faces", ["all", "largest"])
def test_no_more_than_a_frame_is_held_before_it_is_encoded(
    two_face_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: Literal["all", "largest"]
) -> None:
    """A long clip of several people is gigabytes of pixels."""
    (tmp_path / "data" / "real").mkdir(parents=True)
    shutil.copyfile(two_face_clip, tmp_path / "data" / "real" / "two.mp4")
    held: list[weakref.ref[Any]] = []
    most: list[int] = []

    def watched(worker: Worker, request: ExtractRequest) -> Iterator[Message]:
        for message in run_extract(worker, request):
            if message.kind == "faces":
                crops = message.arrays["crops"].copy()  # its pixels are its own, so that it lives as long as they do
                message = Message(message.kind, message.data, {"crops": crops})
                held.append(weakref.ref(crops))
                del crops
            most.append(sum(one() is not None for one in held))
            yield message

    monkeypatch.setattr(_task, "run_extract", watched)
    settings = replace(SETTINGS, faces=faces)
    assert prepare(tmp_path / "data", tmp_path / "s.store", settings=settings).n_faces >= 8
    assert len(held) == 8
    assert max(most) <= 2


def test_pictures_are_kept_as_they_are_with_their_margin_measured(tmp_path: Path) -> None:
    face = make_videos.portrait()[55:200, 155:300]
    for i in range(12):
        for label in ("real", "fake"):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            shifted = np.roll(face, i % 4, axis=1)
            make_videos.write_picture(
                tmp_path / "data" / label / f"{label}{i}.jpg", shifted, format="JPEG", quality=80 + i
            )
    manifest = prepare(tmp_path / "data", tmp_path / "s.store", settings=PrepareSettings(detect=False))
    crop = manifest.settings["crop"]
    assert (crop["kind"], crop["size_px"]) == ("as_given", 145)
    assert -0.1 < crop["margin_frac"] < 0.2
    store = open_store(tmp_path / "s.store")
    assert store.image(0) == next((tmp_path / "data").rglob(store.table(["path"]).to_pylist()[0]["path"])).read_bytes()


def test_pictures_that_are_added_are_kept_in_the_crop_that_was_measured(tmp_path: Path) -> None:
    face, said = make_videos.portrait()[55:200, 155:300], PrepareSettings(detect=False)

    def add(name: str, picture: RgbImage) -> None:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        make_videos.write_picture(tmp_path / "data" / name, picture, format="JPEG")

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    add("real/0.jpg", face)
    add("fake/0.jpg", np.roll(face, 1, axis=1))
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "data", tmp_path / "s.store", settings=said, on_progress=interrupt)
    begun = kept_settings(tmp_path / "s.store")
    assert begun is not None
    for n in (1, 2):
        add(f"real/{n}.jpg", make_videos.portrait()[20:420, 50:450])
        made = prepare(tmp_path / "data", tmp_path / "s.store", settings=said)
        assert (made.n_faces, made.settings) == (2 + n, begun.settings)
    with pytest.raises(UsageError, match=r"--margin -?0\.\d+ in the store, 0\.9 asked"):
        prepare(tmp_path / "data", tmp_path / "s.store", settings=replace(said, margin_frac=0.9))


def test_another_set_is_measured_anew(tmp_path: Path) -> None:
    said = PrepareSettings(detect=False, margin_frac=0.1)

    def set_of(name: str, side: int) -> Path:
        for label in ("real", "fake"):
            (tmp_path / name / label).mkdir(parents=True)
            make_videos.write_picture(tmp_path / name / label / "0.png", make_videos.shrunk(side), format="PNG")
        return tmp_path / name

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    small, large = set_of("small", 64), set_of("large", 200)
    with pytest.raises(KeyboardInterrupt):
        prepare(small, tmp_path / "s.store", settings=said, on_progress=interrupt)
    assert prepare(large, tmp_path / "s.store", settings=said).settings["crop"]["size_px"] == 200
    with pytest.raises(UsageError, match=r"crop\.size_px 200 in the store, 64 asked"):
        prepare(small, tmp_path / "s.store", settings=said)


def test_a_machine_that_starts_no_process_stops_the_run_and_blames_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "real").mkdir(parents=True)
    make_videos.face_clip(tmp_path / "data" / "real" / "0.mp4", seconds=0.2)
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(WorkerNotStarted):
            prepare(tmp_path / "data", tmp_path / "s.store")
    assert prepare(tmp_path / "data", tmp_path / "s.store").failures == {}


def test_a_video_that_takes_longer_than_allowed_is_a_failure_and_not_half_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    make_videos.face_clip(tmp_path / "real" / "long.mp4", seconds=40)
    settings = PrepareSettings(plan=SamplePlan("all"), crop=CropSpec(size_px=64), deadline_s=1.0)
    manifest = prepare(tmp_path, tmp_path / "s.store", settings=settings)
    assert (manifest.n_faces, manifest.failures) == (0, {"deadline_exceeded": 1})


@pytest.mark.parametrize(
    ("options", "is_said"), [(["--all-frames"], True), (["--all-frames", "--max-frames", "3"], False)]
)
def test_videos_that_were_thinned_are_told(tmp_path: Path, options: list[str], is_said: bool) -> None:
    (tmp_path / "data" / "real").mkdir(parents=True)
    make_videos.empty_clip(tmp_path / "data" / "real" / "long.mp4", seconds=32, fps=20, size=(64, 48))
    command = ["prepare", str(tmp_path / "data"), "--out", str(tmp_path / "s.store"), "--detector", "haar", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert ("1 video gave 600 frames, the most that are taken" in result.output) == is_said


def test_pictures_without_faces_need_their_margin_said(tmp_path: Path) -> None:
    for i, label in enumerate(("real", "fake")):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / f"{label}.jpg").write_bytes(make_datasets.tiny_picture(i))
    with pytest.raises(DataError, match="--margin"):
        prepare(tmp_path / "data", tmp_path / "s.store", settings=PrepareSettings(detect=False))
    said = PrepareSettings(detect=False, margin_frac=0.2)
    assert prepare(tmp_path / "data", tmp_path / "s.store", settings=said).settings["crop"]["margin_frac"] == 0.2


def test_the_manifest_says_how_it_was_made(manifest: Manifest) -> None:
    said = json.loads(manifest.model_dump_json())["settings"]
    assert said["plan"]["value"] == 4
    assert "n_threads" not in said


def test_other_weights_of_a_detector_are_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(name: str | None, detector: str = "yunet") -> dict[str, object]:
        config = DetectorConfig(model_path=None if name is None else str(tmp_path / name))
        return PrepareSettings(detector=detector, detector_config=config).identity()

    for name, data in {"a.onnx": b"a", "same.onnx": b"a", "b.onnx": b"b"}.items():
        (tmp_path / name).write_bytes(data)
    assert said("a.onnx") == said("same.onnx") != said("b.onnx")
    assert said("a.onnx") != said(None)
    with pytest.raises(DetectorWeights, match="there is no file"):
        said("c.onnx")
    with pytest.raises(UsageError, match="brings its own weights"):
        said("a.onnx", detector="mtcnn")
    monkeypatch.setattr(yunet, "SHA256", hashlib.sha256(b"a").hexdigest())
    assert said("a.onnx") == said(None)
