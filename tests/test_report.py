"""What a report says, and that it says it safely."""

from __future__ import annotations

import base64
import csv
import dataclasses
import errno
import hashlib
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from make_reports import SHA256, THRESHOLDS, make_report, make_track, wave
from read_page import ReadPage
from telltale import _report_page, _report_words, errors
from telltale._files import drop_earlier
from telltale._report_chart import ZoneScale, lay_out, ticks, x_percent
from telltale._report_index import summarise
from telltale._report_page import build_page
from telltale._report_people import MAX_CROPS, MAX_CROPS_PERSON
from telltale._report_quality import build_quality
from telltale._text import csv_cell, encodable, file_stem, visible
from telltale.errors import OutputError
from telltale.report import report_name, to_html, to_json, to_notebook, write_index, write_report
from telltale.types import Code, FrameCounts, Label, Report, TrackReport

LABELS: tuple[Label, ...] = ("fake", "real", "uncertain", "no_face", "failed")
HOSTILE = "clips/<script>alert(1)</script>=cmd() \u202egpj.\x1b[31m\"'&.mp4"
DOCS = Path(__file__).parents[1] / "docs"
SRC = Path(__file__).parents[1] / "src" / "telltale"


# JSON


def test_json_is_one_line_with_the_fixed_fields() -> None:
    line = to_json(make_report())
    assert line.isascii()
    assert len(line.splitlines()) == 1
    report = json.loads(line)
    assert report["schema_version"] == 1
    assert set(report["input"]) == {"path", "sha256", "size_bytes"}
    assert report["verdict"]["label"] == "fake"
    assert report["error"] is None
    assert {"id", "start_s", "end_s", "p_fake", "label", "codes", "faces"} <= set(report["tracks"][0])
    assert {"pts_s", "box_xyxy", "p_fake", "source"} <= set(report["tracks"][0]["faces"][0])
    assert set(report["frames"]) == {"decoded", "analysed", "lost"}
    assert "pictures" not in report


@pytest.mark.parametrize("label", LABELS)
def test_json_reads_back_as_the_same_report(label: Label) -> None:
    report = make_report(label=label)
    again = Report.model_validate_json(to_json(report))
    assert again == report.model_copy(update={"pictures": again.pictures})


def test_json_survives_bytes_that_are_not_utf8_and_odd_line_ends() -> None:
    report = make_report().model_copy(update={"settings": {"path": "a\udcff\u2028b"}})
    line = to_json(report)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["settings"]["path"] == "a\\xff\u2028b"


def test_json_never_holds_a_number_that_is_none() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(make_report().model_copy(update={"timings_s": {"total": float("nan")}}))


# Names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\udcff.mp4", "\\xff.mp4"),
        ("\ud800.mp4", "\\ud800.mp4"),
        ("a\x1b[2Jb\n", "a\\x1b[2Jb\\n"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("日本 👨\u200d👩.mp4", "日本 👨\u200d👩.mp4"),
    ],
)
def test_names_are_shown_as_text(name: str, shown: str) -> None:
    assert visible(name) == shown
    assert encodable(name).encode()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "\udcff", "con.mp4", "..", "/", "a" * 4000, "日" * 200, "$(id).mp4", "a\\b.mp4"]
)
def test_folder_names_are_safe_everywhere(name: str) -> None:
    stem = file_stem(name)
    assert re.fullmatch(r"[\w-]+", stem)
    assert 0 < len(stem.encode()) <= 120


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u200b=1"])
def test_a_formula_in_a_name_stays_text_in_a_spreadsheet(cell: str) -> None:
    assert csv_cell(cell)[0] not in "=+-@\t\r"


# The page


