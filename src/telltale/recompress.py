"""Frames through a real video codec and back: what a camera, an upload or an old archive did to them.

>>> clip = np.full((3, 64, 64, 3), 128, np.uint8)
>>> recompress(clip, codec="mpeg1video", quality=8).shape
(3, 64, 64, 3)
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from telltale.errors import OutputError
from telltale.types import RgbImage

CODECS = {"mpeg1video": (2, 14), "mpeg2video": (2, 16), "flv": (2, 14), "mpeg4": (2, 14), "libx264": (22, 40)}
"""Encoder -> the range of `quality` that is met with: quantiser of the MPEG family (`flv` is H.263), CRF of H.264.
Higher is worse."""
_DECODERS = {"libx264": "h264"}
_LEAD = 2
"""Frames put before a single picture: what is looked at is then a predicted frame, as most are."""


def recompress(clip: RgbImage, *, codec: str, quality: int) -> RgbImage:
    """uint8 (T, H, W, 3) with even H and W >= 16 -> the same after encoding in 4:2:0 and decoding.

    A single picture is encoded as the last of three, drifting by a pixel. Raises OutputError where this build of
    FFmpeg has no such encoder, or loses frames.
    """
    import av
    import cv2

    n = len(clip)
    frames = clip if n > 1 else np.stack([np.roll(clip[0], shift, 1) for shift in range(-_LEAD, 1)])
    height, width = frames.shape[1:3]
    try:
        encoder: Any = av.CodecContext.create(codec, "w")
        decoder: Any = av.CodecContext.create(_DECODERS.get(codec, codec), "r")
    except (ValueError, av.FFmpegError) as error:
        raise OutputError(f"this build of PyAV has no encoder {codec}: {error}") from error
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.gop_size, encoder.max_b_frames = 12, 0
    encoder.thread_count = decoder.thread_count = 1
    encoder.options = (
        {"preset": "veryfast", "tune": "zerolatency", "crf": str(quality)}
        if codec == "libx264"
        else {"qmin": str(quality), "qmax": str(quality)}
    )
    decoded: list[Any] = []
    for time, rgb in enumerate([*frames, None]):
        picture = None
        if rgb is not None:
            # OpenCV's conversion: libswscale starts threads for each picture
            planes = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
            picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.pts = time
        for packet in encoder.encode(picture):
            decoded += decoder.decode(packet)
    decoded += decoder.decode(None)
    if len(decoded) != len(frames):
        raise OutputError(f"{codec} gave back {len(decoded)} of {len(frames)} frames")
    rgb_of = [cv2.cvtColor(frame.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420) for frame in decoded[-n:]]
    return np.stack(rgb_of).astype(np.uint8, copy=False)


__all__ = ["CODECS", "recompress"]
