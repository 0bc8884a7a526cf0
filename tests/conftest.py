"""Fixtures for every test: ../shared where it lies beside the repository, clips made once, no ERROR logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bucket_servers
import make_videos

if TYPE_CHECKING:
    import httpx2

    from telltale.web.schema import ScanEntry
    from web_server import Running

SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """../shared beside the repository; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real videos and data, not part of the repository)")
    return SHARED


@pytest.fixture(autouse=True)
def _no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test during which anything logs at ERROR or above has failed."""
    yield
    for phase in ("setup", "call"):
        logged = [record for record in caplog.get_records(phase) if record.levelno >= logging.ERROR]
        assert not logged, f"logged at ERROR: {[record.getMessage() for record in logged]}"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for clips that are made once and only read."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def face_clip(clips: Path) -> Path:
    """Two seconds, 25 frames a second, 480 x 360, one moving face."""
    return make_videos.face_clip(clips / "face.mp4")


@pytest.fixture(scope="session")
def two_face_clip(clips: Path) -> Path:
    """Two seconds, 720 x 360, two people."""
    return make_videos.two_face_clip(clips / "two_faces.mp4")


@pytest.fixture(scope="session")
def empty_clip(clips: Path) -> Path:
    """Two seconds, nobody in it."""
    return make_videos.empty_clip(clips / "nobody.mp4")


@pytest.fixture(scope="session")
def portrait(clips: Path) -> Path:
    """A still picture of one face, 512 x 512, JPEG."""
    return make_videos.write_picture(clips / "portrait.jpg", format="JPEG")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Mapping[str, str]]:
    """The environment in which `s3://` is a server of this machine."""
    with bucket_servers.serve("s3") as environment:
        yield environment


@pytest.fixture(scope="session")
def gs_server() -> Iterator[Mapping[str, str]]:
    """The environment in which `gs://` is a server of this machine."""
    with bucket_servers.serve("gs") as environment:
        yield environment


@pytest.fixture(params=["s3", "gs"])
def footage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bucket_servers.Footage:
    """An empty folder in a bucket, on a server of each kind."""
    environment: Mapping[str, str] = request.getfixturevalue(f"{request.param}_server")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return bucket_servers.Footage(
        f"{request.param}://footage/{tmp_path.name}", bucket_servers.file_system(request.param)
    )


@pytest.fixture(scope="session")
def redness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for servers: red faces are fake."""
    pytest.importorskip("onnx", reason="makes models with onnx")
    from make_bundles import make_redness

    return make_redness(tmp_path_factory.mktemp("models") / "redness", size_px=224)


@pytest.fixture
def server(tmp_path: Path, redness: Path) -> Iterator[Running]:
    """A server of its own for the test. Modules that share one define it anew."""
    from web_server import running

    with running(tmp_path / "data", redness) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: Running) -> Iterator[httpx2.Client]:
    """Asks the module's server."""
    import httpx2

    with httpx2.Client(base_url=server.url, timeout=60) as http:
        yield http


@pytest.fixture(scope="module")
def done(server: Running, face_clip: Path) -> ScanEntry:
    """A scan of `face_clip` that has ended, on the module's server."""
    with server.client() as client:
        return client.wait(client.submit(face_clip).id, wait_s=60)
