"""Pictures of ours as PNG.

>>> png(np.zeros((2, 3, 3), np.uint8))[1:4]
b'PNG'
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt


def png(pixels: npt.NDArray[np.uint8], **options: Any) -> bytes:
    """`pixels`, uint8 (H, W, 3) or (H, W, 4); `options` are Pillow's."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()
