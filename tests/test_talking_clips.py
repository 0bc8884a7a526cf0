"""scripts/make_talking_clips.py: the small set of videos that docs/results.md trains sequence models on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from telltale import datasets
from telltale.types import VideoRecord

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_talking_clips.py"


@pytest.fixture(scope="module")
def made(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("talking")
    portraits = shared / "data" / "portraits"
    subprocess.run(
        [sys.executable, str(SCRIPT), str(portraits), str(out), "--people", "2", "--seconds", "0.5"], check=True
    )
    return out


def test_one_person_is_one_group_with_a_real_and_a_fake(made: Path) -> None:
    records = [record for record in datasets.read(made).records if isinstance(record, VideoRecord)]
    assert sorted((record.label, record.method) for record in records) == [
        (0, None), (0, None), (1, "self_blended"), (1, "swapped"),
    ]  # fmt: skip
    groups = {record.group_id: [r.label for r in records if r.group_id == record.group_id] for record in records}
    assert sorted(map(sorted, groups.values())) == [[0, 1], [0, 1]]


def test_the_clips_move(made: Path) -> None:
    clips = sorted(made.rglob("*.mp4"))
    assert clips
    for path in clips:
        with av.open(str(path)) as clip:
            frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in clip.decode(video=0)]
        assert len(frames) == 12
        assert np.abs(frames[-1] - frames[0]).mean() > 2
