"""One picture through a real video encoder and back, at a constant quality. Used by `perturb`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from telltale.errors import OutputError
from telltale.types import RgbImage

_OPTIONS = {
    "libx264": {"preset": "veryfast", "tune": "zerolatency"},
    "libx265": {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x265-params": "log-level=none:pools=none:frame-threads=1",
    },
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "b": "0", "row-mt": "0"},
}
_DECODERS = {"libx264": "h264", "libx265": "hevc", "libvpx-vp9": "vp9"}
_LEAD = 2
"""Frames before the one that is kept, each a pixel further: most frames of a video are predicted ones."""


def through(rgb: RgbImage, codec: str, crf: int) -> RgbImage:
    """uint8 (H, W, 3) after `codec` at `crf`, in 4:2:0. Raises OutputError without that encoder."""
    import av

    height, width = rgb.shape[:2]
    even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    try:
        encoder: Any = av.CodecContext.create(codec, "w")
        decoder: Any = av.CodecContext.create(_DECODERS[codec], "r")
    except (ValueError, av.FFmpegError) as error:
        raise OutputError(f"this build of PyAV has no encoder {codec}: {error}") from error
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.gop_size, encoder.max_b_frames = 250, 0
    encoder.thread_count = decoder.thread_count = 1
    encoder.options = {**_OPTIONS[codec], "crf": str(crf)}
    decoded: list[Any] = []
    for time in range(_LEAD + 1):
        frame = av.VideoFrame.from_ndarray(np.roll(even, time - _LEAD, 1), format="rgb24").reformat(format="yuv420p")
        frame.pts = time
        decoded += [picture for packet in encoder.encode(frame) for picture in decoder.decode(packet)]
    decoded += [picture for packet in encoder.encode(None) for picture in decoder.decode(packet)]
    decoded += decoder.decode(None)
    if len(decoded) != _LEAD + 1:
        raise OutputError(f"{codec} gave {len(decoded)} of {_LEAD + 1} frames back")
    return np.asarray(decoded[-1].to_ndarray(format="rgb24"), np.uint8)[:height, :width]


__all__ = ["through"]
