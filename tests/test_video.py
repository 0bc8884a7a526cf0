"""Frames out of anything: what is read, what is refused and how it is called, what is said about it."""

from __future__ import annotations

import gc
import hashlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av import VideoFrame

import make_videos
from telltale.errors import (
    CorruptFile,
    FileEmpty,
    FileMissing,
    FileUnreadable,
    InputError,
    NoFrames,
    NotAFile,
    NoVideoStream,
    OutOfMemory,
    TooManyPixels,
    TooManyStreams,
    UnsupportedContainer,
)
from telltale.sampling import SamplePlan
from telltale.types import Code, Frame, RgbImage
from telltale.video import DecodeLimits, VideoReader, open_video, probe, read_frames, sha256_file

ALL = SamplePlan("all")


def read(path: Path | str, plan: SamplePlan = ALL, **kwargs: DecodeLimits) -> tuple[list[Frame], VideoReader]:
    with open_video(path, plan, **kwargs) as reader:  # type: ignore[arg-type]
        frames = list(reader)
    return frames, reader


def likeness(a: RgbImage, b: RgbImage) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.fixture(scope="session")
def seekable_clip(clips: Path) -> Path:
    """Four seconds with the index in front, so that a cut leaves something."""
    return make_videos.face_clip(clips / "front.mp4", seconds=4, container_options={"movflags": "faststart"})


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
        assert info.sha256 == hashlib.sha256(face_clip.read_bytes()).hexdigest() == sha256_file(face_clip)

    def test_the_hash_is_there_after_an_iteration_left_early(self, face_clip: Path) -> None:
        with open_video(face_clip) as reader:
            next(iter(reader))
        assert reader.info.sha256 == sha256_file(face_clip)
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
        assert reader.warnings == ["5 frames spread over the whole clip were looked at instead of 50."]

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


class TestNames:
    """Row 2: names are names, never addresses, patterns, options or code."""

    @pytest.mark.parametrize(
        "name",
        [
            b"http:..",
            b"http:__127.0.0.1:9_x.mp4",
            b"concat:a.mp4|b.mp4",
            b"file:clip.mp4",
            b"pipe:0",
            b"data:video,x",
            b"secret%03d.png",
            b"100%d.mp4",
            b"clip*.mp4",
            b"-i.mp4",
            b"--help",
            b"$(id).mp4",
            b"`id`.mp4",
            b"a b  c.mp4",
            b" leading.mp4",
            b"quote'\".mp4",
            b"<script>alert(1)</script>.mp4",
            b"=1+1.mp4",
            b"new\nline.mp4",
            "影片.mp4".encode(),
            "🎬👩‍🚀.mp4".encode(),
            b"\xff\xfe.mp4",
            b"caf\xe9.mp4",
            b"n" * 251 + b".mp4",
            b"no_suffix",
            b"clip.txt",
            b"clip.m3u8",
        ],
        ids=lambda name: repr(name)[:30],
    )
    def test_odd_names_are_read_as_plain_files(
        self, tmp_path: Path, face_clip: Path, name: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = name.replace(b"/", b"_")
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - bytes
        try:
            os.link(face_clip, path)
        except (OSError, UnicodeDecodeError):
            pytest.skip("this file system does not take the name")
        monkeypatch.chdir(tmp_path)
        plan = SamplePlan("first", 1)
        for given in (path, os.fsdecode(path), os.fsdecode(name)):
            with open_video(given, plan) as reader:
                assert len(list(reader)) == 1
            assert reader.info.path == os.fsdecode(given)

    def test_a_path_of_four_kilobytes(self, tmp_path: Path, face_clip: Path) -> None:
        folder = tmp_path
        while len(str(folder)) < 4080 - 200:
            folder /= "d" * 190
        folder /= "e" * max(1, 4080 - len(str(folder)) - 1)
        try:
            folder.mkdir(parents=True)
            os.link(face_clip, folder / "clip.mp4")
        except OSError:
            pytest.skip("this file system does not take the path")
        assert len(read(folder / "clip.mp4", SamplePlan("first", 1))[0]) == 1

    def test_a_path_that_is_too_long_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FileUnreadable, match="cannot be opened"):
            read(tmp_path / ("x" * 5000))
        with pytest.raises(FileUnreadable, match="cannot be opened"):
            read("nul\0byte.mp4")

    def test_dots_in_a_path(self, tmp_path: Path, face_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "inner").mkdir()
        os.link(face_clip, tmp_path / "clip.mp4")
        monkeypatch.chdir(tmp_path / "inner")
        assert len(read("../clip.mp4", SamplePlan("first", 1))[0]) == 1

    def test_a_link_to_a_file_is_followed(self, tmp_path: Path, face_clip: Path) -> None:
        (tmp_path / "link.mp4").symlink_to(face_clip)
        assert len(read(tmp_path / "link.mp4", SamplePlan("first", 1))[0]) == 1

    def test_messages_can_be_printed_anywhere(self, tmp_path: Path) -> None:
        with pytest.raises(FileMissing) as caught:
            read(str(tmp_path / os.fsdecode(b"\xff\x1b[2J\n.mp4")))
        caught.value.message.encode("ascii")
        assert "\x1b" not in caught.value.message
        assert "\n" not in caught.value.message


