"""Content Credentials and metadata: read in the worker, believed by nobody, never fetched."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

import make_videos
from make_bundles import make_redness
from telltale import Scanner, ScanSettings, provenance
from telltale._beside_verdict import with_provenance
from telltale._source import Source
from telltale.errors import Stopped
from telltale.provenance import provenance_job, read_provenance
from telltale.report import to_json
from telltale.sandbox import Worker
from telltale.types import Credentials, Provenance, Report
from telltale.video import open_video

HOSTILE = "<script>alert(1)</script>=cmd()\u202egpj.exe"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def signed(shared: Path) -> Path:
    pytest.importorskip("c2pa", reason="reads Content Credentials")
    return shared / "videos" / "c2pa" / "video1.mp4"


def test_credentials_that_fit_are_told_with_what_was_not_checked(worker: Worker, signed: Path) -> None:
    found = read_provenance(signed, worker).credentials
    assert found.status == "valid"
    assert (found.issuer, found.signer) == ("C2PA Test Signing Cert", "C2PA Signer")
    assert found.is_signer_trusted is None
    assert "not checked" in found.told
    assert found.actions == ("c2pa.opened",)
    assert found.ingredients == ("video1.mp4",)
    assert found.signed_at is not None
    assert found.signed_at.startswith("2023-12-02")


def test_a_file_changed_after_signing_is_told_so(worker: Worker, signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    data[-2000] ^= 1
    (tmp_path / "changed.mp4").write_bytes(data)
    found = read_provenance(tmp_path / "changed.mp4", worker).credentials
    assert found.status == "invalid"
    assert found.problems == ("assertion.bmffHash.mismatch",)


@pytest.mark.parametrize("cut", [0.02, 0.3])
def test_damaged_credentials_are_no_crash(worker: Worker, signed: Path, tmp_path: Path, cut: float) -> None:
    path = make_videos.cut(signed, tmp_path / "cut.mp4", cut)
    assert read_provenance(path, worker).credentials.status in ("invalid", "unreadable")


def test_without_credentials_nothing_follows(worker: Worker, face_clip: Path) -> None:
    found = read_provenance(face_clip, worker).credentials
    assert found.status == "absent"
    assert "nothing follows" in found.told


def test_credentials_elsewhere_are_named_and_never_fetched(worker: Worker, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/clip.c2pa"
        xmp = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{url}"/>'
            "</rdf:RDF></x:xmpmeta>"
        )
        for name, text in (("plain.jpg", xmp), ("marked.jpg", xmp + "<!-- c2pa -->")):
            Image.new("RGB", (64, 64)).save(tmp_path / name, xmp=text.encode())
            found = read_provenance(tmp_path / name, worker).credentials
            assert found.remote_url == url
            assert found.status in ("not_checked", "absent", "unreadable")
        server.settimeout(0.2)  # whoever connected is waiting in the queue
        with pytest.raises(TimeoutError):
            server.accept()


def test_marks_are_found_wherever_blocks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = b'<x dcTerms:Provenance = "https://example.org/clip.c2pa">'
    monkeypatch.setattr(provenance, "_BLOCK_BYTES", 4096)
    for at in (0, 4050, 4096, 8180, 12_000):
        path = tmp_path / "clip.bin"
        path.write_bytes(b"x" * at + address + b"x" * 5000 + b"c2pa")
        with Source(str(path)) as source:
            assert provenance._look_for_marks(source) == (True, "https://example.org/clip.c2pa")


def test_without_the_library_traces_are_told_and_how_to_read_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "c2pa", None)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=_png_text("note", "c2pa"))
    (message,) = provenance_job({"path": str(tmp_path / "a.png")})
    assert message.data["credentials"]["status"] == "not_checked"
    assert "pip install 'telltale[provenance]'" in message.data["credentials"]["told"]


def test_the_streams_and_their_rates_are_told(worker: Worker, face_clip: Path) -> None:
    container = read_provenance(face_clip, worker).container
    assert container is not None
    (video,) = container.streams
    assert (video.kind, video.codec, video.width_px, video.height_px, video.fps) == ("video", "h264", 480, 360, 25.0)
    assert video.bit_rate is not None
    assert 8 * face_clip.stat().st_size / 2 * 0.5 < video.bit_rate < 8 * face_clip.stat().st_size / 2 * 1.1
    assert container.bits_per_pixel is not None
    assert "x264" in video.metadata["encoder settings in the stream"]


def test_of_several_videos_the_one_that_is_analysed_is_measured(worker: Worker, tmp_path: Path) -> None:
    clip = make_videos.several_streams(tmp_path / "several.mkv", [(160, 120), (480, 360)], rates=[25, 5])
    with open_video(clip) as reader:
        info = reader.info
    container = read_provenance(clip, worker).container
    assert container is not None
    analysed = container.streams[info.stream_index]
    assert (info.stream_index, analysed.width_px, analysed.fps) == (1, 480, 5.0)
    assert analysed.bit_rate is not None
    assert container.bits_per_pixel == round(analysed.bit_rate / (480 * 360 * 5), 4)


def test_a_cover_picture_is_no_video_to_be_measured(worker: Worker, tmp_path: Path) -> None:
    container = read_provenance(make_videos.audio_only(tmp_path / "memo.m4a", cover=True), worker).container
    assert container is not None
    assert (container.bits_per_pixel, container.key_frame_every_s) == (None, None)
    assert {stream.kind for stream in container.streams} == {"audio", "video"}


def _png_text(key: str, value: str) -> PngInfo:
    info = PngInfo()
    info.add_itxt(key, value)
    return info


def with_metadata(path: Path, source: Path, **metadata: str) -> Path:
    import av

    with av.open(str(source)) as into, av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as out:
        out.metadata.update(metadata)
        stream = out.add_stream_from_template(into.streams.video[0])
        for packet in into.demux(into.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return path


def test_a_stream_of_a_codec_that_nobody_knows_is_listed(worker: Worker, tmp_path: Path) -> None:
    """Found by `make fuzz`: such a stream has no decoder, and PyAV then no size."""
    path = make_videos.face_clip(tmp_path / "known.avi", seconds=0.2, codec="mpeg4")
    data = path.read_bytes()
    assert b"FMP4" in data
    (tmp_path / "unknown.avi").write_bytes(data.replace(b"FMP4", b"ZQ9X"))
    container = read_provenance(tmp_path / "unknown.avi", worker).container
    assert container is not None
    assert (container.streams[0].codec, container.streams[0].width_px) == ("unknown", None)


def test_hostile_metadata_is_text_and_bounded(worker: Worker, face_clip: Path, tmp_path: Path) -> None:
    clip = with_metadata(tmp_path / "clip.mp4", face_clip, title=HOSTILE, comment="x" * 100_000)
    container = read_provenance(clip, worker).container
    assert container is not None
    assert container.metadata["title"] == HOSTILE
    assert len(container.metadata["comment"]) == 500


def test_what_a_picture_says_is_told(worker: Worker, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png", pnginfo=_png_text("parameters", "a face, Steps: 20"))
    exif = Image.Exif()
    exif[0x0131] = "Deepface 3"
    Image.new("RGB", (64, 48)).save(tmp_path / "b.jpg", exif=exif)
    for name, key, value in (("a.png", "parameters", "a face, Steps: 20"), ("b.jpg", "Software", "Deepface 3")):
        container = read_provenance(tmp_path / name, worker).container
        assert container is not None
        assert container.metadata[key] == value


def test_what_cannot_be_opened_is_unreadable(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)))
    for path in (tmp_path / "junk.mp4", tmp_path / "missing.mp4"):
        found = read_provenance(path, worker)
        assert found.credentials.status == "unreadable"
        assert found.container is None


def test_of_a_scan_that_had_no_time_for_it_another_may_say_more(face_clip: Path, tmp_path: Path) -> None:
    with Scanner(make_redness(tmp_path / "model")) as scanner:
        report = scanner.scan(face_clip)
    with Worker(jobs={"provenance": "sandbox_jobs:hang"}) as worker:
        late = with_provenance(report, str(face_clip), worker, deadline_s=0.5, stop=None)
    assert not report.is_out_of_time
    assert late.is_out_of_time


def test_what_takes_too_long_was_not_checked_and_says_nothing_about_the_file(face_clip: Path) -> None:
    with Worker(jobs={"provenance": "sandbox_jobs:hang"}) as worker:
        found = read_provenance(face_clip, worker, deadline_s=0.5)
    assert found.credentials.status == "not_checked"
    assert "stopped after 0.5 s; give it a longer deadline" in found.credentials.told


def test_a_scan_that_nobody_wants_does_not_wait_for_provenance(face_clip: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with Worker(jobs={"provenance": "sandbox_jobs:hang"}) as worker, pytest.raises(Stopped):
        read_provenance(face_clip, worker, stop=stop)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_an_avif_without_a_picture_is_unreadable(worker: Worker, tmp_path: Path) -> None:
    """Pillow raises RuntimeError when it opens one."""
    path = tmp_path / "empty.avif"
    Image.new("RGB", (64, 64), "red").save(path, "AVIF")
    data = bytearray(path.read_bytes())
    data[data.index(b"iloc") + 11] = 0  # no item lies anywhere
    path.write_bytes(data)
    assert read_provenance(path, worker).container is None


def test_a_scan_with_provenance_has_the_same_score_and_can_be_read_back(
    tmp_path: Path, signed: Path, face_clip: Path
) -> None:
    pytest.importorskip("onnx", reason="makes a model with onnx")
    model = make_redness(tmp_path / "model")
    hostile = with_metadata(tmp_path / "clip.mp4", face_clip, title=HOSTILE)
    with Scanner(model) as plain, Scanner(model, settings=ScanSettings(provenance=True)) as scanner:
        for path in (signed, hostile):
            expected, report = plain.scan(path), scanner.scan(path)
            assert report.verdict == expected.verdict
            assert report.provenance is not None
            assert expected.provenance is None
            again = Report.model_validate_json(to_json(report))
            assert again.provenance == report.provenance


def test_a_scan_hands_its_limits_on_and_counts_the_time(
    tmp_path: Path, face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="makes a model with onnx")
    stop, given = threading.Event(), []

    def slow(*_: object, **limits: object) -> Provenance:
        given.append(limits)
        time.sleep(0.5)
        return Provenance(credentials=Credentials(status="absent", told=""))

    monkeypatch.setattr(provenance, "read_provenance", slow)
    with Scanner(make_redness(tmp_path / "model"), settings=ScanSettings(provenance=True, deadline_s=50)) as scanner:
        started = time.perf_counter()
        timings_s = scanner.scan(face_clip, stop=stop).timings_s
        took_s = time.perf_counter() - started
    assert given == [{"deadline_s": 50, "stop": stop}]
    assert timings_s["provenance"] >= 0.5
    assert timings_s["provenance"] + timings_s["detect"] <= timings_s["total"] <= took_s


def test_every_kind_of_file_has_an_answer(worker: Worker, shared: Path) -> None:
    files = sorted((shared / "videos" / "formats").iterdir())
    assert files
    for path in files:
        found = read_provenance(path, worker)
        assert found.credentials.status in ("absent", "unreadable"), path


def test_credentials_are_found_under_any_name(tmp_path: Path, signed: Path, worker: Worker) -> None:
    shutil.copy(signed, tmp_path / "clip.mov.txt")
    assert read_provenance(tmp_path / "clip.mov.txt", worker).credentials.status == "valid"
