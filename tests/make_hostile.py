"""Bad inputs made by hand, each with the outcome that it must have: the table behind `test_faults.py`.

    python tests/make_hostile.py FOLDER      writes them all, to be looked at or fed to another detector

`ROWS` maps each row of the list of faults to where it is held. Every maker writes one file (or a folder, a pipe ..)
at the path it is given; what cannot be uploaded has `is_file=False`.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import make_hostile_bytes as raw
import make_videos
from telltale.types import Code

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Bad:
    """One input. `expected`: `verdict` (real, fake or uncertain), `no_face`, or an error's code."""

    row: int
    name: str
    """Of the file; its suffix lies where that is the point."""
    expected: str
    make: Make
    codes: tuple[Code, ...] = ()
    """That the report must state."""
    is_file: bool = True


ROWS = {
    1: "here; test_isolation; test_video_names.TestDisguises",
    2: "here; test_video_names.TestNames; test_web_api",
    3: "here; test_faults.test_a_decompression_bomb_stays_in_bounds",
    4: "test_faults.test_a_flood_of_frames_is_sampled",
    5: "here; test_video.TestLimits",
    6: "here; test_video.TestLimits",
    7: "here; test_sandbox.test_a_file_that_never_ends_is_stopped_at_the_deadline",
    8: "here; test_video.TestTimes; test_video_mjpeg",
    9: "here; test_video.TestTimes; test_timestamps",
    10: "here; test_video.TestTimes",
    11: "here; test_faults.test_a_turned_clip_scores_as_the_upright_one",
    12: "here; test_video_picture.TestPicture",
    13: "here; test_video_picture.TestPicture",
    14: "here; test_video_picture.TestPicture",
    15: "here; test_video_damage.TestNothingToRead",
    16: "here; test_video_damage.TestDamage",
    17: "here; fuzz.py (`make fuzz`); test_mutations",
    18: "here; test_people",
    19: "test_faults.test_the_same_bytes_give_the_same_report; test_web_scan_db",
    20: "test_faults_disk; test_store",
    21: "test_store, test_prepare, test_train",
    22: "test_sandbox, test_faults_disk",
    23: "test_bundle, test_bundle_hostile",
    24: "test_store",
    25: "test_engine, test_prepare",
    26: "test_web_receipt, test_web_storm",
    27: "test_web_api, test_report",
}
"""Row of the list of faults -> the tests that hold it."""


def all_of_them() -> list[Bad]:
    """The table, in a fixed order; names are unique."""
    table = [*_disguises(), *_documents(), *_names(), *_bombs(), *_lies(), *_streams(), *_times(), *_pictures()]
    table += [*_sizes(), *_nothing(), *_cuts(), *_damage(), *_people(), *_stills()]
    assert len({bad.name for bad in table}) == len(table), "names must be unique"
    return table