class Listener:
    """A loopback server that notes whether anybody came."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.n_connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.n_connections += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    socket.create_connection(("127.0.0.1", listener.port)).close()  # it does hear
    while not listener.n_connections:
        time.sleep(0.01)
    listener.n_connections = 0
    yield listener
    listener.close()


class TestDisguises:
    """Row 1: a playlist under a video's name opens nothing and connects to nothing."""

    @pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ffconcat", "sdp", "asx", "txt"])
    @pytest.mark.parametrize("name", sorted(make_videos.disguises(Path("x"), 1)))
    def test_a_playlist_in_disguise_is_refused(
        self, tmp_path: Path, face_clip: Path, listener: Listener, name: str, suffix: str
    ) -> None:
        neighbour = tmp_path / "neighbour.mp4"
        os.link(face_clip, neighbour)
        long_ago = 1_000_000_000
        os.utime(neighbour, (long_ago, long_ago))
        path = tmp_path / f"clip.{suffix}"
        path.write_bytes(make_videos.disguises(neighbour, listener.port)[name])
        start = time.monotonic()
        with pytest.raises(UnsupportedContainer) as caught:
            read(path)
        assert time.monotonic() - start < 1.0
        assert str(path) in caught.value.message
        time.sleep(0.05)
        assert listener.n_connections == 0

    def test_no_other_file_is_opened(self, tmp_path: Path) -> None:
        """A neighbour that blocks whoever opens it: a pipe without a writer."""
        if not hasattr(os, "mkfifo"):
            pytest.skip("needs named pipes")
        neighbour = tmp_path / "neighbour.mp4"
        os.mkfifo(neighbour)
        for text in make_videos.disguises(neighbour, 9).values():
            (tmp_path / "clip.mp4").write_bytes(text)
            with pytest.raises(UnsupportedContainer):
                read(tmp_path / "clip.mp4")
        for i in range(3):
            (tmp_path / f"frame{i}.png").write_bytes(b"not to be read")
        with pytest.raises(FileMissing):
            read(tmp_path / "frame%d.png")

    def test_a_quicktime_reference_to_another_file_is_not_followed(self, tmp_path: Path, face_clip: Path) -> None:
        """An MP4 whose samples lie elsewhere says so in `dref`: the neighbour must not be read."""
        data = bytearray(face_clip.read_bytes())
        at = data.index(b"url \x00\x00\x00\x01")
        data[at + 7] = 0  # "not in this file"
        (tmp_path / "clip.mp4").write_bytes(bytes(data))
        try:
            frames, _ = read(tmp_path / "clip.mp4", SamplePlan("first", 1))
        except InputError:
            return
        assert likeness(frames[0].rgb, read(face_clip, SamplePlan("first", 1))[0][0].rgb) == 0

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
    @pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip", "clip.m3u8"])
    def test_a_picture_under_a_videos_name_is_a_picture(self, tmp_path: Path, format: str, name: str) -> None:
        frames, reader = read(make_videos.write_picture(tmp_path / name, format=format))
        assert [frame.rgb.shape for frame in frames] == [(512, 512, 3)]
        assert reader.info.is_image

    def test_a_video_under_a_pictures_name_is_a_video(self, tmp_path: Path, face_clip: Path) -> None:
        os.link(face_clip, tmp_path / "portrait.jpg")
        frames, reader = read(tmp_path / "portrait.jpg")
        assert len(frames) == 50
        assert not reader.info.is_image

    @pytest.mark.parametrize(
        ("head", "kind"),
        [
            (b"%PDF-1.7\n", "PDF"),
            (b"PK\x03\x04", "ZIP"),
            (b"II*\x00", "TIFF"),
            (b"\x7fELF\x02\x01", "program"),
            (b"\x1f\x8b\x08", "gzip"),
        ],
    )
    def test_other_kinds_of_files_are_called_by_their_name(self, tmp_path: Path, head: bytes, kind: str) -> None:
        (tmp_path / "clip.mp4").write_bytes(head + bytes(range(256)))
        with pytest.raises(UnsupportedContainer, match=kind):
            read(tmp_path / "clip.mp4")


