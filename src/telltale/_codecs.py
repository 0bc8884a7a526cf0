"""Pictures of a clip, or one alone, through a real video encoder and back at a constant quality. Used by `perturb`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from telltale.errors import OutputError
from telltale.types import RgbImage

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

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
"""Where the decoder has another name than the encoder."""
_LEAD = 2


def with_lead(clip: RgbImage) -> RgbImage:
    """uint8 (T, H, W, 3) as it is, or a picture that is alone as the last of three, each a pixel further: most frames
    of a video are predicted ones."""
    return clip if len(clip) > 1 else np.stack([np.roll(clip[0], shift, 1) for shift in range(-_LEAD, 1)])


def coded(frames: Sequence[VideoFrame], codec: str, *, options: Mapping[str, str], gop_size: int) -> list[VideoFrame]:
    """Frames in 4:2:0, all of one even size, in the order of time, after `codec` and its decoder. Raises OutputError
    where this build of FFmpeg has no such encoder, or loses frames."""
    import av

    try:
        encoder: Any = av.CodecContext.create(codec, "w")
        decoder: Any = av.CodecContext.create(_DECODERS.get(codec, codec), "r")
    except (ValueError, av.FFmpegError) as error:
        raise OutputError(f"this build of PyAV has no encoder {codec}: {error}") from error
    encoder.width, encoder.height, encoder.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.gop_size, encoder.max_b_frames = gop_size, 0
    encoder.thread_count = decoder.thread_count = 1
    encoder.options = dict(options)
    decoded: list[VideoFrame] = []
    for time, frame in enumerate(frames):
        frame.pts = time
        decoded += [picture for packet in encoder.encode(frame) for picture in decoder.decode(packet)]
    decoded += [picture for packet in encoder.encode(None) for picture in decoder.decode(packet)]
    decoded += decoder.decode(None)
    if len(decoded) != len(frames):
        raise OutputError(f"{codec} gave back {len(decoded)} of {len(frames)} frames")
    return decoded


def through(clip: RgbImage, codec: str, crf: int) -> RgbImage:
    """uint8 (T, H, W, 3), in the order of time, after `codec` at `crf`. Raises OutputError, see `coded`."""
    import av

    n, height, width = clip.shape[:3]
    even = with_lead(np.pad(clip, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge"))
    pictures = (av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24") for rgb in even)
    frames = [picture.reformat(format="yuv420p") for picture in pictures]
    decoded = coded(frames, codec, options={**_OPTIONS[codec], "crf": str(crf)}, gop_size=250)
    kept = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)[:height, :width] for frame in decoded[-n:]]
    return np.stack(kept)


__all__ = ["coded", "through", "with_lead"]