def _disguises() -> Iterator[Bad]:
    """Row 1. Port 9 discards; the tests of isolation listen and trace."""
    for name, content in {**make_videos.disguises(Path("neighbour.mp4"), 9), **raw.playlists()}.items():
        yield Bad(1, f"{name}.mp4", "unsupported_container", _writes(content))
    for suffix in ("mkv", "jpg", "ts", "webm"):
        yield Bad(1, f"hls_as.{suffix}", "unsupported_container", _writes(b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n"))
    yield Bad(1, "png_as.mp4", "verdict", lambda path: make_videos.write_picture(path, format="PNG"))
    yield Bad(1, "jpeg_as.mkv", "verdict", lambda path: make_videos.write_picture(path, format="JPEG"))
    yield Bad(1, "mp4_as.jpg", "verdict", _writes_face())


def _documents() -> Iterator[Bad]:
    """Row 1: other things under a video's name."""
    for name, content in raw.documents().items():
        yield Bad(1, f"{name}.mp4", "unsupported_container", _writes(content))
    yield Bad(1, "heic.jpg", "unsupported_codec", _writes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(2000)))


def _names() -> Iterator[Bad]:
    """Row 2."""
    odd = ["http:..", "concat:a.mp4|b.mp4", "file:clip.mp4", "pipe:0", "data:video,x", "secret%03d.png", "-i.mp4"]
    odd += ["--help", "$(id).mp4", "`id`.mp4", "a b  c.mp4", "<script>alert(1)<.mp4", "=1+1.mp4", "quote'\".mp4"]
    odd += [
        "影片.mp4",
        "🎬👩‍🚀.mp4",
        os.fsdecode(b"\xff\xfe.mp4"),
        "n" * 200 + ".mp4",
        "no_suffix",
        "clip.m3u8",
        "-.mp4",
    ]
    odd += ["clip.mp4\u202egpj.exe", "~", "CON.mp4", "{}.mp4", "%00.mp4", ";ls;.mp4"]
    for name in odd:
        yield Bad(2, name, "verdict", _writes_face())


def _bombs() -> Iterator[Bad]:
    """Row 3: a small file that says it is huge. None is decoded."""
    for name, content in raw.huge_pictures().items():
        yield Bad(3, f"huge_{name}", "too_many_pixels", _writes(content))
    yield Bad(3, "huge.h264", "too_many_pixels", _writes(raw.HUGE_H264))


def _lies() -> Iterator[Bad]:
    """Row 5: counts and durations that are not so. What is there is read, or the index is refused."""
    ends_in = {b"stts": "out_of_memory", b"stsz": "corrupt_file", b"stco": "verdict", b"stsc": "corrupt_file"}
    for box, expected in ends_in.items():
        for value in (0x7FFFFFFF, 0xFFFFFFFF):
            yield Bad(5, f"{box.decode()}_{value:x}.mp4", expected, _lying(box, value))
    for box in (b"mvhd", b"mdhd"):
        yield Bad(5, f"{box.decode()}_forever.mp4", "verdict", _lying(box, 0x7FFFFFFF))
    for box in (b"tkhd", b"stss", b"hdlr"):
        yield Bad(5, f"{box.decode()}_gone.mp4", "verdict", _without(box))


def _streams() -> Iterator[Bad]:
    """Row 6."""
    tiny = [(16, 16)]
    yield Bad(
        6, "streams_65.mkv", "too_many_streams", lambda path: make_videos.several_streams(path, tiny * 65, seconds=0.04)
    )
    yield Bad(
        6,
        "streams_300.mkv",
        "too_many_streams",
        lambda path: make_videos.several_streams(path, tiny * 300, seconds=0.04),
    )
    two = [(64, 48), make_videos.SIZE]
    yield Bad(
        6,
        "two_videos.mkv",
        "verdict",
        lambda path: make_videos.several_streams(path, two, seconds=0.4),
        (Code.SEVERAL_VIDEO_STREAMS,),
    )
    yield Bad(6, "cover.m4a", "no_video_stream", lambda path: make_videos.audio_only(path, seconds=0.2, cover=True))


def _times() -> Iterator[Bad]:
    """Rows 8 to 10."""
    yield Bad(
        8,
        "no_times.h264",
        "verdict",
        lambda path: make_videos.raw_h264(path, seconds=0.5),
        (Code.TIMESTAMPS_SYNTHETIC,),
    )
    yield Bad(8, "film_of_jpegs.jpg", "verdict", _film_of_jpegs, (Code.TIMESTAMPS_SYNTHETIC,))
    yield Bad(9, "late.mkv", "verdict", _clip(pts=[100_000 + i for i in range(10)]))
    yield Bad(9, "wrapped.ts", "no_face", raw.begins_again, (Code.TIMESTAMPS_REPAIRED,))
    yield Bad(9, "negative.mkv", "verdict", _clip(pts=[i - 20 for i in range(10)]))
    yield Bad(10, "uneven.mp4", "verdict", _clip(pts=[0, 1, 2, 40, 41, 43, 90, 91, 130, 200]))
    yield Bad(10, "one_frame_an_hour.mkv", "verdict", _clip(pts=[i * 25 * 3600 for i in range(10)]))


def _pictures() -> Iterator[Bad]:
    """Rows 11, 12 and 14."""
    for degrees in (0, 90, 180, 270):
        yield Bad(11, f"turned_{degrees}.mp4", "verdict", _turned(degrees))
    hdr = {"color_trc": 16, "color_primaries": 9, "colorspace": 9}
    ten = {"codec": "libx265", "pix_fmt": "yuv420p10le"}
    yield Bad(12, "hdr.mp4", "answered", _clip(**ten, colour=hdr), (Code.HDR_TONE_MAPPED,))
    yield Bad(12, "ten_bit.mp4", "verdict", _clip(**ten))
    yield Bad(12, "full_range.mp4", "verdict", _clip(pix_fmt="yuvj420p"))
    yield Bad(12, "yuv444.mp4", "verdict", _clip(pix_fmt="yuv444p"))
    yield Bad(12, "grey.mkv", "verdict", _clip(codec="ffv1", pix_fmt="gray"))
    yield Bad(12, "sixteen_bit.mkv", "verdict", _clip(codec="ffv1", pix_fmt="yuv420p16le"))
    yield Bad(12, "alpha.mov", "verdict", raw.translucent, (Code.ALPHA_COMPOSITED,))
    yield Bad(
        12, "interlaced.mp4", "verdict", lambda path: make_videos.interlaced_clip(path, seconds=0.4), (Code.INTERLACED,)
    )
    yield Bad(14, "two_sizes.h264", "no_face", make_videos.size_change_clip, (Code.GEOMETRY_CHANGED,))


def _sizes() -> Iterator[Bad]:
    """Row 13. Nobody fits into them."""
    for width, height in ((1, 1), (17, 33), (4096, 1), (2, 2), (15, 15)):
        yield Bad(13, f"tiny_{width}x{height}.mkv", "no_face", _empty((width, height), codec="ffv1", pix_fmt="bgr0"))
    for width, height in ((16, 16), (4096, 16), (18, 34)):
        yield Bad(13, f"small_{width}x{height}.mp4", "no_face", _empty((width, height)))
    for format in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        yield Bad(13, f"pixel_{format.lower()}", "no_face", _pixel(format))


def _nothing() -> Iterator[Bad]:
    """Rows 7 and 15."""
    yield Bad(15, "empty.mp4", "file_empty", _writes(b""))
    yield Bad(15, "zeros.mp4", "corrupt_file", _writes(bytes(100_000)))
    yield Bad(15, "one_byte.mp4", "unsupported_container", _writes(b"x"))
    yield Bad(15, "one_zero.mp4", "corrupt_file", _writes(b"\0"))
    for seed in range(3):
        yield Bad(15, f"junk_{seed}.mp4", "unsupported_container", _writes(raw.junk(seed)))
    yield Bad(15, "only_ftyp.mp4", "corrupt_file", lambda path: path.write_bytes(raw.only(_face(), b"ftyp")))
    yield Bad(15, "only_magic.mkv", "corrupt_file", _writes(b"\x1a\x45\xdf\xa3"))
    yield Bad(15, "no_moov.mp4", "corrupt_file", lambda path: path.write_bytes(raw.without_box(_face(), b"moov")))
    yield Bad(15, "no_mdat.mp4", "no_frames", lambda path: path.write_bytes(raw.without_box(_face(), b"mdat")))
    yield Bad(15, "overwritten.mp4", "no_frames", lambda path: path.write_bytes(raw.overwritten(_face())))
    yield Bad(15, "no_samples.mp4", "no_frames", raw.fragmented_header)
    yield Bad(15, "sound.mp4", "no_video_stream", lambda path: make_videos.audio_only(path, seconds=0.2))
    yield Bad(15, "subtitles.srt", "unsupported_container", _writes(b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"))
    yield Bad(15, "folder.mp4", "not_a_file", lambda path: path.mkdir(), is_file=False)
    yield Bad(15, "missing.mp4", "file_missing", lambda _path: None, is_file=False)
    yield Bad(15, "dangling.mp4", "file_missing", lambda path: path.symlink_to("nothing"), is_file=False)
    yield Bad(15, "circle.mp4", "file_unreadable", lambda path: path.symlink_to(path.name), is_file=False)
    yield Bad(7, "pipe.mp4", "not_a_file", lambda path: os.mkfifo(path), is_file=False)
    yield Bad(7, "socket.mp4", "not_a_file", _socket, is_file=False)
    yield Bad(7, "endless.mp4", "not_a_file", lambda path: path.symlink_to("/dev/zero"), is_file=False)
    yield Bad(7, "random.mp4", "not_a_file", lambda path: path.symlink_to("/dev/urandom"), is_file=False)


def _cuts() -> Iterator[Bad]:
    """Row 16. What was there before the cut is judged; an index at the end of the file is lost with it."""
    for suffix in ("mkv", "avi", "ts", "mpg", "flv"):
        left = "no_face" if suffix in ("avi", "flv") else "verdict"  # two faces are too few
        yield Bad(16, f"cut_50.{suffix}", left, _cut(suffix, 0.5))
        yield Bad(16, f"cut_90.{suffix}", "verdict", _cut(suffix, 0.9))
    for percent in (50, 90):
        yield Bad(16, f"cut_{percent}.mp4", "corrupt_file", _cut("mp4", percent / 100))
        yield Bad(16, f"cut_{percent}_fast.mp4", "verdict", _cut("fast", percent / 100), (Code.PARTIAL,))
    yield Bad(16, "cut_1.mkv", "no_frames", _cut("mkv", 0.01))


def _damage() -> Iterator[Bad]:
    """Row 17, by hand; seeded damage is `fuzz.py`'s."""
    yield Bad(17, "turned_bytes.mkv", "corrupt_file", _turned_bytes)  # the one key frame is among the damaged
    yield Bad(17, "mp4_then_junk.mp4", "verdict", lambda path: path.write_bytes(_face() + raw.junk(9)))
    yield Bad(17, "junk_then_mp4.mp4", "unsupported_container", lambda path: path.write_bytes(raw.junk(9) + _face()))
    yield Bad(17, "mp4_twice.mp4", "verdict", lambda path: path.write_bytes(_face() * 2))
    yield Bad(17, "box_in_itself.mp4", "corrupt_file", _writes(raw.nested_boxes(1000)))
    yield Bad(17, "box_of_size_0.mp4", "corrupt_file", _writes(b"\0\0\0\x08ftyp\0\0\0\0moov" + bytes(64)))
    yield Bad(17, "ebml_size_unknown.mkv", "corrupt_file", _writes(b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 600))
    yield Bad(17, "reference_elsewhere.mp4", "no_frames", lambda path: path.write_bytes(raw.elsewhere(_face())))


def _people() -> Iterator[Bad]:
    """Row 18."""
    yield Bad(18, "nobody.mp4", "no_face", _empty((320, 240)))
    yield Bad(18, "comes_and_goes.mp4", "verdict", raw.comes_and_goes)
    yield Bad(18, "two_people.mp4", "verdict", lambda path: make_videos.two_face_clip(path, seconds=0.4))
    yield Bad(18, "thirty_people.jpg", "verdict", raw.thirty_people)
    for colour in (0, 255):
        yield Bad(18, f"all_{colour}.png", "no_face", _plain(colour))


def _stills() -> Iterator[Bad]:
    """Rows 12 and 17, for pictures."""
    for format in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        yield Bad(16, f"half_{format.lower()}.png", "corrupt_file", _half_picture(format))
        told = "unsupported_container" if format == "BMP" else "corrupt_file"  # "BM" alone could be anything
        yield Bad(16, f"head_{format.lower()}.png", told, _head_of_picture(format))
    for orientation in (3, 6, 8):
        yield Bad(11, f"exif_{orientation}.jpg", "verdict", raw.oriented(orientation))
    for mode in ("L", "LA", "P", "RGBA", "I;16", "1"):
        yield Bad(12, f"mode_{mode.replace(';', '_')}.png", "verdict" if mode != "1" else "answered", raw.in_mode(mode))
    yield Bad(12, "film_behind.jpg", "verdict", lambda path: path.write_bytes(raw.picture("JPEG") + _face()))
    yield Bad(12, "cmyk.jpg", "verdict", raw.in_mode("CMYK"))
    yield Bad(12, "animated.gif", "answered", lambda path: make_videos.animated_gif(path, n=3))
    yield Bad(17, "png_bad_crc.png", "corrupt_file", lambda path: path.write_bytes(raw.bad_crc()))
    yield Bad(17, "png_text_bomb.png", "answered", lambda path: path.write_bytes(raw.text_bomb()))
    yield Bad(17, "jpeg_scans.jpg", "corrupt_file", _writes(b"\xff\xd8" + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" * 3000))


@cache
def _bytes_of(kind: str) -> bytes:
    """A small clip of the moving face: ten frames in 0.4 s, of which a model is shown some."""
    suffix = "mp4" if kind == "fast" else kind
    codec = {"avi": "mpeg4", "flv": "flv", "mpg": "mpeg2video"}.get(kind, "libx264")
    options = {"movflags": "faststart"} if kind == "fast" else None
    fps = 25
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"clip.{suffix}"
        keys = {"g": "2"} if codec != "libx264" else {"g": "2", "bf": "0"}
        make_videos.face_clip(path, seconds=0.4, fps=fps, codec=codec, container_options=options, options=keys)
        return path.read_bytes()


def _face() -> bytes:
    return _bytes_of("mp4")


def _writes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def _writes_face() -> Make:
    return lambda path: path.write_bytes(_face())


def _clip(**options: object) -> Make:
    def make(path: Path) -> None:
        make_videos.write_video(path, make_videos.face_frames(10), **options)  # type: ignore[arg-type]

    return make


def _empty(size: tuple[int, int], **options: object) -> Make:
    def make(path: Path) -> None:
        make_videos.write_video(path, make_videos.empty_frames(5, size), **options)  # type: ignore[arg-type]

    return make


def _film_of_jpegs(path: Path) -> None:
    make_videos.face_clip(path, seconds=0.4, codec="mjpeg", pix_fmt="yuvj420p", format="mjpeg")


def _turned_bytes(path: Path) -> None:
    path.write_bytes(raw.turned(_bytes_of("mkv"), every=4001))


def _turned(degrees: int) -> Make:
    return lambda path: make_videos.rotated_clip(path, degrees, seconds=0.4)


def _lying(box: bytes, value: int) -> Make:
    return lambda path: path.write_bytes(raw.lying(_face(), box, value))


def _without(box: bytes) -> Make:
    return lambda path: path.write_bytes(_face().replace(box, b"free", 1))


def _cut(kind: str, fraction: float) -> Make:
    def make(path: Path) -> None:
        data = _bytes_of(kind)
        path.write_bytes(data[: max(1, int(len(data) * fraction))])

    return make


def _pixel(format: str) -> Make:
    return lambda path: make_videos.write_picture(path, make_videos.background((1, 1)), format=format)


def _plain(colour: int) -> Make:
    return lambda path: make_videos.write_picture(path, make_videos.background((200, 200)) * 0 + colour, format="PNG")


def _half_picture(format: str) -> Make:
    return lambda path: path.write_bytes(raw.picture(format)[: len(raw.picture(format)) // 2])


def _head_of_picture(format: str) -> Make:
    return lambda path: path.write_bytes(raw.picture(format)[:16])


def _socket(path: Path) -> None:
    """Bound from inside its folder: a socket's path has 108 bytes at most."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.chdir(before)


def write_all(folder: Path) -> dict[str, Path]:
    """Every input into `folder`; name -> path."""
    found = {}
    for bad in all_of_them():
        found[bad.name] = folder / bad.name
        bad.make(folder / bad.name)
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    sys.stdout.write(f"{len(write_all(target))} bad inputs in {target}\n")