class TestNothingToRead:
    """Row 15: each its own code."""

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileMissing, match="does not exist"):
            read(tmp_path / "none.mp4")

    def test_a_link_to_nothing_is_missing(self, tmp_path: Path) -> None:
        (tmp_path / "link.mp4").symlink_to(tmp_path / "none.mp4")
        with pytest.raises(FileMissing):
            read(tmp_path / "link.mp4")

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "clip.mp4").touch()
        with pytest.raises(FileEmpty, match="0 bytes"):
            read(tmp_path / "clip.mp4")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotAFile, match="a folder"):
            read(tmp_path)

    def test_a_pipe_is_not_opened(self, tmp_path: Path) -> None:
        """Row 7: whoever opens a pipe without a writer waits for ever."""
        if not hasattr(os, "mkfifo"):
            pytest.skip("needs named pipes")
        os.mkfifo(tmp_path / "clip.mp4")
        with pytest.raises(NotAFile, match="a named pipe"):
            read(tmp_path / "clip.mp4")

    def test_a_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # a socket's path has to be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s.mp4")
            with pytest.raises(NotAFile, match="a socket"):
                read("s.mp4")

    @pytest.mark.skipif(not Path("/dev/zero").is_char_device(), reason="needs /dev/zero")
    def test_an_endless_device(self) -> None:
        with pytest.raises(NotAFile, match="a device"):
            read("/dev/zero")

    def test_unreadable(self, tmp_path: Path, face_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(face_clip.read_bytes())
        path.chmod(0)
        if os.access(path, os.R_OK):  # root reads everything

            def refuse(name: str, *_: object) -> int:
                raise PermissionError(13, "Permission denied", name)

            monkeypatch.setattr("telltale._source.os.open", refuse)
        with pytest.raises(FileUnreadable, match="Permission denied"):
            read(path)
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)

    def test_zeros(self, tmp_path: Path) -> None:
        (tmp_path / "clip.mp4").write_bytes(bytes(100_000))
        with pytest.raises(CorruptFile, match="zero bytes"):
            read(tmp_path / "clip.mp4")

    @pytest.mark.parametrize("seed", range(5))
    def test_junk(self, tmp_path: Path, seed: int) -> None:
        (tmp_path / "clip.mp4").write_bytes(np.random.default_rng(seed).bytes(100_000))
        with pytest.raises(UnsupportedContainer):
            read(tmp_path / "clip.mp4")

    def test_only_ftyp(self, tmp_path: Path, face_clip: Path) -> None:
        (_, start, end), *_ = make_videos.boxes(face_clip.read_bytes())
        (tmp_path / "clip.mp4").write_bytes(face_clip.read_bytes()[start:end])
        with pytest.raises(CorruptFile, match="index cannot be read"):
            read(tmp_path / "clip.mp4")

    def test_without_moov(self, tmp_path: Path, face_clip: Path) -> None:
        with pytest.raises(CorruptFile, match="index cannot be read"):
            read(make_videos.without_moov(face_clip, tmp_path / "clip.mp4"))

    def test_sound_only(self, tmp_path: Path) -> None:
        with pytest.raises(NoVideoStream, match="holds sound but no video"):
            read(make_videos.audio_only(tmp_path / "clip.mp4"))

    def test_a_cover_is_no_video(self, tmp_path: Path) -> None:
        with pytest.raises(NoVideoStream, match="cover"):
            read(make_videos.audio_only(tmp_path / "clip.mp4", cover=True))

    def test_a_video_stream_without_frames(self, tmp_path: Path, clips: Path) -> None:
        path = make_videos.face_clip(
            clips / "fragmented.mp4", seconds=1, container_options={"movflags": "frag_keyframe+empty_moov"}
        )
        data = path.read_bytes()
        header = b"".join(data[a:b] for kind, a, b in make_videos.boxes(data) if kind in (b"ftyp", b"moov"))
        (tmp_path / "clip.mp4").write_bytes(header)
        with pytest.raises(NoFrames, match="holds no frame"):
            read(tmp_path / "clip.mp4")

    def test_frames_that_do_not_decode(self, tmp_path: Path, face_clip: Path) -> None:
        data = bytearray(face_clip.read_bytes())
        for kind, start, end in make_videos.boxes(bytes(data)):
            if kind == b"mdat":
                data[start + 8 : end] = b"\x55" * (end - start - 8)
        (tmp_path / "clip.mp4").write_bytes(bytes(data))
        with pytest.raises((NoFrames, CorruptFile)):
            read(tmp_path / "clip.mp4")


