"""What a name or a disguise may do to whoever opens it: nothing."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import make_videos
from reading import likeness, read
from telltale.errors import (
    FileMissing,
    FileUnreadable,
    InputError,
    UnsupportedContainer,
)
from telltale.sampling import SamplePlan
from telltale.video import open_video


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
