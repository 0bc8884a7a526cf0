"""Frames through a real video codec and back: what a camera, an upload or an old archive did to them.

>>> clip = np.full((3, 64, 64, 3), 128, np.uint8)
>>> recompress(clip, codec="mpeg1video", quality=8).shape
(3, 64, 64, 3)
"""

from __future__ import annotations

import numpy as np

from telltale._codecs import coded, with_lead
from telltale.types import RgbImage

CODECS = {"mpeg1video": (2, 14), "mpeg2video": (2, 16), "flv": (2, 14), "mpeg4": (2, 14), "libx264": (22, 40)}
"""Encoder -> the range of `quality` that is met with: quantiser of the MPEG family (`flv` is H.263), CRF of H.264.
Higher is worse."""
_GOP_SIZE = 12


def recompress(clip: RgbImage, *, codec: str, quality: int) -> RgbImage:
    """uint8 (T, H, W, 3) with even H and W >= 16 -> the same after encoding in 4:2:0 and decoding.

    A single picture is encoded as the last of three, drifting by a pixel. Raises OutputError where this build of
    FFmpeg has no such encoder, or loses frames.
    """
    import av
    import cv2

    # OpenCV's conversions: libswscale starts threads for each picture.
    planes = [np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8) for rgb in with_lead(clip)]
    frames = [av.VideoFrame.from_ndarray(picture, format="yuv420p") for picture in planes]
    options = (
        {"preset": "veryfast", "tune": "zerolatency", "crf": str(quality)}
        if codec == "libx264"
        else {"qmin": str(quality), "qmax": str(quality)}
    )
    decoded = coded(frames, codec, options=options, gop_size=_GOP_SIZE)[-len(clip) :]
    rgb_of = [cv2.cvtColor(frame.to_ndarray(format="yuv420p"), cv2.COLOR_YUV2RGB_I420) for frame in decoded]
    return np.stack(rgb_of).astype(np.uint8, copy=False)


__all__ = ["CODECS", "recompress"]
