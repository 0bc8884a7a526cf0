"""A report opened from disk in real Chromium: nothing complained about, nothing asked for, everything to hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from make_reports import make_full_report, make_heat, make_jpeg, make_report, make_track, wave
from telltale import Scanner, ScanSettings, _measured
from telltale.report import to_html, write_index, write_report
from telltale.types import Pictures, Report
from test_annotate import duration_s, frames, report_on, with_sound

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (apt-get install chromium)")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

HOSTILE = "<script>document.title='run'</script>=cmd() \u202egpj.\"'&"
WIDTHS = (390, 1400)
PLAYED = """async (video) => {
  await (video.readyState >= 1 || new Promise((done) => video.addEventListener("loadedmetadata", done)));
  return video.duration;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


class Opened:
    """A page on disk, and everything the browser said and asked for."""

    def __init__(self, context: BrowserContext, path: Path) -> None:
        self.page: Page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        assert self.asked.pop(0) == path.as_uri()

    def axe(self) -> list[str]:
        """Faults of accessibility, the serious and the critical."""
        axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
        self.page.evaluate((resources.files(axe) / "axe.min.js").read_text(encoding="utf-8"))
        found = self.page.evaluate("() => axe.run()")
        return [
            f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]


def of_size(width_px: int, height_px: int) -> Report:
    """A report whose frames have that shape; the first is that of the first face."""
    track = make_track(1, [0.97] + [0.95] * 11)
    report = make_report(tracks=[track], duration_s=6.0)
    assert report.video is not None
    small = round(width_px * 180 / height_px), 180
    frames = tuple((s, make_jpeg(8, width_px=small[0], height_px=small[1])) for s, _ in report.pictures.thumbnails)
    return report.model_copy(
        update={
            "video": replace(report.video, width_px=width_px, height_px=height_px),
            "pictures": replace(report.pictures, thumbnails=frames),
        }
    )


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """Opens HTML from disk; whatever the browser complains about or asks for fails the test."""
    contexts: list[tuple[Any, list[Opened]]] = []

    def open_page(html: str | Path, *, width: int = 1400, dark: bool = False, **options: Any) -> Opened:
        path = html if isinstance(html, Path) else tmp_path / "report.html"
        if isinstance(html, str):
            path.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", **options
        )
        page = Opened(context, path)
        contexts.append((context, [page]))
        return page

    yield open_page
    for context, pages in contexts:
        for page in pages:
            assert page.said == []
            assert page.asked == []
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_a_full_page_is_quiet_accessible_and_no_wider_than_its_window(opened: Any, width: int, dark: bool) -> None:
    page = opened(to_html(make_full_report(text=HOSTILE)), width=width, dark=dark)
    assert page.page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert "run" not in page.page.title()
    page.page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true; }")
    assert page.page.locator("body").inner_text().count("=cmd()") >= 6
    assert page.axe() == []


@pytest.mark.parametrize("label", ["real", "uncertain", "no_face", "failed"])
def test_every_kind_of_page_is_quiet_and_accessible(opened: Any, label: Any) -> None:
    assert opened(to_html(make_report(label=label)), width=390).axe() == []


def shown(page: Page) -> tuple[str, ...]:
    """Frame, face and heat map of the first person, as the page shows them."""
    viewer = page.locator(".viewer").first
    return tuple(
        viewer.locator(part).first.get_attribute("src") or "" for part in (".shot-image", ".crop-image", ".heat")
    )


def click_chart(page: Page, share: float) -> None:
    chart = page.locator(".chart").first
    box = chart.bounding_box()
    assert box is not None
    chart.click(position={"x": box["width"] * share, "y": box["height"] / 2})


@pytest.mark.parametrize("width", WIDTHS)
def test_a_click_on_the_time_line_shows_the_frame_the_face_and_its_heat_map(opened: Any, width: int) -> None:
    report = make_full_report()
    page = opened(to_html(report), width=width).page
    seen = set()
    for share in (0.05, 0.5, 0.9):
        click_chart(page, share)
        frame, face, heat = shown(page)
        assert frame.startswith("data:image/jpeg")
        assert face == page.locator(".crop.chosen img").first.get_attribute("src")
        assert heat == page.locator(".crop.chosen .heat").first.get_attribute("src")
        seen.add((frame, face))
        assert "frame" in page.locator(".shot-text").first.inner_text()
    assert len(seen) == 3
    assert page.locator(".viewer .heat").first.is_visible()