class TestDamage:
    """Row 16 and bad packets: good frames are kept, and what is missing is said."""

    @pytest.mark.parametrize("fraction", [0.5, 0.9])
    @pytest.mark.parametrize(
        ("suffix", "options"),
        [("mp4", {"movflags": "faststart"}), ("mp4", {"movflags": "frag_keyframe+empty_moov"}), ("mkv", {})],
        ids=["index in front", "fragmented", "matroska"],
    )
    def test_a_cut_file_gives_its_good_frames(
        self, tmp_path: Path, suffix: str, options: dict[str, str], fraction: float
    ) -> None:
        whole = make_videos.face_clip(tmp_path / f"whole.{suffix}", seconds=4, container_options=options)
        expected, _ = read(whole)
        frames, reader = read(make_videos.cut(whole, tmp_path / f"cut.{suffix}", fraction))
        assert 0 < len(frames) < len(expected)
        for frame, other in list(zip(frames, expected, strict=False))[:-4]:
            assert frame.pts_s == pytest.approx(other.pts_s)
            assert (frame.rgb == other.rgb).all()
        assert Code.PARTIAL in reader.codes
        (warning,) = [text for text in reader.warnings if "cut off" in text]
        per_cent = int(warning.split(": ")[1].split("%")[0])
        assert per_cent == pytest.approx(len(frames), abs=4)  # of 100
        assert "of 4.0 s" in warning

    def test_the_frames_that_an_index_promises_are_counted_as_lost(self, tmp_path: Path, seekable_clip: Path) -> None:
        frames, reader = read(make_videos.cut(seekable_clip, tmp_path / "cut.mp4", 0.6))
        assert reader.n_lost + len(frames) == pytest.approx(100, abs=3)

    @pytest.mark.parametrize("suffix", ["avi", "flv"])
    def test_a_cut_is_noticed_where_a_header_declares_more(self, tmp_path: Path, suffix: str) -> None:
        whole = make_videos.face_clip(tmp_path / f"whole.{suffix}", seconds=4)
        _, reader = read(make_videos.cut(whole, tmp_path / f"cut.{suffix}", 0.6))
        assert Code.PARTIAL in reader.codes

    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "flv", "ts", "webm", "mpg"])
    def test_a_whole_file_is_not_called_partial(self, tmp_path: Path, suffix: str) -> None:
        codecs = {"webm": "libvpx-vp9", "mpg": "mpeg2video"}
        path = make_videos.face_clip(tmp_path / f"clip.{suffix}", codec=codecs.get(suffix, "libx264"))
        assert read(path)[1].codes == []

    def test_bad_packets_are_survived_and_counted(self, tmp_path: Path) -> None:
        whole = make_videos.face_clip(tmp_path / "whole.mp4", options={"g": "10", "crf": "20"})
        expected, _ = read(whole)
        frames, reader = read(make_videos.damaged(whole, tmp_path / "clip.mp4", every=9999, start=0.2))
        assert 0 < len(frames) < len(expected)
        assert len(frames) + reader.n_lost == len(expected)
        assert reader.codes == [Code.FRAMES_LOST]
        assert reader.warnings[0].startswith(f"{reader.n_lost} frames that are damaged")
        for frame in frames:
            assert (frame.rgb == expected[frame.index].rgb).all()

    def test_a_damaged_sample_is_replaced_by_the_next_good_frame(self, tmp_path: Path) -> None:
        whole = make_videos.face_clip(tmp_path / "whole.mp4", options={"g": "5", "bf": "0", "crf": "20"})
        expected, _ = read(whole)
        frames, reader = read(make_videos.damage_frame(whole, tmp_path / "clip.mp4", 12), SamplePlan("every", 4))
        assert [frame.index for frame in frames] == [0, 4, 8, 15, *range(16, 50, 4)]
        assert reader.n_lost == 3  # and what is built from it, until the next key frame
        for frame in frames:
            assert (frame.rgb == expected[frame.index].rgb).all()