@pytest.mark.parametrize("label", LABELS)
def test_a_page_loads_nothing_and_runs_only_what_its_policy_names(label: Label) -> None:
    page = ReadPage(to_html(make_report(HOSTILE, label=label)))
    assert not {"link", "iframe", "object", "embed", "form", "base", "meta http-equiv=refresh"} & set(page.tags)
    assert not page.values("style")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("data:image/jpeg;base64,") for value in page.values("src"))
    assert all(value.startswith("#") for value in page.values("href"))
    policy = next(value for value in page.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for text in (*page.scripts, *page.styles):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert page.tags.count("script") == 1
    assert page.tags.count("style") == 1


@pytest.mark.parametrize("label", LABELS)
def test_what_comes_from_the_file_is_shown_and_not_obeyed(label: Label) -> None:
    report = make_report(HOSTILE, label=label, warnings=["<img src=x onerror=alert(1)> \u2066"])
    html = to_html(report)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert not set(html) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x1b")
    shown = "".join(ReadPage(html).text)
    assert "=cmd()" in shown
    assert "\\u202egpj" in shown


@pytest.mark.parametrize("label", LABELS)
def test_every_link_inside_a_page_leads_somewhere_and_ids_are_unique(label: Label) -> None:
    page = ReadPage(to_html(make_report(label=label)))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in page.values("href")} <= set(ids)


def test_a_verdict_is_a_sentence_with_a_number_and_what_it_means() -> None:
    text = " ".join(" ".join(ReadPage(to_html(make_report(label="fake"))).text).split())
    assert "Likely a deepfake" in text
    assert "Person 1 shows the traces that forged faces leave" in text
    assert "If half of all faces looked at were forged, about 97 in 100 that score like this one would be" in text
    assert "Telltale says fake from 93%, real below 21%" in text
    assert "Not proof." in text


@pytest.mark.parametrize("label", ["no_face", "failed"])
def test_an_abstention_or_a_failure_shows_no_number(label: Label) -> None:
    page = build_page(make_report(label=label))
    assert page.number == ""
    assert page.meaning == ""
    assert page.gauge is None


def test_a_failure_says_what_happened_and_what_to_do() -> None:
    text = " ".join(ReadPage(to_html(make_report("gone.mp4", label="failed"))).text)
    assert "there is no such file; check the name" in text
    assert "file_missing" in text


CUT_OFF = "The file was cut off: 21% of 5.0 s could be read."


def cut_off(label: Label) -> Report:
    """A report on what was left of a file."""
    report = make_report(label=label, warnings=[CUT_OFF, "The picture changes its size."])
    first, *rest = report.verdict.reasons
    reasons = (first, CUT_OFF, *rest)
    return report.model_copy(
        update={"verdict": report.verdict.model_copy(update={"codes": (Code.PARTIAL,), "reasons": reasons})}
    )


@pytest.mark.parametrize("label", ["real", "no_face"])
def test_a_verdict_on_a_part_looks_complete_nowhere(label: Label) -> None:
    report = cut_off(label)
    reason = summarise(report).reason
    assert reason.startswith(report.verdict.reasons[0])
    assert reason.endswith(CUT_OFF)
    page = build_page(report)
    assert CUT_OFF in page.reasons
    assert CUT_OFF not in page.notes
    assert "The picture changes its size." in page.notes


def test_the_time_line_shows_what_could_not_be_read() -> None:
    whole = make_report(label="real")
    assert whole.video is not None
    cut = cut_off("real").model_copy(update={"video": dataclasses.replace(whole.video, duration_s=20.0)})
    page = build_page(cut)
    assert page.unread is not None
    assert (page.unread.x, page.unread.told) == ("57.50%", "not read")  # the last frame is at 11.5 s
    assert [bool(tile.image) for tile in page.strip] == [True] * 6 + [False] * 4
    hours = build_page(cut.model_copy(update={"video": dataclasses.replace(whole.video, duration_s=7200.0)})).unread
    assert hours == _report_page.Unread("46.00%", "54.00%", "not read, to 2:00:00")
    assert build_page(whole).unread is None


def test_the_index_and_the_spreadsheet_say_what_was_cut_off(tmp_path: Path) -> None:
    index = write_index([cut_off("real")], tmp_path)
    assert CUT_OFF in " ".join(ReadPage(index.read_text()).text)
    assert CUT_OFF in (tmp_path / "summary.csv").read_text()


