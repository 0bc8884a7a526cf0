"""The bytes of bad inputs: playlists, documents, boxes that lie, pictures that claim to be huge. For `make_hostile`."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

import make_videos

ADDRESS = "http://127.0.0.1:9/x.mp4"
HUGE_H264 = (
    bytes.fromhex("000000016764103ef2e0075400eab42000000300200000030040800000000168ce0fc8000000016588843a2450001255")
    + bytes.fromhex("93264c99") * 500
)
"""Parameters that x264 wrote for a grey frame of 15,008 x 15,008, and the beginning of that frame."""


def playlists() -> dict[str, bytes]:
    """More lists of other files than `make_videos.disguises` has."""
    texts = {
        "hls_after_blanks": f"\n\n  #EXTM3U\n{ADDRESS}\n",
        "hls_lower_case": f"#extm3u\n{ADDRESS}\n",
        "hls_key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"\n#EXTINF:5,\n{ADDRESS}\n',
        "hls_map": '#EXTM3U\n#EXT-X-MAP:URI="/etc/hostname"\n#EXTINF:5,\nconcat:/etc/hostname\n',
        "ffconcat_crlf": "ffconcat version 1.0\r\nfile /etc/hostname\r\n",
        "ffmetadata": ";FFMETADATA1\ntitle=x\n",
        "smil": f'<smil><body><video src="{ADDRESS}"/></body></smil>',
        "xspf": f'<?xml version="1.0"?><playlist version="1"><location>{ADDRESS}</location></playlist>',
        "asf_reference": f"[Reference]\r\nRef1={ADDRESS}\r\n",
        "pls_lower_case": f"[playlist]\nfile1={ADDRESS}\n",
        "dash_bare": f"<MPD><Period><BaseURL>{ADDRESS}</BaseURL></Period></MPD>",
        "smooth_streaming": f'<?xml version="1.0"?><SmoothStreamingMedia Url="{ADDRESS}"/>',
        "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>',
        "rtsp_text": "RTSPtextrtsp://127.0.0.1:9/x\n",
        "avisynth": 'AVISource("neighbour.mp4")\n',
        "vapoursynth": "import vapoursynth\n",
        "edl": "TITLE: x\n001 AX V C 00:00:00:00\n",
        "lavfi": "movie=neighbour.mp4\n",
        "subfile": "subfile,,start,0,end,100,,:neighbour.mp4\n",
        "tee": "tee:neighbour.mp4\n",
    }
    found = {name: text.encode() for name, text in texts.items()}
    return found | {"hls_utf16": f"#EXTM3U\n{ADDRESS}\n".encode("utf-16")}


def documents() -> dict[str, bytes]:
    """What people send instead of a video."""
    return {
        "pdf": b"%PDF-1.7\n" + bytes(500),
        "zip": b"PK\x03\x04" + bytes(500),
        "gzip": b"\x1f\x8b\x08" + bytes(500),
        "rar": b"Rar!\x1a\x07\x00" + bytes(500),
        "seven_zip": b"7z\xbc\xaf\x27\x1c" + bytes(500),
        "tiff": b"II*\0" + bytes(500),
        "photoshop": b"8BPS\0\x01" + bytes(500),
        "jpeg_xl": b"\xff\x0a" + bytes(500),
        "jpeg_2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500),
        "program": b"\x7fELF\x02\x01\x01" + bytes(500),
        "windows_program": b"MZ" + bytes(58) + b"\x80\0\0\0" + bytes(500),
        "script": b"#!/bin/sh\nid > /tmp/telltale-was-here\n",
        "pickle": b"\x80\x04cposix\nsystem\nX\x02\0\0\0id\x85R.",
        "json": b'{"video": "http://127.0.0.1:9/x.mp4"}',
        "eicar_like": b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + bytes(40),
    }


def huge_pictures() -> dict[str, bytes]:
    """Headers of 225 million pixels and more, with next to nothing behind them."""
    side = 15_000
    chunk = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = zlib.compress(bytes(1000))
    idat = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    bmp = (
        b"BM"
        + struct.pack("<IHHI", 60, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    gif = (
        b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0xF0, 0, 0)
        + bytes(6)
        + b"\x2c"
        + struct.pack("<HHHHB", 0, 0, side, side, 0)
    )
    jpeg = bytearray(picture("JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", side, side)
    return {
        "png.png": png + idat,
        "bmp.bmp": bmp + bytes(6),
        "gif.gif": gif + b"\x02\x02\x4c\x01\0\x3b",
        "jpeg.jpg": bytes(jpeg),
        "png_as.mp4": png + idat,
    }


def junk(seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(20_000)


def only(mp4: bytes, kind: bytes) -> bytes:
    return b"".join(mp4[a:b] for found, a, b in make_videos.boxes(mp4) if found == kind)


def without_box(mp4: bytes, kind: bytes) -> bytes:
    return b"".join(mp4[a:b] for found, a, b in make_videos.boxes(mp4) if found != kind)


def overwritten(mp4: bytes) -> bytes:
    """The index is whole; the pictures are not there any more."""
    data = bytearray(mp4)
    for kind, start, end in make_videos.boxes(mp4):
        if kind == b"mdat":
            data[start + 8 : end] = b"\x55" * (end - start - 8)
    return bytes(data)


def lying(mp4: bytes, box: bytes, value: int) -> bytes:
    """The count, or the duration, of the first such box set to `value`."""
    data = bytearray(mp4)
    at = data.index(box) + {b"stsz": 12, b"mvhd": 20, b"mdhd": 20}.get(box, 8)
    data[at : at + 4] = value.to_bytes(4, "big")
    return bytes(data)


def elsewhere(mp4: bytes) -> bytes:
    """Says that its pictures lie in another file."""
    data = bytearray(without_box(mp4, b"mdat"))
    data[data.index(b"url \0\0\0\x01") + 7] = 0
    return bytes(data)


def nested_boxes(depth: int) -> bytes:
    """Boxes in boxes in boxes, for parsers that call themselves."""
    data = b""
    for _ in range(depth):
        data = struct.pack(">I", len(data) + 8) + b"moov" + data
    return b"\0\0\0\x10ftypisom\0\0\0\0" + data


def turned(data: bytes, *, every: int = 997) -> bytes:
    """One byte in `every` turned over, the first tenth spared."""
    found = bytearray(data)
    for at in range(len(found) // 10, len(found), every):
        found[at] ^= 0xFF
    return bytes(found)


def begins_again(path: Path) -> None:
    """A transport stream whose clock begins again, as of two recordings in one file."""
    make_videos.empty_clip(path, seconds=4, size=(96, 64))
    path.write_bytes(path.read_bytes() * 2)


def fragmented_header(path: Path) -> None:
    make_videos.face_clip(path, seconds=0.2, container_options={"movflags": "frag_keyframe+empty_moov"})
    data = path.read_bytes()
    path.write_bytes(only(data, b"ftyp") + only(data, b"moov"))


def translucent(path: Path) -> None:
    frames = [np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]) for rgb in make_videos.face_frames(8)]
    for frame in frames:
        frame[:, :40, 3] = 0
    make_videos.write_video(path, frames, codec="qtrle", pix_fmt="argb")


def comes_and_goes(path: Path) -> None:
    shown = [i for i in range(30) if not 10 <= i < 18]
    make_videos.write_video(path, make_videos.face_frames(30, with_face=shown))


def thirty_people(path: Path) -> None:
    canvas = make_videos.background((6 * 300, 5 * 300))
    for i in range(30):
        make_videos.paste_portrait(canvas, i % 6 * 300, i // 6 * 300, 290, mirrored=bool(i % 2))
    make_videos.write_picture(path, canvas, format="JPEG")


@cache
def picture(format: str) -> bytes:
    with io.BytesIO() as memory:
        Image.fromarray(make_videos.portrait()).save(memory, format=format)
        return memory.getvalue()


def oriented(orientation: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        turn = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(cv2.rotate(make_videos.portrait(), turn)).save(path, format="JPEG", exif=exif)

    return make


def in_mode(mode: str) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        image = Image.fromarray(make_videos.portrait())
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
        elif mode == "LA":
            image = image.convert("L").convert("LA")
        else:
            image = image.convert(mode)
        image.save(path, format="JPEG" if mode == "CMYK" else "PNG")

    return make


def bad_crc() -> bytes:
    data = bytearray(picture("PNG"))
    data[data.index(b"IDAT") + 100] ^= 0xFF
    return bytes(data)


def text_bomb() -> bytes:
    """A small PNG with 200 compressed comments of a megabyte each."""
    about = PngImagePlugin.PngInfo()
    for i in range(60):
        about.add_text(f"k{i}", "x" * 1_000_000, zip=True)
    with io.BytesIO() as memory:
        Image.fromarray(make_videos.shrunk(64)).save(memory, format="PNG", pnginfo=about)
        return memory.getvalue()
