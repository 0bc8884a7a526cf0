"""A picture at many sizes at once, in float32: rounded to 8 bits, the averages of a pyramid move boxes by 3 %.

>>> whole, half = levels_of(np.full((48, 64, 3), 7, np.uint8), [(64, 48), (32, 24)])
>>> half.shape, half.dtype, float(half.max())
((24, 32, 3), dtype('float32'), 7.0)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from telltale.types import Float32Array, RgbImage


def levels_of(rgb: RgbImage, sizes: Sequence[tuple[int, int]]) -> Iterator[Float32Array]:
    """Float32 (h, w, 3) for every (w, h) of `sizes`: what `cv2.resize` gives with INTER_AREA, to .01 of a grey value
    for a picture 400 px high, to .05 at 2,000 px.

    It takes less than half of its time where sizes are smaller than the picture. OpenCV averages along rows one value
    after the other, over the whole picture for every size. Here rows are added up from the top, once; of these sums a
    size takes differences, and what is left to average along rows is as low as the size.
    """
    import cv2

    height, width = rgb.shape[:2]
    above = _sums_of_rows(rgb)
    for w, h in sizes:
        lowered = _lowered(above, h).reshape(h, width, 3) if h < height else rgb.astype(np.float32)
        yield cv2.resize(lowered, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def _sums_of_rows(rgb: RgbImage) -> Float32Array:
    """Float32 (H + 1, 3 W): the sum of all rows above each, exact up to 65,793 rows."""
    rows = rgb.reshape(len(rgb), -1)
    above = np.zeros((len(rows) + 1, rows.shape[1]), np.float32)
    for number, row in enumerate(rows):  # numpy's cumsum goes down columns: seven times as long
        np.add(above[number], row, out=above[number + 1])
    return above


def _lowered(above: Float32Array, h: int) -> Float32Array:
    """(h, 3 W): the rows averaged over `h` equal bands, which begin and end within rows."""
    height = len(above) - 1
    edge = np.arange(h + 1) * (height / h)
    row = np.minimum(edge.astype(np.intp), height - 1)
    sums, next_sums = above[row], above[row + 1]
    next_sums -= sums
    next_sums *= (edge - row).astype(np.float32)[:, None]
    sums += next_sums
    bands = sums[1:] - sums[:-1]
    bands *= np.float32(h / height)
    return bands