@pytest.mark.parametrize("code", sorted(_report_page.TOLD_BY_WARNINGS))
def test_what_the_reader_found_is_said_once_in_its_own_words(code: Code) -> None:
    report = make_report(warnings=["As the reader found it."])
    verdict = report.verdict.model_copy(update={"codes": (code, Code.FACE_CROP_INPUT)})
    notes = build_page(report.model_copy(update={"verdict": verdict})).notes
    assert notes == [_report_words.CODES[Code.FACE_CROP_INPUT], "As the reader found it."]


def test_whatever_the_readers_warn_of_is_among_the_codes_that_warnings_tell() -> None:
    """Each file that warns names its codes; nothing else in it does."""
    told = {
        Code[name]
        for file in ("_file_reader.py", "_reader.py")
        for name in re.findall(r"Code\.([A-Z_]+)", (SRC / file).read_text())
    }
    assert told == _report_page.TOLD_BY_WARNINGS


@pytest.mark.parametrize(
    ("duration_s", "n_analysed", "codes", "remedy"),
    [
        (12.0, 24, (), "A denser sampling (--fps 10) may find more."),
        (2.0, 24, (), "Looking at every frame (--all-frames) may find more."),
        (1.0, 30, (), "Every frame was looked at; a longer clip may show the face more often."),
        (900.0, 600, (Code.CAPPED,), "Looking at more frames (--max-frames 6000) may find more."),
    ],
)
def test_few_faces_come_with_what_can_be_done(
    duration_s: float, n_analysed: int, codes: tuple[Code, ...], remedy: str
) -> None:
    made = make_report(label="real", tracks=[make_track(1, [0.05] * 4)], duration_s=duration_s)
    n_decoded = n_analysed if duration_s == 1.0 else 30 * round(duration_s)
    frames = FrameCounts(decoded=n_decoded, analysed=n_analysed, lost=0)
    verdict = made.verdict.model_copy(update={"codes": codes})
    quality = build_quality(made.model_copy(update={"frames": frames, "verdict": verdict}))
    assert quality is not None
    assert quality.rows[-1].told == f"Few: one odd frame weighs much. {remedy}"


def test_frames_that_are_missing_are_not_called_left_out_alone() -> None:
    report = make_report().model_copy(update={"frames": FrameCounts(decoded=90, analysed=24, lost=10)})
    text = " ".join(ReadPage(to_html(report)).text)
    assert "Frames missing or damaged" in text
    assert "Missing or damaged; what they showed is not known." in text


def test_faces_too_small_to_judge_are_told_apart_from_no_faces() -> None:
    track = make_track(1, [None] * 4, size_px=20)
    report = make_report(label="no_face", tracks=[track])
    assert "A face was found, but too small to judge" in _report_words.lede(report)
    assert build_page(report).headline == "No face could be judged"
    assert "No face was found" in _report_words.lede(make_report(label="no_face"))


def _unfamiliar(track_id: int, p_fake: float) -> TrackReport:
    track = make_track(track_id, [p_fake] * 6)
    return track.model_copy(update={"label": "uncertain", "codes": (Code.OUT_OF_DOMAIN,)})


def test_a_high_score_of_an_unfamiliar_face_is_not_said_to_lie_between_the_lines() -> None:
    report = make_report(label="uncertain", tracks=[_unfamiliar(1, 0.99)])
    assert _report_words.lede(report) == (
        "The face scores as forgeries do, but is unlike the faces that the model knows, so no verdict is given."
    )
    assert "of faces like those that the model learned from, and this one is not" in _report_words.meaning(report)


def test_beside_an_unfamiliar_face_the_one_that_is_called_fake_is_named() -> None:
    report = make_report(label="fake", tracks=[_unfamiliar(1, 0.99), make_track(2, [0.97] * 6)])
    assert _report_words.lede(report).startswith("Person 2 shows the traces that forged faces leave")


def test_people_are_listed_with_the_most_suspicious_first_and_the_unjudged_apart() -> None:
    tracks = [make_track(1, [0.1] * 5), make_track(2, [0.5] * 5), make_track(3, [None] * 5, size_px=20)]
    page = build_page(make_report(label="uncertain", tracks=tracks))
    assert [person.id for person in page.people] == [2, 1]
    assert [person.id for person in page.unjudged] == [3]
    assert page.unjudged[0].word == "not judged"


