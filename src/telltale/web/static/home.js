// The page to drop clips on: sends them, and keeps the list up to date.
import { ask } from "./ask.js";
import { Row } from "./rows.js";
import { Uploads } from "./uploads.js";

const $ = (id) => document.getElementById(id);
const drop = $("drop");
const list = $("scans");
const rows = new Map();
const gone = new Set();
let cursor = null;
let wanted = "";

const say = (text) => ($("said").textContent = text);
const trouble = (text) => {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
};

// The list.
function put(entry, { first = false, row = null } = {}) {
  let known = rows.get(entry.id);
  if (!known) {
    known = row ?? new Row(entry.name, remove);
    known.button.onclick = null;
    rows.set(entry.id, known);
    if (first) list.prepend(known.item);
    else list.append(known.item);
  }
  known.show(entry);
  tally();
}

function tally() {
  $("empty").hidden = rows.size > 0 || $("uploads").children.length > 0;
  if (wanted) $("empty").textContent = "No file of that name.";
  $("find").hidden = !wanted && rows.size < 2;
}

async function fetchPage() {
  const query = new URLSearchParams({ limit: 20 });
  if (wanted) query.set("q", wanted);
  if (cursor) query.set("cursor", cursor);
  const asked = wanted;
  const answer = await fetch(`/api/v1/scans?${query}`);
  if (answer.status === 401) return location.reload();
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const page = await answer.json();
  if (asked !== wanted) return;
  for (const entry of page.items) put(entry);
  cursor = page.next;
  $("more").hidden = cursor === null;
  tally();
}

async function reload() {
  cursor = null;
  rows.clear();
  list.replaceChildren();
  await load();
}

async function load() {
  try {
    await fetchPage();
    trouble("");
  } catch (error) {
    trouble(`The list cannot be shown: ${error.message}.`);
  }
}

const isActive = ({ state }) => state === "queued" || state === "running";

async function remove(row) {
  const { id, name } = row.entry;
  const is_active = isActive(row.entry);
  if (is_active) {
    // It may have ended without news of it: what is there is not thrown away by a click on Cancel.
    const now = await fetch(`/api/v1/scans/${id}`).catch(() => null);
    if (now?.ok) row.show(await now.json());
    if (!isActive(row.entry)) return say(`${row.title} has ended`);
  }
  const { state } = row.entry;
  if (!is_active && state !== "cancelled" && !(await ask(row.title))) return;
  row.item.classList.add("is-leaving");
  const answer = await fetch(`/api/v1/scans/${id}`, { method: "DELETE" }).catch(() => null);
  row.item.classList.remove("is-leaving");
  if (!answer || !(answer.ok || answer.status === 404)) {
    trouble(`${name} could not be removed; try again.`);
    return;
  }
  if (is_active) {
    say(`${row.title} cancelled`);
    const now = await fetch(`/api/v1/scans/${id}`).catch(() => null);
    if (now?.ok) return row.show(await now.json());
  }
  say(`${row.title} removed`);
  const next = row.item.nextElementSibling ?? row.item.previousElementSibling;
  gone.add(id); // news of it may still be on its way
  rows.delete(id);
  row.item.remove();
  (next?.querySelector("button") ?? $("files")).focus();
  tally();
}

// What happens to scans, as it happens.
let events = null;
let wasOpen = false;
function heard({ data }) {
  const entry = JSON.parse(data);
  const known = rows.get(entry.id);
  if (gone.has(entry.id) || (!known && wanted)) return;
  const was = known?.entry?.state;
  put(entry, { first: true });
  if (entry.outcome && was !== entry.state) say(`${known?.title ?? entry.name}: ${entry.outcome.headline} ${entry.outcome.score}`);
}

// Only while the page is seen: a browser has six connections to a server for all of its tabs.
function listen() {
  if (document.hidden) {
    events?.close();
    events = null;
  } else if (!events) {
    events = new EventSource("/api/v1/events");
    events.addEventListener("scan", heard);
    events.addEventListener("open", catchUp);
  }
}

async function catchUp() {
  // What happened while nobody listened.
  if (wasOpen && !wanted) {
    const answer = await fetch("/api/v1/scans?limit=50").catch(() => null);
    if (answer?.ok) for (const entry of (await answer.json()).items.reverse()) put(entry, { first: true });
  }
  wasOpen = true;
}
listen();
document.addEventListener("visibilitychange", listen);
addEventListener("pageshow", listen);
addEventListener("pagehide", () => {
  events?.close();
  events = null;
});

// Uploads.
const uploads = new Uploads($("uploads"), {
  maxBytes: Number(drop.dataset.maxBytes),
  maxSize: drop.dataset.maxSize,
  onTrouble: say,
  onArrived: (entry, sent) => {
    sent.item.remove();
    put(entry, { first: true });
    say(`${sent.title} has arrived`);
    if (entry.outcome) say(`${sent.title}: ${entry.outcome.headline} ${entry.outcome.score}`);
  },
});

function fields() {
  const chosen = {};
  for (const name of ["model", "fps", "seconds", "min_face_px", "detector"]) {
    if ($(name).value) chosen[name] = $(name).value;
  }
  if ($("explain").checked && !$("explain").disabled) chosen.explain = "true";
  return chosen;
}

function send(files) {
  if (!files.length || !drop.reportValidity()) return;
  uploads.add(files, fields());
  tally();
}

const input = $("files");
input.addEventListener("change", () => {
  send([...input.files]);
  input.value = "";
});
input.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return; // would send the form elsewhere
  event.preventDefault();
  input.click();
});
drop.addEventListener("submit", (event) => event.preventDefault());

let depth = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
const over = (is_over) => document.body.classList.toggle("is-over", is_over);
addEventListener("dragenter", (event) => carriesFiles(event) && over((depth += 1) > 0));
addEventListener("dragleave", (event) => carriesFiles(event) && over((depth = Math.max(0, depth - 1)) > 0));
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  over((depth = 0) > 0);
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory).length;
  trouble(folders ? "Folders are left out here; choose the files in them, or use telltale scan." : "");
  const files = items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
  send(items.length ? files.filter(Boolean) : [...event.dataTransfer.files]);
});
addEventListener("paste", (event) => send([...(event.clipboardData?.files ?? [])]));

function choose() {
  const model = $("model");
  $("about-model").href = `/models/${encodeURIComponent(model.value)}`;
  $("explain").disabled = !model.selectedOptions[0].dataset.isExplained; // such a model gives no heat maps
}
$("model").addEventListener("change", choose);
choose();
$("more").addEventListener("click", load);
let timer;
$("search").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => {
    wanted = $("search").value.trim();
    reload();
  }, 200);
});

load();
