// The page to drop clips on: sends them, and keeps the list up to date.
import { ask } from "./ask.js";
import { listen } from "./listen.js";
import { Row } from "./rows.js";
import { Uploads } from "./uploads.js";

const $ = (id) => document.getElementById(id);
const drop = $("drop");
const list = $("scans");
const rows = new Map();
const gone = new Set();
const nothing = $("empty").textContent;
let cursor = null;
let end = ""; // the place of the last row that was fetched, while the server has more
let wanted = "";

const KEPT_LINES = 20;

// Line by line: what is said next must not take the place of what is still being read aloud.
function say(text) {
  $("said").append(Object.assign(document.createElement("p"), { textContent: text }));
  if ($("said").children.length > KEPT_LINES) $("said").firstElementChild.remove();
}

const verdict = ({ headline, score }) => (score ? `${headline}, fake score ${score}` : headline);
const trouble = (text) => {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
};

// The list, the newest first. Places compare as text, in the server's order.
const place = ({ created_at, id }) => `${created_at.replace("Z", "")} ${id}`;

function put(entry) {
  const known = rows.get(entry.id);
  if (known) {
    // An answer that was asked for may come after the news of the end.
    if (isActive(known.entry) || !isActive(entry)) known.show(entry);
  } else if (place(entry) >= end && !gone.has(entry.id)) {
    const row = new Row(entry.name, remove);
    row.show(entry);
    const next = [...list.children].find(({ dataset }) => place(rows.get(dataset.id).entry) < place(entry));
    list.insertBefore(row.item, next ?? null);
    rows.set(entry.id, row);
  }
  tally();
}

// Whoever stands on what goes is left beside it, not at the top of the page.
const beside = (item) => item.nextElementSibling ?? item.previousElementSibling;
const focusIn = (item) => (item?.querySelector("button") ?? $("files")).focus();

function takeOut(row) {
  rows.delete(row.entry.id);
  row.item.remove();
  tally();
}

async function look(row) {
  const answer = await fetch(`/api/v1/scans/${row.entry.id}`).catch(() => null);
  if (answer?.ok) row.show(await answer.json());
  return answer;
}

function tally() {
  $("empty").hidden = rows.size > 0 || $("uploads").children.length > 0;
  $("empty").textContent = wanted ? "No file of that name." : nothing;
  $("find").hidden = !wanted && rows.size < 2;
}

function listed(values) {
  const query = new URLSearchParams(values);
  if (wanted) query.set("q", wanted);
  return fetch(`/api/v1/scans?${query}`);
}

// The page of whoever is no longer known asks for the key. Nothing can be sent without one.
function signIn() {
  uploads.letGo();
  location.reload();
}

const endOf = ({ items, next }) => (next ? place(items.at(-1)) : "");

async function fetchPage() {
  const asked = wanted;
  const answer = await listed(cursor ? { limit: 20, cursor } : { limit: 20 });
  if (answer.status === 401) return signIn();
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const page = await answer.json();
  if (asked !== wanted) return;
  is_listed = true;
  cursor = page.next;
  end = endOf(page);
  for (const row of rows.values()) if (place(row.entry) < end) takeOut(row); // news of it came before the list
  for (const entry of page.items) put(entry);
  $("more").hidden = cursor === null;
  tally();
}

async function reload() {
  is_listed = false;
  cursor = null;
  end = "";
  rows.clear();
  list.replaceChildren();
  await load();
}

const UNLISTED = "The list cannot be shown";
let is_listed = false;
let listing; // the latest fetching of a page of the list, which may have ended
function load() {
  listing = fetchPage().then(
    () => trouble(""),
    (error) => trouble(`${UNLISTED}: ${error.message}.`),
  );
  return listing;
}

const isActive = ({ state }) => state === "queued" || state === "running";

async function remove(row) {
  const { id, name } = row.entry;
  const is_active = isActive(row.entry);
  if (is_active) {
    // It may have ended without news of it: what is there is not thrown away by a click on Cancel.
    await look(row);
    if (!isActive(row.entry)) return say(`${row.title} has ended`);
  }
  const { state } = row.entry;
  if (!is_active && state !== "cancelled" && !(await ask(row.title))) return;
  row.item.classList.add("is-leaving");
  const next = beside(row.item);
  const answer = await fetch(`/api/v1/scans/${id}`, { method: "DELETE" }).catch(() => null);
  row.item.classList.remove("is-leaving");
  if (!answer || !(answer.ok || answer.status === 404)) {
    trouble(`${name} could not be removed; try again.`);
    return;
  }
  if (is_active) {
    say(`${row.title} cancelled`);
    if ((await look(row))?.ok) return;
  }
  say(`${row.title} removed`);
  gone.add(id); // an answer from before may still be on its way
  takeOut(row);
  focusIn(next);
}

