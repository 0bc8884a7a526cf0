"""Frames through a real video codec and back: what a camera, an upload or an old archive did to them.

>>> clip = np.full((3, 64, 64, 3), 128, np.uint8)
>>> recompress(clip, codec="mpeg1video", quality=8).shape
(3, 64, 64, 3)
>>> through(clip, "libx264", 30).shape
(3, 64, 64, 3)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from telltale.errors import OutputError
from telltale.types import RgbImage

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

CODECS = {"mpeg1video": (2, 14), "mpeg2video": (2, 16), "flv": (2, 14), "mpeg4": (2, 14), "libx264": (22, 40)}
"""Encoder -> the range of `quality` that is met with: quantiser of the MPEG family (`flv` is H.263), CRF of H.264.
Higher is worse."""
_CRF_OPTIONS = {
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


def recompress(clip: RgbImage, *, codec: str, quality: int) -> RgbImage:
    """uint8 (T, H, W, 3) with even H and W >= 16 -> the same after encoding in 4:2:0 and decoding. For `augment`.

    A single picture is encoded as the last of three, drifting by a pixel. Raises OutputError where this build of
    FFmpeg has no such encoder, or loses frames.
    """
    import av
    import cv2

    # OpenCV's conversions: libswscale starts threads for each picture.
    planes = [np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8) for rgb in _with_lead(clip)]
    frames = [av.VideoFrame.from_ndarray(picture, format="yuv420p") for picture in planes]
    by_crf, by_quantiser = {"crf": str(quality)}, {"qmin": str(quality), "qmax": str(quality)}
    options = _CRF_OPTIONS[codec] | by_crf if codec == "libx264" else by_quantiser
    decoded = _coded(frames, codec, options=options, gop_size=12)[-len(clip) :]
    rgb_of = [cv2.cvtColor(frame.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420) for frame in decoded]
    return np.stack(rgb_of).astype(np.uint8, copy=False)


def through(clip: RgbImage, codec: str, crf: int) -> RgbImage:
    """uint8 (T, H, W, 3), in the order of time, of any size, after `codec` at the constant quality `crf`, as a viewer's
    player shows it. For `perturb`. A single picture and errors: see `recompress`."""
    import av

    n, height, width = clip.shape[:3]
    even = _with_lead(np.pad(clip, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge"))
    pictures = (av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24") for rgb in even)
    frames = [picture.reformat(format="yuv420p") for picture in pictures]
    decoded = _coded(frames, codec, options={**_CRF_OPTIONS[codec], "crf": str(crf)}, gop_size=250)
    kept = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)[:height, :width] for frame in decoded[-n:]]
    return np.stack(kept)


def _with_lead(clip: RgbImage) -> RgbImage:
    """As it is, or a picture that is alone as the last of three, each a pixel further: most frames of a video are
    predicted ones."""
    return clip if len(clip) > 1 else np.stack([np.roll(clip[0], shift, 1) for shift in range(-_LEAD, 1)])


def _coded(frames: Sequence[VideoFrame], codec: str, *, options: Mapping[str, str], gop_size: int) -> list[VideoFrame]:
    """Frames in 4:2:0, all of one even size, in the order of time, after `codec` and its decoder."""
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


__all__ = ["CODECS", "recompress", "through"]