def test_appearances_of_one_person_are_counted_once_and_say_whose_they_look() -> None:
    cut = [make_track(i, [0.05] * 6, start_s=3.0 * i).model_copy(update={"person": 1}) for i in (1, 2, 3)]
    report = make_report(label="real", tracks=cut)
    assert summarise(report).n_people == 1
    page = ReadPage(to_html(report))
    assert "1, in 3 appearances" in page.text
    assert sum("looks like person 1" in text for text in page.text) == 2, "the first is person 1"


def test_a_still_picture_has_no_timeline() -> None:
    page = build_page(make_report("a.jpg", label="real", is_image=True, duration_s=0, tracks=[make_track(1, [0.04])]))
    assert page.is_still
    assert page.what == "picture"
    assert page.people[0].chart is None
    assert len(page.people[0].crops) == 1
    assert [(box.number, box.zone) for box in page.boxes] == [("", "real")]


def test_a_long_clip_with_many_people_stays_readable_in_size() -> None:
    tracks = [make_track(k, wave(200, 0.1, 0.9)) for k in range(1, 31)]
    page = build_page(make_report(label="uncertain", tracks=tracks, duration_s=100))
    n_crops = [len(person.crops) for person in page.people]
    assert max(n_crops) <= MAX_CROPS_PERSON
    assert sum(n_crops) <= MAX_CROPS
    for person in page.people:
        shown = {crop.score for crop in person.crops}
        assert {"90%", "10%"} <= shown, "the highest and the lowest score are always shown"


def test_a_header_that_claims_hours_does_not_stretch_the_timeline() -> None:
    report = make_report(duration_s=12)
    assert report.video is not None
    lying = dataclasses.replace(report.video, duration_s=9e9)
    assert build_page(report.model_copy(update={"video": lying})).ticks[-1][1] == "0:10"


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    frame = make_report(HOSTILE)._repr_html_()
    assert frame == to_notebook(make_report(HOSTILE))
    assert frame.startswith("<iframe sandbox=")
    assert frame.count("<") == 2


# The chart


def test_zones_are_equally_high_whatever_the_thresholds() -> None:
    scale = ZoneScale((0.01, 0.99))
    assert [zone for zone, _, _ in scale.bands()] == ["real", "uncertain", "fake"]
    assert scale.fraction(0.01) == pytest.approx(1 / 3)
    assert scale.fraction(0.995) == pytest.approx(2 / 3 + 1 / 6)
    assert [zone for zone, _, _ in ZoneScale((0.8, 0.8)).bands()] == ["real", "fake"]
    assert (ZoneScale(None).fraction(0.3), ZoneScale(None).zone(0.3)) == (0.3, "plain")


@pytest.mark.parametrize("p", [0.0, 0.21, 0.5, 0.93, 1.0])
def test_a_score_lies_in_the_zone_of_its_verdict(p: float) -> None:
    scale = ZoneScale(THRESHOLDS)
    zone, low, high = next(band for band in scale.bands() if band[0] == scale.zone(p))
    assert low <= scale.fraction(p) <= high, zone


@pytest.mark.parametrize("end_s", [0.04, 0.5, 4.2, 59.9, 61, 3600, 86_400, 1e7])
def test_time_ticks_are_few_and_inside(end_s: float) -> None:
    found = ticks(end_s)
    assert found[0] == 0
    assert found[-1] <= end_s + 1e-6
    assert 1 <= len(found) <= 6


def test_a_gap_in_a_track_is_not_bridged_by_a_line() -> None:
    track = make_track(1, [0.5] * 10)
    faces = tuple(face for i, face in enumerate(track.faces) if not 3 <= i <= 6)
    chart = lay_out(track.model_copy(update={"faces": faces}), end_s=5, scale=ZoneScale(THRESHOLDS))
    assert len(chart.dots) == 6
    assert len(chart.lines) == 4


