"""The annotated clip: what is drawn, and that size, times and sound are the clip's own."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

import make_videos
from make_reports import make_report, make_track
from telltale._annotate_ink import COLOURS, drawable, has_glyph, text_mask
from telltale._annotate_paint import Painter, _Label
from telltale._annotate_plan import Person, Plan, make_plan
from telltale._annotate_stills import Sheet
from telltale._beside_verdict import with_annotation
from telltale._film import Film, _output_errors
from telltale._report_page import build_page
from telltale._report_quality import build_quality
from telltale._text import encodable
from telltale.annotate import GIF_NAME, PICTURE_NAME, SHEET_NAME, VIDEO_NAME, _caption, annotate
from telltale.errors import FileMissing, InputError, OutputError, WorkerError
from telltale.report import write_report
from telltale.types import InputInfo, Label, Report, Verdict


def report_on(path: Path, *scores: float, label: Label = "fake") -> Report:
    """A report that saw one face every fifth of a second."""
    track = make_track(1, scores or (0.9, 0.98, 0.99, 0.6, 0.97), step_s=0.2)
    made = make_report(label=label, tracks=[track.model_copy(update={"label": label})])
    return made.model_copy(update={"input": input_of(path)})


def input_of(path: Path) -> InputInfo:
    data = path.read_bytes()
    return InputInfo(path=encodable(str(path)), sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def with_sound(
    path: Path,
    *,
    codec: str = "aac",
    rate: int = 48_000,
    seconds: float = 1.0,
    late_s: float = 0.0,
    layout: str = "mono",
) -> Path:
    """One second of a moving face at 25 frames a second, and a tone."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio: Any = out.add_stream(codec, rate=rate, layout=layout)
        for i, rgb in enumerate(make_videos.face_frames(round(25 * seconds), (320, 240))):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = i + round(25 * late_s), Fraction(1, 25)
            out.mux(video.encode(frame))
        n, n_channels = round(rate * seconds), audio.codec_context.channels
        tone = np.sin(np.arange(n) * 2 * np.pi * 440 / rate)
        size = audio.codec_context.frame_size or 1024
        for start in range(0, n - size + 1, size):
            form = audio.codec_context.format.name
            part = tone[start : start + size]
            kind, loudness = {"flt": (np.float32, 1), "s32": (np.int32, 1 << 29)}.get(form[:3], (np.int16, 9000))
            data: np.ndarray[Any, Any] = (part * loudness).astype(kind)
            data = np.stack([data] * n_channels) if form.endswith("p") else np.repeat(data, n_channels)[None]
            piece = av.AudioFrame.from_ndarray(data, format=form, layout=layout)
            piece.sample_rate, piece.pts, piece.time_base = rate, start, Fraction(1, rate)
            out.mux(audio.encode(piece))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


def times(path: Path, kind: str = "video") -> list[float]:
    with av.open(str(path)) as container:
        stream = container.streams.get({kind: 0})[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        return sorted(float((packet.pts or 0) * packet.time_base) for packet in packets)


def frames(path: Path) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        return float(stream.duration * stream.time_base)


@pytest.mark.parametrize(
    ("codec", "suffix", "expected"), [("aac", ".mp4", "aac"), ("mp2", ".mkv", "aac"), ("ac3", ".avi", "aac")]
)
def test_size_times_and_sound_are_the_clips_own(tmp_path: Path, codec: str, suffix: str, expected: str) -> None:
    clip = with_sound(tmp_path / f"clip{suffix}", codec=codec)
    made = annotate(report_on(clip), clip, tmp_path / "out")
    assert [one.name for one in made] == [VIDEO_NAME, GIF_NAME, SHEET_NAME]
    with av.open(str(tmp_path / "out" / VIDEO_NAME)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 320, 240)
        assert audio.codec_context.name == expected
        assert audio.duration is not None
        assert audio.time_base is not None
        assert float(audio.duration * audio.time_base) == pytest.approx(1.0, abs=0.05)
        samples = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in container.decode(audio)])
    assert np.abs(samples).max() > 0.1, "the sound is silent"
    wanted, got = times(clip), times(tmp_path / "out" / VIDEO_NAME)
    assert len(got) == len(wanted) == 25
    np.testing.assert_allclose(np.diff(got), np.diff(wanted), atol=1e-3)
    assert duration_s(tmp_path / "out" / VIDEO_NAME) == pytest.approx(1.0, abs=1 / 25)