@pytest.mark.parametrize("size", [(1280, 534), (1280, 720), (720, 1280)])
@pytest.mark.parametrize(("width", "media"), [(1400, "screen"), (390, "screen"), (1400, "print"), (690, "print")])
def test_the_box_lies_on_the_face_whatever_the_shape_of_the_clip(
    opened: Any, size: tuple[int, int], width: int, media: str
) -> None:
    page = opened(to_html(of_size(*size)), width=width).page
    page.emulate_media(media=media)
    image, drawing = (page.locator(part).first.bounding_box() for part in (".shot-image", ".shot svg"))
    assert image["width"] / image["height"] == pytest.approx(size[0] / size[1], rel=0.03), "bars, or stretched"
    assert drawing == pytest.approx(image, abs=1), "the box is in per cent of the drawing"


def test_what_a_tap_shows_fits_on_a_phone_with_its_time_line(opened: Any) -> None:
    page = opened(to_html(of_size(720, 1280)), width=390).page
    chart, shot = (page.locator(part).first.bounding_box() for part in (".chart", ".viewer-text"))
    assert shot["y"] + shot["height"] - chart["y"] < 844, "an iPhone's height"


def test_a_face_without_a_score_is_drawn_in_a_crowded_time_line_too(opened: Any) -> None:
    track = make_track(1, [None if i % 5 == 4 else 0.97 for i in range(200)], step_s=0.1)
    page = opened(to_html(make_report(tracks=[track], duration_s=20))).page
    assert page.locator(".dense .dot.none").first.evaluate("(one) => getComputedStyle(one).stroke") != "none"


def test_arrow_keys_walk_through_the_faces(opened: Any) -> None:
    page = opened(to_html(make_full_report())).page
    page.locator(".chart").first.focus()
    page.keyboard.press("Home")
    first = shown(page)
    page.keyboard.press("ArrowRight")
    assert shown(page) != first
    page.keyboard.press("ArrowLeft")
    assert shown(page) == first


def test_a_still_picture_shows_each_face_its_heat_map_and_where_it_is(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_measured, "figures", lambda: {"cam": {"beats_chance": False}})
    tracks = [make_track(1, [0.04]), make_track(2, [0.97])]
    plain = make_report("a.jpg", is_image=True, duration_s=0, tracks=tracks)
    pictures = plain.pictures
    heat = replace(pictures, heat=dict.fromkeys(pictures.crops, make_heat()))
    explanation = make_full_report().explanation
    page = opened(to_html(plain.model_copy(update={"pictures": heat, "explanation": explanation}))).page
    assert page.locator(".viewer .heat:visible").count() == 2
    assert "measured no better than a random map" in page.locator(".hot figcaption").first.inner_text()
    assert page.locator(".boxed .box-number").all_text_contents() == ["1", "2"]


@pytest.mark.parametrize("width", [768, 1024, 1280])
def test_one_long_name_leaves_room_for_the_reason(opened: Any, tmp_path: Path, width: int) -> None:
    page = opened(write_index([make_report("a" * 200 + ".mp4"), make_report()], tmp_path), width=width).page
    assert page.locator("td.reason").first.bounding_box()["width"] > 250
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_captions_of_a_long_clip_are_not_cut(opened: Any) -> None:
    track = make_track(1, wave(24, 0.1, 0.9), start_s=7200.0)
    page = opened(to_html(make_report(label="uncertain", tracks=[track], duration_s=7300)), width=360).page
    assert page.locator(".cap").evaluate_all("(all) => all.every((one) => one.scrollWidth <= one.clientWidth)")


def test_keys_keep_their_colours_where_colours_are_forced(opened: Any) -> None:
    page = opened(to_html(make_full_report()), forced_colors="active").page
    for key in (".swatch", ".bar"):
        colour = page.locator(key).first.evaluate("(one) => getComputedStyle(one).backgroundColor")
        assert colour not in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"), key


def test_paper_names_no_link_that_it_does_not_have(opened: Any, tmp_path: Path) -> None:
    full = make_full_report()
    page = opened(write_report(full, tmp_path) / "report.html").page
    told = page.get_by_text("Opens annotated.mp4")
    assert told.is_visible()
    page.emulate_media(media="print")
    assert not told.is_visible()


def test_heat_maps_are_laid_over_all_faces_at_once(opened: Any) -> None:
    page = opened(to_html(make_full_report())).page
    heat = page.locator(".crops .heat").first
    assert not heat.is_visible()
    page.get_by_label("Heat maps").first.check()
    assert heat.is_visible()


