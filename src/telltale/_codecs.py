"""Pictures of a clip, or one alone, through a real video encoder and back at a constant quality. Used by `perturb`."""

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
"""Frames before a picture that is alone, each a pixel further: most frames of a video are predicted ones."""


def through(clip: RgbImage, codec: str, crf: int) -> RgbImage:
    """uint8 (T, H, W, 3), in the order of time, after `codec` at `crf`, in 4:2:0. Raises OutputError without that
    encoder."""
    import av

    n, height, width = clip.shape[:3]
    even = np.pad(clip, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    if n == 1:
        even = np.stack([np.roll(even[0], shift, 1) for shift in range(-_LEAD, 1)])
    try:
        encoder: Any = av.CodecContext.create(codec, "w")
        decoder: Any = av.CodecContext.create(_DECODERS[codec], "r")
    except (ValueError, av.FFmpegError) as error:
        raise OutputError(f"this build of PyAV has no encoder {codec}: {error}") from error
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[2], even.shape[1], "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.gop_size, encoder.max_b_frames = 250, 0
    encoder.thread_count = decoder.thread_count = 1
    encoder.options = {**_OPTIONS[codec], "crf": str(crf)}
    decoded: list[Any] = []
    for time, rgb in enumerate(even):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format="yuv420p")
        frame.pts = time
        decoded += [picture for packet in encoder.encode(frame) for picture in decoder.decode(packet)]
    decoded += [picture for packet in encoder.encode(None) for picture in decoder.decode(packet)]
    decoded += decoder.decode(None)
    if len(decoded) != len(even):
        raise OutputError(f"{codec} gave {len(decoded)} of {len(even)} frames back")
    kept = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)[:height, :width] for frame in decoded[-n:]]
    return np.stack(kept)


__all__ = ["through"]
