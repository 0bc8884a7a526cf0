"""Inspecting a data set and a store: what it says, what it shows, and that a hostile set shows as text."""

from __future__ import annotations

import html
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import make_datasets
import make_videos
from telltale.cli import app
from telltale.datasets import Problem, Record
from telltale.errors import DataError, UnknownName, UsageError
from telltale.inspect import HTML_NAME, JSON_NAME, Inspection, InspectSettings, Measure, inspect_data
from telltale.inspect._facts import Capture, find_facts, original_of
from telltale.inspect._findings import find_findings
from telltale.inspect._pictures import gif
from telltale.inspect._seen import Seen, SeenFrame, draw
from telltale.inspect._source import Source
from telltale.split import make_split
from telltale.store import StoreWriter, open_store, tasks
from telltale.types import FaceRecord, VideoRecord

pytest.importorskip("matplotlib", reason="pictures need telltale[analyze]")

HOSTILE = "<script>alert(1)</script> =cmd() \u202egpj.mp4".replace("/", "")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, face_clip: Path) -> Path:
    """A FaceForensics++-shaped tree: one real face clip and its fake, the rest without faces; one broken, one stray."""
    root = tmp_path_factory.mktemp("sets") / "ffpp"
    make_datasets.faceforensics(root, 6)
    videos = root / "original_sequences/youtube/c23/videos"
    (videos / "000.mp4").write_bytes(face_clip.read_bytes())
    fake = root / "manipulated_sequences/Deepfakes/c23/videos/000_007.mp4"
    fake.write_bytes(face_clip.read_bytes() + b"\0\0\0\x08free")
    (videos / "014.mp4").write_bytes(b"\0" * 3000)
    (root / "notes.txt").write_text("not part of it")
    return root


@pytest.fixture(scope="module")
def looked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Inspection, Path]:
    """The tree, looked at with pictures and a recipe."""
    out = tmp_path_factory.mktemp("look") / "out"
    return inspect_data(made, out_dir=out, settings=InspectSettings(recipe="mobilenetv2", seed=1)), out


# What it says