def test_a_box_to_tick_stands_level_with_its_words(opened: Any) -> None:
    page = opened(to_html(make_full_report())).page
    for name in ("Heat maps", "Show all"):
        box = page.get_by_label(name).first.bounding_box()
        words = page.locator("label", has_text=name).first.bounding_box()
        assert box["y"] + box["height"] / 2 == pytest.approx(words["y"] + words["height"] / 2, abs=1)


def test_without_script_every_face_is_there(opened: Any) -> None:
    report = make_full_report()
    page = opened(to_html(report), java_script_enabled=False).page
    assert page.locator(".crops li").count() == len(report.pictures.crops)
    assert page.locator(".crops img").first.is_visible()
    assert not page.locator(".viewer").first.is_visible()


def test_without_heat_maps_nothing_is_empty(opened: Any) -> None:
    full = make_full_report()
    page = opened(to_html(full.model_copy(update={"pictures": Pictures(crops=full.pictures.crops)}))).page
    click_chart(page, 0.5)
    assert page.locator("img[src='']").count() == 0
    assert page.locator(".viewer .heat").count() == 0


def test_the_embedded_clip_plays_from_the_page_and_follows_the_time_line(opened: Any, tmp_path: Path) -> None:
    clip = with_sound(tmp_path / "clip.mp4", seconds=12.0)
    with Scanner(settings=ScanSettings()) as scanner:
        sha256 = scanner.scan(clip).input.sha256
    report = make_report(str(clip))
    report = report.model_copy(update={"input": report.input.model_copy(update={"sha256": sha256})})
    folder = write_report(report, tmp_path / "out", embed_video=True)
    page = opened(folder / "report.html")
    film = page.page.locator("#film")
    assert film.evaluate(PLAYED) == pytest.approx(12.0, abs=0.1)
    for share in (0.7, 0.2):
        click_chart(page.page, share)
        seconds = film.evaluate("(video) => video.currentTime")
        assert seconds == pytest.approx(12 * share, abs=0.5)
        chosen = page.page.locator(".crop.chosen").first.get_attribute("data-pts-s")
        assert seconds == pytest.approx(float(chosen) + 0.01, abs=0.001), "at a frame's beginning players show the last"
    page.asked[:] = [url for url in page.asked if not url.startswith("data:")]


def test_the_link_to_the_clip_goes_to_the_moment_that_was_clicked(opened: Any, tmp_path: Path) -> None:
    clip = with_sound(tmp_path / "clip.mp4")
    folder = write_report(make_report(str(clip)), tmp_path / "out")
    page = opened(folder / "report.html").page
    click_chart(page, 0.5)
    chosen = float(page.locator(".crop.chosen").first.get_attribute("data-pts-s")) + 0.01
    assert page.locator(".watch").first.evaluate("(link) => link.href") == f"{clip.resolve().as_uri()}#t={chosen:g}"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_a_real_clip(opened: Any, shared: Path, tmp_path: Path, width: int) -> None:
    clip = shared / "videos" / "labelled" / "ffpp_634_660_faceswap_fake.mp4"
    with Scanner(settings=ScanSettings(pictures=True, explain=True, provenance=True)) as scanner:
        report = scanner.scan(clip)
    page = opened(write_report(report, tmp_path) / "report.html", width=width)
    before = shown(page.page)
    click_chart(page.page, 0.6)
    after = shown(page.page)
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert page.page.locator(".viewer .heat").first.is_visible()
    assert page.axe() == []


def test_the_annotated_clip_plays_as_long_as_the_clip_and_with_its_sound(opened: Any, tmp_path: Path) -> None:
    from telltale.annotate import annotate

    clip = with_sound(tmp_path / "clip.mp4")
    annotate(report_on(clip), clip, tmp_path / "out")
    made = tmp_path / "out" / "annotated.mp4"
    page = opened('<!DOCTYPE html><title>t</title><link rel="icon" href="data:,"><video muted src="out/annotated.mp4">')
    video = page.page.locator("video")
    length_s = video.evaluate(PLAYED)
    assert length_s == pytest.approx(duration_s(clip), abs=1 / 25)
    video.evaluate("(video) => video.play()")
    page.page.wait_for_function("() => document.querySelector('video').ended", timeout=30_000)
    assert video.evaluate("(video) => video.webkitAudioDecodedByteCount") > 0
    assert video.evaluate("(video) => video.getVideoPlaybackQuality().totalVideoFrames") >= len(frames(made)) - 2
    page.asked[:] = [url for url in page.asked if not url.endswith("annotated.mp4")]
