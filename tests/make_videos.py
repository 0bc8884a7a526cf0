"""Every kind of video and picture that the tests read, made on the spot with PyAV and scikit-image's portrait.

    python tests/make_videos.py FOLDER      writes one of each, to be looked at

The face is `skimage.data.astronaut()` (NASA, public domain). Frames are RGB uint8 (H, W, 3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from telltale.types import RgbImage

SIZE = (480, 360)
"""(width, height) of most clips: the face in them is some 90 px wide."""
FACE_IN_PORTRAIT = (170, 60, 275, 190)
"""x0, y0, x1, y1 of the face in the 512 x 512 portrait."""


@cache
def portrait() -> RgbImage:
    """The astronaut, 512 x 512."""
    from skimage import data

    return cast(RgbImage, data.astronaut())  # type: ignore[no-untyped-call]


@cache
def shrunk(side: int) -> RgbImage:
    """The portrait, `side` pixels square; not to be written to."""
    return cast(RgbImage, cv2.resize(portrait(), (side, side), interpolation=cv2.INTER_AREA))


def background(size: tuple[int, int] = SIZE, shift: int = 0) -> RgbImage:
    """A slow gradient with a texture that moves by `shift` pixels; no face in it."""
    panorama = _panorama(size)
    shift %= panorama.shape[1] - size[0] + 1
    return panorama[:, shift : shift + size[0]].copy()


@cache
def _panorama(size: tuple[int, int]) -> RgbImage:
    width, height = size
    x, y = np.meshgrid(np.arange(width + 600, dtype=np.float32), np.arange(height, dtype=np.float32))
    waves = 12 * np.sin(x / 23) * np.cos(y / 31)
    across = 60 * np.cos(x / max(width, 100) * 2)
    planes = [150 + across + waves, 110 + 40 * y / height - waves, 140 - 50 * y / height + waves]
    return cast(RgbImage, np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8))


def paste_portrait(canvas: RgbImage, x: int, y: int, side: int, *, mirrored: bool = False) -> None:
    """The portrait, `side` pixels square, with its corner at x, y; what lies outside the canvas is cut."""
    small = shrunk(side)
    if mirrored:
        small = small[:, ::-1]
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    if x1 > x0 and y1 > y0:
        canvas[y0:y1, x0:x1] = small[y0 - y : y1 - y, x0 - x : x1 - x]


def face_frames(n: int, size: tuple[int, int] = SIZE, *, with_face: Iterable[int] | None = None) -> Iterator[RgbImage]:
    """One face that drifts to the right. `with_face`: the frames that have it, if not all."""
    shown = None if with_face is None else set(with_face)
    side = int(0.95 * min(size))
    for i in range(n):
        frame = background(size, i)
        if shown is None or i in shown:
            paste_portrait(frame, int((size[0] - side) * i / max(1, n - 1)), size[1] - side, side)
        yield frame


def two_face_frames(n: int, size: tuple[int, int] = (720, 360)) -> Iterator[RgbImage]:
    """Two faces side by side, each swaying a little, never touching."""
    side = min(size[0] // 2 - 20, size[1])
    for i in range(n):
        frame = background(size, i)
        sway = int(8 * np.sin(i / 5))
        paste_portrait(frame, 10 + sway, size[1] - side, side)
        paste_portrait(frame, size[0] - side - 10 - sway, size[1] - side, side, mirrored=True)
        yield frame


def empty_frames(n: int, size: tuple[int, int] = SIZE) -> Iterator[RgbImage]:
    """No face at all."""
    return (background(size, 3 * i) for i in range(n))


def write_video(
    path: Path,
    frames: Iterable[RgbImage],
    *,
    fps: int = 25,
    pts: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation_deg: int = 0,
    mirrored: bool = False,
    format: str | None = None,
    options: dict[str, str] | None = None,
    colour: dict[str, int] | None = None,
    matrix: str | None = None,
    pixel_aspect: Fraction | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode frames. `pts`: a time for each in 1 / fps s, where they are not evenly spaced. `rotation_deg`:
    a clockwise turn that the file asks players for. `colour`: attributes of the codec context. `matrix`: how
    RGB becomes YUV. `pixel_aspect`: width of a pixel by its height that the file states; the frames are as stored."""
    with av.open(str(path), "w", format=format, options=container_options) as out:
        stream: VideoStream | None = None
        for i, rgb in enumerate(frames):
            if stream is None:
                stream = cast(VideoStream, out.add_stream(codec, rate=fps, options={**_fast(codec), **(options or {})}))
                stream.width, stream.height, stream.pix_fmt = rgb.shape[1], rgb.shape[0], pix_fmt
                stream.codec_context.time_base = Fraction(1, fps)
                if pixel_aspect is not None:
                    stream.codec_context.sample_aspect_ratio = pixel_aspect
                for name, value in (colour or {}).items():
                    setattr(stream.codec_context, name, value)
                if rotation_deg or mirrored:
                    stream.set_display_rotation(-rotation_deg, hflip=mirrored)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgba" if rgb.shape[2] == 4 else "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix)
            frame.pts = i if pts is None else pts[i]
            frame.time_base = Fraction(1, fps)
            out.mux(stream.encode(frame))
        if stream is not None:
            out.mux(stream.encode(None))
    return path


