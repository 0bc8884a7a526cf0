"""Frames as a player shows them: turned, in their colours, whole."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import make_videos
from reading import likeness, read
from telltale.sampling import SamplePlan
from telltale.types import Code
from telltale.video import DecodeLimits, read_frames


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

    @pytest.mark.parametrize("degrees", [0, 90])
    @pytest.mark.parametrize(
        ("stored", "pixel_aspect", "shown"),
        [((360, 360), Fraction(4, 3), (480, 360)), ((480, 270), Fraction(3, 4), (480, 360))],
    )
    def test_pixels_that_are_not_square_are_made_square(
        self, tmp_path: Path, stored: tuple[int, int], pixel_aspect: Fraction, shown: tuple[int, int], degrees: int
    ) -> None:
        squeezed = (cv2.resize(rgb, stored, interpolation=cv2.INTER_AREA) for rgb in make_videos.face_frames(5))
        pictures = (np.asarray(rgb, np.uint8) for rgb in squeezed)
        path = make_videos.write_video(tmp_path / "clip.mp4", pictures, pixel_aspect=pixel_aspect, rotation_deg=degrees)
        (frame,), reader = read(path, SamplePlan("first", 1))
        upright = np.rot90(frame.rgb, degrees // 90)
        assert upright.shape == (shown[1], shown[0], 3)
        assert likeness(upright, next(make_videos.face_frames(5))) < 5
        assert (reader.info.height_px, reader.info.width_px) == frame.rgb.shape[:2]

    @pytest.mark.parametrize("interlaced", [False, True])
    def test_woven_and_smaller_pictures_get_square_pixels_too(self, tmp_path: Path, interlaced: bool) -> None:
        make = make_videos.interlaced_clip if interlaced else make_videos.face_clip
        path = make(tmp_path / "clip.mp4", seconds=0.2, pixel_aspect=Fraction(2))
        (frame,), _ = read(path, SamplePlan("first", 1, max_side_px=240))
        assert frame.rgb.shape == (90, 240, 3)

    @pytest.mark.parametrize("pixel_aspect", [Fraction(100, 101), Fraction(5), Fraction(1, 5)])
    def test_pixels_all_but_square_or_of_no_likely_shape_are_taken_as_they_are(
        self, tmp_path: Path, pixel_aspect: Fraction
    ) -> None:
        path = make_videos.face_clip(tmp_path / "clip.mp4", seconds=0.2, pixel_aspect=pixel_aspect)
        (frame,), _ = read(path, SamplePlan("first", 1))
        assert frame.rgb.shape == (360, 480, 3)

    def test_a_picture_that_square_pixels_would_make_too_large_stays_as_it_is(self, tmp_path: Path) -> None:
        path = make_videos.face_clip(tmp_path / "clip.mp4", seconds=0.2, pixel_aspect=Fraction(2))
        (frame,) = read_frames(path, SamplePlan("first", 1), limits=DecodeLimits(max_pixels=480 * 360))
        assert frame.rgb.shape == (360, 480, 3)

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

    def test_interlaced_hdr_is_taken_apart_too(self, tmp_path: Path) -> None:
        plain, hdr = (
            read(
                make_videos.interlaced_clip(
                    tmp_path / f"{trc}.mp4",
                    seconds=0.2,
                    pix_fmt="yuv420p10le",
                    colour={"color_trc": trc, "colorspace": 9, "color_primaries": 9},
                ),
                SamplePlan("first", 1),
            )
            for trc in (1, 18)
        )
        assert {Code.INTERLACED, Code.HDR_TONE_MAPPED} <= set(hdr[1].codes)
        for frame in (plain[0][0], hdr[0][0]):
            rgb = frame.rgb.astype(int)
            assert (rgb[1:-1:2] == (rgb[:-2:2] + rgb[2::2] + 1) // 2).all(), "odd lines are of another moment"

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
        assert reader.codes == [Code.BEGINNING_ONLY, Code.HDR_TONE_MAPPED]
        assert frame.rgb.dtype == np.uint8
        assert 40 < frame.rgb.mean() < 230
