"""Many uploads at the same moment: none is lost. benchmarks/web_soak.py does this with 200 and measures."""

from __future__ import annotations

from pathlib import Path

import make_videos
from web_load import storm, trickle
from web_server import running


def test_uploads_at_once_all_end_though_most_are_turned_away_at_first(tmp_path: Path, redness: Path) -> None:
    picture = make_videos.write_picture(tmp_path / "picture.png", format="PNG").read_bytes()
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for number, file in enumerate(files):
        file.write_bytes(picture + bytes([number]))
    with running(tmp_path / "data", redness, workers=2, queue_length=3, per_client=4) as server:
        result = storm(server.url, files, wait_s=300)
    assert result.n_lost == 0
    assert result.ended == {"done": 8}
    assert result.n_turned_away > 0


def test_slow_sockets_do_not_keep_a_good_client_out(tmp_path: Path, redness: Path) -> None:
    good_file = make_videos.write_picture(tmp_path / "good.jpg", format="JPEG")
    with running(tmp_path / "data", redness) as server:
        result = trickle(server.port, n=100, for_s=3.0, every_s=0.5, good_file=good_file)
    assert result.n_served > 0
    assert result.n_refused == 0
    assert "503" not in result.answers