def test_counts_originals_and_splits_need_no_picture(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("telltale.sandbox.Worker.__init__", never)
    facts = inspect_data(made)
    assert (facts.n_real, facts.n_fake) == (6, 18)
    assert facts.counts == {"real": 6, "Deepfakes": 12, "Face2Face": 6}
    assert (facts.n_groups, facts.n_originals) == (3, 6)  # a group is a pair, an original is one video of it
    assert {original.n_fake for original in facts.originals} == {3}
    assert facts.splits["official"].counts["train"] == {"real": 2, "Deepfakes": 4, "Face2Face": 2}
    assert facts.splits["official"].n_leaked_groups == 0
    assert facts.problems["unknown"] == 1
    (stranger,) = [row["path"] for row in facts.problem_list if row["kind"] == "unknown"]
    assert f"1 file does not belong to the layout: {stranger}." in said(facts, "warn")
    assert not facts.measures


def a_video(name: str, group: str, person: str | None = None, original: str | None = None, label: int = 1) -> Record:
    return VideoRecord(
        dataset="d", video_id=name, path=name, name=name, label=label, group_id=group, person_id=person,
        original_id=original,
    )  # fmt: skip


def test_a_fake_belongs_to_its_original_and_in_a_store_to_a_groups_target() -> None:
    assert original_of(a_video("9_2", "dfdcp:100", "dfdcp:100+101", "dfdcp:100_A_001")) == "dfdcp:100_A_001"
    assert original_of(a_video("000_003", "ffpp:000+003", "ffpp:000+003")) == "ffpp:000"
    assert original_of(a_video("000", "ffpp:000", "ffpp:000+009")) == "ffpp:000"
    for knows_none in (a_video("x", "dfdc:y"), a_video("y", "dfdcp:100", "dfdcp:100+101")):
        assert original_of(knows_none) is None
    assert original_of(a_video("a.mp4", "mine:a", original="mine:a/a")) == "mine:a", "said once"


def test_a_person_is_no_original(tmp_path: Path) -> None:
    make_datasets.dfdcp(tmp_path / "dfdcp", 4)
    listed = json.loads((tmp_path / "dfdcp/dataset.json").read_text())
    second = "original_videos/100/100_A_002.mp4"
    (tmp_path / "dfdcp" / second).write_bytes(make_datasets.tiny_video(99))
    (tmp_path / "dfdcp/dataset.json").write_text(json.dumps(listed | {second: {"label": "real", "set": "train"}}))
    facts = inspect_data(tmp_path / "dfdcp")
    assert (facts.n_groups, facts.n_originals, facts.originals_are) == (4, 5, "original")
    assert {original.name for original in facts.originals} == {
        "dfdcp:100_A_001", "dfdcp:100_A_002", "dfdcp:101_A_001", "dfdcp:102_A_001", "dfdcp:103_A_001",
    }  # fmt: skip


def test_where_the_originals_are_not_known_groups_are_counted_and_called_so() -> None:
    real = [a_video(f"real/{name}", "list:anna", original=f"list:anna/{name}", label=0) for name in "ab"]
    records = (*real, *(a_video(f"fake/{name}", "list:otto") for name in "cd"), a_video("fake/e", "list:anna"))
    facts = find_facts(Source("x", "data set", "manifest", "videos", records, ()))
    assert (facts.n_originals, facts.originals_are) == (2, "group")
    assert {one.name: (one.n_real, one.n_fake) for one in facts.originals} == {"list:anna": (2, 1), "list:otto": (0, 2)}
    assert "1 group has several fakes" in said(facts, "warn")
    assert "original" not in said(facts.model_copy(update={"n_fakes_alone": 0}), "warn")


def test_frames_of_a_video_are_no_originals_each() -> None:
    frames = [
        FaceRecord(
            dataset="d", image_id=f"{label}{i}", path="", name=f"{label}{i}.png", label=label, group_id=f"d:v{i // 4}",
            original_id=f"d:v{i // 4}/{i}",
        )
        for label in (0, 1)
        for i in range(8)
    ]  # fmt: skip
    facts = find_facts(Source("x", "data set", "folder", "pictures", tuple(frames), ()))
    assert (facts.n_originals, facts.originals_are) == (2, "group")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_names_that_are_no_text_are_shown_in_escapes(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"set\xff")
    for name in (b"real/a\xff.mp4", b"fake/a.mp4", b"fake/notes\xff.txt"):
        (root / os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
        (root / os.fsdecode(name)).write_bytes(make_datasets.tiny_video(len(name)))
    inspect_data(root, out_dir=tmp_path / "out")
    written = json.loads((tmp_path / "out" / JSON_NAME).read_text(encoding="utf-8"))
    assert written["path"].endswith(r"set\xff")
    assert {problem["path"] for problem in written["problem_list"]} == {r"fake/notes\xff.txt"}
    assert r"a\xff.mp4" in (tmp_path / "out" / HTML_NAME).read_text(encoding="utf-8")


def test_where_nothing_can_be_read_each_file_is_named(tmp_path: Path) -> None:
    for name in ("real/a.mp4", "fake/b.mp4"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).write_bytes(name.encode() * 9)
    facts = inspect_data(tmp_path / "set", out_dir=tmp_path / "out")
    assert {unread.name for unread in facts.unread} == {"real/a.mp4", "fake/b.mp4"}


def facts_of(**fields: object) -> Inspection:
    plain: dict[str, object] = {
        "path": "x", "kind": "store", "layout": "d", "unit": "videos", "n_real": 50, "n_fake": 50, "n_faces": 100,
        "n_groups": 10, "n_originals": 10, "counts": {"real": 50, "fake": 50}, "splits": {}, "originals": (),
        "fakes_per_original": {1: 10}, "n_without_original": 0, "problems": {}, "problem_list": (),
    }  # fmt: skip
    return Inspection.model_validate(plain | fields)


def said(facts: Inspection, level: str) -> str:
    return " | ".join(finding.text for finding in find_findings(facts) if finding.level == level)


def test_the_first_three_of_many_faulty_files_are_named() -> None:
    rows = [{"kind": "missing", "path": f"{i}\u202e.mp4", "detail": ""} for i in range(5)]
    facts = facts_of(kind="data set", problems={"missing": 2005}, problem_list=rows)
    names = "0\\u202e.mp4, 1\\u202e.mp4, 2\\u202e.mp4"
    assert said(facts, "bad") == f"2,005 files are listed but not there: {names}, 2,002 more."
    unread = [{"name": f"{i}.mp4", "code": "corrupt_file", "message": "x"} for i in range(4)]
    facts = facts_of(unread=unread, n_looked_at=9)
    assert said(facts, "bad") == "4 of 9 that were looked at cannot be read: 0.mp4, 1.mp4, 2.mp4, 1 more."
    assert "are there twice." in said(facts_of(problems={"duplicate": 2}), "warn"), "no name was kept"


def test_of_very_many_copies_those_with_the_other_label_are_still_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.inspect._facts.MAX_LISTED", 10)
    copies = [Problem("duplicate", f"a{i:02d}.mp4", f"same bytes as b{i:02d}.mp4") for i in range(15)]
    copies += [Problem("contradictory", f"c{i}.mp4", f"same bytes as d{i}.mp4") for i in range(5)]
    strangers = [Problem("unknown", f"notes{i:02d}.txt") for i in range(12)]
    facts = find_facts(Source("x", "data set", "folder", "videos", (), (*copies, *strangers)))
    assert facts.problems == {"contradictory": 5, "duplicate": 15, "unknown": 12}
    assert "5 files are there with both labels: c0.mp4 (same bytes as d0.mp4)" in said(facts, "bad")
    assert "15 files are there twice: a00.mp4" in said(facts, "warn")
    assert "12 files do not belong to the layout: notes00.txt" in said(facts, "warn")


def test_of_labels_that_differ_more_are_counted_than_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.inspect._facts.MAX_LISTED", 4)
    copies = tuple(Problem("contradictory", f"c{i}.mp4", f"same bytes as d{i}.mp4") for i in range(9))
    facts = find_facts(Source("x", "data set", "folder", "videos", (), copies))
    assert len(facts.problem_list) == 4
    assert "9 files are there with both labels: " in said(facts, "bad")
    assert "c2.mp4 (same bytes as d2.mp4), 6 more." in said(facts, "bad")
    assert "there twice" not in said(facts, "warn"), "said already"


def test_one_class_alone_is_bad_and_an_unequal_one_is_named() -> None:
    assert "Everything is real" in said(facts_of(n_fake=0), "bad")
    assert "no file has a label" in said(facts_of(kind="data set", n_real=0, n_fake=0), "bad")
    assert "80% are fake" in said(facts_of(n_real=20, n_fake=80), "warn")
    assert "--per-class 20" in said(facts_of(n_real=20, n_fake=80), "warn")
    assert "balanced" in said(facts_of(), "good")


def test_a_torn_split_is_bad() -> None:
    split = {
        "counts": {"train": {"real": 1}}, "n_left_out": 0, "n_leaked_groups": 3, "n_shared_persons": 2,
        "leaked_groups": ("a", "b", "c"), "shared_persons": ("p", "q"),
    }  # fmt: skip
    assert "Split random: train has no fake video." in said(facts_of(splits={"random": split}), "warn")
    facts = facts_of(splits={"random": split, "official": {**split, "n_leaked_groups": 0, "n_shared_persons": 0}})
    assert "Split random has 3 groups on more than one side" in said(facts, "bad")
    assert "2 persons" in said(facts, "warn")
    assert "The official split has no group on two sides" in said(facts, "good")


def test_a_quantity_that_gives_the_class_away_is_named_and_chance_is_not() -> None:
    def measure(auc: float, margin: float) -> Measure:
        return Measure(
            quantity="Duration", unit="s", n_real=50, n_fake=50, median_real=10, median_fake=5, auc=auc, margin=margin
        )

    assert "Duration alone tells real from fake with AUC 0.80" in said(facts_of(measures=[measure(0.2, 0.1)]), "warn")
    assert not said(facts_of(measures=[measure(0.62, 0.1)], splits={}), "warn").startswith("Duration")
    assert "No measured quantity" in said(facts_of(measures=[measure(0.55, 0.01)]), "good")


def test_a_class_whose_faces_are_found_less_often_is_named() -> None:
    rows = [
        Capture(name=name, n_videos=9, n_failed=1, n_faces=9, rate=rate) for name, rate in (("real", 1), ("A", 0.9))
    ]
    assert "90.0% of the frames of A" in said(facts_of(capture=rows), "warn")
    assert "2 of 18 videos failed" in said(facts_of(capture=rows), "warn")


# What is drawn


@settings(deadline=None)
@given(
    n_real=st.integers(0, 40), n_fakes=st.lists(st.integers(0, 20), max_size=4), n=st.integers(2, 60),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_a_draw_is_half_real_and_even_over_the_methods(n_real: int, n_fakes: list[int], n: int, seed: int) -> None:
    def record(i: int, method: str | None) -> Record:
        return FaceRecord(
            dataset="d", image_id=f"{method}{i}", path="", name="", label=int(method is not None), method=method,
            group_id=f"{method}{i}",
        )  # fmt: skip

    records = [record(i, None) for i in range(n_real)]
    records += [record(i, f"m{k}") for k, n_fake in enumerate(n_fakes) for i in range(n_fake)]
    drawn = draw(records, n, np.random.default_rng(seed))
    n_drawn_fake = sum(record.label for record in drawn)
    assert len(drawn) == len({record.video_id for record in drawn}) == min(n, len(records))
    assert n_drawn_fake == min(sum(n_fakes), max(n // 2, n - n_real))
    by_method = [sum(record.method == f"m{k}" for record in drawn) for k in range(len(n_fakes))]
    open_ones = [count for count, there in zip(by_method, n_fakes, strict=True) if count < there]
    assert not open_ones or max(by_method) - min(open_ones) <= 1


# What it shows


def test_everything_that_was_asked_for_is_written(looked: tuple[Inspection, Path]) -> None:
    facts, out = looked
    assert (
        "24 of 24 videos, drawn at random, as many fake as real where there are enough" in (out / HTML_NAME).read_text()
    )
    assert {path.name for path in out.iterdir()} == {
        HTML_NAME, JSON_NAME, "counts.png", "counts_official.png", "faces.png", "first_frames.png", "original_1.png",
        "original_2.png", "original_3.png", "augmentation.png", "clip_real.gif", "clip_fake.gif", "duration.png",
        *(["face_size.png", "brightness_of_the_face.png"] if drawn(facts, "Face size") else []),
    }  # fmt: skip
    assert Inspection.model_validate_json((out / JSON_NAME).read_text()) == facts
    with Image.open(out / "clip_real.gif") as clip:
        assert getattr(clip, "n_frames", 1) > 1


def drawn(facts: Inspection, quantity: str) -> bool:
    """Whether more than one value was measured."""
    return any(m.quantity == quantity and m.median_real != m.median_fake for m in facts.measures)


def test_a_broken_video_is_named_and_ends_nothing(looked: tuple[Inspection, Path]) -> None:
    facts, _ = looked
    (unread,) = facts.unread
    assert (unread.name, unread.code) == ("original_sequences/youtube/c23/videos/014.mp4", "corrupt_file")
    assert facts.n_looked_at == 24
    assert any("cannot be read" in finding.text for finding in facts.findings if finding.level == "bad")


def test_faces_are_found_and_measured_in_the_worker(looked: tuple[Inspection, Path]) -> None:
    facts, out = looked
    size = next(measure for measure in facts.measures if measure.quantity == "Face size")
    assert size.n_real == size.n_fake == 1
    assert size.median_real == pytest.approx(size.median_fake)
    assert 60 < (size.median_real or 0) < 160
    assert '<rect class="over"' in (out / HTML_NAME).read_text()


def test_the_same_data_and_seed_give_the_same_page(made: Path, tmp_path: Path) -> None:
    settings = InspectSettings(n_videos=4, seed=3)
    for name in ("a", "b"):
        inspect_data(made, out_dir=tmp_path / name, settings=settings)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_the_page_loads_nothing_and_forbids_scripts(looked: tuple[Inspection, Path]) -> None:
    page = (looked[1] / HTML_NAME).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in html.unescape(policy[1])
    assert "script-src 'none'" in html.unescape(policy[1])
    assert "<script" not in page
    assert not re.search(r"\bstyle=", page.split("</style>")[1])  # the policy would drop it
    assert set(re.findall(r'(?:src|href)="([a-z]*:|#)', page)) == {"data:", "#"}
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", page))


def test_a_hostile_set_shows_as_text(tmp_path: Path) -> None:
    root = tmp_path / "a<b>\u202e"
    for i, name in enumerate((f"real/{HOSTILE}", f"fake/{HOSTILE}", "real/x.mp4", "fake/<img src=x>.mp4")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_datasets.tiny_video(i))
    (root / "real" / "broken <b>.mp4").write_bytes(b"\0" * 99)
    inspect_data(root, out_dir=tmp_path / "out", settings=InspectSettings(format="folder"))
    page = (tmp_path / "out" / HTML_NAME).read_text()
    assert "<script>" not in page
    assert "<img src=x>" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "broken &lt;b&gt;" in page


def test_pictures_inside_a_zip_are_looked_at(tmp_path: Path) -> None:
    face = io.BytesIO()
    Image.fromarray(make_videos.shrunk(224)).save(face, "JPEG")

    def content(k: int) -> bytes:
        return make_datasets.tiny_picture(k) if k % 3 else face.getvalue() + bytes([k])

    make_datasets.deepfake_faces(tmp_path / "set", 6, content)
    facts = inspect_data(tmp_path / "set", out_dir=tmp_path / "out")
    assert facts.unit == "pictures"
    assert not facts.unread
    assert facts.n_looked_at == facts.n_real + facts.n_fake == 13
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"real_faces.png", "fake_faces.png", "original_1.png"} <= names
    assert not {"first_frames.png", "clip_real.gif"} & names
    assert any(measure.quantity == "Face size" for measure in facts.measures)


def test_the_parent_never_imports_a_decoder_of_videos(made: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from telltale.inspect import *;"
        f"inspect_data({str(made)!r}, out_dir={str(tmp_path / 'out')!r}, settings=InspectSettings(n_videos=2));"
        "assert 'av' not in sys.modules, 'av'; assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# A store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of four originals, as they came, with a split that tears two of them."""
    root = tmp_path_factory.mktemp("store")
    records: list[Record] = []
    for i in range(12):
        path = root / f"{i}.jpg"
        path.write_bytes(make_datasets.tiny_picture(i, 64))
        records.append(
            FaceRecord(
                dataset="d", image_id=f"v{i}", path=str(path), name=path.name, label=int(i >= 4),
                method="swap" if i >= 4 else None, group_id=f"d:{i % 4}",
            )
        )  # fmt: skip
    crop = {"kind": "as_given", "size_px": 64, "margin_frac": 0.1, "down_frac": 0.0}
    writer = StoreWriter(root / "faces.store", settings={"crop": crop})
    for task in tasks(records):
        writer.stage_as_given(task)
    writer.compact(records)
    opened = open_store(writer.out)
    opened.write_split("grouped", make_split(records, ratio="50/25/25"))
    opened.write_split("torn", make_split(records, by="random", ratio="50/25/25"))
    return writer.out


def test_a_store_is_inspected_with_its_splits_and_leaks(store: Path, tmp_path: Path) -> None:
    facts = inspect_data(store, out_dir=tmp_path / "out", settings=InspectSettings(recipe="mobilenetv2"))
    assert (facts.kind, facts.n_faces, facts.n_real, facts.n_fake) == ("store", 12, 4, 8)
    assert facts.splits["grouped"].n_leaked_groups == 0
    assert facts.splits["torn"].n_leaked_groups > 0
    assert [row.name for row in facts.capture] == ["real", "swap"]
    assert {measure.quantity for measure in facts.measures} == {"Brightness of the face"}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"counts_grouped.png", "counts_torn.png", "real_faces.png", "augmentation.png"} <= names
    page = (tmp_path / "out" / HTML_NAME).read_text()
    assert "Faces captured" in page
    assert "Split torn has" in page
    assert facts.originals_are == "group", "a store does not keep the originals"
    assert "12 pictures from 4 groups" in page
    assert "riginal" not in page


def test_a_store_that_is_not_finished_says_so(tmp_path: Path) -> None:
    StoreWriter(tmp_path, settings={}).keep_settings()
    with pytest.raises(DataError, match="not finished"):
        inspect_data(tmp_path)


# How it is called


def test_a_recipe_wants_somewhere_to_show_and_a_name_that_exists(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--out DIR"):
        inspect_data(made, settings=InspectSettings(recipe="mobilenetv2"))
    with pytest.raises(UnknownName, match="did you mean mobilenetv2"):
        inspect_data(made, out_dir=tmp_path, settings=InspectSettings(recipe="mobilenetv3"))


def test_too_small_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        InspectSettings(n_videos=1)


def test_a_seed_below_0_is_refused(made: Path) -> None:
    with pytest.raises(UsageError, match="--seed wants 0 or more"):
        InspectSettings(seed=-1)
    code, _, err = run([str(made), "--seed", "-1"])
    assert code == 2
    assert "--seed" in err


@pytest.mark.parametrize("is_still", [False, True])
def test_frames_that_are_far_apart_make_a_gif(is_still: bool) -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    shown = [SeenFrame(750.0 * k, black + (0 if is_still else k), np.empty((0, 4), np.float32), None) for k in range(3)]
    record = VideoRecord(dataset="d", video_id="v", path="v", name="v", label=0, group_id="d:v")
    with Image.open(io.BytesIO(gif(Seen(record, tuple(shown), 1.0, 1.0, 1.0)))) as picture:
        assert getattr(picture, "n_frames", 1) == (1 if is_still else 3)
        assert 200_000 < picture.info["duration"] < 655_360


def run(args: Sequence[str]) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["inspect", *args])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_counts_and_findings(made: Path) -> None:
    code, out, err = run([str(made)])
    assert (code, err) == (0, "")
    assert "24 videos from 6 originals" in out
    assert "official train" in out
    assert "ok The official split has no group on two sides" in out


def test_the_command_says_where_the_page_is(made: Path, tmp_path: Path) -> None:
    code, _, err = run([str(made), "--out", str(tmp_path / "look"), "--n", "2"])
    assert code == 0
    assert err.startswith("Page: ")
    assert json.loads((tmp_path / "look" / JSON_NAME).read_text())["n_looked_at"] == 2


def test_the_command_ends_with_one_line_where_there_is_nothing(tmp_path: Path) -> None:
    code, _, err = run([str(tmp_path / "nothing")])
    assert code == 2
    assert err.startswith("telltale: file_missing: ")


@pytest.mark.slow
def test_the_dfdc_faces_are_read_where_they_lie(shared: Path) -> None:
    facts = inspect_data(shared / "data" / "dfdc_faces")
    assert (facts.n_real, facts.n_fake) == (13056, 23124)
    assert facts.problems == {"duplicate": 47}
    assert any("64% are fake" in finding.text for finding in facts.findings)
