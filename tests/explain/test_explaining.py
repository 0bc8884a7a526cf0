"""Explanations: what each method alone must do, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from make_bundles import make_patches, make_redness, make_trainable
from make_videos import face_clip, face_frames, portrait, write_video
from telltale import _annotate_ink, _cam, _heat, _measured
from telltale._onnx_file import NotOnnx, read_graph
from telltale._request import run_extract
from telltale._text import clock, percent
from telltale.aggregate import Minimum
from telltale.bundle import load_bundle, write_card
from telltale.errors import BundleInvalid, DeadlineExceeded, UnknownName, UsageError
from telltale.explain import _faces, create, explain, names
from telltale.runtime import Scorer
from telltale.sandbox import Worker
from telltale.scan import Scanner, ScanSettings, extract_request
from telltale.types import Clip, RgbImage

pytest.importorskip("onnx", reason="makes models with onnx")


def one(rgb: RgbImage) -> Clip:
    return Clip(0, np.zeros(1), rgb[None], np.ones(1, bool))


def face(size: int) -> RgbImage:
    import cv2

    return np.asarray(cv2.resize(portrait()[40:210, 140:310], (size, size)), np.uint8)


@pytest.fixture(scope="module")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="makes a network")
    return make_trainable(tmp_path_factory.mktemp("models") / "net")


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_patches(tmp_path_factory.mktemp("models") / "patches")


def test_of_a_file_that_was_read_in_part_nobody_knows_the_most_telling_faces(patches: Path, tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4")
    request = extract_request(clip, load_bundle(patches).card, ScanSettings(deadline_s=2))
    with Worker(jobs={"extract": "sandbox_jobs:see_and_hang"}) as worker, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_faces, "run_extract", lambda *_: run_extract(worker, request))
        with pytest.raises(DeadlineExceeded, match="most telling"):
            explain(clip, model=patches)


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean gradcam"):
        create("grad-cam")


def test_the_map_of_an_exported_network_adds_up_to_its_logit(trainable: Path) -> None:
    scorer = Scorer(load_bundle(trainable))
    clips = [one(face(64)), one(face(64)[:, ::-1].copy())]
    scores, features = scorer.score_with_features(clips)
    places = _cam.place_logits(features, _cam.find_head(scorer.bundle))
    np.testing.assert_allclose(places.mean(axis=(1, 2)), scores.logit, atol=1e-4)


def test_features_cost_no_bit_of_a_logit(trainable: Path) -> None:
    scorer = Scorer(load_bundle(trainable))
    clips = [one(face(64)), one(face(64)[::-1].copy())]
    assert scorer.score_with_features(clips)[0].logit.tolist() == scorer.score(clips).logit.tolist()


def test_a_network_that_averages_with_the_mirror_image_has_a_map(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="makes a network")
    scorer = Scorer(load_bundle(make_trainable(tmp_path, flip_average=True)))
    rgb = face(64)
    said = [
        _cam.place_logits(scorer.score_with_features([one(way)])[1], _cam.find_head(scorer.bundle)).mean()
        for way in (rgb, rgb[:, ::-1].copy())
    ]
    assert np.mean(said) == pytest.approx(float(scorer.score([one(rgb)]).logit[0]), abs=1e-4)


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (make_redness, {}, "no output `features`; .* `telltale explain MODEL FILE --method lime --out DIR`"),
        (make_patches, {"gives_features": False}, "gives no `features`"),
    ],
)
def test_a_model_without_a_map_says_so(tmp_path: Path, make: object, options: dict[str, bool], said: str) -> None:
    folder = make(tmp_path / "model", **options)  # type: ignore[operator]
    scorer = Scorer(load_bundle(folder))
    with pytest.raises(UsageError, match=said):
        create("cam").explain(scorer, one(face(32)))


def test_a_head_that_is_not_linear_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    folder = make_patches(tmp_path / "model")
    model = onnx.load(folder / "model.onnx")
    end = model.graph.node[-1]
    end.input[0] = "squashed"
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Tanh", ["column"], ["squashed"]))
    onnx.save(model, folder / "model.onnx")
    write_card(folder, load_card(folder))
    with pytest.raises(UsageError, match="last layers are not linear"):
        _cam.find_head(load_bundle(folder))


def load_card(folder: Path):  # type: ignore[no-untyped-def]
    from telltale.bundle import CARD_NAME, ModelCard

    return ModelCard.model_validate_json((folder / CARD_NAME).read_bytes())


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\xff" * 40, b"PK\x03\x04", b"\x3a\x05hello", b"\x3a\xff\xff\xff\xff\x7f"]
)
def test_bytes_that_are_no_graph_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(NotOnnx):
        read_graph(data)


def test_a_graph_cut_off_anywhere_is_refused_or_read(patches: Path) -> None:
    data = (patches / "model.onnx").read_bytes()
    for end in range(0, len(data), 17):
        try:
            read_graph(data[:end])
        except NotOnnx:
            continue


def test_the_weights_of_the_head_are_those_that_onnx_reads(trainable: Path) -> None:
    import onnx
    from onnx import numpy_helper

    graph = read_graph((trainable / "model.onnx").read_bytes())
    for tensor in onnx.load(trainable / "model.onnx").graph.initializer:
        np.testing.assert_array_equal(graph.tensor(tensor.name), numpy_helper.to_array(tensor))


def test_gradients_need_weights(patches: Path) -> None:
    pytest.importorskip("captum", reason="gradcam is captum's")
    with pytest.raises(UsageError, match=r"without weights\.safetensors.* use --method cam, or"):
        create("gradcam").explain(Scorer(load_bundle(patches)), one(face(32)))


def test_gradients_that_are_not_to_be_had_never_lead_to_a_method_that_refuses_too(tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="gradcam is captum's")
    scorer = Scorer(load_bundle(make_redness(tmp_path / "model")))
    with pytest.raises(UsageError, match=r"without weights\.safetensors.* use `telltale explain .* --method lime "):
        create("gradcam").explain(scorer, one(face(32)))


def test_gradients_of_other_weights_are_refused(trainable: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="gradcam is captum's")
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "changed"
    shutil.copytree(trainable, folder)
    weights = load_file(folder / "weights.safetensors")
    save_file({name: value + 1 if name == "head.bias" else value for name, value in weights.items()},
              folder / "weights.safetensors")  # fmt: skip
    write_card(folder, load_card(folder))
    with pytest.raises(BundleInvalid, match=r"where model\.onnx says"):
        create("gradcam").explain(Scorer(load_bundle(folder)), one(face(64)))


def test_gradcam_at_the_last_layer_is_cam(trainable: Path) -> None:
    pytest.importorskip("captum", reason="gradcam is captum's")
    scorer, clip = Scorer(load_bundle(trainable)), one(face(64))
    features, free = create("gradcam", layer="backbone").explain(scorer, clip), create("cam").explain(scorer, clip)
    np.testing.assert_allclose(features.heat, free.heat, atol=1e-4 * np.abs(free.heat).max())
    assert features.settings["start_logit"] == pytest.approx(free.settings["start_logit"], rel=1e-3)


def test_the_two_pictures_show_the_strongest_pieces(patches: Path) -> None:
    pytest.importorskip("captum", reason="lime is captum's")
    rgb = np.full((32, 32, 3), 90, np.uint8)
    rgb[4:16, 4:16] = (250, 40, 40)
    clip = one(rgb)
    found = create("lime", n_samples=100, n_segments=16).explain(Scorer(load_bundle(patches)), clip)
    pictures = found.pictures(clip)
    assert (pictures["for"][6:14, 6:14] == rgb[6:14, 6:14]).all(), "what speaks for fake is hidden"
    assert (pictures["for"] == 127).all(axis=2).mean() > 0.3, "the rest is not hidden"
    assert (pictures["for_and_against"] != rgb).any()


def test_a_face_that_speaks_for_one_side_only_is_not_of_one_colour() -> None:
    heat, start = _heat.contrasted(np.array([[4.0, 6.0], [5.0, 5.0]], np.float32))
    assert start == 5.0
    assert heat.tolist() == [[0.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize("places", [[-4.0, 6.0], [-6.0, 4.0], [-6.0, -4.0], [1.0, 3.0]])
def test_no_colour_ever_stands_for_the_other_side(places: list[float]) -> None:
    heat, _ = _heat.contrasted(np.array([places], np.float32))
    assert (heat * np.array([places]) >= 0).all()
    assert heat.any()


def test_a_scan_keeps_a_heat_map_for_every_crop_and_says_the_same(tmp_path: Path, patches: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4")
    with Scanner(patches, settings=ScanSettings(pictures=True)) as plain:
        expected = plain.scan(clip)
    with Scanner(patches, settings=ScanSettings(explain=True)) as scanner:
        report = scanner.scan(clip)
    assert report.verdict == expected.verdict
    assert report.tracks == expected.tracks
    assert report.pictures.heat.keys() == report.pictures.crops.keys() != set()
    assert all(png.startswith(b"\x89PNG") for png in report.pictures.heat.values())
    assert report.explanation is not None
    assert report.explanation.n_faces == len(report.pictures.heat)
    assert expected.explanation is None
    assert expected.pictures.heat == {}


def test_heat_is_kept_only_for_crops_that_are_kept(tmp_path: Path, patches: Path) -> None:
    from telltale import SamplePlan
    from telltale.scoring import MAX_CROPS_A_TRACK

    clip = face_clip(tmp_path / "clip.mp4", seconds=5)
    with Scanner(patches, settings=ScanSettings(explain=True, plan=SamplePlan("all"))) as scanner:
        report = scanner.scan(clip)
    assert sum(len(track.faces) for track in report.tracks) > MAX_CROPS_A_TRACK
    assert report.pictures.heat.keys() == report.pictures.crops.keys()
    assert len(report.pictures.heat) <= MAX_CROPS_A_TRACK


def test_a_model_that_cannot_be_explained_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no class activation map"):
        Scanner(make_redness(tmp_path / "model"), settings=ScanSettings(explain=True))


def test_the_most_telling_face_of_each_person_is_explained(tmp_path: Path, patches: Path, two_face_clip: Path) -> None:
    found = explain(two_face_clip, model=patches, out=tmp_path / "why")
    with Scanner(patches) as scanner:
        report = scanner.scan(two_face_clip)
    assert [face.track_id for face in found] == [track.id for track in report.tracks]
    for face, track in zip(found, report.tracks, strict=True):
        assert face.p_fake == pytest.approx(max(one.p_fake or 0 for one in track.faces), abs=1e-6)
    written = sorted(path.suffix for path in (tmp_path / "why").iterdir())
    assert written == [".json", ".npy", ".npy", ".png", ".png"]
    about = json.loads((tmp_path / "why" / "explanations.json").read_text())
    for row, face in zip(about["faces"], found, strict=True):
        heat = np.load(tmp_path / "why" / row["heat"], allow_pickle=False)
        np.testing.assert_array_equal(heat, face.explanation.heat)


def written_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on pictures from here on."""
    said: list[str] = []
    mask = _annotate_ink.text_mask

    def noted(words: str, size_px: int) -> object:
        said.append(words)
        return mask(words, size_px)

    monkeypatch.setattr(_annotate_ink, "text_mask", noted)
    return said


