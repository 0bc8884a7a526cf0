"""What is built from a damaged frame is not given out, also where the decoder says nothing; good clips lose nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from av import VideoFrame

import make_videos
from reading import ALL, read
from telltale._damage import Damage, Shown
from telltale._promise import Owed, Promise
from telltale.sampling import SamplePlan
from telltale.types import Code

SMALL = (160, 120)


def sorted_out(damage: Damage, shown: list[Shown], n_frames: int) -> list[tuple[int, bool]]:
    out = [(one.place, is_spoiled) for each in shown for one, is_spoiled in damage.sort(each)]
    return out + [(one.place, is_spoiled) for one, is_spoiled in damage.finish(n_frames, [])]


class TestSilentDrops:
    """Decoders give no frame for a packet that they cannot read, and often no error either."""

    @pytest.mark.parametrize("plan", [ALL, SamplePlan("fps", 2), SamplePlan("fps", 5)], ids=["all", "2", "5"])
    @pytest.mark.parametrize("codec", ["libx264", "libx265"])
    def test_what_follows_is_left_out_until_the_next_key_frame(
        self, tmp_path: Path, codec: str, plan: SamplePlan
    ) -> None:
        options = {"g": "25", "bf": "0", "crf": "20"}
        if codec == "libx265":
            options = {"x265-params": "log-level=none:pools=1:keyint=25:min-keyint=25:scenecut=0:bframes=0"}
        whole = make_videos.face_clip(tmp_path / "whole.mp4", codec=codec, options=options)
        expected, _ = read(whole)
        frames, reader = read(make_videos.damage_frame(whole, tmp_path / "clip.mp4", 12), plan)
        assert set(range(12, 25)).isdisjoint(frame.index for frame in frames)
        assert all((frame.rgb == expected[frame.index].rgb).all() for frame in frames)
        assert reader.n_lost == 13
        assert Code.FRAMES_LOST in reader.codes
        if plan == ALL:
            assert [frame.index for frame in frames] == [*range(12), *range(25, 50)]

    def test_a_frame_that_none_is_built_from_is_lost_alone(self, tmp_path: Path) -> None:
        """Decoding order is 0, 3, 1, 2, 6, 4, 5 ..."""
        whole = make_videos.face_clip(tmp_path / "whole.mp4", codec="mpeg2video", options={"g": "12", "bf": "2"})
        expected, _ = read(whole)
        frames, reader = read(make_videos.damage_frame(whole, tmp_path / "clip.mp4", 5))
        assert [frame.index for frame in frames] == [place for place in range(50) if place != 4]
        assert all((frame.rgb == expected[frame.index].rgb).all() for frame in frames)
        assert (reader.n_lost, reader.codes) == (1, [Code.FRAMES_LOST])


@pytest.mark.parametrize("plan", [ALL, SamplePlan("every", 3)], ids=["all", "every third"])
@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mp4", "mpeg2video"), ("mkv", "mpeg1video")], ids=["264", "2", "1"]
)
def test_frames_shown_before_a_damaged_one_but_built_from_it_are_left_out(
    tmp_path: Path, suffix: str, codec: str, plan: SamplePlan
) -> None:
    options = {"g": "15", "bf": "2", "x264-params": "b-adapt=0:scenecut=0"}
    whole = make_videos.face_clip(tmp_path / f"whole.{suffix}", size=SMALL, codec=codec, options=options)
    expected, _ = read(whole)
    for n in range(1, 46, 3):  # those that the two shown before them are built from
        frames, reader = read(make_videos.damage_frame(whole, tmp_path / f"clip.{suffix}", n), plan)
        wrong = [frame.index for frame in frames if (frame.rgb != expected[frame.index].rgb).any()]
        assert wrong == [], f"packet {n}"
        assert reader.n_lost > 0
        assert Code.FRAMES_LOST in reader.codes
        assert len(frames) > len(expected) / 2 or plan != ALL


class TestGoodClips:
    """What a decoder leaves out by design is no damage."""

    @pytest.mark.parametrize(
        ("name", "codec", "options"),
        [
            ("b.mp4", "libx264", {"bf": "3", "g": "20", "x264-params": "b-adapt=0:b-pyramid=normal"}),
            ("many_b.mkv", "libx264", {"bf": "8", "g": "25", "x264-params": "b-adapt=0:b-pyramid=normal"}),
            ("open.ts", "libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=1:b-adapt=0:scenecut=0"}),
            ("slices.mp4", "libx264", {"bf": "3", "slices": "4"}),
            ("interlaced.ts", "libx264", {"bf": "2", "g": "20", "x264-params": "tff=1"}),
            ("refreshed.ts", "libx264", {"x264-params": "intra-refresh=1:keyint=20"}),
            ("b.avi", "libx264", {"bf": "2"}),
            ("open.mkv", "libx265", {"x265-params": "log-level=none:pools=1:keyint=12:open-gop=1:bframes=4"}),
            ("b.mpg", "mpeg1video", {"bf": "2", "g": "12"}),
            ("b.vob", "mpeg2video", {"bf": "2", "g": "12", "flags": "+ildct+ilme"}),
            ("b.m4v.mp4", "mpeg4", {"bf": "2", "g": "12"}),
            ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}),
            ("hidden.vp9.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}),
            ("reordered.mkv", "libsvtav1", {"preset": "11"}),
            ("intra.mov", "prores_ks", {}),
        ],
    )
    def test_nothing_is_lost(self, tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
        pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        path = make_videos.face_clip(tmp_path / name, size=SMALL, codec=codec, options=options, pix_fmt=pix_fmt)
        every, reader = read(path)
        assert [frame.index for frame in every] == list(range(50))
        assert (reader.n_decoded, reader.n_lost) == (50, 0)
        assert Code.FRAMES_LOST not in reader.codes
        some, reader = read(path, SamplePlan("every", 7))
        assert [frame.index for frame in some] == list(range(0, 50, 7))
        assert all((frame.rgb == every[frame.index].rgb).all() for frame in some)
        assert reader.n_lost == 0

    @pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
    def test_nor_where_a_recording_begins_in_the_middle_of_another(self, tmp_path: Path, codec: str) -> None:
        """Its first frames lack what they are built from."""
        options = {"bf": "3", "g": "12", "x264-params": "open-gop=1:b-adapt=0:scenecut=0"}
        if codec == "libx265":
            options = {"x265-params": "log-level=none:pools=1:keyint=12:min-keyint=12:open-gop=1:bframes=4"}
        data = make_videos.face_clip(tmp_path / "whole.ts", size=SMALL, seconds=3, codec=codec, options=options)
        packets = data.read_bytes()
        for fraction in (0.2, 0.4):
            begin = int(len(packets) * fraction) // 188 * 188
            (tmp_path / "clip.ts").write_bytes(packets[: 3 * 188] + packets[begin:])
            frames, reader = read(tmp_path / "clip.ts")
            assert len(frames) > 25
            assert reader.n_lost == 0

    @pytest.mark.parametrize(("suffix", "codec"), [("asf", "libx264"), ("asf", "mpeg2video"), ("mxf", "libx264")])
    def test_nor_where_packets_are_numbered_as_they_are_decoded(self, tmp_path: Path, suffix: str, codec: str) -> None:
        path = make_videos.face_clip(tmp_path / f"clip.{suffix}", size=SMALL, codec=codec, options={"bf": "2"})
        frames, reader = read(path)
        assert len(frames) > 20
        assert reader.n_lost == 0

    def test_a_reader_that_stops_early_has_lost_nothing(self, face_clip: Path) -> None:
        frames, reader = read(face_clip, SamplePlan("first", 3))
        assert [frame.index for frame in frames] == [0, 1, 2]
        assert (reader.n_decoded, reader.n_lost, reader.codes) == (3, 0, [Code.BEGINNING_ONLY])


class TestSorting:
    """`Damage` alone; the decoding order of two frames between two others is 0, 3, 1, 2."""

    ORDER = np.array([0, 2, 3, 1, 5, 6, 4])

    def test_a_frame_is_held_only_until_what_was_decoded_before_it_is_shown(self) -> None:
        damage = Damage(self.ORDER)
        given = [[one.place for one, _ in damage.sort(Shown(place, 0, is_key=not place))] for place in range(7)]
        assert given == [[0], [], [], [1, 2, 3], [], [], [4, 5, 6]]
        assert Damage().n_frames == damage.n_frames == 0

    def test_however_late_that_is_few_pictures_are_held(self) -> None:
        picture = VideoFrame(16, 16, "gray")
        damage = Damage(np.array([0, *range(2, 61), 1]))
        given = [one.place for place in range(60) for one, _ in damage.sort(Shown(place, 0, picture))]
        assert given == list(range(44))

    def test_in_one_order_none_is_held(self) -> None:
        for damage in (Damage(), Damage(np.arange(5))):
            assert all(len(list(damage.sort(Shown(place, 0)))) == 1 for place in range(5))

    def test_a_frame_that_never_came_spoils_what_was_decoded_after_it(self) -> None:
        damage = Damage(self.ORDER)
        damage.expects(0, is_beginning=True)
        damage.expects(3)
        assert sorted_out(damage, [Shown(place, 0, is_key=not place) for place in (0, 1, 2, 4, 5, 6)], 7) == [
            (0, False),
            *((place, True) for place in (1, 2, 4, 5, 6)),
        ]
        assert damage.n_frames == 6

    def test_so_does_the_last_one_once_the_stream_has_ended(self) -> None:
        damage = Damage(self.ORDER)
        damage.expects(0, is_beginning=True)
        damage.expects(6)
        shown = [Shown(place, 0, is_key=not place) for place in range(6)]
        assert sorted_out(damage, shown, 7)[-2:] == [(4, True), (5, True)]
        assert damage.n_frames == 3

    def test_frames_before_a_key_frame_but_decoded_after_it_spoil_nothing_behind_it(self) -> None:
        damage = Damage(np.array([0, 1, 3, 4, 2, 5]))
        shown = [Shown(place, 0, is_key=place in (0, 4), is_corrupt=place == 2) for place in range(6)]
        assert [place for place, is_spoiled in sorted_out(damage, shown, 6) if is_spoiled] == [2, 3]
        assert damage.n_frames == 2

    def test_a_decoder_that_shows_too_early_and_so_leaves_frames_out_is_excused(self) -> None:
        """H.264 need not say how long a decoder has to wait."""
        damage = Damage(self.ORDER)
        damage.expects(0, is_beginning=True)
        for place in range(1, 7):
            damage.expects(place)
        out = sorted_out(damage, [Shown(place, 0, is_key=not place) for place in (0, 3, 4, 5, 6)], 7)
        assert not any(is_spoiled for _, is_spoiled in out)
        assert damage.n_frames == 0

    def test_nor_is_anything_missed_where_frames_come_as_they_are_decoded(self) -> None:
        damage = Damage(self.ORDER)
        for place in range(7):
            damage.expects(place, is_beginning=not place)
        out = sorted_out(damage, [Shown(place, 0, is_key=not place) for place in (0, 3, 1, 2, 6, 4, 5)], 7)
        assert sorted(out) == [(place, False) for place in range(7)]

    def test_the_second_half_of_a_frame_is_excused(self) -> None:
        damage = Damage(np.arange(6))
        for place in range(6):
            damage.expects(place, is_beginning=not place)
        out = sorted_out(damage, [Shown(place, 0, is_key=not place, may_be_half=True) for place in (0, 2, 4)], 6)
        assert not any(is_spoiled for _, is_spoiled in out[:3])

    def test_a_time_that_no_packet_had_is_not_waited_with(self) -> None:
        damage = Damage(self.ORDER)
        damage.expects(3)
        assert [one.place for one, _ in damage.sort(Shown(2, 0, is_placed=False))] == [2]


@pytest.mark.parametrize(
    ("codec", "extradata", "data", "owed"),
    [
        ("h264", "", "00000001 09f0 000001 6588", Owed.REFERENCE),
        ("h264", "", "00000001 09f0 000001 0188", Owed.FRAME),
        ("h264", "", "00000001 09f0", Owed.NOTHING),
        ("h264", "", "00000000 0000", Owed.REFERENCE),
        ("h264", "0164001effe1", "00000002 4188", Owed.REFERENCE),
        ("h264", "0164001effe1", "00000002 0188", Owed.FRAME),
        ("h264", "0164001effe1", "00000002 0600", Owed.NOTHING),
        ("h264", "0164001effe1", "00000000 0000", Owed.REFERENCE),
        ("h264", "0164001effe1", "00000002 0000", Owed.REFERENCE),
        ("hevc", "", "00000001 4601 000001 2601", Owed.REFERENCE),
        ("hevc", "", "00000001 0001", Owed.FRAME),
        ("hevc", "", "00000001 0000", Owed.REFERENCE),
        ("hevc", "", "00000001 1201", Owed.NOTHING),
        ("mpeg2video", "", "00000100 000fff", Owed.REFERENCE),
        ("mpeg2video", "", "00000100 001fff", Owed.FRAME),
        ("mpeg2video", "", "00000100 000fff 000001b5 8fff f1 00 00", Owed.NOTHING),
        ("mpeg2video", "", "00000000", Owed.REFERENCE),
        ("av1", "", "1200", Owed.REFERENCE),
    ],
)
def test_what_a_packet_owes_is_read_from_its_beginning(codec: str, extradata: str, data: str, owed: Owed) -> None:
    assert Promise(codec, bytes.fromhex(extradata)).of(bytes.fromhex(data)) == owed
