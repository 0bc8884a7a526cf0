"""A server that is killed or stopped in the middle of its work, and started again."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import httpx2

from telltale.web.schema import ScanOptions
from web_load import Moment, copies, kill_round
from web_server import Process, free_port


def test_every_job_of_a_killed_server_ends_once_after_the_restart(
    tmp_path: Path, redness: Path, face_clip: Path
) -> None:
    files = copies(face_clip, 3, tmp_path)
    result = kill_round(tmp_path / "data", redness, files, Moment(n_ended=1, then_s=0.1), wait_s=120)
    assert result.ended == {"done": len(files)}
    assert result.n_results_left == 0
    assert result.n_orphans == 0


def test_a_file_that_brings_the_server_down_twice_is_set_aside(tmp_path: Path, redness: Path, clips: Path) -> None:
    import make_videos

    clip = make_videos.face_clip(clips / "poison.mp4", seconds=20.0)
    port, scan_id = free_port(), ""
    for _ in range(2):
        with Process(tmp_path / "data", redness, "--workers", "1", port=port).wait_until_ready() as server:
            with server.client() as client:
                if not scan_id:
                    scan_id = client.submit(clip, options=ScanOptions(all_frames=True)).id
                while client.get(scan_id).state != "running":
                    time.sleep(0.02)
            server.kill()
    with Process(tmp_path / "data", redness, port=port).wait_until_ready() as server, server.client() as client:
        scan = client.wait(scan_id, wait_s=30)
        assert scan.state == "failed"
        assert scan.report is not None
        assert scan.report.error is not None
        assert scan.report.error.code == "worker_crashed"
        assert "not tried again" in scan.report.error.message


def test_an_orderly_stop_puts_running_work_back(tmp_path: Path, redness: Path, clips: Path) -> None:
    import make_videos

    clip = make_videos.face_clip(clips / "put_back.mp4", seconds=3.0)
    with Process(tmp_path / "data", redness, "--workers", "1").wait_until_ready() as server:
        with server.client() as client:
            scan_id = client.submit(clip, options=ScanOptions(fps=10)).id
            while client.get(scan_id).progress.stage != "analysing":
                time.sleep(0.02)
        server.stop(signal.SIGTERM)
        assert "Traceback" not in server.stderr()
    with Process(tmp_path / "data", redness, "--workers", "1").wait_until_ready() as server, server.client() as client:
        assert client.wait(scan_id, wait_s=120).state == "done"
        server.stop(signal.SIGINT)


def test_an_upload_that_an_orderly_stop_breaks_off_is_to_be_sent_again(tmp_path: Path, redness: Path) -> None:
    form = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nthe first bytes'
    head = (
        "POST /api/v1/scans HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n"
        "content-type: multipart/form-data; boundary=xyz\r\n\r\n"
    )
    with Process(tmp_path / "data", redness, "--workers", "1").wait_until_ready() as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sending:
            sending.sendall(head.encode() + form)
            while "telltale_uploads_arriving 1" not in httpx2.get(f"{server.url}/metrics").text:
                time.sleep(0.02)
            server.stop(signal.SIGTERM)
            answer = b"".join(iter(lambda: sending.recv(65536), b"")).decode()
        log = server.stderr()
    assert answer.startswith("HTTP/1.1 503 ")
    assert "retry-after: " in answer
    assert '"code":"not_ready"' in answer
    assert "Traceback" not in log
    assert list((tmp_path / "data" / "uploads").iterdir()) == []