def test_interpolated_and_unscored_faces_are_marked() -> None:
    chart = lay_out(make_track(1, [0.5, None, 0.99, 0.01, 0.5]), end_s=5, scale=ZoneScale(THRESHOLDS))
    assert [dot.zone for dot in chart.dots] == ["uncertain", "none", "fake", "real", "uncertain"]
    assert [dot.source for dot in chart.dots][-1] == "interpolated"
    assert x_percent(2.5, 5.0) == "50.00%"


# Files


def test_a_report_lands_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = write_report(make_report(HOSTILE), tmp_path / "out")
    assert sorted(file.name for file in folder.iterdir()) == ["report.html", "report.json"]
    assert folder.parent == tmp_path / "out"
    assert json.loads((folder / "report.json").read_text())["input"]["path"] == HOSTILE
    assert write_report(make_report(HOSTILE), tmp_path / "out") == folder


def test_files_of_one_name_do_not_collide() -> None:
    names = {report_name(make_report(path)) for path in ("a/clip.mp4", "b/clip.mp4", "b/clip.mov")}
    other = make_report("a/clip.mp4")
    changed = other.model_copy(update={"input": other.input.model_copy(update={"sha256": SHA256[::-1]})})
    assert len(names | {report_name(changed)}) == 4


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_full_disk_is_an_error_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    calls = 0
    real_fsync = os.fsync

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        write_report(make_report(), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


def test_an_older_report_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_report(make_report(), tmp_path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(handle: int) -> None:  # noqa: ARG001
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError):
        write_report(make_report(warnings=["new"]), tmp_path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_only_files_that_are_named_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old.png", "kept.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    drop_earlier(tmp_path, ["old.png", "folder.png", "never_there.png"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "kept.png"]

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(OutputError, match="is of an earlier run and cannot be removed: Permission denied"):
        drop_earlier(tmp_path, ["kept.png"])


def test_an_output_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="out"):
        write_report(make_report(), tmp_path / "out")


def test_the_index_lists_every_input_in_order_with_links_that_work(tmp_path: Path) -> None:
    reports = [
        make_report(path, label=label)
        for path, label in zip(("z.mp4", "日本.mp4", HOSTILE, "a.mp4", "b.mp4"), LABELS, strict=True)
    ]
    for report in reports:
        write_report(report, tmp_path)
    page = ReadPage(write_index(reports, tmp_path).read_text())
    links = [unquote(value) for value in page.values("href") if not value.startswith("#")]
    assert links[-1] == "summary.csv"
    assert [link.split("/")[0] for link in links[:-1]] == [report_name(report) for report in reports]
    assert all((tmp_path / link).is_file() for link in links)
    assert "script" not in page.tags
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == list(LABELS)
    assert [row["p_fake"] for row in rows][3:] == ["", ""]
    assert all((tmp_path / row["report"]).is_file() for row in rows)


def test_no_cell_of_the_summary_is_a_formula(tmp_path: Path) -> None:
    names = ["=cmd()|' /C calc'!A0", "+1.mp4", "-1.mp4", "@x.mp4", "\t=1.mp4"]
    write_index([make_report(name, label="failed") for name in names], tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as file:
        for row in csv.reader(file):
            assert not [cell for cell in row if cell and cell[0] in "=+-@\t\r"]


# Words


def _error_codes(root: type[errors.TelltaleError]) -> set[str]:
    """Of the errors a report can name; a client's own, such as a server that is out of reach, are not among them."""
    children = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return {root.code} | {code for child in children for code in _error_codes(child)}


def test_a_code_that_no_report_of_ours_has_is_shown_without_words() -> None:
    assert _report_words.explain_code("made up by somebody else") == ""


def test_every_code_is_explained_on_the_page_and_in_the_docs() -> None:
    groups = {"error", "worker"}
    of_no_report = {"input", "model"}
    docs = (DOCS / "report.md").read_text()
    assert set(_report_words.CODES) == set(Code)
    for code in (*Code, *(_error_codes(errors.TelltaleError) - groups)):
        assert code in of_no_report or _report_words.explain_code(code), code
        assert f"`{code}`" in docs, f"docs/report.md does not explain {code}"
