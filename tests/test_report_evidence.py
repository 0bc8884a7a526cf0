"""The parts of a report's page that say why, how firmly, and where the file comes from."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from make_reports import SHA256, make_full_report, make_report, make_track, wave
from read_page import ReadPage
from telltale._report_page import build_page
from telltale._report_player import link
from telltale._report_quality import build_quality
from telltale.report import to_html, write_index, write_report
from telltale.types import Code, FrameCounts, Label, Report, StreamInfo

HOSTILE = "clips/<script>alert(1)</script>=cmd() \u202egpj.\x1b[31m\"'&.mp4"


def with_codes(report: Report, *codes: Code) -> Report:
    return report.model_copy(update={"verdict": report.verdict.model_copy(update={"codes": codes})})


def test_a_full_page_shows_what_the_file_says_as_text_and_loads_nothing() -> None:
    page = ReadPage(to_html(make_full_report(HOSTILE, text=HOSTILE)))
    assert all(value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,")) for value in page.values("src"))
    assert [value for value in page.values("href") if not value.startswith("#")] == ["annotated.mp4", "telling.gif"]
    shown = "".join(page.text)
    assert shown.count("=cmd()") >= 8
    assert "\\u202egpj" in shown
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\x1b")
    ids = page.values("id")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "words",
    [
        "How firm the verdict is", "treatment 3", "the encoder failed",
        "They do not fit.", "Missing credentials prove nothing",
        "1,000 real faces", "Not proof of anything.", "which about 1% of the real faces it was measured on reach",
        "Strong: fine traces of a forgery are mostly gone", "Written by software, not by a camera", "Orange is for.",
        "annotated.mp4", SHA256,
    ],
)  # fmt: skip
def test_a_full_page_says(words: str) -> None:
    assert words in " ".join(" ".join(ReadPage(to_html(make_full_report())).text).split())


def test_every_face_has_its_heat_map_and_its_frame_with_the_box_in_it() -> None:
    report = make_full_report()
    page = ReadPage(to_html(report))
    assert sum(value.startswith("data:image/png") for value in page.values("src")) >= len(report.pictures.heat)
    frames = page.values("data-frame")
    assert len(frames) == len(report.pictures.crops)
    assert "7.8 11.1 9.4 16.7" in page.values("data-box")  # a box of 120 px at (100, 80) in 1280 x 720
    assert page.values("data-box").count("") > 0  # another moment than the face's: no box


@pytest.mark.parametrize(
    ("label", "consequence"),
    [
        ("fake", "can make a real face score higher"),
        ("real", "a forged face, too, can score low"),
        ("uncertain", "better copy"),
    ],
)
def test_poor_material_is_told_with_what_it_does_to_the_verdict(label: Label, consequence: str) -> None:
    report = make_report(label=label).model_copy(update={"frames": FrameCounts(decoded=90, analysed=24, lost=10)})
    quality = build_quality(report)
    assert quality is not None
    assert [row.value for row in quality.rows if row.is_concern] == ["10 frames lost"]
    assert quality.told.startswith("1 thing to weigh: missing frames. ")
    assert consequence in quality.told


@pytest.mark.parametrize(
    ("n_header", "said"),
    [
        (None, "20 frames lost"),
        (50, "20 frames lost; the header counts 50"),
        (5, "20 frames lost"),
    ],
)
def test_lost_frames_are_not_said_to_be_of_a_number_that_nobody_counted(n_header: int | None, said: str) -> None:
    """Damaged frames that were decoded are in both counts, frames that were skipped in none."""
    report = make_report()
    assert report.video is not None
    known = {
        "video": replace(report.video, n_frames_header=n_header),
        "frames": FrameCounts(decoded=50, analysed=24, lost=20),
    }
    quality = build_quality(report.model_copy(update=known))
    assert quality is not None
    assert next(row.value for row in quality.rows if row.name == "Frames") == said


@pytest.mark.parametrize(
    ("code", "concern", "consequence"),
    [
        (Code.PARTIAL, "unread part", "What was not read can show something else."),
        (Code.OUT_OF_DOMAIN, "unfamiliar face", ""),
    ],
)
def test_what_makes_a_score_less_reliable_is_never_told_as_nothing_to_weigh(
    code: Code, concern: str, consequence: str
) -> None:
    report = with_codes(make_report(label="real"), code)
    quality = build_quality(report)
    assert quality is not None
    assert quality.told == f"1 thing to weigh: {concern}. {consequence}".strip()
    assert ("Nothing is missing." in " ".join(ReadPage(to_html(report)).text)) is (code is not Code.PARTIAL)


def test_no_better_copy_is_asked_for_where_only_the_face_is_unfamiliar() -> None:
    report = with_codes(make_report(label="uncertain"), Code.OUT_OF_DOMAIN)
    quality = build_quality(report)
    assert quality is not None
    assert quality.told == "1 thing to weigh: unfamiliar face."
    worse = build_quality(report.model_copy(update={"frames": FrameCounts(decoded=90, analysed=24, lost=10)}))
    assert worse is not None
    assert "A better copy may lead to a verdict." in worse.told


def test_the_bit_rate_is_that_of_the_video_that_was_analysed() -> None:
    report = make_full_report()
    assert report.video is not None
    assert report.provenance is not None
    assert report.provenance.container is not None
    streams = (*report.provenance.container.streams, StreamInfo(kind="video", codec="h264", bit_rate=55_000))
    container = report.provenance.container.model_copy(update={"streams": streams})
    known = {
        "video": replace(report.video, stream_index=1),
        "provenance": report.provenance.model_copy(update={"container": container}),
    }
    quality = build_quality(report.model_copy(update=known))
    assert quality is not None
    assert next(row.value for row in quality.rows if row.name == "Compression") == "55.0 kbit/s, 0.020 bits a pixel"


def test_without_a_face_no_better_verdict_is_promised() -> None:
    quality = build_quality(make_report(label="no_face"))
    assert quality is not None
    assert quality.told == "No face was found, so there is no score to weigh."
    poor = make_report(label="no_face").model_copy(update={"frames": FrameCounts(decoded=90, analysed=24, lost=10)})
    found = build_quality(poor)
    assert found is not None
    assert found.told == "No face was found. 1 thing to weigh: missing frames. It can hide a face."
    assert "time line of each person" not in " ".join(ReadPage(to_html(poor)).text)


def test_a_small_face_is_told_with_how_much_it_is_enlarged() -> None:
    report = make_full_report()
    track = make_track(1, wave(20, 0.94, 0.99), size_px=80)
    quality = build_quality(report.model_copy(update={"tracks": (track,)}))
    assert quality is not None
    assert quality.told.startswith("2 things to weigh: small face and strong compression. ")
    assert "Must be enlarged 2.8 times" in next(row.told for row in quality.rows if row.name == "Face")


def test_a_number_is_never_without_the_word_what_it_is(tmp_path: Path) -> None:
    report = make_report(label="real")
    number = build_page(report).number
    page = " ".join(" ".join(ReadPage(to_html(report)).text).split())
    assert f"fake score {number}" in page
    assert f"Fake score {number}" in page
    index = " ".join(" ".join(ReadPage(write_index([report], tmp_path).read_text()).text).split())
    assert "Fake score People" in index
    assert f"fake score {number}" in index


def test_a_treated_clip_that_is_uncertain_in_the_zone_of_fakes_says_why() -> None:
    full = make_full_report()
    assert full.stability is not None
    held_back = full.stability.rows[0].model_copy(update={"label": "uncertain", "codes": (Code.OUT_OF_DOMAIN,)})
    stability = full.stability.model_copy(update={"rows": (held_back,)})
    text = " ".join(" ".join(ReadPage(to_html(full.model_copy(update={"stability": stability}))).text).split())
    assert "unlike the faces that the model learned from" in text


def test_the_zone_between_the_lines_is_called_as_the_label_is() -> None:
    assert "unclear" not in to_html(make_report(label="uncertain"))


def test_a_file_that_failed_is_not_followed_by_what_the_model_cannot_do() -> None:
    full = make_full_report()
    failed = make_report(label="failed").model_copy(update={"model": full.model})
    assert build_page(full).card_limits
    assert (build_page(failed).card_limits, build_page(failed).card) == ([], [])


def test_faces_in_a_still_picture_are_numbered_as_their_rows_are() -> None:
    tracks = [make_track(1, [0.04]), make_track(2, [0.97]), make_track(3, [None], size_px=20)]
    page = build_page(make_report("a.jpg", is_image=True, duration_s=0, tracks=tracks))
    assert [(box.number, box.zone) for box in page.boxes] == [("1", "real"), ("2", "fake"), ("3", "none")]
    assert page.boxes[0].x == pytest.approx(100 * 100 / 1280)


# The clip on the page


def report_on(clip: Path) -> Report:
    report = make_report(str(clip))
    data = clip.read_bytes() if clip.is_file() else b""
    digest = hashlib.sha256(data).hexdigest()
    return report.model_copy(
        update={"input": report.input.model_copy(update={"sha256": digest, "size_bytes": len(data)})}
    )


def test_a_clip_is_embedded_when_that_is_asked_for(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"a clip")
    folder = write_report(report_on(clip), tmp_path / "out", embed_video=True)
    page = ReadPage((folder / "report.html").read_text(encoding="utf-8"))
    assert "data:video/mp4;base64,YSBjbGlw" in page.values("src")
    assert any("media-src data:" in value for value in page.values("content"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"codec": "mpeg1video"}, "browsers do not play"),
        ({"container": "avi"}, "browsers do not play avi"),
    ],
)
def test_a_clip_that_browsers_do_not_play_is_not_embedded_and_the_page_says_so(
    tmp_path: Path, change: dict[str, str], why: str
) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"a clip")
    report = report_on(clip)
    assert report.video is not None
    report = report.model_copy(update={"video": replace(report.video, **change)})  # type: ignore[arg-type]
    html = (write_report(report, tmp_path / "out", embed_video=True) / "report.html").read_text(encoding="utf-8")
    assert "data:video" not in html
    assert why in html
    assert link(report, tmp_path / "out") is None, "nothing to watch there"
    assert "Watch" not in html


def test_a_clip_that_has_changed_since_is_not_embedded(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"a clip")
    report = report_on(clip)
    clip.write_bytes(b"another")
    html = (write_report(report, tmp_path / "out", embed_video=True) / "report.html").read_text(encoding="utf-8")
    assert "data:video" not in html
    assert "it has changed since it was scanned" in html


def test_a_page_links_to_the_clip_where_it_lies_and_only_if_it_is_there(tmp_path: Path) -> None:
    clip = tmp_path / 'javascript:alert(1) #%"<b>.mp4'
    clip.write_bytes(b"a clip")
    folder = write_report(report_on(clip), tmp_path / "out")
    page = ReadPage((folder / "report.html").read_text(encoding="utf-8"))
    (target,) = {value for value in page.values("href") if not value.startswith("#")}
    assert target.startswith("./../../")
    assert (folder / unquote(target)).samefile(clip)
    assert not page.values("autoplay")
    clip.unlink()
    page = ReadPage(to_html(make_report(str(clip))))
    assert all(value.startswith("#") for value in page.values("href"))


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
@pytest.mark.parametrize("is_link", [True, False])
def test_a_clip_in_a_folder_whose_name_is_not_utf8_has_its_link(tmp_path: Path, is_link: bool) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"a clip")
    (tmp_path / "a.mp4").symlink_to(folder / "a.mp4")
    found = link(report_on(tmp_path / "a.mp4" if is_link else folder / "a.mp4"), tmp_path / "out")
    assert found is not None
    assert found.src == "./../caf%E9/a.mp4"
    assert write_report(report_on(tmp_path / "a.mp4"), tmp_path / "out").is_dir()
