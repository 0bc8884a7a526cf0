"""JPEGs one after the other in a file: a film. A photograph with something behind it stays one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_videos
from reading import likeness, read
from telltale.errors import TooManyPixels
from telltale.types import Code, RgbImage
from telltale.video import DecodeLimits

XMP = b"http://ns.adobe.com/xap/1.0/\0"


def jpeg(rgb: RgbImage, **options: object) -> bytes:
    with io.BytesIO() as memory:
        Image.fromarray(rgb).save(memory, format="JPEG", **options)
        return memory.getvalue()


def film(n: int, **options: object) -> bytes:
    return b"".join(jpeg(rgb, **options) for rgb in make_videos.face_frames(n))


def with_segment(picture: bytes, marker: int, content: bytes) -> bytes:
    return picture[:2] + bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content + picture[2:]


@pytest.mark.parametrize("name", ["film.mjpeg", "film.jpg", "film"])
def test_a_film_of_jpegs_is_a_video(tmp_path: Path, name: str) -> None:
    path = make_videos.face_clip(tmp_path / name, seconds=1, codec="mjpeg", pix_fmt="yuvj420p", format="mjpeg")
    frames, reader = read(path)
    assert len(frames) == 25
    for frame, rgb in zip(frames[::8], list(make_videos.face_frames(25))[::8], strict=True):
        assert likeness(frame.rgb, rgb) < 9
    assert not reader.info.is_image
    assert (reader.info.container, reader.info.codec, reader.n_lost) == ("mjpeg", "mjpeg", 0)
    assert reader.info.timestamps == "synthetic"
    assert [frame.pts_s for frame in frames] == pytest.approx(np.arange(25) / 25)
    assert reader.codes == [Code.TIMESTAMPS_SYNTHETIC]
    assert reader.warnings == ["The file holds no times; 25 frames a second were counted."]


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_few_pictures_are_a_film_too(tmp_path: Path, n: int, options: dict[str, object]) -> None:
    (tmp_path / "film.mjpeg").write_bytes(film(n, **options))
    assert len(read(tmp_path / "film.mjpeg")[0]) == n


def test_a_camera_that_fills_up_with_zeros(tmp_path: Path) -> None:
    padded = [jpeg(rgb) + bytes(300) for rgb in make_videos.face_frames(5)]
    (tmp_path / "film.mjpeg").write_bytes(b"".join(padded))
    frames, reader = read(tmp_path / "film.mjpeg")
    assert (len(frames), reader.n_lost) == (5, 0)


def test_a_film_that_was_cut_off_keeps_its_whole_pictures(tmp_path: Path) -> None:
    whole = film(10)
    (tmp_path / "film.mjpeg").write_bytes(whole[: round(0.65 * len(whole))])
    frames, reader = read(tmp_path / "film.mjpeg")
    expected = [jpeg(rgb) for rgb in make_videos.face_frames(10)]
    n_whole = int(np.searchsorted(np.cumsum([len(data) for data in expected]), 0.65 * len(whole)))
    assert (len(frames), reader.n_lost) == (n_whole, 1)
    assert reader.codes == [Code.PARTIAL, Code.FRAMES_LOST, Code.TIMESTAMPS_SYNTHETIC]


def test_a_picture_whose_end_got_lost_on_the_way_is_left_out(tmp_path: Path) -> None:
    pictures = [jpeg(rgb) for rgb in make_videos.face_frames(6)]
    pictures[0] = pictures[0][: len(pictures[0]) // 2]
    pictures[3] = pictures[3][: len(pictures[3]) // 2]
    (tmp_path / "film.mjpeg").write_bytes(b"".join(pictures))
    frames, reader = read(tmp_path / "film.mjpeg")
    assert [frame.index for frame in frames] == [1, 2, 4, 5]
    assert reader.codes == [Code.FRAMES_LOST, Code.TIMESTAMPS_SYNTHETIC]


def test_a_film_of_large_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mjpeg").write_bytes(film(3))
    with pytest.raises(TooManyPixels, match=r"480x360, more than 0\.1 million"):
        read(tmp_path / "film.mjpeg", limits=DecodeLimits(max_pixels=100_000))


def _photographs(folder: Path) -> dict[str, bytes]:
    """What cameras and phones write into one .jpg."""
    photo, other = (jpeg(rgb) for rgb in make_videos.face_frames(2))
    preview = jpeg(make_videos.background((160, 120)))
    grey = jpeg(make_videos.background()[..., 0])
    motion = make_videos.face_clip(folder / "motion.mp4", seconds=0.2).read_bytes()
    album = io.BytesIO()
    first, second = (Image.fromarray(rgb) for rgb in make_videos.face_frames(2))
    first.save(album, format="MPO", save_all=True, append_images=[second])
    gain = with_segment(photo, 0xE1, XMP + b'<rdf:Description hdrgm:Version="1.0"/>')
    items = with_segment(photo, 0xE1, XMP + b'<Container:Item Item:Semantic="GainMap"/>')
    return {
        "alone": photo,
        "stereo (MPO)": album.getvalue(),
        "thumbnail inside": with_segment(photo, 0xE1, b"Exif\0\0" + preview),
        "film behind": photo + motion,
        "smaller preview behind": photo + preview + preview,
        "grey map behind": photo + grey + grey,
        "gain map of the same size": gain + other + other,
        "items of the same size": items + other,
        "second focus, then data": photo + other + b"\0edof" + bytes(range(256)) * 8,
        "zeros behind": photo + bytes(5000),
        "junk behind": photo + np.random.default_rng(0).bytes(5000),
    }


def test_a_photograph_stays_one_whatever_lies_behind_it(tmp_path: Path) -> None:
    for name, data in _photographs(tmp_path).items():
        (tmp_path / "photo.jpg").write_bytes(data)
        frames, reader = read(tmp_path / "photo.jpg")
        assert (len(frames), reader.info.is_image) == (1, True), name
        assert likeness(frames[0].rgb, next(make_videos.face_frames(2))) < 9, name
        assert reader.codes == [], name