class TestTimes:
    """Rows 8, 9 and 10."""

    def test_a_stream_without_times_counts_frames(self, tmp_path: Path) -> None:
        frames, reader = read(make_videos.raw_h264(tmp_path / "clip.h264"))
        assert [frame.pts_s for frame in frames] == pytest.approx(np.arange(25) / 25)
        assert reader.info.timestamps == "synthetic"
        assert reader.codes == [Code.TIMESTAMPS_SYNTHETIC]

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

    def test_a_late_beginning_counts_from_the_beginning(self, tmp_path: Path) -> None:
        path = make_videos.face_clip(tmp_path / "clip.mkv", seconds=1, pts=[100_000 + i for i in range(25)])
        assert read(path)[0][0].pts_s == pytest.approx(0)


class TestPicture:
    """Rows 11 to 14: shown as a player shows it, or said."""

    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("degrees", [0, 90, 180, 270])
    def test_a_display_matrix_is_applied(self, tmp_path: Path, degrees: int, mirrored: bool) -> None:
        path = make_videos.rotated_clip(tmp_path / "clip.mp4", degrees, mirrored=mirrored)
        (frame,), reader = read(path, SamplePlan("first", 1))
        assert frame.rgb.shape == (360, 480, 3)
        assert likeness(frame.rgb, next(make_videos.face_frames(25))) < 4
        assert (reader.info.width_px, reader.info.height_px) == (480, 360)
        if not mirrored:
            assert reader.info.rotation_deg == degrees

    @pytest.mark.parametrize("size", [(16, 16), (18, 34), (4096, 16), (16, 4096)])
    def test_tiny_and_odd_sizes(self, tmp_path: Path, size: tuple[int, int]) -> None:
        frames, _ = read(make_videos.empty_clip(tmp_path / "clip.mp4", seconds=0.2, size=size))
        assert frames[0].rgb.shape == (size[1], size[0], 3)

    @pytest.mark.parametrize("size", [(1, 1), (17, 33), (4096, 1)])
    def test_sizes_that_no_usual_codec_has(self, tmp_path: Path, size: tuple[int, int]) -> None:
        path = make_videos.empty_clip(tmp_path / "clip.mkv", seconds=0.2, size=size, codec="ffv1", pix_fmt="bgr0")
        frames, _ = read(path)
        assert [frame.rgb.shape for frame in frames] == [(size[1], size[0], 3)] * 5

    def test_a_change_of_size_is_flagged_and_each_frame_has_its_own(self, tmp_path: Path) -> None:
        frames, reader = read(make_videos.size_change_clip(tmp_path / "clip.h264"))
        assert {frame.rgb.shape for frame in frames} == {(360, 480, 3), (360, 640, 3)}
        assert Code.GEOMETRY_CHANGED in reader.codes

    def test_interlaced_moments_are_taken_apart_and_flagged(self, tmp_path: Path) -> None:
        path = make_videos.interlaced_clip(tmp_path / "clip.mp4")
        (frame,), reader = read(path, SamplePlan("first", 1))
        early = next(make_videos.face_frames(50))
        assert Code.INTERLACED in reader.codes
        assert likeness(frame.rgb, early) < 6

    def test_a_progressive_picture_marked_interlaced_keeps_its_lines(self, tmp_path: Path) -> None:
        path = make_videos.face_clip(
            tmp_path / "clip.mp4", seconds=0.2, options={"crf": "10", "x264-params": "fake-interlaced=1:tff=1"}
        )
        (frame,), _ = read(path, SamplePlan("first", 1))
        assert likeness(frame.rgb, next(make_videos.face_frames(5))) < 4

    def test_transparent_parts_become_white(self, tmp_path: Path) -> None:
        rgba = np.dstack([make_videos.background(), np.full((360, 480), 255, np.uint8)])
        rgba[:, :240, 3] = 0
        path = make_videos.write_video(tmp_path / "clip.mov", [rgba], codec="qtrle", pix_fmt="argb")
        (frame,), reader = read(path)
        assert (frame.rgb[:, :240] == 255).all()
        assert likeness(frame.rgb[:, 240:], rgba[:, 240:, :3]) == 0
        assert reader.codes == [Code.ALPHA_COMPOSITED]

    @pytest.mark.parametrize("full_range", [False, True])
    def test_full_and_limited_range_look_the_same(self, tmp_path: Path, full_range: bool) -> None:
        path = make_videos.face_clip(
            tmp_path / "clip.mp4", seconds=0.2, pix_fmt="yuvj420p" if full_range else "yuv420p"
        )
        (frame,), _ = read(path, SamplePlan("first", 1))
        assert likeness(frame.rgb, next(make_videos.face_frames(5))) < 4

    @pytest.mark.parametrize(("matrix", "tag"), [("itu709", 1), ("itu601", 6), ("bt2020", 9)])
    def test_colours_follow_the_matrix_that_the_file_names(self, tmp_path: Path, matrix: str, tag: int) -> None:
        red = np.zeros((64, 64, 3), np.uint8)
        red[:] = (200, 30, 60)
        path = make_videos.write_video(tmp_path / "clip.mp4", [red] * 5, matrix=matrix, colour={"colorspace": tag})
        (frame,), _ = read(path, SamplePlan("first", 1))
        assert likeness(frame.rgb, red) < 3

    @pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
    def test_hdr_is_tone_mapped_and_flagged(self, tmp_path: Path, transfer: int) -> None:
        colour = {"color_trc": transfer, "color_primaries": 9, "colorspace": 9}
        path = make_videos.face_clip(
            tmp_path / "clip.mp4", seconds=0.2, codec="libx265", pix_fmt="yuv420p10le", colour=colour
        )
        (frame,), reader = read(path, SamplePlan("first", 1))
        assert reader.codes == [Code.HDR_TONE_MAPPED]
        assert frame.rgb.dtype == np.uint8
        assert 40 < frame.rgb.mean() < 230


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

    def test_of_several_videos_the_largest_is_taken_and_named(self, tmp_path: Path) -> None:
        path = make_videos.several_streams(tmp_path / "clip.mkv", [(64, 48), (480, 360), (128, 96)], seconds=0.2)
        frames, reader = read(path)
        assert frames[0].rgb.shape == (360, 480, 3)
        assert reader.info.stream_index == 1
        assert reader.codes == [Code.SEVERAL_VIDEO_STREAMS]
        assert "stream 1 (480x360)" in reader.warnings[0]

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
