"""Stills and animations, read as frames of a video."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

import make_videos
from telltale.errors import CorruptFile, TooManyPixels, UnsupportedCodec
from telltale.sampling import SamplePlan
from telltale.types import Code, Frame, RgbImage
from telltale.video import DecodeLimits, VideoReader, open_video, probe

ALL = SamplePlan("all")


def read(path: Path, plan: SamplePlan = ALL, *, limits: DecodeLimits | None = None) -> tuple[list[Frame], VideoReader]:
    with open_video(path, plan, limits=limits or DecodeLimits()) as reader:
        frames = list(reader)
    return frames, reader


def likeness(a: RgbImage, b: RgbImage) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize(
    ("format", "worst"), [("PNG", 0), ("BMP", 0), ("WEBP", 4), ("JPEG", 4), ("GIF", 8)], ids=lambda value: str(value)
)
def test_a_picture_is_a_video_of_one_frame(tmp_path: Path, format: str, worst: float) -> None:
    path = make_videos.write_picture(tmp_path / "picture", format=format)
    (frame,), reader = read(path)
    assert (frame.index, frame.pts_s) == (0, 0.0)
    assert likeness(frame.rgb, make_videos.portrait()) <= worst
    info = reader.info
    assert info.is_image
    assert (info.container, info.width_px, info.height_px, info.n_frames_header) == (format.lower(), 512, 512, 1)
    assert info.sha256 == probe(path).sha256 != ""
    assert reader.n_decoded == 1
    assert reader.codes == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_exif_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = make_videos.background((64, 48))
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    image = Image.fromarray(np.ascontiguousarray(undo[orientation]))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "picture.png", exif=exif)
    (frame,), reader = read(tmp_path / "picture.png")
    assert (frame.rgb == upright).all()
    assert (reader.info.width_px, reader.info.height_px) == (64, 48)


def test_an_animation_gives_frames_with_their_times(tmp_path: Path) -> None:
    path = make_videos.animated_gif(tmp_path / "picture.gif", n=5, frame_ms=200)
    frames, reader = read(path)
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    for frame, rgb in zip(frames, make_videos.face_frames(5, (240, 180)), strict=True):
        assert likeness(frame.rgb, rgb) < 8
    assert reader.info.n_frames_header == 5
    sampled, _ = read(path, SamplePlan("fps", 2))
    assert [frame.index for frame in sampled] == [0, 3]


def test_a_gif_that_asks_for_no_time_is_shown_as_browsers_do(tmp_path: Path) -> None:
    frames, _ = read(make_videos.animated_gif(tmp_path / "picture.gif", n=3, frame_ms=0))
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.1, 0.2])


def test_an_animated_webp(tmp_path: Path) -> None:
    first, *rest = [Image.fromarray(rgb) for rgb in make_videos.face_frames(3, (64, 48))]
    first.save(tmp_path / "picture.webp", save_all=True, append_images=rest, duration=500, lossless=True)
    frames, _ = read(tmp_path / "picture.webp")
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.5, 1.0])
    for frame, rgb in zip(frames, make_videos.face_frames(3, (64, 48)), strict=True):
        assert likeness(frame.rgb, rgb) < 1


@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_an_animated_png(tmp_path: Path, n_frames: int) -> None:
    shades = [Image.new("RGB", (64, 48), (40 * i, 0, 0)) for i in range(n_frames)]
    shades[0].save(
        tmp_path / "a.png", save_all=True, append_images=shades[1:], duration=[100 + 10 * i for i in range(n_frames)]
    )
    frames, reader = read(tmp_path / "a.png", SamplePlan("all"))
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [40 * i for i in range(n_frames)]
    assert [frame.pts_s for frame in frames] == pytest.approx(
        np.cumsum([0.0] + [0.1 + 0.01 * i for i in range(n_frames - 1)])
    )
    assert reader.codes == []


@pytest.mark.parametrize(
    ("value", "is_turned"),
    [(b"\3\0\1\0\0\0\6\0", True), (b"\3\0\1\0\0\0\x09\0", False), (b"\2\0\1\0\0\0006\0", False)],
    ids=["6", "9", "text"],
)
def test_the_orientation_may_hold_anything(tmp_path: Path, value: bytes, is_turned: bool) -> None:
    tiff = b"II*\0\x08\0\0\0\1\0\x12\1" + value + bytes(6)
    Image.fromarray(make_videos.background((64, 48))).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + tiff)
    (frame,), reader = read(tmp_path / "a.jpg")
    assert frame.rgb.shape[:2] == (reader.info.height_px, reader.info.width_px)
    assert frame.rgb.shape[:2] == ((64, 48) if is_turned else (48, 64))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "YCbCr", "I;16", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.asarray(Image.fromarray(make_videos.portrait()).convert("L"))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(make_videos.portrait()).convert(mode)
    format = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    image.save(tmp_path / "picture", format=format)
    (frame,), reader = read(tmp_path / "picture")
    assert frame.rgb.shape == (512, 512, 3)
    assert frame.rgb.flags.c_contiguous
    if mode in ("L", "LA", "I;16"):
        assert likeness(frame.rgb, np.repeat(grey[..., None], 3, axis=2)) <= 1
    assert reader.codes == [], "nothing shines through"


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    rgba = np.dstack([make_videos.portrait(), np.full((512, 512), 255, np.uint8)])
    rgba[:100, :, 3] = 0
    rgba[100:200, :, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "picture.png")
    (frame,), reader = read(tmp_path / "picture.png")
    assert (frame.rgb[:100] == 255).all()
    assert likeness(frame.rgb[100:200], (rgba[100:200, :, :3].astype(int) + 255) // 2) <= 1
    assert (frame.rgb[200:] == rgba[200:, :, :3]).all()
    assert reader.codes == [Code.ALPHA_COMPOSITED]
    assert reader.warnings == ["Transparent parts were made white."]


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (4096, 1)])
def test_tiny_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make_videos.write_picture(tmp_path / "picture.png", make_videos.background(size), format="PNG")
    (frame,), _ = read(path)
    assert frame.rgb.shape == (size[1], size[0], 3)


def test_a_picture_can_be_made_smaller(tmp_path: Path) -> None:
    path = make_videos.write_picture(tmp_path / "picture.png", format="PNG")
    (frame,), _ = read(path, SamplePlan(max_side_px=100))
    assert frame.rgb.shape == (100, 100, 3)


def huge_png(path: Path, width: int, height: int) -> Path:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    return path


@pytest.mark.parametrize("side_px", [6001, 12_000, 60_000])
def test_a_picture_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path: Path, side_px: int) -> None:
    with pytest.raises(TooManyPixels, match="more than 36 million pixels"):
        read(huge_png(tmp_path / "picture.png", side_px, side_px))


@pytest.mark.parametrize(("damage", "error"), [("larger", TooManyPixels), ("shorter", CorruptFile)])
def test_a_later_frame_of_a_gif_may_be_hostile_too(tmp_path: Path, damage: str, error: type[Exception]) -> None:
    """Both found by `make fuzz`: Pillow names neither in its own words."""
    path = make_videos.animated_gif(tmp_path / "picture.gif", n=3, size=(32, 32))
    data = path.read_bytes()
    at = data.rindex(b"\x2c" + struct.pack("<4H", 0, 0, 32, 32)) + 1
    larger = data[:at] + struct.pack("<4H", 0, 0, 0xBFFF, 0xBFFF) + data[at + 8 :]
    path.write_bytes(larger if damage == "larger" else data[: at + 6])
    with pytest.raises(error):
        read(path)


def test_the_limit_can_be_set(portrait: Path) -> None:
    with pytest.raises(TooManyPixels, match="512x512"):
        read(portrait, limits=DecodeLimits(max_pixels=1000))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("fraction", [0.01, 0.5])
def test_a_picture_that_was_cut_off_is_refused(tmp_path: Path, format: str, fraction: float) -> None:
    whole = make_videos.write_picture(tmp_path / "whole", format=format)
    with pytest.raises(CorruptFile, match="damaged or cut off") as caught:
        read(make_videos.cut(whole, tmp_path / "cut", fraction))
    assert "BufferedReader" not in caught.value.message


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", *(["AVIF"] if features.check("avif") else [])])
def test_a_picture_with_turned_bits_is_read_or_refused(tmp_path: Path, format: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = make_videos.write_picture(tmp_path / "picture", make_videos.shrunk(64), format=format)
    data = np.frombuffer(picture.read_bytes(), np.uint8).copy()
    data[rng.integers(12, len(data), 8)] ^= rng.integers(1, 256, 8, dtype=np.uint8)
    picture.write_bytes(data.tobytes())
    try:
        frames, _ = read(picture)
    except (CorruptFile, TooManyPixels):
        return
    assert all(frame.rgb.dtype == np.uint8 for frame in frames)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_a_heic_still_gets_a_helpful_refusal(tmp_path: Path, brand: bytes) -> None:
    (tmp_path / "picture.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(4) + b"mif1heic" + bytes(500))
    with pytest.raises(UnsupportedCodec, match="save it as JPEG or PNG"):
        read(tmp_path / "picture.heic")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_an_avif_still_is_read_where_pillow_can(tmp_path: Path) -> None:
    path = make_videos.write_picture(tmp_path / "picture.jpg", make_videos.shrunk(64), format="AVIF", quality=90)
    (frame,), reader = read(path)
    assert frame.rgb.shape == (64, 64, 3)
    assert reader.info.codec == "avif"
    data = path.read_bytes()
    assert data[8:12] == b"avif"
    path.write_bytes(data[:8] + b"mif1" + data[12:])  # as some cameras have it: the brand is among the compatible ones
    assert read(path)[1].info.codec == "avif"


def test_an_avif_still_is_refused_where_pillow_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picture.avif").write_bytes(b"\0\0\0\x18ftypavif" + bytes(4) + b"mif1avif" + bytes(500))
    monkeypatch.setattr("telltale.pictures.features.check", lambda name: name != "avif")
    with pytest.raises(UnsupportedCodec, match="AVIF"):
        read(tmp_path / "picture.avif")