// What happens to scans, as it happens.
let is_first = true; // the first time, the list is just being fetched
function heard({ data }) {
  const entry = JSON.parse(data);
  const known = rows.get(entry.id);
  if (gone.has(entry.id) || (!known && wanted)) return;
  const was = known?.entry?.state;
  put(entry);
  if (entry.outcome && was !== entry.state) say(`${known?.title ?? entry.name}: ${verdict(entry.outcome)}`);
}

function heardGone({ data }) {
  const id = JSON.parse(data);
  gone.add(id);
  if (rows.has(id)) takeOut(rows.get(id));
}

async function catchUp() {
  // What happened while nobody listened.
  await listing;
  if (!is_listed) return load();
  const [known, asked] = [[...rows.values()], wanted];
  const answer = await listed({ limit: 100 }).catch(() => null);
  if (answer?.status === 401) return signIn();
  if (!answer?.ok) return;
  const page = await answer.json();
  if (asked !== wanted) return;
  if (page.next && !page.items.some(({ id }) => rows.has(id))) return reload(); // too much to fill the gap
  for (const entry of page.items) put(entry);
  const there = new Set(page.items.map(({ id }) => id));
  for (const row of known.filter(({ entry }) => !there.has(entry.id))) {
    if (place(row.entry) >= endOf(page)) takeOut(row);
    else if (isActive(row.entry) && (await look(row))?.status === 404) takeOut(row);
  }
  if ($("trouble").textContent.startsWith(UNLISTED)) trouble("");
}

async function opened() {
  const was_first = is_first;
  is_first = false;
  await listing;
  if (!was_first || !is_listed) catchUp();
}

function refused() {
  is_first = false;
  catchUp();
}
listen("/api/v1/events", { scan: heard, gone: heardGone, open: opened }, refused);

// Uploads.
const uploads = new Uploads($("uploads"), {
  maxBytes: Number(drop.dataset.maxBytes),
  maxSize: drop.dataset.maxSize,
  onTrouble: say,
  onKeyWanted: signIn,
  onArrived: (entry, sent) => {
    const had_focus = sent.item.contains(document.activeElement);
    sent.item.remove();
    put(entry);
    if (had_focus) focusIn(rows.get(entry.id)?.item);
    say(`${sent.title} has arrived`);
    if (entry.outcome) say(`${sent.title}: ${verdict(entry.outcome)}`);
  },
  onDropped: ({ item, title }, was_open) => {
    const [had_focus, next] = [item.contains(document.activeElement), beside(item)];
    item.remove();
    if (had_focus) focusIn(next);
    say(`${title} ${was_open ? "cancelled" : "dismissed"}`);
    tally();
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

// A field that is not seen cannot say what is wrong with it.
function correct(field, is_one) {
  field.closest("details").open = true;
  field.reportValidity();
  const [what, them] = is_one ? ["The file was", "it"] : ["The files were", "them"];
  const why = `${field.labels[0].textContent}: ${field.validationMessage}`;
  trouble(`${what} not sent. ${why} Correct this, then choose ${them} once more.`);
}

function send(files, remark = "") {
  if (files.length || remark) trouble(remark);
  if (!files.length) return;
  const wrong = drop.querySelector("input:invalid");
  if (wrong) return correct(wrong, files.length === 1);
  uploads.add(files, fields());
  tally();
  $("uploads").lastElementChild?.scrollIntoView({ block: "nearest" }); // open settings may fill the window
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
  const remark = folders ? "Folders are left out here; choose the files in them, or use telltale scan." : "";
  const files = items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
  send(items.length ? files.filter(Boolean) : [...event.dataTransfer.files], remark);
});
addEventListener("paste", (event) => {
  if (event.target.closest?.("input:not([type='file'])")) return; // text with a picture beside it, as from an office
  send([...(event.clipboardData?.files ?? [])]);
});

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
