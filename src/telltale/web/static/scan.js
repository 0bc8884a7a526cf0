// One scan: its progress until there is a report; then the video beside the time line, and what one can do with it.
import { ask } from "./ask.js";
import { listen } from "./listen.js";
import { stage, why } from "./words.js";

const $ = (id) => document.getElementById(id);
const scan = $("scan");
const { id, state, name } = scan.dataset;
const isActive = ({ state }) => state === "queued" || state === "running";
const is_active = isActive(scan.dataset);
const tell = (text) => ($("told").textContent = text);

const button = $("delete");
button.hidden = false;
button.addEventListener("click", async () => {
  if (!is_active && state !== "cancelled" && !(await ask(name))) return;
  button.disabled = true;
  tell("");
  if (is_active) {
    // It may have ended without news of it: what is there is not thrown away by a click on Cancel.
    const now = await fetch(`/api/v1/scans/${id}`).catch(() => null);
    if (now?.ok && !isActive(await now.json())) return location.reload();
  }
  const answer = await fetch(`/api/v1/scans/${id}`, { method: "DELETE" }).catch(() => null);
  if (answer?.ok || answer?.status === 404) return location.assign("/");
  tell(`${name} could not be ${is_active ? "cancelled" : "removed"}: ${await why(answer)}.`);
  button.disabled = false;
});

if (is_active) {
  let said = "";
  const show = (entry) => {
    $("stage").textContent = `${stage(entry)}.`;
    // Frames are counted several times a second: too often to be read aloud.
    if (entry.progress.stage !== said) $("said").textContent = $("stage").textContent;
    said = entry.progress.stage;
    if (entry.progress.share === null) $("bar").removeAttribute("value");
    else $("bar").value = entry.progress.share;
  };
  const ended = () => {
    close();
    location.reload();
  };
  const refused = async () => {
    const answer = await fetch(`/api/v1/scans/${id}`).catch(() => null);
    if (answer?.status === 401 || answer?.status === 404) return ended();
    if (!answer?.ok) return;
    const entry = await answer.json();
    if (isActive(entry)) show(entry);
    else ended();
  };
  const progress = ({ data }) => show(JSON.parse(data));
  const close = listen(`/api/v1/scans/${id}/events`, { progress, end: ended }, refused);
}

// The annotated clip is made when it is asked for.
const annotated = $("annotated");
annotated?.addEventListener("click", async (event) => {
  if (annotated.dataset.isReady) return;
  event.preventDefault();
  if (annotated.hasAttribute("aria-busy")) return;
  annotated.setAttribute("aria-busy", "true");
  annotated.textContent = "Drawing …";
  tell("The annotated video is being drawn, and saved when it is ready.");
  let answer;
  do {
    answer = await fetch(annotated.href, { headers: { Range: "bytes=0-0" } }).catch(() => null);
    if (answer?.status !== 202 && answer?.status !== 429) break;
    await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(answer.headers.get("Retry-After")) || 5)));
  } while (true);
  annotated.removeAttribute("aria-busy");
  if (!answer?.ok) {
    annotated.textContent = "Could not be drawn";
    return tell(`The annotated video could not be drawn: ${await why(answer)}.`);
  }
  annotated.dataset.isReady = "yes";
  annotated.textContent = "Annotated video";
  tell("The annotated video is ready.");
  annotated.click();
});

const video = document.querySelector("#player video");
if (video) {
  const crops = [...document.querySelectorAll(".crop[data-pts-s]")];
  const charts = [...document.querySelectorAll(".chart")];

  let wanted_s = 0;
  const seek = (crop) => {
    wanted_s = Number(crop.dataset.seekS);
    video.currentTime = wanted_s;
  };

  // Whatever chooses a face, by click, drag or key, marks it `chosen`: the video follows.
  const watch = new MutationObserver((changes) => {
    for (const { target, oldValue } of changes) {
      const is_new = target.classList.contains("chosen") && !/(^|\s)chosen(\s|$)/.test(oldValue ?? "");
      if (is_new) {
        video.pause();
        seek(target);
      }
    }
  });
  for (const crop of crops) watch.observe(crop, { attributeFilter: ["class"], attributeOldValue: true });

  // A line in every time line that goes with the video.
  const heads = charts.flatMap((chart) => {
    // The last mark tells the scale: it stands at its time's share of the whole.
    const last = [...chart.querySelectorAll("a[href^='#'] use")].at(-1);
    const crop = last && document.getElementById(last.closest("a").getAttribute("href").slice(1));
    const end_s = crop ? (100 * Number(crop.dataset.ptsS)) / parseFloat(last.getAttribute("x")) : 0;
    if (!(end_s > 0) || !Number.isFinite(end_s)) return [];
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "playhead");
    const cursor = chart.querySelector(".cursor");
    for (const side of ["y1", "y2"]) line.setAttribute(side, cursor.getAttribute(side));
    cursor.before(line);
    return [[line, end_s]];
  });
  const follow = () => {
    for (const [line, end_s] of heads) {
      const x = `${Math.min(100, (100 * video.currentTime) / end_s).toFixed(2)}%`;
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  };
  const keepUp = () => {
    follow();
    if (!video.paused) requestAnimationFrame(keepUp);
  };
  video.addEventListener("timeupdate", follow);
  video.addEventListener("seeking", follow);
  video.addEventListener("play", keepUp);

  const unplayable = () => {
    $("unplayable").hidden = false;
    $("playhint").hidden = true;
    video.hidden = true;
    for (const [line] of heads) line.remove();
  };
  // Some files do not decode from the middle. What plays from the start can be wound forward.
  let is_winding = false;
  const wind = () => {
    if (is_winding || !(wanted_s > 0) || video.error?.code !== MediaError.MEDIA_ERR_DECODE) return unplayable();
    is_winding = true;
    video.load();
    video.playbackRate = 16;
    const stop = () => {
      if (video.currentTime < wanted_s && !video.ended) return;
      video.pause();
      video.playbackRate = 1;
      video.removeEventListener("timeupdate", stop);
      is_winding = false;
    };
    video.addEventListener("timeupdate", stop);
    video.play().catch(unplayable);
  };
  video.addEventListener("error", wind);
  const ready = () => {
    if (!video.videoWidth) return unplayable();
    $("playhint").hidden = heads.length === 0;
    const first = document.querySelector(".crop.chosen");
    if (first) seek(first);
  };
  if (video.error) unplayable();
  else if (video.readyState >= 1) ready();
  else video.addEventListener("loadedmetadata", ready, { once: true });
}
