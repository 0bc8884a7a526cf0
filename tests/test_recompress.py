from __future__ import annotations

import numpy as np
import pytest

import make_faces
from telltale.errors import OutputError
from telltale.recompress import CODECS, recompress
from telltale.types import RgbImage


def _clip(n: int) -> RgbImage:
    return np.repeat(make_faces.face(np.random.default_rng(3))[None], n, axis=0)


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize("n", [1, 5])
def test_every_codec_gives_back_the_clip_a_little_changed(codec: str, n: int) -> None:
    clip = _clip(n)
    out = recompress(clip, codec=codec, quality=CODECS[codec][0])
    assert out.shape == clip.shape
    assert out.dtype == np.uint8
    assert 0 < np.abs(out.astype(float) - clip).mean() < 12


@pytest.mark.parametrize("codec", list(CODECS))
def test_higher_quality_numbers_are_worse(codec: str) -> None:
    clip = _clip(3)
    fine, coarse = (
        np.abs(recompress(clip, codec=codec, quality=quality).astype(float) - clip).mean() for quality in CODECS[codec]
    )
    assert coarse > fine


def test_an_encoder_that_is_not_there_is_named() -> None:
    with pytest.raises(OutputError, match="no encoder crt9000"):
        recompress(_clip(1), codec="crt9000", quality=4)
