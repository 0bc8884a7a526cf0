"""Choosing a detector, stills that are face crops, and weights that are not there."""

from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from make_videos import FACE_IN_PORTRAIT, background, portrait
from telltale import faces
from telltale.errors import DetectorWeights, UnknownName
from telltale.faces import DetectorConfig, detect_still, yunet
from telltale.faces._picture import shrink
from telltale.types import Face, Frame


def test_an_unknown_detector_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"no face detector 'mtcn' .*; did you mean mtcnn\?"):
        faces.create("mtcn")


@pytest.mark.parametrize(
    "fields",
    [
        {"min_face_px": 5},
        {"side_px": 10},
        {"min_confidence": 1.5},
        {"n_threads": 0},
        {"search_every_s": -1.0},
        {"search_every_s": float("inf")},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        DetectorConfig(**fields)


@pytest.mark.parametrize(
    ("size", "fields", "searched", "min_face_px"),
    [
        ((1920, 1080), {}, (720, 405), 40),
        ((1080, 1920), {}, (405, 720), 40),
        ((360, 288), {}, (360, 288), 20),
        ((1920, 1080), {"min_face_px": 40}, (960, 540), 20),
        ((1920, 1080), {"min_face_px": 160}, (720, 405), 60),
        ((640, 480), {"min_face_px": 14}, (640, 480), 14),
        ((6000, 6000), {"min_face_px": 20}, (2000, 2000), 20),
        ((4096, 1), {}, (720, 1), 40),
    ],
)
def test_the_picture_searched_is_bounded_and_follows_the_smallest_face(
    size: tuple[int, int], fields: dict[str, Any], searched: tuple[int, int], min_face_px: float
) -> None:
    picture = shrink(np.zeros((size[1], size[0], 3), np.uint8), DetectorConfig(**fields))
    assert picture.rgb.shape == (searched[1], searched[0], 3)
    assert picture.min_face_px == pytest.approx(min_face_px)
    assert picture.to_frame(np.array([*searched], np.float32)).tolist() == pytest.approx(size, rel=1e-4)


def test_a_portrait_is_no_face_crop() -> None:
    found, is_crop = detect_still(faces.create("mtcnn"), Frame(0, 0.0, portrait()))
    assert (len(found), is_crop) == (1, False)


def test_a_face_crop_is_found_and_named_as_one() -> None:
    x0, y0, x1, y1 = FACE_IN_PORTRAIT
    crop = np.ascontiguousarray(portrait()[y0 + 20 : y1 - 10, x0:x1])
    found, is_crop = detect_still(faces.create("mtcnn"), Frame(0, 0.0, crop))
    assert is_crop
    assert len(found) == 1


def test_boxes_found_only_with_a_border_are_in_the_pixels_of_the_picture() -> None:
    class OnlyWithBorder:
        name = "fake"

        def detect(self, frames: Any) -> list[list[Face]]:
            (frame,) = frames
            if frame.rgb.shape[0] == 200:
                return [[]]
            points = np.full((5, 2), 150.0, np.float32)
            return [[Face(0, 0.0, np.array([40, 30, 260, 280], np.float32), 0.99, points)]]

    found, is_crop = detect_still(OnlyWithBorder(), Frame(0, 0.0, background((200, 200))))
    assert is_crop
    assert found[0].box_xyxy.tolist() == [-10, -20, 210, 230]
    assert found[0].points is not None
    assert found[0].points[0].tolist() == [100, 100]


def test_a_still_without_a_face_has_none() -> None:
    assert detect_still(faces.create("mtcnn"), Frame(0, 0.0, background())) == ([], False)


def test_face_crops_of_a_real_data_set_are_found(shared: Path) -> None:
    detector = faces.create("mtcnn")
    with zipfile.ZipFile(shared / "data" / "dfdc_faces" / "faces-3.zip") as archive:
        members = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::20][:200]
        crops = [np.array(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in members]
    found = [detect_still(detector, Frame(0, 0.0, rgb)) for rgb in crops]
    assert len(crops) == 200
    assert np.mean([len(of_crop) == 1 for of_crop, _ in found]) >= 0.97
    assert np.mean([is_crop for of_crop, is_crop in found if of_crop]) >= 0.95


def test_yunet_says_how_to_get_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DetectorWeights, match=rf"no file.*{yunet.SHA256}.*--detector-model FILE"):
        faces.create("yunet", config=DetectorConfig(model_path=str(tmp_path / "missing.onnx")))


def test_yunet_refuses_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(DetectorWeights, match="cannot use"):
        faces.create("yunet", config=DetectorConfig(model_path=str(tmp_path / "junk.onnx")))


class _Answers:
    """Stands in for the network: counts requests, gives one answer."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer, self.n_asked = answer, 0

    def __call__(self, url: str, timeout: float) -> io.BytesIO:
        assert url.startswith("https://")
        assert timeout > 0
        self.n_asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer)


def _network(monkeypatch: pytest.MonkeyPatch, cache: Path, answer: bytes | Exception) -> _Answers:
    network = _Answers(answer)
    monkeypatch.setattr(urllib.request, "urlopen", network)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return network


def test_yunet_is_downloaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = _network(monkeypatch, tmp_path, b"weights")
    monkeypatch.setattr(yunet, "SHA256", hashlib.sha256(b"weights").hexdigest())
    config = faces.fetched("yunet")
    assert config.model_path is not None
    assert Path(config.model_path).read_bytes() == b"weights"
    assert faces.fetched("yunet") == config
    assert network.n_asked == 1
    assert list((tmp_path / "telltale").iterdir()) == [Path(config.model_path)]


def test_a_download_with_another_hash_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _network(monkeypatch, tmp_path, b"something else")
    with pytest.raises(DetectorWeights, match="SHA-256"):
        faces.fetched("yunet")
    assert not (tmp_path / "telltale").exists()


def test_a_kept_file_that_changed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _network(monkeypatch, tmp_path, b"weights")
    with monkeypatch.context() as patch:
        patch.setattr(yunet, "SHA256", yunet.SHA256[:16] + hashlib.sha256(b"weights").hexdigest()[16:])
        patch.setattr(yunet, "_sha256", lambda _: yunet.SHA256)
        kept = faces.fetched("yunet").model_path
    assert kept is not None
    with pytest.raises(DetectorWeights, match="delete it and try again"):
        faces.fetched("yunet")


def test_without_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _network(monkeypatch, tmp_path, urllib.error.URLError("no route to host"))
    with pytest.raises(DetectorWeights, match=r"no route to host.*--detector-model FILE"):
        faces.create("yunet")


def test_detectors_that_ship_their_weights_fetch_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = _network(monkeypatch, tmp_path, b"")
    assert faces.fetched("mtcnn") == faces.fetched("haar") == DetectorConfig()
    assert network.n_asked == 0


def test_an_unwritable_cache_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    _network(monkeypatch, tmp_path / "file", b"weights")
    monkeypatch.setattr(yunet, "SHA256", hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(DetectorWeights, match="could not be kept"):
        faces.fetched("yunet")