def _fast(codec: str) -> dict[str, str]:
    if codec == "libx264":
        return {"preset": "veryfast", "crf": "20", "threads": "1"}
    if codec == "libx265":
        return {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}
    return {}


def face_clip(path: Path, *, seconds: float = 2, fps: int = 25, size: tuple[int, int] = SIZE, **kwargs: Any) -> Path:
    """One moving face; keyword arguments go to `write_video`."""
    return write_video(path, face_frames(round(seconds * fps), size), fps=fps, **kwargs)


def two_face_clip(path: Path, *, seconds: float = 2, fps: int = 25, **kwargs: Any) -> Path:
    """Two people at once."""
    return write_video(path, two_face_frames(round(seconds * fps)), fps=fps, **kwargs)


def empty_clip(path: Path, *, seconds: float = 2, fps: int = 25, size: tuple[int, int] = SIZE, **kwargs: Any) -> Path:
    """Nobody in it."""
    return write_video(path, empty_frames(round(seconds * fps), size), fps=fps, **kwargs)


def rotated_clip(path: Path, clockwise_deg: int, *, seconds: float = 1, mirrored: bool = False) -> Path:
    """A face clip stored turned, with the display matrix that turns it upright again."""
    flipped = (rgb[:, ::-1] if mirrored else rgb for rgb in face_frames(round(seconds * 25)))
    stored = (np.ascontiguousarray(np.rot90(rgb, clockwise_deg // 90)) for rgb in flipped)
    return write_video(path, stored, rotation_deg=clockwise_deg, mirrored=mirrored)


def vfr_clip(path: Path) -> tuple[Path, list[float]]:
    """Frames at uneven times, as phones write them, and these times in seconds."""
    steps = [1, 1, 5, 1, 2, 30, 1, 1, 1, 7, 2, 2, 12, 1, 1, 60, 1, 3, 3, 1]
    pts = np.concatenate([[0], np.cumsum(steps * 3)]).tolist()
    write_video(path, face_frames(len(pts)), fps=30, pts=pts)
    return path, [p / 30 for p in pts]


def raw_h264(path: Path, *, seconds: float = 1) -> Path:
    """A bare H.264 stream: no container, so no times."""
    return face_clip(path, seconds=seconds, format="h264")


def interlaced_clip(path: Path, *, seconds: float = 1, **kwargs: Any) -> Path:
    """Two moments woven into each frame, as television cameras did: even lines early, odd lines late."""
    moments = list(face_frames(2 * round(seconds * 25)))
    woven = []
    for early, late in zip(moments[::2], moments[1::2], strict=True):
        frame = early.copy()
        frame[1::2] = np.roll(late, 12, axis=1)[1::2]
        woven.append(frame)
    options = {"preset": "veryfast", "crf": "16", "x264-params": "tff=1"}
    return write_video(path, woven, options=options, **kwargs)


def size_change_clip(path: Path) -> Path:
    """Two H.264 streams of different size, one after the other: 480 x 360, then 640 x 360."""
    parts = []
    for name, size in (("a", SIZE), ("b", (640, 360))):
        part = face_clip(path.with_suffix(f".{name}.h264"), seconds=1, size=size, format="h264")
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))
    return path


def audio_only(path: Path, *, seconds: float = 1, cover: bool = False) -> Path:
    """A tone, as a phone's voice memo; with `cover`, an album picture in the file (M4A)."""
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        picture = out.add_stream("mjpeg") if cover else None
        tone = np.float32(0.3) * np.sin(np.arange(int(44100 * seconds), dtype=np.float32) * np.float32(0.0627))
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 256, 256, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            out.mux(picture.encode(av.VideoFrame.from_ndarray(shrunk(256)).reformat(format="yuvj420p")))
            out.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def longer_sound(path: Path, *, seconds: float = 2, sound_s: float = 5) -> Path:
    """A picture that ends before its sound does."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options=_fast("libx264"))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        voice = out.add_stream("aac", rate=44100, layout="mono")
        for i, rgb in enumerate(face_frames(round(25 * seconds))):
            frame = av.VideoFrame.from_ndarray(rgb)
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        tone = av.AudioFrame.from_ndarray(
            np.zeros((1, round(44100 * sound_s)), np.float32), format="fltp", layout="mono"
        )
        tone.sample_rate, tone.pts = 44100, 0
        out.mux(voice.encode(tone))
        out.mux(voice.encode(None))
    return path


def several_streams(
    path: Path,
    sizes: Sequence[tuple[int, int]],
    *,
    seconds: float = 1,
    rates: Sequence[int] | None = None,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """One video stream for each size, all with a face (Matroska), at 25 frames a second or at `rates`."""
    rates = rates or [25] * len(sizes)
    with av.open(str(path), "w", format="matroska") as out:
        streams = []
        for (width, height), rate in zip(sizes, rates, strict=True):
            stream = out.add_stream("mpeg4", rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            if pixel_aspect is not None:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            streams.append(stream)
        films = [list(face_frames(round(rate * seconds), size)) for size, rate in zip(sizes, rates, strict=True)]
        shown = [(i / rate, number, i) for number, rate in enumerate(rates) for i in range(len(films[number]))]
        for _, number, i in sorted(shown):
            frame = av.VideoFrame.from_ndarray(films[number][i])
            frame.pts = i
            out.mux(streams[number].encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


def cut(source: Path, path: Path, fraction: float) -> Path:
    """The first part of a file, as an interrupted download leaves it."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The top-level boxes of an MP4: (type, start, end)."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, at, at + size
        at += max(size, 8)


def without_moov(source: Path, path: Path) -> Path:
    """An MP4 whose index is gone: a recording whose power failed."""
    data = source.read_bytes()
    path.write_bytes(b"".join(data[a:b] for kind, a, b in boxes(data) if kind != b"moov"))
    return path


def damaged(source: Path, path: Path, *, every: int = 997, start: float = 0.1, stop: float = 0.9) -> Path:
    """The same file with one byte in `every` turned over between two fractions of it."""
    data = bytearray(source.read_bytes())
    for at in range(int(len(data) * start), int(len(data) * stop), every):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


def damage_frame(source: Path, path: Path, n: int) -> Path:
    """The same file with the packet of the n-th frame, in decoding order, made unreadable."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packet = next(packet for i, packet in enumerate(container.demux(video=0)) if i == n)
        start, size = packet.pos or 0, packet.size
    for at in range(start + 6, start + size):
        data[at] ^= 0xA5
    path.write_bytes(bytes(data))
    return path


def disguises(neighbour: Path, port: int) -> dict[str, bytes]:
    """Playlists and documents that would make a careless reader open `neighbour` or connect to `port`."""
    address = f"http://127.0.0.1:{port}/x.mp4"
    dash = f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{address}</BaseURL></MPD>'
    session = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    texts = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXTINF:5,\n{neighbour}\n#EXT-X-ENDLIST\n",
        "hls_after_bom": f"\ufeff#EXTM3U\n#EXTINF:5,\n{address}\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{neighbour.name}'\n",
        "concat_bare": f"file '{neighbour}'\n",
        "sdp": f"{session}a=rtpmap:96 H264/90000\n",
        "asx": f'<asx version="3.0"><entry><ref href="{address}"/></entry></asx>',
        "html": f'<!DOCTYPE html><html><body><video src="{address}"></video></body></html>',
        "dash": f'<?xml version="1.0"?>{dash}',
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/></svg>',
        "pls": f"[playlist]\nFile1={address}\nNumberOfEntries=1\n",
        "ram": f"{address}\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def write_picture(path: Path, rgb: RgbImage | None = None, *, format: str, **kwargs: Any) -> Path:
    """A picture in any format under any name; the portrait if none is given."""
    Image.fromarray(portrait() if rgb is None else rgb).save(path, format=format, **kwargs)
    return path


def animated_gif(path: Path, *, n: int = 5, frame_ms: int = 200, size: tuple[int, int] = (240, 180)) -> Path:
    """A face that moves in a GIF."""
    first, *rest = [Image.fromarray(rgb) for rgb in face_frames(n, size)]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=frame_ms, loop=0)
    return path


def main(folder: Path) -> None:
    """One of each."""
    folder.mkdir(parents=True, exist_ok=True)
    face = face_clip(folder / "face.mp4")
    two_face_clip(folder / "two_faces.mp4")
    empty_clip(folder / "nobody.mp4")
    for degrees in (90, 180, 270):
        rotated_clip(folder / f"rotated_{degrees}.mp4", degrees)
    rotated_clip(folder / "mirrored.mp4", 90, mirrored=True)
    vfr_clip(folder / "vfr.mp4")
    raw_h264(folder / "raw.mp4")
    interlaced_clip(folder / "interlaced.mp4")
    size_change_clip(folder / "size_change.mp4")
    audio_only(folder / "sound.m4a")
    audio_only(folder / "sound_with_cover.m4a", cover=True)
    several_streams(folder / "several.mkv", [(160, 120), SIZE])
    cut(face, folder / "cut.mp4", 0.5)
    without_moov(face, folder / "no_moov.mp4")
    damaged(face, folder / "damaged.mp4")
    write_picture(folder / "portrait.jpg", format="JPEG")
    animated_gif(folder / "face.gif")


if __name__ == "__main__":
    import sys

    main(Path(sys.argv[1]))
