"""Frames out of anything: what is read, when each frame was, and how much is too much."""

from __future__ import annotations

import gc
import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoFrame
from PIL import Image, features

import make_videos
from reading import ALL, likeness, read
from telltale import _timestamps
from telltale._files import file_sha256
from telltale.errors import (
    InputError,
    NoFrames,
    OutOfMemory,
    TooManyPixels,
    TooManyStreams,
)
from telltale.sampling import SamplePlan
from telltale.types import Code
from telltale.video import DecodeLimits, open_video, probe, read_frames


def jumping(path: Path) -> Path:
    """Four seconds with B-frames, of which the second half is an hour and more later."""
    pts = [i + (100_000 if i >= 50 else 0) for i in range(100)]
    return make_videos.write_video(path, make_videos.face_frames(100), fps=25, pts=pts, options={"bf": "3"})


class TestReading:
    """The usual case."""

    def test_every_frame_comes_with_its_time(self, face_clip: Path) -> None:
        frames, reader = read(face_clip)
        assert [frame.index for frame in frames] == list(range(50))
        assert [frame.pts_s for frame in frames] == pytest.approx(np.arange(50) / 25)
        assert (reader.n_decoded, reader.n_lost, reader.codes) == (50, 0, [])
        for frame, rgb in zip(frames[::10], list(make_videos.face_frames(50))[::10], strict=True):
            assert likeness(frame.rgb, rgb) < 4

    def test_two_a_second(self, face_clip: Path) -> None:
        frames, _ = read(face_clip, SamplePlan("fps", 2))
        assert [frame.index for frame in frames] == [0, 13, 25, 38]

    def test_what_is_sampled_does_not_depend_on_what_is_skipped(self, face_clip: Path) -> None:
        every, _ = read(face_clip)
        some, reader = read(face_clip, SamplePlan("every", 7))
        assert reader.n_decoded < 50
        for frame in some:
            assert (frame.rgb == every[frame.index].rgb).all()
            assert frame.pts_s == every[frame.index].pts_s

    def test_av1_gives_what_was_chosen_though_its_decoder_begins_with_frames_that_are_not(self, tmp_path: Path) -> None:
        frames = np.zeros((120, 240, 320, 3), np.uint8)
        for i, frame in enumerate(frames):
            frame[..., 0] = i * 7 % 256
            frame[:, i * 5 % 320 :][:, :20] = 255
        path = make_videos.write_video(tmp_path / "clip.mp4", frames, codec="libsvtav1", options={"preset": "10"})
        every, reader = read(path, SamplePlan("all"))
        assert reader.info.codec == "av1"
        some, _ = read(path, SamplePlan("uniform", 7))
        assert [frame.index for frame in some] == [8, 25, 42, 60, 77, 94, 111]
        assert all((frame.rgb == every[frame.index].rgb).all() for frame in some)

    @pytest.mark.parametrize("n_threads", [1, 2, 5])
    def test_threads_change_nothing(self, face_clip: Path, n_threads: int) -> None:
        expected, _ = read(face_clip, SamplePlan("fps", 3))
        with open_video(face_clip, SamplePlan("fps", 3), n_threads=n_threads) as reader:
            for frame, other in zip(reader, expected, strict=True):
                assert (frame.rgb == other.rgb).all()

    def test_info_says_what_the_file_is(self, face_clip: Path) -> None:
        info = probe(face_clip)
        assert (info.codec, info.width_px, info.height_px, info.rotation_deg) == ("h264", 480, 360, 0)
        assert info.duration_s == pytest.approx(2.0)
        assert info.fps_header == pytest.approx(25)
        assert info.n_frames_header == 50
        assert info.timestamps == "exact"
        assert not info.is_image
        assert info.path == str(face_clip)
        assert info.size_bytes == face_clip.stat().st_size
        assert info.sha256 == hashlib.sha256(face_clip.read_bytes()).hexdigest()

    def test_the_hash_is_there_after_an_iteration_left_early(self, face_clip: Path) -> None:
        with open_video(face_clip) as reader:
            next(iter(reader))
        assert reader.info.sha256 == file_sha256(face_clip)
        assert reader.codes == []

    def test_read_frames_is_the_short_form(self, face_clip: Path) -> None:
        assert [frame.index for frame in read_frames(face_clip, SamplePlan("uniform", 2))] == [12, 37]

    def test_frames_can_be_made_smaller(self, face_clip: Path) -> None:
        frames, _ = read(face_clip, SamplePlan("first", 1, max_side_px=120))
        assert frames[0].rgb.shape == (90, 120, 3)

    def test_only_the_first_seconds(self, face_clip: Path) -> None:
        frames, _ = read(face_clip, SamplePlan("all", seconds=0.5))
        assert frames[-1].pts_s < 0.5
        assert len(frames) == 13

    def test_a_cap_that_bites_is_stated(self, face_clip: Path) -> None:
        frames, reader = read(face_clip, SamplePlan("all", cap=5))
        assert [frame.index for frame in frames] == [0, 12, 24, 37, 49]
        assert reader.codes == [Code.CAPPED]
        assert reader.warnings == ["The clip is long: 5 frames spread over the whole of it were chosen instead of 50."]

    def test_frames_do_not_pile_up_until_a_garbage_collection(self, face_clip: Path) -> None:
        gc.collect()
        gc.disable()
        try:
            for _ in read_frames(face_clip, ALL):
                pass
            alive = sum(type(thing) is VideoFrame for thing in gc.get_objects())
        finally:
            gc.enable()
        assert alive < 5

    @pytest.mark.parametrize(
        ("suffix", "codec", "pix_fmt"),
        [
            ("mkv", "libx264", "yuv420p"),
            ("mov", "mjpeg", "yuvj420p"),
            ("avi", "mpeg4", "yuv420p"),
            ("avi", "libx264", "yuv420p"),
            ("ts", "libx264", "yuv420p"),
            ("mpg", "mpeg2video", "yuv420p"),
            ("flv", "libx264", "yuv420p"),
            ("webm", "libvpx-vp9", "yuv420p"),
            ("asf", "msmpeg4", "yuv420p"),
            ("mp4", "libx265", "yuv420p10le"),
            ("mov", "prores_ks", "yuv422p10le"),
            ("mkv", "ffv1", "bgr0"),
        ],
    )
    def test_usual_containers_and_codecs(self, tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
        path = make_videos.face_clip(tmp_path / f"clip.{suffix}", seconds=0.6, codec=codec, pix_fmt=pix_fmt)
        frames, reader = read(path)
        assert len(frames) == 15
        steps = np.diff([frame.pts_s for frame in frames])
        assert steps == pytest.approx(0.04, abs=0.002)
        assert reader.info.timestamps == "exact"
        assert likeness(frames[7].rgb, list(make_videos.face_frames(15))[7]) < 9


class TestTimes:
    """Rows 8, 9 and 10."""

    def test_a_stream_without_times_counts_frames(self, tmp_path: Path) -> None:
        frames, reader = read(make_videos.raw_h264(tmp_path / "clip.h264"))
        assert [frame.pts_s for frame in frames] == pytest.approx(np.arange(25) / 25)
        assert reader.info.timestamps == "synthetic"
        assert reader.codes == [Code.TIMESTAMPS_SYNTHETIC]

    @pytest.mark.parametrize(("format", "codec", "fps"), [("obu", "libsvtav1", 50), ("h263", "h263", 10)])
    def test_nor_do_streams_to_which_ffmpeg_gives_times(
        self, tmp_path: Path, format: str, codec: str, fps: int
    ) -> None:
        options = {"preset": "12"} if codec == "libsvtav1" else None
        path = make_videos.face_clip(
            tmp_path / "clip", seconds=0.5, fps=fps, size=(352, 288), codec=codec, format=format, options=options
        )
        frames, reader = read(path)
        assert len(frames) == fps // 2
        assert reader.codes == [Code.TIMESTAMPS_SYNTHETIC]
        assert reader.warnings == ["The file holds no times; 25 frames a second were counted."]

    def test_a_variable_rate_is_sampled_by_time(self, tmp_path: Path) -> None:
        path, times = make_videos.vfr_clip(tmp_path / "clip.mp4")
        frames, reader = read(path, SamplePlan("fps", 4))
        assert reader.info.timestamps == "exact"
        taken = [frame.pts_s for frame in frames]
        for tick in np.arange(0, times[-1], 0.25):
            due = min((t for t in times if t >= tick - 1e-3), default=times[-1])
            assert min(abs(t - due) for t in taken) < 1e-3
        assert [times[frame.index] for frame in frames] == pytest.approx(taken, abs=1e-3)

    def test_times_that_run_backwards_are_repaired_and_counted(self, tmp_path: Path) -> None:
        """Two recordings in one transport stream: the clock begins again."""
        one = make_videos.face_clip(tmp_path / "one.ts", seconds=1)
        two = make_videos.face_clip(tmp_path / "two.ts", seconds=20, size=(64, 48))
        (tmp_path / "clip.ts").write_bytes(two.read_bytes() + one.read_bytes())
        frames, reader = read(tmp_path / "clip.ts")
        times = [frame.pts_s for frame in frames]
        assert len(times) > 500
        assert (np.diff(times) > 0).all()
        assert times[-1] == pytest.approx(21, abs=0.5)
        assert reader.info.timestamps == "repaired"
        assert Code.TIMESTAMPS_REPAIRED in reader.codes

    @pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
    def test_a_jump_of_hours_loses_no_frame_on_either_side(self, tmp_path: Path, suffix: str) -> None:
        frames, reader = read(jumping(tmp_path / f"clip.{suffix}"), SamplePlan("all"))
        assert (len(frames), reader.n_lost) == (100, 0)
        assert [frame.pts_s for frame in frames] == pytest.approx((np.arange(100) / 25).tolist(), abs=0.002)

    def test_frames_that_repaired_times_do_not_lead_to_are_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_timestamps, "_MAX_REORDER", 0)  # packets that come after a jump are then out of order
        frames, reader = read(jumping(tmp_path / "clip.ts"), SamplePlan("all"))
        assert len(frames) < 100
        assert reader.n_lost == 100 - len(frames)
        assert reader.codes == [Code.FRAMES_LOST, Code.TIMESTAMPS_REPAIRED]

    def test_a_late_beginning_counts_from_the_beginning(self, tmp_path: Path) -> None:
        path = make_videos.face_clip(tmp_path / "clip.mkv", seconds=1, pts=[100_000 + i for i in range(25)])
        assert read(path)[0][0].pts_s == pytest.approx(0)