@pytest.mark.parametrize(
    ("minimum", "code", "why"),
    [
        (Minimum(face_px=1000), "too_small", "not judged: face too small"),
        (Minimum(n_faces=99), "too_few_faces", "not judged: seen in too few frames"),
    ],
)
def test_whom_a_scan_does_not_judge_has_no_score_here_either(
    tmp_path: Path, face_clip: Path, monkeypatch: pytest.MonkeyPatch, minimum: Minimum, code: str, why: str
) -> None:
    said = written_on(monkeypatch)
    model = make_patches(tmp_path / "strict", minimum=minimum)
    (face,) = explain(face_clip, model=model, out=tmp_path / "why")
    assert (face.p_fake, face.code) == (None, code)
    (row,) = json.loads((tmp_path / "why" / "explanations.json").read_text())["faces"]
    assert (row["p_fake"], row["code"]) == (None, code)
    assert why in said
    assert not [words for words in said if "%" in words]


def test_a_score_is_told_as_one_and_as_no_proof(
    tmp_path: Path, patches: Path, face_clip: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = written_on(monkeypatch)
    (face,) = explain(face_clip, model=patches, out=tmp_path / "clip")
    assert face.p_fake is not None
    assert f"fake score {percent(face.p_fake)}" in said
    assert f"person 1 at {clock(face.pts_s)}" in said
    assert any("Not proof" in words for words in said)
    said.clear()
    explain(portrait, model=patches, out=tmp_path / "still")
    assert "person 1" in said, "a picture has no time"


def test_pictures_of_an_earlier_file_do_not_stay(
    tmp_path: Path, patches: Path, two_face_clip: Path, empty_clip: Path
) -> None:
    (tmp_path / "person-notes.png").write_bytes(b"mine")
    explain(two_face_clip, model=patches, out=tmp_path)
    explain(empty_clip, model=patches, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["explanations.json", "person-notes.png"]


@pytest.mark.parametrize("names", [["../mine.png", "mine.npy"], [7, None]])
def test_what_an_earlier_account_should_not_name_is_left_alone(
    tmp_path: Path, patches: Path, empty_clip: Path, names: list[object]
) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    (tmp_path / "why").mkdir()
    (tmp_path / "why" / "mine.npy").write_bytes(b"mine")
    rows = [{"picture": names[0], "heat": names[1]}]
    (tmp_path / "why" / "explanations.json").write_text(json.dumps({"faces": rows}))
    explain(empty_clip, model=patches, out=tmp_path / "why")
    assert (tmp_path / "mine.png").exists()
    assert (tmp_path / "why" / "mine.npy").exists()


def test_more_faces_of_one_person_come_in_time_order(patches: Path, face_clip: Path) -> None:
    found = explain(face_clip, model=patches, n_faces=3)
    assert [face.pts_s for face in found] == sorted(face.pts_s for face in found)
    assert len(found) == 3


def test_no_face_is_explained_that_a_scan_does_not_score(tmp_path: Path, patches: Path) -> None:
    visible = [i for i in range(100) if not 52 <= i < 70]
    clip = write_video(tmp_path / "gap.mp4", face_frames(100, with_face=visible))
    found = explain(clip, model=patches, n_faces=100)
    assert found
    with Scanner(patches) as scanner:
        (track,) = scanner.scan(clip).tracks
    assert "interpolated" in {face.source for face in track.faces}
    assert [face.pts_s for face in found] == [face.pts_s for face in track.faces if face.p_fake is not None]


def test_nobody_in_it_is_an_empty_answer(patches: Path, empty_clip: Path) -> None:
    assert explain(empty_clip, model=patches) == []


def test_a_setting_that_a_method_does_not_take_is_a_usage_error(patches: Path, portrait: Path) -> None:
    with pytest.raises(UsageError, match="cam has no setting 'n_samples'; it has target"):
        explain(portrait, model=patches, n_samples=3)
    with pytest.raises(UsageError, match="cam: target: Input should be 'fake' or 'real'"):
        explain(portrait, model=patches, target="maybe")
    with pytest.raises(UsageError, match="occlusion: stride_frac: Input should be a valid number"):
        explain(portrait, model=patches, method="occlusion", stride_frac="wide")
    pytest.importorskip("captum", reason="lime is captum's")
    with pytest.raises(UsageError, match="at least 2"):
        explain(portrait, model=patches, method="lime", n_samples=0)


@pytest.mark.parametrize(("beats_chance", "said"), [(True, ""), (False, "measured no better than a random map")])
def test_a_method_no_better_than_chance_says_so(monkeypatch: pytest.MonkeyPatch, beats_chance: bool, said: str) -> None:
    monkeypatch.setattr(_measured, "figures", lambda: {"cam": {"beats_chance": beats_chance}})
    assert _measured.remark("cam") == said


def test_maps_no_better_than_chance_say_so_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {0: np.ones((2, 2), np.float32)}
    said = []
    for beats_chance in (True, False):
        monkeypatch.setattr(_measured, "figures", lambda beats=beats_chance: {"cam": {"beats_chance": beats}})
        said.append(_heat.cam_layers(places)[1].told)
    assert "random map" not in said[0]
    assert said[1].endswith("measured no better than a random map.")


def test_the_docs_have_a_row_for_everything_measured() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
    for name, row in _measured.figures().items():
        known = name in names()
        assert not known or f"| `{name}` | {row['n']} |" in docs


def test_the_command_writes_pictures_and_says_where(tmp_path: Path, patches: Path, portrait: Path) -> None:
    from typer.testing import CliRunner

    from telltale.cli import app

    out = tmp_path / "why"
    done = CliRunner().invoke(app, ["explain", str(patches), str(portrait), "--out", str(out), "--target", "real"])
    assert done.exit_code == 0, done.output
    assert "1 face explained" in done.stderr
    assert json.loads((out / "explanations.json").read_text())["faces"][0]["target"] == "real"
    wrong = CliRunner().invoke(app, ["explain", str(patches), str(portrait), "--out", str(out), "--set", "n_samples"])
    assert wrong.exit_code == 2
    assert "KEY=VALUE" in wrong.stderr


def test_without_a_folder_there_is_nowhere_to_put_what_was_asked_for(patches: Path, portrait: Path) -> None:
    from typer.testing import CliRunner

    from telltale.cli import app

    for option in ("--explain", "--annotate", "--embed-video"):
        done = CliRunner().invoke(app, ["scan", str(portrait), "--model", str(patches), option])
        assert done.exit_code == 2
        assert f"{option} needs --out" in done.stderr


def test_stability_that_nobody_would_see_is_refused_before_the_work(patches: Path, portrait: Path) -> None:
    from typer.testing import CliRunner

    from telltale.cli import app

    scan = ["scan", str(portrait), "--model", str(patches), "--stability"]
    done = CliRunner().invoke(app, scan)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "telltale: usage: --stability needs --out DIR or --json\n"
    done = CliRunner().invoke(app, [*scan, "--json"])
    assert json.loads(done.stdout)["stability"]["rows"]
    done = CliRunner().invoke(app, [*scan, "--explain", "--out-bucket", "s3://bucket/reports"])
    assert "--explain, --stability: not with a table" in done.stderr


def test_a_scan_writes_the_annotated_clip_beside_its_report(tmp_path: Path, patches: Path, face_clip: Path) -> None:
    from typer.testing import CliRunner

    from telltale.cli import app

    options = ["--explain", "--annotate", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, ["scan", str(face_clip), "--model", str(patches), *options])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    names = [one["name"] for one in report["attachments"]]
    assert names == ["annotated.mp4", "telling.gif", "contact_sheet.png"]
    assert {path.name for path in folder.iterdir()} == {*names, "report.html", "report.json"}
    assert report["explanation"]["method"] == "cam"
    assert report["provenance"]["credentials"]["status"] == "absent"
    assert report["stability"] is None
