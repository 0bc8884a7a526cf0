"""A stored picture looks the same to evaluation, to training and to a scan."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_videos
from telltale._stored_picture import rgb_of, size_of
from telltale.sampling import SamplePlan
from telltale.video import open_video


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_turn_it_as_its_orientation_says(orientation: int, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    image = Image.fromarray(make_videos.background((64, 48)))
    exif = image.getexif()
    exif[0x0112] = orientation
    written = io.BytesIO()
    image.save(written, "PNG", exif=exif)
    data = written.getvalue()
    (tmp_path / "picture.png").write_bytes(data)
    with open_video(str(tmp_path / "picture.png"), SamplePlan()) as reader:
        (frame,) = reader
    rgb = rgb_of(data)
    trained = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert (rgb == frame.rgb).all()
    assert (rgb == trained).all()
    assert size_of(data) == rgb.shape[1::-1]
