"""Files with nothing to read, and files with something missing: each its own code, good frames kept."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest

import make_videos
from reading import read
from telltale._stated_length import promised_bytes
from telltale.errors import (
    CorruptFile,
    FileEmpty,
    FileMissing,
    FileUnreadable,
    NoFrames,
    NotAFile,
    NoVideoStream,
    UnsupportedContainer,
)
from telltale.sampling import SamplePlan
from telltale.types import Code


@pytest.fixture(scope="session")
def seekable_clip(clips: Path) -> Path:
    """Four seconds with the index in front, so that a cut leaves something."""
    return make_videos.face_clip(clips / "front.mp4", seconds=4, container_options={"movflags": "faststart"})


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
        with pytest.raises(UnsupportedContainer, match=r"give a video .* or a JPEG or PNG picture$"):
            read(tmp_path / "clip.mp4")

    def test_only_ftyp(self, tmp_path: Path, face_clip: Path) -> None:
        (_, start, end), *_ = make_videos.boxes(face_clip.read_bytes())
        (tmp_path / "clip.mp4").write_bytes(face_clip.read_bytes()[start:end])
        with pytest.raises(CorruptFile, match="index cannot be read"):
            read(tmp_path / "clip.mp4")

    def test_without_moov(self, tmp_path: Path, face_clip: Path) -> None:
        with pytest.raises(CorruptFile, match=r"index cannot be read: .*; copy it again$"):
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

    @pytest.mark.parametrize(
        ("suffix", "codec"), [("mpg", "mpeg1video"), ("vob", "mpeg2video"), ("asf", "mpeg4"), ("mkv", "libx264")]
    )
    def test_the_last_hundredths_of_a_file_are_missed(self, tmp_path: Path, suffix: str, codec: str) -> None:
        """Less than what a duration may be off by."""
        whole = make_videos.face_clip(tmp_path / f"whole.{suffix}", seconds=4, codec=codec)
        assert Code.PARTIAL not in read(whole)[1].codes
        for fraction in (0.503, 0.903, 0.97):
            path = make_videos.cut(whole, tmp_path / f"cut.{suffix}", fraction)
            assert path.stat().st_size % 2048, "between two packets of a program stream nothing tells"
            assert Code.PARTIAL in read(path)[1].codes

    def test_a_live_recording_promises_no_length(self, tmp_path: Path) -> None:
        whole = make_videos.face_clip(tmp_path / "live.mkv", container_options={"live": "1"})
        assert promised_bytes(whole.read_bytes()) is None
        assert Code.PARTIAL not in read(whole)[1].codes

    def test_a_cut_between_two_frames_of_an_avi_is_noticed(self, tmp_path: Path) -> None:
        whole = make_videos.face_clip(tmp_path / "whole.avi", seconds=4, codec="mpeg4")
        data = whole.read_bytes()
        frame_at = data.index(b"00dc", round(0.6 * len(data)))
        (tmp_path / "cut.avi").write_bytes(data[:frame_at])
        frames, reader = read(tmp_path / "cut.avi")
        assert Code.PARTIAL in reader.codes
        assert reader.warnings == [f"The file was cut off: {frame_at / len(data):.0%} of its bytes are there."]
        assert 0 < len(frames) < 100

    @pytest.mark.parametrize(
        ("suffix", "codec", "pix_fmt"),
        [
            ("avi", "libx264", "yuv420p"),
            ("avi", "mjpeg", "yuvj420p"),
            ("avi", "huffyuv", "yuv422p"),
            ("mov", "mjpeg", "yuvj420p"),
            ("ts", "libx264", "yuv420p"),
        ],
    )
    def test_a_frame_that_is_there_in_part_is_lost(self, tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
        """These decoders make up the rest of a picture and say nothing."""
        in_front = {"movflags": "faststart"} if suffix == "mov" else None
        whole = make_videos.face_clip(
            tmp_path / f"whole.{suffix}",
            codec=codec,
            pix_fmt=pix_fmt,
            options={"g": "8", "bf": "0"},
            container_options=in_front,
        )
        expected, _ = read(whole)
        for fraction in (0.55, 0.7, 0.903):
            path = make_videos.cut(whole, tmp_path / f"cut.{suffix}", fraction)
            if path.stat().st_size % 188 == 0:  # a transport stream: nothing tells
                continue
            frames, reader = read(path)
            assert [frame.index for frame in frames] == list(range(len(frames)))
            assert all((frame.rgb == expected[frame.index].rgb).all() for frame in frames)
            assert {Code.PARTIAL, Code.FRAMES_LOST} <= set(reader.codes)
            if suffix == "mov":
                assert len(frames) + reader.n_lost == 50

    def test_an_avi_that_does_not_say_how_long_it_is_is_not_called_partial(self, tmp_path: Path) -> None:
        whole = make_videos.face_clip(tmp_path / "whole.avi", codec="mpeg4")
        data = whole.read_bytes()
        (tmp_path / "live.avi").write_bytes(data[:4] + b"\0\0\0\0" + data[8:])
        assert read(tmp_path / "live.avi")[1].codes == []

    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "flv", "ts", "webm", "mpg"])
    def test_a_whole_file_is_not_called_partial(self, tmp_path: Path, suffix: str) -> None:
        codecs = {"webm": "libvpx-vp9", "mpg": "mpeg2video"}
        path = make_videos.face_clip(tmp_path / f"clip.{suffix}", codec=codecs.get(suffix, "libx264"))
        assert read(path)[1].codes == []

    @pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".flv"])
    def test_a_picture_that_ends_before_its_sound_is_not_called_partial(self, tmp_path: Path, suffix: str) -> None:
        _, reader = read(make_videos.longer_sound(tmp_path / f"clip{suffix}"))
        assert Code.PARTIAL not in reader.codes
        assert reader.info.duration_s == pytest.approx(2, abs=0.1)

    def test_nor_where_a_matroska_gives_the_length_of_the_file_alone(self, tmp_path: Path) -> None:
        path = make_videos.longer_sound(tmp_path / "clip.mkv")
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"XURATION"))
        _, reader = read(path)
        assert Code.PARTIAL not in reader.codes
        assert reader.info.duration_s == pytest.approx(2, abs=0.1)

    @pytest.mark.parametrize("suffix", [".mkv", ".flv"])
    def test_a_cut_through_the_sound_after_the_picture_is_noticed(self, tmp_path: Path, suffix: str) -> None:
        whole = make_videos.longer_sound(tmp_path / f"whole{suffix}", sound_s=8)
        whole.write_bytes(whole.read_bytes().replace(b"DURATION", b"XURATION"))
        frames, reader = read(make_videos.cut(whole, tmp_path / f"cut{suffix}", 0.97))
        assert len(frames) == 50
        assert Code.PARTIAL in reader.codes

    def test_times_that_begin_late_are_no_cut(self, tmp_path: Path) -> None:
        """A tape's clock, an hour and six minutes in: Matroska then says when the file ends, not how long it is."""
        path = make_videos.face_clip(tmp_path / "clip.mkv", seconds=4, pts=[100_000 + i for i in range(100)])
        _, reader = read(path)
        assert reader.codes == []
        assert reader.info.duration_s == pytest.approx(4)
        _, reader = read(make_videos.cut(path, tmp_path / "cut.mkv", 0.5))
        assert Code.PARTIAL in reader.codes
        assert any("% of 4.0 s could be read" in warning for warning in reader.warnings)

    def test_bad_packets_are_survived_and_counted(self, tmp_path: Path) -> None:
        whole = make_videos.face_clip(tmp_path / "whole.mp4", options={"g": "10", "crf": "20"})
        expected, _ = read(whole)
        frames, reader = read(make_videos.damaged(whole, tmp_path / "clip.mp4", every=9999, start=0.2))
        assert 0 < len(frames) < len(expected)
        assert len(frames) + reader.n_lost == len(expected)
        # x264 does not write the same bytes every time, so a turned one may also hit what a time is read from.
        assert reader.codes in ([Code.FRAMES_LOST], [Code.FRAMES_LOST, Code.TIMESTAMPS_REPAIRED])
        assert reader.warnings[0] == (
            f"Frames that are damaged, or built from damaged ones, and were left out: {reader.n_lost}."
        )
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