@pytest.mark.parametrize(("rate", "expected"), [(11_025, "aac"), (16_000, "mp3float")])
def test_mp3_too_slow_for_an_mp4_becomes_aac(tmp_path: Path, rate: int, expected: str) -> None:
    clip = with_sound(tmp_path / "old_camera.avi", codec="libmp3lame", rate=rate)
    annotate(report_on(clip), clip, tmp_path / "out")
    with av.open(str(tmp_path / "out" / VIDEO_NAME)) as container:
        audio = container.streams.audio[0]
        assert audio.codec_context.name == expected
        samples = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in container.decode(audio)])
        assert len(samples) / audio.codec_context.sample_rate == pytest.approx(1.0, abs=0.15)
    assert np.abs(samples).max() > 0.1, "the sound is silent"


def test_sound_that_goes_from_mono_to_stereo_is_kept_whole(tmp_path: Path) -> None:
    clip = tmp_path / "broadcast.ts"
    parts = [with_sound(tmp_path / f"{layout}.ts", codec="mp2", layout=layout) for layout in ("mono", "stereo")]
    with av.open(str(clip), "w") as out:
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                if not number:
                    streams = [out.add_stream_from_template(one) for one in container.streams]
                for packet in container.demux():
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts + number * 90_000, packet.dts + number * 90_000
                        packet.stream = streams[packet.stream_index]
                        out.mux(packet)
    annotate(report_on(clip), clip, tmp_path / "out")
    with av.open(str(tmp_path / "out" / VIDEO_NAME)) as film:
        samples = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in film.decode(audio=0)])
    assert [np.abs(half).max() > 0.1 for half in np.split(samples[: len(samples) // 2 * 2], 2)] == [True, True]


def test_what_the_encoder_refuses_is_a_warning_in_the_report(tmp_path: Path) -> None:
    """x264 takes 16,384 pixels a side at most."""
    frames = [np.zeros((32, 17_000, 3), np.uint8)] * 3
    clip = make_videos.write_video(tmp_path / "panorama.mkv", frames, codec="ffv1")
    report = with_annotation(report_on(clip), str(clip), tmp_path / "out", deadline_s=None, stop=None)
    assert report.attachments == ()
    assert report.warnings[-1].startswith("The annotated clip could not be made: FFmpeg does not write such pictures")


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO"])
def test_a_disk_that_takes_no_more_is_no_warning(name: str) -> None:
    code = getattr(errno, name)
    with pytest.raises(OutputError, match="free some space"), _output_errors(Path("out/annotated.mp4")):
        raise av.error.FFmpegError(code, os.strerror(code))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_told_from_a_clip_that_is_refused() -> None:
    rng = np.random.default_rng(0)
    film = Film(Path("/dev/full"), width_px=64, height_px=64, fps=25)
    film.add(rng.integers(0, 256, (64, 64, 3), np.uint8), 0.0)
    with pytest.raises(OutputError, match="No space left"):
        film.finish()
    film.abandon()


def test_pictures_stay_with_the_sound(tmp_path: Path) -> None:
    clip = with_sound(tmp_path / "late.mp4", late_s=0.4)
    annotate(report_on(clip), clip, tmp_path / "out")
    gaps = [times(path)[0] - max(0.0, times(path, "audio")[0]) for path in (clip, tmp_path / "out" / VIDEO_NAME)]
    assert gaps[1] == pytest.approx(gaps[0], abs=1 / 25)


def test_a_variable_rate_stays_variable(tmp_path: Path) -> None:
    clip, shown_s = make_videos.vfr_clip(tmp_path / "vfr.mp4")
    annotate(report_on(clip), clip, tmp_path / "out")
    got = times(tmp_path / "out" / VIDEO_NAME)
    np.testing.assert_allclose(np.diff(got), np.diff(sorted(shown_s)), atol=2e-3)


def test_a_film_says_that_it_lasts_until_its_last_frame_is_shown(tmp_path: Path) -> None:
    """With B-frames FFmpeg counts the end of a variable rate wrongly, and browsers stop there."""
    path, shown_s = tmp_path / "film.mp4", [*(i / 25 for i in range(25)), 3.0, 6.0, 9.0]
    pictures = make_videos.face_frames(len(shown_s))
    with Film(path, width_px=480, height_px=360, fps=25) as film:
        for rgb, time_s in zip(pictures, shown_s, strict=True):
            film.add(rgb, time_s)
    assert times(path) == pytest.approx(shown_s, abs=1e-3)
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(9.04, abs=0.01)
    assert duration_s(path) == pytest.approx(9.04, abs=0.01)


@pytest.mark.parametrize("size", [(64, 48), (17, 33), (16, 16)])
def test_small_and_odd_sizes_are_written(tmp_path: Path, size: tuple[int, int]) -> None:
    source = make_videos.write_video(
        tmp_path / "small.mkv", make_videos.empty_frames(5, size), pix_fmt="yuv444p", codec="libx264"
    )
    made = annotate(report_on(source), source, tmp_path / "out")
    first = frames(tmp_path / "out" / VIDEO_NAME)[0]
    assert first.shape[:2] == (size[1] + size[1] % 2, size[0] + size[0] % 2)
    assert (made[0].width_px, made[0].height_px) == (first.shape[1], first.shape[0])


def test_a_turned_clip_is_written_upright(tmp_path: Path) -> None:
    clip = make_videos.rotated_clip(tmp_path / "turned.mp4", 90)
    annotate(report_on(clip), clip, tmp_path / "out")
    with av.open(str(clip)) as container:
        coded = container.streams.video[0]
        displayed = coded.height, coded.width
    with av.open(str(tmp_path / "out" / VIDEO_NAME)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == displayed


def test_a_clip_that_changes_its_size_keeps_its_first(tmp_path: Path) -> None:
    clip = make_videos.size_change_clip(tmp_path / "changes.ts")
    annotate(report_on(clip), clip, tmp_path / "out")
    assert len({picture.shape for picture in frames(tmp_path / "out" / VIDEO_NAME)}) == 1


def test_the_box_has_the_colour_of_the_verdict_and_lies_on_the_face(tmp_path: Path) -> None:
    clip = make_videos.face_clip(tmp_path / "clip.mp4", seconds=1)
    for label, colour in (("fake", COLOURS["fake"]), ("real", COLOURS["real"])):
        annotate(report_on(clip, label=label), clip, tmp_path / label)  # type: ignore[arg-type]
        picture = frames(tmp_path / label / VIDEO_NAME)[0].astype(int)
        edge = picture[120:180, 98:103].reshape(-1, 3)  # the left side of make_track's first box
        assert np.abs(edge - np.array(colour)).sum(axis=1).min() < 110


def test_a_still_becomes_a_picture(tmp_path: Path, portrait: Path) -> None:
    made = annotate(report_on(portrait), portrait, tmp_path / "out")
    assert [one.name for one in made] == [PICTURE_NAME]
    with Image.open(tmp_path / "out" / PICTURE_NAME) as image:
        assert image.size == (made[0].width_px, made[0].height_px)
        assert image.width == 512
        assert 512 < image.height < 650, "the verdict stands below it"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [PICTURE_NAME]


def test_an_animated_picture_becomes_a_clip(tmp_path: Path) -> None:
    source = make_videos.animated_gif(tmp_path / "moving.gif")
    made = annotate(report_on(source), source, tmp_path / "out")
    assert made[0].name == VIDEO_NAME
    assert len(frames(tmp_path / "out" / VIDEO_NAME)) == 5


def test_the_gif_shows_the_telling_seconds(tmp_path: Path) -> None:
    clip = make_videos.face_clip(tmp_path / "clip.mp4", seconds=1)
    annotate(report_on(clip), clip, tmp_path / "out")
    with Image.open(tmp_path / "out" / GIF_NAME) as image:
        assert getattr(image, "n_frames", 1) >= 5
        assert max(image.size) <= 480
    with Image.open(tmp_path / "out" / SHEET_NAME) as sheet:
        assert sheet.width > sheet.height > 100


def test_nobody_in_it_has_a_clip_and_a_sheet_and_no_gif(tmp_path: Path, empty_clip: Path) -> None:
    report = report_on(empty_clip).model_copy(update={"tracks": (), "verdict": Verdict(label="no_face")})
    assert [one.name for one in annotate(report, empty_clip, tmp_path / "out")] == [VIDEO_NAME, SHEET_NAME]


def test_a_failed_report_has_nothing_to_show(tmp_path: Path) -> None:
    assert annotate(make_report(label="failed"), tmp_path / "missing.mp4", tmp_path / "out") == ()
    assert not (tmp_path / "out").exists()


def test_what_goes_wrong_leaves_nothing_behind(tmp_path: Path, face_clip: Path) -> None:
    with pytest.raises(FileMissing):
        annotate(report_on(face_clip), tmp_path / "missing.mp4", tmp_path / "out")
    with pytest.raises(WorkerError):
        annotate(report_on(face_clip), face_clip, tmp_path / "out", deadline_s=0.01)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["clip.mp4", "still.jpg"])
def test_another_clip_under_the_same_name_gets_no_boxes_of_the_one_before(
    tmp_path: Path, face_clip: Path, empty_clip: Path, portrait: Path, name: str
) -> None:
    first, second = (face_clip, empty_clip) if name == "clip.mp4" else (portrait, portrait)
    path = tmp_path / name
    path.write_bytes(first.read_bytes())
    report = report_on(path)
    path.write_bytes(second.read_bytes() + b"one more")
    with pytest.raises(InputError, match="has changed since it was scanned; scan it again"):
        annotate(report, path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    warned = with_annotation(report, str(path), tmp_path / "report", deadline_s=None, stop=None)
    assert warned.attachments == ()
    assert "has changed since it was scanned" in warned.warnings[-1]


def test_a_clip_whose_hash_the_scan_had_no_time_for_is_annotated(tmp_path: Path, face_clip: Path) -> None:
    report = report_on(face_clip)
    unknown = report.model_copy(update={"input": report.input.model_copy(update={"sha256": ""})})
    assert annotate(unknown, face_clip, tmp_path / "out")
    assert _caption(unknown)[1].endswith("SHA-256 not known")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, face_clip: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        annotate(report_on(face_clip), face_clip, tmp_path / "file")


def test_the_files_of_an_attachment_are_those_on_disk(tmp_path: Path, face_clip: Path) -> None:
    written = annotate(report_on(face_clip), face_clip, tmp_path / "out")
    assert written
    for one in written:
        data = (tmp_path / "out" / one.name).read_bytes()
        assert (one.size_bytes, one.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_what_a_name_holds_is_drawn_as_text(tmp_path: Path, face_clip: Path) -> None:
    hostile = tmp_path / "a\u202egpj.<script>=cmd()\udce9.mp4"
    hostile.write_bytes(face_clip.read_bytes())
    annotate(report_on(hostile), hostile, tmp_path / "out")
    assert (tmp_path / "out" / SHEET_NAME).exists()


def plan_of(*people: Person, **fields: Any) -> Plan:
    values: dict[str, Any] = {
        "headline": "Likely a deepfake", "label": "fake", "p_fake": 0.95, "thresholds": (0.2, 0.9),
        "people": list(people), "most_apart_s": 1.25, "end_s": 4.0, "telling_s": (0.0, 3.0), "tiles_s": [0.0],
        "caption": ["a", "b", "c"],
    }  # fmt: skip
    return Plan(**(values | fields))


def test_a_plan_survives_the_wire() -> None:
    import json

    plan = plan_of(Person(1, "fake", 0.9, [0.0, 0.5], [[0.0, 0.0, 5.0, 5.0]] * 2, [0.9, None]))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_face_that_was_not_seen_for_long_has_no_box() -> None:
    person = Person(1, "real", 0.1, [0.0, 0.5, 3.0], [[0, 0, 10, 10], [5, 0, 15, 10], [50, 0, 60, 10]], [0.1] * 3)
    assert person.box_at(0.25, most_apart_s=1.25) == (2.5, 0.0, 12.5, 10.0)
    assert person.box_at(0.7, most_apart_s=1.25) == (5.0, 0.0, 15.0, 10.0)
    assert person.box_at(1.5, most_apart_s=1.25) is None
    assert person.box_at(3.0, most_apart_s=1.25) == (50.0, 0.0, 60.0, 10.0)
    assert person.box_at(3.4, most_apart_s=1.25) is None


def test_the_telling_seconds_are_where_the_suspect_scores_highest() -> None:
    scores = [0.1] * 20 + [0.99] * 6 + [0.1] * 20
    track = make_track(1, scores, step_s=0.5)
    report = make_report(label="fake", tracks=[track])
    span = make_plan(report, headline="", caption=[]).telling_s
    assert span is not None
    assert span[0] <= 10.0 <= 12.5 <= span[1] + 1e-9


def test_whoever_decides_the_verdict_is_told_of_though_one_held_back_scores_higher() -> None:
    held_back = make_track(1, [0.999] * 8, size_px=60.0).model_copy(update={"label": "uncertain"})
    decides = make_track(2, [0.99] * 8, start_s=20.0, size_px=200.0).model_copy(update={"label": "fake"})
    report = make_report(label="fake", tracks=[held_back, decides], duration_s=30.0)
    telling_s = make_plan(report, headline="", caption=[]).telling_s
    assert telling_s is not None
    assert telling_s[0] >= 20.0
    assert [person.id for person in build_page(report).people] == [2, 1]
    quality = build_quality(report)
    assert quality is not None
    (face,) = (row for row in quality.rows if row.name == "Face")
    assert face.value == "200 pixels large"


def test_a_later_report_without_annotation_leaves_none_of_an_earlier_one(tmp_path: Path) -> None:
    report = make_report()
    folder = write_report(report, tmp_path)
    for name in (VIDEO_NAME, GIF_NAME, SHEET_NAME, "notes.txt"):
        (folder / name).write_bytes(b"of another verdict")
    assert write_report(report, tmp_path) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "report.html", "report.json"]


def test_the_contact_sheet_has_the_highest_score() -> None:
    scores = [0.1] * 61
    scores[37] = 0.99
    plan = make_plan(make_report(label="real", tracks=[make_track(1, scores)]), headline="", caption=[])
    assert 18.5 in plan.tiles_s
    assert len(plan.tiles_s) == 12


@pytest.mark.parametrize("size", [(1, 1), (30, 200), (640, 121), (1920, 1080)])
def test_every_size_can_be_drawn_on(size: tuple[int, int]) -> None:
    person = Person(12, "uncertain", 0.5, [0.0], [[-40.0, -40.0, 2000.0, 30.0]], [0.5])
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    Painter(plan_of(person), width_px=size[0], height_px=size[1]).paint(rgb, 0.0)
    Painter(plan_of(end_s=0.0), width_px=size[0], height_px=size[1]).paint(rgb, 0.0)


def test_all_letters_of_one_size_are_equally_high() -> None:
    assert len({text_mask(words, 14).shape[0] for words in ("gjp", "ABC", "0:03.2 / 1:00.0", "")}) == 1


def drawn_words(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> list[str]:
    """All that is written on a frame and on a contact sheet."""
    words: list[str] = []
    text = ImageDraw.ImageDraw.text

    def noted(self: Any, at: Any, word: str, **how: Any) -> None:
        words.append(word)
        text(self, at, word, **how)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    text_mask.cache_clear()
    rgb = np.zeros((360, 640, 3), np.uint8)
    sheet = Sheet(plan, tile_px=320, n_columns=4)
    sheet.see(rgb, 0.0, shot_s=0.0)
    assert sheet.encoded() is not None
    Painter(plan, width_px=640, height_px=360).paint(rgb, 0.0)
    return words


def test_the_font_has_every_letter_that_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[tuple[Label, float | None]]
    judged = [("fake", 0.999), ("real", 0.001), ("uncertain", 0.5), ("uncertain", None)]
    people = [
        Person(i, label, p, [0.0], [[150.0 * i, 90, 150.0 * i + 90, 180]], [p]) for i, (label, p) in enumerate(judged)
    ]
    report = make_report(label="fake", tracks=[make_track(1, [0.99] * 4)])
    path = "Zoë – Łódź\u00a0кино “½” ×ß\u0301.mp4"
    named = report.model_copy(update={"input": report.input.model_copy(update={"path": path})})
    plan = plan_of(*people, caption=_caption(named))
    words = drawn_words(monkeypatch, plan)
    monkeypatch.undo()
    assert {"Person", "deepfake,", "99%", "proof."} <= set(words)
    assert [letter for word in words for letter in word if not has_glyph(letter)] == []


def test_a_letter_without_a_glyph_loses_its_accent_or_is_escaped() -> None:
    assert drawable("Zoë, Müller – “x”…") == "Zoe, Muller - “x”…"
    assert drawable("e\u0301") == "e"
    assert drawable("кино.mp4") == "\\u043a\\u0438\\u043d\\u043e.mp4"
    assert not has_glyph("ë"), "the font has got accents: keep them"
    assert not has_glyph("\u00a0")


@pytest.mark.parametrize("size_px", [11, 14, 20, 26])
def test_words_stand_apart_at_every_size(size_px: int) -> None:
    mask = text_mask("Person 7", size_px)
    inked = np.flatnonzero(mask.max(axis=0) > 40)
    gaps = np.diff(inked) - 1
    assert gaps.max() >= max(3, 0.25 * size_px), "the space is lost"
    assert gaps.max() <= 0.5 * size_px, "something is drawn where the space should be"


@pytest.mark.parametrize(("width_px", "height_px"), [(320, 180), (1280, 720)])
def test_labels_of_neighbours_do_not_cover_each_other(width_px: int, height_px: int) -> None:
    size = np.array([width_px, height_px] * 2)
    boxes = [(np.array([0.05 + 0.22 * i, 0.35, 0.23 + 0.22 * i, 0.65]) * size).tolist() for i in range(4)]
    people = [Person(i + 1, "real", 0.1 + 0.01 * i, [0.0], [box], [0.1]) for i, box in enumerate(boxes)]
    painter = Painter(plan_of(*people), width_px=width_px, height_px=height_px)
    labels: list[_Label] = []
    for person, box in zip(people, boxes, strict=True):
        labels.append(painter._label(person, tuple(box), labels))
    assert not any(one.covers(other) for one, other in itertools.combinations(labels, 2))