class TestLimits:
    """Rows 3, 5 and 6."""

    SMALL = DecodeLimits(max_pixels=100_000, max_streams=3)

    @pytest.mark.parametrize(
        ("suffix", "codec"), [("mp4", "libx264"), ("ts", "libx264"), ("webm", "libvpx-vp9"), ("h264", "libx264")]
    )
    def test_large_pictures_are_refused(self, tmp_path: Path, suffix: str, codec: str) -> None:
        path = make_videos.face_clip(tmp_path / f"clip.{suffix}", seconds=0.2, codec=codec)
        with pytest.raises(TooManyPixels, match=r"480x360, more than 0\.1 million"):
            read(path, limits=self.SMALL)

    def test_a_stream_that_grows_beyond_the_limit_loses_those_frames(self, tmp_path: Path) -> None:
        path = make_videos.size_change_clip(tmp_path / "clip.h264")
        frames, reader = read(path, limits=DecodeLimits(max_pixels=200_000))
        assert {frame.rgb.shape for frame in frames} == {(360, 480, 3)}
        assert reader.n_lost > 0

    def test_many_streams_are_refused(self, tmp_path: Path) -> None:
        path = make_videos.several_streams(tmp_path / "clip.mkv", [(64, 48)] * 4, seconds=0.2)
        with pytest.raises(TooManyStreams, match="4 streams"):
            read(path, limits=self.SMALL)

    @pytest.mark.parametrize(("plan", "n"), [(SamplePlan("first", 12), 12), (SamplePlan("all", seconds=2.0), 10)])
    def test_a_stream_of_few_frames_beside_one_of_many_is_read_as_far_as_was_asked(
        self, plan: SamplePlan, n: int, tmp_path: Path
    ) -> None:
        path = make_videos.several_streams(tmp_path / "clip.mkv", [(64, 48), (640, 480)], seconds=4, rates=(60, 5))
        frames, reader = read(path, plan)
        assert reader.info.stream_index == 1
        assert (len(frames), reader.codes) == (n, [Code.BEGINNING_ONLY, Code.SEVERAL_VIDEO_STREAMS])

    def test_of_several_videos_the_largest_is_taken_and_named(self, tmp_path: Path) -> None:
        path = make_videos.several_streams(tmp_path / "clip.mkv", [(64, 48), (480, 360), (128, 96)], seconds=0.2)
        frames, reader = read(path)
        assert frames[0].rgb.shape == (360, 480, 3)
        assert reader.info.stream_index == 1
        assert reader.codes == [Code.SEVERAL_VIDEO_STREAMS]
        assert "stream 1 (480x360)" in reader.warnings[0]

    def test_the_video_that_was_taken_is_named_with_its_size_as_displayed(self, tmp_path: Path) -> None:
        sizes = [(240, 360), (64, 48)]
        path = make_videos.several_streams(tmp_path / "clip.mkv", sizes, seconds=0.2, pixel_aspect=Fraction(2))
        _, reader = read(path)
        assert "stream 0 (480x360)" in reader.warnings[0]

    def test_a_picture_beside_a_video_is_no_second_one(self, tmp_path: Path) -> None:
        """Matroska has no mark for a cover among its streams; this one is larger than the whole clip."""
        with av.open(str(tmp_path / "clip.mkv"), "w") as out:
            cover, film = out.add_stream("mjpeg"), out.add_stream("mpeg4", rate=25)
            cover.width, cover.height, cover.pix_fmt = 512, 512, "yuvj420p"
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
            out.mux(cover.encode(av.VideoFrame.from_ndarray(make_videos.portrait()).reformat(format="yuvj420p")))
            out.mux(cover.encode(None))
            for i, rgb in enumerate(make_videos.face_frames(10, (64, 48))):
                frame = av.VideoFrame.from_ndarray(rgb)
                frame.pts = i
                out.mux(film.encode(frame))
            out.mux(film.encode(None))
        frames, reader = read(tmp_path / "clip.mkv")
        assert (len(frames), reader.info.stream_index, reader.codes) == (10, 1, [])

    @pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
    def test_a_moving_avif_is_one_video(self, tmp_path: Path) -> None:
        first, *rest = [Image.fromarray(rgb) for rgb in make_videos.face_frames(5, (64, 48))]
        first.save(tmp_path / "clip.avif", save_all=True, append_images=rest, duration=200)
        frames, reader = read(tmp_path / "clip.avif")
        assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
        assert reader.codes == []

    @pytest.mark.parametrize("box", [b"stts", b"stsz", b"stco", b"stsc", b"ctts"])
    def test_a_count_that_lies_allocates_nothing(self, tmp_path: Path, face_clip: Path, box: bytes) -> None:
        data = bytearray(face_clip.read_bytes())
        at = data.index(box)
        count_at = at + (12 if box == b"stsz" else 8)
        data[count_at : count_at + 4] = b"\x7f\xff\xff\xff"
        (tmp_path / "clip.mp4").write_bytes(bytes(data))
        try:
            frames, _ = read(tmp_path / "clip.mp4")
        except (InputError, OutOfMemory):
            return
        assert len(frames) <= 50

    @pytest.mark.parametrize("header", [b"mvhd", b"mdhd"])
    def test_a_duration_that_lies_does_not_thin_the_sampling(
        self, tmp_path: Path, face_clip: Path, header: bytes
    ) -> None:
        data = bytearray(face_clip.read_bytes())
        at = data.index(header) + 4 + 4 + 8 + 4
        data[at : at + 4] = b"\x7f\xff\xff\xff"
        (tmp_path / "clip.mp4").write_bytes(bytes(data))
        frames, reader = read(tmp_path / "clip.mp4", SamplePlan("fps", 5))
        assert len(frames) == 10
        assert reader.info.duration_s == pytest.approx(2.0)


class TestRealFiles:
    """Every clip of the shared folder ends in frames or in a named refusal."""

    def test_every_format_is_read_or_refused_by_name(self, shared: Path) -> None:
        outcomes: dict[str, str] = {}
        for path in sorted((shared / "videos" / "formats").iterdir()):
            try:
                frames, _ = read(path, SamplePlan("fps", 2, max_frames=4))
                outcomes[path.name] = "read" if frames else "nothing"
            except InputError as error:
                outcomes[path.name] = error.code
        refused = {name: outcome for name, outcome in outcomes.items() if outcome != "read"}
        assert refused == {
            "LICENSE": "unsupported_container",
            "bbb_1ch_16kHz_aac.mp4": "no_video_stream",
            "sample_audio_only.mp4": "no_video_stream",
            "sample_audio_only_15s.mp4": "no_video_stream",
            "sample_malformed_free_box.mp4": "corrupt_file",
        }

    def test_a_header_without_media_holds_no_frame(self, shared: Path) -> None:
        with pytest.raises(NoFrames):
            read(shared / "videos" / "c2pa" / "dashinit.mp4")
